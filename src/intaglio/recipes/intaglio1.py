"""The released model: one network for every rate, with a realism dial. Two sizes by the same code.

Pixel-unshuffle by 8, depthwise-separable residual blocks at 1/8 and 1/16, 320 latent channels at 1/16, 64 hyper-latent
channels at 1/64, an integer prior of four parallel passes for latents and one of four groups for hyper-latents,
pixel-shuffle out, a small in-loop filter at 1/2; local operations only, so that pictures of any size decode in strips.
Multiplications for each pixel (analysis, synthesis): small at most 10 and 12 thousand, full at most 30 and 40 thousand.
320 latents keep 45.7 dB of a photograph's linear transform (256 keep 41.5, 192 keep 37.4, mean over Kodak), so the
latent width is no ceiling at the highest rates.

Stage 1, fidelity: (bits per pixel + lambda(q) MSE) / sqrt(lambda(q)), q drawn evenly from 0..63 for each picture. Both
terms of the bracket grow about as sqrt(lambda), so every rate weighs alike. In the MSE errors weigh the less the busier
the original is around them (`losses.masking`). Stage 1b goes on with the decoder alone; stage 1c with all of it, and
with what VGG-16 sees (`perceptual1.py`). Stage 2, realism (`realism1.py`), starts from that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..losses.masking import visibility
from ..losses.rate import bits_per_pixel
from ..nn.codec import STEPS, Codec, rate_weight
from ..nn.transforms import Shape
from ..package import Package
from ..train import checkpoint, klt, release, warm
from ..train.data import Photographs
from ..train.draws import Draws
from ..train.recipe import Outputs, Recipe, Term
from ..train.widen import is_smaller, widened

SMALL = Shape()
FULL = Shape(width=256, analysis_blocks=(5, 2), synthesis_blocks=(7, 2), filter=32)
SLOPE = 0.0067  # the lambda at which the normalised loss is rate + lambda MSE itself
BLOCK = 64  # pixels on a side of what one step of a gain map covers


def normaliser(out: Outputs) -> Tensor:
    """sqrt(SLOPE / lambda) of each picture (batch,): what makes every rate weigh alike."""
    return (out.extra["lambda"].mean((1, 2)) / SLOPE).rsqrt()


def weighted_mse(out: Outputs, masking: float) -> Tensor:
    """lambda(q) MSE, lambda following the gain map where q varies inside a picture, errors weighed by their
    `visibility`: (batch,)."""
    error = (out.x_hat.float() - out.x).square().mean(1) * visibility(out.x, masking)
    weight = out.extra["lambda"]
    if weight.shape[-1] > 1:
        weight = weight.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
    return (weight * error).mean((1, 2))


@dataclass(frozen=True)
class Intaglio1(Recipe):
    """Stage 1, fidelity: rate + lambda(q) MSE at every q."""

    idle: ClassVar[tuple[str, ...]] = ("critic_betas", "critic_rate", "head_start", "target_bpp")
    grows: ClassVar[bool] = True  # whether it may start from a smaller size: all of the network learns
    name: str = "intaglio1-small"
    shape: Shape = SMALL
    crop: int = 192
    batch: int = 8
    rate: float = 8e-4
    masking: float = 0.25  # how much less an error weighs where the original is busy: `losses.masking`
    mixed: float = 0.1  # share of batches whose q varies by 64x64 block, as a gain map makes it
    release: str = "intaglio1-small"  # the name of the package

    def network(self) -> Codec:
        return Codec(self.shape)

    def start(self, network: Codec, photographs: Photographs, seed: int) -> None:
        klt.start(network, photographs, seed)

    def warm(self, network: Codec, source: Path) -> dict:
        if source.suffix == ".itgm":
            package = Package.read(source)
            weights, training = warm.state(package), package.card.get("training", {})
        else:
            state = checkpoint.load(source)
            weights, training = state["ema"], state.get("training", {})
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)  # what the source lacks begins alike in every run, so that runs can be averaged
            begun = self.network()
        weights = warm.grouped(begun, weights)
        if not self.grows and (new := is_smaller(begun, weights)):
            raise BadInput(f"{source}: is of a smaller size than {self.name}, which would leave what is new ({new} "
                           "...) as it is; train all of the larger network first: the fidelity or the perceptual stage")
        checkpoint.fill(begun, widened(begun, weights), source)
        network.load_state_dict(begun.state_dict())
        return training

    def compile(self, network: Codec) -> None:
        """The transforms: of the prior's hundreds of small layers the compiler makes minutes."""
        network.analysis.compile()
        network.synthesis.compile()

    def draw_q(self, draws: Draws) -> Tensor:
        """q of a batch: mostly one step a picture (batch, 1, 1); in some batches it varies by 64x64 block."""
        q = draws.integers(STEPS, 1, 1).float()
        if draws.shared() >= self.mixed:
            return q
        n = self.crop // BLOCK
        return torch.where(draws.uniform(n, n) < 0.5, q, draws.integers(STEPS, 1, 1).float())

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        q = self.draw_q(draws).to(x.device)
        shape_y, shape_z = network.noise_shapes(*x.shape[2:])
        noise = draws.uniform(*shape_y).to(x.device), draws.uniform(*shape_z).to(x.device)
        x_hat, bits, latent = network(x, q, None, noise)
        return Outputs(x, x_hat, bits, latent, q.mean((1, 2)), extra={"lambda": rate_weight(q)})

    def terms(self) -> list[Term]:
        return [
            Term("rate", lambda out: bits_per_pixel(out.bits, out.x.shape[2] * out.x.shape[3]), normaliser),
            Term("mse", lambda out: weighted_mse(out, self.masking), normaliser),
        ]

    @torch.no_grad()
    def strip(self, network: Codec, x: Tensor) -> list[Tensor]:
        """x, then at a low and a middle rate the picture at realism 0 and at realism 1."""
        columns = [x]
        for q in (12.0, 28.0):
            for r in (0.0, 1.0):
                columns.append(network(x, x.new_full((len(x), 1, 1), q), x.new_full((1,), r))[0])
        return columns

    def package(self, network: Codec, photographs: Photographs, training: dict, pictures: int) -> Package:
        return release.package(network, self.release, photographs, pictures, training)


small = Intaglio1()
full = Intaglio1("intaglio1", shape=FULL, crop=256, batch=32, release="intaglio1")


@dataclass(frozen=True)
class Decoder1(Intaglio1):
    """Stage 1b: the synthesis alone learns on, from bytes that stay as they are, at twice the pixels a second."""

    grows: ClassVar[bool] = False
    name: str = "intaglio1-small-decoder"

    def trainable(self, network: Codec) -> Iterable[nn.Parameter]:
        return (p for name, p in network.synthesis.named_parameters() if "dial_" not in name)

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        q = self.draw_q(draws).to(x.device)
        with torch.no_grad():
            latent, t, bits = network.code(x, q)
        x_hat = network.synthesis(latent, t, x.new_zeros(1))
        return Outputs(x, x_hat, bits, latent, q.mean((1, 2)), extra={"lambda": rate_weight(q)})

    def terms(self) -> list[Term]:
        return [Term("mse", lambda out: weighted_mse(out, self.masking), normaliser)]

    def compile(self, network: Codec) -> None:
        network.synthesis.compile()


small_decoder = Decoder1()
full_decoder = Decoder1("intaglio1-decoder", shape=FULL, crop=256, batch=32, release="intaglio1")
