"""Hazard: what is synthesised spoils what is kept beside it, costs bits, or pays no attention to its labels.

The figures of a selective codec, from real files of a network trained for a minute or two: on made-up scenes, or on
CamVid where INTAGLIO_CAMVID names its folder (`train` and `test` inside). The mechanism is training with masks and with
a label map; each of the two switched off must fail.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_scenes import folders
from PIL import Image

import intaglio
from intaglio.areas import unpack
from intaglio.package import Package
from intaglio.reader import Reader
from intaglio.recipes.extreme_sc import ExtremeSC, recipe
from intaglio.tiles import Layout
from intaglio.train.data import Photographs
from intaglio.train.loop import Options, Trainer
from intaglio.train.packs import pack

SMALL = replace(recipe, width=8, blocks=1, crop=128, batch=4, rate=2e-3)
STEPS = 800 if os.environ.get("INTAGLIO_CAMVID") else 200
Pair = tuple[Path, Path]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Photographs, list[Pair]]:
    root = tmp_path_factory.mktemp("scenes")
    train, pairs = folders(root)
    pack(train, root / "pack")
    return Photographs(root / "pack"), pairs


def trained(chosen: ExtremeSC, photographs: Photographs, folder: Path, steps: int = STEPS) -> Trainer:
    torch.set_num_threads(1)
    trainer = Trainer(chosen, photographs, Options(folder, steps=steps))
    for n in range(steps):
        trainer.step(n / steps)
    return trainer


def packaged(chosen: ExtremeSC, photographs: Photographs, folder: Path) -> Package:
    trainer = trained(chosen, photographs, folder)
    return chosen.package(trainer.averaged(), photographs, trainer.training(), 32)


@pytest.fixture(scope="module")
def model(scenes: tuple[Photographs, list[Pair]], tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Without the discriminator, which has no part in what is kept."""
    return packaged(replace(SMALL, adversarial=0.0), scenes[0], tmp_path_factory.mktemp("masked"))


def quarter(photo: Path) -> tuple[int, int, int, int]:
    """A box in the middle with a fourth of the pixels."""
    width, height = Image.open(photo).size
    return width // 4 // 16 * 16, height // 4 // 16 * 16, width // 2 // 16 * 16, height // 2 // 16 * 16


def tile_bytes(data: bytes) -> int:
    with Reader(data) as reader:
        return sum(len(reader.tile(i)) for i in range(reader.header.tiles))


def psnr(data: bytes, photo: Path, model: Package, box: tuple[int, int, int, int]) -> float:
    x, y, w, h = box
    shown = np.asarray(intaglio.decode(data, model=model, threads=1, region=box)).astype(float)
    source = np.asarray(Image.open(photo).convert("RGB")).astype(float)[y : y + h, x : x + w]
    return float(10 * np.log10(255**2 / np.square(shown - source).mean()))


def loss_of_the_kept(model: Package, pairs: list[Pair]) -> float:
    """By how many dB the kept area is better in the global mode, on average."""
    losses = []
    for photo, labels in pairs:
        box = quarter(photo)
        whole = intaglio.encode(photo, model=model, threads=1)
        part = intaglio.encode(photo, model=model, labels=labels, keep=box, threads=1)
        losses.append(psnr(whole, photo, model, box) - psnr(part, photo, model, box))
    return float(np.mean(losses))


def test_a_file_of_which_a_quarter_is_kept_is_at_most_half(model: Package, scenes: tuple[Photographs, list]) -> None:
    for photo, labels in scenes[1]:
        whole = intaglio.encode(photo, model=model, threads=1)
        part = intaglio.encode(photo, model=model, labels=labels, keep=quarter(photo), threads=1)
        assert intaglio.info(part)["kept"] <= 0.26
        assert len(part) <= 0.5 * len(whole)


def test_nothing_kept_takes_no_bits(model: Package, scenes: tuple[Photographs, list]) -> None:
    for photo, labels in scenes[1]:
        assert tile_bytes(intaglio.encode(photo, model=model, labels=labels, threads=1)) == 2


def test_bytes_are_in_proportion_to_the_kept_area(model: Package, scenes: tuple[Photographs, list]) -> None:
    """Blocks of 64x64 at random, so that what is kept is like the whole; averaged over masks that cover it evenly."""
    random = np.random.default_rng(3)
    for share in (0.25, 0.5, 0.75):
        taken, expected = 0, 0.0
        for photo, labels in scenes[1]:
            width, height = Image.open(photo).size
            rows, columns = -(-height // 64), -(-width // 64)
            order = random.permutation(rows * columns)
            whole = tile_bytes(intaglio.encode(photo, model=model, threads=1))
            n = round(share * rows * columns)
            for start in range(0, rows * columns, max(1, rows * columns // 4)):
                chosen = np.zeros(rows * columns, np.uint8)
                chosen[np.roll(order, -start)[:n]] = 255
                mask = np.kron(chosen.reshape(rows, columns), np.ones((64, 64)))[:height, :width].astype(np.uint8)
                part = intaglio.encode(photo, model=model, labels=labels, keep=mask, threads=1)
                with Reader(part) as reader:
                    kept = unpack(*reader.areas, Layout(width, height)).kept().mean()
                taken += tile_bytes(part)
                expected += float(kept) * whole
        assert taken == pytest.approx(expected, rel=0.05), share


def test_what_is_kept_is_as_good_as_in_the_global_mode(model: Package, scenes: tuple[Photographs, list]) -> None:
    assert loss_of_the_kept(model, scenes[1]) <= 0.5


def test_without_masks_in_training_what_is_kept_suffers(
    model: Package, scenes: tuple[Photographs, list[Pair]], tmp_path: Path
) -> None:
    whole = packaged(replace(SMALL, adversarial=0.0, masked=False), scenes[0], tmp_path)
    assert loss_of_the_kept(whole, scenes[1]) > loss_of_the_kept(model, scenes[1]) + 0.2


def nearer_by_its_labels(model: Package, pairs: list[Pair], folder: Path) -> float:
    """How many times further from the original a file of nothing kept is with its label map turned by 180 degrees."""
    ratios = []
    for photo, labels in pairs:
        turned = folder / labels.name
        Image.open(labels).transpose(Image.Transpose.ROTATE_180).save(turned)
        box = (0, 0, *Image.open(photo).size)
        right, wrong = (psnr(intaglio.encode(photo, model=model, labels=m, threads=1), photo, model, box)
                        for m in (labels, turned))  # fmt: skip
        ratios.append(10 ** ((right - wrong) / 10))
    return float(np.mean(ratios))


def test_what_is_synthesised_follows_the_labels(scenes: tuple[Photographs, list[Pair]], tmp_path: Path) -> None:
    model = packaged(replace(SMALL, crop=64), scenes[0], tmp_path)
    assert nearer_by_its_labels(model, scenes[1], tmp_path) > 1.1
