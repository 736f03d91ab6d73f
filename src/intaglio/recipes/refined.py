"""hific-xgb and hific-knn: a model beside the networks corrects what they decode.

After Suresh, Thivya, Anand, "High-fidelity generative image compression using GAN's and XGBoost approach" (2023). The
paper puts an "XGBoost classifier block" behind the generator, with 7x7 (49) pixels, "extra information from absolute
location" and Y = 120, 240, 480 or 960 samples; its equations 2 to 4 are XGBoost's own objective. It leaves open what is
predicted, from what, and how the decoder comes to know it. Here:

- the model predicts what to add to a pixel of the decoded picture, the same for its three channels, from the 49 pixels
  around it (as differences to it), its absolute position (in the picture, and in the latent's square) and q;
- Y is the number of pixels that each photograph gives, of a crop that the package coded and decoded at a random q; for
  the trees every rate weighs alike, while for the twin, whose references take plain means, every pixel does;
- equation 3 is the loss, equation 4 the regularisation with gamma and lambda, and boosting stops early on photographs
  held out;
- the decoder runs the trees as a graph, without XGBoost, and only in the 64x64 blocks that the encoder, which knows
  the original, switched on: never one whose squared error rises, and none at all where the fall of the error is not
  worth the switches' bytes. No symbol depends on it.

It refines any package: `intaglio train hific-xgb --warm PACKAGE --data PHOTOS`. hific-knn is the paper's k-nearest-
neighbour twin on the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..train import boosting, neighbours
from ..train.refine import Budget, Log, Refinement
from ..train.refine_data import Samples


@dataclass(frozen=True)
class Trees(Refinement):
    """Gradient-boosted trees."""

    name: str = "hific-xgb"
    label: str = "xgb"
    rounds: int = 120  # --steps; at most, for boosting stops early
    patience: int = 20  # rounds without a gain on photographs held out
    rate: float = 0.2  # what of each tree is added
    depth: int = 6
    lam: float = 100.0  # equation 4's lambda
    gamma: float = 100.0  # and its gamma: squared grey levels that a split has to gain
    least: float = 50.0  # samples in a leaf

    def check(self) -> None:
        boosting.library()

    def fit(self, fit: Samples, held: Samples, budget: Budget, log: Log) -> tuple[bytes, dict[str, Any]]:
        booster = boosting.boost(
            fit, held, rounds=self.rounds, patience=self.patience, rate=self.rate, depth=self.depth, lam=self.lam,
            gamma=self.gamma, least=self.least, seed=budget.seed, threads=budget.threads, deadline=budget.deadline,
            told=lambda number, a, b: log({"step": number, "fit": round(a, 5), "held": round(b, 5)}),
        )
        graph, size = boosting.graph(booster)
        return graph, {**size, "depth": self.depth, "lambda": self.lam, "gamma": self.gamma, "rate": self.rate}


@dataclass(frozen=True)
class Neighbours(Refinement):
    """k nearest neighbours among condensed references."""

    name: str = "hific-knn"
    label: str = "knn"
    rounds: int = 10  # --steps; of k-means
    references: int = 1024
    k: int = 4
    lam: float = 100.0  # draws a reference's correction towards zero, as the trees' lambda does a leaf's

    def fit(self, fit: Samples, held: Samples, budget: Budget, log: Log) -> tuple[bytes, dict[str, Any]]:
        references, wanted = neighbours.condense(
            fit, references=self.references, rounds=self.rounds, lam=self.lam, k=self.k, seed=budget.seed,
            deadline=budget.deadline, told=lambda number, a: log({"step": number, "distance": round(a, 4)}),
        )
        graph = neighbours.graph(references, wanted, self.k)
        return graph, {"references": len(references), "k": self.k, "lambda": self.lam}


xgb = Trees()
knn = Neighbours()
