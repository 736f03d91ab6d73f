"""Analysis, hyper-analysis and synthesis: the float networks of the released model. Local operations only.

Sizes: a picture is h x w with both sides multiples of 64. Stage "8" works at 1/8 resolution, stage "16" at 1/16; the
latent y lives at 1/16, the hyper-latent z at 1/64. Pixels enter and leave as 0..255.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The numbers of a network: widths at 1/8 (`width`), 1/16 (`latents`) and 1/2 (`filter`, 0 for none), blocks as (at
    1/8, at 1/16)."""

    width: int = 192
    latents: int = 320
    hyper: int = 64
    hyper_groups: tuple[int, ...] = (6, 14, 24, 64)  # where groups of hyper-latent channels end; () for a static prior
    hyper_width: int = 128
    prior_width: int = 128
    prior_low: int = 64
    prior_blocks: int = 2
    analysis_blocks: tuple[int, int] = (2, 2)
    synthesis_blocks: tuple[int, int] = (2, 1)
    filter: int = 24


class Dialled(nn.Module):
    """A convolution with weights W + r D, r being the realism (one number): D is what the dial adds, 0 at the start.

    At r = 0 it is the convolution W, whatever D has learned, so realism costs the least-distorted picture nothing. r is
    the same for the whole batch.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, padding: int = 0, groups: int = 1, stride: int = 1,
        dilation: int = 1,
    ):
        super().__init__()
        start = nn.Conv2d(inputs, outputs, kernel, padding=padding, groups=groups)
        assert start.bias is not None
        self.how = {"padding": padding, "groups": groups, "stride": stride, "dilation": dilation}
        self.weight, self.bias = start.weight, start.bias
        self.dial_weight = nn.Parameter(torch.zeros_like(self.weight))
        self.dial_bias = nn.Parameter(torch.zeros_like(self.bias))

    def forward(self, x: Tensor, realism: Tensor) -> Tensor:
        """realism: any shape of one element."""
        r = realism.reshape(1)
        weight = self.weight + r.reshape(1, 1, 1, 1) * self.dial_weight
        return F.conv2d(x, weight, self.bias + r * self.dial_bias, **self.how)


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


class DialledBlock(nn.Module):
    """`Block` of dialled convolutions."""

    def __init__(self, channels: int):
        super().__init__()
        self.spatial = Dialled(channels, channels, 3, padding=1, groups=channels)
        self.expand = Dialled(channels, 2 * channels, 1)
        self.project = Dialled(2 * channels, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, realism: Tensor) -> Tensor:
        h = F.gelu(self.expand(self.spatial(x, realism), realism))
        return x + self.project(h, realism)


HINTS = 2  # planes beside the colours that the last layer at 1/8 makes for the filter
LEVELS = 16.0  # the filter works in units of 255 / 16 grey levels


class Filter(nn.Module):
    """The decoder's in-loop filter: what the layers at 1/8, for which a square of 8x8 pixels is one place, leave along
    its borders and beside edges, a few shared weights at 1/2 take away. x + f(x), f being 0 at the start.

    It does what deblocking and directional filters do in other codecs, but learned. Colours and hints (batch,
    3 + HINTS, h, w) to colours (batch, 3, h, w), black at -1/2 and white at 1/2. Hints say where squares lie.
    """

    REACH = 9  # pixels beyond its own that one depends on: 3, 4 and 2 of its three layers

    def __init__(self, width: int):
        super().__init__()
        self.enter = Dialled(3 + HINTS, width, 6, padding=2, stride=2)  # 3x3 on 2x2 pixels unshuffled
        self.wide = Dialled(width, width, 3, padding=2, dilation=2)
        self.leave = Dialled(width, 12, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, realism: Tensor) -> Tensor:
        h = F.gelu(self.enter(x * LEVELS, realism))
        h = self.leave(F.gelu(self.wide(h, realism)), realism)
        return x[:, :3] + F.pixel_shuffle(h, 2) * (1 / LEVELS)


class Modulation(nn.Module):
    """Scale and shift of every channel, from t = q/63; the identity at the start.

    t is (batch, 1, 1, 1), or a map that is `factor` times smaller than the features on each side.
    """

    def __init__(self, channels: int, hidden: int = 32):
        super().__init__()
        self.hidden = nn.Conv2d(1, hidden, 1)
        self.out = nn.Conv2d(hidden, 2 * channels, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.hidden.weight.mul_(3)  # a spread of soft thresholds over [0, 1]

    def forward(self, x: Tensor, t: Tensor, factor: int) -> Tensor:
        scale, shift = self.out(F.gelu(self.hidden(t))).chunk(2, 1)
        if factor > 1 and (torch.compiler.is_exporting() or t.shape[-1] * t.shape[-2] > 1):
            scale = F.interpolate(scale, scale_factor=float(factor), mode="nearest")
            shift = F.interpolate(shift, scale_factor=float(factor), mode="nearest")
        return x * (1 + scale) + shift


def full_precision(x: Tensor) -> AbstractContextManager:
    """Leaves autocast for a while, where it is on: bfloat16 has 8 bits, which the trunk and the prior cannot spare."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def unshuffled(layer: nn.Conv2d, x: Tensor, factor: int) -> Tensor:
    """`layer(pixel_unshuffle(x, factor))` for a 1x1 layer, as one strided convolution: the same sums, no copy."""
    weight = layer.weight.reshape(layer.out_channels, -1, factor, factor)
    with full_precision(x):
        return F.conv2d(x.float(), weight, layer.bias, stride=factor)


