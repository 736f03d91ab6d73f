"""Hazard: a system trains, and what its paper is about does nothing in it.

Every test asserts a mechanism where it is on, and its absence where the recipe's own number switches it off. Recipes
are 8 channels wide and learn from the example photograph.
"""

from dataclasses import replace

import pytest
import torch
from test_systems_do_not_code import labelled, labels_packed, packed, photos, small, trained  # noqa: F401  (fixtures)
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from intaglio import recipes
from intaglio.errors import BadInput
from intaglio.nn.discriminators.judgement import Judgement
from intaglio.nn.systems.progressive import seen_at
from intaglio.recipes.paper import Paper
from intaglio.train.draws import Draws
from intaglio.train.loop import Options, Trainer
from intaglio.train.recipe import Outputs


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


@pytest.mark.parametrize(("name", "distance", "told"), [("compressgan", "l1", 3), ("compressgan", "l2", 18),
                                                        ("vae", "l2", 18), ("autoencoder", "l1", 3)])  # fmt: skip
def test_pixels_are_compared_as_the_recipe_says(name, distance, told):
    recipe = small(name) if name == "vae" else replace(small(name), distance=distance)
    x = torch.zeros(1, 3, 8, 8)
    x_hat = torch.full_like(x, 6.0) * (torch.arange(8) % 2)  # half of them 6 away: 3 on average, 18 squared
    term = next(t for t in recipe.terms() if t.name == "reconstruction")
    assert float(term.value(Outputs(x, x_hat, x, x))) == told


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
    opponent = trainer.opponents["critic"]
    assert torch.equal(opponent.see(out)[2], out.extra["labels"])
    assert out.extra["labels"].shape[1] == 12 and float(out.extra["labels"][:, 2:].sum()) == 0
    assert trainer.network.analysis.enter[0].in_channels == 3 and not hasattr(trainer.network.synthesis, "classes")
    with pytest.raises(BadInput, match="label maps"):
        Trainer(recipe, photos, Options(tmp_path, steps=1)).step(0.0)


def test_discriminators_are_told_labels_where_their_recipe_says_so(labelled):  # noqa: F811
    draws = Draws(0, 0, 4)
    told = {}
    for name in ("extreme-gc", "extreme-gc-labels"):
        recipe = small(name)
        x = recipe.crops(labelled, draws)
        opponent = recipe.opponents()["critic"]
        told[name] = opponent.see(recipe.outputs(recipe.network(), x, draws))[2], opponent.game.discriminator
    assert told["extreme-gc"][0] is None and all(s.entry.map is None for s in told["extreme-gc"][1].scales)
    ids = x[:, 3]
    given, critic = told["extreme-gc-labels"]
    assert all(s.entry.map.latents == 12 for s in critic.scales)
    for label in range(12):
        share = (ids == label).float().reshape(4, 16, 4, 16, 4).mean((2, 4))
        assert torch.equal(given[:, label], share)
    assert 0 < given[:, 0].mean() < 1


class Ramp(nn.Module):
    """A critic whose score rises by `slope` per unit of length in one direction."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x, latent=None):
        return Judgement([self.slope * x.sum((1, 2, 3), keepdim=True) / x[0].numel() ** 0.5], [])


PAPERS = [name for name in recipes.NAMES if isinstance(recipes.recipe(name), Paper)]
PLAYERS = [name for name in PAPERS if small(name).opponents()]


@pytest.mark.parametrize("name", PLAYERS)
def test_any_discriminator_becomes_a_critic_with_a_penalty(name, labelled, tmp_path):  # noqa: F811
    """Its `kind` alone does it. A penalty is of one picture's slope: nothing else may hold that, nor mix pictures."""
    recipe = replace(small(name), kind="wgan", batch=2)
    trainer = Trainer(recipe, labelled, Options(tmp_path, steps=1))
    ((key, opponent),) = trainer.opponents.items()
    assert (opponent.game.kind, opponent.game.penalty) == ("wgan", "wgan-gp")
    layers = list(opponent.game.discriminator.modules())
    assert not any(is_parametrized(layer) or isinstance(layer, nn.BatchNorm2d) for layer in layers), "spectral, batch"
    assert all(layer.num_groups == 1 for layer in layers if isinstance(layer, nn.GroupNorm)), "layer norm alone"
    logs = trainer.step(0.0)[1]
    assert logs[f"game/{key}/penalty"] > 0 and recipes.recipe(name).kind in ("wgan", "non-saturating", "lsgan")
    if name != "wgan-gp":
        game = small(name).opponents()[key].game
        held = [is_parametrized(layer) or isinstance(layer, nn.GroupNorm) for layer in game.discriminator.modules()]
        assert game.penalty == "none" and any(held), "switched off, it has its paper's normalisation"
    unit = 1 if name == "aae" else 127.5
    opponent.game.discriminator = Ramp(2 / unit)
    see = 4 * torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    assert opponent.game.learn(*see)[1]["penalty"].item() == pytest.approx(1, rel=1e-4), "(2 - 1)^2"
