"""A generator that decodes what was kept and synthesises the rest from a label map.

Agustsson, Tschannen, Mentzer, Timofte, Van Gool 2019, section 5.2 ("selective compression"): a feature extractor of the
encoder's ladder looks at the label map, its features join the latents, and the generator is that of the global mode.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..normalise import norm_layer
from .blocks import CELL, HALVINGS, Residual, down, far, ladder_reach, unsigned, up


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (batch, 1, h, w), whole numbers of any type, to (batch, classes, h, w) of 0 and 1; all 0 where a label is
    none of the classes."""
    ids = torch.arange(classes, device=labels.device, dtype=torch.float32)[:, None, None]
    return (labels.float() == ids).float()


class LabelEncoder(nn.Module):
    """One-hot labels (batch, classes, h, w) to features (batch, 16 width, h/16, w/16)."""

    def __init__(self, width: int, classes: int, norm: str):
        super().__init__()
        widths = [width << i for i in range(HALVINGS + 1)]
        self.enter = nn.Sequential(nn.Conv2d(classes, width, 7, padding=3), norm_layer(norm, width), nn.ReLU())
        self.down = nn.Sequential(*(down(a, b, norm) for a, b in zip(widths, widths[1:], strict=False)))

    def forward(self, labels: Tensor) -> Tensor:
        return self.down(self.enter(labels))


class SelectiveGenerator(nn.Module):
    """g_s: latents, which latents were kept, and the labels of all pixels, to pixels 0..255.

    y: (batch, M, h/16, w/16), 0 where not kept; kept: (batch, 1, h/16, w/16) of 0 and 1; labels: (batch, 1, h, w), of
    which only those of what is not kept are looked at. t, realism and noise are not looked at. Where all is kept, both
    may be None: the global mode. classes: their names, by label.
    """

    noisy = False

    def __init__(self, width: int, latents: int, classes: Sequence[str], blocks: int = 9, norm: str = "channel"):
        super().__init__()
        widths = [width << i for i in reversed(range(HALVINGS + 1))]
        self.classes = tuple(classes)
        self.semantics = LabelEncoder(width, len(self.classes), norm)
        # of the latents; a label's way through both ladders is longer
        self.reach = far(norm, ladder_reach(3, 0, 1 + 2 * blocks) + ladder_reach(3, 0, 0))
        self.enter = nn.Sequential(
            nn.Conv2d(latents + 1 + widths[0], widths[0], 3, padding=1), norm_layer(norm, widths[0])
        )
        self.blocks = nn.Sequential(*(Residual(widths[0], norm) for _ in range(blocks)))
        self.up = nn.Sequential(*(up(a, b, norm) for a, b in zip(widths, widths[1:], strict=False)))
        self.out = nn.Conv2d(width, 3, 7, padding=3)

    def forward(
        self, y: Tensor, t: Tensor, realism: Tensor, noise: Tensor | None = None, kept: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        if kept is None or labels is None:
            kept = torch.ones_like(y[:, :1])
            labels = y.new_zeros(y.shape[0], 1, CELL * y.shape[2], CELL * y.shape[3])
        synthesised = F.interpolate(1 - kept, scale_factor=float(CELL), mode="nearest")
        told = self.semantics(one_hot(labels, len(self.classes)) * synthesised)
        h = self.enter(torch.cat([y, kept, told], 1))
        return unsigned(self.out(self.up(h + self.blocks(h))))
