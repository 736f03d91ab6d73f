"""A decoder that grows: it learns small pictures first, and finer levels fade in one after another.

Karras, Aila, Laine, Lehtinen 2018 (Progressive Growing of GANs), section 2, in a codec: from latents at 1/16 the ladder
rises by repetition and 3x3 convolutions, every level can show a picture (`colours`), and at level l + a, 0 <= a < 1,
the picture of level l, repeated, fades into that of level l + 1: (1 - a) and a. Attention stands on both sides of the
bottleneck, where a position is 16 pixels wide and all of them can look at one another.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..normalise import norm_layer
from .blocks import HALVINGS, Attention, Residual, act, down, signed, unsigned, up


class Encoder(nn.Module):
    """Pixels (batch, 3, h, w) to latents (batch, latents, h/16, w/16)."""

    reach = "whole"  # attention

    def __init__(self, width: int, latents: int, norm: str = "channel"):
        super().__init__()
        widths = [width << i for i in range(HALVINGS + 1)]
        self.enter = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), act("leaky"))
        pairs = zip(widths, widths[1:], strict=False)
        self.stages = nn.Sequential(
            *(nn.Sequential(down(a, b, norm, "leaky"), Residual(b, norm, "leaky")) for a, b in pairs)
        )
        self.attention = Attention(widths[-1])
        self.out = nn.Conv2d(widths[-1], latents, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attention(self.stages(self.enter(signed(x)))))


class Decoder(nn.Module):
    """Latents to pixels 0..255, of the size of the whole picture whatever the level.

    level: 0 (1/16 of the resolution) .. 4 (all of it); a number of this process and no weight, 4 in a new network, so
    that what is exported is grown up. t, realism and noise are not looked at.
    """

    noisy = False
    reach = "whole"  # attention

    def __init__(self, width: int, latents: int, norm: str = "channel"):
        super().__init__()
        widths = [width << i for i in reversed(range(HALVINGS + 1))]
        self.level = float(HALVINGS)
        self.enter = nn.Sequential(
            nn.Conv2d(latents, widths[0], 3, padding=1), norm_layer(norm, widths[0]), act("leaky")
        )
        self.attention = Attention(widths[0])
        pairs = zip(widths, widths[1:], strict=False)
        self.stages = nn.ModuleList(
            nn.Sequential(Residual(a, norm, "leaky"), up(a, b, norm, "leaky", "nearest")) for a, b in pairs
        )
        self.colours = nn.ModuleList(nn.Conv2d(n, 3, 1) for n in widths)

    def forward(self, y: Tensor, t: Tensor, realism: Tensor, noise: Tensor | None = None) -> Tensor:
        whole, fading = int(self.level), self.level % 1
        h = self.attention(self.enter(y))
        for stage in self.stages[:whole]:
            h = stage(h)
        x = self.colours[whole](h)
        if fading:
            finer = self.colours[whole + 1](self.stages[whole](h))
            x = (1 - fading) * F.interpolate(x, scale_factor=2.0, mode="nearest") + fading * finer
            whole += 1
        if whole < HALVINGS:
            x = F.interpolate(x, scale_factor=float(1 << HALVINGS - whole), mode="nearest")
        return unsigned(x)


def seen_at(x: Tensor, level: float) -> Tensor:
    """Pictures (batch, 3, h, w) as a decoder at `level` could show them at best: means over squares, faded alike."""

    def squares(n: int) -> Tensor:
        side = 1 << HALVINGS - n
        return x if side == 1 else F.interpolate(F.avg_pool2d(x, side), scale_factor=float(side), mode="nearest")

    whole, fading = int(level), level % 1
    return (1 - fading) * squares(whole) + fading * squares(whole + 1) if fading else squares(whole)