class Analysis(nn.Module):
    """g_a: pixels (batch, 3, h, w) to the latent (batch, M, h/16, w/16). It is not told q: one run serves every q."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.reach = halo(shape)[0]
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
        self.modulation = Modulation(width)
        self.block32 = Block(width)
        self.out = nn.Conv2d(4 * width, shape.hyper, 1)

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        h = self.block(F.gelu(self.enter(torch.sign(y) * torch.log1p(torch.abs(y)))))
        h = F.gelu(self.modulation(unshuffled(self.down, h, 2), t, 2))
        return unshuffled(self.out, self.block32(h), 2)


class Synthesis(nn.Module):
    """g_s: the latent without its gain (batch, M, h/16, w/16), t = q/63 and the realism to pixels 0..255.

    t is (batch, 1, 1, 1) or, where it varies, (batch, 1, h/16, w/16); realism is one number, as a tensor of any shape;
    It takes no noise; other systems' do.
    """

    noisy = False

    def __init__(self, shape: Shape):
        super().__init__()
        self.reach = halo(shape)[1]
        n8, n16 = shape.synthesis_blocks
        self.modulation16 = Modulation(shape.latents)
        self.stage16 = nn.Sequential(*[Block(shape.latents) for _ in range(n16)])
        self.up = Dialled(shape.latents, 4 * shape.width, 1)
        self.modulation8 = Modulation(shape.width)
        self.stage8 = nn.ModuleList([DialledBlock(shape.width) for _ in range(n8)])
        self.out = Dialled(shape.width, 64 * (3 + HINTS if shape.filter else 3), 1)
        self.filter = Filter(shape.filter) if shape.filter else None

    def forward(self, y: Tensor, t: Tensor, realism: Tensor, noise: Tensor | None = None) -> Tensor:
        h = self.stage16(self.modulation16(y, t, 1))
        with full_precision(y):
            h = F.pixel_shuffle(self.up(h, realism), 2)
        h = self.modulation8(h, t, 2)
        for block in self.stage8:
            h = block(h, realism)
        with full_precision(y):
            x = F.pixel_shuffle(self.out(h, realism), 8)
            x = x if self.filter is None else self.filter(x, realism)
            return (x + 0.5) * 255


def halo(shape: Shape) -> tuple[int, int]:
    """How far the 3x3 convolutions reach, in pixels, rounded up to whole latents: (analysis, synthesis)."""
    (a8, a16), (s8, s16) = shape.analysis_blocks, shape.synthesis_blocks
    beyond = 8 * s8 + (Filter.REACH if shape.filter else 0)
    return 16 * (a16 + -(-a8 // 2)), 16 * (s16 + -(-beyond // 16))
