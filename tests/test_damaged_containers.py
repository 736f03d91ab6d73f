"""Damaged, cut and hostile `.itg` files: a named error or a warning, never another exception, never a blow-up."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from intaglio import codec, labels
from intaglio.container import SIGNATURE, Header, pack
from intaglio.errors import CorruptFile, IntaglioWarning, TooLarge, UnsupportedFile
from intaglio.reader import Reader
from intaglio.varint import put_varint

MIB = 1 << 20


def chunk(kind: bytes, payload: bytes, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return kind + struct.pack(">I", size) + payload + struct.pack(">I", zlib.crc32(kind + payload))


def head(width: int = 100, height: int = 70, mode: int = 2, q: int = 20, percent: int = 50, version: int = 1) -> bytes:
    fields = bytes((version, mode, q, percent)) + b"12345678" + put_varint(width) + put_varint(height)
    return chunk(b"HEAD", fields)


def grey_png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(out, "PNG")
    return out.getvalue()


def two_tiles() -> bytes:
    """Every chunk there is, two tiles; about 600 bytes."""
    header = Header(1030, 3, "RGBA", 20, 0.5, b"12345678")
    qmap = np.arange(17, dtype=np.int8).reshape(1, 17) - 3
    grain = np.arange(17, dtype=np.uint8).reshape(1, 17) % 5
    alpha = [b"\x00\x80", b"\x01" + grey_png(6, 3)]
    tiles = [bytes(range(90)), b"the second tile"]
    columns = np.arange(65, dtype=np.uint8)[None]
    maps = (b"\4" + labels.pack(columns // 20 % 2), b"\4" + labels.pack(columns // 9))
    return pack(
        header, tiles, qmap=qmap, grain=grain, areas=maps, seed=77, icc=b"an ICC profile", exif=b"Exif\0\0II*\0",
        xmp=b"<x:xmpmeta/>", alpha=alpha,
    )


def one_tile() -> bytes:
    header = Header(100, 70, "RGB", 20, 0.5, b"12345678")
    return pack(header, [bytes(range(90))], qmap=np.full((2, 2), -1, np.int8), exif=b"Exif\0\0II*\0")


def deflated_gains() -> bytes:
    """As files were before there was a BMAP."""
    return SIGNATURE + head() + chunk(b"QMAP", zlib.compress(bytes([255, 0, 1, 3]))) + chunk(b"TILE", b"payload")


FILES = {"two tiles": two_tiles(), "one tile": one_tile(), "deflated gains": deflated_gains()}
METADATA = ("icc", "exif", "xmp")
KINDS = ("HEAD", "QMAP", "BMAP", "KEEP", "LABL", "SEED", "iCCP", "eXIF", "xMPd", "ALPH", "TIDX", "TILE", "abcd")


def everything(data: bytes) -> dict[str, Any]:
    """All that a whole decode takes from a file."""
    reader = Reader(data)
    reader.check_tail()
    n = range(reader.header.tiles)
    parts = {name: getattr(reader, name) for name in METADATA}
    parts |= {"header": reader.header, "qmap": reader.qmap.tobytes(), "areas": reader.areas, "seed": reader.seed}
    parts["grain"] = None if reader.grain is None else reader.grain.tobytes()
    return parts | {"tiles": [reader.tile(i) for i in n], "alpha": [reader.alpha(i) for i in n]}


def damage_shows(data: bytes, sound: dict[str, Any]) -> bool:
    """Whether the damage was named; parts that differ from the sound file's are metadata, dropped with a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parts = everything(data)
        except (CorruptFile, UnsupportedFile, TooLarge):
            return True
    assert all(issubclass(warning.category, IntaglioWarning) for warning in caught)
    for name, value in parts.items():
        assert value == sound[name] or (name in METADATA and value is None and caught), name
    return bool(caught)


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak} bytes were allocated"


