"""Photographs as they are looked at: RGB, upright, transparency on white paper, no metadata."""

from __future__ import annotations

import warnings
from typing import Any

from PIL import Image, ImageOps

from . import pictures

ORIENTATION = 0x0112  # EXIF's tag


def upright(source: Any) -> tuple[Image.Image, int]:
    """What `pictures.load` reads, as a plain RGB image, and the orientation (1..8, of EXIF) that it was turned by.

    Says nothing of what is converted or dropped. Raises BadInput or TooLarge.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = pictures.load(source)
    image = read.image
    if image.mode in ("LA", "RGBA"):
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    orientation = _orientation(read.exif)
    return turned(image.convert("RGB"), orientation), orientation


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image upright, out of the pixels as a file of this orientation stores them."""
    plain = Image.new(image.mode, image.size)
    plain.paste(image)
    plain.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(plain)


def _orientation(exif: bytes | None) -> int:
    tags = Image.Exif()
    try:
        tags.load(exif or b"")
        found = int(tags.get(ORIENTATION, 1))
    except Exception:  # a stranger's bytes; what cannot be parsed turns nothing
        return 1
    return found if 1 <= found <= 8 else 1
