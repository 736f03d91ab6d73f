"""Analysis, hyper-analysis and synthesis: the float networks of the released model. Local operations only.

Sizes: a picture is h x w with both sides multiples of 64. Stage "8" works at 1/8 resolution, stage "16" at 1/16; the
latent y lives at 1/16, the hyper-latent z at 1/64. Pixels enter and leave as 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The numbers of a network: widths at 1/8 (`width`) and 1/16 (`latents`), blocks as (at 1/8, at 1/16)."""

    width: int = 192
    latents: int = 320
    hyper: int = 64
    hyper_width: int = 128
    prior_width: int = 128
    prior_low: int = 64
    prior_blocks: int = 2
    analysis_blocks: tuple[int, int] = (2, 1)
    synthesis_blocks: tuple[int, int] = (2, 1)


class Block(nn.Module):
    """Depthwise-separable residual block: depthwise 3x3, 1x1 to twice the channels, GELU, 1x1 back; zero at start."""

    def __init__(self, channels: int):
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.project = nn.Conv2d(2 * channels, channels, 1)
        for parameter in self.project.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(F.gelu(self.expand(self.spatial(x))))


class Modulation(nn.Module):
    """Scale and shift of every channel, from the condition (t = q/63, realism); the identity at the start.

    The condition is (batch, 2, 1, 1), or a map that is `factor` times smaller than the features on each side.
    """

    def __init__(self, channels: int, hidden: int = 32, conditions: int = 2):
        super().__init__()
        self.hidden = nn.Conv2d(conditions, hidden, 1)
        self.out = nn.Conv2d(hidden, 2 * channels, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.hidden.weight.mul_(3)  # a spread of soft thresholds over [0, 1]
            self.hidden.weight[:, 1:].zero_()  # realism is inert until a stage trains it

    def forward(self, x: Tensor, condition: Tensor, factor: int) -> Tensor:
        scale, shift = self.out(F.gelu(self.hidden(condition))).chunk(2, 1)
        if factor > 1 and (torch.compiler.is_exporting() or condition.shape[-1] * condition.shape[-2] > 1):
            scale = F.interpolate(scale, scale_factor=float(factor), mode="nearest")
            shift = F.interpolate(shift, scale_factor=float(factor), mode="nearest")
        return x * (1 + scale) + shift


def unshuffled(layer: nn.Conv2d, x: Tensor, factor: int) -> Tensor:
    """`layer(pixel_unshuffle(x, factor))` for a 1x1 layer, as one strided convolution: the same sums, no copy."""
    weight = layer.weight.reshape(layer.out_channels, -1, factor, factor)
    return F.conv2d(x, weight, layer.bias, stride=factor)


class Analysis(nn.Module):
    """g_a: pixels (batch, 3, h, w) to the latent (batch, M, h/16, w/16). It is not told q: one run serves every q."""

    def __init__(self, shape: Shape):
        super().__init__()
        n8, n16 = shape.analysis_blocks
        self.enter = nn.Conv2d(192, shape.width, 1)
        self.stage8 = nn.Sequential(*[Block(shape.width) for _ in range(n8)])
        self.down = nn.Conv2d(4 * shape.width, shape.latents, 1)
        self.stage16 = nn.Sequential(*[Block(shape.latents) for _ in range(n16)])

    def forward(self, x: Tensor) -> Tensor:
        h = self.stage8(unshuffled(self.enter, x * (1 / 255) - 0.5, 8))
        return self.stage16(unshuffled(self.down, h, 2))


class HyperAnalysis(nn.Module):
    """h_a: the gained latent and t = q/63 to the hyper-latent z (batch, N, h/64, w/64), before rounding.

    Latents span three orders of magnitude over the rates, so they enter as sign(y) log(1 + |y|).
    """

    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.hyper_width
        self.enter = nn.Conv2d(shape.latents, width, 1)
        self.block = Block(width)
        self.down = nn.Conv2d(4 * width, width, 1)
        self.modulation = Modulation(width, conditions=1)
        self.block32 = Block(width)
        self.out = nn.Conv2d(4 * width, shape.hyper, 1)

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        h = self.block(F.gelu(self.enter(torch.sign(y) * torch.log1p(torch.abs(y)))))
        h = F.gelu(self.modulation(unshuffled(self.down, h, 2), t, 2))
        return unshuffled(self.out, self.block32(h), 2)


class Synthesis(nn.Module):
    """g_s: the latent without its gain (batch, M, h/16, w/16) and the condition (t, realism) to pixels 0..255.

    The condition is (batch, 2, 1, 1) or, where it varies, (batch, 2, h/16, w/16).
    """

    def __init__(self, shape: Shape):
        super().__init__()
        n8, n16 = shape.synthesis_blocks
        self.modulation16 = Modulation(shape.latents)
        self.stage16 = nn.Sequential(*[Block(shape.latents) for _ in range(n16)])
        self.up = nn.Conv2d(shape.latents, 4 * shape.width, 1)
        self.modulation8 = Modulation(shape.width)
        self.stage8 = nn.Sequential(*[Block(shape.width) for _ in range(n8)])
        self.out = nn.Conv2d(shape.width, 192, 1)

    def forward(self, y: Tensor, condition: Tensor) -> Tensor:
        h = self.stage16(self.modulation16(y, condition, 1))
        h = F.pixel_shuffle(self.up(h), 2)
        h = self.stage8(self.modulation8(h, condition, 2))
        return (F.pixel_shuffle(self.out(h), 8) + 0.5) * 255


def halo(shape: Shape) -> tuple[int, int]:
    """How far the 3x3 convolutions reach, in pixels, rounded up to whole latents: (analysis, synthesis)."""
    (a8, a16), (s8, s16) = shape.analysis_blocks, shape.synthesis_blocks
    return 16 * (a16 + -(-a8 // 2)), 16 * (s16 + -(-s8 // 2))
