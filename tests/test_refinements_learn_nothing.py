"""Hazard: the graph in the package is not the model that was fitted, the fit learns the noise (or nothing at all), or
the command that refines a package breaks what it was given."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_pictures import photograph
from PIL import Image
from running import call, one_sentence

import intaglio
from intaglio import recipes, refine
from intaglio.codec import Encoder
from intaglio.package import Package
from intaglio.pictures import load
from intaglio.reader import Reader
from intaglio.recipes.refined import knn, xgb
from intaglio.runtime import Runtime, runtime
from intaglio.train import boosting, neighbours, refine_data
from intaglio.train.data import Photographs
from intaglio.train.packs import pack
from intaglio.train.refine import Budget, Refinement
from intaglio.train.refine import refine as refine_package
from intaglio.train.refine_data import Samples

PLACE = refine.SIDE**2 // 2


def made_up(count: int, seed: int, noise: float = 4.0, wavy: float = 6.0) -> Samples:
    """Samples whose correction is a bent function of two neighbours, under noise."""
    rng = np.random.default_rng(seed)
    seen = rng.integers(-60, 61, (count, refine.FEATURES)).astype(np.int16)
    seen[:, PLACE] = rng.integers(0, 256, count)
    seen[:, -5:] = rng.integers(0, 64, (count, 5))
    truth = wavy * np.tanh(seen[:, 10] / 30) * (seen[:, 38] > 0)
    return Samples(seen, (truth + rng.normal(0, noise, count)).astype(np.float32))


def in_heaps(count: int, seed: int, noise: float = 4.0) -> Samples:
    """Samples of twenty kinds, each with a correction of its own, under noise."""
    kinds = made_up(20, 99, 0.0)
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 20, count)
    seen = kinds.seen[kind] + rng.integers(-2, 3, (count, refine.FEATURES)).astype(np.int16)
    return Samples(seen, (np.arange(-10, 10)[kind] / 2 + rng.normal(0, noise, count)).astype(np.float32))


def corrected(package: Package, graph: bytes, seen: np.ndarray, threads: int = 1) -> np.ndarray:
    return Runtime(package.with_refinement(graph, {"percent": 0}), "cpu", threads).refinement(seen.astype(np.float32))


def boosted(fit: Samples, held: Samples, told: Any = lambda *a: None, **numbers: Any) -> Any:
    pytest.importorskip("xgboost", reason="needs intaglio[gbdt]")
    numbers = {"rounds": 40, "patience": 5, "rate": 0.3, "depth": 4, "lam": 1.0, "gamma": 0.0, "least": 1.0,
               "deadline": math.inf, **numbers}
    return boosting.boost(fit, held, seed=0, threads=1, told=told, **numbers)


def test_the_graph_is_the_booster(tiny: Package) -> None:
    xgboost = pytest.importorskip("xgboost", reason="needs intaglio[gbdt]")
    booster = boosted(made_up(4000, 1), made_up(1000, 2))
    graph, size = boosting.graph(booster)
    seen = made_up(20_000, 3).seen
    want = booster.predict(xgboost.DMatrix(seen.astype(np.float32)))
    got = corrected(tiny, graph, seen)
    assert size["trees"] == booster.num_boosted_rounds() > 5 and size["leaves"] > 50
    assert want.std() > 1
    assert np.abs(got - want).max() <= size["trees"] / 2 / refine.UNIT + 1e-4, "its leaves are rounded"
    assert (got * refine.UNIT == np.rint(got * refine.UNIT)).all(), "so that its sums are exact"
    assert (corrected(tiny, graph, seen, 3) == got).all()


def test_splits_hold_at_their_very_thresholds(tiny: Package) -> None:
    """Whole numbers on a threshold go to the same side in the graph as in XGBoost."""
    xgboost = pytest.importorskip("xgboost", reason="needs intaglio[gbdt]")
    seen = np.zeros((200, refine.FEATURES), np.int16)
    seen[:, 7] = np.arange(200) - 100
    fit = Samples(seen, np.where(seen[:, 7] < -3, -8, np.where(seen[:, 7] < 40, 1, 5)).astype(np.float32))
    booster = boosted(fit, fit, depth=2)
    want = booster.predict(xgboost.DMatrix(seen.astype(np.float32)))
    got = corrected(tiny, boosting.graph(booster)[0], seen)
    assert np.abs(got - want).max() < 0.03
    assert np.abs(got - fit.wanted).max() < 0.1


def test_boosting_stops_when_held_out_samples_gain_no_more() -> None:
    steps: list[tuple[int, float, float]] = []
    told = lambda *step: steps.append(step)  # noqa: E731
    few, held = made_up(300, 1), made_up(3000, 2)
    booster = boosted(few, held, told, rounds=200, depth=6)
    best = min(steps, key=lambda step: step[2])
    assert len(steps) < 200 and booster.num_boosted_rounds() == best[0]
    assert steps[-1][1] < best[1] and steps[-1][2] > best[2], "it went on learning the noise, and that was cut off"


def test_gamma_prunes_and_lambda_shrinks(tiny: Package) -> None:
    """Equation 4: a leaf costs gamma, and half lambda times its weight squared."""
    fit, held = made_up(3000, 1), made_up(1000, 2)
    leaves, sizes = {}, {}
    for gamma, lam in ((0.0, 0.0), (300.0, 0.0), (0.0, 3000.0), (1e9, 0.0)):
        graph, size = boosting.graph(boosted(fit, held, rounds=1, gamma=gamma, lam=lam))
        leaves[gamma, lam] = size["leaves"]
        sizes[gamma, lam] = float(np.abs(corrected(tiny, graph, fit.seen)).mean())
    assert leaves[1e9, 0] == 1 < leaves[300, 0] < leaves[0, 0]
    assert sizes[0, 3000] < 0.7 * sizes[0, 0]


@pytest.mark.parametrize("label", ["xgb", "knn"])
def test_what_cannot_be_learned_is_not(tiny: Package, label: str) -> None:
    """The mechanism off: the corrections of other pixels. New samples must not seem to gain."""
    if label == "xgb":
        pytest.importorskip("xgboost", reason="needs intaglio[gbdt]")
    recipe: Refinement = dataclasses.replace(xgb, gamma=20.0) if label == "xgb" else dataclasses.replace(
        knn, rounds=2, references=200, lam=5.0)
    make = made_up if label == "xgb" else in_heaps
    fit, held, new = make(8000, 1), make(2000, 2), make(2000, 3)
    shuffled = Samples(fit.seen, np.random.default_rng(0).permutation(fit.wanted))
    error = []
    for samples in (fit, shuffled):
        graph, _ = recipe.fit(samples, held, Budget(threads=1), lambda entry: None)
        error.append(float(np.square(new.wanted - corrected(tiny, graph, new.seen)).mean()))
    plain = float(np.square(new.wanted).mean())
    assert error[1] > 0.98 * plain
    assert error[0] < 0.75 * plain


def test_rates_weigh_alike() -> None:
    samples = made_up(20_000, 1)
    scale = np.exp(-samples.seen[:, -1] / 20).astype(np.float32)
    samples = Samples(samples.seen, samples.wanted * scale)
    weight = boosting.weights(samples, boosting.error_curve(samples))
    error = [float((weight * np.square(samples.wanted))[part].mean())
             for part in (samples.seen[:, -1] < 20, samples.seen[:, -1] > 44)]
    assert weight.mean() == pytest.approx(1)
    assert max(error) < 1.3 * min(error)
    one = Samples(samples.seen[:50].copy(), samples.wanted[:50])
    one.seen[:, -1] = 7
    assert boosting.weights(one, boosting.error_curve(one)) == pytest.approx(1), "a model of a single rate"


def test_the_twin_finds_the_nearest(tiny: Package) -> None:
    """The graph against scikit-learn's k nearest neighbours."""
    sklearn = pytest.importorskip("sklearn.neighbors", reason="needs intaglio[gbdt]")
    fit, new = made_up(3000, 1), made_up(500, 2)
    references, wanted = neighbours.condense(fit, references=64, rounds=3, lam=10.0, k=4, seed=0, deadline=math.inf,
                                             told=lambda *a: None)
    graph = neighbours.graph(references, wanted, 4)
    got = corrected(tiny, graph, new.seen)
    model = sklearn.KNeighborsRegressor(4, algorithm="brute").fit(references, wanted)
    want = model.predict(neighbours.scaled(new.seen))
    assert np.mean(np.abs(got - want) < 1e-4) > 0.98, "ties aside"
    assert (corrected(tiny, graph, new.seen, 2) == got).all()
    near = sklearn.NearestNeighbors(n_neighbors=1).fit(references).kneighbors(neighbours.scaled(fit.seen))[1][:, 0]
    own = [fit.wanted[near == i].sum() / ((near == i).sum() + 10.0) for i in range(64)]
    assert np.median(np.abs(np.array(own) - wanted)) < 0.01, "a mean of the samples around it, drawn towards zero"


