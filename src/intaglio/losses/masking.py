"""Where an eye sees an error: weights for squared errors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .luma import luma

WINDOW = 7  # pixels along a side of what a variance is taken of
FLOOR = 10.0  # grey levels squared: quieter than that is as good as flat
USUAL = 60.0  # grey levels squared: the variance at which an error weighs 1


@torch.no_grad()
def visibility(x: Tensor, strength: float) -> Tensor:
    """((v + 10) / 70)^-strength for every pixel of the original x, (batch, 3, h, w) in 0..255: (batch, h, w).

    v is the variance of the luma (BT.601), in grey levels squared, in the quietest 7x7 window that holds the pixel and
    lies inside the picture, so that a sky counts as sky up to the branch before it: errors there are not hidden by the
    edge. Sides are at least 7. Strength 0 is 1 everywhere; masking is about a power of the local contrast (Legge and
    Foley 1980), and `adapt` moves bits between blocks by the same rule.
    """
    if not strength:
        return torch.ones_like(x[:, 0], dtype=torch.float32)
    grey = luma(x)
    grey = grey - grey.mean((2, 3), keepdim=True)  # squares stay small, so their difference is exact enough
    variance = (F.avg_pool2d(grey.square(), WINDOW, 1) - F.avg_pool2d(grey, WINDOW, 1).square()).clamp_min(0)
    quietest = -F.max_pool2d(F.pad(-variance, [WINDOW - 1] * 4, value=float("-inf")), WINDOW, 1)
    return ((quietest[:, 0] + FLOOR) / (USUAL + FLOOR)) ** -strength
