"""The same patch discriminator at several scales of the picture.

Wang et al. 2018 (pix2pixHD), section 3.2; Agustsson et al. 2019 (extreme compression) use it for image coding. Each
scale has weights of its own; the picture is halved between them.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput
from .judgement import Judgement
from .patch import Patch


def half(x: Tensor) -> Tensor:
    """Every second pixel of a 3x3 mean, sides rounded up: pix2pixHD's pyramid."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


class MultiScale(nn.Module):
    """d(x, latent) -> Judgement of `scales` scales, the finest first. x: (batch, 3, h, w) in 0..255, sides from 64 up.

    The other arguments are those of `Patch`. Three scales with three layers see patches of 70, 140 and 280 pixels.
    """

    def __init__(
        self,
        latents: int = 0,
        width: int = 64,
        layers: int = 3,
        scales: int = 3,
        norm: str = "spectral",
        detail: bool = True,
        stride: int = 16,
    ):
        super().__init__()
        if stride % 2 ** (scales - 1):
            raise BadInput(f"{scales} scales halve a latent {stride} pixels wide to less than a pixel")
        self.scales = nn.ModuleList(
            Patch(latents, width, layers, norm, detail, stride=stride >> s) for s in range(scales)
        )

    def forward(self, x: Tensor, latent: Tensor | None = None) -> Judgement:
        whole = Judgement([], [])
        for i, scale in enumerate(self.scales):
            x = half(x) if i else x
            judged = scale(x, latent)
            whole.logits += judged.logits
            whole.features += judged.features
        return whole
