"""Hazard: a paper's system trains, and then cannot be exported, or its package codes no real photograph, or its files
are not as large as its prior says.

Every recipe here takes 20 steps at width 8 on the example photographs, is exported, and codes a part of one through
the command line.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from running import call
from test_bytes_above_the_estimate import estimate

import intaglio
from intaglio import recipes
from intaglio.codec import quality_to_q
from intaglio.errors import BadInput
from intaglio.package import Package
from intaglio.reader import Reader
from intaglio.train import run
from intaglio.train.data import Photographs
from intaglio.train.draws import Draws
from intaglio.train.loop import Options, Trainer
from intaglio.train.numbers import change
from intaglio.train.packs import pack

EXAMPLES = Path(__file__).parent.parent / "examples"
SYSTEMS = ["autoencoder", "vae", "compressgan", "hific-lo", "hific-mi", "hific-hi", "extreme-gc", "extreme-gc-labels",
           "aae", "conditional", "progressive", "wgan-gp"]  # extreme-sc has files of its own kind, and tests of its own
WITHOUT_VGG = {"lambda_perc": 0.0, "k_p": 0.0}  # its weights are not everywhere, and are tested elsewhere


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    out = tmp_path_factory.mktemp("pack") / "photos"
    pack(EXAMPLES, out)
    return out


@pytest.fixture(scope="module")
def photos(packed):
    return Photographs(packed)


@pytest.fixture(scope="module")
def labels_packed(tmp_path_factory):
    folder = labelled_pictures(tmp_path_factory.mktemp("labelled"))
    out = tmp_path_factory.mktemp("pack") / "labelled"
    pack(folder, out)
    return out


def labelled_pictures(folder):
    """Pictures of two flat classes with grain, and their label maps."""
    rng = np.random.default_rng(0)
    for i in range(4):
        ids = np.kron(rng.integers(0, 2, (4, 4)), np.ones((32, 32), int)).astype(np.uint8)
        grey = np.where(ids, 180, 70)[..., None] + rng.normal(0, 12, (128, 128, 3))
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        Image.fromarray(ids).save(folder / f"{i}.labels.png")
    return folder


@pytest.fixture(scope="module")
def labelled(labels_packed):
    return Photographs(labels_packed)


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    path = tmp_path_factory.mktemp("photograph") / "dog.png"
    Image.open(EXAMPLES / "dog.webp").convert("RGB").crop((200, 150, 392, 310)).save(path)
    return path


def small(name, **numbers):
    """The recipe at width 8, with crops and batches for a CPU and no VGG."""
    recipe = recipes.recipe(name)
    numbers |= {k: v for k, v in WITHOUT_VGG.items() if hasattr(recipe, k)}
    return change(recipe, width=8, crop=64, batch=4, rate=1e-3, **numbers)


def trained(recipe, photos, folder, steps=20):
    torch.set_num_threads(1)
    trainer = Trainer(recipe, photos, Options(folder, steps=steps))
    for n in range(steps):
        trainer.step(n / steps)
    return trainer


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_trains_exports_and_codes_a_photograph(name, photograph, tmp_path, monkeypatch):
    recipe = recipes.recipe(name)
    (tmp_path / "labelled").mkdir()
    data = labelled_pictures(tmp_path / "labelled") if name == "extreme-gc-labels" else EXAMPLES
    words = [f"--set={k}=0" for k in WITHOUT_VGG if hasattr(recipe, k)]
    box = ("--steps", 20, "--width", 8, "--crop", 64, "--batch", 4, "--rate", 1e-3, "--threads", 1)
    with monkeypatch.context() as once:
        once.setattr(run, "write", lambda *given: None)  # the run's own package, for time: the next line makes the same
        assert call("train", name, "--data", data, "--out", tmp_path / "run", *box, *words) == 0
    assert call("export", tmp_path / "run", "--pictures", 4) == 0  # which finds recipe, numbers and pack by itself
    model = tmp_path / "run" / f"{name}.itgm"
    file, shown = tmp_path / "dog.itg", tmp_path / "shown.png"
    assert call("encode", photograph, "-o", file, "--model", model) == 0
    assert call("decode", file, "-o", shown, "--model", model) == 0
    source, decoded = (np.asarray(Image.open(p).convert("RGB")).astype(float) for p in (photograph, shown))
    assert decoded.shape == source.shape and 0 < np.abs(decoded - source).mean() < 100
    bits, tiles = estimate(Image.open(photograph), quality_to_q(50), Package.read(model))
    with Reader(file) as reader:
        size = sum(len(reader.tile(i)) for i in range(tiles))
    assert bits / 8 <= size + 16 and size <= 1.01 * bits / 8 + 16
    if getattr(recipe, "noise", 0):
        file.unlink()
        assert call("encode", photograph, "-o", file, "--model", model, "--seed", "7") == 0
        other = np.asarray(intaglio.decode(file, model=model)).astype(float)
        assert np.array_equal(other, np.asarray(intaglio.decode(file, model=model))), "the seed is in the file"
        assert np.abs(other - decoded).mean() > 0.01, "and changes the noise"
        off = [np.asarray(intaglio.decode(intaglio.encode(photograph, model=model, seed=s), realism=0, model=model))
               for s in (0, 7)]  # fmt: skip
        assert np.array_equal(*off)
        decoded = other
    else:
        with pytest.raises(BadInput, match="takes no noise"):
            intaglio.encode(photograph, model=model, seed=7)
    payloads = [Reader(intaglio.encode(photograph, quality=q, model=model)).tile(0) for q in (0, 100)]
    if recipe.delta[0] == recipe.delta[1]:
        assert payloads[0] == payloads[1], "a system of one rate is blind to q"
    else:
        assert 1.5 * len(payloads[0]) < len(payloads[1]), "Delta is the rate: a coarser one saves bytes"
    part = np.asarray(intaglio.decode(file, region=(70, 33, 64, 60), model=model)).astype(float)
    assert np.abs(part - decoded[33:93, 70:134]).max() <= 1, "also where a network has to see the whole picture"


def test_channels_are_the_rate(photos, tmp_path):
    """The other rate of CompressGAN's paper: at one Delta, 4 latents instead of 24 take fewer bits."""
    x, bits = photos.crops(Draws(1, 0, 4), 64), []
    for latents, channels in ((32, 4), (192, 24)):
        recipe = small("compressgan", latents=latents, depth=4.0, delta=(1.0, 1.0))
        network = trained(recipe, photos, tmp_path, steps=5).averaged()
        assert network.shape.latents == channels
        with torch.no_grad():
            bits.append(network.code(x, torch.zeros(4, 1, 1))[2])
    assert (2 * bits[0] < bits[1]).all()
