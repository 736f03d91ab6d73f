"""Distances between sets of pictures: do decoded patches look, as a population, like patches of photographs?

Features are Inception-v3's mixed_7, 768 averaged channels of each 256-pixel patch (`nn.backbones.inception`); figures
from them are named FID-768 and KID-768 and must not be compared with FID and KID, which use 2048 others. Patches are
taken in two shifted passes, as Mentzer et al. 2020 do it ("High-fidelity generative image compression", appendix).

A codec's patches are paired with the originals', and patches of one picture resemble and overlap each other: pictures,
not patches, are what was drawn at random. `Paired` therefore resamples pictures, and its KID compares patches of
different pictures only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

PATCH = 256

Array = NDArray[np.float64]


def patches(picture: NDArray[np.uint8], size: int = PATCH) -> NDArray[np.uint8]:
    """All whole patches of a picture (h, w, 3) side by side from the top left corner, then the same from (size / 2,
    size / 2): (n, size, size, 3). ValueError where either side is below `size`."""
    h, w = picture.shape[:2]
    if min(h, w) < size:
        raise ValueError(f"a picture of {w} x {h} holds no patch of {size} x {size}")
    corners = [
        (y, x)
        for start in (0, size // 2)
        for y in range(start, h - size + 1, size)
        for x in range(start, w - size + 1, size)
    ]
    return np.stack([picture[y : y + size, x : x + size] for y, x in corners])


@torch.inference_mode()
def features(network: nn.Module, pictures: NDArray[np.uint8], batch: int = 8) -> NDArray[np.float32]:
    """What `network` (pictures (b, 3, h, w) in 0..255 to (b, d)) says of pictures (n, h, w, 3): (n, d)."""
    device = next((b.device for b in network.buffers()), torch.device("cpu"))
    parts = torch.tensor(pictures).permute(0, 3, 1, 2).split(batch)
    return np.concatenate([network(part.to(device).float()).float().cpu().numpy() for part in parts])


def _nuclear(m: Array) -> float:
    """The sum of the singular values."""
    return float(np.linalg.svd(m, compute_uv=False).sum())


def frechet(x: NDArray, y: NDArray) -> float:
    """Frechet distance between normal distributions fitted to features (n, d) and (m, d); 0 is best, in float64.

    |mean_x - mean_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)), Dowson and Landau 1982; as FID, Heusel et al. 2017,
    equation 6. With C_x = A^T A and C_y = B^T B the trace of the root is the sum of the singular values of A B^T:
    exact for singular covariances too, which fewer than d + 1 patches give. Covariances divide by n - 1. The value
    shrinks with n, so compare only figures of the same patches. ValueError where a set has fewer than 2 rows.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError("a Frechet distance needs two rows or more in each set")
    means, factors = [], []
    for rows in (np.asarray(x, float), np.asarray(y, float)):
        mean = rows.mean(0)
        factor = (rows - mean) / math.sqrt(len(rows) - 1)
        if len(factor) > factor.shape[1]:
            factor = np.linalg.qr(factor, mode="r")  # the same product A^T A with d rows
        means.append(mean)
        factors.append(factor)
    a, b = factors
    distance = np.square(means[0] - means[1]).sum() + np.square(a).sum() + np.square(b).sum() - 2 * _nuclear(a @ b.T)
    return max(float(distance), 0.0)


def kernel(x: Array, y: Array) -> Array:
    """KID's polynomial kernel (x . y / d + 1)^3 between rows of (n, d) and (m, d): (n, m)."""
    k: Array = (x @ y.T / x.shape[1] + 1) ** 3
    return k


