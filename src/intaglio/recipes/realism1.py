"""Stage 2 of the released model: the realism dial.

Only the dial learns: what is added, in proportion to the realism r, to the weights of the synthesis (`nn.transforms.
Dialled`). The encoder, the prior and the decoder at r = 0 stay as the stages before left them: a file is the same bytes
whatever its decoder is asked for, and r = 0 stays the least-distorted picture. r is drawn once a batch: 1 in two of
three, else evenly from 0..1. The loss, beside the normalised lambda(q) MSE of stage 1:

    MSE  +  r (a(q) VGG distance + b MobileNetV2 distance + c(q) adversarial + d lattice + e speckle)

The dial is a path through the space of networks, trained all along it, and not a blend of two pictures.

The whole synthesis has a dial, the layers at 1/8 too, which print 8x8 pixels from one place and so may learn to draw
the same dots into every square of flat places: the lattice term (`losses.lattice`) holds those down, the speckle term
(`losses.speckle`) dots that repeat nowhere, and the squared error, which counts most on smooth ground
(`losses.masking`), holds colours and contrast. The critic is a few small heads on the features of MobileNetV2 (Sauer et
al. 2021), told the latent; it sees luma, and learns alone first (`head_start`). Other architectures and normalisations
at the same budget, and a dial on the filter alone: `runs/ablate.sh`, docs/log.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..losses.lattice import lattice
from ..losses.luma import luma
from ..losses.mobilenet import MobileNetDistance
from ..losses.speckle import speckle
from ..nn.codec import STEPS, Codec, rate_weight
from ..nn.discriminators.projected import Projected
from ..train.data import Photographs
from ..train.draws import Draws
from ..train.game import Game
from ..train.recipe import Opponent, Outputs, Term
from .intaglio1 import FULL, normaliser, weighted_mse
from .perceptual1 import Perceptual1


def projected(latents: int) -> Projected:
    """The released discriminator: heads on the features of MobileNetV2, told the latent."""
    return Projected(latents=latents)


def dial(out: Outputs) -> Tensor:
    """r of each picture (batch,)."""
    assert out.realism is not None
    return out.realism


@dataclass(frozen=True)
class Realism1(Perceptual1):
    """Stage 2, realism: the synthesis learns to print at every position of the dial, from the same bytes."""

    idle: ClassVar[tuple[str, ...]] = ("mixed", "target_bpp", "thrift")
    grows: ClassVar[bool] = False  # the dial alone learns
    name: str = "intaglio1-small-realism"
    crop: int = 128
    batch: int = 6
    rate: float = 1e-3
    glimpses: int = 6
    glimpse: int = 96
    dialled: str = ""  # the part of the synthesis whose dial learns, such as "filter"; "" for all of it
    vgg: float = 6.0  # weights at r = 1, of losses that are relative to the features' own energy
    rise: float = 3.8
    mobilenet: float = 0.6
    lattice: float = 1.0  # in grey levels squared
    speckle: float = 3.0
    fooling: float = 2.2  # at q = 0
    fade: float = 3.2  # it falls as exp(-fade q / 63), the root of the squared error by 1.76: less is left to invent
    kind: str = "non-saturating"
    critic: Callable[[int], nn.Module] = projected  # from the channels of the latent
    critic_rate: float = 5e-4
    head_start: int = 100

    @cached_property
    def _mobilenet(self) -> MobileNetDistance:
        return MobileNetDistance(taps=("block_2", "block_5", "block_12", "block_16"))

    def modules(self) -> Mapping[str, nn.Module]:
        return {"vgg": self._vgg, "mobilenet": self._mobilenet}

    def start(self, network: Codec, photographs: Photographs, seed: int) -> None:
        raise BadInput(f"{self.name} is a second stage: give the first one's package or checkpoint with --warm")

    def trainable(self, network: Codec) -> Iterable[nn.Parameter]:
        of = network.synthesis.named_parameters()
        return (p for name, p in of if name.startswith(self.dialled) and "dial_" in name)

    def compile(self, network: Codec) -> None:
        network.synthesis.compile()

    def draw_q(self, draws: Draws) -> Tensor:
        """The smaller of two steps, (batch, 1, 1): the fewer the bytes, the more there is to invent."""
        return draws.integers(STEPS, 1, 1, 2).amin(-1).float()

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        q = self.draw_q(draws).to(x.device)
        r = 1.0 if draws.shared() < 2 / 3 else draws.shared()
        corner = draws.uniform(2).cpu()  # as in stage 1c
        with torch.no_grad():
            latent, t, bits = network.code(x, q)
        x_hat = network.synthesis(latent, t, x.new_full((1,), r))
        extra = {"lambda": rate_weight(q), "corner": corner}
        return Outputs(x, x_hat, bits, latent, q[:, 0, 0], x.new_full((len(x),), r), extra)

    def _shifted(self, out: Outputs) -> tuple[Tensor, Tensor]:
        """(x, x_hat) from a random pixel of the first 8x8 on: networks with strides look at a grid of their own, and a
        decoder that always knows where it lies hides its errors between its lines, where people see them."""
        top, left = (8 * out.extra["corner"][-1]).long().tolist()
        return out.x[:, :, top:, left:], out.x_hat[:, :, top:, left:]

    def _judged(self, out: Outputs) -> tuple[Tensor, Tensor, Tensor | None]:
        """Luma in three equal channels: a critic that sees colours asks for coloured dots along hard edges."""
        x, x_hat = self._shifted(out)
        return luma(x).expand_as(x), luma(x_hat).expand_as(x_hat), out.latent

    def _mobilenet_distance(self, out: Outputs) -> Tensor:
        x, x_hat = self._shifted(out)
        return self._mobilenet(x_hat, x)

    def _fooling(self, out: Outputs) -> Tensor:
        assert out.q is not None
        return self.fooling * torch.exp(-self.fade / (STEPS - 1) * out.q) * dial(out)

    def terms(self) -> list[Term]:
        self._sees_something()
        return [
            Term("mse", lambda out: weighted_mse(out, self.masking), normaliser),
            Term("vgg", self._glimpsed, lambda out: self._vgg_weight(out) * dial(out)),
            Term("mobilenet", self._mobilenet_distance, lambda out: self.mobilenet * dial(out)),
            Term("lattice", lambda out: lattice(out.x_hat, out.x), lambda out: self.lattice * dial(out)),
            Term("speckle", lambda out: speckle(out.x_hat, out.x), lambda out: self.speckle * dial(out)),
        ]

    def opponents(self) -> dict[str, Opponent]:
        if not self.fooling:
            return {}
        game = Game(self.critic(self.shape.latents), self.kind)
        return {"critic": Opponent(game, self._fooling, self._judged, dial)}


small = Realism1()
full = Realism1("intaglio1-realism", shape=FULL, crop=256, batch=16, glimpses=16, glimpse=256, release="intaglio1")
