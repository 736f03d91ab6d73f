"""The picture strip: what the network makes of a few crops, to be looked at during the training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

GAP = 4  # pixels of white between pictures


def draw(columns: Sequence[Tensor], path: Path) -> None:
    """Write pictures side by side: a row a crop, a column a version; each column is (rows, 3, h, w) on 0..255."""
    rows, _, h, w = columns[0].shape
    sheet = np.full((rows * (h + GAP) - GAP, len(columns) * (w + GAP) - GAP, 3), 255, np.uint8)
    for i, column in enumerate(columns):
        pixels = torch.floor(column.float() + 0.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        for j, picture in enumerate(pixels):
            sheet[j * (h + GAP) : j * (h + GAP) + h, i * (w + GAP) : i * (w + GAP) + w] = picture
    part = path.with_name(path.name + ".part")
    Image.fromarray(sheet).save(part, "PNG")
    part.replace(path)
