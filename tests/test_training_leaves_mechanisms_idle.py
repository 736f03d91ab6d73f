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
from labelled_scenes import folders
from test_systems_do_not_code import EXAMPLES, small, trained

import intaglio
from intaglio.losses.gradient_penalty import wgan_gp
from intaglio.train.data import Photographs
from intaglio.train.draws import Draws
from intaglio.train.loop import Options, Trainer
from intaglio.train.packs import pack

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


def written_rate(network, photos):
    """Bits per pixel of rounded codes at q = 0, by the prior."""
    with torch.no_grad():
        return float(network.code(crops(photos, 200), torch.zeros(200, 1, 1))[2].mean()) / 64**2


# HiFiC's first stage, without a discriminator. The distortion weighs more than in the paper, so that a network of these
# few steps ends where half of its batches are above the target: where zeta(a) is far stronger than what pulls the other
# way, the mean ends below by as much as batches scatter. A width of 8 leaves too few latents for a high rate.
FIRST_STAGE = {"rate": 3e-3, "beta": 0.0, "blocks": 1, "batch": 8}


@pytest.mark.parametrize(
    ("name", "numbers", "steps"),
    [
        ("hific-lo", {"k_m": 0.015}, 800),
        ("hific-mi", {"k_m": 0.07, "latents": 330}, 600),
        ("hific-hi", {"k_m": 0.3, "latents": 500}, 600),
    ],
)
def test_rate_targets_are_met(name, numbers, steps, photos, tmp_path):
    recipe = replace(small(name), **FIRST_STAGE, **numbers)
    on, off = (
        written_rate(trained(replace(recipe, zeta_a=above), photos, tmp_path, steps).averaged(), photos)
        / recipe.target_bpp
        for above in (recipe.zeta_a, recipe.zeta_b)
    )
    assert abs(on - 1) < 0.05
    assert abs(off - 1) > 0.08, "equal multipliers: no target"


def test_rate_is_learnt_by_the_vae_and_by_no_autoencoder(photos, tmp_path):
    """By what share the rate falls where it weighs a hundred times as much."""
    left = {}
    for name in ("vae", "autoencoder"):
        light, heavy = (
            written_rate(trained(replace(small(name), rate=2e-3, lambda_rate=weight), photos, tmp_path, 60).averaged(),
                         photos)
            for weight in (0.2, 20.0)
        )  # fmt: skip
        left[name] = heavy / light
    assert left["vae"] < 0.6 and left["autoencoder"] > 0.8


def test_the_adversarial_term_makes_pictures_harder_to_tell_from_originals(photos, tmp_path):
    """Off, the same discriminator learns beside a generator that does not heed it."""
    accuracies = {}
    for weight in (20.0, 1e-9):
        trainer = Trainer(replace(small("compressgan"), rate=2e-3, critic_rate=1e-3, lambda_adv=weight), photos,
                          Options(tmp_path, steps=150))  # fmt: skip
        found = [float(trainer.step(n / 150)[1]["game/critic/accuracy"]) for n in range(150)]
        accuracies[weight] = float(np.mean(found[100:]))
    assert accuracies[20.0] < accuracies[1e-9] - 0.1


def test_the_conditional_decoder_needs_the_right_parameter(photos, tmp_path):
    """Steps of very different sizes, of codes that cannot grow with them, so that a short training tells what it is
    worth to know the step. Both ends of the scale together: a network so young has a parameter that suits all."""
    numbers = {"depth": 4.0, "delta": (64.0, 0.5), "lambda_rate": 0.0, "lambda_adv": 0.0}
    network = trained(replace(small("conditional"), rate=3e-3, **numbers), photos, tmp_path, 300).averaged().eval()
    x = crops(photos, 64)

    def error(wrong):
        """Of codes with the noise of training, decoded with their own parameter or with the other end's."""
        generator, found = torch.Generator().manual_seed(0), []
        for q in (0.0, 63.0):
            noise = tuple(torch.rand(64, *shape, generator=generator) for shape in network.noise_shapes(64, 64))
            latent = network.code(x, torch.full((64, 1, 1), q), noise, True)[0]
            t = torch.full((1, 1, 1, 1), (63 - q if wrong else q) / 63)
            found.append((network.synthesis(latent, t, torch.zeros(1)) - x).abs().mean())
        return float(sum(found))

    with torch.no_grad():
        assert error(wrong=True) > 1.015 * error(wrong=False)
        for told in network.synthesis.told:
            for parameter in told.out.parameters():
                torch.nn.init.zeros_(parameter)
        assert error(wrong=True) == error(wrong=False), "switched off"


