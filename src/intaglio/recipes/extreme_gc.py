"""Extreme generative compression, global (Mohit, Saxena, Singh; after Agustsson, Tschannen, Mentzer, Timofte, Van Gool
2019, from whom the paper takes its equations).

    min_(e, G) max_D  L_GAN + lambda E[d(x, x')] + beta H(w)            (equation 4)
    L_GAN: f(y) = (y - 1)^2, g(y) = y^2                                 (equation 1: least squares)
    H(w) <= dim(w) log2 L                                               (equation 3)

From the paper: L finite centres, soft-to-hard quantisation, least squares, a multi-scale discriminator, the entropy
of the code in the loss, noise that joins the code; in the conditional form, "the semantic maps are only fed to the
discriminator during period of training": they cost no bit, and the file and the decoder are the same. Rates "around
1/10 bits per pixel": 8 channels of 5 centres are 8 log2(5) / 256 = 0.073 at most, of the padded picture (sides up to
multiples of 64), and no tile of a file takes more than that and 16 bytes (plain.py). The header comes on top.

The paper leaves open, and here it is: the networks, those of Agustsson et al. (60 to 960 channels, nine residual
blocks, instance norm), whose statistics are the picture's, so that pictures decode whole; centres -2..2; feature
matching of weight 10 and lambda = 10 times the squared error on the -1..1 scale, as there; beta, in bits per pixel; 4
channels of noise at 1/16, which the realism dial turns on (above 0) and off (at 0). It is the format's own, a function
of the place and of a seed that the file holds (`intaglio encode --seed`), so that a file always decodes to one picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import BadInput
from ..losses.mse import MSE
from ..nn.codec import Codec
from ..nn.discriminators.multiscale import MultiScale
from ..nn.systems.blocks import HyperEncoder
from ..nn.systems.hific import Encoder, Generator
from ..package import Package
from ..train.data import Photographs
from ..train.draws import Draws
from ..train.recipe import Opponent, Outputs, Term
from .paper import Paper, rate

LABEL_STRIDE = 4  # pixels along a side of what the discriminator sees of a label map


@dataclass(frozen=True)
class ExtremeGC(Paper):
    idle: ClassVar[tuple[str, ...]] = ("glimpse", "noisy", "target_bpp")
    name: str = "extreme-gc"
    paper: str = "Image compression with learning using GANs (Mohit, Saxena, Singh; Agustsson et al. 2019)"
    width: int = 60
    levels: int = 5  # L
    channels: int = 8  # C of the code, whatever the width
    hyper: int = 32
    blocks: int = 9
    norm: str = "instance"
    noise: int = 4
    distortion: float = 10 / 127.5**2  # lambda, of squared grey levels
    beta: float = 1.0
    matching: float = 10.0
    fooling: float = 1.0
    kind: str = "lsgan"
    classes: int = 0  # of the label maps that the discriminator sees; 0: it sees none
    crop: int = 256
    batch: int = 8

    def network(self) -> Codec:
        c, n = self.channels, self.scaled(self.hyper)
        return Codec(
            self.sizes(c, n),
            Encoder(self.width, c, self.norm, "relu"),
            HyperEncoder(c, n, self.scaled(128)),
            Generator(self.width, c, self.blocks, self.norm, "relu", self.noise),
            self.delta,
            self.levels,
            rounding="nearest",
        )

    def crops(self, photographs: Photographs, draws: Draws, size: int = 0) -> Tensor:
        if not self.classes or size:
            return super().crops(photographs, draws, size)
        if not photographs.labelled:
            raise BadInput(f"{self.name} learns from label maps: put NAME.labels.png beside every NAME of --data")
        return photographs.crops(draws, self.crop, self.zoom, self.colour, labels=True)

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        x, labels = x[:, :3], x[:, 3:]
        q = self.q_of(draws).to(x.device)
        latent, t, bits = network.code(x, q)
        noise = draws.normal(1, *x.shape[2:]).to(x.device) if self.noise else None
        x_hat = network.synthesis(latent, t, x.new_ones(1), noise)
        extra = {"labels": self.seen(labels)} if self.classes else {}
        return Outputs(x, x_hat, bits, latent, q[:, 0, 0], extra=extra)

    def seen(self, labels: Tensor) -> Tensor:
        """Label maps (batch, 1, h, w) as shares of every class in squares of LABEL_STRIDE pixels (batch, classes, h/4,
        w/4); labels beyond the classes are of none."""
        each = torch.arange(self.classes, device=labels.device).reshape(1, -1, 1, 1)
        return F.avg_pool2d((labels == each).float(), LABEL_STRIDE)

    def terms(self) -> list[Term]:
        mse = MSE()
        return [
            Term("entropy", rate, self.beta),
            Term("distortion", lambda out: mse(out.x_hat, out.x), self.distortion),
        ]

    def opponents(self) -> dict[str, Opponent]:
        if not self.fooling:
            return {}
        critic = MultiScale(self.classes, self.scaled(64), norm=self.critic_norm("instance"), detail=False,
                            stride=LABEL_STRIDE)  # fmt: skip
        game = self.game(critic, self.kind, self.matching)
        return {"critic": Opponent(game, self.fooling, lambda out: (out.x, out.x_hat, out.extra.get("labels")))}

    def package(self, network: Codec, photographs: Photographs, training: dict, pictures: int) -> Package:
        result = super().package(network, photographs, training, pictures)
        result.card["realism"] = float(self.noise > 0)
        return result


recipe = ExtremeGC()
conditional = ExtremeGC("extreme-gc-labels", classes=12)
