"""Hazard: --set gives a recipe a number that it never reads, and its card tells of it; or a number that it reads cannot
be set. What a recipe reads is followed through its methods, from those that the loop calls."""

import ast
import functools
import inspect
import re
import textwrap

import pytest

from intaglio import recipes
from intaglio.train import loop, numbers
from intaglio.train.recipe import Recipe

CRITICS = {"critic_rate", "critic_betas", "head_start"}  # the loop reads them, for what `opponents` gives


def code(attribute):
    """The function behind a method or property; None where it is neither."""
    if isinstance(attribute, property):
        return attribute.fget
    if isinstance(attribute, functools.cached_property):
        return attribute.func
    return inspect.unwrap(attribute) if inspect.isfunction(attribute) else None


def found(mro, name):
    """(the classes from the one on that defines it, its function), or None."""
    for i, cls in enumerate(mro):
        if name in vars(cls):
            function = code(vars(cls)[name])
            return function and (mro[i:], function)
    return None


def reads(cls):
    """Names of attributes that methods of the class read, as far as the loop can get to them."""
    mro = cls.__mro__
    ahead = [method for name in vars(Recipe) if not name.startswith("_") and (method := found(mro, name))]
    done, names = set(), set()
    while ahead:
        owners, function = ahead.pop()
        if (owners[0], function) in done:
            continue
        done.add((owners[0], function))
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
                of, name = node.args[0], ast.literal_eval(node.args[1])
            elif isinstance(node, ast.Attribute):
                of, name = node.value, node.attr
            else:
                continue
            if isinstance(of, ast.Name) and of.id == "self":
                names.add(name)
                after = found(mro, name)
            elif isinstance(of, ast.Call) and isinstance(of.func, ast.Name) and of.func.id == "super":
                after = found(owners[1:], name)
            else:
                continue
            if after:
                ahead.append(after)
    return names


@pytest.mark.parametrize("name", recipes.NAMES)
def test_what_can_be_set_is_read(name):
    recipe = recipes.recipe(name)
    by_loop = set(re.findall(r"recipe\.(\w+)", inspect.getsource(loop))) - {"target_bpp"}  # for an alarm alone
    if type(recipe).opponents is Recipe.opponents:
        by_loop -= CRITICS
    numbers_of = set(numbers.kinds(recipe)) - set(numbers.OPTIONS)
    assert sorted(numbers_of - by_loop - reads(type(recipe))) == sorted(recipe.idle)
