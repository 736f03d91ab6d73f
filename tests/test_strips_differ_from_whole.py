"""Hazard: a region, or the tile borders of a whole decode, that show a seam or a shift.

A region decoded alone must equal the same box of the whole decode: its latents exactly, its pixels but for the rounding
of floats, which may move a pixel that lies on the edge between two grey levels.
"""

from __future__ import annotations

import numpy as np
import pytest
from golden_pictures import landscape
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import intaglio
from intaglio import pictures
from intaglio.codec import decode_reader
from intaglio.encoder import Encoder
from intaglio.latents import TileCoder
from intaglio.package import Package
from intaglio.reader import Reader
from intaglio.runtime import runtime
from intaglio.tiles import Box, Latents, Layout, Spill, pixels

WIDTH, HEIGHT = 2100, 1100  # 3 x 2 tiles, of which the last column is 52 pixels wide and the last row 76 high


@pytest.fixture(scope="module")
def file(tiny: Package) -> bytes:
    """A picture with a gain map and alpha, both different everywhere."""
    block = landscape(525, 275, 9)
    rgb = np.tile(block, (4, 4, 1))
    rng = np.random.default_rng(0)
    rgba = np.dstack([rgb + rng.integers(0, 9, rgb.shape, np.uint8), rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)])
    mask = rng.integers(0, 256, (18, 33), np.uint8)
    return intaglio.encode(rgba, model=tiny, quality=70, roi=mask)


@pytest.fixture(scope="module")
def whole(file: bytes, tiny: Package) -> np.ndarray:
    return np.asarray(intaglio.decode(file, model=tiny)).astype(int)


def assert_same(part: Image.Image, whole: np.ndarray, box: tuple[int, int, int, int]) -> None:
    x, y, w, h = box
    assert part.size == (w, h)
    got, want = np.asarray(part).astype(int), whole[y : y + h, x : x + w]
    assert np.array_equal(got[..., 3], want[..., 3]), "alpha is lossless"
    error = np.abs(got - want)
    assert error.max() <= 1
    assert (error > 0).mean() <= 0.001 or (error > 0).sum() <= 1


BOXES = [
    (0, 0, 1, 1), (WIDTH - 1, HEIGHT - 1, 1, 1), (1023, 1023, 2, 2), (1024, 1024, 1, 1), (1023, 0, 1, HEIGHT),
    (0, 1023, WIDTH, 2), (991, 991, 66, 66), (2047, 1000, 53, 100), (2048, 1024, 52, 76), (960, 960, 128, 128),
    (500, 300, 64, 64), (1, 1, WIDTH - 2, HEIGHT - 2), (0, 0, WIDTH, HEIGHT),
]


@pytest.mark.parametrize("box", BOXES)
def test_a_region_equals_that_box_of_the_whole(
    tiny: Package, file: bytes, whole: np.ndarray, box: tuple[int, int, int, int]
) -> None:
    assert_same(intaglio.decode(file, model=tiny, region=box), whole, box)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_region_equals_that_box_of_the_whole(
    tiny: Package, file: bytes, whole: np.ndarray, data: st.DataObject
) -> None:
    x = data.draw(st.integers(0, WIDTH - 1) | st.integers(980, 1070), "x")
    y = data.draw(st.integers(0, HEIGHT - 1) | st.integers(980, 1070), "y")
    w = data.draw(st.integers(1, min(200, WIDTH - x)), "w")
    h = data.draw(st.integers(1, min(200, HEIGHT - y)), "h")
    assert_same(intaglio.decode(file, model=tiny, region=(x, y, w, h)), whole, (x, y, w, h))


@pytest.mark.parametrize("realism", [0.0, 1.0])
def test_strips_put_together_are_the_picture(
    tiny: Package, file: bytes, realism: float
) -> None:
    """What a viewer of huge pictures does: strip after strip from one open file."""
    want = np.asarray(intaglio.decode(file, model=tiny, realism=realism)).astype(int)
    with Reader(file) as reader:
        for y in range(0, HEIGHT, 300):
            box = (0, y, WIDTH, min(300, HEIGHT - y))
            assert_same(decode_reader(reader, realism, box, tiny), want, box)


