"""Edge preservation, colour accuracy, texture realism: the columns of table 3 of the CompressGAN paper.

The paper tabulates these three and defines none of them. What follows are this project's definitions, so its figures
stand beside the paper's for their names only. All three look at CIELAB, so that a shift of hue counts as well as one of
lightness; all three are 100 for equal pictures, fall with growing blur, noise and hue shift (tested up to 120 degrees
of HSV's hue), and are symmetric in their two pictures: what a codec invents counts as much as what it loses.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .colour import JUST_NOTICEABLE, ciede2000, lab

SMALLEST = 16  # pixels of a side
WINDOW = 16  # pixels of a side of the windows whose textures are compared, half overlapping
SCALES = 3
# Standard deviations of L, a and b inside a window that hardly show; at such sizes the eye resolves colour less well
# than lightness (Mullen 1985, "The contrast sensitivity of human colour vision").
UNSEEN = (1.0, JUST_NOTICEABLE, JUST_NOTICEABLE)

_STEP = JUST_NOTICEABLE / math.sqrt(2 * math.pi)  # gradient of a just noticeable step under a Gaussian of sigma 1


def _pair(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Both pictures (h, w, 3) as CIELAB (3, h, w) in float64. ValueError where they differ in size or are too small."""
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3:
        raise ValueError(f"pictures of shapes {a.shape} and {b.shape} cannot be compared: give two of (h, w, 3)")
    if min(a.shape[:2]) < SMALLEST:
        raise ValueError(
            f"a picture of {a.shape[1]} x {a.shape[0]} is too small: sides of {SMALLEST} pixels are needed"
        )
    x, y = (torch.from_numpy(lab(p)).permute(2, 0, 1) for p in (a, b))
    return x, y


def _correlate(x: Tensor, kernel: list[float], dim: int) -> Tensor:
    """Valid correlation along `dim`, as a sum of shifted planes: many times faster on a CPU than conv2d of planes."""
    n = x.shape[dim] - len(kernel) + 1
    out = x.narrow(dim, 0, n) * kernel[0]
    for i, weight in enumerate(kernel[1:], 1):
        out.add_(x.narrow(dim, i, n), alpha=weight)
    return out


def _gradient(x: Tensor) -> Tensor:
    """Planes (c, h, w) to their derivatives (2 c, h, w) under a Gaussian of sigma 1, per pixel; borders repeat."""
    g = [math.exp(-(t**2) / 2) for t in range(-4, 5)]
    d = [t * v for t, v in zip(range(-4, 5), g, strict=True)]
    g, d = [v / sum(g) for v in g], [v / sum(t * w for t, w in zip(range(-4, 5), d, strict=True)) for v in d]
    padded = F.pad(x[None], (4, 4, 4, 4), mode="replicate")[0]
    return torch.cat([_correlate(_correlate(padded, g, 1), d, 2), _correlate(_correlate(padded, d, 1), g, 2)])


def edge_preservation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Edge preservation by this project's definition: 0..100, higher is better, 100 for equal pictures.

    100 sum_p w_p s_p / sum_p w_p over pixels p, not below 0, with
    s = (2 <G_a, G_b> + c) / (|G_a|^2 + |G_b|^2 + c) and w = max(|G_a|, |G_b|).
    G, 6 numbers a pixel, are the derivatives of L, a and b across and down under a Gaussian of 1 pixel; s is the
    similarity of SSIM and of gradient magnitude similarity (Xue, Zhang, Mou, Bovik 2014, equation 4), taken of
    the whole colour gradient, so that an edge must keep its place, strength, direction and colours. Edges count by
    their strength in either picture: lost and invented ones alike. c is the square of a just noticeable step's
    gradient. Two pictures without any gradient score 100. Sides of 16 or more, else ValueError.
    """
    x, y = (_gradient(p) for p in _pair(a, b))
    xx, yy = x.square().sum(0), y.square().sum(0)
    similarity = (2 * (x * y).sum(0) + _STEP**2) / (xx + yy + _STEP**2)
    weight = torch.maximum(xx, yy).sqrt()
    total = float(weight.sum())
    return 100 * min(max(float((weight * similarity).sum()) / total, 0.0), 1.0) if total else 100.0


def colour_accuracy(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Colour accuracy by this project's definition: 0..100, higher is better, 100 for equal pictures.

    The share of pixels, in per cent, whose colours differ by less than 2.3 in CIEDE2000 (`colour.ciede2000`): what half
    of all observers would not see side by side. Colours are compared pixel by pixel; where no difference reaches 2.3, a
    larger one does not lower it. Sides of 16 or more, else ValueError.
    """
    x, y = _pair(a, b)
    difference = ciede2000(x.permute(1, 2, 0).numpy(), y.permute(1, 2, 0).numpy())
    return 100 * float(np.mean(difference < JUST_NOTICEABLE))


