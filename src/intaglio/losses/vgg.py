"""Perceptual distance in the features of VGG-16."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from torch import Tensor

from ..nn.backbones.vgg import VGG
from .features import FeatureDistance


class VGGDistance(FeatureDistance):
    """sum_l w_l mean (F_l(x_hat) - F_l(x))^2 with F_l the features of VGG-16 after ReLU: (batch, 3, h, w) to (batch,).

    The perceptual loss of the CompressGAN paper (section 3.4, "VGG12: Model for Perceptual Loss", steps 4 and 5: the
    squared L2 norm at conv1_2, conv2_2 and conv3_3, weighted by w_l). Its norm is a sum; ours is the mean over channels
    and places, so that the value does not grow with the picture, and a factor goes into w_l, which the paper does not
    state. There is no published "VGG12" either: we take it to be the trunk of VGG-16 cut after its twelfth convolution,
    conv5_2. Only what the deepest tap needs is computed, so the default taps cost seven convolutions and are all in
    Keras's file; the paper's mean and standard deviation are those of torchvision's weights (source="torchvision").
    Features are in the network's own units (with Keras's weights: hundreds), so weights of the loss do not carry over
    from one source to another, unless kind is "relative".

    kind and weights: see `features.distance`. taps, convolutions, source, folder, state: see `VGG`, whose errors are
    raised.
    """

    def __init__(
        self,
        taps: Sequence[str] = ("conv1_2", "conv2_2", "conv3_3"),
        *,
        convolutions: int = 12,
        kind: str = "squared",
        weights: Mapping[str, float] | None = None,
        source: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ):
        super().__init__(VGG(convolutions, taps, source=source, folder=folder, state=state), kind, weights)