@pytest.mark.parametrize("name", FILES)
def test_every_byte_flipped(name: str) -> None:
    data = FILES[name]
    sound = everything(data)
    for at in range(len(data)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            bad = bytearray(data)
            bad[at] ^= mask
            assert damage_shows(bytes(bad), sound), f"byte {at} ^ {mask:#x} went unnoticed"


@pytest.mark.parametrize("name", FILES)
def test_every_truncation(name: str) -> None:
    data = FILES[name]
    for end in range(len(data)):
        with pytest.raises(CorruptFile):
            everything(data[:end])


@pytest.mark.parametrize("name", FILES)
def test_every_byte_lost_or_doubled(name: str) -> None:
    data = FILES[name]
    sound = everything(data)
    for at in range(len(data)):
        assert damage_shows(data[:at] + data[at + 1 :], sound)
        assert damage_shows(data[: at + 1] + data[at:], sound)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(FILES["two tiles"]) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_several_bytes_replaced(changes: list[tuple[int, int]]) -> None:
    bad = bytearray(FILES["two tiles"])
    for at, value in changes:
        bad[at] = value
    if bad != FILES["two tiles"]:
        assert damage_shows(bytes(bad), everything(FILES["two tiles"]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=40))))
def test_sound_checksums_around_nonsense(chunks: list[tuple[str, bytes]]) -> None:
    """Checksums are no defence against someone who computes them."""
    for start in (SIGNATURE, SIGNATURE + head(), SIGNATURE + head(mode=3, width=1030, height=3)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IntaglioWarning)
            with suppress(CorruptFile, UnsupportedFile, TooLarge):
                everything(start + b"".join(chunk(kind.encode(), payload) for kind, payload in chunks))


@pytest.mark.parametrize("kind", ["iCCP", "eXIF", "xMPd"])
def test_damaged_metadata_is_dropped_with_a_warning(kind: str) -> None:
    data = bytearray(FILES["two tiles"])
    data[data.index(kind.encode()) + 9] ^= 0xFF
    sound = everything(FILES["two tiles"])
    with pytest.warns(
        IntaglioWarning, match=f"the {kind} chunk at byte {data.index(kind.encode())} fails its checksum"
    ):
        parts = everything(bytes(data))
    dropped = {"iCCP": "icc", "eXIF": "exif", "xMPd": "xmp"}[kind]
    assert parts == {**sound, dropped: None}


@pytest.mark.parametrize("kind", ["HEAD", "QMAP", "BMAP", "KEEP", "LABL", "SEED", "ALPH", "TIDX", "TILE"])
def test_damage_to_what_the_picture_needs_says_where(kind: str) -> None:
    data = bytearray(FILES["deflated gains" if kind == "QMAP" else "two tiles"])
    at = data.index(kind.encode())
    data[at + 9] ^= 0xFF
    with pytest.raises(CorruptFile, match=f"{kind} chunk .*at byte {at} fails its checksum"):
        everything(bytes(data))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data.replace(b"\r\n", b"\n"), "line endings"),
        (lambda data: data.replace(b"\n", b"\r\n"), "line endings"),
        (lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), "line endings"),
        (lambda data: data.replace(b"\r\n", b"\r"), "line endings"),
        (lambda data: data.replace(b"\n", b"\r"), "line endings"),
        (lambda data: bytes(byte & 0x7F for byte in data), "eighth bit"),
        (lambda data: data.decode("latin-1").encode(), "encoding"),
        (lambda data: data.decode("utf-8", "replace").encode(), "encoding"),
        (lambda data: data.decode("ascii", "replace").encode("ascii", "replace"), "encoding"),
        (lambda data: data[: data.index(b"\x1a")], "cut short"),
        (lambda data: b"\x8bITG" + data[4:], "signature at byte 0 is damaged"),
        (lambda data: b"\x89PNG\r\n\x1a\n" + data, r"no \.itg file"),
        (lambda data: b"", "only 0 bytes"),
    ],
)
def test_signature_names_what_happened(change, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CorruptFile, match=sentence):
        Reader(change(FILES["two tiles"]))


