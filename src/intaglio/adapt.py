"""Adaptive quantisation: bits go from busy blocks, where errors hide, to quiet ones, where they are seen.

The idea is that of x264's variance-based mode: the step of a block follows the logarithm of its local variance. Masking
is about a power of the local contrast (Legge and Foley 1980), which the squared error knows nothing of.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .container import BLOCK, MAX_Q
from .tiles import Box, Layout, luma, pieces

SQUARE = 8  # pixels along a side of what a variance is taken of
FLOOR = 4.0  # grey levels squared that no eye tells from none
REACH = 12  # the largest offset
GRAIN = 2  # offsets are even: finer ones cost the map more bytes than they are worth
FADE = 16  # steps from either end of the scale over which offsets grow to their full size: the ends stay the ends


def busyness(image: Image.Image, layout: Layout) -> NDArray[np.float32]:
    """The mean over a block's 8x8 squares of log2(variance + 4), less its mean over the picture: (rows, columns) of
    64x64 blocks. The variance is of the luma (BT.601) in grey levels. Read a piece of a row of blocks at a time."""
    width, rows = layout.padded.width, layout.padded.height // BLOCK
    found = np.empty((rows, width // BLOCK), np.float32)
    for row in range(rows):
        for left, right in pieces(width):
            strip = luma(image, Box(left, row * BLOCK, right, (row + 1) * BLOCK))
            variance = strip.reshape(BLOCK // SQUARE, SQUARE, -1, SQUARE).var((1, 3))
            blocks = np.log2(variance + FLOOR).reshape(BLOCK // SQUARE, -1, BLOCK // SQUARE).mean((0, 2))
            found[row, left // BLOCK : right // BLOCK] = blocks
    return found - found.mean()


def offsets(busy: NDArray[np.float32], strength: float, q: int, lift: float = 0.0) -> NDArray[np.int64]:
    """Offsets of the steps of the blocks around the base step q: even, -12..12, `strength` steps finer for each halving
    of the variance. They shrink towards both ends of the scale, so that q + offset grows with q and stays in 0..63.
    lift: 0 .. 1, what is added to them before they are rounded: the more, the more blocks take a finer step."""
    room = min(1.0, q / FADE, (MAX_Q - q) / FADE)
    wanted = np.clip(-strength * busy, -REACH, REACH) * room + lift
    return GRAIN * np.round(wanted / GRAIN).astype(np.int64)
