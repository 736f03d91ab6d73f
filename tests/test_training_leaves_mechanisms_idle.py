"""Hazard: a system has been trained, and what its paper is about has come to nothing in the weights.

Recipes 8 channels wide learn for some tens of seconds from the photographs in the folder that INTAGLIO_PHOTOS names (at
most 24 of them), else from the example photograph. Every test holds the mechanism against a training without it.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_systems_do_not_code import EXAMPLES, small, trained

from intaglio.losses.gradient_penalty import wgan_gp
from intaglio.train.data import Photographs, pack
from intaglio.train.draws import Draws
from intaglio.train.loop import Options, Trainer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, root = os.environ.get("INTAGLIO_PHOTOS"), tmp_path_factory.mktemp("photos")
    if folder:
        (root / "some").mkdir()
        files = sorted(p for p in Path(folder).iterdir() if p.is_file())
        for path in files[:: max(1, len(files) // 24)][:24]:
            shutil.copy(path, root / "some")
    pack(root / "some" if folder else EXAMPLES, root / "pack")
    return Photographs(root / "pack")


def crops(photos, count):
    return photos.crops(Draws(99, 0, count), 64)


def penalties(recipe, photos, folder, penalty):
    """What the gradient penalty is, or would be, over the first steps of a training."""
    trainer = Trainer(recipe, photos, Options(folder, steps=30))
    game, found = trainer.opponents["critic"].game, []
    game.penalty = penalty
    for n in range(30):
        out, _ = trainer.step(n / 30)
        if n >= 6 and n % 3 == 0:
            generator = torch.Generator().manual_seed(n)
            between = wgan_gp(lambda x: game.discriminator(x, None).logits, out.x, out.x_hat.detach(), generator)
            found.append(between.mean())
    return float(torch.stack(found).mean().detach())


def test_the_penalty_holds_the_critics_slope_near_one(photos, tmp_path):
    recipe = replace(small("wgan-gp"), critic_rate=2e-3)
    held, free = (penalties(recipe, photos, tmp_path, penalty) for penalty in ("wgan-gp", "none"))
    assert recipe.opponents()["critic"].game.penalty == "wgan-gp"
    assert held < 0.4 and free > 3 * held


def test_rate_targets_are_met(photos, tmp_path):
    recipe = replace(small("hific-lo"), batch=8)
    rates = {}
    for above, steps in ((recipe.zeta_a, 400), (recipe.zeta_b, 150)):  # equal multipliers: no target
        trainer = trained(replace(recipe, zeta_a=above), photos, tmp_path, steps)
        network = trainer.averaged()
        with torch.no_grad():
            rates[above] = float(network.code(crops(photos, 200), torch.zeros(200, 1, 1))[2].mean()) / 64**2
    assert abs(rates[recipe.zeta_a] / 0.14 - 1) < 0.05
    assert abs(rates[recipe.zeta_b] / 0.14 - 1) > 0.15


def distance_from_prior(codes, spread):
    """Largest Kolmogorov-Smirnov distance of a channel's codes to N(0, spread^2), over channels, and their mean."""
    from scipy.stats import kstest

    found = [kstest(c.ravel() / spread, "norm").statistic for c in codes.transpose(1, 0, 2, 3)]
    return max(found), float(np.mean(found))


def test_the_adversarial_autoencoders_codes_are_draws_of_its_prior(photos, tmp_path):
    recipe = replace(small("aae"), rate=2e-3, critic_rate=2e-3)
    found, deviations = {}, []
    for pull in (recipe.pull, 0.0):
        network = trained(replace(recipe, pull=pull), photos, tmp_path, 200).averaged()
        with torch.no_grad():
            codes = network.analysis(crops(photos, 100)).numpy()
        found[pull] = distance_from_prior(codes, recipe.spread)
        deviations.append(float(codes.std()))
        if pull:
            sampled, decoded = recipe.sample(network, 16, 64), network(crops(photos, 16), torch.zeros(16, 1, 1))[0]
    assert 0.5 * recipe.spread < deviations[0] < 2 * recipe.spread < deviations[1] / 2
    assert found[recipe.pull][1] < 0.3 and found[recipe.pull][1] < 0.7 * found[0.0][1]
    sampled, decoded = (v.detach().clamp(0, 255) for v in (sampled, decoded))
    assert sampled.std((2, 3)).mean() > 3, "draws decode to pictures, not to one grey"
    assert abs(float(sampled.mean() - decoded.mean())) < 40


def test_beta_buys_entropy(photos, tmp_path):
    recipe = small("extreme-gc")
    bits = []
    for beta in (1.0, 200.0):
        network = trained(replace(recipe, beta=beta), photos, tmp_path, 60).averaged()
        with torch.no_grad():
            bits.append(float(network.code(crops(photos, 64), torch.zeros(64, 1, 1))[2].mean()) / 64**2)
    assert bits[1] < 0.6 * bits[0] and bits[0] < 0.12
