"""Refinements small enough to be known by heart, for tests."""

from __future__ import annotations

import numpy as np
import onnx

import intaglio
from intaglio.package import Package
from intaglio.refine import FEATURES, REACH, SIDE, features, grey
from intaglio.train.boosting import model


def linear(package: Package, weights: dict[int, float], constant: float = 0.0, percent: int = 0) -> Package:
    """The package with the refinement that adds constant + sum of weights[i] * feature i."""
    column = np.zeros((FEATURES, 1), np.float32)
    for i, weight in weights.items():
        column[i] = weight
    arrays = {"weights": column, "constant": np.array([constant], np.float32)}
    nodes = [onnx.helper.make_node("MatMul", ["features", "weights"], ["product"]),
             onnx.helper.make_node("Add", ["product", "constant"], ["correction"])]
    graph = model(nodes, [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()])
    return package.with_refinement(graph, {"percent": percent, "kind": "linear"})


def fitted(package: Package, source: np.ndarray, quality: float) -> Package:
    """A linear refinement that is of use for one picture: its least squares."""
    decoded = np.asarray(intaglio.decode(intaglio.encode(source, model=package, quality=quality), model=package))
    height, width, _ = source.shape
    rows, columns = np.nonzero(np.ones((height, width), bool))
    window = np.pad(grey(decoded), REACH, "edge")
    seen = features(window, rows, columns, (0, 0), (width, height), np.zeros(len(rows), int))[:, : SIDE * SIDE]
    wanted = (source.astype(float) - decoded).mean(2).ravel()
    found = np.linalg.lstsq(np.c_[seen, np.ones(len(seen))].astype(float), wanted, rcond=None)[0]
    return linear(package, dict(enumerate(found[:-1].tolist())), float(found[-1]))
