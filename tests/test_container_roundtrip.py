"""What goes into an `.itg` file comes out of it: header, gain map, metadata, alpha and tiles, from any source."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from intaglio import container, pictures
from intaglio.container import MODES, Header, pack
from intaglio.errors import BadInput, CorruptFile, IntaglioWarning, TooLarge
from intaglio.reader import Reader
from intaglio.varint import get_varint, put_varint

SIDES = st.one_of(st.integers(1, 70), st.sampled_from([1023, 1024, 1025, 2048, 3000]))


def png(width: int, height: int, value: int = 7) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, height), value).save(out, "PNG")
    return out.getvalue()


@st.composite
def files(draw: st.DrawFn) -> tuple[Header, list[bytes], dict[str, Any]]:
    header = Header(
        draw(SIDES),
        draw(SIDES),
        draw(st.sampled_from(MODES)),
        draw(st.integers(0, 63)),
        draw(st.integers(0, 100)) / 100,
        draw(st.binary(min_size=8, max_size=8)),
    )
    tiles = [draw(st.binary(max_size=300)) for _ in range(header.tiles)]
    parts: dict[str, Any] = {
        name: draw(st.none() | st.binary(min_size=1, max_size=200)) for name in ("icc", "exif", "xmp")
    }
    if draw(st.booleans()):
        seed = draw(st.integers(0, 99))
        parts["qmap"] = np.random.default_rng(seed).integers(-header.q, 64 - header.q, header.blocks).astype(np.int8)
        if draw(st.booleans()):
            parts["qmap"] = (parts["qmap"] - parts["qmap"] % 2 * np.sign(parts["qmap"])).astype(np.int8)  # even ones
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        parts["grain"] = rng.integers(0, draw(st.integers(1, 16)), header.blocks).astype(np.uint8)
    if "A" in header.mode:
        constant = draw(st.booleans())
        boxes = [header.tile_box(i) for i in range(header.tiles)]
        parts["alpha"] = [bytes((0, i)) if constant else b"\x01" + png(w, h) for i, (_, _, w, h) in enumerate(boxes)]
    return header, tiles, parts


@settings(max_examples=60, deadline=None)
@given(files())
def test_every_part_survives(file: tuple[Header, list[bytes], dict[str, Any]]) -> None:
    header, tiles, parts = file
    data = pack(header, tiles, **parts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader = Reader(data)
        assert reader.header == header
        assert (reader.icc, reader.exif, reader.xmp) == (parts["icc"], parts["exif"], parts["xmp"])
        expected = parts.get("qmap", np.zeros(header.blocks))
        assert reader.qmap.dtype == np.int8
        np.testing.assert_array_equal(reader.qmap, expected)
        levels = parts.get("grain", np.zeros(header.blocks))
        np.testing.assert_array_equal(levels if reader.grain is None else reader.grain, levels)
        assert not reader.qmap.flags.writeable and (reader.grain is None) == (not levels.any())
        assert [reader.tile(i) for i in range(header.tiles)] == tiles
        assert [reader.alpha(i) for i in range(header.tiles)] == parts.get("alpha", [None] * header.tiles)
        reader.check_tail()
    assert reader.size == len(data)
    assert sum(12 + length for _, _, length in reader.chunks) + 8 == len(data)
    for kind, offset, length in reader.chunks:
        assert data[offset : offset + 8] == kind.encode() + length.to_bytes(4, "big")


@given(st.integers(0, 2**70))
def test_varints(n: int) -> None:
    data = b"x" + put_varint(n)
    assert get_varint(data, 1, limit=2**70) == (n, len(data))
    if n:
        with pytest.raises(CorruptFile):
            get_varint(data, 1, limit=n - 1)
    with pytest.raises(CorruptFile, match="cut short"):
        get_varint(data[:-1], 1, limit=2**70)


@pytest.mark.parametrize("data", [b"\x80\x00", b"\x81\x80\x00", b"", b"\x80" * 10_000, b"\xff" * 5])
def test_varints_have_one_spelling_and_an_end(data: bytes) -> None:
    with pytest.raises(CorruptFile):
        get_varint(data, 0)


def test_boxes_cover_the_picture_once() -> None:
    header = Header(2500, 1025, "RGB", 0, 0.0, bytes(8))
    assert header.grid == (2, 3)
    assert header.blocks == (17, 40)
    seen = np.zeros((1025, 2500), int)
    for i in range(header.tiles):
        x, y, w, h = header.tile_box(i)
        seen[y : y + h, x : x + w] += 1
    assert (seen == 1).all()
    for i in (-1, 6):
        with pytest.raises(IndexError):
            header.tile_box(i)


def test_fixed_overhead_of_one_tile() -> None:
    """At most 64 bytes with the entropy framing, and so at most 48 without it: signature 8, HEAD 28, TILE 12."""
    for side in (128, 1024):
        assert len(pack(Header(side, side, "RGB", 63, 1.0, bytes(8)), [bytes(500)])) - 500 == 48
    assert len(pack(Header(1, 1, "RGB", 63, 1.0, bytes(8)), [b""], qmap=np.zeros((1, 1), np.int8))) == 46


class Pipe(io.RawIOBase):
    """Cannot seek, and gives at most 7 bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self.inner.readinto(memoryview(buffer)[:7])


