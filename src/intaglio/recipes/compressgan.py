"""CompressGAN: learned image compression by an encoder, a decoder and a discriminator (Dhabliya, Vij 2024).

    L = lambda_rec |x - x_hat|_1 + lambda_perc VGG12(x, x_hat) + lambda_adv (-log D(x_hat)) + lambda_rate R

From the paper: the strided residual encoder, the mirrored decoder with transposed convolutions (or nearest upsampling,
`rise`), batch norm, ReLU, tanh; noise U(-Delta/2, Delta/2) in the quantiser's place in training; a learned entropy
model with arithmetic coding; L1 (or L2, `distance`); VGG at conv1_2, conv2_2, conv3_3; a discriminator of the whole
picture and of its parts with leaky ReLU and spectral norm; binary cross-entropy (or least squares, `kind`); rate by
Delta and by the number of latent channels. The paper's round(z / Delta) Delta at test is here (round(z / Delta - m) +
m) Delta, with m the mean that the prior tells, in sixteenths: the quantiser's cells lie around what is expected.

The paper leaves open, and here it is: the four lambdas (the L1 in grey levels, the VGG distance relative to the
features' own energy); channels (64, doubling to 1024); 192 latents; Delta, drawn for each picture from 8 to 1/2, so
that one network serves every q; Adam at 1e-4. A Delta twice as large saves one bit a latent and, where quantisation is
fine, doubles the error: so the rate weighs lambda_rate Delta, which every Delta is the best one for. "Skip links
between encoder and decoder" cannot cross a bitstream: residual links inside the stages stand in (nn/systems). "VGG12"
is explained in losses/vgg.py. The tanh, which the paper puts at "the last encoder layer" that "sends out the rebuilt
picture", is the decoder's.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import BadInput
from ..losses.l1 import L1
from ..losses.mse import MSE
from ..nn.codec import Codec
from ..nn.discriminators.global_local import GlobalLocal
from ..nn.systems.blocks import HyperEncoder
from ..nn.systems.compressgan import Decoder, Encoder
from ..train.recipe import Opponent, Outputs, Term
from .paper import Paper, rate


@dataclass(frozen=True)
class CompressGAN(Paper):
    name: str = "compressgan"
    paper: str = "CompressGAN (Dhabliya, Vij 2024)"
    width: int = 64
    latents: int = 192
    hyper: int = 64
    depth: float = 0.0  # latents are held inside -depth..depth by a tanh where it is not 0
    delta: tuple[float, float] = (8.0, 0.5)
    noisy: bool = True
    rise: str = "transposed"  # or "nearest"
    distance: str = "l1"  # between pixels; or "l2", the mean squared error
    lambda_rec: float = 1.0
    lambda_perc: float = 10.0
    lambda_adv: float = 0.5
    lambda_rate: float = 4.0  # at Delta = 1; times bits per pixel
    kind: str = "non-saturating"  # the paper's -log D(x_hat); or "lsgan"
    crop: int = 256
    batch: int = 8

    def network(self) -> Codec:
        m, n = self.scaled(self.latents), self.scaled(self.hyper)
        return Codec(
            self.sizes(m, n),
            Encoder(self.width, m, self.depth),
            HyperEncoder(m, n, n),
            Decoder(self.width, m, self.rise),
            self.delta,
            rounding="nearest",
        )

    def reconstruction(self) -> nn.Module:
        if self.distance not in ("l1", "l2"):
            raise BadInput(f'the reconstruction loss is "l1" or "l2", not {self.distance!r}')
        return L1() if self.distance == "l1" else MSE()

    def rate_weight(self, out: Outputs) -> Tensor:
        return self.lambda_rate * out.extra["delta"]

    def terms(self) -> list[Term]:
        distance = self.reconstruction()
        terms = [
            Term("rate", rate, self.rate_weight),
            Term("reconstruction", lambda out: distance(out.x_hat, out.x), self.lambda_rec),
        ]
        return [*terms, Term("vgg", self.perceived, self.lambda_perc)] if self.lambda_perc else terms

    def modules(self) -> dict[str, nn.Module]:
        return {"vgg": self.vgg} if self.lambda_perc else {}

    def opponents(self) -> dict[str, Opponent]:
        if not self.lambda_adv:
            return {}
        critic = GlobalLocal(width=self.scaled(64), norm=self.critic_norm("spectral"), detail=False)
        return {"critic": Opponent(self.game(critic, self.kind), self.lambda_adv)}


recipe = CompressGAN()
