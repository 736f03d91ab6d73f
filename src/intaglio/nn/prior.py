"""The integer prior: from the hyper-latent, and the latents decoded so far, to an integer mean and a scale index.

Passes (all positions of a pass at once, never raster order): the first `low` channels, which carry most of the bits,
on the black squares of a checkerboard, then on the white ones; the other channels likewise, each pass seeing all that
the passes before it decoded. A mean is in units of 1/16; a scale index points into the package's table of CDFs.

The symbols are r = round(y - mean/16), y being the latent times its gain, and y_hat = r + mean/16; in the released
model residuals are rounded as the encoder of files does it, up only where that is worth its bits (`latents.py`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy import gaussian_tables
from ..latents import RD_LEVELS, SCALES, rounding_thresholds
from .hyper_prior import HyperPrior
from .quantised import OUTSIDE, SIGNED, IntBlock, IntConv, floor_clamp, unsigned

SIGMA_MIN, SIGMA_MAX = 0.11, 512.0
MEAN_UNIT = 16
MAX_MEAN = 2**20  # in sixteenths: 2^16 steps, far beyond any latent of a picture


def sigma(index: Tensor) -> Tensor:
    """Standard deviation of scale index 0..63: log-spaced from 0.11 to 512 quantiser steps."""
    return SIGMA_MIN * torch.exp(index * (math.log(SIGMA_MAX / SIGMA_MIN) / (SCALES - 1)))


def schedule(latents: int, low: int) -> list[tuple[int, int, int]]:
    """Passes as (first channel, end channel, parity): parity p takes the positions with (row + column) % 2 == p."""
    return [(0, low, 0), (0, low, 1), (low, latents, 0), (low, latents, 1)]


def context(y16: Tensor, first: int, low: int) -> Tensor:
    """What a pass sees of the decoded latents, as integers in the range of signed activations.

    y16: decoded latents in sixteenths, zero where nothing is decoded yet, channels 0..end. Fine: steps of 1/8, all
    channels; coarse: steps of 8, the low channels only, which alone grow that large.
    """
    fine = floor_clamp(y16 / 2 + 0.5, *SIGNED)
    coarse = floor_clamp(y16[:, :low] / 128 + 0.5, *SIGNED)
    return torch.cat([fine, coarse], 1)


class Start(nn.Module):
    """Hyper-synthesis: z (batch, N, h, w) and the q map (2q - 63, one value a hyper-latent) to features at 4h x 4w."""

    def __init__(self, hyper: int, width: int):
        super().__init__()
        self.enter = IntConv(hyper + 1, width, scale=4.0, takes=OUTSIDE)
        self.block = IntBlock(width)
        self.rise = IntConv(width, 16 * width)
        self.after = IntBlock(width)

    def forward(self, z: Tensor, q: Tensor) -> Tensor:
        h = unsigned(self.enter(torch.cat([z, q], 1)))
        h = unsigned(self.rise(self.block(h)))
        return self.after(F.pixel_shuffle(h, 4))


class Pass(nn.Module):
    """One parallel pass: features and context to (mean in sixteenths, scale index) of `channels` channels."""

    def __init__(self, width: int, context_channels: int, channels: int, blocks: int):
        super().__init__()
        self.enter = IntConv(context_channels, width, takes=OUTSIDE, joined=True) if context_channels else None
        self.blocks = nn.Sequential(*[IntBlock(width) for _ in range(blocks)])
        self.mean = IntConv(width, channels, scale=0.1, gives=OUTSIDE)
        self.scale = IntConv(width, channels, scale=0.1, gives=OUTSIDE)
        nn.init.constant_(self.scale.bias, 18 / OUTSIDE)  # index 18: a standard deviation of about one step

    def forward(self, features: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
        h = features if self.enter is None else unsigned(features + self.enter(seen))
        h = self.blocks(h)
        return floor_clamp(self.mean(h), -MAX_MEAN, MAX_MEAN), floor_clamp(self.scale(h), 0, SCALES - 1)


class Prior(nn.Module):
    """All passes, and as `hyper` the prior of the hyper-latents, None for a static one. `first` channels of the context
    of pass k: those below its end, as decoded by passes before k. optimised: residuals are rounded as files round them,
    by Gaussians' thresholds; else to the nearest. hyper_groups: where groups of hyper-latent channels end."""

    thresholds: Tensor | None

    def __init__(
        self, latents: int = 320, hyper: int = 64, width: int = 128, low: int = 64, blocks: int = 2,
        optimised: bool = False, hyper_groups: tuple[int, ...] = (),
    ):
        super().__init__()
        self.low = low
        thresholds = None
        if optimised:
            scales = sigma(torch.arange(SCALES, dtype=torch.float64)).tolist()
            thresholds = torch.from_numpy(rounding_thresholds(gaussian_tables(scales)).copy())
        self.register_buffer("thresholds", thresholds, persistent=False)
        self.passes = schedule(latents, low)
        self.hyper = HyperPrior(hyper, width, hyper_groups, blocks) if hyper_groups else None
        self.start = Start(hyper, width)
        seen = [0, low, low, latents]  # channels decoded, at least in part, before each pass
        self.seen = seen
        self.steps = nn.ModuleList(
            Pass(width, n + low if n else 0, end - first, blocks)
            for n, (first, end, _) in zip(seen, self.passes, strict=True)
        )

    def forward(
        self, y: Tensor, z_hat: Tensor, q: Tensor, kept: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Teacher forcing, for training and for estimates: all passes over known latents.

        y: gained latents (batch, M, h, w), real; z_hat: rounded hyper-latents; q: 2q - 63 as (batch, 1, h/4, w/4).
        kept: (batch, 1, h, w), 1 where latents are coded and 0 elsewhere, or None for all.
        Returns (mean in steps, scale index, y_hat), each (batch, M, h, w), 0 where not kept; y_hat is straight-through.
        """
        features = self.start(z_hat.clamp(-128, 127), q)
        h, w = y.shape[2:]
        parity = (torch.arange(h, device=y.device)[:, None] + torch.arange(w, device=y.device)) % 2
        y16 = torch.zeros_like(y)
        means: dict[int, Tensor] = {}
        indices: dict[int, Tensor] = {}
        done: dict[int, Tensor] = {}
        low = self.low
        for n, step, (first, end, p) in zip(self.seen, self.steps, self.passes, strict=True):
            seen = None
            if n:
                y16 = torch.cat([done[c] for c in sorted(done)], 1)
                seen = context(y16, n, low)
            mean16, index = step(features, seen)
            mask = (parity == p).to(y.dtype)
            mask = mask if kept is None else mask * kept
            mean = mean16 / MEAN_UNIT
            r = y[:, first:end] - mean
            decoded = (r + (self._rounded(r, index) - r).detach()) * MEAN_UNIT + mean16
            if first in done:
                means[first] = means[first] + mean * mask
                indices[first] = indices[first] + index * mask
                done[first] = done[first] + decoded * mask
            else:
                means[first], indices[first], done[first] = mean * mask, index * mask, decoded * mask
        merged = [torch.cat([part[c] for c in sorted(part)], 1) for part in (means, indices, done)]
        return merged[0], merged[1], merged[2] / MEAN_UNIT

    def _rounded(self, r: Tensor, index: Tensor) -> Tensor:
        """Real residuals as whole numbers; index: their scale indices."""
        if self.thresholds is None:
            return torch.floor(r + 0.5)
        magnitude = r.abs()
        level = torch.floor(magnitude)
        threshold = self.thresholds[index.long(), level.clamp_max(RD_LEVELS).long()]
        return torch.copysign(level + (magnitude - level > threshold), r)
