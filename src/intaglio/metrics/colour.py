"""Colours as people see them: sRGB to CIELAB, and the difference CIEDE2000 between two colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

JUST_NOTICEABLE = 2.3  # a CIELAB difference that half of the observers see (Mahy, Van Eycken, Oosterlinck 1994)

# IEC 61966-2-1's primaries, with more digits than the standard prints; the rows add up to its white, D65.
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_TO_WHITE = _TO_XYZ / _TO_XYZ.sum(1, keepdims=True)  # so that greys have a = b = 0
_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4)


def lab(picture: NDArray[np.uint8]) -> Array:
    """sRGB pixels (..., 3) in 0..255 to CIELAB (..., 3) under D65: L in 0..100, a and b about -128..128.

    IEC 61966-2-1 for the transfer curve and the primaries; CIE 15:2004, section 8.2.1 for L, a and b.
    """
    t = _LINEAR[picture] @ _TO_WHITE.T
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def ciede2000(a: Array, b: Array) -> Array:
    """CIEDE2000 colour differences between CIELAB colours (..., 3) and (..., 3): (...), 0 for equal ones.

    Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and
    mathematical observations" (2005), equations 2 to 22, with k_L = k_C = k_H = 1. Symmetric. No upper bound is
    stated; black to white is 100.
    """
    l1, a1, b1 = np.moveaxis(np.asarray(a, float), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(b, float), -1, 0)
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7  # equations 2 to 4
    g = 1.5 - 0.5 * np.sqrt(c7 / (c7 + 25.0**7))
    a1, a2 = g * a1, g * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360  # atan2(0, 0) is 0

    coloured = c1 * c2 != 0
    dh = h2 - h1  # equation 10
    dh = np.where(coloured, dh - 360 * (dh > 180) + 360 * (dh < -180), 0)
    dl, dc, dh_length = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh) / 2)

    total = h1 + h2  # equation 14
    apart = np.abs(h1 - h2) > 180
    mean_h = np.where(apart, np.where(total < 360, total + 360, total - 360), total) / 2
    mean_h = np.where(coloured, mean_h, total)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2

    def cos(degrees: Array) -> Array:
        return np.cos(np.radians(degrees))

    t = 1 - 0.17 * cos(mean_h - 30) + 0.24 * cos(2 * mean_h) + 0.32 * cos(3 * mean_h + 6) - 0.2 * cos(4 * mean_h - 63)
    theta = 30 * np.exp(-(((mean_h - 275) / 25) ** 2))
    c7 = mean_c**7  # equations 16 to 21
    rotation = -2 * np.sqrt(c7 / (c7 + 25.0**7)) * np.sin(np.radians(2 * theta))
    off = (mean_l - 50) ** 2
    dl = dl / (1 + 0.015 * off / np.sqrt(20 + off))
    dc = dc / (1 + 0.045 * mean_c)
    dh = dh_length / (1 + 0.015 * mean_c * t)
    # Rounding may take the square of a vanishing difference below 0.
    return np.sqrt(np.maximum(dl**2 + dc**2 + dh**2 + rotation * dc * dh, 0))
