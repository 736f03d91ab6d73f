"""The whole network in torch: one model for every rate, with the loss terms that training needs.

Rate-distortion weight of step q: lambda(q), log-spaced, in bits per pixel for one unit of mean squared error on the
0..255 scale. gain(q) scales the latent before it is rounded; it is piecewise log-linear between a few learned knots.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..grain import grain
from .prior import SCALES, Prior, sigma
from .transforms import Analysis, HyperAnalysis, Shape, Synthesis, full_precision

STEPS = 64
KNOTS = 10
LAMBDA_MIN, LAMBDA_MAX = 0.0003, 0.15


def rate_weight(q: Tensor) -> Tensor:
    """lambda(q) for q in 0..63 (any shape, real)."""
    return LAMBDA_MIN * torch.exp(q * (math.log(LAMBDA_MAX / LAMBDA_MIN) / (STEPS - 1)))


def hat(q: Tensor) -> Tensor:
    """Linear interpolation weights of q (any shape) on KNOTS equally spaced knots; adds a last axis of KNOTS."""
    position = q[..., None] * ((KNOTS - 1) / (STEPS - 1))
    return (1 - (position - torch.arange(KNOTS, device=q.device)).abs()).clamp_min(0)


def gaussian_bits(v: Tensor, index: Tensor) -> Tensor:
    """Bits of a unit-wide bin centred at v under a zero-mean Gaussian of scale `index`; floored near 2^-20."""
    root = 1 / (sigma(index) * math.sqrt(2))
    v = v.abs()
    p = 0.5 * (torch.erfc((v - 0.5) * root) - torch.erfc((v + 0.5) * root))
    return -torch.log2(p + 1e-6)


class Codec(nn.Module):
    """Analysis, hyper-analysis, prior and synthesis, and the gains between them."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.analysis = Analysis(shape)
        self.hyper = HyperAnalysis(shape)
        self.prior = Prior(shape.latents, shape.hyper, shape.prior_width, shape.prior_low, shape.prior_blocks)
        self.synthesis = Synthesis(shape)
        knots = torch.arange(KNOTS) * ((STEPS - 1) / (KNOTS - 1))
        start = math.log(255 / 40) + 0.5 * torch.log(rate_weight(knots) / 0.0067)
        self.log_gain = nn.Parameter(start[:, None].repeat(1, shape.latents))
        self.hyper_scale = nn.Parameter(torch.full((KNOTS, shape.hyper), 22 / 16))  # scale index / 16

    def gain(self, q: Tensor) -> Tensor:
        """q (batch, h, w) to gains (batch, M, h, w)."""
        return torch.exp(hat(q) @ self.log_gain).movedim(-1, 1)

    def hyper_index(self, q: Tensor) -> Tensor:
        """q (batch, h, w) to the scale index of every hyper-latent channel (batch, N, h, w), straight-through."""
        index = (hat(q) @ self.hyper_scale).movedim(-1, 1) * 16
        return (index + (torch.round(index) - index).detach()).clamp(0, SCALES - 1)

    def code(
        self, x: Tensor, q: Tensor, noise: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder and the prior. x: pixels 0..255 (batch, 3, h, w); q: (batch, 1, 1), or (batch, h/64, w/64) where
        it varies inside a picture.

        Returns (decoded latents without their gain (batch, M, h/16, w/16), t = q/63 at 1/16 or (batch, 1, 1, 1), bits
        of each picture (batch,)). The latents are rounded for real, straight through. The bits are those of the
        rounded symbols, or with `noise`, uniform in 0..1 in the shapes of `noise_shapes`, of noisy ones.
        """
        b, _, h, w = x.shape
        y = self.analysis(x)
        with full_precision(x):  # gains reach hundreds of steps, and the prior's integers need their every bit
            gain = self.gain(q)
            if gain.shape[-1] > 1:
                gain = gain.repeat_interleave(4, 2).repeat_interleave(4, 3)
            t = (q / (STEPS - 1))[:, None]
            y = y.float() * gain
            z = self.hyper(y, t)
            z_hat = z + (torch.floor(z + 0.5) - z).detach()
            q_map = (2 * q - (STEPS - 1))[:, None].expand(b, 1, h // 64, w // 64)
            mean, index, y_hat = self.prior(y, z_hat, q_map)
            if noise is None:
                bits_y = gaussian_bits(y_hat - mean, index)
                bits_z = gaussian_bits(z_hat, self.hyper_index(q))
            else:
                bits_y = gaussian_bits(y - mean + noise[0] - 0.5, index)
                bits_z = gaussian_bits(z + noise[1] - 0.5, self.hyper_index(q))
            if t.shape[-1] > 1:
                t = t.repeat_interleave(4, 2).repeat_interleave(4, 3)
            return y_hat / gain, t, bits_y.sum((1, 2, 3)) + bits_z.sum((1, 2, 3))

    def noise_shapes(self, height: int, width: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Shapes of the noise of one picture: of its latents, of its hyper-latents."""
        shape = self.shape
        return (shape.latents, height // 16, width // 16), (shape.hyper, height // 64, width // 64)

    def forward(
        self, x: Tensor, q: Tensor, realism: Tensor | None = None, noise: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`code`, then the synthesis at `realism` (one number, 0 where None), with the grain of a decoder that shows
        the whole picture: (x_hat on the scale of x, bits, decoded latents)."""
        latents, t, bits = self.code(x, q, noise)
        if realism is None:
            return self.synthesis(latents, t, latents.new_zeros(1)), bits, latents
        pixels = torch.from_numpy(grain(0, 0, x.shape[3], x.shape[2])).to(x).expand(len(x), 1, -1, -1)
        return self.synthesis(latents, t, realism, pixels), bits, latents