def test_the_twins_references_take_plain_means_as_its_page_says() -> None:
    """Unlike the trees, it has no weights: of two samples in one place at far rates, both count alike."""
    seen = np.zeros((2, refine.FEATURES), np.int16)
    seen[1, -1] = 63
    _, wanted = neighbours.condense(Samples(seen, np.array([1, 3], np.float32)), references=1, rounds=2, lam=0.0, k=1,
                                    seed=0, deadline=math.inf, told=lambda *a: None)
    assert wanted.tolist() == [2.0]


def test_distances_are_exact() -> None:
    """The largest products that pixels can give stay below 2^24, where float32 holds every whole number."""
    worst = np.full((1, refine.FEATURES), 255, np.int16)
    worst[0, -1] = 63
    point = np.abs(neighbours.scaled(worst))
    assert 2 * float((point**2).sum()) < 2**24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small photographs."""
    place = tmp_path_factory.mktemp("photographs")
    for i in range(6):
        Image.fromarray(photograph(70 * i, 40 * i, 190, 140)).save(place / f"{i}.png")
    return place


@pytest.fixture(scope="module")
def photographs(folder: Path) -> Photographs:
    pack(folder, folder.parent / f"{folder.name}-pack")
    return Photographs(folder.parent / f"{folder.name}-pack")


def test_samples_are_pixels_as_they_decode(tiny: Package, photographs: Photographs) -> None:
    """Y pixels of each photograph, fewer being the first of more; what is missing in them; where they are."""
    few = refine_data.gather(tiny, photographs, [0, 3], 10, 1, threads=1)
    more = refine_data.gather(tiny, photographs, [0, 3], 500, 1, threads=1)
    every = refine_data.gather(tiny, photographs, [0, 3], None, 1, threads=1)
    assert (len(few), len(more)) == (20, 1000) and len(every) == 2 * (190 - 32) * (140 - 32)
    assert (more.seen[:10] == few.seen[:10]).all() and (more.wanted[:10] == few.wanted[:10]).all()
    assert few.seen.dtype == np.int16 and np.abs(few.seen).max() <= 255
    q = int(few.seen[0, -1])
    whole = photograph(0, 0, 190, 140)
    file = Encoder(load(whole), runtime(tiny), 0.0, False, lambda share: None).at(q)
    missing = (whole.astype(float) - np.asarray(intaglio.decode(file, model=tiny, threads=1))).mean(2)[16:-16, 16:-16]
    first = every.wanted[: missing.size]
    assert np.sort(first) == pytest.approx(np.sort(missing.ravel()), abs=1e-4)
    x, y = every.seen[: missing.size, -5], every.seen[: missing.size, -4]
    assert (x.min(), y.min()) == (256 * 16 // 190, 256 * 16 // 140) and x.max() == 256 * (189 - 16) // 190


def test_samples_are_without_the_grain_that_is_added_to_what_was_refined(tiny: Package, tmp_path: Path) -> None:
    noisy = photograph(0, 0, 190, 140).astype(float) + np.random.default_rng(0).normal(0, 8, (140, 190, 1))
    (tmp_path / "noisy").mkdir()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / "noisy/a.png")
    pack(tmp_path / "noisy", tmp_path / "pack")
    photographs = Photographs(tmp_path / "pack")
    grainy = dataclasses.replace(tiny, card=tiny.card | {"grain": [16.0, 2.6], "realism": 1.0})
    plain = dataclasses.replace(tiny, card=tiny.card | {"realism": 1.0})
    file = intaglio.encode(tmp_path / "noisy/a.png", quality=30, model=grainy)
    assert intaglio.info(file)["grain"] > 2
    a, b = (refine_data.gather(package, photographs, [0], None, 1, threads=1) for package in (grainy, plain))
    assert (a.seen == b.seen).all() and (a.wanted == b.wanted).all()


def test_more_samples_than_pixels_are_all_pixels_of_as_many_photographs(
    tiny: Package, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--samples 1000000 must not leave photographs out for pixels that they do not have."""
    area = (190 - 32) * (140 - 32)
    monkeypatch.setattr(refine_data, "MOST", 2 * area + 1)
    for pixels in (None, 10**30):
        samples = refine_data.gather(tiny, photographs, [0, 3, 4], pixels, 1, threads=1)
        assert (len(samples), samples.photographs) == (2 * area, 2)
    late = refine_data.gather(tiny, photographs, [0, 3, 4], 10, 1, deadline=0.0, threads=1)
    assert (len(late), late.photographs) == (10, 1), "what was not looked at is not counted"


