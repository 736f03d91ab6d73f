"""Charbonnier's penalty: absolute error with a rounded tip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import BadInput


class Charbonnier(nn.Module):
    """mean sqrt((x_hat - x)^2 + epsilon^2) over the values of each picture: (batch, 3, h, w) to (batch,), grey levels.

    Charbonnier et al. 1994; in this form Lai et al. 2017 (LapSRN, section 3.2), whose epsilon of 1e-3 on the 0..1 scale
    is the default here. Equal pictures give epsilon, not 0. Raises BadInput unless epsilon is positive.
    """

    def __init__(self, epsilon: float = 0.255):
        super().__init__()
        if not epsilon > 0:
            raise BadInput(f"Charbonnier's epsilon must be above 0 grey levels, not {epsilon}")
        self.epsilon = epsilon

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        return torch.sqrt((x_hat.float() - x.float()).square() + self.epsilon**2).mean((1, 2, 3))
