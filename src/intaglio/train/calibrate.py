"""Entropy tables from counts: what residuals of each scale index really look like, on photographs.

Training assumes Gaussians. Real residuals have a sharper peak and longer tails, so the tables of a package are the
Gaussians corrected by symmetric counts over training crops at every q, of symbols rounded as files hold them: the wider
a table's evidence, the more it says.
"""

from __future__ import annotations

import numpy as np
import torch

from .. import entropy
from ..nn.codec import STEPS, Codec
from ..nn.finite import soft_to_hard
from ..nn.prior import SCALES, sigma
from .data import Photographs
from .draws import Draws
from .export import finite_tables, integer_counts

PRIOR_WEIGHT = 4000.0  # a Gaussian counts as this many observations
TAIL = 2.0**-14


@torch.no_grad()
def counts(codec: Codec, photographs: Photographs, pictures: int, reach: int = entropy.MAX_REACH) -> np.ndarray:
    """Histograms (64, reach + 2) of |residual| by scale index, over `pictures` crops of 256 (or of what the photographs
    allow); the last column counts what lies beyond `reach`. A finite alphabet has two of them, (128, reach + 2): that
    of the latents and that of the hyper-latents."""
    result = np.zeros((2 * SCALES if codec.levels else SCALES, reach + 2))
    codec = codec.eval()
    size = min(256, photographs.largest_crop() // 64 * 64)
    for i in range(pictures):
        x = photographs.crops(Draws(7, i, 1, photographs.device), size).cpu()
        q = torch.full((1, 1, 1), float(i % STEPS))
        t = (q / (STEPS - 1))[:, None]
        y = codec.analysis(x) * codec.gain(q)
        if codec.levels:
            y = soft_to_hard(y, codec.levels)
        s = codec.symbols(y, codec.hyper(y, t), q)
        own = s.z_scale.expand_as(s.z_hat) + (SCALES if codec.levels else 0)
        for scale, value in ((s.scale, s.y_hat - s.mean), (own, s.z_hat - s.z_mean)):
            magnitude = value.abs().round().long().clamp_max(reach + 1)
            flat = scale.long() * (reach + 2) + magnitude
            result += np.bincount(flat.flatten().numpy(), minlength=result.size).reshape(result.shape)
    return result


def tables(histograms: np.ndarray, levels: int = 0) -> entropy.Tables:
    """Integer tables from `counts`; each sums to 2^24 with every entry at least 1. For a finite alphabet, those of
    `finite_tables`."""
    if levels:
        latents, hyper = (tables(part) for part in np.split(histograms, 2))
        cut = finite_tables(latents, levels)
        return entropy.Tables([*(cut.counts(s) for s in range(SCALES)), *(hyper.counts(s) for s in range(SCALES))])
    gaussian = entropy.gaussian_tables(sigma(torch.arange(SCALES, dtype=torch.float64)).tolist(), TAIL)
    result = []
    for s, seen in enumerate(histograms):
        base = gaussian.counts(s).astype(float) / entropy.TOTAL
        k = len(base) // 2 - 1
        # a symmetric probability of each magnitude 0..reach, Gaussian where it stores one
        p = np.zeros(len(seen))
        p[: k + 1] = base[k : 2 * k + 1] * np.where(np.arange(k + 1) == 0, 1, 2)
        p[-1] = base[-1]
        p = (seen + PRIOR_WEIGHT * p) / (seen.sum() + PRIOR_WEIGHT)
        tail = np.cumsum(p[::-1])[::-1]  # the mass at and beyond each magnitude
        enough = int(np.argmax(tail < TAIL)) - 1 if (tail < TAIL).any() else entropy.MAX_REACH
        k = max(k, min(enough, entropy.MAX_REACH))
        half = p[1 : k + 1] / 2
        result.append(integer_counts(np.concatenate([half[::-1], p[:1], half, [max(tail[k + 1], 2.0**-20)]])))
    return entropy.Tables(result)
