"""Hazard: a mask that costs bytes, or moves them, without keeping the white area visibly better."""

from __future__ import annotations

import numpy as np
import pytest
from golden_pictures import photograph
from PIL import Image

import intaglio
from intaglio.package import released_names
from intaglio.search import KEEP, STARVE

needs_the_released_model = pytest.mark.skipif(not released_names(), reason="this checkout has no released model")
SIDE = 576


def masks() -> dict[str, np.ndarray]:
    """Boolean (SIDE, SIDE): about the face of the photograph, a third of it, and two blocks."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return {
        "disc": (y - SIDE / 2) ** 2 + (x - SIDE / 2) ** 2 < (SIDE / 5) ** 2,
        "third": x < SIDE / 3,
        "blocks": (abs(y - 192) < 64) & (abs(x - 384) < 64),
    }


def psnr(got: Image.Image, want: np.ndarray, where: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / ((np.asarray(got, float) - want)[where] ** 2).mean()))


@needs_the_released_model
@pytest.mark.parametrize(("name", "quality"), [("disc", 50), ("third", 25), ("blocks", 75)])
def test_the_white_area_gains_a_decibel_at_equal_bytes(name: str, quality: int) -> None:
    picture, white = photograph(0, 0, SIDE, SIDE), masks()[name]
    plain = intaglio.encode(picture, quality=quality, threads=1)
    kept = intaglio.encode(picture, quality=quality, roi=(255 * white).astype(np.uint8), threads=1)
    assert len(kept) <= len(plain)
    before, after = (intaglio.decode(data, realism=0, threads=1) for data in (plain, kept))
    assert psnr(after, picture, white) >= psnr(before, picture, white) + 1


@needs_the_released_model
def test_a_mask_and_a_target_go_together() -> None:
    picture, white = photograph(0, 0, SIDE, SIDE), masks()["disc"]
    data = intaglio.encode(picture, target_bytes=15_000, roi=(255 * white).astype(np.uint8), tune="psnr", threads=1)
    plain = intaglio.encode(picture, target_bytes=15_000, threads=1)
    assert 14_000 < len(data) <= 15_000
    kept, even = (intaglio.decode(d, realism=0, threads=1) for d in (data, plain))
    assert psnr(kept, picture, white) >= psnr(even, picture, white) + 1
    assert psnr(kept, picture, ~white) < psnr(even, picture, ~white)
    assert intaglio.info(data)["gain_map"] == [STARVE, KEEP]
