"""The whole network in torch: the released model, or a paper's transforms, around the same prior and bitstream.

Rate-distortion weight of step q: lambda(q), log-spaced, in bits per pixel for one unit of mean squared error on the
0..255 scale. gain(q) scales the latent before it is rounded; it is piecewise log-linear between a few learned knots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import grain
from ..errors import BadInput
from ..package import MAX_LEVELS
from .finite import bounded_bits, soft_to_hard
from .prior import SCALES, Prior, sigma
from .quantised import quantised_once
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


@dataclass(frozen=True)
class Sizes:
    """What every system's network has: channels of latents (1/16) and hyper-latents (1/64), and the prior's numbers."""

    latents: int = 220
    hyper: int = 320
    prior_width: int = 128
    prior_low: int = 64  # latent channels of the first two passes
    prior_blocks: int = 2
    hyper_groups: tuple[int, ...] = ()  # where groups of hyper-latent channels end; () for a static prior


class Symbols(NamedTuple):
    """Of hyper-latents z and latents y (both (batch, channels, h, w)): means, in steps, scale indices, and what is
    decoded, straight-through. A static prior's z_scale has one row and column, or one a block."""

    z_mean: Tensor
    z_scale: Tensor
    z_hat: Tensor
    mean: Tensor
    scale: Tensor
    y_hat: Tensor


