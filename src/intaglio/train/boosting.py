"""Gradient-boosted trees that correct pixels (XGBoost), and their ONNX graph, which needs no XGBoost.

The objective is that of the paper's equations 2 to 4: the squared error plus, for every tree, gamma times its leaves
and half lambda times the sum of their squared weights; splits that gain less than gamma are pruned; boosting stops when
photographs held out have not gained for some rounds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import BadInput
from ..refine import FEATURES, UNIT
from .refine_data import Samples

Told = Callable[[int, float, float], None]


def weights(samples: Samples, curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """What every sample counts: less where q makes errors large, so that every rate weighs alike. Mean 1."""
    weight = np.exp(-np.polyval(curve, samples.seen[:, -1]))
    return weight / weight.mean()


def error_curve(samples: Samples) -> NDArray[np.float64]:
    """The logarithm of the mean squared error as a polynomial of q (np.polyval's order), of degree 2 at most."""
    steps = np.unique(samples.seen[:, -1])
    error = np.array([np.square(samples.wanted[samples.seen[:, -1] == q]).mean() for q in steps])
    return np.polyfit(steps, np.log(error + 1e-3), min(2, len(steps) - 1))


def boost(
    fit: Samples, held: Samples, *, rounds: int, patience: int, rate: float, depth: int, lam: float, gamma: float,
    least: float, seed: int, threads: int | None, deadline: float, told: Told,
) -> Any:
    """The booster, cut after its best round. told(round, rmse of `fit`, rmse of `held`), both weighted by rate."""
    xgboost = library()
    curve = error_curve(fit)
    train = xgboost.QuantileDMatrix(fit.seen, fit.wanted, weight=weights(fit, curve), nthread=threads)
    check = xgboost.QuantileDMatrix(held.seen, held.wanted, weight=weights(held, curve), ref=train, nthread=threads)

    class Watch(xgboost.callback.TrainingCallback):  # type: ignore[name-defined]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            told(epoch + 1, evals_log["fit"]["rmse"][-1], evals_log["held"]["rmse"][-1])
            return time.monotonic() > deadline

    numbers = {
        "objective": "reg:squarederror", "base_score": 0.0, "tree_method": "hist", "eta": rate, "max_depth": depth,
        "lambda": lam, "gamma": gamma, "min_child_weight": least, "seed": seed, "nthread": threads or 0,
    }
    stop = xgboost.callback.EarlyStopping(rounds=patience, metric_name="rmse", data_name="held", save_best=True)
    return xgboost.train(
        numbers, train, num_boost_round=rounds, evals=[(train, "fit"), (check, "held")], verbose_eval=False,
        callbacks=[stop, Watch()],  # the first that says stop is the last that is asked
    )


def library() -> Any:
    """XGBoost. Raises BadInput where it is not installed."""
    try:
        import xgboost
    except ImportError:
        raise BadInput("hific-xgb needs XGBoost; pip install 'intaglio[gbdt]'") from None
    return xgboost


def graph(booster: Any) -> tuple[bytes, dict[str, int]]:
    """The trees as a graph, features (n, 54) to correction (n, 1), and how many trees and leaves it has.

    Features are whole numbers, so a split `feature < t` is `feature <= ceil(t) - 1/2`; leaves are rounded to 1/1024. So
    every comparison and every sum is exact in float32, in any order.
    """
    trees = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    nodes: dict[str, list[Any]] = {name: [] for name in (
        "treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    target: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for t, tree in enumerate(trees):
        below = zip(tree["left_children"], tree["right_children"], strict=True)
        for n, (left, right) in enumerate(below):
            leaf, value = left < 0, tree["split_conditions"][n]
            nodes["treeids"].append(t)
            nodes["nodeids"].append(n)
            nodes["featureids"].append(0 if leaf else tree["split_indices"][n])
            nodes["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["values"].append(0.0 if leaf else float(np.ceil(value)) - 0.5)
            nodes["truenodeids"].append(0 if leaf else left)
            nodes["falsenodeids"].append(0 if leaf else right)
            if leaf:
                target["treeids"].append(t)
                target["nodeids"].append(n)
                target["ids"].append(0)
                target["weights"].append(round(value * UNIT) / UNIT)
    attributes: dict[str, Any] = {f"nodes_{k}": v for k, v in nodes.items()}
    attributes |= {f"target_{k}": v for k, v in target.items()}
    node = onnx.helper.make_node("TreeEnsembleRegressor", ["features"], ["correction"], domain="ai.onnx.ml",
                                 n_targets=1, **attributes)
    return model([node], []), {"trees": len(trees), "leaves": len(target["weights"])}


def model(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> bytes:
    """A refinement's graph: features (n, 54) to correction (n, 1), both float32."""
    value = onnx.helper.make_tensor_value_info
    whole = onnx.helper.make_graph(
        nodes, "refine", [value("features", onnx.TensorProto.FLOAT, ["n", FEATURES])],
        [value("correction", onnx.TensorProto.FLOAT, ["n", 1])], weights,
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    result = onnx.helper.make_model(whole, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(result)
    return result.SerializeToString(deterministic=True)
