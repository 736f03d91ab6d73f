"""Hazard: a run trains, or counts its tables, on photographs that its folder no longer holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.errors import BadInput
from intaglio.train import checkpoint, packs, run
from intaglio.train.data import Photographs
from intaglio.train.loop import Options
from intaglio.train.packs import is_current, prepare


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    (path / "more").mkdir(parents=True)
    photograph(path / "a.png", 1)
    photograph(path / "more" / "b.png", 2)
    return path


def photograph(path: Path, level: int) -> None:
    Image.new("RGB", (64, 64), (level, level, level)).save(path)


def levels(pack: Path) -> list[int]:
    return sorted(np.unique(Photographs(pack).flat.numpy()).tolist())


def test_what_the_folder_holds_now_is_packed(folder: Path, tmp_path: Path) -> None:
    assert levels(prepare(folder, tmp_path / "out")) == [1, 2]
    photograph(folder / "c.png", 3)
    assert levels(prepare(folder, tmp_path / "out")) == [1, 2, 3]
    photograph(folder / "c.png", 40)
    assert levels(prepare(folder, tmp_path / "out")) == [1, 2, 40]
    (folder / "c.png").unlink()
    assert levels(prepare(folder, tmp_path / "out")) == [1, 2]


def test_label_maps_that_come_later_are_seen_and_gone_ones_are_not(folder: Path, tmp_path: Path) -> None:
    assert not Photographs(prepare(folder, tmp_path / "out")).labelled
    Image.new("L", (64, 64)).save(folder / "a.labels.png")
    assert Photographs(prepare(folder, tmp_path / "out")).labelled
    (folder / "a.labels.png").unlink()
    assert not Photographs(prepare(folder, tmp_path / "out")).labelled


def test_an_unchanged_folder_is_packed_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the run's folder, and what it draws there, lies among the photographs."""
    monkeypatch.chdir(tmp_path)
    for out in (tmp_path / "out", folder / "run"):
        first = prepare(folder, out)
        photograph(out / "strip-0000001.png", 99)
        monkeypatch.setattr(packs, "pack", None)
        assert prepare(Path("photos"), out) == first
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
    assert levels(folder / "run" / "photographs") == [1, 2]
    with pytest.raises(BadInput, match="folder of its own"):
        prepare(folder, folder)


def test_what_other_runs_drew_is_no_photograph(folder: Path, tmp_path: Path) -> None:
    """Legs in folders beside one another, among the photographs: strips show what a codec made of them."""
    for run_folder, mark in (("out/first", "log.jsonl"), ("out/first/run0", "last.pt")):
        (folder / run_folder).mkdir(parents=True)
        photograph(folder / run_folder / "strip-0000020.png", 99)
        (folder / run_folder / mark).touch()
    assert levels(prepare(folder, folder / "out/second")) == [1, 2]
    assert levels(prepare(folder, tmp_path / "elsewhere")) == [1, 2]


def test_a_pack_is_made_by_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.folder"  # the name of a pack keeps its dots
    monkeypatch.setattr("sys.argv", ["packs", str(folder), str(out)])
    packs.main()
    assert capsys.readouterr().out == f"{out / 'photographs'}\n" and levels(out / "photographs") == [1, 2]
    monkeypatch.setattr("sys.argv", ["packs", str(tmp_path / "nowhere"), str(out)])
    with pytest.raises(SystemExit):
        packs.main()
    assert "nowhere" in capsys.readouterr().err


def test_the_folder_that_one_stands_in_is_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert levels(prepare(Path("."), tmp_path / "out")) == [1, 2]


def test_a_resumed_run_goes_on_with_its_own_photographs_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    pack = prepare(folder, tmp_path / "out")
    photograph(folder / "c.png", 3)
    with pytest.raises(BadInput, match="other files than this run") as told:
        prepare(folder, tmp_path / "out", resume=True)
    assert f"--data {pack}" in str(told.value) and levels(pack) == [1, 2]
    assert prepare(pack, tmp_path / "out", resume=True) == pack


def test_an_export_counts_the_photographs_that_it_is_given(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves those of the run, which may yet be resumed."""
    out, other, counted = tmp_path / "out", tmp_path / "other", []
    own = prepare(folder, out)
    other.mkdir()
    photograph(other / "z.png", 9)
    state = {"recipe": "vae", "numbers": {"width": 8}, "ema": {}, "training": {}}
    monkeypatch.setattr(checkpoint, "load", lambda path: state)
    monkeypatch.setattr(checkpoint, "fill", lambda *given: None)
    monkeypatch.setattr(run, "write", lambda *given: counted.append(given[2].index["names"]))
    for data in (other, folder, own):
        run.export(out / "last.pt", data, None)
    assert counted == [["z.png"], ["a.png", "more/b.png"], ["a.png", "more/b.png"]]
    assert is_current(own, folder)


def test_every_process_has_the_photographs_on_its_own_gpu(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[object] = []

    class Enough(Exception):
        """What follows needs the GPU."""

    def placed(pack: Path, device: str) -> None:
        places.append(device)
        raise Enough

    monkeypatch.setattr(run, "device_of", lambda name: "cuda")
    monkeypatch.setattr(run.parallel, "join", lambda: (0, 3, 1))
    monkeypatch.setattr(torch.cuda, "set_device", places.append)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda name: None)
    for flag in ("allow_tf32", "benchmark"):  # which train() sets for good
        monkeypatch.setattr(torch.backends.cudnn, flag, getattr(torch.backends.cudnn, flag))
    monkeypatch.setattr(run, "Photographs", placed)
    with pytest.raises(Enough):
        run.train("vae", folder, Options(tmp_path / "out", steps=1), threads=torch.get_num_threads())
    assert places == [3, "cuda:3"]


def test_packs_that_do_not_say_what_they_were_made_of_are_used(folder: Path, tmp_path: Path) -> None:
    index = prepare(folder, tmp_path / "out").with_suffix(".json")
    told = json.loads(index.read_text())
    del told["files"], told["folder"]
    index.write_text(json.dumps(told))
    photograph(folder / "c.png", 3)
    assert levels(prepare(folder, tmp_path / "out", resume=True)) == [1, 2]


def test_a_damaged_index_is_made_anew(folder: Path, tmp_path: Path) -> None:
    prepare(folder, tmp_path / "out").with_suffix(".json").write_text("{")
    assert levels(prepare(folder, tmp_path / "out")) == [1, 2]
