"""What the recipes of the papers' systems share: a width, one quantiser, one rate or a range of steps, a package."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..losses.rate import bits_per_pixel
from ..losses.vgg import VGGDistance
from ..nn.codec import STEPS, Codec, Sizes
from ..package import Package
from ..train import checkpoint, release
from ..train.data import Photographs
from ..train.draws import Draws
from ..train.game import Game
from ..train.recipe import Outputs, Recipe

LEAST = 4  # channels
LIMITS = (
    "Trained as its paper says, to be compared with: no released model. Not for medical diagnosis or evidence: what an "
    "adversarial loss has trained invents detail."
)


def rate(out: Outputs) -> Tensor:
    """Bits per pixel of each picture (batch,)."""
    return bits_per_pixel(out.bits, out.x.shape[2] * out.x.shape[3])


@dataclass(frozen=True)
class Paper(Recipe):
    """A paper's system. `width` is the number of channels that its paper gives its first layer; another number (the
    command line's --width) scales the other channel counts of the networks and discriminators alike. Those that are a
    rate stay: the 8 latents of extreme-gc, the 16 latents and 16 hyper-latents of extreme-sc.

    delta: the quantiser's steps at q = 0 and q = 63; equal ones, as here, are a system of one rate, for which every q
    writes the same file. noisy: whether the decoder trains on noise in the quantiser's place, or on rounded latents.
    """

    width: int = 64
    paper: str = ""  # for the card
    delta: tuple[float, float] = (1.0, 1.0)
    noisy: bool = False
    prior_width: int = 128  # numbers of the integer prior, which stands in for every paper's entropy model
    prior_low: int = 64
    glimpse: int = 0  # side of the part of each picture that VGG sees, pixels; 0 for all of it

    def __post_init__(self) -> None:
        if 0 < self.glimpse < 4:
            raise BadInput(f"{self.name}: VGG sees nothing of {self.glimpse} pixels; set glimpse to 4 or more, or to 0 "
                           "for whole crops")

    def scaled(self, channels: int) -> int:
        """A channel count of the paper at this width. Raises BadInput for none."""
        if channels < 1:
            raise BadInput(f"{self.name}: a layer of {channels} channels carries nothing; set 1 or more")
        paper = next(f.default for f in fields(self) if f.name == "width")
        assert isinstance(paper, int)
        return max(LEAST, round(channels * self.width / paper))

    def sizes(self, latents: int, hyper: int) -> Sizes:
        """The latents' and hyper-latents' channels, as they are, with a prior of this width."""
        if latents < 2:
            raise BadInput(f"{self.name}: {latents} channels of latents cannot be told in two parts; set 2 or more")
        low = min(latents // 2, self.scaled(self.prior_low))
        return Sizes(latents, hyper, self.scaled(self.prior_width), low)

    @cached_property
    def vgg(self) -> VGGDistance:
        """VGG-16 at conv1_2, conv2_2 and conv3_3, each relative to the original's own energy there."""
        return VGGDistance(convolutions=7, kind="relative")

    def perceived(self, out: Outputs) -> Tensor:
        """The VGG distance of each picture, or of its top left `glimpse`: crops are random already."""
        side = self.glimpse or out.x.shape[2]
        distance: Tensor = self.vgg(out.x_hat[:, :, :side, :side], out.x[:, :, :side, :side])
        return distance

    def game(self, discriminator: nn.Module, kind: str, matching: float = 0.0, **options: Any) -> Game:
        """The game against it; of kind "wgan", the one that needs a slope of 1, with the gradient penalty."""
        return Game(discriminator, kind, matching, penalty="wgan-gp" if kind == "wgan" else "none", **options)

    def critic_norm(self, norm: str) -> str:
        """The paper's normalisation in the discriminator; layer norm where its slope is held by the penalty."""
        return "layer" if getattr(self, "kind", "") == "wgan" else norm

    def q_of(self, draws: Draws) -> Tensor:
        """Steps (batch, 1, 1): any, where Delta depends on them."""
        q = draws.integers(STEPS, 1, 1).float()
        return q if self.delta[0] != self.delta[1] else torch.zeros_like(q)

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        q = self.q_of(draws).to(x.device)
        y, z = network.noise_shapes(*x.shape[2:])
        noise = draws.uniform(*y).to(x.device), draws.uniform(*z).to(x.device)
        x_hat, bits, latent = network(x, q, None, noise, self.noisy)
        delta = 1 / network.gain(q)[:, 0, 0, 0]
        return Outputs(x, x_hat, bits, latent, q[:, 0, 0], extra={"delta": delta})

    def warm(self, network: nn.Module, source: Path) -> dict:
        if source.suffix == ".itgm":
            raise BadInput(f"{source}: {self.name} goes on from a checkpoint (last.pt), not from a package")
        state = checkpoint.load(source)
        checkpoint.fill(network, state["ema"], source)
        return state.get("training", {})

    @torch.no_grad()
    def strip(self, network: Any, x: Tensor) -> list[Tensor]:
        """x, then the picture at the coarsest and, where there are others, at the finest step."""
        steps = (0.0,) if self.delta[0] == self.delta[1] else (0.0, STEPS - 1.0)
        return [x, *(network(x, x.new_full((len(x), 1, 1), q), x.new_ones(1))[0] for q in steps)]

    def package(self, network: Any, photographs: Photographs, training: dict, pictures: int) -> Package:
        recipe = {"name": self.name, "paper": self.paper, "width": self.width}
        return release.package(network, self.name, photographs, pictures, training, LIMITS, recipe)
