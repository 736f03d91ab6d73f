"""High-fidelity generative image compression, at three rates (Suresh, Thivya, Anand; after Mentzer, Toderici,
Tschannen, Agustsson 2020, HiFiC, whose equations, architecture and names the paper takes over).

    L_EGP = zeta' r(y) + k_M MSE + k_P d_P - beta log D(x', y)         (equation 6)
    zeta' = zeta(a) where r(y) > r_t, else zeta(b)

From the paper: the encoder from 60 to 960 channels, nine residual blocks of 960, ChannelNorm, leaky ReLU of 0.2, 220
latents, straight-through rounding for the generator and noise for the rate, the single-scale patch discriminator with
spectral norm that sees the latent through 12 channels repeated 16 times, the non-saturating loss, the rate target with
two multipliers. Unlike there, the discriminator gets the latent y as sign(y) log(1 + |y|) (nn/discriminators/patch.py).

The paper leaves every weight open; here they are HiFiC's: k_M = 0.075 / 32 of squared grey levels, k_P = 1, beta =
0.15, targets of 0.14, 0.30 and 0.45 bits per pixel with zeta(a) = 2, 1, 1/2 and zeta(b) = 1/16. d_P is LPIPS there,
whose weights not everyone has: "vgg" is the VGG distance relative to the features' own energy, "lpips" the original.
The hyperprior has 320 channels and HiFiC's three convolutions; its synthesis is the integer prior, so that files
decode alike everywhere. As in HiFiC's code, the rate of rounded codes is held against the target, and that of noisy
ones has the gradient. HiFiC trains long without the discriminator first: `beta=0.0`, and --warm with its checkpoint
then.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..losses.lpips import LPIPS
from ..losses.mse import MSE
from ..losses.rate_target import RateTarget
from ..nn.codec import Codec
from ..nn.discriminators.patch import Patch
from ..nn.systems.blocks import HyperEncoder
from ..nn.systems.hific import Encoder, Generator
from ..train.draws import Draws
from ..train.recipe import Opponent, Outputs, Term
from .paper import Paper, rate


@dataclass(frozen=True)
class HiFiC(Paper):
    idle: ClassVar[tuple[str, ...]] = ("noisy",)
    name: str = "hific-mi"
    paper: str = "High-fidelity generative image compression (Suresh, Thivya, Anand; Mentzer et al. 2020)"
    width: int = 60
    latents: int = 220
    hyper: int = 320
    blocks: int = 9
    norm: str = "channel"
    target_bpp: float | None = 0.30
    zeta_a: float = 1.0
    zeta_b: float = 1 / 16
    k_m: float = 0.075 / 32
    k_p: float = 1.0
    perceptual: str = "vgg"  # or "lpips"
    beta: float = 0.15
    kind: str = "non-saturating"
    crop: int = 256
    batch: int = 8

    def network(self) -> Codec:
        m, n = self.scaled(self.latents), self.scaled(self.hyper)
        return Codec(
            self.sizes(m, n),
            Encoder(self.width, m, self.norm),
            HyperEncoder(m, n, n),
            Generator(self.width, m, self.blocks, self.norm),
            self.delta,
            rounding="nearest",
        )

    @cached_property
    def target(self) -> RateTarget:
        assert self.target_bpp is not None
        return RateTarget(self.target_bpp, self.zeta_a, self.zeta_b)

    @cached_property
    def lpips(self) -> LPIPS:
        return LPIPS("alex")

    def d_p(self, out: Outputs) -> Tensor:
        return self.perceived(out) if self.perceptual == "vgg" else self.lpips(out.x_hat, out.x)

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        q = self.q_of(draws).to(x.device)
        noise = tuple(draws.uniform(*shape).to(x.device) for shape in network.noise_shapes(*x.shape[2:]))
        y = network.analysis(x)
        latent, t, bits = network.code_latents(y, q, (noise[0], noise[1]))
        with torch.no_grad():  # what a file would take: at low rates, noise costs a good deal more
            written = network.code_latents(y, q)[2] / (x.shape[2] * x.shape[3])
        return Outputs(x, network.synthesis(latent, t, q.new_zeros(1)), bits, latent, q[:, 0, 0],
                       extra={"written": written})  # fmt: skip

    def terms(self) -> list[Term]:
        if self.perceptual not in ("vgg", "lpips"):
            raise BadInput(f'd_P is "vgg" or "lpips", not {self.perceptual!r}')
        target = self.target
        mse = MSE()
        terms = [
            Term("rate", rate, lambda out: target(out.extra["written"])),
            Term("mse", lambda out: mse(out.x_hat, out.x), self.k_m),
        ]
        return [*terms, Term(self.perceptual, self.d_p, self.k_p)] if self.k_p else terms

    def modules(self) -> dict[str, nn.Module]:
        return {self.perceptual: self.vgg if self.perceptual == "vgg" else self.lpips} if self.k_p else {}

    def opponents(self) -> dict[str, Opponent]:
        if not self.beta:
            return {}
        critic = Patch(self.scaled(self.latents), self.scaled(64), norm=self.critic_norm("spectral"), detail=False)
        return {"critic": Opponent(self.game(critic, self.kind), self.beta)}


low = HiFiC("hific-lo", target_bpp=0.14, zeta_a=2.0)
medium = HiFiC()
high = HiFiC("hific-hi", target_bpp=0.45, zeta_a=0.5)
