"""The autoencoder of the CompressGAN paper's tables: its networks without discriminator, VGG and rate.

    L = |x - x_hat|_1

The paper names the baseline and gives its figures (tables 2 and 3), and nothing of how it is made. Here its rate is set
by the bottleneck alone, as its section 3.2 B says: by the number of latent channels and by how finely each is
quantised, between the -4 and 4 in which a tanh holds it. Rounding passes gradients straight through. The prior learns
what the codes are like, and the codes learn nothing of the prior: no gradient of the rate reaches the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..nn.codec import Codec
from ..train.draws import Draws
from ..train.recipe import Outputs
from .compressgan import CompressGAN


@dataclass(frozen=True)
class Autoencoder(CompressGAN):
    idle: ClassVar[tuple[str, ...]] = ("noisy", "target_bpp")
    name: str = "autoencoder"
    paper: str = "the autoencoder baseline of CompressGAN (Dhabliya, Vij 2024)"
    latents: int = 32
    depth: float = 4.0
    delta: tuple[float, float] = (1.0, 1.0)
    noisy: bool = False
    lambda_perc: float = 0.0
    lambda_adv: float = 0.0
    lambda_rate: float = 1.0

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        q = self.q_of(draws).to(x.device)
        y = network.analysis(x)
        latent, t, _ = network.code_latents(y, q)
        _, _, bits = network.code_latents(y.detach(), q)
        return Outputs(x, network.synthesis(latent, t, q.new_zeros(1)), bits, latent, q[:, 0, 0],
                       extra={"delta": q.new_ones(len(x)), "code": y})  # fmt: skip


recipe = Autoencoder()
