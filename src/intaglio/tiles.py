"""Boxes with halos: how a picture of any size passes through networks that hold one tile at a time.

The networks are local: an output pixel depends on inputs at most `halo` pixels away. So a box computed with its halo,
and cut, equals the same box of the whole picture. At the border of the (padded) picture there is no halo, and the
networks' own zero padding does what it would do on the whole picture.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .container import BLOCK, TILE
from .errors import TooLarge
from .package import WHOLE

CELL = 16  # pixels along a side of one latent
WHOLE_PIXELS = 2**21  # of a padded picture that is computed at once, where a network has to see all of it
PIECE = 2**14  # pixels of a row that are looked at at a time, whole blocks and squares
SPILL = 192 * 2**20  # bytes of latents that a rate search keeps in memory before it uses a temporary file


@dataclass(frozen=True)
class Box:
    """A rectangle, in any unit: columns x0..x1, rows y0..y1, ends excluded."""

    x0: int
    y0: int
    x1: int
    y1: int

    def grown(self, by: int, within: Box) -> Box:
        return Box(max(within.x0, self.x0 - by), max(within.y0, self.y0 - by),
                   min(within.x1, self.x1 + by), min(within.y1, self.y1 + by))

    def common(self, other: Box) -> Box:
        return Box(max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1))

    def outwards(self, unit: int) -> Box:
        """In units of `unit`, rounded outwards."""
        return Box(self.x0 // unit, self.y0 // unit, -(-self.x1 // unit), -(-self.y1 // unit))

    def times(self, unit: int) -> Box:
        return Box(self.x0 * unit, self.y0 * unit, self.x1 * unit, self.y1 * unit)

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0


class Layout:
    """The tiles of a picture of width x height pixels, padded to whole blocks of 64."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.picture = Box(0, 0, width, height)
        self.padded = self.picture.outwards(BLOCK).times(BLOCK)
        self.rows, self.columns = -(-height // TILE), -(-width // TILE)

    def __len__(self) -> int:
        return self.rows * self.columns

    def window(self, box: Box, halo: int | str) -> Box:
        """`box` grown by the halo (pixels) inside the padded picture; all of that where it is "whole". TooLarge."""
        if halo != WHOLE:
            return box.grown(int(halo), self.padded)
        if self.padded.width * self.padded.height > WHOLE_PIXELS:
            raise TooLarge(f"this model has to see a picture whole, and {self.width} x {self.height} pixels are above "
                           f"its limit of {WHOLE_PIXELS}; make the picture smaller, or use another model")
        return self.padded

    def tile(self, i: int) -> Box:
        """Tile i in pixels, padding included."""
        row, column = divmod(i, self.columns)
        return Box(column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE).common(self.padded)

    def touched(self, box: Box) -> list[int]:
        """Tiles that `box` (pixels, inside the padded picture) touches, along its shorter side first."""
        t = box.outwards(TILE)
        if t.width <= t.height:
            return [row * self.columns + column for row in range(t.y0, t.y1) for column in range(t.x0, t.x1)]
        return [row * self.columns + column for column in range(t.x0, t.x1) for row in range(t.y0, t.y1)]


def pixels(image: Image.Image, box: Box) -> NDArray[np.uint8]:
    """RGB pixels (1, h, w, 3) of `box`, which may reach beyond the picture: its edge is repeated there. Grey is
    repeated into three channels; alpha is left out."""
    inside = box.common(Box(0, 0, *image.size))
    part = np.asarray(image.crop((inside.x0, inside.y0, inside.x1, inside.y1)))
    if part.ndim == 2:
        part = part[:, :, None]
    if part.shape[2] < 3:
        part = np.repeat(part[:, :, :1], 3, 2)
    pad = ((inside.y0 - box.y0, box.y1 - inside.y1), (inside.x0 - box.x0, box.x1 - inside.x1), (0, 0))
    return np.ascontiguousarray(np.pad(part[:, :, :3], pad, "edge"))[None]


def luma(image: Image.Image, box: Box) -> NDArray[np.float32]:
    """The luma (BT.601) of `pixels`, in grey levels: (h, w)."""
    return pixels(image, box)[0].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def pieces(width: int) -> Iterator[tuple[int, int]]:
    """(from, to) of the pieces of a row of so many pixels that are read at a time: a picture may be as wide as long."""
    return ((left, min(left + PIECE, width)) for left in range(0, width, PIECE))


class Spill:
    """Arrays kept in order, in memory up to `budget` bytes, then in a temporary file, which is no memory of ours."""

    def __init__(self, budget: int = SPILL):
        self._budget = budget
        self._kept: list[NDArray[np.float32] | tuple[int, tuple[int, ...]]] = []
        self._file: BinaryIO | None = None

    def append(self, array: NDArray[np.float32]) -> None:
        if array.nbytes <= self._budget:
            self._budget -= array.nbytes
            self._kept.append(array)
            return
        try:
            if self._file is None:
                self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (it goes with this object)
            self._kept.append((self._file.seek(0, 2), array.shape))
            self._file.write(np.ascontiguousarray(array).data)
            self._file.flush()
        except OSError as error:
            reason = error.strerror or error
            raise TooLarge(f"a rate search has no room for its temporary file ({reason}); set TMPDIR") from None

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, i: int) -> NDArray[np.float32]:
        kept = self._kept[i]
        if not isinstance(kept, tuple):
            return kept
        offset, shape = kept
        assert self._file is not None
        self._file.seek(offset)
        array = np.empty(shape, np.float32)
        array.data.cast("B")[:] = self._file.read(array.nbytes)
        return array


