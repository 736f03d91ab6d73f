"""One discriminator for the whole picture, one for its parts.

CompressGAN (section 3.3) judges "at both the global and local picture sizes"; how is left open there. Here, after
Iizuka et al. 2017: the global one sees the picture shrunk to a small square and says one number, the local one sees
windows of full resolution, each by itself, and says one number a window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput
from ..normalise import conv, norm_layer
from .judgement import Judgement
from .patch import KERNEL, MOST, SLOPE, Entry, LatentMap, contrast


def starts(length: int, window: int) -> list[int]:
    """Where windows begin that cover `length` pixels, evenly spread, as few as do; `window` <= `length`."""
    n = -(-length // window)
    return [(i * (length - window) + (n - 1) // 2) // (n - 1) if n > 1 else 0 for i in range(n)]


class Square(nn.Module):
    """Convolutions of stride 2 from a square of `side` pixels (a power of two) down to 4x4, and one to a single logit.

    (n, channels, side, side) to (logits (n, 1, 1, 1), features).
    """

    def __init__(self, channels: int, width: int, side: int, norm: str):
        super().__init__()
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for i in range(side.bit_length() - 3):
            self.convs.append(conv(norm, channels, width, KERNEL, stride=2, padding=1))
            self.norms.append(norm_layer(norm, width) if i else nn.Identity())
            channels, width = width, min(2 * width, MOST)
        self.last = conv(norm, channels, 1, KERNEL)

    def forward(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for layer, norm in zip(self.convs, self.norms, strict=True):
            z = F.leaky_relu(norm(layer(z)), SLOPE)
            features.append(z)
        return self.last(z), features


class GlobalLocal(nn.Module):
    """d(x, latent) -> Judgement: the whole's logit (batch, 1, 1, 1), then the windows' (batch, 1, rows, columns).

    x: (batch, 3, h, w) in 0..255, any sides from `window` up. side: of the square that the whole is shrunk to. window:
    side of the parts; they cover the picture, and overlap where it is no multiple. Both powers of two from 8 on. The
    windows' features stand beside each other as channels, (batch, rows * columns * channels, h', w'), so that every
    feature has one entry a picture.
    """

    def __init__(
        self,
        latents: int = 0,
        width: int = 64,
        side: int = 64,
        window: int = 32,
        norm: str = "spectral",
        detail: bool = True,
        stride: int = 16,
    ):
        super().__init__()
        if any(n < 8 or n & (n - 1) for n in (side, window)):
            raise BadInput(
                f"squares of {side} and windows of {window} pixels cannot be halved to 4; give powers of two"
            )
        self.side, self.window = side, window
        self.entry = Entry(latents, norm, detail, stride=stride)
        self.map = LatentMap(latents, norm) if latents else None
        self.whole = Square(self.entry.channels, width, side, norm)
        self.parts = Square(self.entry.channels, width, window, norm)

    def forward(self, x: Tensor, latent: Tensor | None = None) -> Judgement:
        b, _, h, w = x.shape
        n = self.window
        rows, columns = starts(h, n), starts(w, n)
        z = self.entry(x, latent)
        cut = torch.stack([z[:, :, i : i + n, j : j + n] for i in rows for j in columns], 1)
        local, seen = self.parts(cut.flatten(0, 1))
        judged, features = self.whole(self._shrunk(x, latent))
        features += [f.reshape(b, -1, *f.shape[2:]) for f in seen]
        return Judgement([judged, local.reshape(b, 1, len(rows), len(columns))], features)

    def _shrunk(self, x: Tensor, latent: Tensor | None) -> Tensor:
        small = F.adaptive_avg_pool2d(x, self.side)
        parts = [small * (1 / 127.5) - 1]
        if self.entry.detail:
            parts.append(contrast(small))
        if self.map is not None:
            size = (x.shape[2], x.shape[3])
            parts.append(F.adaptive_avg_pool2d(self.map(latent, size, self.entry.stride), self.side))
        return torch.cat(parts, 1)
