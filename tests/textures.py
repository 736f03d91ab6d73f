"""Pictures that need no files: textures of random scale and contrast, and two ways to lose their detail."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from intaglio.nn.backbones.frozen import Frozen
from intaglio.nn.discriminators.patch import contrast


def textures(n: int, side: int, generator: torch.Generator) -> Tensor:
    """(n, 3, side, side) of whole grey levels; amplitudes fall as 1/frequency and vary eightfold between pictures."""
    noise = torch.randn(n, 3, side, side, generator=generator)
    noise = noise + 2 * noise[:, :1]
    f = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]).clamp_min(1 / side)
    x = torch.fft.irfft2(torch.fft.rfft2(noise) / f, s=(side, side))
    x = x / x.std((1, 2, 3), keepdim=True) * torch.exp(torch.rand(n, 1, 1, 1, generator=generator) * math.log(8)) * 7
    return (x + 128).round().clamp(0, 255)


def blurred(x: Tensor) -> Tensor:
    """A Gaussian of sigma 1 pixel."""
    t = torch.exp(-(torch.arange(-3.0, 4) ** 2) / 2)
    kernel = (t[:, None] * t / t.sum() ** 2).expand(3, 1, 7, 7)
    return F.conv2d(F.pad(x, (3, 3, 3, 3), mode="reflect"), kernel, groups=3)


def decoded(x: Tensor, step: float = 100.0) -> tuple[Tensor, Tensor]:
    """What a small transform codec leaves of x: the 8x8 DCT rounded in units of `step`. (x_hat, 48 latents at 1/16)."""
    n = torch.arange(8)
    basis = torch.cos(math.pi * (2 * n + 1) * n[:, None] / 16) * 0.5
    basis[0] *= 0.5**0.5
    kernels = torch.einsum("ai,bj->abij", basis, basis).reshape(64, 1, 8, 8).repeat(3, 1, 1, 1)
    rounded = (F.conv2d(x - 128, kernels, stride=8, groups=3) / step).round()
    x_hat = F.conv_transpose2d(rounded * step, kernels, stride=8, groups=3) + 128
    return x_hat.clamp(0, 255), F.pixel_unshuffle(rounded[:, [0, 1, 8, 64, 65, 72, 128, 129, 136, 2, 16, 9]], 2)


class Eyes(Frozen):
    """A stand-in for a trained backbone: fixed random filters on the picture's contrast, at strides 1, 2 and 4."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for i, (inputs, outputs) in enumerate(((3, 12), (12, 16), (16, 24))):
            self.keep(f"weight_{i}", torch.randn(outputs, inputs, 3, 3, generator=generator) * (inputs * 4.5) ** -0.5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = contrast(x)
        found = {}
        for i in range(3):
            x = F.relu(F.conv2d(x, getattr(self, f"weight_{i}"), stride=1 + (i > 0), padding=1) + 0.1)
            found[f"layer_{i}"] = x
        return found
