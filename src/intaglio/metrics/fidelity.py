"""Distortion measures on 8-bit RGB pictures: NumPy uint8 arrays of shape (h, w, 3)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003, table of section 3.2


def mse(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean squared error over all channels, on the 0..255 scale; 0 is best."""
    return float(np.mean(np.square(a.astype(np.float32) - b.astype(np.float32)), dtype=np.float64))


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """10 log10(255^2 / MSE) in dB over RGB; higher is better, infinite for equal pictures."""
    error = mse(a, b)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def luma(a: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Y = 0.299 R + 0.587 G + 0.114 B, (h, w), unrounded on the 0..255 scale: ITU-R BT.601, full range, as in JPEG."""
    return a @ np.array([0.299, 0.587, 0.114])


def psnr_y(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """10 log10(255^2 / MSE) in dB over `luma`; higher is better, infinite for pictures of equal luma."""
    error = float(np.mean(np.square(luma(a) - luma(b))))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def bpp(size: int, width: int, height: int) -> float:
    """8 size / (width height): bits of a whole file of `size` bytes for each pixel; lower is better, above 0.

    Headers and metadata count: it is what the file takes on a disk. ValueError where a number is not positive."""
    if min(size, width, height) <= 0:
        raise ValueError(f"no rate of {size} bytes for {width} x {height} pixels: all three must be positive")
    return 8 * size / (width * height)


def compression_ratio(size: int, width: int, height: int) -> float:
    """24 / bpp: how many times smaller the file is than its pixels at 8 bits for each of R, G and B; higher is better.

    ValueError where a number is not positive."""
    return 24 / bpp(size, width, height)


def _blur(x: Tensor) -> Tensor:
    """Gaussian window of 11 pixels, sigma 1.5, valid positions only; x is (n, 1, h, w).

    As sums of shifted planes: several times faster on a CPU than conv2d of single planes in float64."""
    window = [math.exp(-(t**2) / (2 * 1.5**2)) for t in range(-5, 6)]
    for dim in (2, 3):
        n = x.shape[dim] - 10
        out = x.narrow(dim, 0, n) * (window[0] / sum(window))
        for i, weight in enumerate(window[1:], 1):
            out.add_(x.narrow(dim, i, n), alpha=weight / sum(window))
        x = out
    return x


def _terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the structure (contrast-structure) map and of the whole SSIM map, for each of n planes (n, 1, h, w)."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = _blur(x), _blur(y)
    vx, vy, vxy = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    structure = (2 * vxy + c2) / (vx + vy + c2)
    whole = structure * (2 * mx * my + c1) / (mx * mx + my * my + c1)
    return structure.mean((1, 2, 3)), whole.mean((1, 2, 3))


def _planes(a: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(a.astype(np.float64)).permute(2, 0, 1)[:, None]


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Structural similarity, mean over R, G and B; at most 1, higher is better.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity" (2004),
    equation 13: Gaussian window of 11 pixels and sigma 1.5, valid positions, K1 = 0.01, K2 = 0.03. Sides of 11 or more.
    """
    return float(_terms(_planes(a), _planes(b))[1].mean())


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Multi-scale structural similarity, mean over R, G and B; 0..1, higher is better.

    Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment" (2003), equation 7:
    contrast-structure terms of five scales (2x2 mean and decimation between them), the luminance term at the coarsest.
    Negative terms are clipped at 0. Both sides must be at least 176 pixels, else ValueError: the window's 11 at a
    sixteenth of the size.
    """
    if min(a.shape[:2]) < 176:
        raise ValueError(f"MS-SSIM needs sides of at least 176 pixels, not {a.shape[1]} x {a.shape[0]}")
    x, y = _planes(a), _planes(b)
    score = torch.ones(x.shape[0], dtype=torch.float64)
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        structure, whole = _terms(x, y)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        score *= (whole if last else structure).clamp_min(0) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return float(score.mean())
