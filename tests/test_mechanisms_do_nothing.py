"""Hazard: a system trains, and what its paper is about does nothing in it.

Every test asserts a mechanism where it is on, and its absence where the recipe's own number switches it off. Recipes
are 8 channels wide and learn from the example photograph.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from test_systems_do_not_code import packed, photos, small, trained  # noqa: F401  (two are fixtures)

from intaglio.errors import BadInput
from intaglio.losses.gradient_penalty import wgan_gp
from intaglio.nn.systems.progressive import seen_at
from intaglio.train.data import Photographs, pack
from intaglio.train.draws import Draws
from intaglio.train.loop import Options, Trainer


def crops(photos, count=16, seed=99):  # noqa: F811
    return photos.crops(Draws(seed, 0, count), 64)


def slopes(recipe, photos, value):  # noqa: F811
    """The slope of `value`(outputs) at the analysis and at the prior: sums of magnitudes."""
    torch.manual_seed(0)
    network = recipe.network()
    draws = Draws(0, 0, 4)
    value(recipe.outputs(network, crops(photos, 4), draws)).sum().backward()
    return [sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None)
            for part in (network.analysis, network.prior)]  # fmt: skip


def test_the_autoencoders_codes_learn_nothing_of_the_rate_and_those_of_the_vae_do(photos):  # noqa: F811
    encoder, prior = slopes(small("autoencoder"), photos, lambda out: out.bits)
    assert encoder == 0 < prior
    encoder, prior = slopes(small("vae"), photos, lambda out: out.bits)
    assert encoder > 0 < prior


def test_a_bottleneck_holds_the_autoencoders_codes():
    recipe = small("autoencoder")
    network = recipe.network()
    torch.nn.init.normal_(network.analysis.out.weight, 0, 10)
    y = network.analysis(255 * torch.rand(1, 3, 64, 64))
    assert 3.9 < float(y.detach().abs().max()) <= 4
    free = replace(recipe, depth=0.0).network()
    free.load_state_dict(network.state_dict())
    assert float(free.analysis(255 * torch.rand(1, 3, 64, 64)).detach().abs().max()) > 4


def test_decoders_train_on_noise_where_the_paper_says_so(photos):  # noqa: F811
    def latents(recipe):
        torch.manual_seed(0)
        network, x = recipe.network().eval(), crops(photos, 4)
        out = recipe.outputs(network, x, Draws(0, 0, 4))
        return (out.latent - network.analysis(x)) / out.extra["delta"][:, None, None, None]

    noisy, rounded = latents(small("vae")), latents(replace(small("vae"), noisy=False))
    assert noisy.abs().max() <= 0.5 and abs(float(noisy.square().mean()) - 1 / 12) < 0.005, "uniform"
    step = (rounded[0, 0].flatten()[:, None] - noisy[0, 0].flatten()[:, None]).abs()
    assert rounded.abs().max() <= 0.5 and step.mean() > 0.1, "the other is rounded, and has errors of its own"


def test_the_progressive_decoder_shows_squares_first_and_fades(photos):  # noqa: F811
    recipe = small("progressive")
    torch.manual_seed(0)
    network = recipe.network()
    y, t, r = torch.randn(1, network.shape.latents, 4, 4), torch.zeros(1, 1, 1, 1), torch.zeros(1)
    shown = {}
    for share in (0.0, 0.15, 0.25, 1.0):
        recipe.grow(network, share)
        with torch.no_grad():
            shown[share] = network.synthesis(y, t, r)
    squares = shown[0.0].reshape(1, 3, 8, 8, 8, 8)
    assert torch.equal(squares, squares[:, :, :, :1, :, :1].expand_as(squares)), "1/8 of the resolution"
    assert torch.allclose(shown[0.15], (shown[0.0] + shown[0.25]) / 2, atol=1e-3), "half faded in"
    finest = shown[1.0].reshape(1, 3, 32, 2, 32, 2)
    assert (finest - finest[:, :, :, :1, :, :1]).abs().max() > 0
    assert [recipe.level(s) for s in (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1)] == pytest.approx([1, 1, 2, 2, 3, 3, 4, 4])
    x = crops(photos, 2)
    assert torch.equal(seen_at(x, 4.0), x)
    assert torch.allclose(seen_at(x, 1.5), (seen_at(x, 1.0) + seen_at(x, 2.0)) / 2, atol=1e-3)
    grown = replace(recipe, first=4)
    assert grown.level(0.0) == 4, "switched off, it is grown from the start"


def test_progressive_training_ends_grown_and_what_is_exported_is_grown(photos, tmp_path):  # noqa: F811
    trainer = trained(small("progressive"), photos, tmp_path, 3)
    trainer.step(0.05)
    assert trainer.network.synthesis.level == 1.0
    trainer.step(0.99)
    assert trainer.network.synthesis.level == 4.0 == trainer.averaged().synthesis.level


def test_the_conditional_decoder_and_discriminator_hear_the_parameter(photos):  # noqa: F811
    torch.manual_seed(0)
    recipe = small("conditional")
    network = recipe.network().eval()
    for told in network.synthesis.told:
        torch.nn.init.normal_(told.out.weight, 0, 0.3)
    y = torch.randn(1, network.shape.latents, 4, 4)
    shown = [network.synthesis(y, torch.full((1, 1, 1, 1), t), torch.zeros(1)) for t in (0.0, 1.0)]
    assert (shown[0] - shown[1]).abs().mean() > 0.1
    deaf = small("compressgan").network().eval()
    shown = [deaf.synthesis(y, torch.full((1, 1, 1, 1), t), torch.zeros(1)) for t in (0.0, 1.0)]
    assert torch.equal(*shown)
    out = recipe.outputs(network, crops(photos, 4), Draws(0, 0, 4))
    opponent = recipe.opponents()["critic"]
    real, _, told = opponent.see(out)
    logits = [opponent.game.discriminator(real, z).logits[0] for z in (told, -told)]
    assert (logits[0] - logits[1]).abs().mean() > 1e-3
    assert "delta" in out.extra and torch.allclose(told.mean((1, 2, 3)), 8 * out.q / 63 - 4)


def test_noise_joins_the_code_of_extreme_compression_and_is_the_same_twice(photos):  # noqa: F811
    torch.manual_seed(0)
    recipe = small("extreme-gc")
    network = recipe.network().eval()
    x, q = crops(photos, 2), torch.zeros(2, 1, 1)
    with torch.no_grad():
        on, again, off = network(x, q, torch.ones(1))[0], network(x, q, torch.ones(1))[0], network(x, q)[0]
    assert torch.equal(on, again) and (on - off).abs().mean() > 0.1
    silent = replace(recipe, noise=0).network().eval()
    with torch.no_grad():
        assert not silent.synthesis.noisy and torch.equal(silent(x, q, torch.ones(1))[0], silent(x, q)[0])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Pictures of two flat classes with grain, and their label maps."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    for i in range(4):
        ids = np.kron(rng.integers(0, 2, (4, 4)), np.ones((32, 32), int)).astype(np.uint8)
        grey = np.where(ids, 180, 70)[..., None] + rng.normal(0, 12, (128, 128, 3))
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        Image.fromarray(ids).save(folder / f"{i}.labels.png")
    pack(folder, folder / "pack")
    return Photographs(folder / "pack")


def test_labels_reach_the_discriminator_and_nothing_that_decodes(labelled, photos, tmp_path):  # noqa: F811
    recipe = small("extreme-gc-labels")
    trainer = Trainer(recipe, labelled, Options(tmp_path, steps=15))
    for n in range(15):
        out, _ = trainer.step(n / 15)
    game = trainer.opponents["critic"].game
    with torch.no_grad():
        right, wrong = (game.discriminator(out.x, z).logits[0] for z in
                        (out.extra["labels"], out.extra["labels"].roll(1, 1)))  # fmt: skip
    assert (right - wrong).abs().mean() > 0.05, "it hears the labels"
    assert small("extreme-gc").opponents()["critic"].see(replace(out, extra={}))[2] is None, "switched off, it cannot"
    assert out.extra["labels"].shape[1] == 12 and float(out.extra["labels"][:, 2:].sum()) == 0
    assert trainer.network.analysis.enter[0].in_channels == 3 and not hasattr(trainer.network.synthesis, "classes")
    with pytest.raises(BadInput, match="label maps"):
        Trainer(recipe, photos, Options(tmp_path, steps=1)).step(0.0)


def penalties(recipe, photos, folder, penalty):  # noqa: F811
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


@pytest.mark.slow
def test_the_penalty_holds_the_critics_slope_near_one(photos, tmp_path):  # noqa: F811
    recipe = replace(small("wgan-gp"), critic_rate=2e-3)
    held, free = (penalties(recipe, photos, tmp_path, penalty) for penalty in ("wgan-gp", "none"))
    assert recipe.opponents()["critic"].game.penalty == "wgan-gp"
    assert held < 0.4 and free > 3 * held


@pytest.mark.slow
def test_rate_targets_are_met(photos, tmp_path):  # noqa: F811
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


@pytest.mark.slow
def test_the_adversarial_autoencoders_codes_are_draws_of_its_prior(photos, tmp_path):  # noqa: F811
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


@pytest.mark.slow
def test_beta_buys_entropy(photos, tmp_path):  # noqa: F811
    recipe = small("extreme-gc")
    bits = []
    for beta in (1.0, 200.0):
        network = trained(replace(recipe, beta=beta), photos, tmp_path, 60).averaged()
        with torch.no_grad():
            bits.append(float(network.code(crops(photos, 64), torch.zeros(64, 1, 1))[2].mean()) / 64**2)
    assert bits[1] < 0.6 * bits[0] and bits[0] < 0.12
