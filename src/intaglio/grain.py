"""Grain: the noise that a picture's original had and its file does not hold, put back in proportion to the realism.

Noise costs more bits than anything else in a photograph, and nobody can tell one draw of it from another. So the
encoder only says how strong it was (film grain synthesis, as in Norkin and Birkbeck 2018, "Film grain synthesis for AV1
video codec", with one number), and the decoder draws its own. Noise is a function of the place in the picture, so that
every strip and region agree: a pixel's number is a hash of its column and row in 32-bit integers; the sum of its four
bytes, centred and scaled, is nearly normal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .tiles import Box, Layout, luma, pieces

UNIT = 1 / 16  # grey levels that a file's number counts
MOST = 255  # the largest number
_MEAN, _DEVIATION = 4 * 127.5, (4 * (256**2 - 1) / 12) ** 0.5  # of the sum of four bytes

SQUARE = 16  # pixels along a side of what a deviation is taken of
SHARE = 0.05  # of the squares, the flattest, in which there is nothing but noise: the deviation where they end counts
FLOOR = 0.3  # grey levels that clean photographs show there, for their texture and their rounding
BIAS = 1.09  # white noise over what the flattest squares show of it
BLACK, WHITE = 8, 247  # means of squares beyond which noise is cut off
FEWEST = 20  # squares that tell anything
ROWS = 32  # that noise is made for at a time, in the cache of a core


def _sums(x: int, y: int, width: int, height: int, seed: int) -> NDArray[np.uint32]:
    """The sums of four bytes, 0..1020, at the pixels from column x and row y on: (height, width)."""
    columns = np.arange(x, x + width, dtype=np.uint32) * np.uint32(0x9E3779B1)
    rows = np.arange(y, y + height, dtype=np.uint32) * np.uint32(0x85EBCA77)
    v = rows[:, None] ^ columns ^ np.uint32(seed)
    v ^= v >> np.uint32(16)
    v *= np.uint32(0x7FEB352D)
    v ^= v >> np.uint32(15)
    v *= np.uint32(0x846CA68B)
    v ^= v >> np.uint32(16)
    pairs = (v & np.uint32(0x00FF00FF)) + (v >> np.uint32(8) & np.uint32(0x00FF00FF))
    return (pairs & np.uint32(0xFFFF)) + (pairs >> np.uint32(16))


def noise(x: int, y: int, width: int, height: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise of mean 0 and variance 1 at the pixels from column x and row y on: (height, width). seed: 0..2^32 - 1."""
    return ((_sums(x, y, width, height, seed) - np.float32(_MEAN)) * np.float32(1 / _DEVIATION)).astype(np.float32)


def measured(image: Image.Image, layout: Layout) -> float:
    """The deviation of a picture's noise in grey levels of its luma (BT.601), 0 where it shows none.

    Each 16x16 square's is that of its luma under the mask [1 -2 1; -2 4 -2; 1 -2 1] / 6, to which slopes and straight
    edges along the axes are nothing (Immerkaer 1996, "Fast noise variance estimation"), and the flattest twentieth of
    the squares speaks for the picture. Read a piece of a row of squares at a time.
    """
    found: list[NDArray[np.float32]] = []
    picture = layout.picture
    width = max(0, picture.width - 2) // SQUARE * SQUARE  # of the squares, which a pixel goes around
    for top in range(1, picture.height - SQUARE, SQUARE):
        for left, right in pieces(width):
            strip = luma(image, Box(left, top - 1, right + 2, top + SQUARE + 1))
            columns = (right - left) // SQUARE
            second = strip[:-2] - 2 * strip[1:-1] + strip[2:]
            answer = (second[:, :-2] - 2 * second[:, 1:-1] + second[:, 2:]) / 6
            mean = strip[1:-1, 1:-1].reshape(SQUARE, columns, SQUARE).mean((0, 2))
            power = np.square(answer).reshape(SQUARE, columns, SQUARE).mean((0, 2))
            found.append(power[(mean > BLACK) & (mean < WHITE)])
    power = np.concatenate(found) if found else np.zeros(0, np.float32)
    if len(power) < FEWEST:
        return 0.0
    return BIAS * float(max(0.0, np.quantile(power, SHARE) - FLOOR**2)) ** 0.5


def number(deviation: float, ends: Sequence[float], t: float) -> int:
    """What a file says, 0..255: how much of noise of this deviation is lost at step t = q/63 (0..1). ends: deviations
    of the codec's own error at t = 0 and 1. Noise fainter than that error is lost, and of stronger noise as much."""
    error = ends[0] ** (1 - t) * ends[1] ** t
    return min(MOST, round(min(deviation, error) / UNIT))


def printed(rgb: NDArray[np.uint8], strength: float, x: int, y: int, seed: int) -> NDArray[np.uint8]:
    """Pixels (h, w, 3), whose first one is in column x and row y, with grey noise of this deviation."""
    levels = np.floor((np.arange(1021) - _MEAN) * (strength / _DEVIATION) + 0.5).astype(np.int16)  # of each sum
    h, w = rgb.shape[:2]
    result = np.empty_like(rgb)
    for top in range(0, h, ROWS):
        part = rgb[top : top + ROWS]
        grey = levels[_sums(x, y + top, w, len(part), seed)][:, :, None]
        np.clip(part + grey, 0, 255, out=result[top : top + ROWS], casting="unsafe")
    return result
