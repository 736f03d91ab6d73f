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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BadInput, IntaglioError
from . import checkpoint


def average(paths: Sequence[Path], weights: Sequence[float]) -> dict[str, Any]:
    """The checkpoint of the weighted mean of the checkpoints' averaged weights; recipe and numbers are the first's.

    weights: one a path, of any sum above 0. Raises BadInput where there are fewer than two, or they are of several
    recipes or sizes.
    """
    if len(paths) < 2 or len(weights) != len(paths) or min(weights) < 0 or sum(weights) <= 0:
        raise BadInput("give two checkpoints or more, their weights from 0 on and not all 0")
    shares = [weight / sum(weights) for weight in weights]
    first = checkpoint.load(paths[0])
    shapes = {k: v.shape for k, v in first["ema"].items()}
    mean = {k: v.double() * shares[0] if v.is_floating_point() else v for k, v in first["ema"].items()}
    trainings = [first["training"]]
    for path, share in zip(paths[1:], shares[1:], strict=True):
        state = checkpoint.load(path)
        if {k: v.shape for k, v in state["ema"].items()} != shapes:
            raise BadInput(f"{path}: is of another network than {paths[0]}; average checkpoints of one recipe and size")
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


def together(trainings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the card says of a mean: every stage once. Of one run at several times (the same recipe, seed and numbers
    after the same stages) the longest counts."""
    stages: list[dict[str, Any]] = []
    places: dict[str, int] = {}
    for training in trainings:
        path = ""
        for stage in training["stages"]:
            lasting = {k: v for k, v in stage.items() if k not in ("steps", "pixels")}
            path += repr(sorted(lasting.items(), key=lambda item: item[0]))
            if path not in places:
                places[path] = len(stages)
                stages.append(stage)
            elif stage["steps"] > stages[places[path]]["steps"]:
                stages[places[path]] = stage
    return {"steps": sum(s["steps"] for s in stages), "pixels": sum(s["pixels"] for s in stages), "stages": stages}


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
        checkpoint.save(a.out, average(paths, weights))
    except ValueError:
        p.exit(1, f"{p.prog}: a weight is no number; give CHECKPOINT:WEIGHT, such as run/last.pt:0.5\n")
    except IntaglioError as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    main()
