"""Hazards: the lowest step takes more and more bits from stage to stage; what holds it bends other steps too, bends
more than it must, or says nothing of it on the card."""

import pytest
import tiny_recipe
import torch

from intaglio import recipes
from intaglio.errors import BadInput
from intaglio.train import checkpoint, scale
from intaglio.train.draws import Draws

CROPS = 2


def rate(network, photographs, q=0.0):
    """Bits per pixel of step q over the crops that `scale.lower` looks at."""
    bits = 0.0
    for i in range(CROPS):
        x = photographs.crops(Draws(7, i, 1, "cpu"), 256)
        bits += network.eval().code(x, torch.full((1, 1, 1), q))[2].sum().item()
    return bits / (CROPS * 256 * 256)


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "named", lambda name: tiny_recipe.Tiny() if name == "tiny" else recipes.recipe(name))
    network, photographs, _ = tiny_recipe.start(tmp_path)
    network.requires_grad_(False).log_gain += 3  # an untrained network has few latents that do not round to 0
    return network, photographs


def test_as_little_as_will_do(start):
    network, photographs = start
    before = network.log_gain.clone()
    aim = 0.9 * rate(network, photographs)
    lowered = scale.lower(network, photographs, aim, CROPS)
    assert 0 < lowered < 1
    assert rate(network, photographs) <= aim
    torch.testing.assert_close(network.log_gain[0], before[0] - lowered)
    assert torch.equal(network.log_gain[1:], before[1:])
    network.log_gain[0] = before[0] - (lowered - scale.STEP)
    assert rate(network, photographs) > aim


def test_what_is_low_enough_stays(start):
    network, photographs = start
    before = network.log_gain.clone()
    assert scale.lower(network, photographs, 1.001 * rate(network, photographs), CROPS) == 0
    assert torch.equal(network.log_gain, before)


def test_an_untrained_network_is_not_bent_without_end(start):
    network, photographs = start
    before = network.log_gain.clone()
    assert scale.lower(network, photographs, 1e-9, CROPS) == 1
    torch.testing.assert_close(network.log_gain[0], before[0] - 1)


@pytest.mark.parametrize("mean", [False, True])
def test_a_checkpoint_is_lowered_once_and_its_card_says_so(start, tmp_path, mean):
    """Both sets of weights, which a mean has as one; a resumed run keeps what is said of it."""
    network, photographs = start
    weights = network.state_dict()
    state = {
        "recipe": "tiny", "numbers": {}, "network": weights, "ema": weights if mean else {**weights}, "step": 3,
        "pixels": 9, "training": {"steps": 3, "pixels": 9, "stages": [{"recipe": "tiny", "steps": 3, "pixels": 9}]},
        "before": {},
    }
    path = tmp_path / "last.pt"
    checkpoint.save(path, state)
    aim = 0.9 * rate(network, photographs)
    by = scale.lower_checkpoint(path, tmp_path / "pack", aim, CROPS)
    assert 0 < by < 1
    after = checkpoint.load(path)
    for key in ("network", "ema"):
        torch.testing.assert_close(after[key]["log_gain"][0], weights["log_gain"][0] - by)
        assert torch.equal(after[key]["log_gain"][1:], weights["log_gain"][1:])
    assert after["training"]["stages"][-1]["lowest_gains_lowered_by"] == by
    assert after["before"]["stages"] == after["training"]["stages"][-1:]
    assert scale.lower_checkpoint(path, tmp_path / "pack", aim, CROPS) == 0
    assert len(checkpoint.load(path)["training"]["stages"]) == 2


def test_what_has_no_scale_is_refused(start, tmp_path):
    network, _ = start
    state = {"network": network.state_dict(), "ema": network.state_dict(), "step": 0, "pixels": 0}
    checkpoint.save(tmp_path / "bare.pt", state)
    with pytest.raises(BadInput, match="does not say how it was trained"):
        scale.lower_checkpoint(tmp_path / "bare.pt", tmp_path / "pack")
    checkpoint.save(tmp_path / "paper.pt", state | {"recipe": "compressgan", "training": {}})
    with pytest.raises(BadInput, match="no quality scale"):
        scale.lower_checkpoint(tmp_path / "paper.pt", tmp_path / "pack")
    with pytest.raises(BadInput, match="above 0"):
        scale.lower_checkpoint(tmp_path / "paper.pt", tmp_path / "pack", 0.0)
