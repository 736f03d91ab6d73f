"""Stage 2 of the released model: the realism dial.

Only the dial learns: what is added, in proportion to the realism r, to the weights of the synthesis at 1/8 and of its
entry and exit (`nn.transforms.Dialled`), and the grain. The encoder, the prior and the decoder at r = 0 stay as stage 1
left them: a file is the same bytes whatever its decoder is asked for, and r = 0 stays the least-distorted picture. r is
drawn once a batch: 1 in two of three, else evenly from 0..1. The loss, beside the normalised lambda(q) MSE of stage 1:

    (1 - r + kept r) MSE  +  r (a VGG distance + b MobileNetV2 distance + c texture + d adversarial)

What compares places (the first three) sees the picture without its grain, which could only make it worse there; the
texture distance teaches the grain alone how much is missing where; the discriminator sees what people see.
The dial is a path through the space of networks, trained all along it, and not a blend of two pictures.

The discriminator looks through frozen features (Projected GANs, Sauer et al. 2021): a plain patch discriminator stayed
at chance against this decoder, where heads on features learn within dozens of steps. It learns alone first
(`head_start`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..losses.mobilenet import MobileNetDistance
from ..losses.texture import TextureDistance
from ..losses.vgg import VGGDistance
from ..nn.codec import STEPS, Codec, rate_weight
from ..nn.discriminators.projected import Projected
from ..nn.transforms import pixels
from ..package import Package
from ..train import release
from ..train.data import Photographs
from ..train.draws import Draws
from ..train.game import Game
from ..train.recipe import Opponent, Outputs, Term
from .intaglio1 import FULL, Intaglio1, normaliser, weighted_mse


def projected(latents: int) -> Projected:
    """The released discriminator: heads on MobileNetV2, told the latent."""
    return Projected(latents=latents)


def dial(out: Outputs) -> Tensor:
    """r of each picture (batch,)."""
    assert out.realism is not None
    return out.realism


@dataclass(frozen=True)
class Realism1(Intaglio1):
    """Stage 2, realism: the synthesis learns to print at every position of the dial, from the same bytes."""

    name: str = "intaglio1-small-realism"
    crop: int = 128
    batch: int = 6
    rate: float = 5e-4
    kept: float = 0.25  # share of the MSE's weight that is left at r = 1
    vgg: float = 0.6  # weights at r = 1, of losses that are relative to the features' own energy
    mobilenet: float = 0.2
    texture: float = 1.0
    grain: float = 0.012  # strength at the start, of the range of a pixel: at 0 no slope would tell it to grow
    fooling: float = 0.6
    kind: str = "hinge"
    critic: Callable[[int], nn.Module] = projected  # from the channels of the latent
    glimpses: int = 4  # pictures of a batch that VGG sees
    glimpse: int = 80  # side of the part of them that it sees, pixels
    critic_rate: float = 5e-4
    head_start: int = 100

    @cached_property
    def _vgg(self) -> VGGDistance:
        return VGGDistance(convolutions=7, kind="unit")

    @cached_property
    def _mobilenet(self) -> MobileNetDistance:
        return MobileNetDistance(taps=("block_2", "block_5", "block_12"))

    @cached_property
    def _texture(self) -> TextureDistance:
        return TextureDistance()

    def modules(self) -> Mapping[str, nn.Module]:
        return {"vgg": self._vgg, "mobilenet": self._mobilenet, "texture": self._texture}

    def warm(self, network: Codec, source: Path) -> dict:
        training = super().warm(network, source)
        grain = network.synthesis.grain
        if not grain.dial_weight.any() and not grain.dial_bias.any():
            nn.init.constant_(grain.dial_bias, self.grain)
        return training

    def start(self, network: Codec, photographs: Photographs, seed: int) -> None:
        raise BadInput(f"{self.name} is a second stage: give the first one's package or checkpoint with --warm")

    def trainable(self, network: Codec) -> Iterable[nn.Parameter]:
        return (p for name, p in network.synthesis.named_parameters() if "dial_" in name)

    def compile(self, network: Codec) -> None:
        network.synthesis.parts = torch.compile(network.synthesis.parts)

    def draw_q(self, draws: Draws) -> Tensor:
        """The smaller of two steps, (batch, 1, 1): the fewer the bytes, the more there is to invent."""
        return draws.integers(STEPS, 1, 1, 2).amin(-1).float()

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        q = self.draw_q(draws).to(x.device)
        r = 1.0 if draws.shared() < 2 / 3 else draws.shared()
        corner = draws.uniform(2).to(x.device)
        with torch.no_grad():
            latent, t, bits = network.code(x, q)
        noise = draws.normal(1, *x.shape[2:]).to(x.device)
        blocks, grain = network.synthesis.parts(latent, t, x.new_full((1,), r), noise)
        plain = pixels(blocks)
        extra = {"lambda": rate_weight(q), "corner": corner, "grained": pixels(blocks + grain),
                 "taught": pixels(blocks.detach() + grain)}
        return Outputs(x, plain, bits, latent, q[:, 0, 0], x.new_full((len(x),), r), extra)

    def _shifted(self, out: Outputs, x_hat: Tensor) -> tuple[Tensor, Tensor]:
        """(x, x_hat) from a random pixel of the first 8x8 on: networks with strides look at a grid of their own, and a
        decoder that always knows where it lies hides its errors between its lines, where people see them."""
        top, left = (8 * out.extra["corner"][-1]).long().tolist()
        return out.x[:, :, top:, left:], x_hat[:, :, top:, left:]

    def _judged(self, out: Outputs) -> tuple[Tensor, Tensor, Tensor | None]:
        return *self._shifted(out, out.extra["grained"]), out.latent

    def _mobilenet_distance(self, out: Outputs) -> Tensor:
        x, x_hat = self._shifted(out, out.x_hat)
        return self._mobilenet(x_hat, x)

    def _texture_distance(self, out: Outputs) -> Tensor:
        return self._texture(out.extra["taught"], out.x)

    def _glimpsed(self, out: Outputs) -> Tensor:
        """The VGG distance of a part of the first few pictures; 0 for the others, more for those, so the mean holds."""
        n, side = min(self.glimpses, len(out.x)), self.glimpse
        top, left = (out.extra["corner"][0] * (out.x.shape[2] - side + 1)).long().tolist()
        parts = [p[:n, :, top : top + side, left : left + side] for p in (out.x_hat, out.x)]
        seen = self._vgg(*parts) * (len(out.x) / n)
        return torch.cat([seen, seen.new_zeros(len(out.x) - n)])

    def terms(self) -> list[Term]:
        return [
            Term("mse", weighted_mse, lambda out: normaliser(out) * (1 - (1 - self.kept) * dial(out))),
            Term("vgg", self._glimpsed, lambda out: self.vgg * dial(out)),
            Term("mobilenet", self._mobilenet_distance, lambda out: self.mobilenet * dial(out)),
            Term("texture", self._texture_distance, lambda out: self.texture * dial(out)),
        ]

    def opponents(self) -> dict[str, Opponent]:
        if not self.fooling:
            return {}
        game = Game(self.critic(self.shape.latents), self.kind)
        return {"critic": Opponent(game, lambda out: self.fooling * dial(out), self._judged, dial)}

    def package(self, network: Codec, photographs: Photographs, training: dict, pictures: int) -> Package:
        return release.package(network, self.release, photographs, pictures, training, release.REALISM_LIMITS)


small = Realism1()
full = Realism1("intaglio1-realism", shape=FULL, crop=256, batch=16, glimpses=16, glimpse=256, release="intaglio1")
