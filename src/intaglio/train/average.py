"""Checkpoints of one network averaged: the noise that small batches leave in the weights goes, what they learnt stays.

    python -m intaglio.train.average OUT.pt CHECKPOINT[:WEIGHT] CHECKPOINT[:WEIGHT] ...

The averaged weights (EMA) of runs that began at one point, or of one run at several times at a high learning rate, lie
around the bottom of one valley; their mean lies nearer to it than any of them (Izmailov et al. 2018, "Averaging weights
leads to wider optima and better generalization"; Wortsman et al. 2022, "Model soups"). Runs from other starts are in
other valleys: their mean is worse than each of them. OUT.pt is to be exported, or to start from with --warm; it has no
optimiser to resume with.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BadInput, IntaglioError
from ..told import ended
from . import checkpoint


def average(paths: Sequence[Path], weights: Sequence[float]) -> dict[str, Any]:
    """The checkpoint of the weighted mean of the checkpoints' averaged weights; recipe and numbers are the first's.

    weights: one a path, of any sum above 0. Raises BadInput where there are fewer than two, they are of several
    recipes or sizes, or no run's.
    """
    if len(paths) < 2 or len(weights) != len(paths) or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise BadInput("give two checkpoints or more, their weights from 0 on and not all 0")
    shares = [weight / sum(weights) for weight in weights]
    first = _load(paths[0])
    shapes = {k: v.shape for k, v in first["ema"].items()}
    mean = {k: v.double() * shares[0] if v.is_floating_point() else v for k, v in first["ema"].items()}
    trainings = [first["training"]]
    for path, share in zip(paths[1:], shares[1:], strict=True):
        state = _load(path)
        if state["recipe"] != first["recipe"] or {k: v.shape for k, v in state["ema"].items()} != shapes:
            raise BadInput(f"{path}: is of another recipe or size than {paths[0]}; average checkpoints of one")
        for key, value in state["ema"].items():
            if value.is_floating_point():
                mean[key] += value.double() * share
        trainings.append(state["training"])
    weights_of = {k: v.to(first["ema"][k].dtype) for k, v in mean.items()}
    training = together(trainings)
    return {key: first[key] for key in ("recipe", "numbers", "stated", "seed")} | {
        "network": weights_of, "ema": weights_of, "training": training,
        "step": training["steps"], "pixels": training["pixels"],
    }


def _load(path: Path) -> dict[str, Any]:
    state = checkpoint.load(path)
    checkpoint.recipe_of(state, path)
    if not {"numbers", "stated", "seed"} <= state.keys() or "stages" not in state["training"]:
        raise BadInput(f"{path}: does not say how it was trained; give checkpoints that `intaglio train` wrote")
    return state


def together(trainings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the card says of a mean: every stage once, also where a mean meets its parts. A stage is known by its
    recipe, seed and numbers, and by how many such stages came before it; of one run at several times the longest
    counts."""
    stages: dict[tuple[str, int], dict[str, Any]] = {}
    for training in trainings:
        before: collections.Counter[str] = collections.Counter()
        for stage in training["stages"]:
            name = json.dumps({k: v for k, v in stage.items() if k not in ("steps", "pixels")}, sort_keys=True)
            key = name, before[name]
            before[name] += 1
            if key not in stages or stage["steps"] > stages[key]["steps"]:
                stages[key] = stage
    total = {what: sum(stage[what] for stage in stages.values()) for what in ("steps", "pixels")}
    return {**total, "stages": list(stages.values())}


def _given(word: str) -> tuple[Path, float]:
    path, colon, weight = word.rpartition(":")
    return (Path(path), float(weight)) if colon else (Path(word), 1.0)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, metavar="OUT.pt")
    p.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT[:WEIGHT]")
    a = p.parse_args()
    try:
        paths, weights = zip(*(_given(word) for word in a.checkpoints), strict=True)
        if a.out.exists() and "optimiser" in checkpoint.load(a.out):
            raise BadInput(f"{a.out}: is a run's own checkpoint, and a mean in its place could not be resumed; choose "
                           "another OUT.pt")
        checkpoint.save(a.out, average(paths, weights))
    except ValueError:
        p.exit(1, f"{p.prog}: a weight is no number; give CHECKPOINT:WEIGHT, such as run/last.pt:0.5\n")
    except IntaglioError as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    ended(main)
