"""Checkpoints: everything that a training needs to go on as if it had never stopped. Written beside and renamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..errors import BadInput


def save(path: Path, state: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    try:
        torch.save(state, part)
        os.replace(part, path)
    except (OSError, RuntimeError) as e:  # torch's own writer raises the latter, as for a folder that is not there
        part.unlink(missing_ok=True)
        why = getattr(e, "strerror", None) or str(e).splitlines()[0]
        raise BadInput(f"{path}: cannot be written ({why}); free some space or choose another --out") from e


def load(path: Path) -> dict[str, Any]:
    """Tensors and plain values only: a checkpoint is data, and cannot run code. Raises BadInput."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror}); give a checkpoint that a run wrote") from None
    except Exception:  # the unpickler's own errors are of many kinds
        raise BadInput(f"{path}: is no checkpoint, or a damaged one; give a file that a run wrote") from None
    if not isinstance(state, dict) or not {"network", "ema", "step", "pixels"} <= state.keys():
        raise BadInput(f"{path}: holds no network of a run; give a checkpoint that `intaglio train` wrote")
    return state


def recipe_of(state: dict[str, Any], path: Path) -> str:
    """The name of the recipe that a checkpoint is of. Raises BadInput where it does not say how it came about."""
    if not isinstance(state.get("recipe"), str) or not isinstance(state.get("training"), dict):
        raise BadInput(f"{path}: does not say how it was trained; give a checkpoint that `intaglio train` wrote")
    return state["recipe"]


def fill(network: torch.nn.Module, weights: dict[str, torch.Tensor], source: Path) -> list[str]:
    """Load weights into a network that may have grown since; returns the names that keep their start values.

    Raises BadInput where the weights are another network's: a tensor of another size, or one that has no place.
    """
    own = network.state_dict()
    wrong = [k for k, v in weights.items() if k not in own or own[k].shape != v.shape]
    if wrong:
        raise BadInput(f"{source}: its weights are another network's ({', '.join(wrong[:3])} ...); train the recipe "
                       "and the size that it was trained with (of intaglio1, or a larger one), or without --warm")
    network.load_state_dict(weights, strict=False)
    return [k for k in own if k not in weights]
