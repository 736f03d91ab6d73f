"""Hazard: areas that are not kept take latent bits all the same, or those that are kept decode to something else."""

from __future__ import annotations

import numpy as np
import pytest
from golden_pictures import landscape

from intaglio.entropy import TileWriter
from intaglio.errors import CorruptFile
from intaglio.latents import NOTHING, TileCoder
from intaglio.package import Package
from intaglio.runtime import runtime
from intaglio.varint import put_varint

ROWS, COLUMNS = 3, 4  # blocks of the tile


@pytest.fixture(scope="module")
def coder(tiny: Package) -> TileCoder:
    return TileCoder(runtime(tiny, threads=1))


@pytest.fixture(scope="module")
def y(coder: TileCoder) -> np.ndarray:
    return coder.runtime.analysis(landscape(64 * COLUMNS, 64 * ROWS, 5)[None])


STEPS = np.full((ROWS, COLUMNS), 40)


def some(seed: int, share: float) -> np.ndarray:
    return np.random.default_rng(seed).random((4 * ROWS, 4 * COLUMNS)) < share


def symbols(coder: TileCoder, y: np.ndarray, kept: np.ndarray | None) -> tuple[int, list[int]]:
    """(residuals of z, residuals of the passes together with how many positions they are of)."""
    groups = list(coder.residuals(y, STEPS, kept))
    hyper = sum(len(r) for first, r, _ in groups if first < 0)
    return hyper, [r.shape[1] for first, r, _ in groups if first >= 0]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 1.0])
def test_only_kept_positions_are_coded(coder: TileCoder, y: np.ndarray, share: float) -> None:
    kept = some(1, share)
    blocks = kept.reshape(ROWS, 4, COLUMNS, 4).any((1, 3)).sum()
    hyper, positions = symbols(coder, y, kept)
    assert hyper == coder.hyper_index.shape[1] * blocks
    assert sum(positions[:2]) == sum(positions[2:]) == kept.sum()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_kept_latents_come_back_and_the_others_are_zero(coder: TileCoder, y: np.ndarray, share: float) -> None:
    kept = some(2, share)
    back = coder.decode(coder.encode(y, STEPS, kept), STEPS, kept)
    assert not back[:, :, ~kept].any()
    assert np.abs((back - y) * coder.gain(STEPS))[:, :, kept].max() <= 0.5 + 0.3 + 1e-3  # RD_CAP


def test_keeping_everything_is_no_mask(coder: TileCoder, y: np.ndarray) -> None:
    everything = np.ones((4 * ROWS, 4 * COLUMNS), bool)
    assert coder.encode(y, STEPS, everything) == coder.encode(y, STEPS)


def test_what_is_not_kept_does_not_show_in_the_bytes(coder: TileCoder, y: np.ndarray) -> None:
    """Neither in the hyper-latents of a block that is kept in part, nor as a context."""
    kept = some(3, 0.4)
    other = np.where(kept, y, 1e4 * np.random.default_rng(4).standard_normal(y.shape)).astype(np.float32)
    assert coder.encode(other, STEPS, kept) == coder.encode(y, STEPS, kept) != coder.encode(y, STEPS)


def test_nothing_kept_is_two_bytes(coder: TileCoder, y: np.ndarray) -> None:
    nothing = np.zeros((4 * ROWS, 4 * COLUMNS), bool)
    assert coder.encode(y, STEPS, nothing) == NOTHING == put_varint(0) + TileWriter(coder.runtime.tables).finish()
    assert not coder.decode(NOTHING, STEPS, nothing).any()
    with pytest.raises(CorruptFile, match="nothing is kept"):
        coder.decode(coder.encode(y, STEPS), STEPS, nothing)


def test_another_mask_is_found_out(coder: TileCoder, y: np.ndarray) -> None:
    kept = some(6, 0.5)
    data = coder.encode(y, STEPS, kept)
    for other in (None, ~kept, some(7, 0.5)):
        with pytest.raises(CorruptFile):
            coder.decode(data, STEPS, other)


def test_bytes_follow_the_kept_area(coder: TileCoder, y: np.ndarray) -> None:
    """Halves of a tile, each without the other, take together what the whole takes: no bits for what is left out."""
    y = np.tile(y, (1, 1, 4, 3))
    steps = np.full((4 * ROWS, 3 * COLUMNS), 40)
    kept = np.kron(np.random.default_rng(8).permutation(np.arange(len(steps.flat)) % 4 == 0).reshape(steps.shape),
                   np.ones((4, 4))).astype(bool)
    whole = len(coder.encode(y, steps))
    quarter, rest = (len(coder.encode(y, steps, part)) for part in (kept, ~kept))
    assert whole > 5000
    assert quarter + rest == pytest.approx(whole, rel=0.05)
    assert quarter == pytest.approx(whole / 4, rel=0.1)
