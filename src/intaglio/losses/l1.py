"""Mean absolute error."""

from __future__ import annotations

from torch import Tensor, nn


class L1(nn.Module):
    """mean |x_hat - x| over the values of each picture: grey levels, 0..255 for (batch, 3, h, w) to (batch,).

    The CompressGAN paper's reconstruction loss (its step 5), as a mean where the paper writes the norm. The gradient at
    equal values is 0.
    """

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        return (x_hat.float() - x.float()).abs().mean((1, 2, 3))
