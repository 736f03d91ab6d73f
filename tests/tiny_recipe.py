"""A recipe small enough for tests: the released network in miniature, with a discriminator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from intaglio.nn.codec import Codec
from intaglio.nn.discriminators.patch import Patch
from intaglio.nn.transforms import Shape
from intaglio.recipes.intaglio1 import Intaglio1
from intaglio.train import checkpoint
from intaglio.train.data import Photographs
from intaglio.train.game import Game
from intaglio.train.packs import pack
from intaglio.train.recipe import Opponent

TINY = Shape(width=192, latents=32, hyper=8, hyper_groups=(3, 8), prior_width=16, prior_low=8, analysis_blocks=(1, 1),
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


def start(folder: Path) -> tuple[Codec, Photographs, Path]:
    """For a second stage: a tiny network, a pack of one picture of noise, the network's checkpoint."""
    (folder / "photographs").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8)
    Image.fromarray(pixels).resize((384, 384)).save(folder / "photographs" / "noise.png")
    pack(folder / "photographs", folder / "pack")
    torch.manual_seed(0)
    network = Codec(TINY)
    state = {"network": network.state_dict(), "ema": network.state_dict(), "step": 0, "pixels": 0, "training": {}}
    checkpoint.save(folder / "before.pt", state)
    return network, Photographs(folder / "pack"), folder / "before.pt"