def test_the_whole_shows_no_tile_borders(tiny: Package) -> None:
    """The picture decoded tile by tile equals its latents put through synthesis at once."""
    picture = Image.fromarray(landscape(1200, 130, 3))
    data = intaglio.encode(picture, model=tiny, quality=60)
    got = np.asarray(intaglio.decode(data, model=tiny)).astype(int)
    engine = runtime(tiny)
    with Reader(data) as reader:
        layout = Layout(1200, 130)
        parts = []
        for i in range(2):
            box = layout.tile(i).outwards(64)
            steps = np.full((box.height, box.width), reader.header.q)
            parts.append(TileCoder(engine).decode(reader.tile(i), steps))
    latents = np.concatenate(parts, 3)
    t = np.full((1, 1, *latents.shape[2:]), reader.header.q / 63, np.float32)
    want = engine.synthesis(latents, t, reader.header.realism)[0, :130, :1200].astype(int)
    error = np.abs(got - want)
    assert error.max() <= 1 and (error > 0).mean() < 0.001


def test_the_encoder_sees_no_tile_borders(tiny: Package) -> None:
    """Latents beside a tile border are those of the picture analysed at once."""
    source = Image.fromarray(landscape(1200, 70, 4))
    engine = runtime(tiny)
    encoder = Encoder(pictures.load(source), engine, 0.0, False, lambda share: None)
    whole = engine.analysis(pixels(source, encoder.layout.padded))
    parts = np.concatenate([encoder._analyse(i) for i in range(2)], 3)
    assert np.abs(parts - whole).max() < 1e-4 * np.abs(whole).max()


@given(
    width=st.integers(1, 6000), height=st.integers(1, 6000), halo=st.sampled_from([0, 32, 1024]), data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_windows_hold_the_right_latents_and_few_tiles(width: int, height: int, halo: int, data: st.DataObject) -> None:
    """Over any part of any grid; and what is kept grows with the shorter side alone."""
    layout = Layout(width, height)
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    region = Box(x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    decoded: list[int] = []

    def decode(i: int) -> np.ndarray:
        decoded.append(i)
        t = layout.tile(i).outwards(16)
        return (np.arange(t.y0, t.y1)[:, None] * 1000 + np.arange(t.x0, t.x1)).astype(np.float32)[None, None]

    order = layout.touched(region)
    latents = Latents(layout, decode, order)
    for i in order:
        box = layout.tile(i).common(region).outwards(16).grown(halo // 16, layout.padded.outwards(16))
        want = np.arange(box.y0, box.y1)[:, None] * 1000 + np.arange(box.x0, box.x1)
        assert np.array_equal(latents.window(i, box)[0, 0], want)
        shorter = min(region.outwards(1024).width, region.outwards(1024).height)
        assert len(latents._tiles) <= 3 * (shorter + 2)
    assert len(decoded) == len(set(decoded)), "no tile is decoded twice"


def test_a_wide_picture_is_walked_along_its_shorter_side() -> None:
    """A strip of tiles is two tiles then, not fifty-nine."""
    layout = Layout(60_000, 2000)
    order = layout.touched(layout.picture)
    latents = Latents(layout, lambda i: np.zeros((1, 1, 64, 64), np.float32), order)
    most = 0
    for i in order:
        latents.window(i, layout.tile(i).outwards(16).grown(2, layout.padded.outwards(16)))
        most = max(most, len(latents._tiles))
    assert sorted(order) == list(range(len(layout))) and most <= 6


def test_latents_that_do_not_fit_in_memory_come_back_from_the_disk() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((1, 3, k % 5 + 1, 7), np.float32) for k in range(20)]
    kept = Spill(budget=500)
    for array in arrays:
        kept.append(array)
    assert len(kept) == 20 and kept._file is not None
    for i in rng.permutation(20):
        assert np.array_equal(kept[i], arrays[i])
