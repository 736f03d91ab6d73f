"""Bjontegaard deltas: the mean distance between two rate-distortion curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def _pchip(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Monotone piecewise cubic interpolation (Fritsch-Butland slopes, as in the JCT-VC tools) of y(x) at `at`."""
    h, slope = np.diff(x), np.diff(y) / np.diff(x)
    d = np.zeros_like(y)
    for i in range(1, len(x) - 1):
        if slope[i - 1] * slope[i] > 0:
            w1, w2 = 2 * h[i] + h[i - 1], h[i] + 2 * h[i - 1]
            d[i] = (w1 + w2) / (w1 / slope[i - 1] + w2 / slope[i])
    for end, near, inner in ((0, 0, 1), (-1, -1, -2)):
        two = len(x) == 2
        s0, s1 = slope[near], slope[near] if two else slope[inner]
        h0, h1 = h[near], h[near] if two else h[inner]
        v = ((2 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
        d[end] = 0 if v * s0 <= 0 else (3 * s0 if s0 * s1 < 0 and abs(v) > 3 * abs(s0) else v)
    k = np.clip(np.searchsorted(x, at, "right") - 1, 0, len(x) - 2)
    t = (at - x[k]) / h[k]
    a = (1 + 2 * t) * (1 - t) ** 2 * y[k] + t**2 * (3 - 2 * t) * y[k + 1]
    return a + t * (1 - t) ** 2 * h[k] * d[k] - t**2 * (1 - t) * h[k] * d[k + 1]


def bd_rate(
    anchor: Sequence[tuple[float, float]],
    test: Sequence[tuple[float, float]],
    bpp: tuple[float, float] | None = None,
) -> float:
    """Mean rate change in percent of `test` against `anchor` at equal quality; below 0 means fewer bits.

    Points are (bpp, quality), quality growing with rate (PSNR in dB; for MS-SSIM -10 log10(1 - value)). Log-rate is
    interpolated over quality by monotone cubics and averaged over the common quality range (Bjontegaard, VCEG-M33, with
    the piecewise interpolation of JCT-VC). `bpp` limits the range to the qualities that the anchor reaches between two
    rates. Raises ValueError where the curves do not overlap or have fewer than two points.
    """
    curves = []
    for points in (anchor, test):
        p = np.array(sorted(points), float)
        if len(p) < 2 or (np.diff(p[:, 1]) <= 0).any():
            raise ValueError("a rate-distortion curve needs two points or more, with quality growing with rate")
        curves.append((p[:, 1], np.log(p[:, 0])))
    low = max(q[0] for q, _ in curves)
    high = min(q[-1] for q, _ in curves)
    if bpp is not None:
        q, r = curves[0]
        ends = _pchip(r, q, np.clip(np.log(bpp), r[0], r[-1]))
        low, high = max(low, float(ends[0])), min(high, float(ends[1]))
    if high <= low:
        raise ValueError("the two curves have no quality in common")
    at = np.linspace(low, high, 1001)
    difference = _pchip(*curves[1], at) - _pchip(*curves[0], at)
    area = (np.diff(at) * (difference[1:] + difference[:-1]) / 2).sum()  # np.trapezoid came with NumPy 2
    return float((np.exp(area / (high - low)) - 1) * 100)
