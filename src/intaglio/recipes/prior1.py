"""Stage 1d of the released model: the hyper-analysis and the priors learn on alone, for the rate of latents that stay.

What latents are is left as it is, so pictures stay what they were, but for the fractions of a step by which the means
of the prior move what is decoded. It is for when a bit of hyper-latents has become cheaper, or latents others, than
when the hyper-analysis learnt how much to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..nn.codec import Codec, rate_weight
from ..train.draws import Draws
from ..train.recipe import Outputs, Term
from .intaglio1 import FULL, Intaglio1


@dataclass(frozen=True)
class Prior1(Intaglio1):
    """Stage 1d: the rate alone, by all that does not touch the latents. Starts from any stage."""

    idle: ClassVar[tuple[str, ...]] = (*Intaglio1.idle, "masking")
    name: str = "intaglio1-small-prior"
    crop: int = 512  # 8x8 hyper-latents: most have all their neighbours
    batch: int = 2
    rate: float = 3e-4

    def trainable(self, network: Codec) -> Iterable[nn.Parameter]:
        return [*network.hyper.parameters(), *network.prior.parameters(), network.hyper_scale]

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        q = self.draw_q(draws).to(x.device)
        shape_y, shape_z = network.noise_shapes(*x.shape[2:])
        noise = draws.uniform(*shape_y).to(x.device), draws.uniform(*shape_z).to(x.device)
        with torch.no_grad():
            y = network.analysis(x)
        latent, t, bits = network.code_latents(y, q, noise)
        with torch.no_grad():
            x_hat = network.synthesis(latent, t, x.new_zeros(1))
        return Outputs(x, x_hat, bits, latent.detach(), q.mean((1, 2)), extra={"lambda": rate_weight(q)})

    def terms(self) -> list[Term]:
        return super().terms()[:1]


small = Prior1()
full = Prior1("intaglio1-prior", shape=FULL, batch=8, release="intaglio1")