def test_photographs_that_say_when_to_stop_are_not_learned_from() -> None:
    fit, held = refine_data.split(20, 0.15, 3)
    assert len(held) == 3 and sorted([*fit, *held]) == list(range(20))
    with pytest.raises(intaglio.BadInput, match="two photographs"):
        refine_data.split(1, 0.15, 0)


@pytest.mark.parametrize("name", recipes.REFINEMENTS)
def test_the_command_refines_a_package(
    name: str, tiny: Package, tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "hific-xgb":
        pytest.importorskip("xgboost", reason="needs intaglio[gbdt]")
    run = tmp_path / "run"
    command = ["train", name, "--warm", tiny_model, "--data", folder, "--out", run, "--steps", 20, "--threads", 1]
    assert call(*map(str, command), "--samples", "240") == 0
    assert "held out" in capsys.readouterr().out
    model = Package.read(run / f"{name}.itgm")
    assert model.plain == tiny.fingerprint != model.fingerprint and model.name == f"tiny+{name[6:]}"
    facts = model.card["refinement"]
    assert facts["samples"] == 240 and facts["pixels"] == 5 * 240 and facts["photographs"] == 5
    assert facts["held_out"]["photographs"] == 1
    assert all(tiny.members[n] == model.members[n] for n in tiny.members)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert 1 <= max(entry.get("step", 0) for entry in log) <= 20
    picture, file = tmp_path / "photo.png", tmp_path / "photo.itg"
    Image.fromarray(photograph(100, 100, 190, 140)).save(picture)
    assert call("encode", str(picture), "--model", str(run / f"{name}.itgm"), "-o", str(file), "-q", "30") == 0
    assert call("decode", str(file), "--model", str(run / f"{name}.itgm"), "-o", str(tmp_path / "back.png")) == 0
    with Reader(file) as reader:
        assert reader.header.fingerprint == (tiny if reader.refined is None else model).fingerprint
    assert call(*map(str, command)) == 2, "a run is not written over"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["hific-xgb"], "--warm"),
        (["hific-xgb", "--warm", "MODEL", "--crop", "64"], "--crop"),
        (["hific-xgb", "--warm", "MODEL", "--bfloat16"], "--bfloat16"),
        (["hific-knn", "--warm", "MODEL", "--resume"], "--resume"),
        (["hific-knn", "--warm", "MODEL", "--samples", "0"], "--samples 0"),
        (["hific-knn", "--warm", "MODEL", "--samples", "some"], "--samples some"),
        (["hific-knn", "--warm", "nowhere.itgm"], "nowhere.itgm"),
        (["intaglio1-small", "--steps", "1", "--samples", "120"], "--samples is for refinements"),
    ],
)
def test_senseless_options_are_named(
    options: list[str], match: str, tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tiny_model) if word == "MODEL" else word for word in options]
    assert call("train", *words, "--data", str(folder), "--out", str(tmp_path / "run")) in (1, 2)
    assert match in one_sentence(capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_without_xgboost_it_is_said(
    tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    command = ["train", "hific-xgb", "--warm", tiny_model, "--data", folder, "--out", tmp_path / "run"]
    assert call(*map(str, command)) in (1, 2)
    assert "pip install 'intaglio[gbdt]'" in one_sentence(capsys.readouterr().err)
    assert not (tmp_path / "run").exists(), "it is said before the photographs are decoded"


def test_a_time_box_holds(tiny: Package) -> None:
    steps: list[int] = []
    boosted(made_up(2000, 1), made_up(500, 2), lambda number, *a: steps.append(number), rounds=10**6, patience=10**6,
            deadline=0.0)
    assert len(steps) == 1
    neighbours.condense(made_up(2000, 1), references=8, rounds=10**6, lam=1.0, k=4, seed=0, deadline=0.0,
                        told=lambda number, *a: steps.append(number))
    assert len(steps) == 2


def test_decoding_needs_no_xgboost(tiny: Package, tmp_path: Path) -> None:
    """And no torch or scikit-learn: the graph runs in onnxruntime."""
    pytest.importorskip("xgboost", reason="needs intaglio[gbdt]")
    graph, _ = boosting.graph(boosted(made_up(500, 1), made_up(500, 2), rounds=3))
    (tmp_path / "model.itgm").write_bytes(tiny.with_refinement(graph, {"percent": 0}).to_bytes())
    program = (
        "import sys, numpy, intaglio; from intaglio.package import resolve; from intaglio.runtime import runtime;"
        f"m = resolve({str(tmp_path / 'model.itgm')!r}); x = numpy.zeros((99, 80, 3), 'u1') + 90;"
        "intaglio.decode(intaglio.encode(x, model=m), model=m); runtime(m).refinement(numpy.zeros((9, 54), 'f4'));"
        "print([n for n in ('xgboost', 'sklearn', 'scipy', 'torch', 'onnx') if n in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert child.stdout.strip() == "[]", child.stderr


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    """Photographs of scikit-image, cut into squares."""
    data = pytest.importorskip("skimage.data")
    place = tmp_path_factory.mktemp("album")
    for name in ("astronaut", "coffee", "rocket"):
        picture = Image.fromarray(getattr(data, name)())
        for y in range(0, picture.height - 191, 96):
            for x in range(0, picture.width - 191, 96):
                picture.crop((x, y, x + 192, y + 192)).save(place / f"{name}-{y}-{x}.png")
    pack(place, place.parent / "album-pack")
    return Photographs(place.parent / "album-pack")


@pytest.mark.slow
@pytest.mark.parametrize("label", ["xgb", "knn"])
def test_a_refinement_helps_photographs_that_it_never_saw(label: str, tiny: Package, album: Photographs) -> None:
    """A small frozen model, refined, on another photograph: the error falls by more than the switches cost. With the
    mechanism off, where every pixel is told another one's correction, nothing is left of it. (Of a released model it
    would say how much that one leaves to find: the better it is, the less.)"""
    if label == "xgb":
        pytest.importorskip("xgboost", reason="needs intaglio[gbdt]")
    recipe = dataclasses.replace(xgb, rounds=40) if label == "xgb" else dataclasses.replace(knn, rounds=3)
    recipe = dataclasses.replace(recipe, samples=4000, photographs=60)

    class Blind(type(recipe)):  # type: ignore[misc]
        def fit(self, fit: Samples, held: Samples, budget: Budget, log: Any) -> tuple[bytes, dict[str, Any]]:
            order = np.random.default_rng(0).permutation(len(fit))
            return super().fit(Samples(fit.seen, fit.wanted[order]), held, budget, log)

    source = photograph(300, 100, 320, 256)
    left = {}
    for how in (recipe, Blind(**vars(recipe))):
        model = refine_package(tiny, how, album, Budget(threads=1), lambda entry: None)
        encoder = Encoder(load(source), runtime(model, "cpu", 1), 0.0, False, lambda share: None)
        plain = encoder.at(28)
        file = encoder.refined(plain)
        error = [float(np.square(np.asarray(intaglio.decode(f, model=model)).astype(float) - source).mean())
                 for f in (plain, file)]
        assert error[1] * len(file) <= error[0] * len(plain)
        left[how] = error[1] * len(file) / (error[0] * len(plain))
    assert left.pop(recipe) < (0.95 if label == "xgb" else 0.99)
    assert left.popitem()[1] > 0.997
