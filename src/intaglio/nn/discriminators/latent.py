"""A discriminator of codes: is a map of latents drawn from the prior, or does it come from the encoder?

Makhzani, Shlens, Jaitly, Goodfellow, Frey 2016 (Adversarial Autoencoders), section 2, for codes with places.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..normalise import conv
from .judgement import Judgement
from .patch import SLOPE


class LatentCritic(nn.Module):
    """d(code, ignored) -> Judgement. code: (batch, channels, h, w), of unit variance under the prior; one logit a
    place. The 3x3 convolution sees neighbours too, so that codes must not only look normal each by itself. norm:
    "spectral"; any other is none."""

    def __init__(self, channels: int, width: int = 256, norm: str = "spectral"):
        super().__init__()
        self.convs = nn.ModuleList(
            [conv(norm, channels, width, 1), conv(norm, width, width, 3, padding=1), conv(norm, width, width, 1)]
        )
        self.last = conv(norm, width, 1, 1)

    def forward(self, code: Tensor, latent: Tensor | None = None) -> Judgement:
        features, z = [], code
        for layer in self.convs:
            z = F.leaky_relu(layer(z), SLOPE)
            features.append(z)
        return Judgement([self.last(z)], features)
