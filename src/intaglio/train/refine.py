"""From a package to the same package with a refinement: `intaglio train hific-xgb --warm PACKAGE --data PHOTOS`.

Nothing of the package's networks changes, and neither does a symbol of its files.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput
from ..package import Package, resolve
from ..runtime import Runtime
from ..writing import write_bytes
from . import refine_data
from .data import Photographs
from .loop import Options
from .refine_data import Samples

GATHERING = 0.5  # of a time box, at most this share is spent on decoding photographs
RESERVE = 0.1  # and this one is left for the export

Log = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a fit may take, on how many threads, and the number that everything random comes from."""

    seed: int = 0
    deadline: float = math.inf  # of time.monotonic()
    threads: int | None = None


@dataclasses.dataclass(frozen=True)
class Refinement:
    """A recipe that refines a package; a system derives from it and says what it fits."""

    name: str = ""
    label: str = ""  # what the package's name gets behind it
    samples: int | None = 960  # pixels of each photograph, the paper's Y; None: all of each photograph's crop
    photographs: int = 640  # of which pixels are taken
    held: float = 0.15  # share of the photographs that only say when to stop
    rounds: int = 100

    def check(self) -> None:
        """Raise BadInput where something is missing that `fit` needs: before the work, not after it."""

    def fit(self, fit: Samples, held: Samples, budget: Budget, log: Log) -> tuple[bytes, dict[str, Any]]:
        """The graph (refine.onnx) and what the card is to say of it."""
        raise NotImplementedError


def refine(package: Package, recipe: Refinement, photographs: Photographs, budget: Budget, log: Log) -> Package:
    """The package with the refinement that the recipe fits to photographs. Raises BadInput where there are too few."""
    start = time.monotonic()
    count = min(len(photographs.index["entries"]), recipe.photographs)
    order = np.random.default_rng(budget.seed).permutation(len(photographs.index["entries"]))[:count]
    rest, held_out = (order[part] for part in refine_data.split(count, recipe.held, budget.seed))
    until = start + GATHERING * (budget.deadline - start)
    late = start + (1 - recipe.held) * (until - start)
    fit = refine_data.gather(package, photographs, rest, recipe.samples, budget.seed, late, budget.threads)
    held = refine_data.gather(package, photographs, held_out, recipe.samples, budget.seed, until, budget.threads)
    log({"pixels": len(fit), "held": len(held), "seconds": round(time.monotonic() - start, 1)})
    graph, facts = recipe.fit(fit, held, budget, log)
    card = {
        "percent": round(100 * float(package.card.get("realism", 0.0))), "kind": recipe.label,
        "samples": recipe.samples or "all", "photographs": fit.photographs, "pixels": len(fit), **facts,
    }
    result = package.with_refinement(graph, card)
    before, after = _errors(result, held)
    card["held_out"] = {"photographs": held.photographs, "rmse": round(before, 4), "refined": round(after, 4)}
    log(card)
    name = f"{package.name.split('+')[0]}+{recipe.label}"
    result = result.with_refinement(graph, card)
    return Package({**result.card, "name": name}, result.members)


def _errors(package: Package, samples: Samples) -> tuple[float, float]:
    """Root mean squared error in grey levels of the samples as they are, and with the package's corrections."""
    left = samples.wanted - Runtime(package).refinement(samples.seen.astype(np.float32))
    return float(np.sqrt(np.square(samples.wanted).mean())), float(np.sqrt(np.square(left).mean()))


def train(
    recipe: Refinement, data: Path, options: Options, threads: int | None = None, samples: str | None = None
) -> None:
    """Refine the package `options.warm`; leaves log.jsonl and the package NAME.itgm in options.out. Raises BadInput."""
    from .packs import prepare

    start = time.monotonic()
    if options.warm is None:
        raise BadInput(f"{recipe.name} refines a model package: give it (a file, or a released model's name) by --warm")
    if options.resume or options.bfloat16 or options.compile or options.device == "cuda":
        raise BadInput(f"{recipe.name} fits no network: do without --resume, --bfloat16, --compile and --device cuda")
    recipe.check()
    package = resolve(str(options.warm))
    recipe = change(recipe, options.steps, samples)
    target = options.out / f"{recipe.name}.itgm"
    if target.exists():
        raise BadInput(f"{target}: is there already; choose another --out")
    options.out.mkdir(parents=True, exist_ok=True)
    photographs = Photographs(prepare(data, options.out))
    minutes = options.minutes * (1 - RESERVE)
    budget = Budget(options.seed, start + 60 * minutes, threads)
    with (options.out / "log.jsonl").open("w") as sink:

        def log(entry: dict[str, Any]) -> None:
            sink.write(json.dumps(entry) + "\n")
            sink.flush()

        result = refine(package, recipe, photographs, budget, log)
    file = result.to_bytes()
    write_bytes(target, file)
    held = result.card["refinement"]["held_out"]
    print(f"{target}: {len(file) / 1e6:.2f} MB, fingerprint {result.card['fingerprint']}; on {held['photographs']} "
          f"photographs held out the error falls from {held['rmse']:.3f} to {held['refined']:.3f} grey levels")


def change(recipe: Refinement, steps: float, samples: str | None) -> Refinement:
    """The recipe with the command line's numbers. Raises BadInput."""
    if math.isfinite(steps):
        recipe = dataclasses.replace(recipe, rounds=int(steps))
    if samples is not None:
        if samples != "all" and not (samples.isdecimal() and int(samples) > 0):
            raise BadInput(f"--samples {samples}: give a number of pixels for each photograph, or all")
        recipe = dataclasses.replace(recipe, samples=None if samples == "all" else int(samples))
    return recipe
