"""The prior of the hyper-latents: integers, like that of the latents, and blind to everything but hyper-latents and q.

Hyper-latents are a small picture of their own (1/64 of the sides), smooth from place to place and alike from channel to
channel. They are decoded in groups of channels, each group in four phases over the cells of 2x2 places: first the top
left ones, then the bottom right ones, which see four diagonal neighbours, then the other two, which see all four
direct ones. One small network a group, told which places of it are decoded, gives every hyper-latent a mean in
sixteenths and says how many scale indices wider or narrower it is than its channel is at this q. Symbols are
r = round(z - mean / 16), and what is decoded is z_hat = r + mean / 16.

The last layers begin at zero: then this is the static prior of a scale for each channel and step (Balle et al. 2018).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..latents import DONE, PHASES, SCALES
from .quantised import OUTSIDE, SIGNED, IntBlock, IntConv, floor_clamp, unsigned

MAX_MEAN = 2047  # in sixteenths
MAX_OFFSET = 63


def phases(h: int, w: int) -> Iterator[Tensor]:
    """For each phase, its places: bool (h, w)."""
    rows, columns = torch.arange(h)[:, None] % 2, torch.arange(w) % 2
    for row, column in PHASES:
        yield (rows == row) & (columns == column)


def context(z16: Tensor, q: Tensor, done: Tensor) -> Tensor:
    """What a group sees, as integers: decoded hyper-latents in quarters, 2q - 63, its own decoded places."""
    return torch.cat([floor_clamp(z16 / 4 + 0.5, *SIGNED), q, done], 1)


class Group(nn.Module):
    """Context (batch, hyper + 2, h, w) to (mean in sixteenths, offset of the scale index) of `channels` channels."""

    def __init__(self, hyper: int, width: int, channels: int, blocks: int):
        super().__init__()
        self.enter = IntConv(hyper + 2, width, takes=OUTSIDE)
        self.blocks = nn.Sequential(*[IntBlock(width) for _ in range(blocks)])
        self.mean = IntConv(width, channels, scale=0.0, gives=OUTSIDE)
        self.scale = IntConv(width, channels, scale=0.0, gives=OUTSIDE)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        h = self.blocks(unsigned(self.enter(seen)))
        mean = floor_clamp(self.mean(h), -MAX_MEAN, MAX_MEAN)
        return mean, floor_clamp(self.scale(h), -MAX_OFFSET, MAX_OFFSET)


class HyperPrior(nn.Module):
    """All groups. ends: the channel behind the last one of each group; the last of all is `hyper`."""

    def __init__(self, hyper: int, width: int, ends: tuple[int, ...], blocks: int = 2):
        super().__init__()
        self.spans = list(zip((0, *ends[:-1]), ends, strict=True))
        if ends[-1] != hyper or any(first >= end for first, end in self.spans):
            raise ValueError(f"groups that end at {ends} are not those of {hyper} hyper-latent channels")
        self.groups = nn.ModuleList(Group(hyper, width, end - first, blocks) for first, end in self.spans)

    def forward(
        self, z: Tensor, q: Tensor, base: Tensor, kept: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Teacher forcing. z: real hyper-latents (batch, N, h, w); q: 2q - 63 (batch, 1, h, w); base: scale indices of
        the channels at q (batch, N, 1 or h, 1 or w); kept: (batch, 1, h, w), 1 where hyper-latents are
        coded, or None for all. Returns (mean, scale index, z_hat), each (batch, N, h, w); z_hat is straight-through."""
        base = base.expand_as(z)
        z16 = torch.zeros_like(z)
        found = []
        masks = [places.to(z) for places in phases(*z.shape[2:])]
        for group, (first, end) in zip(self.groups, self.spans, strict=True):
            done = torch.zeros_like(z[:, :1])
            means, indices, own = (torch.zeros_like(z[:, first:end]) for _ in range(3))
            for mask in masks:
                coded = mask if kept is None else mask * kept
                mean16, offset = group(context(z16, q, done))
                index = floor_clamp(base[:, first:end] + offset, 0, SCALES - 1)
                r = z[:, first:end] - mean16 / 16
                decoded = (r + (torch.floor(r + 0.5) - r).detach()) * 16 + mean16
                means, indices, own = means + mean16 / 16 * coded, indices + index * mask, own + decoded * coded
                z16 = torch.cat([z16[:, :first], own, z16[:, end:]], 1)
                done = done + DONE * mask
            found.append((means, indices))
        mean, index = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        return mean, index, z16 / 16
