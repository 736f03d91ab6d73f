"""NIQE, how far a picture's local statistics are from those of unspoilt photographs; no original is needed.

Mittal, Soundararajan, Bovik, "Making a 'completely blind' image quality analyzer" (2013), with the numbers that its
authors fitted to 125 pristine photographs.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..nn.backbones.weights import WrongWeights, load

Array = NDArray[np.float64]

BLOCK = 96  # pixels of a side of a block at the first scale; half of it at the second
FEATURES = 18  # of a block at one scale
_SHAPES = 0.2 + 0.001 * np.arange(9801)  # the shapes that the authors' program tries
_TO_GREY = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])  # MATLAB's rgb2gray
# MATLAB's imresize by 0.5: the cubic kernel (Keys 1981, a = -1/2) at twice its width, at -3.5, -2.5, ... 3.5.
_HALVE = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256


@functools.cache
def _ratios() -> Array:
    """Gamma(2/s)^2 / (Gamma(1/s) Gamma(3/s)) for every shape s; rises with s."""
    return np.array([math.exp(2 * math.lgamma(2 / s) - math.lgamma(1 / s) - math.lgamma(3 / s)) for s in _SHAPES])


def _gamma(x: Array) -> Array:
    return np.array([math.gamma(v) for v in x])


def aggd(x: Array) -> tuple[Array, Array, Array]:
    """Asymmetric generalised normal distributions fitted to each row of (n, m): shape, left and right scale, each (n,).

    By moments (equations 4 to 6; Lasmar, Stitou, Berthoumieu 2009). The shape is the nearest of 0.2, 0.201, ... 10. All
    three are NaN for a row that has no positive or no negative value: it says nothing.
    """
    squares = x * x
    below, above = x < 0, x > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.sqrt(np.where(below, squares, 0).sum(1) / below.sum(1))
        right = np.sqrt(np.where(above, squares, 0).sum(1) / above.sum(1))
        skew = left / right
        ratio = np.abs(x).mean(1) ** 2 / squares.mean(1) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    valid = np.isfinite(ratio)
    table = _ratios()
    i = np.clip(np.searchsorted(table, np.where(valid, ratio, 0.5)), 1, len(table) - 1)
    i -= ratio - table[i - 1] <= table[i] - ratio
    shape = np.where(valid, _SHAPES[i], np.nan)
    to_scale = np.sqrt(_gamma(1 / shape) / _gamma(3 / shape))
    return shape, left * to_scale, right * to_scale


def _describe(blocks: Array) -> Array:
    """Normalised blocks (n, s, s) to features (n, 18): the fit to a block, then the fits to its products with itself
    shifted by a pixel right, down and along both diagonals (round the block's edge, as the authors' program does)."""
    n = len(blocks)
    shape, left, right = aggd(blocks.reshape(n, -1))
    columns = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = aggd((blocks * np.roll(blocks, shift, (1, 2))).reshape(n, -1))
        columns += [shape, (right - left) * _gamma(2 / shape) / _gamma(1 / shape), left, right]
    return np.stack(columns, 1)


def _normalised(grey: Array, window: Tensor) -> Array:
    """(I - mu) / (sigma + 1), equations 1 to 3: the mean and the deviation under the window; borders repeat."""
    x = torch.from_numpy(grey)[None, None]
    kernel = window[None, None].to(x)
    pad = window.shape[0] // 2

    def blur(p: Tensor) -> Tensor:
        return F.conv2d(F.pad(p, (pad,) * 4, mode="replicate"), kernel)

    mu = blur(x)
    sigma = torch.sqrt((blur(x * x) - mu * mu).abs())
    return ((x - mu) / (sigma + 1))[0, 0].numpy()


def halve(x: Array) -> Array:
    """A plane of even sides at half its size by MATLAB's imresize(x, 0.5): antialiased bicubic, mirrored borders."""
    for axis in (0, 1):
        n = x.shape[axis]
        padded = np.pad(x, [(3, 3) if k == axis else (0, 0) for k in (0, 1)], mode="symmetric")
        at = [slice(None)] * 2
        total = np.zeros(0)
        for i, weight in enumerate(_HALVE):
            at[axis] = slice(i, i + n - 1, 2)
            part = weight * padded[tuple(at)]
            total = total + part if i else part
        x = total
    return x


