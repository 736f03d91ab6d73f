"""Hazards: a resumed run drifts, two processes train something else than one, a run outlives its time box."""

import json
import math
import time
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from test_training_starts_wrong import EXAMPLES
from tiny_recipe import Tiny

from intaglio.errors import BadInput
from intaglio.train import parallel
from intaglio.train.data import Photographs
from intaglio.train.draws import Draws
from intaglio.train.loop import Options, Trainer
from intaglio.train.packs import pack


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    out = tmp_path_factory.mktemp("pack") / "photos"
    pack(EXAMPLES, out)
    return out


def steps(trainer, end, of):
    return [trainer.step(trainer.step_count / of)[1]["loss"].item() for _ in range(end - trainer.step_count)]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_resumed_run_goes_on_exactly(photos, tmp_path):
    data = Photographs(photos)
    whole = Trainer(Tiny(), data, Options(tmp_path / "whole", steps=6, seed=3))
    losses = steps(whole, 6, 6)
    first = Trainer(Tiny(), data, Options(tmp_path / "parts", steps=6, seed=3))
    (tmp_path / "parts").mkdir()
    parts = steps(first, 3, 6)
    first.save()
    torch.rand(100)  # whatever else the process does with the global generator
    second = Trainer(Tiny(), data, Options(tmp_path / "parts", steps=6, seed=3, resume=True))
    parts += steps(second, 6, 6)
    assert parts == losses
    assert same(second.network.state_dict(), whole.network.state_dict())
    assert same(second.ema, whole.ema)
    games = [t.opponents["patch"].game.state_dict() for t in (second, whole)]
    assert same(*games)
    assert second.pixels == whole.pixels == 6 * 4 * 64 * 64


def test_resuming_as_another_run_is_refused(photos, tmp_path):
    data = Photographs(photos)
    run = Trainer(Tiny(fooling=0), data, Options(tmp_path, steps=2))
    run.save()
    with pytest.raises(BadInput, match="seed"):
        Trainer(Tiny(fooling=0), data, Options(tmp_path, steps=2, seed=1, resume=True))


def one_of_two(rank, photos, out, port):
    import os

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    torch.set_num_threads(1)
    recipe = Tiny(batch=2)
    trainer = Trainer(recipe, Photographs(photos), Options(out, steps=5, seed=1))
    losses = []
    for _ in range(5):
        loss = trainer.step(trainer.step_count / 5)[1]["loss"].double()
        torch.distributed.all_reduce(loss)
        losses.append(loss.item() / 2)
    if rank == 0:
        torch.save({"losses": losses, "network": trainer.network.state_dict()}, out / "two.pt")
    parallel.leave()
    assert not any("gloo" in name for name in threads()), "they would abort a process that ends at a bad moment"


def threads():
    """The names of this process's threads, as Linux has them."""
    return [name.read_text() for name in Path("/proc/self/task").glob("*/comm")]


def test_two_processes_follow_one_with_the_doubled_batch(photos, tmp_path):
    port = 20000 + time.time_ns() % 20000
    mp.spawn(one_of_two, (photos, tmp_path, port), nprocs=2)
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    # spectral normalisation iterates once a pass, in every process alike, so the discriminators agree too
    one = Trainer(Tiny(batch=4), Photographs(photos), Options(tmp_path / "one", steps=5, seed=1))
    losses = steps(one, 5, 5)
    assert losses == pytest.approx(two["losses"], rel=1e-4)
    weights = one.network.state_dict()
    for key, value in two["network"].items():
        assert torch.allclose(value, weights[key], atol=2e-3), key


def test_processes_draw_the_parts_of_one_batch():
    whole = Draws(5, 7, 4)
    halves = [Draws(5, 7, 2, rank=r, world=2) for r in (0, 1)]
    for shape in ((), (3,), (2, 3)):
        parts = [h.uniform(*shape) for h in halves]
        assert torch.equal(whole.uniform(*shape), torch.cat(parts))
    assert whole.shared() == halves[0].shared() == halves[1].shared()
    assert not torch.equal(Draws(5, 8, 4).uniform(), Draws(5, 7, 4).uniform())
    assert not torch.equal(Draws(6, 7, 4).uniform(), Draws(5, 7, 4).uniform())


def test_a_run_ends_inside_its_time_box(photos, tmp_path):
    minutes = 0.1
    trainer = Trainer(Tiny(fooling=0), Photographs(photos), Options(tmp_path, minutes=minutes, log_seconds=1))
    trainer.run()
    spent = torch.load(tmp_path / "last.pt", weights_only=True)["elapsed"]
    assert 60 * minutes <= spent < 60 * minutes + 3, "the box and at most one step"
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows and all(math.isfinite(r["loss"]) for r in rows)
    for row in rows:
        assert sum(abs(share) for _, share in row["terms"].values()) == pytest.approx(1, abs=0.01)
    assert (tmp_path / "last.pt").exists() and list(tmp_path.glob("strip-*.png"))
    assert list((tmp_path / "tensorboard").iterdir())
