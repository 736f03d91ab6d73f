"""How different two pictures look to the first layers of a network trained to recognise things."""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..nn.backbones.vgg import VGG

TAPS = ("conv1_2", "conv2_2", "conv3_3")


class VGGDistance:
    """Distance between pictures in the features of VGG-16, 0 (equal) to 2; lower is better.

    At each of TAPS, after ReLU, the feature vector at every position is divided by its length, f / (|f| + 1e-10); the
    distance is |difference|^2, averaged over positions, then over the taps. That is LPIPS (Zhang et al. 2018, "The
    unreasonable effectiveness of deep features as a perceptual metric", equation 1) with weights of 1 in place of the
    learned ones, a mean instead of the sum over layers, the three taps that have a name in codecs' training losses, and
    the original Caffe weights: not to be printed as LPIPS. Whole pictures, zero padding at their edges. A codec that
    was trained on these layers has an advantage here.

    network: pictures (1, 3, h, w) in 0..255 to {tap: features}; None is VGG-16, whose file is found as
    `nn.backbones.weights.find(.., folder)` does. Raises MissingWeights, WrongWeights.

    About 190 kMAC and 450 bytes a pixel, so keep one original's `features` for all that is compared with it.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, network: nn.Module | None = None):
        self.network = VGG(taps=TAPS, folder=folder) if network is None else network

    @torch.inference_mode()
    def features(self, picture: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Features of unit length of a picture (h, w, 3) of RGB, both sides 4 or more: {tap: (1, channels, h', w')}."""
        x = torch.tensor(picture).permute(2, 0, 1)[None].float()
        found = self.network(x.contiguous(memory_format=torch.channels_last))
        for f in found.values():
            f.div_(f.square().sum(1, keepdim=True).sqrt_().add_(1e-10))
        return dict(found)

    @torch.inference_mode()
    def between(self, a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
        """The distance between two pictures of the same size from their `features`. ValueError for other sizes."""
        if any(a[tap].shape != b[tap].shape for tap in a):
            raise ValueError("the two pictures have different sizes")
        return float(np.mean([float((a[tap] - b[tap]).square_().sum(1).mean()) for tap in a]))

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
        """The distance between two pictures (h, w, 3) of RGB in 0..255 and of the same size."""
        return self.between(self.features(a), self.features(b))
