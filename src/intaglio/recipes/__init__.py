"""The systems that can be trained, each a file with frozen dataclasses that read like their paper."""

from __future__ import annotations

import importlib

from ..errors import BadInput
from ..train.recipe import Recipe

# name on the command line: (module, attribute). Modules are imported when they are asked for.
NAMES = {
    "intaglio1-small": ("intaglio1", "small"),
    "intaglio1": ("intaglio1", "full"),
    "intaglio1-small-realism": ("realism1", "small"),
    "intaglio1-realism": ("realism1", "full"),
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises BadInput with the names there are."""
    if name not in NAMES:
        raise BadInput(f"there is no recipe {name!r}; there are {', '.join(NAMES)}")
    module, attribute = NAMES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
