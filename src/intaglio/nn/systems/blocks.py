"""What the papers' networks share: ladders of strided convolutions down and up again, residual blocks, h_a.

Pictures enter as 0..255 and are seen as -1..1. Reaches are in pixels, for the `reach` of analysis and synthesis: how
far beyond its own 16x16 pixels a latent looks, or how far from an output pixel a latent still counts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput
from ..normalise import norm_layer

CELL = 16  # pixels along a side of one latent
HALVINGS = 4  # from pixels to latents
LOCAL = ("batch", "channel", "none")  # normalisations whose statistics, once trained, are not those of the picture


def act(name: str) -> nn.Module:
    """"relu", or "leaky" with the papers' slope of 0.2."""
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(0.2)


def signed(x: Tensor) -> Tensor:
    """0..255 to -1..1."""
    return x * (1 / 127.5) - 1


def unsigned(x: Tensor) -> Tensor:
    """-1..1 to 0..255."""
    return (x + 1) * 127.5


def far(norm: str, pixels: int) -> int | str:
    """The reach of a network: that of its convolutions, or "whole" where it takes statistics of the picture."""
    return pixels if norm in LOCAL else "whole"


def ladder_reach(first: int, per_level: int, deep: int) -> int:
    """Reach of a ladder in pixels. first: radius of the convolution at full resolution; per_level: 3x3 convolutions at
    each of 1/2..1/16 beyond the strided one; deep: further 3x3 convolutions at 1/16."""
    strided = sum(1 << i for i in range(1, HALVINGS + 1))  # each sees one cell of the coarser side, at most
    return first + strided + per_level * strided + CELL * deep


class Residual(nn.Module):
    """x + norm(conv(act(norm(conv(x))))), 3x3 convolutions; (batch, C, h, w) to the same shape."""

    def __init__(self, channels: int, norm: str, activation: str = "relu"):
        super().__init__()
        self.a, self.b = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm_a, self.norm_b = norm_layer(norm, channels), norm_layer(norm, channels)
        self.act = act(activation)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm_b(self.b(self.act(self.norm_a(self.a(x)))))


def down(inputs: int, outputs: int, norm: str, activation: str = "relu") -> nn.Sequential:
    """3x3 convolution of stride 2, normalisation, activation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), norm_layer(norm, outputs), act(activation))


class Nearest(nn.Module):
    """Twice the size by repetition."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


def up(inputs: int, outputs: int, norm: str, activation: str = "relu", kind: str = "transposed") -> nn.Sequential:
    """Twice the size: a "transposed" 3x3 convolution of stride 2, or ("nearest") repetition and a 3x3 convolution.

    Raises BadInput for another kind.
    """
    if kind not in ("transposed", "nearest"):
        raise BadInput(f'sizes rise by "transposed" or "nearest", not {kind!r}')
    if kind == "nearest":
        layers: list[nn.Module] = [Nearest(), nn.Conv2d(inputs, outputs, 3, padding=1)]
    else:
        layers = [nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)]
    return nn.Sequential(*layers, norm_layer(norm, outputs), act(activation))


class Attention(nn.Module):
    """x + attention(x): every position looks at all of the picture (Zhang et al. 2019, SAGAN, section 3). Keys and
    values are means over 4x4 positions, so sides are multiples of 4.

    SAGAN multiplies the second term by one number that starts at 0; here the weights of `out` start there. One number
    before values that have learnt nothing hardly moves, and they learn nothing while it is 0: it stayed shut.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.inner = max(1, channels // 8)
        self.query, self.key = (nn.Conv2d(channels, self.inner, 1) for _ in range(2))
        self.value, self.out = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.avg_pool2d(x, 4)
        query, key, value = self.query(x).flatten(2), self.key(pooled).flatten(2), self.value(pooled).flatten(2)
        weights = torch.softmax(query.transpose(1, 2) @ key * self.inner**-0.5, -1)  # (batch, positions, pooled ones)
        seen = (value @ weights.transpose(1, 2)).reshape(x.shape)
        return x + self.out(seen)


class HyperEncoder(nn.Module):
    """h_a: gained latents (batch, M, h, w) to hyper-latents (batch, N, h/4, w/4). Balle et al. 2018, figure 4; the
    convolutions are HiFiC's: 3x3, then two of 5x5 and stride 2. It is not told q."""

    def __init__(self, latents: int, hyper: int, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(latents, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(width, hyper, 5, stride=2, padding=2),
        )  # fmt: skip

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        return self.layers(y)
