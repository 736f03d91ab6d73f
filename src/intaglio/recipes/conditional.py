"""A conditional GAN for compression (Daniel, Olaoye, "Conditional GANs"): generator and discriminator are both told
"image content or compression parameters".

The compression parameter is the quantiser's step Delta, which the file names as q and so costs no bit: the decoder's
stages are scaled and shifted by it (a latent of a coarse quantiser is to be trusted less), and the discriminator, which
gets it as a map beside the picture, judges a picture among those of its own rate. The other condition that the paper
names, class labels, is `extreme-gc-labels` (to the discriminator alone) and `extreme-sc` (to both, and in the file).

The paper leaves the networks and the losses open: they are CompressGAN's, but for the discriminator, which is one of
patches alone (spectral norm, 70 pixels), without CompressGAN's look at the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..nn.codec import STEPS, Codec
from ..nn.discriminators.patch import Patch
from ..nn.systems.blocks import HyperEncoder
from ..nn.systems.compressgan import Encoder
from ..nn.systems.conditional import ConditionalDecoder
from ..train.recipe import Opponent, Outputs
from .compressgan import CompressGAN


@dataclass(frozen=True)
class Conditional(CompressGAN):
    name: str = "conditional"
    paper: str = "Conditional GANs for image compression (Daniel, Olaoye)"

    def network(self) -> Codec:
        m, n = self.scaled(self.latents), self.scaled(self.hyper)
        return Codec(
            self.sizes(m, n),
            Encoder(self.width, m, self.depth),
            HyperEncoder(m, n, n),
            ConditionalDecoder(self.width, m, self.rise),
            self.delta,
            rounding="nearest",
        )

    def told(self, out: Outputs) -> Tensor:
        """The parameter as the discriminator gets it: (batch, 1, h/16, w/16) of q / 63 in -4..4."""
        assert out.q is not None and out.latent is not None
        return (8 * out.q / (STEPS - 1) - 4).reshape(-1, 1, 1, 1).expand(-1, 1, *out.latent.shape[2:])

    def opponents(self) -> dict[str, Opponent]:
        if not self.lambda_adv:
            return {}
        critic = Patch(1, self.scaled(64), norm=self.critic_norm("spectral"), detail=False)
        game = self.game(critic, self.kind)
        return {"critic": Opponent(game, self.lambda_adv, lambda out: (out.x, out.x_hat, self.told(out)))}


recipe = Conditional()
