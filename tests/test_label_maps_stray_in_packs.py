"""Hazard: a label map that is packed as a photograph, or that does not lie where its photograph lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.errors import BadInput
from intaglio.train.data import Photographs
from intaglio.train.draws import Draws
from intaglio.train.packs import NO_LABEL, pack


def picture(folder: Path, name: str, width: int, height: int, labelled: bool, seed: int, area: int = 8) -> None:
    """Colours that name their label: red is 20 times the label, green and blue are noise."""
    random = np.random.default_rng(seed)
    ids = np.kron(random.integers(0, 12, (height // area, width // area)), np.ones((area, area))).astype(np.uint8)
    pixels = np.dstack([20 * ids, *random.integers(0, 256, (2, height, width), dtype=np.uint8)])
    Image.fromarray(pixels).save(folder / f"{name}.png")
    if labelled:
        Image.fromarray(ids).save(folder / f"{name}.labels.png")


def packed(folder: Path, out: Path) -> Photographs:
    pack(folder, out)
    return Photographs(out)


def test_every_pixel_has_its_own_label(tmp_path: Path) -> None:
    for i, (width, height) in enumerate(((96, 72), (64, 128), (80, 80))):
        picture(tmp_path, f"p{i}", width, height, True, i)
    photographs = packed(tmp_path, tmp_path / "out" / "pack")
    assert photographs.labelled and len(photographs.entries) == 3
    for step in range(4):
        x = photographs.crops(Draws(0, step, 5), 64, labels=True)
        assert x.shape == (5, 4, 64, 64)
        assert torch.equal(x[:, 0], 20 * x[:, 3])
        assert torch.equal(x[:, :3], photographs.crops(Draws(0, step, 5), 64))  # the same crops without


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_turn_with_their_photograph(tmp_path: Path, orientation: int) -> None:
    """Maps are made of pixels as files store them, and packs hold pictures upright."""
    picture(tmp_path, "p", 96, 72, True, 5)
    image = Image.open(tmp_path / "p.png")
    image.getexif()[0x0112] = orientation
    image.save(tmp_path / "p.png", exif=image.getexif())
    photographs = packed(tmp_path, tmp_path / "out" / "pack")
    assert photographs.index["entries"] == [[0, *((72, 96) if orientation < 5 else (96, 72))]]
    x = photographs.crops(Draws(0, 1, 4), 64, labels=True)
    assert torch.equal(x[:, 0], 20 * x[:, 3])


def test_labels_shrink_to_labels(tmp_path: Path) -> None:
    picture(tmp_path, "p", 256, 256, True, 1, area=32)
    photographs = packed(tmp_path, tmp_path / "out" / "pack")
    x = photographs.crops(Draws(0, 3, 4), 64, zoom=3.0, labels=True)
    assert set(x[:, 3].unique().tolist()) <= set(range(12))
    inside = (x[:, 0] - 20 * x[:, 3]).abs() < 4  # bicubic at the borders of the areas
    assert inside.float().mean() > 0.5


def test_without_a_map_there_is_no_label(tmp_path: Path) -> None:
    picture(tmp_path, "a", 64, 64, True, 1)
    picture(tmp_path, "b", 64, 64, False, 2)
    photographs = packed(tmp_path, tmp_path / "out" / "pack")
    x = photographs.crops(Draws(0, 0, 16), 64, labels=True)
    without = (x[:, 3] == NO_LABEL).all(1).all(1)
    assert 0 < without.sum() < 16


def test_plain_photographs_have_no_labels(tmp_path: Path) -> None:
    picture(tmp_path, "a", 64, 64, False, 1)
    assert not packed(tmp_path, tmp_path / "out" / "pack").labelled
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".json", ".u8"]


def test_a_map_of_another_size_is_told(tmp_path: Path) -> None:
    picture(tmp_path, "a", 96, 64, True, 1)
    Image.new("L", (64, 96)).save(tmp_path / "a.labels.png")
    with pytest.raises(BadInput, match=r"a\.labels\.png: is 64 x 96"):
        pack(tmp_path, tmp_path / "out" / "pack")
    Image.new("RGB", (96, 64)).save(tmp_path / "a.labels.png")
    with pytest.raises(BadInput, match="its mode is RGB"):
        pack(tmp_path, tmp_path / "out" / "pack")
