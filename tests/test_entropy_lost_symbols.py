"""Hazard: a residual comes back changed, in another place, or not at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.entropy import LIMIT, TOTAL, Tables, TileReader, TileWriter, gaussian_tables
from intaglio.errors import BadInput

TABLES = gaussian_tables(np.geomspace(0.1, 40, 256))


def through(tables, groups):
    writer = TileWriter(tables)
    for symbols, index in groups:
        writer.put(symbols, index)
    data = writer.finish()
    reader = TileReader(tables, data)
    out = [reader.get(index) for _, index in groups]
    reader.finish()
    for (symbols, _), decoded in zip(groups, out, strict=True):
        assert decoded.dtype == np.int32
        assert np.array_equal(decoded, symbols)
    return data


@st.composite
def tables_and_groups(draw):
    """Random counts (mostly near the two extremes) and groups that may be empty, alike or far beyond the tables."""
    pmf = []
    for reach in draw(st.lists(st.integers(0, 5), min_size=1, max_size=5)):
        size = 2 * reach + 2
        weights = np.array(draw(st.lists(st.sampled_from([0, 0, 1, 7, 10**6]), min_size=size, max_size=size)))
        counts = 1 + weights * (TOTAL - size) // max(1, weights.sum())
        counts[draw(st.integers(0, size - 1))] += TOTAL - counts.sum()
        pmf.append(counts)
    symbol = st.one_of(st.integers(-6, 6), st.integers(-LIMIT, LIMIT))
    pairs = st.lists(st.tuples(symbol, st.integers(0, len(pmf) - 1)), max_size=20)
    groups = [np.array(group, np.int32).reshape(-1, 2) for group in draw(st.lists(pairs, max_size=4))]
    return Tables(pmf), [(group[:, 0], group[:, 1].astype(np.uint8)) for group in groups]


@settings(max_examples=150, deadline=None)
@given(tables_and_groups())
def test_any_groups_under_any_tables(case):
    through(*case)


def test_many_symbols_over_every_table():
    rng = np.random.default_rng(1)
    index = rng.integers(0, 256, 20_000).astype(np.uint8)
    symbols = rng.laplace(0, 20, 20_000).astype(np.int32)
    through(TABLES, [(symbols[:7], index[:7]), (symbols[7:], index[7:])])


def test_the_largest_residuals_and_the_edges_of_every_table():
    for s in (0, 100, 255):
        reach = int(TABLES.reach[s])
        symbols = np.array([LIMIT, -LIMIT, LIMIT - 1, reach, -reach, reach + 1, -reach - 1, reach + 2, 0], np.int32)
        through(TABLES, [(symbols, np.full(symbols.size, s, np.uint8))])


def test_nothing_at_all_is_one_byte():
    none = np.zeros(0, np.int32), np.zeros(0, np.uint8)
    assert through(TABLES, []) == through(TABLES, [none, none]) == b"\0"


def test_empty_groups_between_others():
    none = np.zeros(0, np.int32), np.zeros(0, np.uint8)
    one = np.array([-3], np.int32), np.array([9], np.uint8)
    assert through(TABLES, [none, one, none, one, none]) == through(TABLES, [one, one])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", ">i4", "uint8", "uint64"])
def test_other_integers_give_the_same_bytes(dtype):
    symbols, index = np.arange(40) % 7, np.arange(40) % 5
    expected = through(TABLES, [(symbols.astype(np.int32), index.astype(np.uint8))])
    assert through(TABLES, [(symbols.astype(dtype), index.astype(dtype))]) == expected


def test_strided_and_read_only_arrays():
    symbols, index = np.arange(-50, 50, dtype=np.int32), np.arange(100, dtype=np.uint8)
    symbols.setflags(write=False)
    through(TABLES, [(symbols[::-3], index[::3])])


def test_a_writer_keeps_nothing_of_its_arguments_and_finishes_twice():
    symbols, index = np.arange(-5, 5, dtype=np.int32), np.zeros(10, np.uint8)
    writer = TileWriter(TABLES)
    writer.put(symbols, index)
    symbols[:], index[:] = 0, 7
    first = writer.finish()
    assert writer.finish() == first
    assert TileReader(TABLES, first).get(np.zeros(10, np.uint8)).tolist() == list(range(-5, 5))


@pytest.mark.parametrize(
    ("symbols", "index"),
    [
        (np.array([LIMIT + 1]), np.array([0])),
        (np.array([-LIMIT - 1]), np.array([0])),
        (np.array([2**63], np.uint64), np.array([0])),
        (np.array([-(2**31)], np.int32), np.array([0])),
        (np.array([1.0]), np.array([0])),
        (np.array([True]), np.array([0])),
        (np.array([[1]]), np.array([0])),
        (np.array(1), np.array([0])),
        (np.array([1, 2]), np.array([0])),
        (np.array([1]), np.array([256])),
        (np.array([1]), np.array([-1])),
        (np.array([1]), np.array([0.0])),
        (np.array([1]), np.array([[0]])),
    ],
)
def test_what_cannot_be_coded_is_refused_before_anything_is_kept(symbols, index):
    writer = TileWriter(TABLES)
    with pytest.raises(BadInput):
        writer.put(symbols, index)
    with pytest.raises(BadInput):
        TABLES.bits(symbols, index)
    assert writer.finish() == b"\0"


@pytest.mark.parametrize("index", [[256], [-1], [0.0], [[0]], [False]])
def test_a_reader_refuses_indices_of_no_table(index):
    with pytest.raises(BadInput):
        TileReader(TABLES, b"\0").get(np.array(index))
