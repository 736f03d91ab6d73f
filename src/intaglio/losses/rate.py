"""Rate, in the unit that papers use."""

from __future__ import annotations

from torch import Tensor

from ..errors import BadInput


def bits_per_pixel(bits: Tensor, pixels: int) -> Tensor:
    """bits of each picture (batch,) and the pixels (h * w) of one picture to bits per pixel (batch,), in float32.

    Raises BadInput unless pixels is positive.
    """
    if pixels <= 0:
        raise BadInput(f"a rate needs a positive number of pixels, not {pixels}")
    return bits.float() / pixels
