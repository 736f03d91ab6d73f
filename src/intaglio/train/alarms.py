"""Trainings that have gone wrong stop with a sentence, and do not burn the rest of their hours."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping

from ..errors import IntaglioError


class Stopped(IntaglioError):
    """A training that an alarm has stopped; the last checkpoint is sound."""


def not_finite(step: int, norm: float, where: str) -> None:
    """Raise where a gradient's norm is NaN or infinite; called before the optimiser's step, so no weight is lost."""
    if not math.isfinite(norm):
        raise Stopped(f"step {step}: the gradient of the {where} is not finite; resume from the last checkpoint with a "
                      "lower learning rate (--rate), or a smaller weight of the newest loss term")


class Alarms:
    """Watches the rows of the log; `watch` raises Stopped when every one of the last `patience` rows is bad.

    - saturated: a discriminator is right more than 99.5% of the time, so that its gradient says nothing; not one that
      is `unbounded`, a Wasserstein critic, whose slope says as much however well it tells the two apart;
    - dead latent: fewer than 1e-4 bits per pixel, or, after the first quarter of a run, decoded pictures that show less
      than 2% of their originals' variance (symbols that are all 0 cost bits until the prior has learnt that);
    - off target: the rate stays more than 1.5 times above, or below two thirds of, a recipe's target in the second half
      of a run.
    """

    def __init__(self, patience: int = 10, target_bpp: float | None = None, unbounded: Collection[str] = ()):
        self.rows: deque[Mapping] = deque(maxlen=patience)
        self.target, self.unbounded = target_bpp, unbounded

    def _all(self, bad) -> bool:
        return len(self.rows) == self.rows.maxlen and all(bad(row) for row in self.rows)

    def watch(self, row: Mapping) -> None:
        """`row`: step, share (of the run that is over), bpp, explained, games {name: {accuracy}}."""
        self.rows.append(row)
        step = row["step"]
        for name in row.get("games", {}):
            if name in self.unbounded:
                continue
            if self._all(lambda r, name=name: r["games"].get(name, {}).get("accuracy", 0.5) > 0.995):
                raise Stopped(f"step {step}: the discriminator {name} has been right all the time, so the generator "
                              "learns nothing from it; start again with a lower critic rate or a stronger penalty")
        if self._all(lambda r: r["bpp"] < 1e-4 or r["share"] > 0.25 and r["explained"] < 0.02):
            raise Stopped(f"step {step}: the latent is dead ({row['bpp']:.2g} bits per pixel, and nothing of the "
                          "pictures comes through); lower the weight of the rate, or start again from the last "
                          "package with --warm")
        target = self.target
        if target and row["share"] > 0.5 and self._all(lambda r: not target / 1.5 < r["bpp"] < target * 1.5):
            raise Stopped(f"step {step}: the rate, {row['bpp']:.3f} bits per pixel, does not come near its target of "
                          f"{target}; widen the two multipliers of the rate target, or train longer")
