"""Hazard: a size, mode or quality that nobody thought of; metadata or alpha that comes back changed."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from golden_pictures import alpha, landscape
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import intaglio
from intaglio.package import Package

MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
BORDERS = (1023, 1024, 1025, 1087)  # around a tile: one short of it, it, one over, and a last tile of one block


def picture(width: int, height: int, mode: str, seed: int = 0) -> Image.Image:
    """Noise, the worst case for every buffer; alpha that is at times constant, at times not."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, MODES[mode]), np.uint8)
    if mode in ("LA", "RGBA") and seed % 3 == 0:
        pixels[..., -1] = seed % 256
    return Image.fromarray(pixels.squeeze(2) if mode == "L" else pixels)


def assert_kept(source: Image.Image, tiny: Package, **rate: float) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = intaglio.encode(source, model=tiny, **rate)
        result = intaglio.decode(data, model=tiny)
    assert (result.size, result.mode) == (source.size, source.mode)
    if source.mode in ("LA", "RGBA"):
        assert result.getchannel("A").tobytes() == source.getchannel("A").tobytes()
    assert result.info == {k: v for k, v in source.info.items() if v}
    return result


metadata = st.fixed_dictionaries({}, optional=dict.fromkeys(("icc_profile", "exif", "xmp"), st.binary(max_size=300)))


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(1, 200), height=st.integers(1, 200), mode=st.sampled_from(sorted(MODES)),
    quality=st.integers(0, 100) | st.floats(0, 100), seed=st.integers(0, 99), info=metadata,
)
def test_every_size_mode_and_quality_comes_back(
    tiny: Package, width: int, height: int, mode: str, quality: float, seed: int, info: dict[str, bytes]
) -> None:
    source = picture(width, height, mode, seed)
    source.info |= info
    assert_kept(source, tiny, quality=quality)


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("size", [(1, 1), (1, 64), (65, 1), (1, 2049), (3000, 2)])
def test_the_thinnest_pictures_come_back(tiny: Package, size: tuple[int, int], mode: str) -> None:
    assert_kept(picture(*size, mode, 1), tiny)


@pytest.mark.parametrize("side", BORDERS)
def test_sides_around_a_tile_come_back(tiny: Package, side: int) -> None:
    for k, other in enumerate((1, 63, 130, BORDERS[side % 4])):
        mode = ("RGB", "RGBA", "LA", "L")[k]
        assert_kept(picture(side, other, mode, 1), tiny)
        assert_kept(picture(other, side, mode, 1), tiny)


def test_what_comes_back_is_the_picture_and_not_only_its_size(tiny: Package) -> None:
    """Right way up, channels in order, no shift by a padding: closer to the source than to any other such picture."""
    source = Image.fromarray(landscape(150, 90, 5))
    want = np.asarray(source, float)
    got = np.asarray(assert_kept(source, tiny, quality=100), float)
    error = np.abs(got - want).mean()
    assert error < 12
    others = [want[::-1], want[:, ::-1], want[..., ::-1], np.roll(want, 8, 0), np.roll(want, 8, 1), want.mean((0, 1))]
    assert all(np.abs(got - other).mean() > error + 2 for other in others)


def test_grey_comes_back_as_the_grey_of_what_the_networks_print(tiny: Package) -> None:
    grey = Image.fromarray(landscape(100, 80, 6)[..., 1])
    colour = intaglio.decode(intaglio.encode(grey.convert("RGB"), model=tiny), model=tiny)
    mean = np.asarray(colour, np.int64).sum(2) / 3
    assert np.abs(np.asarray(assert_kept(grey, tiny)) - mean).max() <= 0.5


def test_what_lies_under_transparency_is_not_lost(tiny: Package) -> None:
    """Alpha travels apart: the colours do not depend on it."""
    rgb, plane = landscape(120, 70, 7), alpha(120, 70)
    assert plane.min() == 0 and plane.max() == 255
    kept = assert_kept(Image.fromarray(np.dstack([rgb, plane])), tiny)
    assert kept.convert("RGB").tobytes() == assert_kept(Image.fromarray(rgb), tiny).tobytes()


def test_large_metadata_comes_back(tiny: Package) -> None:
    """Longer than any chunk of JPEG holds, and both easy and impossible to compress."""
    source = picture(20, 20, "RGBA", 2)
    source.info |= {"icc_profile": bytes(300_000), "exif": np.random.default_rng(0).bytes(70_000),
                    "xmp": b"<x>" + b"caf\xc3\xa9" * 40_000}
    assert_kept(source, tiny)


def test_metadata_of_a_real_file_comes_back(tiny: Package) -> None:
    """As a JPEG holds it, orientation included: neither applied to the pixels nor taken out."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    file = io.BytesIO()
    Image.fromarray(landscape(60, 40, 8)).save(file, "JPEG", exif=exif, icc_profile=b"profile" * 9, xmp=b"<x:xmpmeta/>")
    stored = Image.open(file)
    result = intaglio.decode(intaglio.encode(file, model=tiny), model=tiny)
    assert result.size == (60, 40)
    assert result.info == {k: stored.info[k] for k in ("exif", "icc_profile", "xmp")}
    assert result.getexif()[0x0112] == 6


@pytest.mark.parametrize("realism", [0, 0.005, 0.29, 0.57, 1.0])
def test_realism_is_stored_as_the_nearest_percent(tiny: Package, realism: float) -> None:
    data = intaglio.encode(picture(8, 8, "RGB"), model=tiny, realism=realism)
    assert abs(intaglio.info(data)["realism"] - realism) <= 0.005 + 1e-9
