"""Grain: the noise that a picture's original had and its file does not hold, put back in proportion to the realism.

Noise costs more bits than anything else in a photograph, and nobody can tell one draw of it from another. So the
encoder only says how strong it was in each 64x64 block (film grain synthesis, as in Norkin and Birkbeck 2018, "Film
grain synthesis for AV1 video codec", with a map in place of a function of the luma), and the decoder draws its own.
Noise is a function of the place in the picture, so that every strip and region agree: a pixel's number is a hash of its
column and row in 32-bit integers; the sum of its four bytes, centred and scaled, is nearly normal. A viewer may ask for
none of it, or for an even film grain of a strength of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .container import BLOCK
from .numbermap import LEVELS
from .tiles import Box, Layout, luma, pieces

UNIT = 1 / 16  # grey levels that HEAD's number counts
FAINTEST = 0.3  # grey levels of level 1; each next one is stronger by the root of 2
_MEAN, _DEVIATION = 4 * 127.5, (4 * (256**2 - 1) / 12) ** 0.5  # of the sum of four bytes

SQUARE = 8  # pixels along a side of what a deviation is taken of
TOLD = 0.65  # of the deviation in a block: decoded pictures lack 0.75 to 0.95 of it, but soft noise is felt more
SHARE = 0.05  # of the double squares, the flattest, in which there is nothing but noise
FLOOR = 0.3  # grey levels that clean photographs show, for their texture and their rounding
BIAS = 1.09  # white noise over what the flattest double squares show of it
TEXTURE = 1.7  # grey levels from which on it is texture that a block has ...
NOISY = 1.2  # ... unless the picture's flattest places have so much noise, times this
BLACK, WHITE = 8, 247  # means of squares beyond which noise is cut off
FEWEST = 20  # double squares that tell anything
SOFT, FILM = 6, 2  # middles of the kernels: [1 6 1] of the grain that files tell of, [1 2 1] of a viewer's own
STRONGEST = 20  # grey levels of film grain that can be asked for
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


def _softened(x: int, y: int, width: int, height: int, seed: int, middle: int) -> NDArray[np.float64]:
    """The centred sums around the next column and row of each pixel, weighed by [1 middle 1] each way, which makes
    their deviation middle^2 + 2 times as large: (height, width)."""
    white = _sums(x, y, width + 2, height + 2, seed).astype(np.int32)
    rows = white[:-2] + middle * white[1:-1] + white[2:]
    return rows[:, :-2] + middle * rows[:, 1:-1] + rows[:, 2:] - (middle + 2) ** 2 * _MEAN


def noise(x: int, y: int, width: int, height: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise of mean 0 and variance 1 at the pixels from column x and row y on: (height, width). seed: 0..2^32 - 1."""
    return ((_sums(x, y, width, height, seed) - np.float32(_MEAN)) * np.float32(1 / _DEVIATION)).astype(np.float32)