def test_attention_is_used_and_the_decoder_grows(photos, tmp_path):
    """Both attentions start where they add nothing. That the picture is better for them, a network so small has learnt
    in so few steps of the example photograph alone: of many photographs, it is as good without."""
    early = {}
    for first in (4, 1):
        recipe = replace(small("progressive"), rate=2e-3, first=first, crop=128)
        trainer = Trainer(recipe, photos, Options(tmp_path, steps=300))
        for n in range(300 if first == 1 else 5):
            out, _ = trainer.step(n / 300)
            if n == 4:
                squares = out.x_hat.detach().reshape(4, 3, 16, 8, 16, 8)
                early[first] = float((squares - squares.mean((3, 5), keepdim=True)).square().mean())
    assert early[1] < 1e-6 < 0.01 < early[4], "after five steps it shows squares, and detail where growing is off"
    network, x = trainer.averaged().eval(), photos.crops(Draws(99, 0, 32), 128)
    assert trainer.network.synthesis.level == network.synthesis.level == 4, "the last fade reached its end"

    def shown():
        with torch.no_grad():
            return network(x, torch.full((32, 1, 1), 40.0))[0]

    looking = before = shown()
    for part in (network.synthesis, network.analysis):
        torch.nn.init.zeros_(part.attention.out.weight)
        torch.nn.init.zeros_(part.attention.out.bias)
        after = shown()
        assert (after - before).abs().mean() > 0.05, "each one, where it started, gives another picture"
        before = after
    with_both, without = ((picture - x).abs().mean() for picture in (looking, before))
    assert without > (0.999 if "INTAGLIO_PHOTOS" in os.environ else 1) * with_both, "and without both it is worse"


def patches(codes, side=2):
    """(pictures, channels, h, w) to one row for each square of side x side places, all channels of them."""
    squares = codes.unfold(2, side, side).unfold(3, side, side)
    return squares.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)


def energy_distance(a, b):
    """Of two samples (n, dimensions), as a share of their mean distance from one another: 0 for draws of one
    distribution, whichever, and 1 at most. Szekely, Rizzo 2013, "Energy statistics"."""
    both = torch.cat([a, b])
    return share_across(torch.cdist(both, both), torch.arange(len(both)) < len(a))


def share_across(distances, first):
    """The energy distance of the samples that `first` (n,) parts the rows of `distances` (n, n) into."""
    a, b = first.float(), (~first).float()
    across = 2 * (a @ distances @ b) / (a.sum() * b.sum())
    within = sum((one @ distances @ one) / (one.sum() * (one.sum() - 1)) for one in (a, b))
    return float((across - within) / across)


def p_value(a, b, count=200, rows=400):
    """How often a chance parting of the rows is as far apart as a and b: 1 / (count + 1) at least."""
    both = torch.cat([a[:rows], b[:rows]])
    distances, first = torch.cdist(both, both), torch.arange(len(both)) < len(a[:rows])
    generator, found = torch.Generator().manual_seed(0), share_across(distances, first)
    by_chance = [share_across(distances, first[torch.randperm(len(both), generator=generator)]) for _ in range(count)]
    return (1 + sum(chance >= found for chance in by_chance)) / (count + 1)


def look(pictures):
    """Mean and contrast of each channel: (pictures, 6)."""
    return torch.cat([pictures.mean((2, 3)), pictures.std((2, 3))], 1)


def test_the_adversarial_autoencoders_codes_come_near_its_prior_and_draws_decode(photos, tmp_path):
    """Of 2x2 places together, so that neighbours count; codes that nothing pulls are elsewhere. Near is not there: a
    two-sample test of 400 rows still tells the pulled codes from the prior, too."""
    recipe, x = replace(small("aae"), rate=2e-3, critic_rate=2e-3), crops(photos, 200)
    generator, far, p, unlike = torch.Generator().manual_seed(0), {}, {}, {}
    for pull in (0.0, recipe.pull):
        network = trained(replace(recipe, pull=pull), photos, tmp_path, 300).averaged()
        with torch.no_grad():
            codes = patches(network.analysis(x)) / recipe.spread
            decoded = network(x, torch.zeros(200, 1, 1))[0].clamp(0, 255)
        drawn, others = (torch.randn(codes.shape, generator=generator) for _ in range(2))
        sampled = recipe.sample(network, 200, 64).clamp(0, 255)
        far[pull], p[pull] = energy_distance(codes, drawn), p_value(codes, drawn)
        unlike[pull] = energy_distance(look(sampled), look(decoded))
    print(f"energy distances {far}, p {p}; of draws decoded from pictures decoded {unlike}")
    assert abs(energy_distance(others, drawn)) < 0.005 and p_value(others, drawn) > 0.01
    assert p[0.0] == 1 / 201 and far[recipe.pull] < 0.06 and far[recipe.pull] < far[0.0] / 3
    assert unlike[recipe.pull] < 0.6 * unlike[0.0], "draws decode to pictures like those of codes"
    assert sampled.std((2, 3)).mean() > 0.5 * decoded.std((2, 3)).mean(), "and not to one grey"


