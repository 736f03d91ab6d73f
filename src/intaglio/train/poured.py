"""Groups of the hyper-latents' prior in real numbers, to learn with, and how they are poured into integers.

A network of 8-bit activations learns badly from its start: either they are so small that rounding leaves little of
them, or so large that one step of an optimiser moves the means by whole units. In real numbers about 1 large it learns
like any other; then every layer is scaled so that what it gave at most fills its 8 bits.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..latents import DONE, MEAN_UNIT
from ..nn.hyper_prior import Group
from ..nn.prior import SCALES, SIGMA_MAX, SIGMA_MIN
from ..nn.quantised import UNIT, IntBlock, IntConv

STEP = math.log(SIGMA_MAX / SIGMA_MIN) / (SCALES - 1)  # of a scale index, in the logarithm of the deviation
TOP = 240.0  # what the largest activation that was seen becomes, of 255; 120 of 127 where there is a sign


class RealBlock(nn.Module):
    """`nn.quantised.IntBlock` in real numbers."""

    def __init__(self, channels: int):
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        with torch.no_grad():
            self.project.weight *= 0.1

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.project(F.relu(self.expand(self.spatial(x)))))


class RealGroup(nn.Module):
    """`nn.hyper_prior.Group` in real numbers: takes and gives what that one does, but for rounding. seen: what it is
    given, kept where that is a list."""

    units: Tensor
    seen: list[Tensor] | None = None

    def __init__(self, group: Group):
        super().__init__()
        width, inputs = group.enter.weight.shape[:2]
        channels = len(group.mean.weight)
        self.register_buffer("units", torch.full((1, inputs, 1, 1), 16.0))  # four steps of a hyper-latent
        self.units[:, -2], self.units[:, -1] = 63, DONE
        self.enter = nn.Conv2d(inputs, width, 1)
        self.blocks = nn.Sequential(*[RealBlock(width) for _ in group.blocks])
        self.mean, self.scale = nn.Conv2d(width, channels, 1), nn.Conv2d(width, channels, 1)
        for layer in (self.mean, self.scale):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        if self.seen is not None:
            self.seen.append(seen)
        h = self.blocks(F.relu(self.enter(seen / self.units)))
        return MEAN_UNIT * self.mean(h), self.scale(h) / STEP + 0.5  # of which the floor is taken

    @torch.no_grad()
    def pour(self, group: Group) -> None:
        """Into the integer layers of `group`, scaled by what it gives for the contexts that it has `seen`."""
        assert self.seen
        h = F.relu(self.enter(torch.cat(self.seen) / self.units))
        trunks, inside = [h], []
        blocks = [block for block in self.blocks if isinstance(block, RealBlock)]
        for block in blocks:
            a = block.spatial(h)
            b = F.relu(block.expand(a))
            inside.append((0.5 * TOP / a.abs().max().item(), TOP / b.max().item()))
            h = block(h)
            trunks.append(h)
        s = TOP / max(trunk.max().item() for trunk in trunks)  # one for the trunk, which blocks add to
        _pour(group.enter, self.enter, s / self.units, s)
        for integer, block, (sa, sb) in zip(group.blocks, blocks, inside, strict=True):
            assert isinstance(integer, IntBlock)
            _pour(integer.spatial, block.spatial, sa / s, sa)
            _pour(integer.expand, block.expand, sb / sa, sb)
            _pour(integer.project, block.project, s / sb, s)
        _pour(group.mean, self.mean, MEAN_UNIT / s, MEAN_UNIT)
        _pour(group.scale, self.scale, 1 / (STEP * s), 1 / STEP)


def _pour(layer: IntConv, real: nn.Conv2d, weight: float | Tensor, bias: float) -> None:
    assert real.bias is not None
    layer.weight.copy_(real.weight * weight)
    layer.bias.copy_(real.bias * (bias / UNIT))
