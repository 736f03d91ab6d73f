"""The numbers of a recipe that the command line changes: read from words, kept by checkpoints, checked by building."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch

from ..errors import BadInput, IntaglioError
from . import checkpoint
from .recipe import Recipe

OPTIONS = ("width", "batch", "crop", "rate")  # numbers that the command line has options of their own for
EXPECTED = {bool: "true or false", int: "a whole number from 0 on", float: "a number from 0 on", str: "a word"}


def change(recipe: Recipe, **numbers: Any) -> Recipe:
    """The recipe with those of its numbers changed that are not None. Raises BadInput for ones it cannot have."""
    given = {k: v for k, v in numbers.items() if v is not None}
    if given.get("crop", 64) % 64 or given.get("crop", 64) <= 0:
        raise BadInput(f"--crop {given['crop']}: give a multiple of 64 pixels")
    if "width" in given and not recipe.width:
        raise BadInput(f"--width: {recipe.name} has fixed channel counts; leave it out")
    if given.get("width", 4) < 4:
        raise BadInput(f"--width {given['width']}: give at least 4 channels")
    if not 0 < given.get("rate", 1.0) < math.inf:
        raise BadInput(f"--rate {given['rate']}: give a learning rate above 0")
    return dataclasses.replace(recipe, **given)


def kinds(recipe: Recipe) -> dict[str, Any]:
    """The types of the recipe's plain fields by name: bool, int, float, str, or a tuple of an int or float for each of
    its elements. Its name and its paper's are none of its numbers."""
    found = {}
    for name, hint in get_type_hints(type(recipe)).items():
        if isinstance(hint, UnionType):  # float | None
            hint = next(h for h in get_args(hint) if h is not NoneType)
        if get_origin(hint) is tuple and set(get_args(hint)) <= {int, float}:
            hint = get_args(hint)
        if isinstance(hint, tuple) or hint in EXPECTED:
            found[name] = hint
    return {name: kind for name, kind in found.items() if name not in ("name", "paper")}


def stated(recipe: Recipe, words: Sequence[str]) -> dict[str, Any]:
    """The numbers that NAME=VALUE words (the command line's --set) give a recipe. Raises BadInput."""
    can = {name: kind for name, kind in kinds(recipe).items() if name not in (*OPTIONS, *recipe.idle)}
    given = {}
    for word in words:
        name, equals, text = word.partition("=")
        if name in OPTIONS:
            raise BadInput(f"--set {word}: give it by its own option, --{name}")
        if not equals or name not in can:
            raise BadInput(f"--set {word}: give NAME=VALUE; of {recipe.name} can be set {', '.join(sorted(can))}")
        kind = can[name]
        try:
            given[name] = _list(kind, text) if isinstance(kind, tuple) else _value(kind, text)
        except ValueError:
            many = isinstance(kind, tuple)
            expected = f"{len(kind)} times {EXPECTED[kind[0]]}, with commas between" if many else EXPECTED[kind]
            raise BadInput(f"--set {word}: {name} is {expected}") from None
    return given


def _list(kinds: tuple[type, ...], text: str) -> tuple:
    return tuple(_value(kind, part) for kind, part in zip(kinds, text.split(","), strict=True))


def _value(kind: type, text: str) -> Any:
    """The text as a bool, str, or finite int or float from 0 on; raises ValueError where it is none."""
    if kind is bool:
        return ("false", "true").index(text.lower()) == 1
    if kind is str:
        return text
    value = kind(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def kept(recipe: Recipe, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Of the numbers in a checkpoint those that the recipe has. Others are from older code, or no plain values."""
    known = kinds(recipe)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items() if k in known}


def going_on(recipe: Recipe, given: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The numbers that the options of a resumed run stand for: those given now, or else what it began with. Raises
    BadInput for another width, which would be another network."""
    state = checkpoint.load(source)
    given = {name: value for name, value in given.items() if value is not None}
    if state.get("recipe") != recipe.name:  # whoever restores it says so
        return given
    was = kept(recipe, state.get("numbers", {}))
    if given.get("width", was.get("width")) != was.get("width"):
        raise BadInput(f"{source}: is a run of width {was['width']} and not {given['width']}; resume it without "
                       "--width, or start a run of its own with another --out")
    return {name: was[name] for name in OPTIONS if name in was and was[name] != getattr(recipe, name)} | given


def resumed(recipe: Recipe, given: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The numbers given to a run when it began and now. Raises BadInput for one that its checkpoint has otherwise."""
    state = checkpoint.load(source)
    was = kept(recipe, state.get("numbers", {}))
    for name, value in given.items():
        if name in was and was[name] != value:
            raise BadInput(f"{source}: is a run with {name} = {was[name]!r} and not {value!r}; resume it without --set "
                           f"{name}, or start a run of its own with another --out")
    return {name: was[name] for name in state.get("stated", ()) if name in was} | dict(given)


def buildable(recipe: Recipe, given: Mapping[str, Any]) -> None:
    """Raise BadInput where no network, loss, discriminator or optimiser can be made with the given numbers."""
    try:
        network = recipe.network()
        torch.optim.Adam(recipe.trainable(network), recipe.rate, recipe.betas)
        torch.optim.Adam([torch.zeros(1)], recipe.critic_rate, recipe.critic_betas)
        recipe.terms(), recipe.opponents()  # last: these may read weights, and say so where they are missing
    except IntaglioError:
        raise
    except Exception as error:  # whatever a layer says to a number that it cannot have
        what = ", ".join(f"{name} = {value!r}" for name, value in given.items())
        raise BadInput(f"{recipe.name} cannot be built with {what} ({error}); give other numbers with --set") from None
