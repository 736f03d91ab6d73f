"""Which areas of a picture are kept, and what stands in the others: the KEEP and LABL chunks of a file.

Latents are coded where `kept` says so. Elsewhere the synthesis has the label map alone to go by, and no bit of the
tiles is spent. Both maps are small pictures of labels (labels.py), each at a scale of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import labels
from .errors import AGAIN, CorruptFile, TooLarge
from .tiles import CELL, Box, Layout

KEEP_SIDES = (16, 32, 64)  # pixels along a side of one entry of the map of what is kept
LABEL_SIDES = (1, 2, 4, 8, 16, 32, 64)  # of one entry of the label map


def entries(layout: Layout, side: int) -> tuple[int, int]:
    """(rows, columns) of a map whose entries are `side` pixels wide, over the unpadded picture."""
    return -(-layout.height // side), -(-layout.width // side)


def finest(layout: Layout, sides: tuple[int, ...]) -> int:
    """The least of `sides` at which a map of the picture is not above the limit of `labels`. TooLarge."""
    for side in sides:
        rows, columns = entries(layout, side)
        if rows * columns <= labels.MOST:
            return side
    raise TooLarge(f"{layout.width} x {layout.height} pixels are too many for a map of what is kept")


def enlarged(entry: NDArray, side: int, unit: int, rows: int, columns: int) -> NDArray:
    """A map with entries of `side` pixels as one with entries of `unit`, a divisor of it, cut to (rows, columns), or
    grown to them by its last row and column."""
    n = side // unit
    large = np.repeat(np.repeat(entry, n, 0), n, 1)[:rows, :columns]
    return np.pad(large, ((0, rows - large.shape[0]), (0, columns - large.shape[1])), "edge")


@dataclass(frozen=True, eq=False)
class Areas:
    """The two maps of one picture.

    keep: bool, labels: uint8, each (rows, columns) of `entries` at its side; they go on beyond the picture, up to whole
    blocks, as their last row and column.
    """

    layout: Layout
    keep_side: int  # pixels, of KEEP_SIDES
    keep: NDArray[np.bool_]
    label_side: int  # pixels, of LABEL_SIDES
    labels: NDArray[np.uint8]

    def kept(self) -> NDArray[np.bool_]:
        """Which latents of the padded picture are coded: (rows, columns), 16 pixels each."""
        return _latents(self.keep, self.keep_side, self.layout)

    def window(self, box: Box) -> NDArray[np.uint8]:
        """The labels of the pixels of `box`, which lies in the padded picture: (h, w)."""
        last_row, last_column = self.labels.shape[0] - 1, self.labels.shape[1] - 1
        rows = np.minimum(np.arange(box.y0, box.y1) // self.label_side, last_row)
        columns = np.minimum(np.arange(box.x0, box.x1) // self.label_side, last_column)
        return self.labels[rows[:, None], columns]

    def pack(self) -> tuple[bytes, bytes]:
        """The payloads of KEEP and LABL."""
        def one(side: int, entry: NDArray) -> bytes:
            return bytes([side.bit_length() - 1]) + labels.pack(entry.astype(np.uint8))

        return one(self.keep_side, self.keep), one(self.label_side, self.labels)


def unpack(keep: bytes, label: bytes, layout: Layout) -> Areas:
    """The maps out of the payloads of a picture's KEEP and LABL. Raises CorruptFile."""
    keep_side, kept = _unpack_keep(keep, layout)
    label_side, map_ = _unpack(label, layout, LABEL_SIDES, "the LABL chunk")
    return Areas(layout, keep_side, kept, label_side, map_)


def unpack_kept(keep: bytes, layout: Layout) -> NDArray[np.bool_]:
    """`Areas.kept` out of the payload of KEEP alone, without the work that LABL takes. Raises CorruptFile."""
    side, kept = _unpack_keep(keep, layout)
    return _latents(kept, side, layout)


def _latents(kept: NDArray[np.bool_], side: int, layout: Layout) -> NDArray[np.bool_]:
    size = layout.padded.outwards(CELL)
    return enlarged(kept, side, CELL, size.height, size.width)


def _unpack_keep(keep: bytes, layout: Layout) -> tuple[int, NDArray[np.bool_]]:
    if len(keep) > 2 and keep[2] > 1:  # the largest label, told before the work of decoding
        raise CorruptFile(f"the KEEP chunk says something else than yes and no; {AGAIN}")
    side, kept = _unpack(keep, layout, KEEP_SIDES, "the KEEP chunk")
    return side, kept.astype(bool)


def _unpack(data: bytes, layout: Layout, sides: tuple[int, ...], where: str) -> tuple[int, NDArray[np.uint8]]:
    if not data or data[0] > 6 or 1 << data[0] not in sides:
        raise CorruptFile(f"{where} is malformed; {AGAIN}")
    side = 1 << data[0]
    return side, labels.unpack(data[1:], entries(layout, side), where)