class Latents:
    """Decoded latents around the tile at work: windows across tile borders. A tile is let go after its last use."""

    def __init__(self, layout: Layout, decode: Callable[[int], NDArray[np.float32]], order: Sequence[int]):
        """decode: tile i's latents (1, M, h/16, w/16). order: the tiles that will be asked for, as they come."""
        self.layout = layout
        self._decode = decode
        self._place = {i: place for place, i in enumerate(order)}
        self._tiles: dict[int, NDArray[np.float32]] = {}

    def _last_use(self, i: int) -> int:
        """The place in the order of the last tile beside (or at) tile i: no halo reaches further."""
        row, column = divmod(i, self.layout.columns)
        beside = [(row + dy) * self.layout.columns + column + dx
                  for dy in (-1, 0, 1) for dx in (-1, 0, 1) if 0 <= column + dx < self.layout.columns]
        return max(self._place.get(j, -1) for j in beside)

    def window(self, i: int, box: Box) -> NDArray[np.float32]:
        """Latents (1, M, h, w) of `box` (in latents, 1/16 of pixels) in or around tile i; decodes what is missing."""
        touched = self.layout.touched(box.times(CELL))
        for past in [j for j in self._tiles if self._last_use(j) < self._place[i]]:
            del self._tiles[past]
        for j in touched:
            if j not in self._tiles:
                self._tiles[j] = self._decode(j)
        if len(touched) == 1:
            tile = self.layout.tile(touched[0]).outwards(CELL)
            return np.ascontiguousarray(self._part(touched[0], tile, box))
        first = self._tiles[touched[0]]
        out = np.empty((1, first.shape[1], box.height, box.width), np.float32)
        for j in touched:
            tile = self.layout.tile(j).outwards(CELL)
            common = tile.common(box)
            rows = slice(common.y0 - box.y0, common.y1 - box.y0)
            out[:, :, rows, common.x0 - box.x0 : common.x1 - box.x0] = self._part(j, tile, common)
        return out

    def _part(self, i: int, tile: Box, box: Box) -> NDArray[np.float32]:
        return self._tiles[i][:, :, box.y0 - tile.y0 : box.y1 - tile.y0, box.x0 - tile.x0 : box.x1 - tile.x0]
