"""A larger size that starts from a smaller one must begin as that, and then learn with all that it has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_recipe import TINY, Tiny, start

from intaglio.errors import BadInput
from intaglio.nn.codec import Codec
from intaglio.recipes import intaglio1, realism1
from intaglio.train.loop import Options, Trainer
from intaglio.train.widen import widened

LARGE = dataclasses.replace(TINY, width=208, analysis_blocks=(2, 2), synthesis_blocks=(3, 2), filter=32)


def stirred(shape) -> Codec:
    """A network none of whose weights is 0, as they are at the start."""
    torch.manual_seed(3)
    network = Codec(shape)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(("analysis.", "synthesis.")):
                parameter.add_(torch.randn_like(parameter) * 0.02)
    return network.eval()


@pytest.mark.parametrize("filter", [0, 24], ids=["without a filter", "with one"])
@torch.no_grad()
def test_a_larger_network_begins_as_the_smaller_one(filter: int) -> None:
    old, new = stirred(dataclasses.replace(TINY, filter=filter)), Codec(LARGE).eval()
    new.load_state_dict(widened(new, old.state_dict()), strict=False)
    x, q = torch.rand(1, 3, 128, 128) * 255, torch.full((1, 1, 1), 30.0)
    for r in (0.0, 0.6):
        (was, bits, latents), (now, others, same) = (n(x, q, torch.full((1,), r)) for n in (old, new))
        assert torch.allclose(latents, same, atol=1e-4) and torch.allclose(bits, others, rtol=1e-4)
        assert torch.allclose(was, now, atol=0.02), f"pictures differ by {(was - now).abs().max()} at realism {r}"


def test_everything_that_is_new_learns(tmp_path: Path) -> None:
    _, photographs, source = start(tmp_path)
    recipe = dataclasses.replace(Tiny(), shape=LARGE, fooling=0.0, warm_up=1)
    trainer = Trainer(recipe, photographs, Options(tmp_path, steps=4, warm=source))
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    for n in range(4):  # what comes last learns first: blocks begin at 0
        trainer.step(n / 4)
    after = trainer.network.state_dict()
    still = [name for name, value in before.items() if torch.equal(value, after[name])]
    assert [name for name in still if ".dial_" not in name and "thresholds" not in name] == []
    kept = before["analysis.enter.weight"][192:] != after["analysis.enter.weight"][192:]
    assert kept.float().mean() > 0.9
    assert torch.equal(before["analysis.down.weight"][:, 4 * 192 :], torch.zeros(32, 4 * 16, 1, 1))
    assert after["analysis.down.weight"][:, 4 * 192 :].abs().min() > 0


def test_every_run_widens_alike(tmp_path: Path) -> None:
    """Else the mean of several runs would be that of strangers."""
    _, photographs, source = start(tmp_path)
    recipe = dataclasses.replace(Tiny(), shape=LARGE, fooling=0.0)
    one, other = (Trainer(recipe, photographs, Options(tmp_path, steps=1, warm=source, seed=seed)).network.state_dict()
                  for seed in (1, 2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("recipe", [intaglio1.Decoder1(), realism1.small], ids=["decoder", "realism"])
@pytest.mark.parametrize("change", [{"width": 208}, {"analysis_blocks": (2, 1)}, {"synthesis_blocks": (1, 2)}], ids=str)
def test_a_stage_that_trains_a_part_refuses_to_grow(recipe, change, tmp_path: Path) -> None:
    """What is new would stay as it began, and cost its time in every picture."""
    _, _, source = start(tmp_path)
    recipe = dataclasses.replace(recipe, shape=dataclasses.replace(TINY, **change))
    with pytest.raises(BadInput, match="smaller size"):
        recipe.warm(recipe.network(), source)
    recipe = dataclasses.replace(recipe, shape=TINY)
    recipe.warm(recipe.network(), source)


def test_a_smaller_size_cannot_take_what_a_larger_one_has_learnt(tmp_path: Path) -> None:
    _, photographs, source = start(tmp_path)
    recipe = dataclasses.replace(Tiny(), shape=dataclasses.replace(TINY, width=184), fooling=0.0)
    with pytest.raises(BadInput, match="another network's"):
        Trainer(recipe, photographs, Options(tmp_path, steps=1, warm=source))


def test_a_wider_latent_is_another_codec(tmp_path: Path) -> None:
    """Its priors, gains and tables know nothing of the new channels."""
    _, photographs, source = start(tmp_path)
    recipe = dataclasses.replace(Tiny(), shape=dataclasses.replace(TINY, latents=40), fooling=0.0)
    with pytest.raises(BadInput, match="another network's"):
        Trainer(recipe, photographs, Options(tmp_path, steps=1, warm=source))
