"""Hazard: a small region of a huge file that costs more than its tiles, in bytes, in computing or in memory."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import pytest
from golden_pictures import landscape

import intaglio
from intaglio.codec import decode_reader
from intaglio.container import Header, pack
from intaglio.latents import TileCoder
from intaglio.package import Package, released, released_names
from intaglio.reader import Reader
from intaglio.runtime import Runtime, runtime

SIDE = 10 * 1024  # pixels: 105 megapixels in 100 tiles


@pytest.fixture(scope="module")
def huge(tiny: Package) -> bytes:
    """One coded tile, a hundred times."""
    block = landscape(256, 256, 1)
    data = intaglio.encode(np.tile(block, (4, 4, 1)), model=tiny)
    with Reader(data) as reader:
        header = reader.header
        return pack(Header(SIDE, SIDE, "RGB", header.q, header.realism, header.fingerprint), [reader.tile(0)] * 100)


class Counted:
    """A file that notes which bytes are read."""

    def __init__(self, data: bytes):
        self.file, self.touched = io.BytesIO(data), set[int]()
        self.seek, self.tell, self.seekable = self.file.seek, self.file.tell, self.file.seekable

    def read(self, n: int = -1) -> bytes:
        at = self.file.tell()
        data = self.file.read(n)
        self.touched.update(range(at, at + len(data)))
        return data


class Costs(NamedTuple):
    read: int  # bytes
    touched: set[int]  # which bytes
    computed: int  # pixels that synthesis made
    tiles: list[int]  # pixels of each entropy tile that was decoded


def costs(data: bytes, package: Package, box: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch) -> Costs:
    """What one region of a file costs."""
    engine = runtime(package)
    tiles: list[int] = []
    decode = TileCoder.decode

    def counting(self: TileCoder, payload: bytes, q: np.ndarray, *kept: np.ndarray | None) -> np.ndarray:
        tiles.append(4096 * q.size)
        return decode(self, payload, q, *kept)

    monkeypatch.setattr(TileCoder, "decode", counting)
    before, source = engine.pixels_computed, Counted(data)
    with Reader(source) as reader:
        assert decode_reader(reader, None, box, package).size == box[2:]
        return Costs(reader.bytes_read, source.touched, engine.pixels_computed - before, tiles)


def tiles_at(data: bytes) -> list[int]:
    """Where every TILE chunk starts, and where the last ends."""
    with Reader(data) as reader:
        return [at for kind, at, _ in reader.chunks if kind == "TILE"] + [len(data)]


@pytest.mark.parametrize("corner", [(5 * 1024 + 480, 3 * 1024 + 480), (100, 100), (SIDE - 200, 32)])
def test_64x64_of_105_megapixels_costs_one_tile(
    tiny: Package, huge: bytes, corner: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = costs(huge, tiny, (*corner, 64, 64), monkeypatch)
    assert cost.tiles == [1024 * 1024]
    assert cost.computed <= (64 + 16 + 2 * 32) ** 2  # the box, rounded to latents, with its halo
    assert (cost.computed + sum(cost.tiles)) / SIDE**2 < 0.02
    at, i = tiles_at(huge), corner[1] // 1024 * 10 + corner[0] // 1024
    assert cost.read <= at[0] + 8 + at[i + 1] - at[i]
    beyond = {byte for byte in cost.touched if byte >= at[0] + 8}
    assert min(beyond) >= at[i] and max(beyond) < at[i + 1]


def test_where_four_tiles_meet_four_are_read(tiny: Package, huge: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = costs(huge, tiny, (4 * 1024 - 32, 2 * 1024 - 32, 64, 64), monkeypatch)
    at = tiles_at(huge)
    assert len(cost.tiles) == 4
    assert cost.computed <= 4 * (32 + 2 * 32) ** 2
    assert cost.read <= at[0] + 8 + sum(at[i + 1] - at[i] for i in (13, 14, 23, 24))


@pytest.mark.skipif(not released_names(), reason="no released model yet")
def test_where_four_tiles_meet_less_than_a_fiftieth_is_computed() -> None:
    """Weighed by multiply-accumulates: four tiles are 4% of the prior's work and next to none of synthesis'."""
    work = released().card["kmac_per_pixel"]
    halo = released().card["halo"]["synthesis"]
    prior, synthesis = 4 * 1024**2 * work["prior"], 4 * (32 + 16 + 2 * halo) ** 2 * work["synthesis"]
    assert (prior + synthesis) / (SIDE**2 * (work["prior"] + work["synthesis"])) < 0.02


def test_a_region_does_not_need_the_rest_of_the_file(tiny: Package, huge: bytes) -> None:
    """Of a download that is still running, what is there can be seen."""
    box = (2048 + 100, 100, 200, 50)
    want = intaglio.decode(huge, model=tiny, region=box)
    end = tiles_at(huge)[3]
    assert intaglio.decode(huge[:end], model=tiny, region=box).tobytes() == want.tobytes()
    with pytest.raises(intaglio.CorruptFile, match="cut short"):
        intaglio.decode(huge[: end - 1], model=tiny, region=box)


def test_info_reads_no_tile(huge: bytes) -> None:
    source = Counted(huge)
    assert intaglio.info(source)["tiles"] == 100
    assert max(source.touched) < tiles_at(huge)[0] + 8


def test_a_region_of_a_picture_with_alpha_reads_its_own_alpha_record(tiny: Package) -> None:
    """The alpha chunk is checked whole, its records are read one by one."""
    rng = np.random.default_rng(0)
    la = np.dstack([np.tile(landscape(256, 130, 2)[..., 0], (1, 12)), rng.integers(0, 256, (130, 3072), np.uint8)])
    data = intaglio.encode(la, model=tiny)
    part = intaglio.decode(data, model=tiny, region=(1500, 20, 10, 10))
    assert np.array_equal(np.asarray(part)[..., 1], la[20:30, 1500:1510, 1])


@pytest.mark.parametrize(
    "region",
    [(0, 0, 0, 1), (0, 0, 1, 0), (-1, 0, 1, 1), (0, -1, 1, 1), (10, 0, 11, 1), (0, 20, 1, 1), (0, 0, 21, 20),
     (0, 0, 1), (0, 0, 1, 1, 1), "left", 7, (0, 0, float("nan"), 1), (0, 0, float("inf"), 1), (0, 0, None, 1),
     (0, 0, 1.5, 1)],
)
def test_a_region_outside_the_picture_is_refused_in_a_sentence(tiny: Package, region: object) -> None:
    data = intaglio.encode(np.zeros((20, 20), np.uint8), model=tiny)
    with pytest.raises(intaglio.BadInput, match="region"):
        intaglio.decode(data, model=tiny, region=region)  # type: ignore[arg-type]


def test_the_counter_counts_what_synthesis_makes(tiny: Package) -> None:
    engine = Runtime(tiny)
    engine.synthesis(np.zeros((1, tiny.card["latents"], 5, 7), np.float32), np.zeros((1, 1, 5, 7), np.float32), 0.0)
    assert engine.pixels_computed == 5 * 7 * 256
