"""Hazard: a label map that comes back with another label, a coding that is kept though the other is smaller, or a
stranger's bytes that crash or hang whoever reads the map."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
import reference_labels
from golden_pictures import clouds
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio import labels, outlines
from intaglio.adaptive import BitReader, BitWriter, squash
from intaglio.errors import BadInput, CorruptFile, TooLarge


def scene(width: int, height: int, count: int, seed: int = 1) -> np.ndarray:
    """A map of `count` labels in areas of every size, with ragged borders."""
    smooth = (5 * clouds(width, height, 24, seed) + clouds(width, height, 5, seed + 9)) // 6
    return (smooth * count // 256).astype(np.uint8)


@st.composite
def maps(draw: st.DrawFn) -> np.ndarray:
    """From all alike to all different, and areas within areas."""
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    count = draw(st.sampled_from([1, 2, 3, 12, 256]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(1, 8))
    small = random.integers(0, count, (-(-height // size), -(-width // size)), dtype=np.uint8)
    result = np.repeat(np.repeat(small, size, 0), size, 1)[:height, :width]
    for _ in range(draw(st.integers(0, 4))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        result[y : y + draw(st.integers(1, 9)), x : x + draw(st.integers(1, 9))] = draw(st.integers(0, count - 1))
    return result


@given(maps())
@settings(max_examples=200, deadline=None)
def test_every_label_comes_back_in_either_coding(given_map: np.ndarray) -> None:
    for coding in labels.CODINGS:
        data = labels.pack(given_map, coding)
        assert np.array_equal(labels.unpack(data, given_map.shape, "the map"), given_map), coding


def test_areas_within_areas_come_back() -> None:
    y, x = np.mgrid[:61, :73]
    rings = (np.maximum(abs(y - 30), abs(x - 36)) // 3 % 5).astype(np.uint8)
    rings[10:14, 10:40:2] = 7  # touching at corners only
    for coding in labels.CODINGS:
        assert np.array_equal(labels.unpack(labels.pack(rings, coding), rings.shape, "the map"), rings)


def test_the_smaller_coding_is_kept() -> None:
    y, x = np.mgrid[:300, :300]
    disc = ((y - 150) ** 2 + (x - 150) ** 2 < 120**2).astype(np.uint8)
    speckled = scene(96, 96, 12) ^ (np.random.default_rng(0).random((96, 96)) < 0.03).astype(np.uint8)
    for given_map, best in ((disc, "outlines"), (speckled, "scan")):
        sizes = {coding: len(labels.pack(given_map, coding)) for coding in labels.CODINGS}
        kept = labels.pack(given_map)
        assert labels.CODINGS[kept[0]] == best == min(sizes, key=sizes.__getitem__)
        assert len(kept) == min(sizes.values()) < max(sizes.values())


def test_a_map_takes_no_more_than_half_of_what_deflate_needs() -> None:
    for count in (3, 12):
        given_map = scene(120, 90, count)
        assert 2 * len(labels.pack(given_map)) < len(zlib.compress(given_map.tobytes(), 9))


def test_one_label_costs_two_bytes() -> None:
    data = labels.pack(np.zeros((90, 120), np.uint8))
    assert len(data) == 2 and not labels.unpack(data, (90, 120), "the map").any()


def test_what_is_written_does_not_change() -> None:
    """docs/format.md describes these bytes: another arithmetic is another format."""
    given_map = scene(40, 30, 5, 3)
    sums = {coding: zlib.crc32(labels.pack(given_map, coding)) for coding in labels.CODINGS}
    assert sums == {"scan": SCAN, "outlines": OUTLINES}
    assert [squash(d) for d in (-3000, -2047, -256, -1, 0, 1, 256, 2047, 3000)] == SQUASHED


SCAN, OUTLINES, SQUASHED = 3523624486, 304274873, [1, 1, 1101, 2043, 2047, 2051, 2994, 4094, 4094]


@given(maps())
@settings(max_examples=40, deadline=None)
def test_a_second_decoder_reads_the_same(given_map: np.ndarray) -> None:
    for coding in labels.CODINGS:
        data = labels.pack(given_map, coding)
        assert reference_labels.decode(data, *given_map.shape) == given_map.tolist(), coding


@given(st.binary(max_size=60), st.sampled_from([(1, 1), (7, 9), (40, 30), (1, 200)]))
@settings(max_examples=300, deadline=None)
def test_a_strangers_bytes_are_a_map_or_refused(data: bytes, shape: tuple[int, int]) -> None:
    try:
        result = labels.unpack(data, shape, "the LABL chunk")
    except CorruptFile as error:
        assert str(error).startswith("the LABL chunk") and "\n" not in str(error)
    else:
        assert result.shape == shape and int(result.max()) <= data[1]


def test_needless_bytes_are_refused() -> None:
    given_map = scene(40, 30, 5)
    data = labels.pack(given_map)
    for more in (b"\0", b"xyz" * 5):
        with pytest.raises(CorruptFile, match="goes on"):
            labels.unpack(data + more, given_map.shape, "the map")


def test_hostile_outlines_end_soon() -> None:
    """Outlines may ask for any number of areas, each as large as the map, in a handful of bytes."""
    start = time.perf_counter()
    with pytest.raises(CorruptFile, match="more than [0-9]+ steps"):
        labels.unpack(b"\1\xff" + np.random.default_rng(5).bytes(60000), (512, 512), "the map")
    assert time.perf_counter() - start < 60


def test_hostile_scans_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every decision of a scan counts: the map that takes as many as are allowed is read, and one more is refused."""
    given_map = np.random.default_rng(3).integers(0, 12, (1, 3000), dtype=np.uint8)  # in a single row, too
    asked = 0

    class Counting(BitWriter):
        def bit(self, value: int, contexts: Sequence[int], mixer: int) -> int:
            nonlocal asked
            asked += 1
            return super().bit(value, contexts, mixer)

    with monkeypatch.context() as patch:
        patch.setattr(labels, "BitWriter", Counting)
        data = labels.pack(given_map, "scan")
    monkeypatch.setattr(labels, "MOST_DECISIONS", asked)
    assert np.array_equal(labels.unpack(data, given_map.shape, "the map"), given_map)
    assert labels.pack(given_map, "scan") == data
    monkeypatch.setattr(labels, "MOST_DECISIONS", asked - 1)
    with pytest.raises(CorruptFile, match="the map: its scan takes more than"):
        labels.unpack(data, given_map.shape, "the map")
    assert labels.CODINGS[labels.pack(given_map)[0]] == "outlines"  # a writer holds itself to it
    monkeypatch.setattr(outlines, "MOST_WORK", 100)
    with pytest.raises(TooLarge, match="more coarsely"):
        labels.pack(given_map)


