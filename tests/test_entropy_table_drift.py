"""Hazard: the probabilities in use are not the stored integers, and another decoder or a newer library disagrees."""

import re
import zlib
from pathlib import Path

import constriction
import numpy as np
import pytest
from reference_ans import decode

from intaglio.entropy import LIMIT, TOTAL, Tables, TileReader, TileWriter, gaussian_tables
from intaglio.errors import BadInput

GAUSSIAN = gaussian_tables(np.geomspace(0.05, 900, 64))


def uneven_tables():
    """Tables of the widest sizes and the most uneven counts: what float rounding would break first."""
    rng = np.random.default_rng(5)
    for size in (2, 4, 4096, 65534):
        for power in (0, 3, 12):
            weights = rng.random(size) ** power
            counts = 1 + np.floor(weights / weights.sum() * (TOTAL - size)).astype(np.int64)
            counts[rng.integers(size)] += TOTAL - counts.sum()
            yield counts


@pytest.mark.parametrize("tables", [GAUSSIAN, Tables(list(uneven_tables()))], ids=["gaussian", "uneven"])
def test_the_coder_uses_the_stored_counts_exactly(tables):
    coder = constriction.stream.stack.AnsCoder()
    for s in range(len(tables)):
        counts = tables.counts(s).astype(np.int64)
        sums = np.cumsum(counts) - counts
        entries = range(len(counts)) if len(counts) < 5000 else [*range(1000), *range(len(counts) - 1000, len(counts))]
        for entry in entries:
            coder.encode_reverse(entry, tables.model(s))  # onto an empty stack: the state becomes the entry's left sum
            assert coder.pos() == (0, sums[entry])
            coder.clear()


def test_a_decoder_written_from_the_specification_agrees():
    rng = np.random.default_rng(2)
    wide = Tables(list(uneven_tables()))
    for tables in (GAUSSIAN, wide):
        plain = [tables.counts(s).tolist() for s in range(len(tables))]
        groups = []
        for n in (0, 1, 300, 2000):
            index = rng.integers(0, len(tables), n).astype(np.uint8)
            spread = np.where(rng.random(n) < 0.02, LIMIT, 3 * tables.reach[index] // 2 + 1)
            groups.append((np.clip(rng.laplace(0, spread / 3), -LIMIT, LIMIT).astype(np.int32), index))
        writer = TileWriter(tables)
        for symbols, index in groups:
            writer.put(symbols, index)
        decoded = decode(plain, writer.finish(), [index.tolist() for _, index in groups])
        assert decoded == [symbols.tolist() for symbols, _ in groups]


def worked_example():
    """(counts of the tables, groups of (residuals, tables), coded bytes, bytes of the residuals) in docs/format.md."""
    page = (Path(__file__).parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
    page = " ".join(page[page.index("\n### Example\n") : page.index("\n## The integer prior\n")].split())
    lists = re.findall(r"the counts ((?:[0-9A-F]{6}(?:, )?)+)", page)
    tables = [[int(count, 16) for count in re.findall("[0-9A-F]{6}", text)] for text in lists]
    groups = [
        ([int(r) for r in residuals.split(", ")], [int(s) for s in index.split(", ")])
        for residuals, index in re.findall(r"the residuals ([-0-9, ]+) under the tables ([0-9, ]+[0-9])", page)
    ]
    coded, residuals = (re.findall(start + r" ((?:[0-9a-f]{2} )+(?:[0-9a-f]{2}\b)?)", page)[0] for start in (
        "in these 15 bytes:", "CRC-32 of the 24 bytes"))
    return tables, groups, bytes.fromhex(coded), bytes.fromhex(residuals), page


def test_the_worked_example_of_the_specification():
    counts, groups, coded, residuals, page = worked_example()
    assert [len(table) for table in counts] == [4, 2]
    assert [len(group) for group, _ in groups] == [3, 3]
    assert (len(coded), len(residuals)) == (15, 24)
    assert b"".join(r.to_bytes(4, "little", signed=True) for group, _ in groups for r in group) == residuals
    assert f"The final state {zlib.crc32(residuals):08X} is" in page
    tables = Tables([np.array(table) for table in counts])
    writer, reader = TileWriter(tables), TileReader(tables, coded)
    for symbols, index in groups:
        writer.put(np.array(symbols), np.array(index))
        assert reader.get(np.array(index)).tolist() == symbols
    reader.finish()
    assert writer.finish() == coded
    assert decode(counts, coded, [index for _, index in groups]) == [group for group, _ in groups]


def test_tables_survive_storage():
    counts, sizes = GAUSSIAN.arrays()
    assert (counts.dtype, sizes.dtype) == (np.uint32, np.uint16)
    again = Tables.from_arrays(counts.copy(), sizes.copy())
    assert all(np.array_equal(a, b) for a, b in zip(again.arrays(), (counts, sizes), strict=True))
    assert np.array_equal(again.reach, GAUSSIAN.reach)
    assert 2 * GAUSSIAN.reach[7] + 2 == len(GAUSSIAN.counts(7)) == sizes[7]
    with pytest.raises(ValueError, match="read-only"):
        counts[0] += 1


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [
        ([TOTAL - 1, 2], [2]),
        ([TOTAL, 0], [2]),
        ([TOTAL + 1, -1], [2]),
        ([TOTAL - 2, 1, 1], [3]),
        ([TOTAL], [1]),
        ([TOTAL - 1, 1], [4]),
        ([TOTAL - 1, 1], [0, 2]),
        ([], []),
        ([TOTAL - 1, 1] * 257, [2] * 257),
        ([TOTAL - 1.0, 1.0], [2]),
        ([TOTAL - 1, 1], [2.0]),
        ([[TOTAL - 1, 1]], [2]),
        ([2**64 - 1, TOTAL + 1], [2]),
    ],
)
def test_malformed_tables_are_refused(counts, sizes):
    with pytest.raises(BadInput):
        Tables.from_arrays(np.array(counts), np.array(sizes))
