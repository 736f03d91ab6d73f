"""A shift that all decoded pictures share must be seen through the chance of each, and chance not be taken for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from intaglio.losses.shift import SHRINK, CommonShift, statistics

CHANNELS = {"fine": 4, "coarse": 6}


def originals(seed: int, batch: int = 8) -> dict[str, Tensor]:
    """Features whose means and deviations differ from picture to picture."""
    g = torch.Generator().manual_seed(seed)
    out = {}
    for i, (tap, c) in enumerate(CHANNELS.items()):
        spread = 1 + torch.rand(batch, c, 1, 1, generator=g)
        mean, texture = (torch.randn(batch, c, side, side, generator=g) for side in (1, 9))
        out[tap] = 10**i * (mean + spread * texture)
    return out


def seen(loss: CommonShift, shifted, steps: int = 60, band: int = 0) -> Tensor:
    """The mean of the last ten steps' values."""
    values = []
    for step in range(steps):
        reference = originals(step)
        hat = shifted(reference, torch.Generator().manual_seed(1000 + step))
        values.append(loss.on(hat, reference, torch.full((8,), band), torch.ones(8)))
    return torch.stack(values[-10:]).mean()


def test_identical_pictures_have_none_and_a_finite_gradient() -> None:
    loss, reference = CommonShift(CHANNELS), originals(0)
    for _ in range(3):
        hat = {tap: f.clone().requires_grad_() for tap, f in reference.items()}
        value = loss.on(hat, reference, torch.zeros(8, dtype=torch.int64), torch.ones(8))
        assert value.tolist() == [0] * 8
        value.sum().backward()
        assert all(f.grad is not None and f.grad.isfinite().all() for f in hat.values())


def test_flat_features_have_a_finite_gradient() -> None:
    loss = CommonShift(CHANNELS)
    for _ in range(2):
        reference = {tap: torch.zeros(8, c, 9, 9) for tap, c in CHANNELS.items()}
        hat = {tap: torch.ones(8, c, 9, 9).requires_grad_() for tap, c in CHANNELS.items()}
        loss.on(hat, reference, torch.zeros(8, dtype=torch.int64), torch.ones(8)).sum().backward()
    assert all(f.grad is not None and f.grad.isfinite().all() for f in hat.values())


def test_a_shift_is_measured_in_the_spread_of_originals() -> None:
    """By the definition: the square of what is added to the means, over their variance and its floor, at every tap."""
    loss = CommonShift(CHANNELS, memory=1e9)
    value = seen(loss, lambda reference, g: {tap: f + 0.5 for tap, f in reference.items()})
    every = torch.cat([statistics(originals(step)) for step in range(60)])
    expected, start = 0.0, 0
    for c in CHANNELS.values():
        v = every[:, start : start + c].var(0, correction=0)
        expected += float((0.25 / (v + 0.1 * v.mean())).sum()) / (2 * c)  # deviations do not move
        start += 2 * c
    # the shift held against is that of 50 to 59 steps, drawn towards 0 by one that saw nothing
    shrunk = sum(n / (n + SHRINK) for n in range(50, 60)) / 10
    assert float(value) == pytest.approx(expected * shrunk, rel=0.03)


def test_weaker_texture_is_a_shift_too() -> None:
    def weaker(reference: dict[str, Tensor], _: torch.Generator) -> dict[str, Tensor]:
        means = {tap: f.mean((2, 3), keepdim=True) for tap, f in reference.items()}
        return {tap: means[tap] + 0.8 * (f - means[tap]) for tap, f in reference.items()}

    assert seen(CommonShift(CHANNELS), weaker) > 0.3


def test_chance_is_no_shift() -> None:
    """Errors as large as the shift above, of either sign from picture to picture."""

    def chance(reference: dict[str, Tensor], g: torch.Generator) -> dict[str, Tensor]:
        signs = {tap: 2.0 * torch.randint(2, (8, f.shape[1], 1, 1), generator=g) - 1 for tap, f in reference.items()}
        return {tap: f + 0.5 * signs[tap] for tap, f in reference.items()}

    common = seen(CommonShift(CHANNELS), lambda reference, _: {tap: f + 0.5 for tap, f in reference.items()})
    assert abs(seen(CommonShift(CHANNELS), chance)) < 0.1 * common


def test_the_gradient_undoes_the_shift() -> None:
    """Followed down, the common part goes and the chance stays."""
    loss = CommonShift(CHANNELS, memory=10)
    added = torch.zeros(4, requires_grad=True)
    descent = torch.optim.SGD([added], 0.5)
    for step in range(200):
        reference = originals(step)
        noise = 0.3 * torch.randn(8, 4, 1, 1, generator=torch.Generator().manual_seed(step))
        hat = {"fine": reference["fine"] + 0.5 + noise + added.view(1, -1, 1, 1), "coarse": reference["coarse"]}
        descent.zero_grad()
        loss.on(hat, reference, torch.zeros(8, dtype=torch.int64), torch.ones(8)).mean().backward()
        descent.step()
    assert added.tolist() == pytest.approx([-0.5] * 4, abs=0.12)


def test_bands_and_weights_are_kept_apart() -> None:
    """Band 1 knows nothing of band 0's shift, and pictures of no weight leave nothing behind."""
    loss, reference = CommonShift(CHANNELS, bands=2), originals(0)
    hat = {tap: f + 0.5 for tap, f in reference.items()}
    band = torch.tensor([0, 1] * 4)
    loss.on(hat, reference, band, 1.0 - band)
    value = loss.on(hat, reference, band, 1.0 - band)
    assert (value[::2] > 0.01).all() and value[1::2].tolist() == [0] * 4


def test_two_halves_of_a_batch_remember_what_the_whole_would() -> None:
    whole, halves = CommonShift(CHANNELS, bands=2), [CommonShift(CHANNELS, bands=2) for _ in range(2)]
    band, weight = torch.tensor([0, 1, 1, 0] * 2), torch.rand(8, generator=torch.Generator().manual_seed(5))
    for step in range(4):
        reference = originals(step)
        hat = {tap: f * 0.9 + 0.2 for tap, f in reference.items()}
        whole.on(hat, reference, band, weight)
        for half, rows in zip(halves, (slice(0, 4), slice(4, 8)), strict=True):
            parts = ({tap: f[rows] for tap, f in features.items()} for features in (hat, reference))
            half.on(*parts, band[rows], weight[rows])
        for name, value in whole.state_dict().items():  # as the loop does after every step
            mean = (halves[0].state_dict()[name] + halves[1].state_dict()[name]) / 2
            assert torch.allclose(mean, value, rtol=1e-4, atol=1e-6), name
            for half in halves:
                half.state_dict()[name].copy_(mean)
