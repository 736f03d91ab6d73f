"""Hazard: damaged or hostile bytes crash, hang, take memory without bound, or pass for sound."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.entropy import LIMIT, Tables, TileReader, TileWriter, gaussian_tables
from intaglio.errors import CorruptFile

TABLES = gaussian_tables(np.geomspace(0.1, 40, 16))
RNG = np.random.default_rng(3)
INDEX = RNG.integers(0, 16, 400).astype(np.uint8)
SYMBOLS = RNG.laplace(0, 8, 400).astype(np.int32)


def coded():
    writer = TileWriter(TABLES)
    writer.put(SYMBOLS[:100], INDEX[:100])
    writer.put(SYMBOLS[100:], INDEX[100:])
    return writer.finish()


def read(data, tables=TABLES, groups=(INDEX[:100], INDEX[100:])):
    reader = TileReader(tables, data)
    out = [reader.get(index) for index in groups]
    reader.finish()
    return np.concatenate(out)


SOUND = coded()


def test_the_sound_tile_reads_from_any_buffer():
    for data in (SOUND, bytearray(SOUND), memoryview(SOUND), memoryview(b"xyz" + SOUND)[3:]):
        assert np.array_equal(read(data), SYMBOLS)


def test_every_truncation_is_found():
    assert SOUND[0] > 5  # there are escape bits to cut
    for n in range(len(SOUND)):
        with pytest.raises(CorruptFile):
            read(SOUND[:n])


@pytest.mark.parametrize("extra", [b"\0", b"\1", b"\0" * 4, b"\1\0\0\0", b"\xff" * 4, b"\1\0\0\0" * 50])
def test_extra_bytes_are_found(extra):
    escapes = 1 + SOUND[0]
    for data in (SOUND + extra, extra + SOUND, SOUND[:escapes] + extra + SOUND[escapes:]):
        with pytest.raises(CorruptFile):
            read(data)


def test_every_flipped_bit_is_found():
    for i in range(8 * len(SOUND)):
        data = bytearray(SOUND)
        data[i // 8] ^= 1 << i % 8
        with pytest.raises(CorruptFile):
            read(data)


def test_decoding_past_the_end_is_found_however_likely_the_first_entry():
    # Past the end the coder gives the first entry for ever; a table that makes it likely must not hide that.
    for counts in ([2**24 - 1, 1], [2**24 - 3, 1, 1, 1], [1, 2**24 - 3, 1, 1]):
        tables = Tables([np.array(counts)])
        writer = TileWriter(tables)
        writer.put(np.arange(50) % 3 - 1, np.zeros(50, int))
        data = writer.finish()
        for n in (49, 51, 1000):
            with pytest.raises(CorruptFile):
                read(data, tables, [np.zeros(n, int)])


def test_another_table_for_one_residual_is_found():
    for i in range(0, 400, 7):
        index = INDEX.copy()
        index[i] = (index[i] + 1) % 16
        with pytest.raises(CorruptFile):
            read(SOUND, groups=(index[:100], index[100:]))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.booleans())
def test_random_bytes_raise_nothing_else(data, whole_words):
    if whole_words:
        data = b"\0" + data[: len(data) // 4 * 4]
    try:
        read(data)
    except CorruptFile:
        return
    pytest.fail("random bytes passed for a tile of 400 residuals")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x80\x00",  # a needless byte
        b"\xff\xff\xff\xff\x7f",  # 32 GiB of escape bits
        b"\x80\x80\x80\x80\x80\x01",
        b"\x01",
        b"\0abc",
        b"\0abcd\0\0\0\0",
    ],
)
def test_what_cannot_begin_a_tile(data):
    with pytest.raises(CorruptFile):
        TileReader(TABLES, data)


def escape_only(bits):
    """A tile of one escaped residual under a table that reaches 0, with these escape bits."""
    tables = Tables([np.array([1, 2**24 - 1])])
    escapes = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return TileReader(tables, bytes([len(escapes)]) + escapes + b"\1\0\0\0")


def test_escape_codes_at_their_limits():
    longest = "0" * 20 + f"{LIMIT:b}"
    assert escape_only("0" + longest).get(np.zeros(1, int)).tolist() == [LIMIT]
    assert escape_only("1" + longest).get(np.zeros(1, int)).tolist() == [-LIMIT]
    for bits in (
        "0" + "0" * 20 + f"{LIMIT + 1:b}",  # too large
        "0" + "0" * 21 + f"{2 * LIMIT:b}",
        "0" * 64,
        "0" * 800,
        "00000000",
        "00000001",  # cut short
        "1" + longest[:32],
    ):
        with pytest.raises(CorruptFile):
            escape_only(bits).get(np.zeros(1, int))


def test_escape_bits_beyond_those_used_are_found():
    one = np.zeros(1, np.uint8)
    writer = TileWriter(TABLES)
    writer.put(np.array([TABLES.reach[0] + 2]), one)  # four bits, so four of padding
    data = writer.finish()
    assert data[:2] == bytes([1, 0b0010 << 4])
    read(data, groups=[one])
    for bit in range(4):
        with pytest.raises(CorruptFile, match="padding"):
            read(data[:1] + bytes([data[1] | 1 << bit]) + data[2:], groups=[one])
    for more in (b"\0", b"\0\0\0"):
        with pytest.raises(CorruptFile, match="escape bits"):
            read(bytes([1 + len(more)]) + data[1:2] + more + data[2:], groups=[one])


def test_time_and_memory_stay_within_what_was_asked_for():
    n = 50_000
    tables = Tables([np.array([1, 2**24 - 1])])  # every residual an escape
    writer = TileWriter(tables)
    writer.put(np.full(n, LIMIT), np.zeros(n, int))
    escapes = writer.finish()
    junk = RNG.integers(0, 256, 4 << 20, dtype=np.uint8).tobytes()
    claims = [escapes, escapes[:-4] + b"\xff" * 4, b"\x80\x80\x80\x02" + junk, b"\0" + junk[:-3] + b"\1\1\1", b"\0"]
    for data in claims:
        tracemalloc.start()
        start = time.perf_counter()
        try:
            reader = TileReader(tables, data)
            reader.get(np.zeros(n, np.uint8))
            reader.finish()
        except CorruptFile:
            pass
        assert time.perf_counter() - start < 5
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + 64 * n
        tracemalloc.stop()
