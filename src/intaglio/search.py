"""Finding a step for a size, and a gain map for a mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import pictures
from .container import BLOCK, MAX_PIXELS
from .errors import BadInput
from .tiles import Layout, pieces

KEEP, STARVE = 8, -16  # q offsets of a block that is all white, all black: about +2 dB and a third of the bits

PARTS = 32  # of a step, where blocks can have steps of their own: a whole one is about 7% of the bytes
TRIALS = 9  # files that a search mostly writes at most: 8 on average, 13 at the worst, of 32 * 64 parts
GROWTH = 1.06  # of the bytes from a step to the next: a first guess, on which no result depends


def largest(encode: Callable[[int], bytes], limit: int, low: int, high: int, parts: int = 1) -> bytes:
    """The file of the largest step in low..high that has at most `limit` bytes. BadInput, with the size of the lowest
    step, where that has more. parts: how many of what is counted make a step of q.

    Sizes grow with the step, but for a few bytes in flat or minute pictures, and between the last part of a step and
    the next: there a step or two may be missed, and the limit is kept all the same. Their logarithms grow nearly in a
    straight line, so trials are interpolated, as far as no more than one is lost on halving (ITP: Oliveira and
    Takahashi 2020, "An enhancement of the bisection method average performance preserving minmax optimality").
    """
    best = encode(low)
    if len(best) > limit:
        raise BadInput(
            f"{limit} bytes cannot be met: with its metadata and alpha this picture takes at least {len(best)}"
        )
    high += 1  # from here on low fits and high does not
    left = math.ceil(math.log2(high - low)) + 1  # trials, at most
    wanted, below = math.log(limit), math.log(len(best))
    above = max(below + math.log(GROWTH) * (high - low) / parts, wanted)
    while high - low > 1:
        left -= 1
        guess = low + (high - low) * (wanted - below) / max(above - below, 1e-9)
        # a little to the side of the middle, so that the bracket closes from both of its ends
        guess += math.copysign(min(0.5 + 0.02 * (high - low), abs((low + high) / 2 - guess)), (low + high) / 2 - guess)
        middle = round(min(max(guess, high - 2**left, low + 1), low + 2**left, high - 1))
        trial = encode(middle)
        if len(trial) <= limit:
            best, low, below = trial, middle, math.log(len(trial))
        else:
            high, above = middle, math.log(len(trial))
    return best


def gain_offsets(mask: Any, layout: Layout, max_pixels: int = MAX_PIXELS) -> NDArray[np.int8]:
    """q offsets (rows, columns) of the 64x64 blocks from a mask: the mean of each block, black to white, maps linearly
    onto STARVE..KEEP. mask: whatever pictures.load_mask reads, of any size up to max_pixels.
    Raises BadInput or TooLarge."""
    grey = pictures.load_mask(mask, max_pixels=max_pixels)
    low, high = grey.getextrema()
    if low == high:
        raise BadInput("the roi mask is one single grey: paint what to keep white and the rest black")
    if high == 1:  # black and nearly black to us: not what was meant
        raise BadInput("the roi mask runs from 0 to 1: white is 255, so multiply it by 255 or give an array of bool")
    rows, columns = layout.padded.height // BLOCK, layout.padded.width // BLOCK
    share = np.empty((rows, columns), np.float32)
    across, down = grey.width / layout.width, grey.height / layout.height
    for row in range(rows):  # stretch onto the picture a piece of a row of blocks at a time: the whole may be large
        top, bottom = row * BLOCK, min((row + 1) * BLOCK, layout.height)
        for left, right in pieces(layout.width):
            last = min(right * across, grey.width), min(bottom * down, grey.height)
            size = right - left, bottom - top
            window = (left * across, top * down, *last)
            band = np.asarray(grey.resize(size, Image.Resampling.BOX, window), np.float32) / 255
            # the picture's edge is repeated in its last blocks, so there it weighs more
            band = np.pad(band, ((0, -size[1] % BLOCK), (0, -size[0] % BLOCK)), "edge")
            means = band.reshape(BLOCK, -1, BLOCK).mean((0, 2))
            share[row, left // BLOCK : left // BLOCK + len(means)] = means
    return np.round(STARVE + (KEEP - STARVE) * share).astype(np.int8)
