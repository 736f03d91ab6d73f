"""Photographs as they are looked at: RGB, upright, transparency on white paper, no metadata."""

from __future__ import annotations

import warnings
from typing import Any

from PIL import Image, ImageOps

from . import pictures
from .metadata import ORIENTATION, orientation


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
    turn = orientation(read.exif) or 1
    return turned(image.convert("RGB"), turn), turn


def turned(image: Image.Image, turn: int) -> Image.Image:
    """The image upright, out of the pixels as a file of this orientation (1..8) stores them."""
    plain = Image.new(image.mode, image.size)
    plain.paste(image)
    plain.getexif()[ORIENTATION] = turn
    return ImageOps.exif_transpose(plain)
