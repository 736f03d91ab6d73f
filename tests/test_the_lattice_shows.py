"""Hazard: the decoder's lattice stands in flat places, and the term against it does not see it, or punishes detail."""

from __future__ import annotations

import pytest
import torch

from intaglio.losses.lattice import PERIOD, PRIOR, lattice


def dots(h: int, w: int) -> torch.Tensor:
    """One dot of 16 grey levels in every square: (1, 3, h, w)."""
    x = torch.zeros(1, 3, h, w)
    x[:, :, 3::PERIOD, 5::PERIOD] = 16
    return x


def test_dots_on_a_flat_wall_count_by_their_energy() -> None:
    wall = torch.full((2, 3, 128, 128), 120.0)
    found = lattice(wall + dots(128, 128), wall)
    share = 64 / (64 + PRIOR)
    energy = 256 / 256 - (16 / 256) ** 2  # variance of one dot among 256 pixels
    assert found.shape == (2,) and torch.allclose(found, torch.full((2,), energy * share**2), rtol=1e-5)


def test_identical_pictures_and_other_colours_cost_nothing() -> None:
    wall = torch.full((1, 3, 64, 64), 120.0, requires_grad=True)
    loss = lattice(wall, wall.detach()).sum()
    loss.backward()
    assert float(loss) == 0 and torch.isfinite(wall.grad).all()  # type: ignore[arg-type]
    assert float(lattice(wall.detach() + 7, wall.detach())) == pytest.approx(0, abs=1e-9)


def test_noise_averages_out_and_a_pattern_of_another_period_too() -> None:
    torch.manual_seed(0)
    wall = torch.full((1, 3, 256, 256), 120.0)
    noise = 3 * torch.randn(1, 3, 256, 256)
    assert float(lattice(wall + noise, wall)) < 0.1
    other = torch.zeros(1, 3, 256, 256)
    other[:, :, ::17, ::17] = 16
    assert float(lattice(wall + other, wall)) < 0.2 * float(lattice(wall + dots(256, 256), wall))


def test_busy_places_do_not_count() -> None:
    torch.manual_seed(0)
    busy = 120 + 60 * torch.randn(1, 3, 128, 128)
    wall = torch.full((1, 3, 128, 128), 120.0)
    assert float(lattice(busy + dots(128, 128), busy)) < 0.03 * float(lattice(wall + dots(128, 128), wall))
