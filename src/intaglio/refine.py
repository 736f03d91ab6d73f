"""Refinement: a small model beside the networks corrects decoded pixels, in the 64x64 blocks where the encoder found
that it pays. It comes after the synthesis and touches no symbol.

The model (refine.onnx of a package) sees a pixel's 7x7 neighbourhood in the decoded picture and where the pixel lies,
and says what to add to it: after Suresh, Thivya, Anand, "High-fidelity generative image compression using GAN's and
XGBoost approach". What it sees are whole numbers, and what it says is a sum of multiples of 1/1024, so that equal
pixels are corrected alike on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import blockmap
from .container import BLOCK, FRAME
from .tiles import CELL, Box

if TYPE_CHECKING:
    from .runtime import Runtime

REACH = 3  # pixels on every side of the one that is corrected
SIDE = 2 * REACH + 1
FEATURES = SIDE * SIDE + 5
UNIT = 1024  # of a correction, to a grey level

Steps = Callable[[Box], NDArray[np.int64]]  # q of every block of a box of blocks


def grey(rgb: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The mean of the three channels (h, w, 3), rounded half up, as grey pictures have it: (h, w)."""
    return ((rgb.sum(2, dtype=np.int16) * 2 + 3) // 6).astype(np.int16)


def features(
    window: NDArray[np.int16], rows: NDArray[np.intp], columns: NDArray[np.intp], corner: tuple[int, int],
    size: tuple[int, int], steps: NDArray[np.integer],
) -> NDArray[np.float32]:
    """What the model sees of the pixels at `rows` and `columns` of a window, (n, 54), whole numbers.

    window: grey levels (h + 6, w + 6), three more than the window on every side. corner: column and row of the window's
    first pixel in the picture. size: the picture's width and height. steps: q, (n,).
    In a row: the neighbourhood, row by row, less the pixel itself, in whose own place the pixel is; the column and the
    row, in 256ths of the width and of the height; both modulo 16, the place within a latent's square; q.
    """
    around = np.lib.stride_tricks.sliding_window_view(window, (SIDE, SIDE))[rows, columns].reshape(-1, SIDE * SIDE)
    own = around[:, SIDE * SIDE // 2].copy()
    x, y = columns + corner[0], rows + corner[1]
    out = np.empty((len(rows), FEATURES), np.float32)
    np.subtract(around, own[:, None], out=out[:, : SIDE * SIDE])
    out[:, SIDE * SIDE // 2] = own
    out[:, -5], out[:, -4] = x * 256 // size[0], y * 256 // size[1]
    out[:, -3], out[:, -2] = x % CELL, y % CELL
    out[:, -1] = steps
    return out


def strength(engine: Runtime, realism: float) -> float:
    """The share of a correction that is added: all at the realism that the refinement was made for, less beside it."""
    return max(0.0, 1.0 - abs(realism - engine.package.card["refinement"]["percent"] / 100))


def corrected(
    engine: Runtime, rgb: NDArray[np.uint8], part: Box, picture: Box, steps: Steps, on: NDArray[np.bool_],
    realism: float,
) -> NDArray[np.uint8]:
    """The pixels (h, w, 3) of `part`, corrected where `on`, (rows, columns) of the picture's blocks, says so.

    rgb: those of the part grown by REACH within the picture; beyond the picture its edge is repeated.
    """
    shown, share = part.grown(REACH, picture), strength(engine, realism)
    top, left = part.y0 - shown.y0, part.x0 - shown.x0
    out = rgb[top : top + part.height, left : left + part.width].copy()
    pad = ((REACH - top, part.y1 + REACH - shown.y1), (REACH - left, part.x1 + REACH - shown.x1))
    window = np.pad(grey(rgb), pad, "edge")
    blocks = part.outwards(BLOCK)
    of_column = np.arange(part.x0, part.x1) // BLOCK
    for row in range(blocks.y0, blocks.y1):  # a strip at a time bounds the memory
        if not share or not on[row, blocks.x0 : blocks.x1].any():
            continue
        y0, y1 = max(part.y0, row * BLOCK), min(part.y1, (row + 1) * BLOCK)
        strip = out[y0 - part.y0 : y1 - part.y0]
        mask = np.broadcast_to(on[row, of_column], strip.shape[:2])
        rows, columns = np.nonzero(mask)
        q = steps(Box(blocks.x0, row, blocks.x1, row + 1))[0][of_column[columns] - blocks.x0]
        above = window[y0 - part.y0 : y1 - part.y0 + 2 * REACH]
        seen = features(above, rows, columns, (part.x0, y0), (picture.width, picture.height), q)
        correction = engine.refinement(seen) * np.float32(share)
        strip[mask] = np.clip(np.floor(strip[mask] + correction[:, None] + np.float32(0.5)), 0, 255).astype(np.uint8)
    return out


def note(
    source: NDArray[np.uint8], plain: NDArray[np.uint8], refined: NDArray[np.uint8], part: Box,
    error: NDArray[np.int64], gain: NDArray[np.int64],
) -> None:
    """Note, for the blocks of `part`, the squared error (summed over pixels and channels) and how far it falls.

    Arrays (h, w, channels); error and gain (rows, columns) of the picture's blocks are filled in.
    """
    blocks = part.outwards(BLOCK)
    for row in range(blocks.y0, blocks.y1):
        for column in range(blocks.x0, blocks.x1):
            box = Box(column, row, column + 1, row + 1).times(BLOCK).common(part)
            at = slice(box.y0 - part.y0, box.y1 - part.y0), slice(box.x0 - part.x0, box.x1 - part.x0)
            wanted = source[at].astype(np.int32)
            error[row, column] = before = int(np.square(plain[at] - wanted).sum())
            gain[row, column] = before - int(np.square(refined[at] - wanted).sum())


def choose(error: NDArray[np.int64], gain: NDArray[np.int64], size: int) -> NDArray[np.bool_] | None:
    """The blocks to refine in a file that is `size` bytes without any: none whose squared error rises. None where the
    error falls by less than the switches' bits are worth.

    A bit is worth error / bits of the whole file: a percent more bytes, that is, for a percent less error, which is
    about what the networks themselves give (3 dB for twice the bytes). So what is chosen has the least error x bytes,
    out of three maps: the blocks that gain; with them those that stay as they are, for a map of all is one byte; and
    those alone that gain more than a bit, for a map of few deflates.
    """
    total = int(error.sum())
    best, least = None, float(total) * size
    for on in (gain > 0, gain >= 0, gain * (8.0 * size) > total):
        cost = FRAME + len(blockmap.pack(on))
        product = float(total - int(gain[on].sum())) * (size + cost)
        if on.any() and product < least:
            best, least = on, product
    return best
