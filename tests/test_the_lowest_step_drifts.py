"""Hazards: the lowest step takes more and more bits from stage to stage; what holds it bends other steps too, bends
more than it must, or says nothing of it on the card."""

import numpy as np
import pytest
import tiny_recipe
import torch

from intaglio.train import release, scale
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
def start(tmp_path):
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


def test_the_package_has_it_and_its_card_says_so(start):
    network, photographs = start
    gains = network.log_gain.exp().numpy()
    aim = 0.9 * rate(network, photographs)
    package = release.package(network, "tiny", photographs, CROPS, {}, lowest=aim)
    lowered = package.card["recipe"]["lowest_gains_lowered_by"]
    assert 0 < lowered < 1
    np.testing.assert_allclose(package.tables["gains"][0], gains[0] * np.exp(-lowered), rtol=1e-4)
    np.testing.assert_allclose(package.tables["gains"][7], gains[1], rtol=1e-4)
