"""Hazards: a number that --set gives a recipe is not trained with, or lost when the run is resumed or exported; one
that cannot be set ends in a traceback; an export asks for photographs that the run already has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from running import call, noise, one_sentence

from intaglio import recipes
from intaglio.errors import BadInput
from intaglio.package import Package
from intaglio.train import numbers, run
from intaglio.train.packs import pack

BOX = ("--width", 4, "--crop", 64, "--batch", 1, "--threads", 1, "--pictures", 1)
NUMBERS = ("--set=latents=128", "--set=rise=nearest", "--set=delta=4,0.5", "--set=lambda_perc=0", "--set=lambda_adv=0")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    noise(folder / "a.png", 64, 64)
    return folder


@pytest.fixture(scope="module")
def out(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    out = tmp_path_factory.mktemp("out")
    assert call("train", "compressgan", "--data", photographs, "--out", out, "--steps", 2, *BOX, *NUMBERS) == 0
    return out


def stored(out: Path) -> dict:
    return torch.load(out / "last.pt", weights_only=True)


def test_numbers_are_trained_with(out: Path) -> None:
    state = stored(out)
    told = {"latents": 128, "rise": "nearest", "delta": [4.0, 0.5], "lambda_perc": 0.0, "lambda_adv": 0.0}
    assert {name: state["numbers"][name] for name in told} == told and state["stated"] == list(told)
    assert not state["games"] and not any("ConvTranspose" in name for name in state["network"])
    card = Package.read(out / "compressgan.itgm").card
    assert card["latents"] == 8
    assert card["training"]["stages"][-1]["numbers"] == told | {"width": 4, "crop": 64, "batch": 1}


def test_an_export_without_data_is_of_the_same_numbers(out: Path, tmp_path: Path) -> None:
    assert call("export", out, "-o", tmp_path / "again.itgm", "--pictures", 1) == 0
    assert (tmp_path / "again.itgm").read_bytes() == (out / "compressgan.itgm").read_bytes()


def test_an_export_of_a_run_without_photographs_asks_for_some(
    out: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counted: list = []
    monkeypatch.setattr(run, "write", lambda *given: counted.append(given[2].index["names"]))
    (tmp_path / "last.pt").write_bytes((out / "last.pt").read_bytes())
    assert call("export", tmp_path) == 2
    assert "--data" in one_sentence(capsys.readouterr().err)
    pack(photographs, tmp_path / "elsewhere" / "pack")
    assert call("export", tmp_path, "--data", tmp_path / "elsewhere" / "pack") == 0
    assert counted == [["a.png"]]


def test_old_checkpoints_hold_other_numbers() -> None:
    recipe = recipes.recipe("intaglio1-small")
    stored = {"shape": "Shape(width=3)", "gone": 7, "name": "other", "mixed": 0.5, "betas": [0.5, 0.9]}
    assert numbers.kept(recipe, stored) == {"mixed": 0.5, "betas": (0.5, 0.9)}
    hific = recipes.recipe("hific-lo")
    assert numbers.kept(hific, dataclasses.asdict(hific))["target_bpp"] == hific.target_bpp


def test_a_resumed_run_keeps_its_numbers(
    out: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "write", lambda *given: None)
    (tmp_path / "last.pt").write_bytes((out / "last.pt").read_bytes())
    again = ("train", "compressgan", "--data", photographs, "--out", tmp_path, "--resume", "--steps", 3, *BOX)
    assert call(*again, "--set", "rise=transposed") == 2
    assert "rise = 'nearest'" in one_sentence(capsys.readouterr().err)
    assert call(*again, "--set", "ema=0.5") == 2  # a default that the run began with
    assert "ema = 0.999" in one_sentence(capsys.readouterr().err)
    assert call(*again, "--set", "latents=128") == 0
    first, last = stored(out), stored(tmp_path)
    assert last["step"] == 3 and last["numbers"] == first["numbers"]
    assert set(last["stated"]) == set(first["stated"])


def test_a_resumed_run_keeps_what_its_options_said(
    out: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless they are given anew: a gradient that is not finite asks for a lower --rate. Another --width never fits."""
    monkeypatch.setattr(run, "write", lambda *given: None)
    (tmp_path / "last.pt").write_bytes((out / "last.pt").read_bytes())
    again = ("train", "compressgan", "--data", photographs, "--out", tmp_path, "--resume", "--threads", 1)
    assert call(*again, "--steps", 3) == 0
    first, last = stored(out), stored(tmp_path)
    assert last["step"] == 3 and last["numbers"] == first["numbers"]
    said = [state["training"]["stages"][-1]["numbers"] for state in (first, last)]
    assert said[0] == said[1] and {"width", "crop", "batch"} <= said[1].keys()
    assert call(*again, "--steps", 4, "--rate", 1e-5) == 0
    assert stored(tmp_path)["numbers"] == first["numbers"] | {"rate": 1e-5}
    assert call(*again, "--steps", 5, "--width", 8) == 2
    assert "a run of width 4" in one_sentence(capsys.readouterr().err)