def _blocks(x: Array, side: int) -> Array:
    """A plane to its blocks (n, side, side), row by row."""
    h, w = x.shape
    return x.reshape(h // side, side, w // side, side).swapaxes(1, 2).reshape(-1, side, side)


class NIQE:
    """sqrt((m - m_p)' ((C + C_p) / 2)^-1 (m - m_p)), equation 10: 0 or more, lower is better; photographs have 2 to 5.

    m and C are mean and covariance of the 36 features (18 at each of two scales) of the picture's 96 x 96 blocks, m_p
    and C_p those of pristine photographs. Of those only the sharpest blocks were taken; of the picture at hand all
    are, since a lack of sharpness is what is to be found (section II.B of the paper, and the authors' program). What is
    left of the picture beside whole blocks is not looked at. Constant blocks, to which nothing can be fitted, are left
    out.

    The figures are of the authors' parameters and of their program's grey (MATLAB's rgb2gray, rounded); MATLAB's own
    `niqe` has others. A picture with few blocks is judged with much chance.

    folder: where the file is, see `weights.find`. state: the numbers themselves ("mu_pris_param", "cov_pris_param",
    "gaussian_window"). Raises MissingWeights, WrongWeights.
    """

    def __init__(self, *, folder: str | os.PathLike[str] | None = None, state: Mapping[str, Tensor] | None = None):
        state = load("niqe", folder) if state is None else state
        try:
            self.mean = state["mu_pris_param"].double().flatten().numpy()
            self.covariance = state["cov_pris_param"].double().numpy()
            self.window = state["gaussian_window"].double()
        except KeyError as error:
            raise WrongWeights(f"these numbers of NIQE lack {error.args[0]}") from None
        if self.mean.shape != (2 * FEATURES,) or self.covariance.shape != (2 * FEATURES,) * 2:
            raise WrongWeights(f"{self.mean.size} means are not NIQE's {2 * FEATURES}")

    def features(self, picture: NDArray[np.uint8]) -> Array:
        """The features (blocks, 36) of a picture (h, w, 3) of RGB or (h, w) of grey; rows of NaN where there are none.

        ValueError where it holds fewer than two blocks."""
        grey = np.round(picture @ _TO_GREY) if picture.ndim == 3 else picture.astype(float)
        rows, columns = (side // BLOCK for side in grey.shape)
        if rows * columns < 2:
            size = f"{grey.shape[1]} x {grey.shape[0]}"
            raise ValueError(f"{size} pixels are too few for NIQE: it needs two blocks of {BLOCK} x {BLOCK} or more")
        grey = grey[: rows * BLOCK, : columns * BLOCK]
        scales = []
        for side in (BLOCK, BLOCK // 2):
            scales.append(_describe(_blocks(_normalised(grey, self.window), side)))
            grey = halve(grey)
        return np.concatenate(scales, 1)

    def __call__(self, picture: NDArray[np.uint8]) -> float:
        """The figure for a picture (h, w, 3) of RGB or (h, w) of grey, uint8.

        ValueError where it holds fewer than two blocks that have any texture."""
        features = self.features(picture)
        features = features[~np.isnan(features).any(1)]
        if len(features) < 2:
            raise ValueError("NIQE needs two blocks with some texture or more; this picture is flat nearly everywhere")
        difference = features.mean(0) - self.mean
        spread = (np.cov(features, rowvar=False) + self.covariance) / 2
        return math.sqrt(max(float(difference @ np.linalg.pinv(spread) @ difference), 0.0))
