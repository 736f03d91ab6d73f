"""Texture: is there as much fine detail here as in the original, wherever exactly its lines fall?

After the Wasserstein distortion (Qiu et al. 2023, see `losses.wasserstein`), on the details of a Haar pyramid of the
pixels. A blurred lawn has too little of every band, and squared error asks for no more; this loss asks for the energy
and leaves its places to the synthesis, so it is met by drawing grain; it costs a hundredth of a network's features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BadInput
from .wasserstein import halve, statistics

LEVEL = 3  # of `statistics`: windows of 4 places


class HaarBands(nn.Module):
    """Pictures (batch, 3, h, w) to {"1": ..., "2": ..., "4": ...}: (batch, 9, h/s, w/s), in the pictures' units.

    At each scale s the horizontal, vertical and diagonal details of every colour, undecimated, so that a texture's
    energy does not depend on the grid; then the pictures are low-passed and halved. White noise of deviation v at a
    scale gives details of deviation v.
    """

    filters: Tensor

    def __init__(self, scales: int = 3):
        super().__init__()
        if scales < 1:
            raise BadInput(f"a pyramid has at least one scale, not {scales}")
        self.scales = scales
        haar = torch.tensor([[[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) / 2
        self.register_buffer("filters", haar[:, None].repeat(3, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        bands = {}
        x = x.float()
        for i in range(self.scales):
            if i:
                x = halve(x)
            bands[str(2**i)] = F.conv2d(x, self.filters, groups=3)
        return bands


class TextureDistance(nn.Module):
    """sum over scales of mean (s - s')^2 / (s^2 + c): two (batch, 3, h, w) to (batch,), without units.

    s and s' are the local standard deviations of the original's and the decoded picture's Haar details, channel by
    channel, in windows of `statistics`' level 3 (a deviation of 4 places). Relative to the original's, as eyes are: the
    faint noise of a sky counts as much as gravel does. That weight apart it is the Wasserstein distortion of Qiu et al.
    without the means, which are near 0 in a band. c: variance in grey levels squared below which nothing is missed.
    """

    def __init__(self, scales: int = 2, c: float = 1.0):
        super().__init__()
        self.bands, self.c = HaarBands(scales), c

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            reference = self.bands(x)
        total = x.new_zeros(len(x))
        for scale, details in self.bands(x_hat).items():
            var_hat, var = (statistics(d, LEVEL)[-1][1] for d in (details, reference[scale]))
            floor = 0.05 * self.c  # keeps the slope of the root finite
            missed = (torch.sqrt(var_hat + floor) - torch.sqrt(var + floor)).square()
            total = total + (missed / (var + self.c)).mean((1, 2, 3))
        return total
