"""Perceptual distance in the features of MobileNetV2: a thirtieth of the arithmetic of VGG-16 up to conv3_3."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from torch import Tensor

from ..nn.backbones.mobilenet import MobileNetV2
from .features import FeatureDistance


class MobileNetDistance(FeatureDistance):
    """sum_l w_l mean (F_l(x_hat) - F_l(x))^2 / mean F_l(x)^2: pictures (batch, 3, h, w) to (batch,), without units.

    F_l are the outputs of MobileNetV2's bottlenecks, by default the last one at each of the strides 2, 4, 8, 16, 32:
    from edges to objects. It is relative because their scales differ; kind and weights as in `features.distance`. taps,
    folder, state: see `MobileNetV2`, whose errors are raised.
    """

    def __init__(
        self,
        taps: Sequence[str] = ("block_0", "block_2", "block_5", "block_12", "block_16"),
        *,
        kind: str = "relative",
        weights: Mapping[str, float] | None = None,
        folder: str | os.PathLike[str] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ):
        super().__init__(MobileNetV2(taps, folder=folder, state=state), kind, weights)
