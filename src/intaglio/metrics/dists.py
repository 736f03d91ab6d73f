"""DISTS, deep image structure and texture similarity (Ding, Ma, Wang, Simoncelli 2020).

The name belongs to one function: the published weights alpha and beta on the torchvision project's VGG-16. Without
those two files there is no DISTS here, only MissingWeights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.backbones.vgg import VGG
from ..nn.backbones.weights import MissingWeights, WrongWeights, load

TAPS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
CHANNELS = (3, 64, 128, 256, 512, 512)  # the picture itself is the first tap
_C = 1e-6  # c1 and c2 of equations 4 and 5


def l2_pool(x: Tensor) -> Tensor:
    """The root of the blurred squares at every second place, (b, c, h, w) to (b, c, ceil(h / 2), ceil(w / 2)).

    Equation 3: the blur is a Hann window of 3 x 3, (1, 2, 1) / 4 each way; beyond the border lie zeros.
    """
    window = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    window = (window[:, None] * window).expand(x.shape[1], 1, 3, 3)
    return torch.sqrt(F.conv2d(x.square(), window, stride=2, padding=1, groups=x.shape[1]) + 1e-12)


class _Trunk(VGG):
    """VGG-16 with L2 pooling in the place of its maxima; sides are rounded up, so pictures may be of any size."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = {}
        block, x = "1", x - self.mean
        for name in self.names:
            if name[4] != block:
                block, x = name[4], l2_pool(x)
            x = F.relu(F.conv2d(x, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias"), padding=1))
            if name in self.taps:
                features[name] = x
        return features


def _trained(folder: str | os.PathLike[str] | None) -> Mapping[str, Tensor]:
    """Either file of alpha and beta; they hold the same numbers under the same names."""
    try:
        return load("dists-official", folder)
    except MissingWeights:
        return load("dists", folder)


class DISTS(nn.Module):
    """1 - sum over taps i and channels j of alpha_ij l_ij + beta_ij s_ij: 0..1, lower is better, 0 for equal pictures.

    Ding et al. 2020, "Image quality assessment: unifying structure and texture similarity", equations 4 to 6:
    l = (2 m_x m_y + c) / (m_x^2 + m_y^2 + c) of the channels' means over all positions (texture) and
    s = (2 cov_xy + c) / (var_x + var_y + c) (structure); alpha and beta are scaled to add up to 1 together. Two
    (batch, 3, h, w) of RGB in 0..255 to (batch,). Negative s can carry it above 1, in principle.

    Pictures are taken at the size that they have. The authors' demonstration first shrinks them to a shorter side of
    256 pixels, which gives other figures; a caller who wants those shrinks first.

    folder: where the files are, see `weights.find`; VGG's is checked by the eight digits of its SHA-256 that are
    public. trunk and trained: tensors instead of files ("features.0.weight", ...; "alpha" and "beta"), for tests of
    the arithmetic. Raises MissingWeights, WrongWeights; ValueError where the pictures differ in shape.
    """

    alpha: Tensor
    beta: Tensor

    def __init__(
        self,
        *,
        folder: str | os.PathLike[str] | None = None,
        trunk: Mapping[str, Tensor] | None = None,
        trained: Mapping[str, Tensor] | None = None,
    ):
        super().__init__()
        self.trunk = _Trunk(13, TAPS, source="torchvision", folder=folder, state=trunk)
        trained = _trained(folder) if trained is None else trained
        for name in ("alpha", "beta"):
            if name not in trained or trained[name].numel() != sum(CHANNELS):
                raise WrongWeights(f"these weights of DISTS lack {name}, {sum(CHANNELS)} numbers")
        alpha, beta = (trained[name].detach().flatten().double() for name in ("alpha", "beta"))
        total = alpha.sum() + beta.sum()
        self.register_buffer("alpha", alpha / total, persistent=False)
        self.register_buffer("beta", beta / total, persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if x.shape != y.shape:
            raise ValueError(f"pictures of shapes {tuple(x.shape)} and {tuple(y.shape)} cannot be compared")
        luminance, structure = [], []
        for a, b in zip((x / 255, *self.trunk(x).values()), (y / 255, *self.trunk(y).values()), strict=True):
            mean_a, mean_b = a.mean((2, 3), keepdim=True), b.mean((2, 3), keepdim=True)
            a, b = a - mean_a, b - mean_b  # centred first: their squares need fewer digits than the means' do
            cov = (a * b).mean((2, 3)).double()
            var_a, var_b = a.square().mean((2, 3)).double(), b.square().mean((2, 3)).double()
            m_a, m_b = mean_a.flatten(1).double(), mean_b.flatten(1).double()
            luminance.append((2 * m_a * m_b + _C) / (m_a**2 + m_b**2 + _C))
            structure.append((2 * cov + _C) / (var_a + var_b + _C))
        return 1 - torch.cat(luminance, 1) @ self.alpha - torch.cat(structure, 1) @ self.beta
