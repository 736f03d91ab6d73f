"""CompressGAN's encoder and mirrored decoder (section 3.2): strided convolutions with residual links, batch norm, ReLU,
a tanh at the end. Channels double with every halving, from `width` at full resolution.

"Skip links between encoder and decoder" would carry the picture past the bitstream, and a decoder has only the file. In
their place stand the residual links inside each stage, which the paper names too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..normalise import norm_layer
from .blocks import HALVINGS, Residual, down, far, ladder_reach, signed, unsigned, up

SPREAD = 8  # the codes' deviation at the start is about 3, so that they outweigh the quantiser's noise from then on


def widths(width: int) -> list[int]:
    """Channels at 1, 1/2, .. 1/16."""
    return [width << i for i in range(HALVINGS + 1)]


class Encoder(nn.Module):
    """Pixels (batch, 3, h, w) to latents (batch, latents, h/16, w/16), in -depth..depth by a tanh where depth is not
    0: a bottleneck of 2 depth + 1 symbols a latent, where Delta is 1."""

    def __init__(self, width: int, latents: int, depth: float = 0.0, norm: str = "batch"):
        super().__init__()
        steps, self.depth = widths(width), depth
        self.reach = far(norm, ladder_reach(2, 2, 1))
        self.enter = nn.Sequential(nn.Conv2d(3, width, 5, padding=2), norm_layer(norm, width), nn.ReLU())
        self.stages = nn.Sequential(
            *(nn.Sequential(down(a, b, norm), Residual(b, norm)) for a, b in zip(steps, steps[1:], strict=False))
        )
        self.out = nn.Conv2d(steps[-1], latents, 3, padding=1)
        with torch.no_grad():
            self.out.weight.mul_(SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        y = self.out(self.stages(self.enter(signed(x))))
        return self.depth * torch.tanh(y / self.depth) if self.depth else y


class Decoder(nn.Module):
    """Latents to pixels 0..255. rise: "transposed" or "nearest", the paper's two ways up. t, realism and noise are not
    looked at."""

    noisy = False

    def __init__(self, width: int, latents: int, rise: str = "transposed", norm: str = "batch"):
        super().__init__()
        steps = widths(width)[::-1]
        pairs = zip(steps, steps[1:], strict=False)
        self.reach = far(norm, ladder_reach(2, 3 if rise == "nearest" else 2, 1))
        self.enter = nn.Sequential(nn.Conv2d(latents, steps[0], 3, padding=1), norm_layer(norm, steps[0]), nn.ReLU())
        self.stages = nn.Sequential(
            *(nn.Sequential(Residual(a, norm), up(a, b, norm, kind=rise)) for a, b in pairs)
        )
        self.out = nn.Conv2d(width, 3, 5, padding=2)

    def forward(self, y: Tensor, t: Tensor, realism: Tensor, noise: Tensor | None = None) -> Tensor:
        return unsigned(torch.tanh(self.out(self._stages(self.enter(y), t))))

    def _stages(self, h: Tensor, t: Tensor) -> Tensor:
        return self.stages(h)