class Trickle(io.BytesIO):
    """Seeks, and gives at most 7 bytes at a time, like an unbuffered network file."""

    def read(self, n: int | None = -1) -> bytes:
        return super().read(min(7, n) if n is not None and n >= 0 else n)


TILES = [bytes([i]) * (500 + i) for i in range(6)]
HEADER = Header(2500, 1025, "RGBA", 20, 0.3, b"12345678")
DATA = pack(HEADER, TILES, alpha=[bytes((0, i)) for i in range(6)], icc=b"profile" * 9)


def test_every_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "a.itg"
    path.write_bytes(DATA)
    shifted = io.BytesIO(b"before" + DATA)
    shifted.seek(6)
    strided = memoryview(bytes(b for byte in DATA for b in (byte, 0)))[::2]
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        opened: list[Any] = [file, raw, shifted, Pipe(DATA), Trickle(DATA), io.BytesIO(DATA)]
        for source in [DATA, bytearray(DATA), memoryview(DATA), strided, path, str(path), *opened]:
            with Reader(source) as reader:
                assert reader.header == HEADER
                assert reader.icc == b"profile" * 9
                assert [reader.tile(i) for i in (5, 0, 3)] == [TILES[5], TILES[0], TILES[3]]
                assert reader.alpha(4) == bytes((0, 4))
                reader.check_tail()
        assert not file.closed, "a caller's file is the caller's to close"


def test_reads_a_fifo() -> None:
    with tempfile.TemporaryDirectory() as folder:
        fifo = Path(folder) / "fifo"
        try:
            os.mkfifo(fifo)
        except (AttributeError, OSError):
            pytest.skip("no named pipes here")
        writer = threading.Thread(target=fifo.write_bytes, args=(DATA,))
        writer.start()
        with Reader(fifo) as reader:
            assert reader.tile(5) == TILES[5]
        writer.join()


def test_an_endless_pipe_of_something_else_is_refused_at_once() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    with pytest.raises(CorruptFile, match=r"no \.itg file"):
        Reader(Endless())  # type: ignore[arg-type]


def test_an_endless_pipe_with_a_sound_beginning_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.start, self.given = DATA, 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            part, self.start = self.start[: len(buffer)], self.start[len(buffer) :]
            buffer[:] = part.ljust(len(buffer), b"\0")
            self.given += len(buffer)
            return len(buffer)

    monkeypatch.setattr("intaglio.source.PIPE", 1 << 20)
    pipe = Endless()
    with pytest.raises(TooLarge, match="keep it in a file"):
        Reader(pipe)  # type: ignore[arg-type]
    with pytest.raises(TooLarge, match="keep it in a file"):
        pictures.load(pipe)
    assert pipe.given < 4 << 20


