"""A U-Net discriminator: one decision for the picture and one for each pixel.

Schonfeld, Schiele, Khoreva 2020, section 3.1: the encoder's end judges the whole, the decoder, which sees the encoder's
layers beside its own, judges every pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..normalise import conv, norm_layer
from .judgement import Judgement
from .patch import KERNEL, MOST, SLOPE, Entry


class UNet(nn.Module):
    """d(x, latent) -> Judgement: the picture's logit (batch, 1, 1, 1), then the pixels' (batch, 1, h, w).

    x: (batch, 3, h, w) in 0..255, any sides from 64 up. width: channels at full resolution, doubled with every halving
    up to 512. levels: how often the picture is halved. The picture's logit is that of the mean of the deepest features
    over positions: it does not grow with the picture, as their sum would.
    """

    def __init__(
        self,
        latents: int = 0,
        width: int = 32,
        levels: int = 4,
        norm: str = "spectral",
        detail: bool = True,
        stride: int = 16,
    ):
        super().__init__()
        self.entry = Entry(latents, norm, detail, stride=stride)
        widths = [min(width << i, MOST) for i in range(levels + 1)]
        self.first = conv(norm, self.entry.channels, width, 3, padding=1)
        self.down, self.down_norms = nn.ModuleList(), nn.ModuleList()
        self.up, self.up_norms = nn.ModuleList(), nn.ModuleList()
        for fine, coarse in zip(widths, widths[1:], strict=False):
            self.down.append(conv(norm, fine, coarse, KERNEL, stride=2, padding=1))
            self.down_norms.append(norm_layer(norm, coarse))
            self.up.append(conv(norm, coarse + fine, fine, 3, padding=1))
            self.up_norms.append(norm_layer(norm, fine))
        self.whole = conv(norm, widths[-1], 1, 1)
        self.pixels = conv(norm, width, 1, 1)

    def forward(self, x: Tensor, latent: Tensor | None = None) -> Judgement:
        z = F.leaky_relu(self.first(self.entry(x, latent)), SLOPE)
        skips = [z]
        for layer, norm in zip(self.down, self.down_norms, strict=True):
            z = F.leaky_relu(norm(layer(z)), SLOPE)
            skips.append(z)
        features = list(skips)
        judged = self.whole(z.mean((2, 3), keepdim=True))
        for layer, norm, skip in zip(reversed(self.up), reversed(self.up_norms), reversed(skips[:-1]), strict=True):
            z = torch.cat([F.interpolate(z, skip.shape[2:], mode="nearest"), skip], 1)
            z = F.leaky_relu(norm(layer(z)), SLOPE)
            features.append(z)
        return Judgement([judged, self.pixels(z)], features)