def measured(image: Image.Image, layout: Layout) -> NDArray[np.float32]:
    """The deviation of a picture's noise and finest texture in each 64x64 block, in grey levels of its luma (BT.601),
    0 where it shows none: (rows, columns).

    Each 8x8 square's is that of its luma under the mask [1 -2 1; -2 4 -2; 1 -2 1] / 6, to which slopes and straight
    edges along the axes are nothing (Immerkaer 1996, "Fast noise variance estimation"); the middle one of its squares
    speaks for a block. What is more than noise is cut off above TEXTURE, or above the noise of the whole picture, for
    which the flattest twentieth of its 16x16 squares speaks. Read a piece of a row of blocks at a time.
    """
    width, height = layout.picture.width, layout.picture.height
    found = np.zeros((layout.padded.height // BLOCK, layout.padded.width // BLOCK), np.float32)
    doubles: list[NDArray[np.float32]] = []
    for row in range(len(found)):
        top = row * BLOCK
        for left, right in pieces(layout.padded.width):
            power, mean = _squares(luma(image, Box(left - 1, top - 1, right + 1, top + BLOCK + 1)))
            known = np.zeros(power.shape, bool)  # squares that are inside the picture
            known[: max(0, height - top) // SQUARE, : max(0, width - left) // SQUARE] = True
            pairs = (len(power) // 2, 2, -1, 2)
            clear = (known & (mean > BLACK) & (mean < WHITE)).reshape(pairs).all((1, 3))
            doubles.append(power.reshape(pairs).mean((1, 3))[clear])
            power[(power < FLOOR**2) | (mean <= BLACK) | (mean >= WHITE)] = 0
            blocks = np.where(known, power, np.inf).reshape(BLOCK // SQUARE, -1, BLOCK // SQUARE)
            ranked = np.sort(blocks.swapaxes(0, 1).reshape(blocks.shape[1], -1), 1)
            count = np.isfinite(ranked).sum(1)
            middle = (ranked[np.arange(len(ranked)), (count - 1) // 2] + ranked[np.arange(len(ranked)), count // 2]) / 2
            found[row, left // BLOCK : left // BLOCK + len(middle)] = np.where(count > 0, middle, 0)
    if width % BLOCK < SQUARE <= width and width % BLOCK:  # no whole square of the last column of blocks is inside
        found[:, -1] = found[:, -2]
    if height % BLOCK < SQUARE <= height and height % BLOCK:
        found[-1] = found[-2]
    powers = np.concatenate(doubles)
    even = max(0.0, float(np.quantile(powers, SHARE)) - FLOOR**2) ** 0.5 if len(powers) >= FEWEST else 0.0
    return np.minimum(np.sqrt(found), max(TEXTURE, NOISY * BIAS * even))


def _squares(strip: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(power of the fine, mean) of the 8x8 squares of a strip of luma with a pixel more around it."""
    second = strip[:-2] - 2 * strip[1:-1] + strip[2:]
    answer = (second[:, :-2] - 2 * second[:, 1:-1] + second[:, 2:]) / 6
    inner = strip[1:-1, 1:-1]
    shape = (inner.shape[0] // SQUARE, SQUARE, inner.shape[1] // SQUARE, SQUARE)
    return np.square(answer).reshape(shape).mean((1, 3)), inner.reshape(shape).mean((1, 3))


def levels(
    deviation: NDArray[np.float32], ends: Sequence[float], steps: NDArray[np.int64], top: int
) -> NDArray[np.uint8]:
    """What a file says, 0..15 for each block: how much of noise of this deviation is lost at these steps, 0..top. ends:
    deviations of the codec's own error at the lowest and the highest step, above which nothing is lost."""
    error = ends[0] ** (1 - steps / top) * ends[1] ** (steps / top)
    lost = np.minimum(TOLD * deviation, error)
    found = np.round(2 * np.log2(np.maximum(lost, 1e-3) / FAINTEST) + 1)
    return np.where(lost >= FAINTEST * 2**-0.25, found.clip(1, LEVELS), 0).astype(np.uint8)


def deviations(said: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The deviation at realism 1 that each level stands for, in grey levels."""
    return np.where(said > 0, FAINTEST * 2.0 ** ((said - 1.0) / 2), 0.0)


def between(blocks: NDArray[np.float64], part: Box) -> NDArray[np.float32]:
    """The deviation at every pixel of `part`, in a straight line between the middles of blocks: (h, w)."""
    rows, columns = blocks.shape

    def around(start: int, stop: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        place = np.clip((np.arange(start, stop) + 0.5) / BLOCK - 0.5, 0, count - 1)
        first = np.floor(place).astype(np.intp)
        return first, np.minimum(first + 1, count - 1), place - first

    left, right, f = around(part.x0, part.x1, columns)
    near = blocks[:, left[0] : right[-1] + 1]  # a picture may be much wider than its parts
    i, j, g = around(part.y0, part.y1, rows)
    across = near[i] * (1 - g[:, None]) + near[j] * g[:, None]
    return (across[:, left - left[0]] * (1 - f) + across[:, right - left[0]] * f).astype(np.float32)


def printed(rgb: NDArray[np.uint8], strength: float, x: int, y: int, seed: int) -> NDArray[np.uint8]:
    """Pixels (h, w, 3), whose first one is in column x and row y, with white grey noise of this deviation."""
    of_sum = np.floor((np.arange(1021) - _MEAN) * (strength / _DEVIATION) + 0.5).astype(np.int16)
    h, w = rgb.shape[:2]
    result = np.empty_like(rgb)
    for top in range(0, h, ROWS):
        part = rgb[top : top + ROWS]
        grey = of_sum[_sums(x, y + top, w, len(part), seed)][:, :, None]
        np.clip(part + grey, 0, 255, out=result[top : top + ROWS], casting="unsafe")
    return result


def mapped(
    rgb: NDArray[np.uint8], strength: float, blocks: NDArray[np.float64], part: Box, seed: int, soft: bool
) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) of `part` with grey noise: `strength` times the deviation between those of the blocks. soft:
    [1 6 1] each way, as neighbours in photographs are alike; else white."""
    scale = np.float32(strength / ((SOFT**2 + 2 if soft else 1) * _DEVIATION))
    result = np.empty_like(rgb)
    for top in range(part.y0, part.y1, ROWS):
        strip = Box(part.x0, top, part.x1, min(top + ROWS, part.y1))
        rows = slice(strip.y0 - part.y0, strip.y1 - part.y0)
        field = between(blocks, strip)
        if not field.any():
            result[rows] = rgb[rows]
            continue
        where = strip.x0, strip.y0, strip.width, strip.height, seed
        sums = _softened(*where, SOFT) if soft else _sums(*where) - np.float32(_MEAN)
        grey = np.floor(sums * (field * scale) + np.float32(0.5)).astype(np.int16)
        np.clip(rgb[rows] + grey[:, :, None], 0, 255, out=result[rows], casting="unsafe")
    return result


def film(rgb: NDArray[np.uint8], strength: float, x: int, y: int, seed: int) -> NDArray[np.uint8]:
    """Pixels (h, w, 3), whose first one is in column x and row y, with even grey noise of this deviation that is soft,
    [1 2 1] / 4 each way, as film's is: its grains are larger than a pixel."""
    scale = np.float32(strength / ((FILM**2 + 2) * _DEVIATION))
    result = np.empty_like(rgb)
    for top in range(0, len(rgb), ROWS):
        part = rgb[top : top + ROWS]
        soft = _softened(x, y + top, part.shape[1], len(part), seed, FILM)
        grey = np.floor(soft * scale + np.float32(0.5)).astype(np.int16)
        np.clip(part + grey[:, :, None], 0, 255, out=result[top : top + ROWS], casting="unsafe")
    return result
