"""Stage 1c of the released model: the whole codec learns on, its errors weighed by what VGG-16 sees of them, too.

The squared error alone spends bits where features of VGG, like eyes, hardly look. To the loss of stage 1 comes

    c(q) VGG distance,    c(q) = vgg exp(rise q / 63)

of the picture at realism 0. VGG distances fall about as exp(-2.9 q / 63) with the rate while the normalised squared
error does not, so that a constant weight would be for low rates alone. Encoder, prior and decoder learn together. What
is asked of features is asked for bits: against them the rate counts `thrift` times, or every step q would take many
more of them than in stage 1; some more it still takes (docs/log.md).

Crops are up to twice as large and shrunk (`zoom`): photographs on the web carry the marks of the codec they came
through, and shrunk ones do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..losses.vgg import VGGDistance
from ..nn.codec import STEPS, Codec
from ..train.draws import Draws
from ..train.recipe import Outputs, Term
from .intaglio1 import FULL, Intaglio1, normaliser


@dataclass(frozen=True)
class Perceptual1(Intaglio1):
    """Stage 1c: rate + lambda(q) MSE + c(q) VGG distance at every q. Starts from any stage."""

    name: str = "intaglio1-small-perceptual"
    rate: float = 5e-4
    zoom: float = 2.0
    vgg: float = 0.48  # at q = 0
    rise: float = 3.2
    thrift: float = 2.2  # how much more a bit weighs than in stage 1
    glimpses: int = 4  # pictures of a batch that VGG sees
    glimpse: int = 80  # side of the part of them that it sees, pixels

    @cached_property
    def _vgg(self) -> VGGDistance:
        return VGGDistance(convolutions=7, kind="unit")

    def modules(self) -> Mapping[str, nn.Module]:
        return {"vgg": self._vgg}

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        corner = draws.uniform(2).cpu()  # read before the device has work, for which it would have to wait
        out = super().outputs(network, x, draws)
        out.extra["corner"] = corner
        return out

    def _vgg_weight(self, out: Outputs) -> Tensor:
        assert out.q is not None
        return self.vgg * torch.exp(self.rise / (STEPS - 1) * out.q)

    def _sees_something(self) -> None:
        if self.glimpses < 1 or self.glimpse < 16:
            raise BadInput(f"{self.name}: VGG sees nothing of {self.glimpses} glimpses of {self.glimpse} pixels; set "
                           "at least 1 of 16")

    def _glimpsed(self, out: Outputs) -> Tensor:
        """The VGG distance of a part of the first few pictures; 0 for the others, more for those, so the mean holds."""
        n, side = min(self.glimpses, len(out.x)), min(self.glimpse, out.x.shape[2])
        top, left = (out.extra["corner"][0] * (out.x.shape[2] - side + 1)).long().tolist()
        parts = [p[:n, :, top : top + side, left : left + side] for p in (out.x_hat, out.x)]
        seen = self._vgg(*parts) * (len(out.x) / n)
        return torch.cat([seen, seen.new_zeros(len(out.x) - n)])

    def terms(self) -> list[Term]:
        self._sees_something()
        rate, mse = super().terms()
        rate = Term("rate", rate.value, lambda out: self.thrift * normaliser(out))
        return [rate, mse, Term("vgg", self._glimpsed, self._vgg_weight)]


small = Perceptual1()
full = Perceptual1("intaglio1-perceptual", shape=FULL, crop=256, batch=32, release="intaglio1", glimpses=16,
                   glimpse=256)
