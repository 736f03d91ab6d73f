"""Progressive growing with attention in the bottleneck (Daniel, Olaoye, "Progressive growing GANs" and "High-fidelity
image compression": "attention mechanisms and progressive growing techniques"; after Karras, Aila, Laine, Lehtinen
2018).

"Starts with low-resolution images and progressively increases the resolution as training progresses": the decoder
shows 1/8 of the resolution first; then 1/4, 1/2 and all of it, each faded in over a part of the run (`stays` and
`fades`). The losses and the discriminator see the original at the resolution of the moment.

The paper leaves open, and here it is: the schedule, in shares of the run, so that it fits any time box; the losses
and their weights, CompressGAN's; ChannelNorm (Karras et al. normalise each pixel's features likewise); the
discriminator, of patches at the full size from the start, to which coarse pictures are shown in squares: both sides
grow by what they see, not by layers of their own. Attention looks at the whole picture, so a file decodes whole, up
to the runtime's limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from ..errors import BadInput
from ..nn.codec import Codec
from ..nn.discriminators.patch import Patch
from ..nn.systems.blocks import HALVINGS, HyperEncoder
from ..nn.systems.progressive import Decoder, Encoder, seen_at
from ..train.draws import Draws
from ..train.recipe import Opponent, Outputs
from .compressgan import CompressGAN


@dataclass(frozen=True)
class Progressive(CompressGAN):
    idle: ClassVar[tuple[str, ...]] = ("depth", "rise", "target_bpp")
    name: str = "progressive"
    paper: str = "Progressive growing GANs for image compression (Daniel, Olaoye; Karras et al. 2018)"
    first: int = 1  # the level at the start: 1/8 of the resolution
    stays: float = 0.1  # share of the run at each level before the next fades in
    fades: float = 0.1  # share of the run that a fade takes; what is left after the last one is at full resolution

    def network(self) -> Codec:
        if not (0 <= self.first <= HALVINGS and self.fades > 0):
            raise BadInput(f"{self.name}: starts at level {self.first} and fades for {self.fades} of the run; set "
                           f"first to 0..{HALVINGS} and fades above 0")
        m, n = self.scaled(self.latents), self.scaled(self.hyper)
        return Codec(
            self.sizes(m, n), Encoder(self.width, m), HyperEncoder(m, n, n), Decoder(self.width, m), self.delta,
            rounding="nearest",
        )

    def level(self, share: float) -> float:
        """Of the decoder after a share of the run: first .. 4, a whole number between fades."""
        level = float(self.first)
        for i in range(HALVINGS - self.first):
            start = i * (self.stays + self.fades) + self.stays
            level += min(1.0, max(0.0, (share - start) / self.fades))
        return level

    def grow(self, network: Codec, share: float) -> None:
        network.synthesis.level = self.level(share)

    def outputs(self, network: Codec, x: Tensor, draws: Draws) -> Outputs:
        out = super().outputs(network, x, draws)
        return replace(out, x=seen_at(x, network.synthesis.level))

    def opponents(self) -> dict[str, Opponent]:
        if not self.lambda_adv:
            return {}
        critic = Patch(width=self.scaled(64), norm=self.critic_norm("spectral"), detail=False)
        return {"critic": Opponent(self.game(critic, self.kind), self.lambda_adv)}


recipe = Progressive()