def test_the_adversarial_autoencoders_prior_is_in_quantiser_steps(photos):
    recipe, draws = replace(small("aae"), delta=(0.25, 0.25)), Draws(0, 0, 4)
    out = recipe.outputs(recipe.network(), crops(photos, 4), draws)
    assert torch.allclose(recipe.judged(out)[1] * 0.25 * recipe.spread, out.extra["code"])


def learnt_with_labels(recipe, scenes, folder, constant):
    """A training whose discriminator is shown the scenes' labels, or (constant) the same ones everywhere."""
    trainer = Trainer(recipe, scenes, Options(folder, steps=300))
    if constant:
        trainer.opponents["critic"] = replace(trainer.opponents["critic"], see=lambda out: (
            out.x, out.x_hat, torch.full_like(out.extra["labels"], 1 / recipe.classes)))  # fmt: skip
    for n in range(300):
        trainer.step(n / 300)
    return trainer


def harm_of_shuffled_labels(trainer, held):
    """By what share the discriminator's loss on scenes that it has not seen rises with the labels of other scenes."""
    game, x = trainer.opponents["critic"].game, held.crops(Draws(99, 0, 64), 64, labels=True)
    with torch.no_grad():
        out = trainer.recipe.outputs(trainer.network, x, Draws(98, 0, 64))
        right, *wrong = (float(game.learn(out.x, out.x_hat, out.extra["labels"].roll(by, 0))[0]) for by in range(5))
    return float(np.mean(wrong)) / right - 1


def test_the_discriminator_uses_labels_and_the_file_holds_none(tmp_path):
    """On made-up scenes whose labels tell colour and texture, or on streets from CamVid. Weights that were shown one
    label map alone are moved by others too, to better or worse as it happens."""
    train, pairs = folders(tmp_path)
    (tmp_path / "held").mkdir()
    for path in (p for pair in pairs for p in pair):
        shutil.copy(path, tmp_path / "held")
    for folder, name in ((train, "pack"), (tmp_path / "held", "other")):
        pack(folder, tmp_path / "packs" / name)
    scenes, held = (Photographs(tmp_path / "packs" / name) for name in ("pack", "other"))
    recipe = replace(small("extreme-gc-labels"), blocks=1, critic_rate=2e-3)
    told, untold = (learnt_with_labels(recipe, scenes, tmp_path, constant) for constant in (False, True))
    harm = harm_of_shuffled_labels(told, held), harm_of_shuffled_labels(untold, held)
    print(f"labels of other scenes raise the loss by {harm[0]:.3f}, and by {harm[1]:.3f} where training showed none")
    assert harm[0] > 0.25 and abs(harm[1]) < harm[0] / 2

    network, plain = told.averaged(), replace(small("extreme-gc"), blocks=1)
    packages = (either.package(network, scenes, told.training(), 2) for either in (recipe, plain))
    files = [intaglio.encode(pairs[0][0], model=package, threads=1) for package in packages]
    assert len(files[0]) == len(files[1]) and {c["type"] for c in intaglio.info(files[0])["chunks"]} == {"HEAD", "TILE"}


def test_beta_buys_entropy(photos, tmp_path):
    recipe = small("extreme-gc")
    bits = []
    for beta in (1.0, 200.0):
        network = trained(replace(recipe, beta=beta), photos, tmp_path, 200).averaged()
        with torch.no_grad():
            bits.append(float(network.code(crops(photos, 64), torch.zeros(64, 1, 1))[2].mean()) / 64**2)
    assert bits[1] < 0.6 * bits[0] and bits[0] < 0.12
