"""What a recipe tells the loop: the network, its losses with weights, its discriminators, the numbers of the training.

A recipe is a frozen dataclass that derives from `Recipe` and reads like its paper. The loop calls the methods below and
knows no transform, loss or discriminator by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..package import Package
from .data import Photographs
from .draws import Draws
from .game import Game


@dataclass
class Outputs:
    """What a network made of a batch. Pictures are (batch, 3, h, w) on the 0..255 scale."""

    x: Tensor
    x_hat: Tensor
    bits: Tensor  # (batch,) of each picture
    latent: Tensor | None = None  # decoded latents, which may condition a discriminator
    q: Tensor | None = None  # (batch,) step on the quality scale, where the network has one
    realism: Tensor | None = None  # (batch,) position of the dial, where the network has one
    extra: dict[str, Tensor] = field(default_factory=dict)  # whatever else the recipe's own terms need

    @property
    def bpp(self) -> Tensor:
        """Bits per pixel of each picture (batch,)."""
        return self.bits / (self.x.shape[2] * self.x.shape[3])


@dataclass(frozen=True)
class Term:
    """A term of the generator's loss: `value` gives one number a picture, `weight` scales it, for all or for each."""

    name: str
    value: Callable[[Outputs], Tensor]
    weight: float | Callable[[Outputs], Tensor] = 1.0

    def weighted(self, out: Outputs) -> tuple[Tensor, Tensor]:
        """(value, weight times value), both averaged over the batch."""
        value = self.value(out)
        weight = self.weight(out) if callable(self.weight) else self.weight
        return value.mean(), (weight * value).mean()


@dataclass(frozen=True)
class Opponent:
    """A discriminator, its weight in the generator's loss, and what of the outputs is real, fake and the latent."""

    game: Game
    weight: float | Callable[[Outputs], Tensor] = 1.0
    see: Callable[[Outputs], tuple[Tensor, Tensor, Tensor | None]] = lambda out: (out.x, out.x_hat, out.latent)
    counts: Callable[[Outputs], Tensor] | None = None  # (batch,) how much each decoded picture matters to it


@dataclass(frozen=True)
class Recipe:
    """The numbers of a training; a system derives from it, adds its own, and says how to build itself."""

    idle: ClassVar[tuple[str, ...]] = ("target_bpp",)  # inherited numbers that it never reads: they cannot be set
    name: str = ""
    crop: int = 256  # pixels on a side; a multiple of 64
    batch: int = 8  # pictures of one process
    rate: float = 1e-4  # the generator's largest learning rate (Adam)
    betas: tuple[float, float] = (0.9, 0.99)
    warm_up: int = 200  # steps over which the rate rises
    floor: float = 0.0  # share of the rate that is left at the end of the cosine
    clip: float = 1.0  # largest gradient norm
    critic_rate: float = 1e-4  # the discriminators' learning rate
    critic_betas: tuple[float, float] = (0.0, 0.99)
    head_start: int = 0  # first steps in which the discriminators alone learn
    ema: float = 0.999  # decay of the averaged weights that are exported
    recent: float = 9.0  # step n counts as n^(recent - 1) in them, 1: all alike; no longer than 1 / (1 - ema) steps
    zoom: float = 1.0  # crops are up to so many times larger, then shrunk
    colour: float = 0.0  # brightness and channels vary by up to this share
    target_bpp: float | None = None  # a rate that the recipe steers to, watched by the alarms
    width: int = 0  # channels of the first layer, where all others follow from it; 0: nothing scales

    def network(self) -> nn.Module:
        """The network with its initial weights; everything random comes from torch's global generator."""
        raise NotImplementedError

    def crops(self, photographs: Photographs, draws: Draws, size: int = 0) -> Tensor:
        """The pictures of a step (batch, 3, crop, crop), and whatever further channels `outputs` is to see; with a
        size, crops of that size for `strip`, as they are."""
        if size:
            return photographs.crops(draws, size)
        return photographs.crops(draws, self.crop, self.zoom, self.colour)

    def start(self, network: Any, photographs: Photographs, seed: int) -> None:
        """Start values that depend on data; nothing unless a recipe has some."""

    def warm(self, network: Any, source: Path) -> dict:
        """Fill `network` from a package or another stage's checkpoint; returns the card's `training` of what it was."""
        raise NotImplementedError

    def grow(self, network: Any, share: float) -> None:
        """Called before every step, with the share of the run that is over, 0..1; for networks that change in it."""

    def trainable(self, network: Any) -> Iterable[nn.Parameter]:
        """The parameters that the generator's optimiser may change."""
        return network.parameters()

    def compile(self, network: Any) -> None:
        """Compile in place what pays."""
        network.compile()

    def terms(self) -> list[Term]:
        """The losses. Called once; frozen backbones inside are moved by `modules`."""
        raise NotImplementedError

    def modules(self) -> Mapping[str, nn.Module]:
        """Frozen modules inside the terms, to be moved to the device."""
        return {}

    def opponents(self) -> dict[str, Opponent]:
        """The discriminators by name."""
        return {}

    def outputs(self, network: Any, x: Tensor, draws: Draws) -> Outputs:
        """Run the network on pictures x (batch, 3, h, w), with everything random taken from `draws`."""
        raise NotImplementedError

    @torch.no_grad()
    def strip(self, network: Any, x: Tensor) -> list[Tensor]:
        """Columns of the picture strip: x first, then what the network makes of it, each (batch, 3, h, w)."""
        raise NotImplementedError

    def package(self, network: Any, photographs: Photographs, training: dict, pictures: int) -> Package:
        """The model package of a trained network, its tables counted on `pictures` crops."""
        raise NotImplementedError
