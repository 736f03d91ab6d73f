"""A recipe small enough for tests: the released network in miniature, with a discriminator."""

from __future__ import annotations

from dataclasses import dataclass

from intaglio.nn.discriminators.patch import Patch
from intaglio.nn.transforms import Shape
from intaglio.recipes.intaglio1 import Intaglio1
from intaglio.train.game import Game
from intaglio.train.recipe import Opponent

TINY = Shape(width=192, latents=32, hyper=8, prior_width=16, prior_low=8, analysis_blocks=(1, 1),
             synthesis_blocks=(1, 1))


@dataclass(frozen=True)
class Tiny(Intaglio1):
    name: str = "tiny"
    shape: Shape = TINY
    crop: int = 64
    batch: int = 4
    rate: float = 2e-3
    warm_up: int = 5
    fooling: float = 0.01  # weight of the adversarial term; 0: no discriminator

    def opponents(self):
        if not self.fooling:
            return {}
        return {"patch": Opponent(Game(Patch(width=8, latents=self.shape.latents), "non-saturating"), self.fooling)}
