"""Discriminators on the features of frozen networks: Projected GANs (Sauer, Chitta, Muller, Geiger 2021).

Each tap of each backbone is a scale with a small head of its own; only the heads learn. A trained network already
answers to texture, so the heads tell real from decoded within dozens of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput
from ..backbones.mobilenet import MobileNetV2
from ..normalise import conv
from .judgement import Judgement
from .patch import LATENT_CHANNELS, SLOPE, LatentMap

TAPS = ("block_2", "block_5", "block_12", "block_16")  # strides 4 to 32; the few linear channels at 2 tell nothing
SIDE = 128  # of the pictures that features are measured on, pixels
STRIDE = 16  # pixels from one decision to the next, where the features are no coarser


def reference() -> Tensor:
    """Four pictures (4, 3, 128, 128) in 0..255 of noise whose amplitude falls as 1/frequency, as in photographs.

    They are the same everywhere, so that what is measured on them is no matter of data, process or chance.
    """
    noise = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) - 0.5
    f = torch.hypot(torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)[None]).clamp_min(1 / SIDE)
    x = torch.fft.irfft2(torch.fft.rfft2(noise) / f, s=(SIDE, SIDE))
    return (x / x.std() * 50 + 120).clamp(0, 255)


class Head(nn.Module):
    """Features (batch, inputs, h, w) at `stride` pixels to (logit map at `STRIDE` or coarser, features).

    A 1x1 convolution, 3x3 ones of stride 2 down to STRIDE (one of stride 1 where the features are that coarse already),
    a 1x1. Fine features alone say little: in the paper, too, the finer the scale, the more its head takes together.
    """

    def __init__(self, inputs: int, width: int, stride: int, norm: str):
        super().__init__()
        self.convs = nn.ModuleList([conv(norm, inputs, width, 1)])
        while stride < STRIDE:
            self.convs.append(conv(norm, width, width, 3, stride=2, padding=1))
            stride *= 2
        if len(self.convs) == 1:
            self.convs.append(conv(norm, width, width, 3, padding=1))
        self.last = conv(norm, width, 1, 1)

    def forward(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for layer in self.convs:
            z = F.leaky_relu(layer(z), SLOPE)
            features.append(z)
        return self.last(z), features


class Projected(nn.Module):
    """d(x, latent) -> Judgement, one scale a tap, in the backbones' order. x: (batch, 3, h, w) in 0..255, from 64 px.

    backbones: frozen networks, pictures to {tap: features}; MobileNetV2 at TAPS where none is given. latents: channels
    of the latent, resized to each scale; 0 where the discriminator is not told it. width: channels of the heads. mix: a
    fixed random 1x1 convolution before each head, the paper's cross-channel mixing, so that no head can rest on a few
    channels. norm: "spectral" or "none". Features are scaled per channel by what they measure on `reference` pictures.
    """

    def __init__(
        self,
        backbones: Sequence[nn.Module] | None = None,
        latents: int = 0,
        width: int = 64,
        mix: bool = False,
        norm: str = "spectral",
    ):
        super().__init__()
        if norm not in ("spectral", "none"):
            raise BadInput(f'the heads of a projected discriminator take norm "spectral" or "none", not {norm!r}')
        self.backbones = nn.ModuleList([MobileNetV2(TAPS)] if backbones is None else backbones)
        self.map = LatentMap(latents, norm) if latents else None
        self.heads = nn.ModuleList()
        self.mix = mix
        for i, features in enumerate(self._features(reference())):
            channels = features.shape[1]
            self.register_buffer(f"mean_{i}", features.mean((0, 2, 3)).view(1, -1, 1, 1))
            deviation = features.std((0, 2, 3)).view(1, -1, 1, 1)
            # a channel that is silent there may speak elsewhere: it is not blown up beyond the others
            self.register_buffer(f"scale_{i}", 1 / deviation.clamp_min(0.1 * float(deviation.mean()) + 1e-6))
            if mix:
                # rows and columns of unit length on average keep the features' size
                self.register_buffer(f"mix_{i}", torch.randn(channels, channels, 1, 1) * channels**-0.5)
            inputs = channels + LATENT_CHANNELS * bool(latents)
            self.heads.append(Head(inputs, width, SIDE // features.shape[-1], norm))

    def _features(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for backbone in self.backbones:
            taps: Mapping[str, Tensor] = backbone(x)
            found += taps.values()
        return found

    def forward(self, x: Tensor, latent: Tensor | None = None) -> Judgement:
        told = None if self.map is None else self.map.small(latent)
        judgement = Judgement([], [])
        for i, (z, head) in enumerate(zip(self._features(x), self.heads, strict=True)):
            z = (z - getattr(self, f"mean_{i}")) * getattr(self, f"scale_{i}")
            if self.mix:
                z = F.conv2d(z, getattr(self, f"mix_{i}"))
            if told is not None:
                finer = z.shape[2] >= told.shape[2]
                resized = F.interpolate(told, z.shape[2:], mode="nearest" if finer else "area")
                z = torch.cat([z, resized], 1)
            logits, features = head(z)
            judgement.logits.append(logits)
            judgement.features += features
        return judgement
