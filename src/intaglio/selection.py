"""What a caller wants to keep, and what the label map says of the rest: from pictures, boxes and names to `Areas`."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import pictures
from .areas import KEEP_SIDES, LABEL_SIDES, Areas, enlarged, entries, finest
from .container import MAX_PIXELS
from .errors import BadInput
from .guards import foreseen, pillow_limit
from .tiles import CELL, Layout

INSTANCES = 1000  # an id from here on is an instance: its class times 1000, and a number (Cityscapes' convention)
LABEL_CELL = 4  # pixels along a side of a stored label, unless told otherwise: a quarter of what every pixel takes
KEYS = ("boxes", "mask", "classes")


def read(source: Any, max_pixels: int = MAX_PIXELS) -> NDArray[np.int32]:
    """A label map, or one of instances: ids (height, width) of a path, a Pillow image (1, L, P or I: a palette's
    numbers, not its colours), or an array of whole numbers. Raises BadInput or TooLarge."""
    name = str(source) if isinstance(source, (str, os.PathLike)) else "the label map"
    if isinstance(source, (str, os.PathLike)):
        with pillow_limit(max_pixels), foreseen(f"cannot read {name}", max_pixels), Image.open(source) as image:
            return read(image, max_pixels)
    if isinstance(source, Image.Image):
        if source.width * source.height > max_pixels:
            raise BadInput(f"the label map of {source.width} x {source.height} is above max_pixels = {max_pixels}")
        if source.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L"):
            _refuse(name, f"its mode is {source.mode}: a map of ids has one channel (a grey or palette PNG)")
        source = np.asarray(source)
    if not isinstance(source, np.ndarray) or source.ndim != 2 or source.dtype.kind not in "uib" or not source.size:
        _refuse(name, "give a picture of one channel, or an array (height, width) of whole numbers")
    if int(source.min()) < 0 or int(source.max()) >= 256 * INSTANCES:
        _refuse(name, f"its ids run from {source.min()} to {source.max()}, not within 0..{256 * INSTANCES - 1}")
    return source.astype(np.int32)


def _refuse(name: str, why: str) -> Any:
    raise BadInput(f"{name} is no label map: {why}")


def select(
    label_map: Any, keep: Any, layout: Layout, names: Sequence[str], cell: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Areas:
    """The areas of a picture.

    label_map: what `read` takes, of the picture's shape; a smaller or larger one is stretched. keep: None (nothing); or
    a mask, as for roi; or boxes (x, y, width, height), or one; or a mapping of any of `boxes` (or one), `mask` and
    `classes` (names or ids, of classes or instances; or one), whose union is kept. A latent, 16x16 pixels, is kept
    where any of its pixels is to be.
    names: of the classes that the model knows, by id. cell: pixels along a side of a stored label, one of LABEL_SIDES.
    Raises BadInput or TooLarge.
    """
    if cell is not None and cell not in LABEL_SIDES:
        raise BadInput(f"labels cannot be stored {cell} pixels wide; choose one of {', '.join(map(str, LABEL_SIDES))}")
    ids = stretched(read(label_map, max_pixels), layout)
    classes = np.where(ids >= INSTANCES, ids // INSTANCES, ids)
    if int(classes.max()) >= len(names):
        raise BadInput(f"the label map holds id {classes.max()} and the model knows 0 to {len(names) - 1}")
    wanted = np.zeros((layout.height, layout.width), bool)
    for kind, value in _asked(keep).items():
        if kind == "boxes":
            for x, y, w, h in (_box(b, layout) for b in _boxes(value)):
                wanted[y : y + h, x : x + w] = True
        elif kind == "mask":
            mask = pictures.load_mask(value, max_pixels=max_pixels)
            wanted |= np.asarray(mask.resize((layout.width, layout.height), Image.Resampling.NEAREST)) > 127
        elif kind == "classes":
            chosen = [_class(c, names) for c in ([value] if isinstance(value, (str, int)) else _several(kind, value))]
            wanted |= np.isin(ids, chosen) | np.isin(classes, [c for c in chosen if c < INSTANCES])
    keep_side = finest(layout, KEEP_SIDES)
    kept = np.asarray(_squares(wanted, keep_side, layout).any((1, 3)))
    allowed = tuple(side for side in LABEL_SIDES if side >= (cell or LABEL_CELL))
    label_side = finest(layout, allowed)
    if cell not in (None, label_side):
        raise BadInput(f"a label every {cell} pixels is too much for this picture; store one every {label_side}")
    known = ~enlarged(kept, keep_side, CELL, *entries(layout, CELL))
    return Areas(layout, keep_side, kept, label_side, _coarse(classes, known, label_side, layout))


def _asked(keep: Any) -> Mapping[str, Any]:
    if keep is None:
        return {}
    if isinstance(keep, Mapping):
        if unknown := [str(k) for k in keep if k not in KEYS]:
            raise BadInput(f"keep names {', '.join(unknown)}; it may name {', '.join(KEYS)}")
        return {k: v for k, v in keep.items() if v is not None}
    if isinstance(keep, (list, tuple)):
        return {"boxes": keep}
    return {"mask": keep}


def _boxes(value: Any) -> list[Any]:
    """The boxes, of which there may be one by itself."""
    alone = isinstance(value, (list, tuple)) and value and isinstance(value[0], (int, np.integer))
    return [value] if alone else _several("boxes", value)


def _several(kind: str, value: Any) -> list[Any]:
    try:
        return list(value)
    except TypeError:
        raise BadInput(f"the {kind} to keep are {value!r}; give a list of {kind}") from None


def _box(box: Any, layout: Layout) -> tuple[int, int, int, int]:
    try:
        x, y, w, h = (operator.index(v) for v in box)
    except (TypeError, ValueError):
        raise BadInput(f"the box to keep is {box!r}; give four whole numbers: x, y, width, height") from None
    if w < 1 or h < 1 or x < 0 or y < 0 or x + w > layout.width or y + h > layout.height:
        raise BadInput(f"the box {x},{y},{w},{h} is not inside the picture of {layout.width} x {layout.height}")
    return x, y, w, h


def _class(given: Any, names: Sequence[str]) -> int:
    """The id of a class (or an instance) from its name or number."""
    if str(given) in names:
        return names.index(str(given))
    try:
        number = int(given)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(f"no class is called {given!r}; the model knows {', '.join(names)}") from None
    if not 0 <= number < len(names) * INSTANCES or len(names) <= number < INSTANCES:
        raise BadInput(f"there is no class {number}; the model knows 0 to {len(names) - 1}")
    return number


def stretched(ids: NDArray, layout: Layout) -> NDArray:
    """A map of the picture's shape at its size, the nearest id at every pixel. BadInput for another shape."""
    height, width = ids.shape
    if abs(width * layout.height - height * layout.width) > max(width, height, layout.width, layout.height):
        raise BadInput(f"the label map is {width} x {height} and the picture {layout.width} x {layout.height}: "
                       "they differ in shape")
    rows = np.arange(layout.height) * height // layout.height
    columns = np.arange(layout.width) * width // layout.width
    return ids[rows[:, None], columns]


