"""The systems that can be trained, each a file with frozen dataclasses that read like their paper."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ..errors import BadInput
from ..train.recipe import Recipe

if TYPE_CHECKING:
    from ..train.refine import Refinement

# name on the command line: (module, attribute). Modules are imported when they are asked for.
NAMES = {
    "intaglio1-small": ("intaglio1", "small"),
    "intaglio1": ("intaglio1", "full"),
    "intaglio1-small-decoder": ("intaglio1", "small_decoder"),
    "intaglio1-decoder": ("intaglio1", "full_decoder"),
    "intaglio1-small-perceptual": ("perceptual1", "small"),
    "intaglio1-perceptual": ("perceptual1", "full"),
    "intaglio1-small-realism": ("realism1", "small"),
    "intaglio1-realism": ("realism1", "full"),
    "autoencoder": ("autoencoder", "recipe"),
    "vae": ("vae", "recipe"),
    "compressgan": ("compressgan", "recipe"),
    "extreme-sc": ("extreme_sc", "recipe"),
    "hific-lo": ("hific", "low"),
    "hific-mi": ("hific", "medium"),
    "hific-hi": ("hific", "high"),
    "extreme-gc": ("extreme_gc", "recipe"),
    "extreme-gc-labels": ("extreme_gc", "conditional"),
    "aae": ("aae", "recipe"),
    "conditional": ("conditional", "recipe"),
    "progressive": ("progressive", "recipe"),
    "wgan-gp": ("wgan_gp", "recipe"),
}

# Recipes that train no network but refine a package, whichever.
REFINEMENTS = {
    "hific-xgb": ("refined", "xgb"),
    "hific-knn": ("refined", "knn"),
}


def refinement(name: str) -> Refinement:
    """The refinement of that name, which must be one of REFINEMENTS."""
    module, attribute = REFINEMENTS[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises BadInput with the names there are."""
    if name not in NAMES:
        raise BadInput(f"there is no recipe {name!r}; there are {', '.join([*NAMES, *REFINEMENTS])}")
    module, attribute = NAMES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
