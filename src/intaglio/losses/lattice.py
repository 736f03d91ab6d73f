"""The decoder's own lattice in flat places."""

from __future__ import annotations

from torch import Tensor

PERIOD = 16  # pixels along a side of a latent's square: whatever repeats from square to square is the decoder's doing
NOISE = 25.0  # variance in grey levels squared at which a square counts half as flat
PRIOR = 4.0  # squares of none that are averaged in, so that a picture with few flat places says little


def lattice(x_hat: Tensor, x: Tensor) -> Tensor:
    """Energy of the error, in grey levels squared, that repeats with the latents' period where x is flat: (batch,).

    x_hat and x are (batch, 3, h, w) in 0..255, both sides multiples of 16, their top left corner on the decoder's
    lattice. With w_b = 1 / (1 + v_b / 25), v_b the variance of x in a square b of 16x16 pixels, the squares' errors are
    averaged, m = sum_b w_b (x_hat_b - x_b) / (sum_b w_b + 4), less their mean colour; the loss is the mean of m^2. 0 is
    best. Detail that a picture may have averages out; dots that a transposed convolution or a pixel shuffle leaves in
    every square do not (Odena et al. 2016, "Deconvolution and checkerboard artifacts", shows them).
    """
    batch, channels, h, w = x.shape
    squares = (batch, channels, h // PERIOD, PERIOD, w // PERIOD, PERIOD)
    flat = 1 / (1 + x.reshape(squares).var((3, 5), correction=0).mean(1) / NOISE)
    error = (x_hat.float() - x).reshape(squares)
    mean = (error * flat[:, None, :, None, :, None]).sum((2, 4)) / (flat.sum((1, 2)) + PRIOR)[:, None, None, None]
    return (mean - mean.mean((2, 3), keepdim=True)).square().mean((1, 2, 3))
