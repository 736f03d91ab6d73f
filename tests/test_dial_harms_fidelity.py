"""The realism stage must leave the bytes and the least-distorted picture alone, and still move the other end."""

import dataclasses
import os

import pytest
import torch
from tiny_recipe import TINY, start

from intaglio.nn.codec import Codec
from intaglio.recipes import realism1
from intaglio.train.loop import Options, Trainer

pytestmark = pytest.mark.skipif(
    "INTAGLIO_WEIGHTS" not in os.environ, reason="the realism stage needs frozen backbones: set INTAGLIO_WEIGHTS"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Codec, Codec]:
    """The network before and after a few steps of the stage."""
    folder = tmp_path_factory.mktemp("dial")
    before, photographs, source = start(folder)
    recipe = dataclasses.replace(
        realism1.small, shape=TINY, crop=64, batch=2, glimpses=1, glimpse=32, head_start=1, warm_up=1
    )
    trainer = Trainer(recipe, photographs, Options(folder, steps=4, warm=source))
    for n in range(4):
        trainer.step(n / 4)
    after = Codec(TINY)
    after.load_state_dict(trainer.network.state_dict())
    return before.eval(), after.eval()


def test_only_the_dial_learns(trained: tuple[Codec, Codec]) -> None:
    before, after = (network.state_dict() for network in trained)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(name.startswith("synthesis.") and ".dial_" in name for name in moved)
    for part in ("up", "stage8.0.project", "out", "filter.leave"):
        assert f"synthesis.{part}.dial_bias" in moved

    def names(dialled: str) -> set[str]:
        chosen = set(map(id, dataclasses.replace(realism1.small, dialled=dialled).trainable(trained[0])))
        return {name for name, parameter in trained[0].named_parameters() if id(parameter) in chosen}

    assert moved <= names("") and {name for name in names("") if ".filter." in name} == names("filter")


@torch.no_grad()
def test_bytes_and_the_least_distorted_picture_stay_and_the_most_realistic_one_moves(
    trained: tuple[Codec, Codec],
) -> None:
    before, after = trained
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    q = torch.full((1, 1, 1), 30.0)
    old, new = (network(x, q, torch.zeros(1)) for network in (before, after))
    assert torch.equal(old[1], new[1]) and torch.equal(old[2], new[2])
    assert torch.allclose(old[0], new[0], atol=1e-3)
    latents, t, _ = after.code(x, q)
    moved = after.synthesis(latents, t, torch.ones(1)) - after.synthesis(latents, t, torch.zeros(1))
    assert moved.abs().max() > 0.05
