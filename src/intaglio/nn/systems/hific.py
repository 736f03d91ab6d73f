"""The high-fidelity paper's encoder and generator, which are HiFiC's (Mentzer, Toderici, Tschannen, Agustsson 2020,
figure 2): a ladder of strided convolutions from 60 to 960 channels, nine residual blocks at 1/16 in the generator,
ChannelNorm throughout. Its local statistics let any size be decoded in strips.

With instance norm and ReLU they are those of extreme compression (Agustsson, Tschannen, Mentzer, Timofte, Van Gool
2019, "c7s1-60, d120, d240, d480, d960, c3s1-C" and its mirror image), which HiFiC started from.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput
from ..normalise import norm_layer
from .blocks import CELL, HALVINGS, Residual, act, down, far, ladder_reach, signed, unsigned, up


class Encoder(nn.Module):
    """g_a: pixels (batch, 3, h, w) to latents (batch, latents, h/16, w/16); channels width, 2 width, .. 16 width."""

    def __init__(self, width: int, latents: int, norm: str = "channel", activation: str = "leaky"):
        super().__init__()
        widths = [width << i for i in range(HALVINGS + 1)]
        self.reach = far(norm, ladder_reach(3, 0, 1))
        self.enter = nn.Sequential(nn.Conv2d(3, width, 7, padding=3), norm_layer(norm, width), act(activation))
        self.down = nn.Sequential(
            *(down(a, b, norm, activation) for a, b in zip(widths, widths[1:], strict=False))
        )
        self.out = nn.Conv2d(widths[-1], latents, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.down(self.enter(signed(x))))


class Generator(nn.Module):
    """g_s: latents to pixels 0..255; t and realism are not looked at. The first convolution's output joins that of the
    last residual block. noise: how many channels of noise, normal and of variance 1, join the latents; they are made of
    the noise of the pixels that a latent covers, at most 256 numbers. Raises BadInput for more."""

    def __init__(
        self,
        width: int,
        latents: int,
        blocks: int = 9,
        norm: str = "channel",
        activation: str = "leaky",
        noise: int = 0,
    ):
        super().__init__()
        if noise > CELL**2:
            raise BadInput(f"{noise} channels of noise: a latent covers {CELL**2} pixels, so give at most as many")
        self.noise, self.noisy = noise, noise > 0
        widths = [width << i for i in reversed(range(HALVINGS + 1))]
        self.reach = far(norm, ladder_reach(3, 0, 1 + 2 * blocks))
        # symbols of a finite alphabet and noise, unlike HiFiC's latents, are of one scale already
        first = norm_layer(norm, latents) if norm == "channel" else nn.Identity()
        self.enter = nn.Sequential(
            first, nn.Conv2d(latents + noise, widths[0], 3, padding=1), norm_layer(norm, widths[0])
        )
        self.blocks = nn.Sequential(*(Residual(widths[0], norm, activation) for _ in range(blocks)))
        self.up = nn.Sequential(*(up(a, b, norm, activation) for a, b in zip(widths, widths[1:], strict=False)))
        self.out = nn.Conv2d(width, 3, 7, padding=3)

    def forward(self, y: Tensor, t: Tensor, realism: Tensor, noise: Tensor | None = None) -> Tensor:
        if self.noise:
            none = y.new_zeros(len(y), self.noise, *y.shape[2:])
            y = torch.cat([y, none if noise is None else self._cells(noise).to(y)], 1)
        h = self.enter(y)
        return unsigned(self.out(self.up(h + self.blocks(h))))

    def _cells(self, noise: Tensor) -> Tensor:
        """Noise of pixels (batch, 1, 16h, 16w) to that of latents (batch, self.noise, h, w)."""
        return F.pixel_unshuffle(noise, CELL)[:, : self.noise]
