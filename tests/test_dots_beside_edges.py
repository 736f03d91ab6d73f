"""Hazard: the critic's dots on smooth ground beside edges cost nothing, or the term against them forbids texture."""

from __future__ import annotations

import pytest
import torch

from intaglio.losses.speckle import FINE, NOISE, speckle


def wall(*size: int) -> torch.Tensor:
    return torch.full((1, 3, *size), 120.0)


def board(h: int, w: int) -> torch.Tensor:
    """A chessboard of -1 and 1: (h, w)."""
    return 1 - 2 * ((torch.arange(h)[:, None] + torch.arange(w)) % 2).float()


def test_a_chessboard_on_a_wall_counts_by_its_energy() -> None:
    energy = (3 * (1 - 1 / FINE**2)) ** 2  # each pixel less its 5x5 mean, in which its own colour is one more
    found = speckle(wall(32, 48).repeat(2, 1, 1, 1) + 3 * board(32, 48), wall(32, 48).repeat(2, 1, 1, 1))
    assert found.shape == (2,) and found.tolist() == pytest.approx(2 * [energy / NOISE], rel=1e-4)


def test_identical_pictures_cost_nothing_and_have_a_gradient() -> None:
    x = wall(32, 32) + 5 * board(32, 32)
    x_hat = x.clone().requires_grad_()
    loss = speckle(x_hat, x).sum()
    loss.backward()
    assert float(loss.detach()) == 0 and torch.isfinite(x_hat.grad).all()  # type: ignore[arg-type]


def test_other_texture_of_the_same_energy_and_blur_are_free() -> None:
    x = wall(32, 32) + 5 * board(32, 32)
    assert float(speckle(wall(32, 32) - 5 * board(32, 32), x)) == pytest.approx(0, abs=1e-6)
    assert float(speckle(wall(32, 32), x)) == 0
    assert float(speckle(wall(32, 32) + 40, wall(32, 32))) == pytest.approx(0, abs=1e-6), "other colours"


def test_dots_cost_less_the_busier_their_ground() -> None:
    busy = wall(32, 32) + 20 * board(32, 32)
    added = float(speckle(busy + 3 * board(32, 32), busy))
    assert 0 < added < 0.1 * float(speckle(wall(32, 32) + 3 * board(32, 32), wall(32, 32)))
