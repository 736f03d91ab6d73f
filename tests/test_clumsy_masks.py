"""Masks come in every mode, size and file: that is worth no warning, may not pass the limit, and moves no block."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from intaglio import adapt, grain
from intaglio.errors import BadInput, TooLarge
from intaglio.search import KEEP, STARVE, gain_offsets
from intaglio.tiles import Layout

LAYOUT = Layout(200, 130)  # 3 rows of 4 blocks, the last row and column of them cut


def half(mode: str, width: int = 200, height: int = 130) -> Image.Image:
    """Left half black, right half white."""
    grey = Image.fromarray(np.where(np.arange(width) < width // 2, 0, 255).astype(np.uint8)[None].repeat(height, 0))
    if mode == "I;16":
        return Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    image = grey.convert(mode)
    if mode == "RGBA":
        image.putalpha(7)
    return image


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("suffix", [None, "png", "tiff"])
def test_any_mode_is_a_mask_without_a_word(mode: str, suffix: str | None) -> None:
    source: Image.Image | io.BytesIO = half(mode)
    if suffix == "png" and mode in ("CMYK", "F"):
        pytest.skip("PNG has no such mode")
    if suffix:
        source = io.BytesIO()
        half(mode).save(source, suffix)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        offsets = gain_offsets(source, LAYOUT)
    assert offsets.dtype == np.int8
    # the second block has 36 black columns and 28 white ones
    assert offsets.tolist() == [[STARVE, round(STARVE + (KEEP - STARVE) * 28 / 64), KEEP, KEEP]] * 3


@pytest.mark.parametrize("size", [(2, 1), (4, 3), (50, 33), (1000, 1), (1, 999), (400, 260), (777, 555)])
def test_a_mask_of_any_size_is_stretched_onto_the_picture(size: tuple[int, int]) -> None:
    values = np.random.default_rng(1).integers(0, 256, size[::-1]).astype(np.uint8)
    values.flat[:2] = 0, 255
    whole = np.asarray(Image.fromarray(values).resize((200, 130), Image.Resampling.BOX), np.float32)
    blocks = np.pad(whole, ((0, 62), (0, 56)), "edge").reshape(3, 64, 4, 64).mean((1, 3)) / 255
    expected = np.round(STARVE + (KEEP - STARVE) * blocks)
    assert np.abs(gain_offsets(values, LAYOUT) - expected).max() <= (size[0] > 200)  # where it shrinks, bands may round


def test_the_callers_limit_reaches_the_mask() -> None:
    with pytest.raises(TooLarge, match="max_pixels=25999"):
        gain_offsets(half("1"), LAYOUT, 25999)
    gain_offsets(half("1"), LAYOUT, 26000)


def test_a_mask_of_one_grey_is_refused() -> None:
    with pytest.raises(BadInput, match="one single grey"):
        gain_offsets(Image.new("1", (9, 9), 1), LAYOUT)


def test_an_array_of_booleans_is_a_mask() -> None:
    mask = np.asarray(half("L")) > 0
    assert (gain_offsets(mask, LAYOUT) == gain_offsets(half("L"), LAYOUT)).all()
    with pytest.raises(BadInput, match="from 0 to 1"):
        gain_offsets(mask.astype(np.uint8), LAYOUT)


@pytest.mark.parametrize("piece", [64, 1024])
def test_wide_pictures_in_pieces_are_as_in_one(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (150, 3001, 3), dtype=np.uint8))
    sizes = (77, 900), (150, 3001), (2, 5000)
    masks = [Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)) for size in sizes]
    layout = Layout(3001, 150)
    whole = [gain_offsets(mask, layout) for mask in masks]
    busy, noise = adapt.busyness(picture, layout), grain.measured(picture, layout)
    monkeypatch.setattr("intaglio.tiles.PIECE", piece)
    for mask, offsets in zip(masks, whole, strict=True):
        assert np.array_equal(gain_offsets(mask, layout), offsets)
    assert np.allclose(adapt.busyness(picture, layout), busy, atol=1e-5)
    assert np.allclose(grain.measured(picture, layout), noise, atol=1e-5)
