"""The trees' twin: k nearest neighbours that correct pixels, as an ONNX graph of one product and a top-k.

Comparing every pixel of a picture with every sample would take hours, and few neighbours average little of the noise in
what they want. So the samples are condensed: into some hundreds of references (k-means, Lloyd's rounds), each of which
wants the mean of the samples next to it, drawn towards zero as the trees' leaves are by lambda (sum / (n + lambda)). A
pixel takes the mean of what its k nearest references want.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from numpy.typing import NDArray

from ..refine import FEATURES, SIDE, UNIT
from .boosting import model
from .refine_data import Samples

PIECE = 8192  # samples compared with all references at a time
LLOYD = 60_000  # samples that the references are placed by
# What a feature counts in the distance: neighbours' differences fully, the pixel's own level and its absolute position
# less (both in 0..31), the place in the latent's square not, q (0..63) by twice itself.
SCALE = np.array([1.0] * (SIDE * SIDE) + [1 / 8, 1 / 8, 0, 0, 2], np.float32)
SCALE[SIDE * SIDE // 2] = 1 / 8


def scaled(seen: NDArray[np.int16]) -> NDArray[np.float32]:
    """Features as whole numbers whose squared distances mean something; their products stay below 2^24, so exact."""
    return np.floor(seen * SCALE)


def _nearest(points: NDArray[np.float32], references: NDArray[np.float32]) -> Iterator[tuple[slice, NDArray[np.intp]]]:
    """For the points, piece by piece, the number of their nearest reference."""
    norms = np.square(references).sum(1)
    for start in range(0, len(points), PIECE):
        piece = slice(start, min(start + PIECE, len(points)))
        yield piece, (norms - 2 * points[piece] @ references.T).argmin(1)


def condense(
    fit: Samples, *, references: int, rounds: int, lam: float, k: int, seed: int, deadline: float,
    told: Callable[[int, float], None],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(references (m, 54), whole numbers, and the corrections that they want (m,), multiples of k / 1024).

    told(round, root mean squared distance of a sample from its reference). It ends early at `deadline`.
    """
    rng = np.random.default_rng(seed)
    points = scaled(fit.seen)
    some = points[rng.permutation(len(points))[:LLOYD]]
    centres = some[: min(references, len(some))].copy()
    for number in range(rounds):
        if number and time.monotonic() > deadline:
            break
        sums, counts, distance = np.zeros(centres.shape), np.zeros(len(centres)), 0.0
        for piece, near in _nearest(some, centres):
            np.add.at(sums, near, some[piece])
            counts += np.bincount(near, minlength=len(centres))
            distance += float(np.square(some[piece] - centres[near]).sum())
        told(number + 1, (distance / len(some)) ** 0.5)
        used = counts > 0
        centres[used] = np.rint(sums[used] / counts[used, None])
    total, counts = np.zeros(len(centres)), np.zeros(len(centres))
    for piece, near in _nearest(points, centres):
        total += np.bincount(near, fit.wanted[piece], len(centres))
        counts += np.bincount(near, minlength=len(centres))
    unit = UNIT / k
    return centres, (np.rint(total / (counts + lam) * unit) / unit).astype(np.float32)


def graph(references: NDArray[np.float32], wanted: NDArray[np.float32], k: int) -> bytes:
    """Features (n, 54) to correction (n, 1). Distances are whole numbers; of equally near ones the first counts."""
    arrays = {
        "scale": SCALE, "directions": np.ascontiguousarray(-2 * references.T),
        "norms": np.square(references).sum(1), "wanted": wanted, "k": np.array([min(k, len(wanted))], np.int64),
    }
    assert references.shape[1] == FEATURES
    node = onnx.helper.make_node
    nodes = [
        node("Mul", ["features", "scale"], ["weighed"]), node("Floor", ["weighed"], ["point"]),
        node("MatMul", ["point", "directions"], ["product"]), node("Add", ["product", "norms"], ["distance"]),
        node("TopK", ["distance", "k"], ["least", "nearest"], axis=1, largest=0, sorted=1),
        node("Gather", ["wanted", "nearest"], ["wants"], axis=0),
        node("ReduceMean", ["wants"], ["correction"], axes=[1], keepdims=1),
    ]
    return model(nodes, [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()])
