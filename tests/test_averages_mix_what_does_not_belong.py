"""Hazards: a mean of checkpoints is of other weights than it says, counts a stage twice on the card, mixes networks of
several sizes, or is resumed without an optimiser; a run's own average spans another part of it than is asked for."""

import subprocess
import sys

import pytest
import torch
from test_training_starts_wrong import EXAMPLES
from tiny_recipe import Tiny

from intaglio.errors import BadInput
from intaglio.train import checkpoint
from intaglio.train.average import average, main, together
from intaglio.train.data import Photographs
from intaglio.train.loop import Options, Trainer
from intaglio.train.packs import pack


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs from one seed's start; the first one's checkpoint after two steps, too."""
    folder = tmp_path_factory.mktemp("runs")
    pack(EXAMPLES, folder / "photos")
    data = Photographs(folder / "photos")
    for name, steps, seed in (("early", 2, 1), ("late", 4, 1), ("other", 3, 2)):
        Trainer(Tiny(), data, Options(folder / name, steps=steps, seed=seed)).run()
    return folder


def test_the_mean_is_of_the_averaged_weights_as_they_are_weighed(runs):
    paths = [runs / "late" / "last.pt", runs / "other" / "last.pt"]
    found = average(paths, [3.0, 1.0])["ema"]
    a, b = (checkpoint.load(path)["ema"] for path in paths)
    moved = 0
    for key, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * a[key] + 0.25 * b[key])
            moved += not torch.equal(a[key], b[key])
    assert moved


def test_a_run_at_two_times_counts_once_and_other_runs_beside_it(runs):
    training = average([runs / name / "last.pt" for name in ("early", "late", "other")], [1.0, 1.0, 1.0])["training"]
    assert [(s["steps"], s["seed"]) for s in training["stages"]] == [(4, 1), (3, 2)]
    assert training["steps"] == 7
    assert training["pixels"] == sum(s["pixels"] for s in training["stages"])


def test_a_mean_with_its_own_parts_counts_nothing_twice_and_repeated_legs_each():
    def stages(*seeds):
        return {"stages": [{"recipe": "a", "steps": 5, "pixels": 10, "seed": seed} for seed in seeds]}

    assert together([stages(0, 1), stages(0, 2)])["steps"] == 15
    assert together([stages(0, 1, 2), stages(0, 2)])["pixels"] == 30  # the mean of those two, with one of them
    assert together([stages(0, 0), stages(0)])["steps"] == 10  # the same leg, twice in a row


def test_a_mean_is_a_start_but_cannot_be_resumed(runs, tmp_path):
    data = Photographs(runs / "photos")
    (tmp_path / "mean").mkdir()
    mean = average([runs / "late" / "last.pt", runs / "other" / "last.pt"], [1.0, 1.0])
    checkpoint.save(tmp_path / "mean" / "last.pt", mean)
    with pytest.raises(BadInput, match="cannot be written"):
        checkpoint.save(tmp_path / "nowhere" / "mean.pt", mean)
    with pytest.raises(BadInput, match="mean of checkpoints, which no run can resume; start from it with --warm"):
        Trainer(Tiny(), data, Options(tmp_path / "mean", steps=6, seed=1, resume=True))


def test_a_mean_takes_no_runs_place(runs, tmp_path, monkeypatch, capsys):
    (tmp_path / "last.pt").write_bytes((runs / "late" / "last.pt").read_bytes())
    before = (tmp_path / "last.pt").read_bytes()
    parts = [str(runs / name / "last.pt") for name in ("late", "other")]
    monkeypatch.setattr("sys.argv", ["average", str(tmp_path / "last.pt"), *parts])
    with pytest.raises(SystemExit):
        main()
    assert "could not be resumed" in capsys.readouterr().err and (tmp_path / "last.pt").read_bytes() == before
    monkeypatch.setattr("sys.argv", ["average", str(tmp_path / "mean.pt"), *parts])
    main()
    main()  # a mean may be made again


def test_networks_of_other_sizes_and_odd_weights_are_refused(runs, tmp_path):
    path = runs / "late" / "last.pt"
    state = checkpoint.load(path)
    key = next(k for k, v in state["ema"].items() if v.dim() == 4)
    state["ema"][key] = state["ema"][key][:1]
    checkpoint.save(tmp_path / "narrow.pt", state)
    with pytest.raises(BadInput, match=r"narrow.pt: is of another recipe or size than .*last.pt"):
        average([path, tmp_path / "narrow.pt"], [1.0, 1.0])
    checkpoint.save(tmp_path / "stage.pt", checkpoint.load(path) | {"recipe": "another"})
    checkpoint.save(tmp_path / "bare.pt", checkpoint.load(path) | {"training": {}})
    for name, said in (("stage.pt", "is of another recipe"), ("bare.pt", "does not say how it was trained")):
        with pytest.raises(BadInput, match=f"{name}: {said}"):
            average([path, tmp_path / name], [1.0, 1.0])
    odd = ([0.0, 0.0], [2.0, -1.0], [1.0, float("nan")], [1.0, float("inf")])
    for paths, weights in (([path], [1.0]), *(([path, path], weights) for weights in odd)):
        with pytest.raises(BadInput, match="give two checkpoints or more"):
            average(paths, weights)


@pytest.mark.parametrize(("words", "said"), [
    (["a.pt:much", "b.pt"], "a weight is no number"),
    (["a.pt", "b.pt"], "a.pt: cannot be read"),
    (["a.pt"], "give two checkpoints or more"),
])
def test_the_command_says_what_is_wrong(tmp_path, words, said):
    command = [sys.executable, "-m", "intaglio.train.average", "out.pt", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recent, share", [(1.0, 1 / 5), (4.0, (4 / 8) * (3 / 7) * (2 / 6) * (1 / 5)), (0.0, 1 / 5)])
def test_a_runs_own_average_spans_the_part_that_is_asked_for(runs, tmp_path, recent, share):
    """Of the start there is left what four steps leave of it; with 1 the average is the mean of all, the start too."""
    recipe = Tiny(ema=1.0, recent=recent)
    trainer = Trainer(recipe, Photographs(runs / "photos"), Options(tmp_path, steps=4))
    key = next(k for k, v in trainer.ema.items() if v.is_floating_point())
    trainer.ema[key].fill_(1.0)
    weights = trainer.network.state_dict()[key]
    with torch.no_grad():
        weights.zero_()
    for n in range(4):
        trainer._average_weights(n)
    assert trainer.ema[key].flatten()[0].item() == pytest.approx(share, rel=1e-5)
