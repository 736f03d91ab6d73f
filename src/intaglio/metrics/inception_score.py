"""Inception Score: are pictures recognisable, and different from each other?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def inception_score(logits: NDArray, splits: int = 1) -> tuple[float, float]:
    """exp(mean KL(p(class | picture) || p(class))), 1..classes, higher is better: mean and deviation over the splits.

    Salimans et al. 2016, "Improved techniques for training GANs", section 4. logits (n, classes): what the classifier
    says of each picture before the softmax. The authors' program takes them without the classifier's bias
    (`InceptionFull.logits(features, bias=False)`), of 50000 pictures in 10 splits. Fewer pictures give smaller figures:
    compare only figures of the same number, or with the originals' own. It says nothing about fidelity: a decoder may
    beat the originals. ValueError where there are fewer pictures than splits, or none.
    """
    logits = np.asarray(logits, float)
    if logits.ndim != 2 or not 1 <= splits <= len(logits):
        raise ValueError(f"an Inception Score in {splits} splits needs as many pictures, not logits of {logits.shape}")
    log_p = logits - logits.max(1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    scores = []
    for part in np.array_split(log_p, splits):
        p = np.exp(part)
        marginal = p.mean(0)
        log_marginal = np.log(np.maximum(marginal, np.finfo(float).tiny))  # a class that nothing has counts nothing
        scores.append(np.exp((p * (part - log_marginal)).sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))
