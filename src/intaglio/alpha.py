"""The alpha channel, lossless, one record a tile: 0 and the value where it is constant, else 1 and a grey PNG."""

from __future__ import annotations

import io

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from .errors import AGAIN, CorruptFile


def encode(part: Image.Image) -> bytes:
    """The record of one tile; `part` is mode L."""
    low, high = part.getextrema()
    if low == high:
        return bytes([0, int(low)])  # type: ignore[arg-type]
    sink = io.BytesIO()
    part.save(sink, "PNG", optimize=True)
    return b"\1" + sink.getvalue()


def decode(record: bytes, size: tuple[int, int]) -> Image.Image:
    """A tile's alpha, mode L, of `size` (width, height). Raises CorruptFile."""
    if record[0] == 0:
        return Image.new("L", size, record[1])
    try:
        with PngImageFile(io.BytesIO(record[1:])) as image:  # not Image.open: the caller may have lowered its limit
            if image.size != size or image.mode != "L":
                raise CorruptFile(f"an alpha record is {image.mode} of {image.size}, not L of {size}; get a fresh copy")
            image.load()
            return image.copy()
    except CorruptFile:
        raise
    except Exception as error:  # a stranger's bytes: Pillow raises nearly anything
        raise CorruptFile(f"an alpha record cannot be read ({error}); {AGAIN}") from None
