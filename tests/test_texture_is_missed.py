"""The texture distance must ask for the energy of a texture, wherever it lies, and must not ask for what is there."""

import math

import pytest
import torch

from intaglio.errors import BadInput
from intaglio.losses.texture import HaarBands, TextureDistance


def noise(seed: int, deviation: float, side: int = 96) -> torch.Tensor:
    return 128 + deviation * torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_white_noise_keeps_its_deviation_in_every_band() -> None:
    bands = HaarBands(2)(noise(0, 10.0, 256))
    assert [v.shape for v in bands.values()] == [(2, 9, 255, 255), (2, 9, 127, 127)]
    assert bands["1"].std() == pytest.approx(10.0, rel=0.02)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8  # the low-pass leaves so much of white noise's deviation
    # and neighbours that share taps: the variance of (a - b)/sqrt(2) along one axis, of (a + b)/sqrt(2) along the other
    power, shared = float((taps**2).sum()), float((taps[:2] * taps[2:]).sum())
    across = math.sqrt((power - shared) * (power + shared))
    assert bands["2"][:, [0, 1, 3, 4, 6, 7]].std() == pytest.approx(10.0 * across, rel=0.05)


def test_a_blurred_texture_costs_its_whole_and_another_one_of_the_same_kind_next_to_nothing() -> None:
    x, flat, other = noise(0, 10.0, 256), torch.full((2, 3, 256, 256), 128.0), noise(1, 10.0, 256)
    loss = TextureDistance(scales=1)
    missing, redrawn = loss(flat, x), loss(other, x)
    assert torch.allclose(missing, torch.ones(2), atol=0.08)  # s^2 / (s^2 + 1), less the floor
    assert (redrawn < 0.06 * missing).all()
    assert (loss(0.5 * (x - 128) + 128, x) - 0.25).abs().max() < 0.02  # half the deviation is missed: (s - s/2)^2


def test_too_much_texture_costs_too_and_faint_texture_counts_as_strong_does() -> None:
    loss = TextureDistance(scales=1)
    strong, faint, flat = noise(0, 30.0), noise(0, 3.0), torch.full((2, 3, 96, 96), 128.0)
    assert (loss(2 * (faint - 128) + 128, faint) > 0.7).all()  # (s - 2 s)^2 / (s^2 + 1)
    assert (loss(flat, faint) > 0.7 * loss(flat, strong)).all()
    assert (loss(faint, flat) > 4).all()  # grain where there is none


def test_equal_pictures_cost_nothing_and_have_a_finite_slope() -> None:
    loss = TextureDistance()
    for x in (noise(0, 10.0, 64), torch.full((1, 3, 64, 64), 7.0)):
        x_hat = x.clone().requires_grad_()
        value = loss(x_hat, x)
        value.sum().backward()
        assert value.abs().max() == 0 and x_hat.grad is not None and x_hat.grad.isfinite().all()


def test_a_pyramid_without_a_scale_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one scale"):
        HaarBands(0)
