"""Hazard: files larger than the prior's own estimate, because of the coder, its tables or its escapes."""

import math

import numpy as np
import pytest

from intaglio.entropy import TOTAL, TileWriter, gaussian_tables
from intaglio.errors import BadInput

SCALES = np.geomspace(0.11, 64, 64)
TABLES = gaussian_tables(SCALES)


def realistic(n, seed=0):
    """Mostly small scales, and one residual in two hundred from four times the scale: the prior is never right."""
    rng = np.random.default_rng(seed)
    index = np.minimum(63, rng.geometric(0.06, n) - 1).astype(np.uint8)
    spread = np.where(rng.random(n) < 0.005, 4, 1) * SCALES[index]
    return np.rint(rng.normal(0, spread)).astype(np.int32), index


@pytest.mark.parametrize("n", [0, 1, 10, 100, 3_000, 100_000])
def test_a_tile_is_within_one_per_cent_and_twelve_bytes_of_the_ideal(n):
    symbols, index = realistic(n)
    writer = TileWriter(TABLES)
    for part in np.array_split(np.arange(n), 5):
        writer.put(symbols[part], index[part])
    ideal = TABLES.bits(symbols, index) / 8
    assert 0.999 * ideal - 1 < len(writer.finish()) < 1.01 * ideal + 12


def test_bits_are_those_of_the_counts_and_of_the_escape_code():
    counts, reach = TABLES.counts(40).tolist(), int(TABLES.reach[40])
    cost = [-math.log2(c / TOTAL) for c in counts]
    for symbol, expected in [
        (0, cost[reach]),
        (-reach, cost[0]),
        (reach, cost[-2]),
        (reach + 1, cost[-1] + 2),
        (-reach - 2, cost[-1] + 4),
        (reach + 3, cost[-1] + 4),
        (reach + 4, cost[-1] + 6),
        (-(2**20), cost[-1] + 2 * (2**20 - reach).bit_length()),
    ]:
        assert TABLES.bits(np.array([symbol]), np.array([40])) == pytest.approx(expected, abs=1e-9)
    assert TABLES.bits(np.zeros(0, int), np.zeros(0, int)) == 0


def test_gaussian_tables_cost_what_the_gaussian_costs():
    for s, scale in enumerate(SCALES):
        counts, reach = TABLES.counts(s).astype(np.float64), int(TABLES.reach[s])
        edges = [0.5 * math.erfc((0.5 - r) / scale * math.sqrt(0.5)) for r in range(-reach, reach + 2)]
        true = np.diff(edges)
        waste = float(np.sum(np.where(true > 0, true, 0) * np.log2(np.maximum(true, 1e-30) * TOTAL / counts[:-1])))
        assert abs(waste) < 2e-5  # bits a symbol
        assert np.array_equal(counts[:-1], counts[-2::-1])


def test_gaussian_tables_reach_as_far_as_pays():
    outside = [TABLES.counts(s)[-1] / TOTAL for s in range(64)]
    assert all(2**-20 <= mass < 1.01 * 2**-14 for mass in outside)
    assert TABLES.reach[0] == 1
    assert TABLES.reach[-1] == pytest.approx(64 * 4.0, rel=0.02)  # 2^-14 of a Gaussian is beyond 4.0 deviations


def test_gaussian_tables_at_the_extremes_of_scale():
    tables = gaussian_tables([1e-9, 0.03, 505.0, 1e9, 1e300])
    assert tables.reach.tolist() == [1, 1, pytest.approx(2025, abs=3), 2047, 2047]
    assert gaussian_tables([30.0], tail=2.0**-20).reach[0] > gaussian_tables([30.0]).reach[0]
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(BadInput, match="scale"):
            gaussian_tables([bad])
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(BadInput, match="tail"):
            gaussian_tables([1.0], tail=bad)
    with pytest.raises(BadInput):
        gaussian_tables([])
