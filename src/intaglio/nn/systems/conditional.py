"""CompressGAN's decoder, told the compression parameter: scale and shift of every stage follow from t = q / 63."""

from __future__ import annotations

from torch import Tensor, nn

from ..transforms import Modulation
from .blocks import HALVINGS
from .compressgan import Decoder


class ConditionalDecoder(Decoder):
    """Latents (batch, M, h/16, w/16) and t, (batch, 1, 1, 1) or (batch, 1, h/16, w/16), to pixels 0..255."""

    def __init__(self, width: int, latents: int, rise: str = "transposed", norm: str = "batch"):
        super().__init__(width, latents, rise, norm)
        self.told = nn.ModuleList(Modulation(width << HALVINGS - i) for i in range(HALVINGS))

    def _stages(self, h: Tensor, t: Tensor) -> Tensor:
        for i, (told, stage) in enumerate(zip(self.told, self.stages, strict=True)):
            h = stage(told(h, t, 1 << i))
        return h
