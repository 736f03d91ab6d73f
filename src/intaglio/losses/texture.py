"""Texture: is there as much fine detail here as in the original, wherever exactly its lines fall?

The Wasserstein distortion of `losses.wasserstein` (Qiu et al. 2023) on the details of a Haar pyramid of the pixels. A
blurred lawn has too little of every band, and squared error asks for no more; this loss asks for the energy and leaves
its places to the synthesis, so it is met by drawing, and costs a hundredth of a network's features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BadInput
from .wasserstein import WassersteinDistortion, halve


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


class TextureDistance(WassersteinDistortion):
    """sum over scales of mean (mu - mu')^2 + (s - s')^2 of the Haar details: two (batch, 3, h, w) to (batch,).

    In grey levels squared, as the squared error is: a region that lost all detail of deviation s costs about s^2 a
    scale. sigma: the window's standard deviation in pixels. weights: of the scales "1", "2", ..., 1 if not named.
    floor: variance in grey levels squared below which nothing is missed (half a grey level, unseen).
    """

    def __init__(
        self, scales: int = 3, sigmas: Sequence[float] = (4.0,), *, weights: dict[str, float] | None = None,
        floor: float = 0.25,
    ):  # fmt: skip
        super().__init__(HaarBands(scales), sigmas, weights=weights, floor=floor)
