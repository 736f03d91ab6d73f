"""Adversarial autoencoder for image compression (Daniel, Olaoye, "Adversarial autoencoders"; after Makhzani, Shlens,
Jaitly, Goodfellow, Frey 2016).

    L = |x - x_hat|_1 + pull (-log D(code / (Delta spread))),     D: is it a draw of N(0, 1), or a code of the encoder?

From the paper: an encoder, a decoder, and a discriminator that "ensures the latent vector distribution matches the
prior distribution", often Gaussian. There is none of pictures.

The paper leaves open, and here it is: the networks (CompressGAN's); 32 latents at 1/16; the prior, N(0, spread^2) of
each independently; the discriminator, convolutional over places, so that neighbours count too; binary cross-entropy.
Codes are rounded straight through for the decoder and judged before they are rounded. With spread 2, a latent takes
at most log2(2 sqrt(2 pi e)) = 3.05 bits, which is what holds the rate; the integer prior learns what is left of
structure. That "sampling the prior and decoding gives pictures" is `sample`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..nn.codec import Codec
from ..nn.discriminators.latent import LatentCritic
from ..train.draws import Draws
from ..train.recipe import Opponent, Outputs
from .autoencoder import Autoencoder


@dataclass(frozen=True)
class AAE(Autoencoder):
    idle: ClassVar[tuple[str, ...]] = ("lambda_adv", "noisy", "target_bpp")
    name: str = "aae"
    paper: str = "Adversarial autoencoders for image compression (Daniel, Olaoye; Makhzani et al. 2016)"
    depth: float = 0.0  # no tanh: the discriminator holds the codes
    spread: float = 2.0  # standard deviation of the prior, in quantiser steps
    pull: float = 5.0
    kind: str = "non-saturating"

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        out = super().outputs(network, x, draws)
        drawn = draws.normal(*network.noise_shapes(*x.shape[2:])[0]).to(x.device)
        assert out.q is not None
        step = 1 / network.gain(out.q[:, None, None])[:, :1, :1, :1]
        extra = out.extra | {"drawn": drawn, "step": step}
        return Outputs(out.x, out.x_hat, out.bits, out.latent, out.q, extra=extra)

    def opponents(self) -> dict[str, Opponent]:
        if not self.pull:
            return {}
        m = self.scaled(self.latents)
        critic = LatentCritic(m, self.scaled(256), self.critic_norm("spectral"))
        game = self.game(critic, self.kind, round=False, unit=1.0)
        return {"prior": Opponent(game, self.pull, self.judged)}

    def judged(self, out: Outputs) -> tuple[Tensor, Tensor, None]:
        """Draws from N(0, 1), the codes in units of the prior, and nothing beside them."""
        return out.extra["drawn"], out.extra["code"] / (self.spread * out.extra["step"]), None

    @torch.no_grad()
    def sample(self, network: Codec, count: int, side: int, seed: int = 0) -> Tensor:
        """Pictures (count, 3, side, side) in 0..255 that the decoder makes of draws from the prior."""
        shape = network.noise_shapes(side, side)[0]
        drawn = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
        step = 1 / network.gain(torch.zeros(count, 1, 1))[:, :1, :1, :1]
        t = torch.zeros(count, 1, 1, 1)  # of q = 0
        return network.synthesis(torch.round(self.spread * drawn) * step, t, torch.zeros(1))


recipe = AAE()