def test_too_many_outlines_are_scanned_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    given_map = scene(60, 60, 12)
    monkeypatch.setattr(outlines, "MOST_WORK", 100)
    assert labels.CODINGS[labels.pack(given_map)[0]] == "scan"
    with pytest.raises(TooLarge, match="too many areas"):
        labels.pack(given_map, "outlines")


def test_what_is_no_map_is_refused() -> None:
    for wrong in (np.zeros((3, 3)), np.zeros(9, np.uint8), np.zeros((0, 3), np.uint8)):
        with pytest.raises(BadInput, match="label map"):
            labels.pack(wrong)
    with pytest.raises(TooLarge, match="more coarsely"):
        labels.pack(np.zeros((1024, 1024), np.uint8))
    with pytest.raises(CorruptFile, match="positions"):
        labels.unpack(b"\0\0", (1024, 1024), "the map")


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(0, 2**32 - 1)), max_size=400))
@settings(max_examples=100, deadline=None)
def test_every_decision_comes_back(decisions: list[tuple[int, int, int]]) -> None:
    """Carries and all: whatever the contexts say."""
    writer = BitWriter(2)
    for value, mixer, context in decisions:
        writer.bit(value, (context, mixer), mixer)
    data = writer.finish()
    reader = BitReader(2, data)
    assert [reader.bit(0, (context, mixer), mixer) for _, mixer, context in decisions] == [v for v, _, _ in decisions]
    reader.finish()


def test_likely_decisions_cost_little() -> None:
    random = np.random.default_rng(2)
    values = (random.random(20000) < 0.02).astype(int).tolist()
    writer = BitWriter(1)
    for value in values:
        writer.bit(value, (0,), 0)
    share = sum(values) / len(values)
    entropy = -len(values) * (share * np.log2(share) + (1 - share) * np.log2(1 - share)) / 8
    assert len(writer.finish()) < 1.03 * entropy + 8
