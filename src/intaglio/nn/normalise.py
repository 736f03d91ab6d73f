"""Normalisations by name, for the networks that are trained against each other.

"batch" (Ioffe, Szegedy 2015), "instance" (Ulyanov et al. 2016), "channel" (HiFiC, Mentzer et al. 2020), "layer" (Ba et
al. 2016) and "none" act on activations: `norm_layer`. "spectral" (Miyato et al. 2018) acts on weights: `conv`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..errors import BadInput

KINDS = ("batch", "instance", "channel", "layer", "spectral", "none")


class ChannelNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) over the channels of each position, then a scale and a shift per channel.

    (batch, C, h, w) to the same shape. The statistics are those of one position, so the result does not depend on the
    size of the picture or on the rest of it: strips decode as the whole does. HiFiC's released code divides the sum of
    squares by C - 1 and takes eps = 1e-3, and so does this. C must be at least 2.
    """

    def __init__(self, channels: int, eps: float = 1e-3):
        super().__init__()
        if channels < 2:
            raise BadInput("ChannelNorm needs at least 2 channels: one channel has no variance")
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, 1, correction=1, keepdim=True)
        x = (x - mean) * torch.rsqrt(variance + self.eps)
        return x * self.scale[:, None, None] + self.shift[:, None, None]


def norm_layer(kind: str, channels: int) -> nn.Module:
    """A layer that normalises activations (batch, channels, h, w), with a learned scale and shift per channel.

    "layer" takes mean and variance over channels and positions of a picture, "instance" over the positions of each
    channel, "batch" over those of the whole batch. The identity for "spectral" and "none". Raises BadInput.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "instance":
        return nn.GroupNorm(channels, channels)
    if kind == "layer":
        return nn.GroupNorm(1, channels)
    if kind == "channel":
        return ChannelNorm(channels)
    if kind in ("spectral", "none"):
        return nn.Identity()
    raise BadInput(f"no normalisation is called {kind!r}; there are {', '.join(KINDS)}")


def conv(kind: str, *args: Any, **options: Any) -> nn.Module:
    """nn.Conv2d(*args, **options), its weight divided by its largest singular value where kind is "spectral".

    The weight counts as a matrix of outputs x (inputs * kernel area), as in Miyato et al. 2018, section 2.1; one power
    iteration is made at every forward pass in training mode. Raises BadInput for an unknown kind.
    """
    if kind not in KINDS:
        raise BadInput(f"no normalisation is called {kind!r}; there are {', '.join(KINDS)}")
    layer = nn.Conv2d(*args, **options)
    if kind != "spectral":
        return layer
    # A random matrix divided by its largest singular value shrinks most directions to a fraction, and a few such layers
    # shrink a picture to nothing; an orthogonal one keeps them all at the start (Brock et al. 2017).
    nn.init.orthogonal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return spectral_norm(layer)
