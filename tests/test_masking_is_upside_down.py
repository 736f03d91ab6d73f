"""Hazard: errors weigh most where nobody sees them, or beside an edge as little as on it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from intaglio.losses.masking import FLOOR, USUAL, WINDOW, visibility
from intaglio.nn.codec import rate_weight
from intaglio.recipes.intaglio1 import small, weighted_mse
from intaglio.train.recipe import Outputs


def board(h: int, w: int) -> torch.Tensor:
    """A chessboard of -1 and 1: (h, w)."""
    return 1 - 2 * ((torch.arange(h)[:, None] + torch.arange(w)) % 2).float()


def test_weights_follow_the_variance_by_a_power() -> None:
    x = (128 + 20 * board(16, 24)).expand(2, 3, -1, -1)
    variance = 400 * (1 - 1 / WINDOW**4)  # an odd window has one square more of one colour
    found, expected = visibility(x, 0.5), ((variance + FLOOR) / (USUAL + FLOOR)) ** -0.5
    assert found.shape == (2, 16, 24) and found.flatten().tolist() == pytest.approx(2 * 16 * 24 * [expected], rel=1e-3)


def test_smooth_ground_counts_as_smooth_up_to_the_edge() -> None:
    x = torch.full((1, 3, 32, 32), 200.0)
    x[..., 16:] = 128 + 60 * board(32, 16)
    found = visibility(x, 0.25)[0]
    flat = (FLOOR / (USUAL + FLOOR)) ** -0.25
    assert found[:, :16].flatten().tolist() == pytest.approx(16 * 32 * [flat], rel=1e-3)
    assert (found[:, 17:] < 0.6 * flat).all(), "texture right beside flat ground hides errors"


def test_no_strength_is_the_plain_squared_error() -> None:
    torch.manual_seed(0)
    x, x_hat = 255 * torch.rand(2, 3, 64, 64), 255 * torch.rand(2, 3, 64, 64)
    q = torch.tensor([10.0, 40.0])[:, None, None]
    out = Outputs(x, x_hat, torch.zeros(2), torch.zeros(2), q[:, 0, 0], extra={"lambda": rate_weight(q)})
    plain = rate_weight(q[:, 0, 0]) * (x_hat - x).square().mean((1, 2, 3))
    assert torch.allclose(weighted_mse(out, 0.0), plain)
    term = dataclasses.replace(small, masking=0.0).terms()[1]
    assert torch.allclose(term.value(out), plain) and (small.terms()[1].value(out) < plain).all(), "noise is busy"
