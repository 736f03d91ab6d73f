"""The grain of realism: noise that is a function of the place in the picture, so that every strip and region agree.

A pixel's number is a hash of its column and row in 32-bit integers; the sum of its four bytes, centred and scaled, is
nearly normal. The synthesis of a model with grain adds it in proportion to the realism, most where steps are coarse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MEAN, _DEVIATION = 4 * 127.5, (4 * (256**2 - 1) / 12) ** 0.5  # of the sum of four bytes


def grain(x: int, y: int, width: int, height: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise of mean 0 and variance 1 at the pixels from column x and row y on: (height, width). seed: 0..2^32 - 1."""
    columns = np.arange(x, x + width, dtype=np.uint32) * np.uint32(0x9E3779B1)
    rows = np.arange(y, y + height, dtype=np.uint32) * np.uint32(0x85EBCA77)
    v = rows[:, None] ^ columns ^ np.uint32(seed)
    v ^= v >> np.uint32(16)
    v *= np.uint32(0x7FEB352D)
    v ^= v >> np.uint32(15)
    v *= np.uint32(0x846CA68B)
    v ^= v >> np.uint32(16)
    total = v.view(np.uint8).reshape(height, width, 4).sum(2, dtype=np.uint16)
    return ((total - np.float32(_MEAN)) * np.float32(1 / _DEVIATION)).astype(np.float32)