def _gaussians(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means (n, c) and covariances (n, c, c) of planes (c, h, w) in n windows, which cover the whole plane.

    A window has WINDOW pixels a side, or what the right and lower border leave of them."""

    def total(planes: Tensor) -> Tensor:
        half = WINDOW // 2
        blocks = F.avg_pool2d(planes[None], half, half, ceil_mode=True, divisor_override=1)
        return F.avg_pool2d(blocks, 2, 1, divisor_override=1)[0].flatten(1)

    c = len(x)
    rows, columns = torch.triu_indices(c, c)
    middle = x.mean((1, 2), keepdim=True)  # taken out of the squares, where it would only cost digits
    centred = x - middle
    count = total(torch.ones_like(x[:1]))
    mean = total(centred) / count
    moments = total(centred[rows] * centred[columns]) / count - mean[rows] * mean[columns]
    covariance = torch.empty(moments.shape[1], c, c, dtype=x.dtype)
    covariance[:, rows, columns] = covariance[:, columns, rows] = moments.T
    return (mean + middle[:, 0]).T, covariance


def _overlap(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two lots of planes (c, h, w), a third of them each from L, a and b: the Bhattacharyya coefficient (n,) of each
    window's two normal distributions, and the larger of their two mean variances (n,), UNSEEN added to both."""
    (mean_x, s_x), (mean_y, s_y) = _gaussians(x), _gaussians(y)
    floor = torch.diag(torch.tensor(UNSEEN, dtype=x.dtype).repeat(len(x) // 3) ** 2)
    s_x, s_y, d = s_x + floor, s_y + floor, mean_x - mean_y
    s = (s_x + s_y) / 2
    distance = (d * torch.linalg.solve(s, d)).sum(1) / 8
    distance += (torch.logdet(s) - (torch.logdet(s_x) + torch.logdet(s_y)) / 2) / 2
    variance = torch.stack([m.diagonal(dim1=1, dim2=2).mean(1) for m in (s_x, s_y)]).amax(0)
    return torch.exp(-distance), variance


def _differences(x: Tensor) -> Tensor:
    """Planes (c, h, w) to differences of neighbours across and down, of unit norm: (2 c, h - 1, w - 1)."""
    corner = x[:, :-1, :-1]
    return torch.cat([x[:, :-1, 1:] - corner, x[:, 1:, :-1] - corner]) / math.sqrt(2)


def texture_realism(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Texture realism by this project's definition: 0..100, higher is better, 100 for equal pictures.

    100 sum w B / sum w over windows of 16 x 16 pixels, half overlapping, of the picture and of its halves and quarters
    (the three scales count alike). In a window, texture is taken for two normal distributions: of the colours (L, a,
    b), and of their differences to the neighbours right and below (6 numbers); compare the region covariances of Tuzel,
    Porikli, Meer 2006. B is the product of the Bhattacharyya coefficients (1943) of the two pictures' distributions,

        exp(-d' S^-1 d / 8) (|S_a| |S_b|)^(1/4) / |S|^(1/2),  S = (S_a + S_b) / 2,  d the difference of the means:

    1 where they are the same, and smaller the further any direction's variance is scaled down (blur) or up (noise), by
    the same amount for a factor and for its inverse, and the further the colours move. w is the larger of the two
    pictures' contrast of neighbours (root of the mean variance). UNSEEN is added to all variances. Nothing is compared
    pixel by pixel: another sample of the same texture scores nearly as high as the texture itself. Scales whose sides
    fall to 16 or less are left out. Sides of 16 or more, else ValueError.
    """
    x, y = _pair(a, b)
    above = below = 0.0
    for scale in range(SCALES):
        if scale:
            x, y = (F.avg_pool2d(plane[None], 2)[0] for plane in (x, y))
            if min(x.shape[1:]) <= SMALLEST:
                break
        # The last row and column have no neighbour behind them: both distributions are of the same pixels.
        colours, _ = _overlap(x[:, :-1, :-1], y[:, :-1, :-1])
        grain, variance = _overlap(_differences(x), _differences(y))
        weight = variance.sqrt()
        above += float((weight * colours * grain).mean())
        below += float(weight.mean())
    return 100 * min(above / below, 1.0)  # rounding may carry it past 1