def kid(x: NDArray, y: NDArray) -> float:
    """Kernel distance between features (n, d) and (m, d) by the unbiased estimate of MMD^2 over the whole sets.

    Binkowski et al. 2018, "Demystifying MMD GANs", section 4; Gretton et al. 2012, equation 3. 0 is best; may be
    below 0. It takes the sets for independent: for a codec's patches beside the originals' own it is biased
    downwards, by 2/n of how much closer a patch is to its own original than to another (see `Paired.kid`).
    ValueError where a set has fewer than 2 rows.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError("a kernel distance needs two rows or more in each set")
    x, y = np.asarray(x, float), np.asarray(y, float)
    within = 0.0
    for rows in (x, y):
        k = kernel(rows, rows)
        within += (k.sum() - np.trace(k)) / (len(rows) * (len(rows) - 1))
    return float(within - 2 * kernel(x, y).mean())


class Paired:
    """Features of originals and of the same pictures decoded, picture by picture in the same order.

    real, fake: an array (patches, d) for each picture, as many patches in one as in the other. ValueError where the
    lists differ or hold fewer than two pictures.
    `weights` below count how often each picture is in a resample (see `resamples`); None is once each.
    """

    def __init__(self, real: Sequence[NDArray], fake: Sequence[NDArray]):
        counts = [len(rows) for rows in real]
        if len(counts) < 2 or counts != [len(rows) for rows in fake]:
            raise ValueError("give the patches of the same pictures, two or more, in both lists")
        x, y = (np.concatenate(rows).astype(float) for rows in (real, fake))
        self.counts = np.array(counts)
        # Moments and kernels of any resample follow from inner products: the features are not needed again.
        self._xx, self._yy, self._xy = x @ x.T, y @ y.T, x @ y.T
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        k = [(g / x.shape[1] + 1) ** 3 for g in (self._xx, self._yy, self._xy)]
        by_picture = [np.add.reduceat(np.add.reduceat(g, starts, 0), starts, 1) for g in k]
        self._mmd = by_picture[0] + by_picture[1] - by_picture[2] - by_picture[2].T
        np.fill_diagonal(self._mmd, 0)  # pairs of patches inside one picture

    def _weights(self, weights: NDArray | None) -> Array:
        w = np.ones(len(self.counts)) if weights is None else np.asarray(weights, float)
        if w.shape != self.counts.shape or (w < 0).any() or np.count_nonzero(w) < 2:
            raise ValueError("weights count pictures: one number for each, two or more of them above 0")
        return w

    def fid(self, weights: NDArray | None = None) -> float:
        """`frechet` between the two sets of patches (FID-768 where the features are mixed_7's)."""
        w = np.repeat(self._weights(weights), self.counts)
        used = w > 0
        w = w[used]
        n = w.sum()
        xx, yy, xy = (g[np.ix_(used, used)] for g in (self._xx, self._yy, self._xy))
        means = [w @ g @ w / n**2 for g in (xx, yy, xy)]
        spread = sum(w @ np.diag(g) / n - m for g, m in zip((xx, yy), means, strict=False)) * n / (n - 1)
        centred = xy - (xy @ w / n)[:, None] - (w @ xy / n)[None] + means[2]
        root = np.sqrt(w / (n - 1))
        cross = _nuclear(root[:, None] * centred * root)
        return max(float(means[0] + means[1] - 2 * means[2] + spread - 2 * cross), 0.0)

    def kid(self, weights: NDArray | None = None) -> float:
        """MMD^2 with KID's kernel over all pairs of patches of different pictures, in all three of its terms.

        The U-statistic of Gretton et al. 2012, equation 4, with pictures as the units: unbiased though the sets are
        paired and patches of a picture depend on each other; exactly 0 for equal sets. Larger than `kid`, which
        counts each patch beside its own original, by an amount that vanishes with more pictures.
        """
        w = self._weights(weights)
        n = w * self.counts
        pairs = n.sum() ** 2 - np.square(n).sum()
        return float(w @ self._mmd @ w / pairs)


def resamples(pictures: int, draws: int, seed: int = 0) -> NDArray[np.int64]:
    """How often each picture is in each bootstrap resample: (draws, pictures), each row adding up to `pictures`.

    The same arguments give the same draws, so that differences between codecs over the same pictures can be resampled
    too. Rows that hold one picture only are drawn again. ValueError for fewer than two pictures.
    """
    if pictures < 2:
        raise ValueError("resampling needs two pictures or more")
    rng = np.random.default_rng(seed)
    rows = np.empty((draws, pictures), np.int64)
    for row in rows:
        row[:] = 0
        while np.count_nonzero(row) < 2:
            row[:] = np.bincount(rng.integers(pictures, size=pictures), minlength=pictures)
    return rows


def interval(value: float, draws: NDArray, share: float = 0.95) -> tuple[float, float]:
    """The interval around `value` from the figures of its resamples: their quantiles, moved so that their mean is
    `value`. Resamples hold fewer different pictures, which raises a Frechet distance as fewer patches do; what they
    tell is the spread."""
    tail = (1 - share) / 2
    low, high = np.quantile(draws, (tail, 1 - tail)) - np.mean(draws) + value
    return float(low), float(high)