def test_sources_that_are_none(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(DATA)
    with text.open(encoding="latin-1") as file:
        for source in (tmp_path / "missing.itg", tmp_path, "a\0b", 7, None, io.StringIO("x"), file):
            with pytest.raises(BadInput):
                Reader(source)  # type: ignore[arg-type]


class Log(io.BytesIO):
    """Remembers which bytes were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.ranges: list[tuple[int, int]] = []

    def read(self, n: int | None = -1) -> bytes:
        start = self.tell()
        data = super().read(n)
        self.ranges.append((start, start + len(data)))
        return data


def test_random_access_reads_only_its_tile() -> None:
    log = Log(DATA)
    reader = Reader(log)
    first = next(offset for kind, offset, _ in reader.chunks if kind == "TILE")
    assert max(end for _, end in log.ranges) == first + 8, "opening stops at the first tile's frame"
    log.ranges.clear()
    before = reader.bytes_read
    assert reader.tile(4) == TILES[4]
    _, offset, length = [chunk for chunk in reader.chunks if chunk[0] == "TILE"][4]
    assert log.ranges == [(offset, offset + 12 + length)]
    assert reader.bytes_read - before == 12 + length
    log.ranges.clear()
    reader.alpha(3)
    assert max(end for _, end in log.ranges) <= first, "alpha is read without the tiles"
    reader.check_tail()


class Dozing(io.BytesIO):
    """Lets other threads in between a seek and its read."""

    def seek(self, offset: int, whence: int = 0) -> int:
        place = super().seek(offset, whence)
        time.sleep(1e-5)
        return place


def test_threads_share_a_reader() -> None:
    with Reader(Dozing(DATA)) as reader, ThreadPoolExecutor(8) as pool:
        order = [i % 6 for i in range(400)]
        assert list(pool.map(reader.tile, order)) == [TILES[i] for i in order]


def test_a_gain_map_of_zeros_costs_nothing() -> None:
    header = Header(100, 100, "L", 9, 1.0, bytes(8))
    assert pack(header, [b"x"], qmap=np.zeros((2, 2), np.int8)) == pack(header, [b"x"])
    assert pack(header, [b"x"], icc=b"", exif=b"", xmp=b"") == pack(header, [b"x"])


GREY = Header(100, 70, "L", 9, 1.0, bytes(8))
GREY_ALPHA = Header(100, 70, "LA", 9, 1.0, bytes(8))


@pytest.mark.parametrize(
    ("header", "tiles", "parts"),
    [
        (GREY, [], {}),
        (GREY, [b"", b""], {}),
        (GREY, [b""], {"qmap": np.zeros((2, 3), np.int8)}),
        (GREY, [b""], {"qmap": np.zeros((2, 2))}),
        (GREY, [b""], {"qmap": np.full((2, 2), -10)}),
        (GREY, [b""], {"qmap": np.full((2, 2), 55)}),
        (GREY, [b""], {"alpha": [b"\0\0"]}),
        (GREY_ALPHA, [b""], {}),
        (GREY_ALPHA, [b""], {"alpha": []}),
        (GREY_ALPHA, [b""], {"alpha": [b""]}),
        (GREY_ALPHA, [b""], {"alpha": [b"\0\0\0"]}),
        (GREY_ALPHA, [b""], {"alpha": [b"\x01" + png(70, 100)]}),
        (GREY_ALPHA, [b""], {"alpha": [b"\x01" + png(100, 70) + bytes(90_000)]}),
    ],
)
def test_parts_that_do_not_fit_are_refused(header: Header, tiles: list[bytes], parts: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        pack(header, tiles, **parts)


def test_parts_above_a_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_METADATA", 100)
    monkeypatch.setattr(container, "MAX_TILE_BYTES", 100)
    pack(GREY, [bytes(100)], icc=bytes(100))
    above: list[tuple[bytes, dict[str, Any]]] = [
        (bytes(101), {}),
        (b"", {"icc": bytes(101)}),
        (b"", {"exif": bytes(101)}),
    ]
    for tile, parts in above:
        with pytest.raises(TooLarge):
            pack(GREY, [tile], **parts)


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 0},
        {"height": 2**24 + 1},
        {"mode": "CMYK"},
        {"q": 64},
        {"q": -1},
        {"realism": 1.01},
        {"realism": float("nan")},
        {"fingerprint": b"short"},
    ],
)
def test_headers_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    sound = {"width": 1, "height": 1, "mode": "L", "q": 0, "realism": 0.0, "fingerprint": bytes(8)}
    with pytest.raises(BadInput):
        Header(**{**sound, **fields})


def test_bytes_after_the_last_tile_warn() -> None:
    reader = Reader(DATA + b"more")
    assert reader.tile(5) == TILES[5]
    with pytest.warns(IntaglioWarning, match=f"4 bytes after the last tile, at byte {len(DATA)}"):
        reader.check_tail()