class Codec(nn.Module):
    """Analysis, hyper-analysis, prior and synthesis, and the gains between them.

    The transforms are those of the released model unless others are given, modules with the signatures

        analysis(x 0..255) -> y      hyper(y times gain, t) -> z      synthesis(y, t, realism, noise) -> x_hat 0..255

    as in `transforms`. Analysis and synthesis say as `reach` how many pixels beyond its own one output depends on, or
    "whole" where that is all of the picture; a synthesis with a true `noisy` takes noise. One with names of `classes`
    synthesises what is not kept from labels: synthesis(y, t, realism, noise, kept, labels) (nn/systems/selective.py).

    delta: None for gains that are learned, step by step and channel by channel; else the quantiser's steps Delta at
    q = 0 and at q = 63, log-spaced between them, where papers write round(y / Delta) Delta; what is decoded is
    (round(y / Delta - m) + m) Delta, with m the prior's mean in sixteenths. Two equal ones make a model of one rate,
    whose every part is blind to q. levels: 0, or the L of a finite alphabet: symbols are the integers
    -(L - 1) / 2 .. (L - 1) / 2, their means 0, and quantisation is `finite.soft_to_hard`. rounding: "optimised", as the
    released model's files are written, or "nearest", as papers have it (`latents.rounding_thresholds`).
    """

    def __init__(
        self,
        shape: Shape | Sizes,
        analysis: nn.Module | None = None,
        hyper: nn.Module | None = None,
        synthesis: nn.Module | None = None,
        delta: tuple[float, float] | None = None,
        levels: int = 0,
        rounding: Literal["optimised", "nearest"] = "optimised",
    ):
        super().__init__()
        if levels and not (3 <= levels <= MAX_LEVELS and levels % 2):
            raise BadInput(f"an alphabet of {levels} levels: give an odd number of 3 to {MAX_LEVELS}")
        self.shape, self.levels, self.rounding = shape, levels, rounding
        self.one_rate = delta is not None and delta[0] == delta[1]
        own: Any = shape  # the released transforms need a `Shape`
        # Any: modules of many kinds, with attributes that nn.Module does not promise
        self.analysis: Any = Analysis(own) if analysis is None else analysis
        self.hyper: Any = HyperAnalysis(own) if hyper is None else hyper
        self.prior = Prior(shape.latents, shape.hyper, shape.prior_width, shape.prior_low, shape.prior_blocks,
                           optimised=rounding == "optimised", hyper_groups=shape.hyper_groups)
        self.synthesis: Any = Synthesis(own) if synthesis is None else synthesis
        knots = torch.arange(KNOTS) * ((STEPS - 1) / (KNOTS - 1))
        if delta is None:
            start = math.log(255 / 40) + 0.5 * torch.log(rate_weight(knots) / 0.0067)
            self.log_gain = nn.Parameter(start[:, None].repeat(1, shape.latents))
        else:
            first, last = -math.log(delta[0]), -math.log(delta[1])
            fixed = first + knots * ((last - first) / (STEPS - 1))
            self.register_buffer("log_gain", fixed[:, None].repeat(1, shape.latents))
        rows = 1 if self.one_rate else KNOTS
        self.hyper_scale = nn.Parameter(torch.full((rows, shape.hyper), 22 / 16))  # scale index / 16
        with torch.no_grad():
            if self.one_rate:  # fed zeros in training, this column never learns, and a coder may feed any q
                self.prior.start.enter.weight[:, -1] = 0
        if levels:
            for name, parameter in self.prior.named_parameters():
                if ".mean." in name:
                    nn.init.zeros_(parameter.requires_grad_(False))

    def gain(self, q: Tensor) -> Tensor:
        """q (batch, h, w) to gains (batch, M, h, w)."""
        return torch.exp(hat(q) @ self.log_gain).movedim(-1, 1)

    def hyper_index(self, q: Tensor) -> Tensor:
        """q (batch, h, w) to the scale index of every hyper-latent channel (batch, N, h, w), straight-through."""
        index = (hat(q) @ self.hyper_scale.expand(KNOTS, -1)).movedim(-1, 1) * 16
        return (index + (torch.round(index) - index).detach()).clamp(0, SCALES - 1)

    def code(
        self, x: Tensor, q: Tensor, noise: tuple[Tensor, Tensor] | None = None, noisy: bool = False,
        kept: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder and the prior. x: pixels 0..255 (batch, 3, h, w); q: (batch, 1, 1), or (batch, h/64, w/64) where
        it varies inside a picture.

        Returns (decoded latents without their gain (batch, M, h/16, w/16), t = q/63 at 1/16 or (batch, 1, 1, 1), bits
        of each picture (batch,)). The latents are rounded for real, straight through; with `noisy` they are the real
        ones plus the noise. The bits are those of the rounded symbols, or with `noise`, uniform in 0..1 in the shapes
        of `noise_shapes`, of noisy ones; those of a finite alphabet are always of the symbols.
        kept: (batch, 1, h/16, w/16), 1 where latents are coded and 0 elsewhere, or None for all: the others are 0 and
        take no bits, nor do the hyper-latents that have none to tell of.
        """
        return self.code_latents(self.analysis(x), q, noise, noisy, kept)

    def code_latents(
        self, y: Tensor, q: Tensor, noise: tuple[Tensor, Tensor] | None = None, noisy: bool = False,
        kept: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`code` from the analysis's output y (batch, M, h/16, w/16) on."""
        with full_precision(y):  # gains reach hundreds of steps, and the prior's integers need their every bit
            gain = self.gain(q)
            if gain.shape[-1] > 1:
                gain = gain.repeat_interleave(4, 2).repeat_interleave(4, 3)
            t = (q / (STEPS - 1))[:, None]
            y = y.float() * gain
            if self.levels:
                y = soft_to_hard(y, self.levels)
            y = y if kept is None else y * kept
            z = self.hyper(y, t)
            s = self.symbols(y, z, q, kept)
            y_hat = s.y_hat
            if self.levels:
                bits_y = bounded_bits(y_hat, sigma(s.scale), self.levels)
            else:
                bits_y = gaussian_bits((y_hat if noise is None else y + noise[0] - 0.5) - s.mean, s.scale)
            bits_z = gaussian_bits((s.z_hat if noise is None else z + noise[1] - 0.5) - s.z_mean, s.z_scale)
            if noisy and noise is not None:
                y_hat = y + noise[0] - 0.5
            if kept is not None:
                y_hat, bits_y, bits_z = y_hat * kept, bits_y * kept, bits_z * F.max_pool2d(kept, 4)
            if t.shape[-1] > 1:
                t = t.repeat_interleave(4, 2).repeat_interleave(4, 3)
            return y_hat / gain, t, bits_y.sum((1, 2, 3)) + bits_z.sum((1, 2, 3))

    def symbols(
        self, y: Tensor, z: Tensor, q: Tensor, kept: Tensor | None = None
    ) -> Symbols:
        """What the priors say of gained latents y and hyper-latents z, and what they are rounded to."""
        blocks = None if kept is None else F.max_pool2d(kept, 4)
        z_scale = self.hyper_index(q)
        q = torch.full_like(q, (STEPS - 1) / 2) if self.one_rate else q
        q_map = (2 * q - (STEPS - 1))[:, None].expand(len(z), 1, *z.shape[2:])
        with quantised_once(self.prior):
            if self.prior.hyper is None:
                z_hat = z + (torch.floor(z + 0.5) - z).detach()
                z_mean, z_hat = torch.zeros_like(z), z_hat if blocks is None else z_hat * blocks
            else:
                z_mean, z_scale, z_hat = self.prior.hyper(z, q_map, z_scale, blocks)
            return Symbols(z_mean, z_scale, z_hat, *self.prior(y, z_hat, q_map, kept))

    def noise_shapes(self, height: int, width: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Shapes of the noise of one picture: of its latents, of its hyper-latents."""
        shape = self.shape
        return (shape.latents, height // 16, width // 16), (shape.hyper, height // 64, width // 64)

    def forward(
        self,
        x: Tensor,
        q: Tensor,
        realism: Tensor | None = None,
        noise: tuple[Tensor, Tensor] | None = None,
        noisy: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`code`, then the synthesis at `realism` (one number, 0 where None), with the noise of a decoder that shows
        the whole picture: (x_hat on the scale of x, bits, decoded latents)."""
        latents, t, bits = self.code(x, q, noise, noisy)
        if realism is None:
            return self.synthesis(latents, t, latents.new_zeros(1)), bits, latents
        pixels = torch.from_numpy(grain.noise(0, 0, x.shape[3], x.shape[2])).to(x).expand(len(x), 1, -1, -1)
        return self.synthesis(latents, t, realism, pixels), bits, latents
