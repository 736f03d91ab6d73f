"""Mean squared error."""

from __future__ import annotations

from torch import Tensor, nn


class MSE(nn.Module):
    """mean (x_hat - x)^2 over the values of each picture: squared grey levels, (batch, 3, h, w) to (batch,).

    The same figure as `metrics.fidelity.mse`, so PSNR is 10 log10(255^2 / it).
    """

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        return (x_hat.float() - x.float()).square().mean((1, 2, 3))
