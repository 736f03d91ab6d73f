"""Random crops of photographs on the device that trains.

A GPU holds all of a pack (`packs`) as one tensor; on a CPU it is a memory map. Either way a batch is one gather, so the
network never waits for an image decoder.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import BadInput
from .draws import Draws
from .packs import part


class Photographs:
    """The pictures of a pack, ready to be cropped on `device`; `labelled` where the pack has label maps.

    Raises BadInput where the pack is missing or damaged.
    """

    def __init__(self, out: Path, device: torch.device | str = "cpu"):
        try:
            self.index = json.loads(part(out, ".json").read_text())
            count = 3 * self.index["pixels"]
            flat = torch.from_file(str(part(out, ".u8")), shared=False, size=count, dtype=torch.uint8)
            ids, file = None, part(out, ".ids")
            if file.is_file():
                ids = torch.from_file(str(file), shared=False, size=count // 3, dtype=torch.uint8)
            if not self.index["entries"]:
                raise BadInput(f"{out}: holds no picture of at least 64 x 64 pixels; give a folder with photographs")
            entries = torch.tensor(self.index["entries"], device=device).reshape(-1, 3)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as e:
            raise BadInput(f"{out}: is no pack of photographs ({e}); pack them again with --data FOLDER") from None
        self.flat = flat.to(device)
        self.labelled = ids is not None
        self._ids = None if ids is None else ids.to(device)
        self.entries = entries  # offset, height, width
        self.device = torch.device(device)

    def crops(
        self, draws: Draws, size: int, zoom: float = 1.0, colour: float = 0.0, labels: bool = False
    ) -> Tensor:
        """Random crops (batch, 3, size, size) on the 0..255 scale, float32, flipped left to right half the time.

        Pictures are drawn in proportion to their area, so every pixel is seen equally often. `zoom`: crops are up to so
        many times larger, as far as the largest photograph goes, then shrunk (one factor a batch): finer detail than
        the photographs' own, and no trace of their compression. `colour`: brightness and every channel vary by up to
        this share. `labels`: the label of every pixel is the fourth channel, where the pack is `labelled`.
        """
        cut = max(size, min(round(size * zoom ** draws.shared()), self.largest_crop())) if zoom > 1 else size
        fitting = self.entries[self.entries[:, 1:].amin(1) >= cut]
        if not len(fitting):
            raise BadInput(f"no photograph is as large as a crop of {cut} x {cut}; train with smaller crops (--crop)")
        area = (fitting[:, 1] * fitting[:, 2]).double()
        edges = torch.cumsum(area / area.sum(), 0)
        u = draws.uniform(4).double()  # picture, row, column, flip
        offset, h, w = fitting[torch.searchsorted(edges, u[:, :1].contiguous())[:, 0].clamp_max(len(fitting) - 1)].T
        top, left = (u[:, 1] * (h - cut + 1)).long(), (u[:, 2] * (w - cut + 1)).long()
        along = torch.arange(cut, device=self.device)
        columns = torch.where(u[:, 3:] < 0.5, along, cut - 1 - along)  # (batch, cut)
        at = offset[:, None, None] + 3 * ((top[:, None, None] + along[:, None]) * w[:, None, None]
                                          + left[:, None, None] + columns[:, None, :])
        x = self.flat[at[:, None] + torch.arange(3, device=self.device)[:, None, None]].float()
        if cut > size:
            x = F.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp(0, 255)
        if colour > 0:
            change = 1 + colour * (2 * draws.uniform(4) - 1)
            x = (x * change[:, :1, None, None] * change[:, 1:, None, None]).clamp(0, 255)
        if not labels:
            return x
        assert self._ids is not None
        ids = self._ids[at // 3][:, None].float()
        return torch.cat([x, F.interpolate(ids, (size, size), mode="nearest-exact") if cut > size else ids], 1)

    def largest_crop(self) -> int:
        """The side of the largest square that some picture holds, in pixels."""
        return int(self.entries[:, 1:].amin(1).max())
