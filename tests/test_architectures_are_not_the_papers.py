"""Hazard: a recipe's network is not the one that its paper describes, or sees further than its package says."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from intaglio import recipes
from intaglio.errors import BadInput, TooLarge
from intaglio.nn.systems import compressgan, conditional, hific, progressive, selective
from intaglio.nn.systems.blocks import Residual
from intaglio.package import WHOLE
from intaglio.tiles import WHOLE_PIXELS, Box, Layout
from intaglio.train.numbers import change

PAPERS = ["autoencoder", "vae", "compressgan", "hific-lo", "hific-mi", "hific-hi", "extreme-gc", "extreme-gc-labels",
          "aae", "conditional", "progressive", "wgan-gp"]  # fmt: skip


def full(name):
    """The network at the paper's width, without memory."""
    with torch.device("meta"):
        return recipes.recipe(name).network()


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]


def test_hific_has_the_layers_of_the_papers_figure():
    codec = full("hific-mi")
    assert [c.out_channels for c in convolutions(codec.analysis)] == [60, 120, 240, 480, 960, 220]
    assert [c.stride[0] for c in convolutions(codec.analysis)] == [1, 2, 2, 2, 2, 1]
    assert [c.out_channels for c in convolutions(codec.synthesis)] == [960] * 19 + [480, 240, 120, 60, 3]
    assert sum(isinstance(m, Residual) for m in codec.synthesis.modules()) == 9
    assert codec.shape.latents == 220 and codec.shape.hyper == 320
    norms = [type(m).__name__ for m in codec.modules() if "Norm" in type(m).__name__]
    assert set(norms) == {"ChannelNorm"} and len(norms) == 5 + 2 + 18 + 4


def test_hific_has_the_papers_parameters():
    codec = full("hific-mi")
    # the hyper-synthesis, one for means and one for scales, mirrors h_a; the integer prior stands in for both
    mirrored = 2 * (2 * (320 * 320 * 25 + 320) + 320 * 220 * 9 + 220)
    whole = parameters(codec.analysis) + parameters(codec.hyper) + parameters(codec.synthesis) + mirrored
    assert abs(whole / 181e6 - 1) < 0.005, "181 million, as HiFiC's own"
    assert abs(parameters(codec.synthesis) / 156.8e6 - 1) < 0.005, "of which the generator has 157"


@pytest.mark.parametrize(("name", "target"), [("hific-lo", 0.14), ("hific-mi", 0.30), ("hific-hi", 0.45)])
def test_hific_has_the_papers_rates(name, target):
    recipe = recipes.recipe(name)
    assert recipe.target_bpp == target and recipe.target.target == target
    assert recipe.zeta_a > 4 * recipe.zeta_b, "much greater"
    assert recipe.target(torch.tensor([target * 1.01])) == recipe.zeta_a
    assert recipe.target(torch.tensor([target * 0.99])) == pytest.approx(recipe.zeta_b)


@pytest.mark.parametrize("name", ["extreme-gc", "extreme-gc-labels"])
def test_extreme_compression_has_the_papers_layers_and_bound(name):
    recipe, codec = recipes.recipe(name), full(name)
    assert codec.levels == 5 and codec.shape.latents * math.log2(5) / 256 < 0.1
    assert [c.out_channels for c in convolutions(codec.analysis)] == [60, 120, 240, 480, 960, codec.shape.latents]
    assert sum(isinstance(m, Residual) for m in codec.synthesis.modules()) == 9
    assert codec.analysis.reach == codec.synthesis.reach == WHOLE, "instance norm sees all of the picture"
    assert change(recipe, width=8).network().shape.latents == codec.shape.latents, "the bound is the same at any width"
    with torch.device("meta"):
        critic = recipe.opponents()["critic"].game
        other = recipes.recipe("extreme-gc").opponents()["critic"].game
    assert len(critic.discriminator.scales) == 3 and critic.kind == "lsgan" and critic.matching == 10
    assert (critic.discriminator.scales[0].entry.map is not None) == (name == "extreme-gc-labels") and other


def test_labels_cost_the_file_and_the_decoder_nothing():
    plain, told = full("extreme-gc"), full("extreme-gc-labels")
    assert str(plain) == str(told)


def test_compressgan_mirrors_its_encoder():
    codec = full("compressgan")
    a, s = convolutions(codec.analysis), convolutions(codec.synthesis)
    down = [(c.in_channels, c.out_channels) for c in a if c.stride[0] == 2]
    rise = [(c.in_channels, c.out_channels) for c in s if isinstance(c, nn.ConvTranspose2d)]
    assert down == [(64, 128), (128, 256), (256, 512), (512, 1024)]
    assert rise == [(o, i) for i, o in reversed(down)]
    assert sum(isinstance(m, Residual) for m in codec.analysis.modules()) == 4
    assert {type(m) for m in codec.modules() if "Norm" in type(m).__name__} == {nn.BatchNorm2d}
    nearest = dataclasses.replace(recipes.recipe("compressgan"), rise="nearest", width=8).network()
    assert not any(isinstance(m, nn.ConvTranspose2d) for m in nearest.modules())
    assert nearest(torch.rand(1, 3, 64, 64) * 255, torch.zeros(1, 1, 1))[0].shape == (1, 3, 64, 64)


