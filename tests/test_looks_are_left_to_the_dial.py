"""The perceptual stage must teach encoder, prior and decoder alike, at every rate, and leave the dial where it is."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipe import TINY, start

from intaglio.recipes import intaglio1, perceptual1, realism1
from intaglio.train.loop import Options, Trainer
from intaglio.train.recipe import Outputs

RECIPE = dataclasses.replace(perceptual1.small, shape=TINY, crop=64, batch=4, glimpses=2, glimpse=32, warm_up=1)


def outputs(q: float) -> Outputs:
    x = torch.zeros(2, 3, 64, 64)
    return Outputs(x, x, torch.zeros(2), q=torch.full((2,), q), realism=torch.tensor([0.0, 0.5]))


def test_the_weight_grows_with_the_rate_as_written() -> None:
    low, high = (perceptual1.small._vgg_weight(outputs(q)) for q in (0.0, 63.0))
    assert low.tolist() == pytest.approx([0.48, 0.48])
    assert high.tolist() == pytest.approx([0.48 * np.exp(3.2)] * 2, rel=1e-6)


def test_a_bit_weighs_more_than_in_stage_1_by_the_recipes_number() -> None:
    """Else what is asked of features is paid for in bytes, and every q means more of them."""
    before, after = (
        next(t for t in recipe.terms() if t.name == "rate") for recipe in (intaglio1.small, perceptual1.small)
    )
    out = outputs(20.0)
    out.extra["lambda"] = torch.full((2, 1, 1), 0.003)
    assert callable(before.weight) and callable(after.weight)
    assert torch.allclose(after.weight(out), perceptual1.small.thrift * before.weight(out))
    assert perceptual1.small.thrift > 1


def test_the_dial_weighs_what_vgg_sees_by_its_position() -> None:
    term = next(t for t in realism1.small.terms() if t.name == "vgg")
    assert callable(term.weight)
    assert term.weight(outputs(63.0)).tolist() == pytest.approx([0, 0.5 * 6.0 * np.exp(3.8)], rel=1e-6)


@pytest.mark.skipif("INTAGLIO_WEIGHTS" not in os.environ, reason="VGG's weights: set INTAGLIO_WEIGHTS")
def test_all_but_the_dial_learns_what_vgg_sees(tmp_path: Path) -> None:
    before, photographs, source = start(tmp_path)
    trainer = Trainer(RECIPE, photographs, Options(tmp_path, steps=3, warm=source))
    for n in range(3):
        _, logs = trainer.step(n / 3)
    assert logs["term/vgg"] > 0 and logs["term/rate"] > 0 and logs["term/mse"] > 0
    after = trainer.network.state_dict()
    moved = {name for name, value in before.state_dict().items() if not torch.equal(value, after[name])}
    assert {name.split(".")[0] for name in moved} >= {"analysis", "hyper", "prior", "synthesis", "log_gain"}
    assert not any(".dial_" in name for name in moved)


@pytest.mark.skipif("INTAGLIO_WEIGHTS" not in os.environ, reason="VGG's weights: set INTAGLIO_WEIGHTS")
def test_a_glimpse_is_no_larger_than_its_crop() -> None:
    recipe = dataclasses.replace(RECIPE, glimpse=80)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    out = Outputs(x, x.flip(3), torch.zeros(2), q=torch.zeros(2), extra={"corner": torch.full((2, 2), 0.9)})
    whole = recipe._vgg(out.x_hat, x)
    assert torch.allclose(recipe._glimpsed(out), whole) and whole.min() > 0
