"""Fine detail where the original has none."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .luma import luma

FINE = 5  # pixels along a side of the mean that fine detail is the difference from
AROUND = 7  # pixels along a side of what an energy is taken of
NOISE = 2.0  # grey levels squared: the energy of fine detail beside which as much again counts half


def _energy(picture: Tensor) -> Tensor:
    """The mean square of a luma's fine detail around every pixel whose surroundings are whole: (batch, 1, h', w')."""
    inside = FINE // 2
    fine = picture[:, :, inside:-inside, inside:-inside] - F.avg_pool2d(picture, FINE, 1)
    return F.avg_pool2d(fine.square(), AROUND, 1)


def speckle(x_hat: Tensor, x: Tensor) -> Tensor:
    """By how much the decoder's fine detail outdoes the original's: (batch,), 0 where it nowhere does.

    x_hat and x are (batch, 3, h, w) in 0..255, at least 11 pixels on a side. Both are turned to luma (BT.601); fine
    detail is its difference from its 5x5 mean, and e(p) the mean square of that in the 7x7 pixels around p. The loss
    is the mean over p of max(0, e_hat - e) / (e + 2). Texture may be another than the original's at no cost, as long
    as there is no more of it; dots on smooth ground, which adversarial losses leave beside hard edges, cost the more
    the smoother it is. (Liang et al. 2022, "Details or artifacts", tell them by the error's local variance instead.)
    """
    e_hat, e = _energy(luma(x_hat)), _energy(luma(x))
    return (F.relu(e_hat - e) / (e + NOISE)).mean((1, 2, 3))