def test_delta_is_the_quantisers_step():
    codec = change(recipes.recipe("compressgan"), width=8).network()
    q = torch.tensor([0.0, 31.5, 63.0])[:, None, None]
    delta = 1 / codec.gain(q)[:, 0, 0, 0]
    assert torch.allclose(delta, torch.tensor([8.0, 2.0, 0.5]))
    y = 10 * torch.randn(3, codec.shape.latents, 4, 4)
    decoded = codec.code_latents(y, q)[0]
    sixteenths = decoded / delta[:, None, None, None] * 16  # means are whole sixteenths of Delta
    assert (sixteenths - sixteenths.round()).abs().max() < 1e-2
    assert ((decoded - y).abs().amax((1, 2, 3)) <= delta / 2 + 1e-4).all()
    assert ((decoded - y).abs().mean((1, 2, 3)) > delta / 5).all()


def footprint(output, x):
    """Columns of x that an output depends on: (first, end)."""
    (slope,) = torch.autograd.grad(output, x, retain_graph=True)
    columns = slope.abs().sum((0, 1, 2)).nonzero().flatten()
    return int(columns[0]), int(columns[-1]) + 1


ANALYSES = {
    "hific": lambda: hific.Encoder(4, 5),
    "compressgan": lambda: compressgan.Encoder(4, 5),
}
SYNTHESES = {
    "hific": lambda: hific.Generator(4, 5, blocks=2),
    "compressgan": lambda: compressgan.Decoder(4, 5),
    "nearest": lambda: compressgan.Decoder(4, 5, rise="nearest"),
    "conditional": lambda: conditional.ConditionalDecoder(4, 5),
    "selective": lambda: selective.SelectiveGenerator(4, 5, "ab", blocks=2),
}


@pytest.mark.parametrize("name", ANALYSES)
def test_an_encoder_sees_no_further_than_it_says(name):
    torch.manual_seed(0)
    network = ANALYSES[name]().double().eval()
    x = (255 * torch.rand(1, 3, 64, 512, dtype=torch.float64)).requires_grad_(True)
    first, end = footprint(network(x)[0, :, 1, 15].square().sum(), x)
    reach = network.reach
    assert 240 - reach <= first and end <= 256 + reach
    assert max(240 - first, end - 256) > reach / 3, "nor says much more than it does"


@pytest.mark.parametrize("name", SYNTHESES)
def test_a_decoder_sees_no_further_than_it_says(name):
    torch.manual_seed(0)
    network = SYNTHESES[name]().double().eval()
    y = torch.randn(1, 5, 4, 32, dtype=torch.float64).requires_grad_(True)
    t = torch.full((1, 1, 4, 32), 0.3, dtype=torch.float64)
    x = network(y, t, torch.zeros(1))
    reach, most = network.reach, 0
    for column in (256, 271):
        first, end = footprint(x[0, :, 30:33, column].square().sum(), y)
        assert column - reach <= 16 * first + 15 and 16 * (end - 1) <= column + reach
        most = max(most, column - 16 * first - 15, 16 * (end - 1) - column)
    assert most > reach / 3


def test_a_generator_sees_labels_no_further_than_it_says():
    """Their way leads down one ladder and up another."""
    torch.manual_seed(0)
    network, told = selective.SelectiveGenerator(4, 5, "ab", blocks=2).double().eval(), []
    network.semantics.register_forward_pre_hook(lambda _, given: told.append(given[0].requires_grad_(True)))
    y, kept = torch.randn(1, 5, 4, 32, dtype=torch.float64), torch.zeros(1, 1, 4, 32, dtype=torch.float64)
    x = network(y, y, y, None, kept, torch.randint(0, 2, (1, 1, 64, 512)))
    reach, most = network.reach, 0
    for column in (256, 271):
        first, end = footprint(x[0, :, 30:33, column].square().sum(), told[0])
        assert column - reach <= first and end - 1 <= column + reach
        most = max(most, column - first, end - 1 - column)
    assert most > reach / 3


def test_attention_and_instance_norm_say_that_they_see_the_whole():
    assert hific.Encoder(4, 5, "instance").reach == hific.Generator(4, 5, 1, "instance").reach == WHOLE
    encoder, decoder = progressive.Encoder(4, 5).double(), progressive.Decoder(4, 5).double()
    assert encoder.reach == decoder.reach == WHOLE
    nn.init.dirac_(encoder.attention.out.weight)
    x = (255 * torch.rand(1, 3, 64, 256, dtype=torch.float64)).requires_grad_(True)
    assert footprint(encoder(x)[0, :, 0, 0].square().sum(), x) == (0, 256), "and they do"


def test_a_picture_too_large_to_be_seen_whole_is_refused():
    side = math.isqrt(WHOLE_PIXELS) // 64 * 64
    assert Layout(side, side).window(Box(0, 0, 16, 16), WHOLE) == Box(0, 0, side, side)
    with pytest.raises(TooLarge, match="see a picture whole"):
        Layout(side + 64, side + 1).window(Box(0, 0, 16, 16), WHOLE)
    assert Layout(9999, 9999).window(Box(64, 64, 128, 128), 32) == Box(32, 32, 160, 160)


@pytest.mark.parametrize("name", PAPERS)
def test_width_scales_every_channel_count(name):
    paper = recipes.recipe(name)
    half = change(paper, width=paper.width // 2).network()
    whole = full(name)
    for part in ("analysis", "synthesis", "prior"):
        ratio = parameters(getattr(whole, part)) / parameters(getattr(half, part))
        assert 2 < ratio < 4.3, part
    with pytest.raises(BadInput, match="at least 4"):
        change(paper, width=3)


def test_the_released_recipes_do_not_scale():
    with pytest.raises(BadInput, match="fixed channel counts"):
        change(recipes.recipe("intaglio1"), width=8)
