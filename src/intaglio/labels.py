"""Label maps <-> bytes: what stands where, as whole numbers on a coarse grid, in some hundred bytes a picture.

Two lossless codings, of which a writer keeps the smaller:
- *scan*: position by position, each guessed from its neighbours (below);
- *outlines*: the borders of the areas as paths (outlines.py).

Scan: a position mostly has the label of one of its neighbours. Those to the left, above, to the right above and to the
left above are tried in this order, each label once; a yes or no each, under the pattern of which neighbours are alike.
Where none is right the label follows in binary digits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import outlines
from .adaptive import BitReader, BitWriter, Coder
from .errors import AGAIN, BadInput, CorruptFile, TooLarge

MOST = 1 << 18  # positions of a map: two seconds of work where neighbours are mostly alike
MOST_DECISIONS = 1 << 20  # of a scan, six seconds of work; where all labels differ, MOST would take three times as many
CODINGS = ("scan", "outlines")  # the coding byte is the place in this tuple
_ESCAPE = 64  # mixers and contexts of the binary digits are numbered from here on


def pack(labels: NDArray[np.uint8], coding: str | None = None) -> bytes:
    """A map (rows, columns) of uint8 labels as bytes; in the smaller coding, or the one that is named.

    Raises TooLarge for more than 2^18 positions, and for what takes more work than a reader does (noise, not areas);
    BadInput for what is no map.
    """
    if labels.ndim != 2 or labels.dtype != np.uint8 or 0 in labels.shape:
        raise BadInput(f"a label map of {labels.shape} {labels.dtype} is not uint8 of (rows, columns)")
    if labels.size > MOST:
        raise TooLarge(f"a label map of {labels.size} positions is above {MOST}: store it more coarsely")
    last = int(labels.max())
    choices = []
    for kind in CODINGS if coding is None else (coding,):
        writer = BitWriter(SETS)
        try:
            _code(kind, writer, labels, last + 1)
        except CorruptFile:  # more work than a reader would do
            continue
        choices.append(bytes((CODINGS.index(kind), last)) + writer.finish())
    if not choices:
        raise TooLarge("this label map has too many areas for a reader to follow: store it more coarsely (label_cell, "
                       "--label-cell), or smooth it")
    return min(choices, key=len)


def unpack(data: bytes, shape: tuple[int, int], where: str) -> NDArray[np.uint8]:
    """The map (rows, columns) out of its bytes. `where` names it in errors: CorruptFile."""
    if shape[0] * shape[1] > MOST:
        raise CorruptFile(f"{where} claims {shape[0] * shape[1]} positions, above {MOST}; {AGAIN}")
    if len(data) < 2 or data[0] >= len(CODINGS):
        raise CorruptFile(f"{where} is malformed; {AGAIN}")
    if data[1] == 0 and len(data) > 2:
        raise CorruptFile(f"{where} has {len(data)} bytes for a single label; {AGAIN}")
    reader = BitReader(SETS, data[2:])
    try:
        labels = _code(CODINGS[data[0]], reader, np.zeros(shape, np.uint8), data[1] + 1)
        reader.finish()
    except CorruptFile as error:
        raise CorruptFile(f"{where}: {error}; {AGAIN}") from None
    return labels


SETS = 4  # of contexts, in either coding


def _code(kind: str, coder: Coder, labels: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Write `labels` (rows, columns), 0..count - 1, or read a map of that shape."""
    if count == 1:
        return np.zeros_like(labels)
    return (_scan if kind == "scan" else outlines.code)(coder, labels, count)


def _scan(coder: Coder, labels: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    height, width = labels.shape
    digits = (count - 1).bit_length()
    none = count  # what lies beyond the border
    above = higher = [none] * (width + 4)
    result = []
    bit, decisions = coder.bit, 0
    for y in range(height):
        row = [none, none, *labels[y].tolist(), none, none]  # a reader overwrites it as it goes
        for x in range(2, width + 2):
            w, n, nw, ne = row[x - 1], above[x], above[x - 1], above[x + 1]
            ww, nn, nee, nne, nww = row[x - 2], higher[x], above[x + 2], higher[x + 1], above[x - 2]
            near = (w == n) | (n == nw) << 1 | (n == ne) << 2 | (w == nw) << 3
            far = near | (w == ww) << 4 | (n == nn) << 5 | (ne == nee) << 6 | (w == ne) << 7
            farther = far | (nn == nne) << 8 | (nw == nww) << 9
            value, tried = row[x], [none]
            for guess in (w, n, ne, nw):
                if guess in tried:
                    continue
                k = len(tried) - 1
                other = n if k == 0 else w
                contexts = (k + 4 * far, k + 4 * farther, k + 4 * (near + 16 * (guess + 256 * other)),
                            k + 4 * (far + 256 * guess))
                if bit(int(value == guess), contexts, 2 * k + (near == 15)):
                    value = guess
                    decisions += len(tried)
                    break
                tried.append(guess)
            else:
                decisions += len(tried) - 1 + digits
                node = 1
                for i in reversed(range(digits)):
                    contexts = (node, node * 512 + w, node * 512 + n, node * 512 + nw)
                    node = 2 * node + bit(value >> i & 1, [_ESCAPE + 65536 * c for c in contexts], _ESCAPE + i)
                value = node - (1 << digits)
                if value >= count:
                    raise CorruptFile(f"label {value} of {count}")
            if decisions > MOST_DECISIONS:
                raise CorruptFile(f"its scan takes more than {MOST_DECISIONS} decisions")
            row[x] = value
        result.append(row[2:-2])
        above, higher = row, above
    return np.array(result, np.uint8)
