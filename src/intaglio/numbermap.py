"""Whole numbers for every 64x64 block of a picture, in few bytes: offsets of the step, levels of the grain.

Each number is foretold by its neighbours to the left, above and between (the median of a, b and a + b - c: Weinberger,
Seroussi and Sapiro 2000, "The LOCO-I lossless image compression algorithm", equation 1), and what is left is written as
that many zeros and a one: about two bits a block, where deflate, made for longer texts, takes five.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UnsupportedFile

_OFFSETS, _HALVED, _LEVELS, _SOFT = 1, 2, 4, 8  # bits of the first byte: what follows, and of what kind it is
LIMIT = 63  # offsets are -63..63
LEVELS = 15  # levels are 0..15
MOST = 36  # bytes that a block takes at most: 253 bits for a jump from -63 to 63, 31 for one from 0 to 15


def limits(blocks: int) -> tuple[int, int]:
    """Bytes of a packed map of so many blocks: at least, at most."""
    return 1 + -(-blocks // 8), 1 + MOST * blocks


def pack(offsets: NDArray[Any], levels: NDArray[Any] | None) -> bytes | None:
    """Offsets -63..63 and levels 0..15 of the blocks (rows, columns) as bytes; None where all are 0. The levels are of
    soft grain."""
    kind, written = 0, []
    if np.any(offsets):
        halved = not np.any(offsets & 1)
        kind |= _OFFSETS | (_HALVED if halved else 0)
        written.append(offsets.astype(np.int64) // (2 if halved else 1))
    if levels is not None and np.any(levels):
        kind |= _LEVELS | _SOFT
        written.append(levels.astype(np.int64))
    if not written:
        return None
    left = np.concatenate([(m - _foretold(m)).ravel() for m in written])
    ends = np.cumsum(np.where(left > 0, 2 * left - 1, -2 * left) + 1)
    bits = np.zeros(ends[-1], np.uint8)
    bits[ends - 1] = 1
    return bytes([kind]) + np.packbits(bits).tobytes()


def _foretold(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """What the neighbours say of each number of a map (rows, columns)."""
    padded = np.pad(numbers, ((1, 0), (1, 0)))
    padded[0, 2:], padded[2:, 0] = numbers[0, :-1], numbers[:-1, 0]  # first row: the left; first column: above
    left, above, between = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    return np.clip(left + above - between, np.minimum(left, above), np.maximum(left, above))


def _restored(left: list[int], columns: int, lowest: int, highest: int) -> list[list[int]] | None:
    """The rows of a map of which `left` is not foretold; None where a number is outside lowest..highest."""
    rows: list[list[int]] = []
    for start in range(0, len(left), columns):
        above = rows[-1] if rows else None
        a, c, row = 0 if above is None else above[0], 0, []
        for x, e in enumerate(left[start : start + columns]):
            b = a if above is None else above[x]
            # the median of a, b and a + b - c; in the first column a is b, and c does not matter
            c = a + b - c
            low, high = (a, b) if a < b else (b, a)
            a = e + (low if c < low else high if c > high else c)
            if not lowest <= a <= highest:
                return None
            row.append(a)
            c = b
        rows.append(row)
    return rows


def unpack(
    data: bytes, rows: int, columns: int
) -> tuple[NDArray[np.int8] | None, NDArray[np.uint8] | None, bool] | None:
    """(offsets, levels, whether these are of soft grain) of `pack`, None for those that are all 0; None where the bytes
    are not of such a map. UnsupportedFile where they are of a kind that a later version may have brought."""
    kind = data[0] if data else 0
    if kind >> 4:
        raise UnsupportedFile(f"the file has block numbers of kind {kind}, which this does not know: upgrade intaglio")
    maps = bool(kind & _OFFSETS) + bool(kind & _LEVELS)
    stray = kind & _HALVED and not kind & _OFFSETS or kind & _SOFT and not kind & _LEVELS
    if not maps or stray:
        return None
    bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=1))
    count = rows * columns
    if np.count_nonzero(bits) != maps * count:  # before they are listed, in eight times the memory
        return None
    ends = np.flatnonzero(bits)
    if len(bits) - 1 - ends[-1] > 7:
        return None
    zeros = np.diff(ends, prepend=-1) - 1
    left = np.where(zeros & 1, (zeros + 1) // 2, -(zeros // 2)).tolist()
    offsets = levels = None
    if kind & _OFFSETS:
        step = 2 if kind & _HALVED else 1
        found = _restored(left[:count], columns, -(LIMIT // step), LIMIT // step)
        if found is None:
            return None
        offsets = (step * np.array(found)).astype(np.int8)
        if not offsets.any() or step == 1 and not (offsets & 1).any():
            return None
    if kind & _LEVELS:
        found = _restored(left[-count:], columns, 0, LEVELS)
        if found is None:
            return None
        levels = np.array(found, np.uint8)
        if not levels.any():
            return None
    return offsets, levels, bool(kind & _SOFT)