TILE_CHUNK = chunk(b"TILE", b"payload")
NO_GAINS = chunk(b"QMAP", zlib.compress(bytes(4)))


@pytest.mark.parametrize(
    ("rest", "error", "sentence"),
    [
        (TILE_CHUNK, CorruptFile, "where HEAD belongs"),
        (head(version=2) + TILE_CHUNK, UnsupportedFile, "format version 2"),
        (chunk(b"HEAD", b"\x07" + bytes(3000)), UnsupportedFile, "format version 7"),
        (head(version=0) + TILE_CHUNK, CorruptFile, "malformed"),
        (head(mode=4) + TILE_CHUNK, CorruptFile, "outside its range"),
        (head(q=64) + TILE_CHUNK, CorruptFile, "outside its range"),
        (head(percent=101) + TILE_CHUNK, CorruptFile, "outside its range"),
        (head(width=0) + TILE_CHUNK, CorruptFile, "outside its range"),
        (head(height=2**24 + 1) + TILE_CHUNK, CorruptFile, "height .*above 16777216"),
        (head(width=2**63) + TILE_CHUNK, CorruptFile, "width .*above 16777216"),
        (head(width=2**24, height=2**24) + TILE_CHUNK, TooLarge, "max_pixels"),
        (head(width=16384, height=16384) + TILE_CHUNK, CorruptFile, "256 tiles do not fit"),
        (head(width=2000) + TILE_CHUNK, CorruptFile, "TIDX chunk of 2 tiles is missing"),
        (head() + chunk(b"TIDX", b"\x07") + TILE_CHUNK, CorruptFile, "does not index 1 tiles"),
        (head(width=2000) + chunk(b"TIDX", b"\x07") + TILE_CHUNK, CorruptFile, "does not index 2 tiles"),
        (head(width=2000) + chunk(b"TIDX", b"\x07" * 3) + TILE_CHUNK, CorruptFile, "longer than"),
        (head(width=2000) + chunk(b"TIDX", b"\x07\x80") + TILE_CHUNK, CorruptFile, "tile 1 .* cut short"),
        (head(width=2000) + chunk(b"TIDX", b"\x07\xff\xff\xff\xff\x0f") + TILE_CHUNK, CorruptFile, "above"),
        (head() + TILE_CHUNK[:-3], CorruptFile, "cut short"),
        (head(), CorruptFile, "before its first tile"),
        (head() + head() + TILE_CHUNK, CorruptFile, "HEAD chunk at byte 34 comes after HEAD"),
        (head() + chunk(b"eXIF", b"x") + chunk(b"QMAP", b"x") + TILE_CHUNK, CorruptFile, "comes after metadata"),
        (head() + chunk(b"eXIF", b"x") + chunk(b"KEEP", b"x") + TILE_CHUNK, CorruptFile, "comes after metadata"),
        (head() + chunk(b"KEEP", b"x") + chunk(b"eXIF", b"x") + chunk(b"LABL", b"x") + TILE_CHUNK, CorruptFile,
         "comes after metadata"),
        (head() + chunk(b"LABL", b"x") + chunk(b"KEEP", b"x") + TILE_CHUNK, CorruptFile, "KEEP .* comes after LABL"),
        (head() + chunk(b"LABL", b"x") + TILE_CHUNK, CorruptFile, "only one"),
        (head() + chunk(b"KEEP", bytes(2**20 + 1)) + TILE_CHUNK, CorruptFile, "above 1048576"),
        (head() + chunk(b"eXIF", b"x") + chunk(b"SEED", b"abcd") + TILE_CHUNK, CorruptFile, "comes after metadata"),
        (head() + chunk(b"SEED", b"abc") + TILE_CHUNK, CorruptFile, "no seed"),
        (head() + chunk(b"SEED", bytes(4)) + TILE_CHUNK, CorruptFile, "no seed"),
        (head() + chunk(b"SEED", bytes(5)) + TILE_CHUNK, CorruptFile, "above 4"),
        (head() + chunk(b"ALPH", b"\x02\0\0") + TILE_CHUNK, CorruptFile, "mode RGB has an ALPH"),
        (head(mode=1) + TILE_CHUNK, CorruptFile, "mode LA has no ALPH"),
        (head() + chunk(b"NEWS", b"") + TILE_CHUNK, UnsupportedFile, "NEWS chunk at byte 34"),
        (head() + chunk(b"NEWS", b"")[:-1] + b"x" + TILE_CHUNK, CorruptFile, "NEWS chunk .* fails"),
        (head() + b"\0\0\0\0" + TILE_CHUNK, CorruptFile, "no chunk starts at byte 34"),
        (head() + chunk(b"QMAP", zlib.compress(bytes(5))) + TILE_CHUNK, CorruptFile, "expand to 2x2"),
        (head() + chunk(b"QMAP", zlib.compress(bytes(3))) + TILE_CHUNK, CorruptFile, "expand to 2x2"),
        (head() + chunk(b"QMAP", zlib.compress(bytes(4)) + b"x") + TILE_CHUNK, CorruptFile, "expand to 2x2"),
        (head() + chunk(b"QMAP", b"not zlib") + TILE_CHUNK, CorruptFile, "expand to 2x2"),
        (head() + chunk(b"QMAP", zlib.compress(b"\x7f\0\0\0")) + TILE_CHUNK, CorruptFile, "leaves q"),
        (head() + chunk(b"QMAP", zlib.compress(b"\xeb\0\0\0")) + TILE_CHUNK, CorruptFile, "leaves q"),
        (head() + chunk(b"BMAP", b"\1\x78") + NO_GAINS + TILE_CHUNK, CorruptFile, "after BMAP"),
        (head() + NO_GAINS + chunk(b"BMAP", b"\1\x78") + TILE_CHUNK, CorruptFile, "follows QMAP"),
        (head() + chunk(b"BMAP", b"\1") + TILE_CHUNK, CorruptFile, "1 bytes for 4 blocks"),
        (head() + chunk(b"BMAP", b"\1" + bytes(200)) + TILE_CHUNK, CorruptFile, "201 bytes for 4 blocks"),
        (head() + chunk(b"BMAP", b"\0\x78") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # neither of the maps
        (head() + chunk(b"BMAP", b"\1\xf0") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # offsets that are all 0
        (head() + chunk(b"BMAP", b"\4\xf0") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # levels
        (head() + chunk(b"BMAP", b"\1\x1e") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # even offsets not halved
        (head() + chunk(b"BMAP", b"\6\x78") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # halves of no offsets
        (head() + chunk(b"BMAP", b"\x09\x78") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # soft grain of no levels
        (head() + chunk(b"BMAP", b"\x11\x78") + TILE_CHUNK, UnsupportedFile, "upgrade"),  # an unknown flag
        (head() + chunk(b"BMAP", b"\1\x70") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # three of four
        (head() + chunk(b"BMAP", b"\1\x7c") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # five
        (head() + chunk(b"BMAP", b"\1\x78\0") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # a byte too many
        (head() + chunk(b"BMAP", b"\4\x3c") + TILE_CHUNK, CorruptFile, "expand to 2x2"),  # a level of -1
        (head() + chunk(b"BMAP", b"\3" + bytes(2) + b"\3\xc0") + TILE_CHUNK, CorruptFile, "leaves q"),  # -22 from 20
        (head() + chunk(b"note", b"") * 300 + TILE_CHUNK, CorruptFile, "more than 256 chunks"),
    ],
)
def test_hostile_files_are_refused(rest: bytes, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        everything(SIGNATURE + rest)


@pytest.mark.parametrize(
    ("alpha", "sentence"),
    [
        (b"", "cut short"),
        (b"\x03\0\0\0", "neither a constant nor a PNG"),
        (b"\x00", "neither a constant nor a PNG"),
        (b"\x02\0\0\0", "longer than"),
        (b"\x05\0\0", "leaves its chunk"),
        (b"\xff\xff\xff\xff\x0f\0", "leaves its chunk"),
        (b"\xff\xff\xff\xff\xff\xff", "above"),
        (b"\x02\x02\0", "neither a constant nor a PNG"),
        (put_varint(200_000) + bytes(200_000), "claims 200000 bytes"),
        (put_varint(len(grey_png(70, 100)) + 1) + b"\x01" + grey_png(70, 100), "8-bit grey PNG of 100x70"),
    ],
)
def test_hostile_alpha_is_refused(alpha: bytes, sentence: str) -> None:
    reader = Reader(SIGNATURE + head(mode=3) + chunk(b"ALPH", alpha) + TILE_CHUNK)
    assert reader.tile(0) == b"payload"
    with pytest.raises(CorruptFile, match=sentence):
        reader.alpha(0)


def test_unknown_ancillary_chunks_are_passed_over_silently() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader = Reader(SIGNATURE + head() + chunk(b"note", b"hello") + TILE_CHUNK)
        assert reader.tile(0) == b"payload"
    assert ("note", 34, 5) in reader.chunks


def test_a_second_copy_of_metadata_does_not_replace_the_first() -> None:
    data = SIGNATURE + head() + chunk(b"eXIF", b"first") + chunk(b"eXIF", b"second") + TILE_CHUNK
    with pytest.warns(IntaglioWarning, match="second eXIF"):
        assert Reader(data).exif == b"first"


def test_what_there_is_of_a_cut_file_can_be_read() -> None:
    data = FILES["two tiles"]
    reader = Reader(data[:-5])
    assert reader.tile(0) == bytes(range(90))
    with pytest.raises(CorruptFile, match="tile 1 ends at byte"):
        reader.tile(1)
    with pytest.raises(CorruptFile, match=f"{len(data) - 5} of its {len(data)} bytes"):
        reader.check_tail()
    with pytest.raises(CorruptFile, match=f"{len(data) - 5} of its {len(data)} bytes"):
        codec.info(data[:-5])
    assert codec.info(data)["bytes"] == len(data)


def test_an_index_that_lies_is_found_out() -> None:
    first, second = chunk(b"TILE", b"1234"), chunk(b"TILE", b"56")
    for lengths in (b"\x03\x03", b"\x04\x01", b"\x05\x01", b"\x02\x04"):
        data = SIGNATURE + head(width=2000) + chunk(b"TIDX", lengths) + first + second
        with warnings.catch_warnings(), pytest.raises(CorruptFile):
            warnings.simplefilter("ignore", IntaglioWarning)
            everything(data)


def test_bombs_are_refused_without_being_held() -> None:
    zeros = zlib.compressobj(9)
    bomb = b"".join(zeros.compress(bytes(MIB)) for _ in range(80)) + zeros.flush()  # 80 MiB in 80 kB
    with memory_below(MIB), pytest.raises(CorruptFile):
        Reader(SIGNATURE + head() + chunk(b"QMAP", bomb) + TILE_CHUNK)
    small = zlib.compress(bytes(60_000))  # short enough to be 2x2 blocks
    with memory_below(MIB), pytest.raises(CorruptFile):
        Reader(SIGNATURE + head() + chunk(b"QMAP", small) + TILE_CHUNK)
    ones = chunk(b"BMAP", b"\1" + b"\xff" * (36 << 14))  # 288 bits for each of 16384 blocks
    with memory_below(8 * MIB), pytest.raises(CorruptFile, match="expand to 16384x1"):
        Reader(SIGNATURE + head(2**20, 16) + ones + chunk(b"TIDX", bytes(1024)) + TILE_CHUNK * 1024)
    with memory_below(MIB), pytest.warns(IntaglioWarning, match="iCCP .* does not expand"):
        reader = Reader(SIGNATURE + head() + chunk(b"iCCP", bomb) + TILE_CHUNK)
    assert reader.icc is None
    assert reader.tile(0) == b"payload"


def test_metadata_of_any_length_expands() -> None:
    """Lengths around the pieces in which an expansion is counted; one byte too many after the stream is noticed."""
    for size in (0, 1, 65535, 65536, 65537, 131072, 300_000):
        noise = np.random.default_rng(size).bytes(size)
        for stored in (zlib.compress(noise), zlib.compress(noise, 0)):
            assert Reader(SIGNATURE + head() + chunk(b"iCCP", stored) + TILE_CHUNK).icc == noise
            for bad in (stored + b"x", stored + bytes(70_000), stored[:-1]):
                with pytest.warns(IntaglioWarning, match="does not expand"):
                    assert Reader(SIGNATURE + head() + chunk(b"iCCP", bad) + TILE_CHUNK).icc is None


def test_huge_claims_allocate_nothing() -> None:
    with memory_below(MIB):
        for kind in (b"HEAD", b"QMAP", b"BMAP", b"iCCP", b"eXIF", b"xMPd", b"ALPH", b"TIDX", b"TILE", b"note", b"NEWS"):
            with pytest.raises(CorruptFile):
                everything(SIGNATURE + (b"" if kind == b"HEAD" else head(2000)) + chunk(kind, bytes(100), 0xFFFFFFFF))
        with pytest.raises(CorruptFile):
            everything(SIGNATURE + head() + chunk(b"TILE", b"payload", 0xFFFFFFFF))
        for side in (16384, 2**24):
            with pytest.raises((CorruptFile, TooLarge)):
                Reader(SIGNATURE + head(side, side) + TILE_CHUNK)
            with pytest.raises(CorruptFile):
                Reader(SIGNATURE + head(side, side) + TILE_CHUNK, max_pixels=2**48)


def test_an_absent_gain_map_takes_no_memory() -> None:
    """A file of 850 kB may honestly have 65536 tiles, which are 16 million blocks."""
    data = SIGNATURE + head(2**24, 4096) + chunk(b"TIDX", bytes(65536)) + chunk(b"TILE", b"") * 65536
    with memory_below(4 * MIB):
        reader = Reader(data, max_pixels=2**36)
    assert reader.qmap.shape == (64, 2**18)
    assert not reader.qmap[5, 7:99].any()
    assert reader.tile(65535) == b""
    reader.check_tail()


def test_a_sparse_file_of_gigabytes_is_refused_without_reading_it(tmp_path: Path) -> None:
    """The lengths are true here: the file has as many bytes as they say."""
    for kind, start in ((b"eXIF", head()), (b"TIDX", head(2000)), (b"QMAP", head()), (b"TILE", head())):
        path = tmp_path / kind.decode()
        with path.open("wb") as file:
            file.write(SIGNATURE + start + kind + struct.pack(">I", 0xFFFFFFF0))
            os.truncate(path, 2**32 + 200)
        with memory_below(MIB), warnings.catch_warnings(), pytest.raises(CorruptFile):
            warnings.simplefilter("ignore", IntaglioWarning)
            with Reader(path) as reader:
                reader.tile(0)


def test_too_many_pixels_name_the_argument() -> None:
    data = SIGNATURE + head() + TILE_CHUNK
    assert Reader(data, max_pixels=7000).header.width == 100
    with pytest.raises(TooLarge, match="max_pixels = 6999"):
        Reader(data, max_pixels=6999)


def test_a_file_that_shrinks_while_open() -> None:
    file = io.BytesIO(FILES["two tiles"])
    reader = Reader(file)
    file.truncate(300)
    with pytest.raises(CorruptFile, match="the file ends before byte"):
        reader.tile(1)


def test_a_refused_file_is_not_left_open(tmp_path: Path) -> None:
    path = tmp_path / "bad.itg"
    path.write_bytes(b"not an itg file at all")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(CorruptFile):
            Reader(path)
        path.unlink()
