"""A patch discriminator: every logit judges one patch of the picture, as large as the receptive field.

Isola et al. 2017 (PatchGAN), conditioned on the decoded latent as in HiFiC (Mentzer et al. 2020, figure 2): the latent
goes through a 3x3 convolution to 12 channels, is repeated up to the picture's size and joins it as further channels.

What it looks at matters more than how deep it is. Decoded pictures differ from real ones in how much fine detail
stands beside the coarser one, while the amount itself varies a hundredfold from picture to picture; a small network
that sees pixels alone stays at chance for hundreds of steps. So the picture enters twice: as it is, and as `contrast`,
its detail in units of the contrast around it. `detail=False` gives the papers' input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput
from ..normalise import conv, norm_layer
from .judgement import Judgement

SLOPE = 0.2  # of the leaky ReLU
MOST = 512  # channels
LATENT_CHANNELS = 12
KERNEL = 4


def box(x: Tensor, size: int) -> Tensor:
    """Mean over size x size pixels around each one (size odd), over those inside the picture at its border."""
    return F.avg_pool2d(x, size, 1, size // 2, count_include_pad=False)


def contrast(x: Tensor, floor: float = 1.0) -> Tensor:
    """What a pixel adds to its surroundings, in units of the contrast there: (batch, 3, h, w) to the same shape.

    d = x - mean over 5x5; the result is d / sqrt(mean of d^2 over 9x9 and the three colours + floor^2). x and the floor
    are in grey levels; the floor bounds the slope, so that flat surfaces are not all noise. Jarrett et al. 2009,
    "What is the best multi-stage architecture for object recognition?", section 2.1, with boxes as windows.
    """
    x = x.float()
    d = x - box(x, 5)
    return d * torch.rsqrt(box(d.square().mean(1, keepdim=True), 9) + floor**2)


def receptive_field(layers: int, kernel: int = KERNEL) -> int:
    """Side of the patch, in pixels entering the trunk, that one logit of `Trunk` judges: 70 for three layers."""
    side = 1
    for stride in (1, 1, *[2] * layers):  # from the logit back to the picture
        side = (side - 1) * stride + kernel
    return side


class LatentMap(nn.Module):
    """Decoded latents (batch, M, h/16, w/16) to `LATENT_CHANNELS` channels of the picture's size h x w.

    Latents enter as sign(y) log(1 + |y|): they span orders of magnitude, and would drown the picture beside them.
    """

    def __init__(self, latents: int, norm: str = "spectral"):
        super().__init__()
        self.latents = latents
        self.conv = conv(norm, latents, LATENT_CHANNELS, 3, padding=1)

    def small(self, latent: Tensor | None) -> Tensor:
        """At the latent's own size. Raises BadInput where there is none, or of another number of channels."""
        if latent is None or latent.shape[1] != self.latents:
            given = "none" if latent is None else f"{latent.shape[1]} channels"
            raise BadInput(f"this discriminator judges a picture by its latent of {self.latents} channels, not {given}")
        return F.leaky_relu(self.conv(torch.sign(latent) * torch.log1p(latent.abs())), SLOPE)

    def forward(self, latent: Tensor | None, size: tuple[int, int], stride: int) -> Tensor:
        """`stride`: how many pixels (of the size asked for) a latent is wide. What is beyond the border is cut."""
        small = self.small(latent)
        if small.shape[-2] * stride < size[0] or small.shape[-1] * stride < size[1]:
            raise BadInput(
                f"a latent of {small.shape[-2]} x {small.shape[-1]} with a stride of {stride} covers no picture of "
                f"{size[0]} x {size[1]}"
            )
        large = small.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
        return large[:, :, : size[0], : size[1]]


class Entry(nn.Module):
    """Pictures (batch, 3, h, w) in 0..255, and latents, to what a trunk sees: (batch, `channels`, h/u, w/u).

    latents: how many channels the latent has, 0 for a discriminator that is not told it (it is then ignored). detail:
    whether `contrast` stands beside the pixels. unshuffle u: u x u pixels become channels, the picture being padded by
    its edge to a multiple. stride: how many pixels a latent is wide.
    """

    def __init__(
        self, latents: int = 0, norm: str = "spectral", detail: bool = True, unshuffle: int = 1, stride: int = 16
    ):
        super().__init__()
        if stride % unshuffle:
            raise BadInput(f"pixels cannot be grouped by {unshuffle} where a latent is {stride} wide: no multiple")
        self.map = LatentMap(latents, norm) if latents else None
        self.detail, self.unshuffle, self.stride = detail, unshuffle, stride
        self.channels = 3 * (1 + detail) * unshuffle**2 + LATENT_CHANNELS * bool(latents)

    def forward(self, x: Tensor, latent: Tensor | None = None) -> Tensor:
        u = self.unshuffle
        parts = [x * (1 / 127.5) - 1]
        if self.detail:
            parts.append(contrast(x))
        z = torch.cat(parts, 1)
        if u > 1:
            z = F.pixel_unshuffle(F.pad(z, (0, -z.shape[3] % u, 0, -z.shape[2] % u), mode="replicate"), u)
        if self.map is None:
            return z
        return torch.cat([z, self.map(latent, (z.shape[2], z.shape[3]), self.stride // u)], 1)


class Trunk(nn.Module):
    """`layers` 4x4 convolutions of stride 2, one of stride 1, and one to the logit; channels double up to 512.

    (batch, channels, h, w) to (logits (batch, 1, h', w'), features), h' = floor(h / 2^layers). The first and the last
    convolution are not followed by a normalisation of activations (Radford et al. 2016).
    """

    def __init__(self, channels: int, width: int, layers: int, norm: str = "spectral"):
        super().__init__()
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for i in range(layers + 1):
            padding = {"stride": 2, "padding": 1} if i < layers else {}
            self.convs.append(conv(norm, channels, width, KERNEL, **padding))
            self.norms.append(norm_layer(norm, width) if i else nn.Identity())
            channels, width = width, min(2 * width, MOST)
        self.last = conv(norm, channels, 1, KERNEL)
        self.layers = layers

    def forward(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for i, (layer, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            # an even kernel cannot be centred: one before, two behind keeps the size
            z = F.leaky_relu(norm(layer(z if i < self.layers else F.pad(z, (1, 2, 1, 2)))), SLOPE)
            features.append(z)
        return self.last(F.pad(z, (1, 2, 1, 2))), features


class Patch(nn.Module):
    """d(x, latent) -> Judgement of one scale. x: (batch, 3, h, w) in 0..255, any sides from 64 pixels up.

    width: channels of the first layer. norm: "spectral" as in HiFiC, or any of `normalise.KINDS`. The other arguments
    are those of `Entry` and `Trunk`; HiFiC's discriminator is Patch(220, detail=False).
    """

    def __init__(
        self,
        latents: int = 0,
        width: int = 64,
        layers: int = 3,
        norm: str = "spectral",
        detail: bool = True,
        unshuffle: int = 1,
        stride: int = 16,
    ):
        super().__init__()
        self.entry = Entry(latents, norm, detail, unshuffle, stride)
        self.trunk = Trunk(self.entry.channels, width, layers, norm)

    def forward(self, x: Tensor, latent: Tensor | None = None) -> Judgement:
        logits, features = self.trunk(self.entry(x, latent))
        return Judgement([logits], features)