def _squares(values: NDArray, side: int, layout: Layout) -> NDArray:
    """(height, width) as (rows, side, columns, side), the last row and column repeated."""
    rows, columns = entries(layout, side)
    pad = ((0, rows * side - layout.height), (0, columns * side - layout.width))
    return np.pad(values, pad, "edge").reshape(rows, side, columns, side)


def _coarse(classes: NDArray, known: NDArray[np.bool_], side: int, layout: Layout) -> NDArray[np.uint8]:
    """The label that most pixels of each square have, (rows, columns); where everything is kept, and labels mean
    nothing, that of the nearest square to the left that is not (or to the right, or above), which costs little."""
    rows, columns = entries(layout, side)
    best, most = np.zeros((rows, columns), np.uint8), np.zeros((rows, columns), np.int32)
    squares = _squares(classes, side, layout)
    for label in np.unique(classes):
        count = (squares == label).sum((1, 3), dtype=np.int32)
        best[count > most] = label
        np.maximum(most, count, out=most)
    if side >= CELL:  # known at the labels' own scale
        n = side // CELL
        pad = ((0, -known.shape[0] % n), (0, -known.shape[1] % n))
        free = np.asarray(np.pad(known, pad).reshape(rows, n, columns, n).any((1, 3)))
    else:
        free = enlarged(known, CELL, side, rows, columns)
    if not free.any():
        return np.zeros_like(best)
    for y in range(rows):
        here = np.flatnonzero(free[y])
        if len(here):
            before = np.maximum(np.searchsorted(here, np.arange(columns), "right") - 1, 0)
            best[y] = best[y, here[before]]
    some = np.flatnonzero(free.any(1))
    above = np.maximum(np.searchsorted(some, np.arange(rows), "right") - 1, 0)
    return best[some[above]]