@pytest.mark.parametrize(("word", "told"), [
    ("latents=16", {"latents": 16}), ("beta=0", {"beta": 0.0}), ("perceptual=lpips", {"perceptual": "lpips"}),
    ("delta=4,0.5", {"delta": (4.0, 0.5)}), ("target_bpp=0.2", {"target_bpp": 0.2}), ("noisy=true", {"noisy": True}),
])  # fmt: skip
def test_values_are_of_their_fields_types(word: str, told: dict) -> None:
    given = numbers.stated(recipes.recipe("compressgan" if "noisy" in word else "hific-mi"), [word])
    assert given == told and [type(v) for v in given.values()] == [type(v) for v in told.values()]


@pytest.mark.parametrize(("word", "told"), [
    ("gamma=1", "can be set .*beta.*latents"), ("beta", "NAME=VALUE"), ("name=x", "can be set"),
    ("width=8", "its own option, --width"), ("rate=1", "its own option, --rate"), ("latents=1.5", "a whole number"),
    ("beta=much", "a number"), ("beta=nan", "from 0 on"), ("beta=-1", "from 0 on"), ("beta=inf", "from 0 on"),
    ("noisy=2", "true or false"), ("delta=4", "2 times a number"), ("delta=4,2,1", "2 times"), ("delta=4,", "2 times"),
])  # fmt: skip
def test_what_cannot_be_set_is_told(word: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        numbers.stated(recipes.recipe("compressgan" if "noisy" in word else "hific-mi"), [word])


@pytest.mark.parametrize("word", ["thrift=1", "mixed=0.5"])
def test_what_a_stage_inherits_and_never_reads_cannot_be_set(word: str) -> None:
    assert numbers.stated(recipes.recipe("intaglio1-small-perceptual"), [word])
    with pytest.raises(BadInput, match="of intaglio1-small-realism can be set"):
        numbers.stated(recipes.recipe("intaglio1-small-realism"), [word])


@pytest.mark.parametrize(("recipe", "word"), [
    ("compressgan", "gamma=1"), ("compressgan", "distance=l3"), ("compressgan", "kind=nonsense"),
    ("hific-mi", "perceptual=nonsense"),
    ("compressgan", "rise=nonsense"), ("compressgan", "delta=0,0"), ("compressgan", "latents=0"),
    ("compressgan", "betas=2,2"), ("compressgan", "critic_betas=1,1"), ("progressive", "fades=0"),
    ("progressive", "first=6"), ("extreme-gc", "levels=4"), ("intaglio1-small-perceptual", "glimpses=0"),
    ("intaglio1-small-realism", "glimpse=2"), ("intaglio1-small-realism", "dialled=flter"),
    ("hific-mi", "glimpse=2"), ("hific-mi", "zeta_a=0.01"), ("hific-mi", "target_bpp=0"), ("extreme-gc", "noise=300"),
    ("extreme-gc", "channels=1"), ("extreme-sc", "latents=1"), ("intaglio1-small", "shape=1"),
    ("hific-xgb", "rounds=3"), ("hific-knn", "rounds=3"),
])  # fmt: skip
def test_nonsense_on_the_command_line_is_a_sentence(
    recipe: str, word: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = () if recipe.startswith("intaglio1") else BOX[:2] if not recipe.startswith("hific-") else ()
    small = ("--width", 8) if recipe == "hific-mi" else box
    no_vgg = ("--set", "lambda_perc=0") if recipe == "compressgan" else ()
    assert call("train", recipe, "--data", photographs, "--out", tmp_path / "run", "--steps", 1, *small, *no_vgg,
                "--set", word) == 2  # fmt: skip
    one_sentence(capsys.readouterr().err)
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize("rate", [0, -1, "nan", "inf"])
def test_no_learning_rate_is_a_sentence(
    rate: object, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "vae", "--data", photographs, "--out", tmp_path / "run", "--steps", 1, "--rate", rate) == 2
    assert "learning rate above 0" in one_sentence(capsys.readouterr().err)


@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to allocate 2 GiB", "[..] can't allocate memory"])
def test_too_little_memory_is_a_sentence(
    words: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(*given: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr("intaglio.train.loop.Trainer.step", step)
    assert call("train", "vae", "--data", photographs, "--out", tmp_path, "--steps", 1, *BOX) == 1
    assert "--batch or --crop" in one_sentence(capsys.readouterr().err)
