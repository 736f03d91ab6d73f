"""Hazards: training one player moves the other; fakes are told by a grid that nobody sees; figures say something else
than their names; a resumed game goes another way."""

import copy

import pytest
import torch
from running_discriminators import learned
from textures import decoded, textures
from torch import nn

from intaglio.errors import BadInput
from intaglio.losses.adversarial import KINDS
from intaglio.nn.discriminators.judgement import Judgement
from intaglio.nn.discriminators.patch import Patch
from intaglio.train.game import THRESHOLDS, Game, as_shown


class Brightness(nn.Module):
    """Two scales: each pixel's red - 100 in 0..255, times a learned factor; and the mean of green - 100."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x, latent=None):
        pixels = self.factor * (x[:, :1] - 100)
        return Judgement([pixels, x[:, 1:2].mean((2, 3), keepdim=True) - 100], [x, pixels])


@pytest.fixture
def pair():
    x = textures(4, 64, torch.Generator().manual_seed(0))
    return x, *decoded(x)


def make(**options):
    torch.manual_seed(0)
    return Game(Patch(48, 4, 1), **options)


def test_each_player_learns_alone(pair):
    x, fake, latent = (t.clone().requires_grad_() for t in pair)
    game = make(matching=1.0, penalty="r1")
    weights = list(game.parameters())
    verdict = game.fool(fake, latent, x)
    assert verdict.shape == (4,) and all(p.requires_grad for p in weights)
    verdict.sum().backward()
    assert all(p.grad is None for p in weights) and x.grad is None and latent.grad is None
    assert all(g.abs().max() > 0 for g in fake.grad)
    fake.grad = None
    game.learn(x, fake, latent)[0].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in weights)
    assert x.grad is None and fake.grad is None and latent.grad is None


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_generator_plays_against_the_discriminator_that_learns(pair, norm):
    """A batch norm's statistics are of both, real and fake: of fakes alone it would be another discriminator."""
    x, fake, latent = pair
    torch.manual_seed(0)
    game = Game(Patch(48, 4, 1, norm=norm), "wgan", matching=0.0)
    logs = game.learn(x, fake, latent)[1]
    torch.testing.assert_close(-game.fool(fake, latent, x).mean(), logs["fake"], rtol=1e-4, atol=1e-5)
    if norm == "batch":
        with pytest.raises(BadInput, match="give `real`"):
            game.fool(fake, latent)


def test_an_error_leaves_the_discriminator_able_to_learn(pair):
    game = make(matching=1.0)
    with pytest.raises(BadInput, match="give `real`"):
        game.fool(pair[1], pair[2])
    assert all(p.requires_grad for p in game.parameters())


def test_what_is_frozen_stays_frozen(pair):
    game = make()
    still = game.discriminator.trunk.last.bias.requires_grad_(False)
    game.fool(pair[1], pair[2])
    assert not still.requires_grad


def test_fakes_are_judged_as_they_are_shown():
    x = torch.tensor([-3.0, 0.4, 99.6, 300.0]).requires_grad_()
    shown = as_shown(x)
    assert shown.tolist() == [0, 0, 100, 255]
    shown.sum().backward()
    assert x.grad.tolist() == [1, 1, 1, 1]
    real, fake = torch.full((1, 3, 8, 8), 100.0), torch.full((1, 3, 8, 8), 100.4)
    for rounded in (True, False):
        _, logs = Game(Brightness(), "hinge", round=rounded).learn(real, fake)
        assert (logs["real"] == logs["fake"]) == rounded


def test_figures_are_what_they_say():
    real, fake = torch.full((2, 3, 4, 4), 110.0), torch.full((2, 3, 4, 4), 90.0)
    fake[0, 0, :2] = 105  # half the red pixels of one fake of two: an eighth of the first scale's decisions
    loss, logs = Game(Brightness(), "hinge").learn(real, fake)
    assert logs["accuracy"] == pytest.approx((7 / 8 + 1) / 2)
    assert logs["real"] == 10 and logs["fake"] == pytest.approx((-10 + 15 / 4 - 10) / 2)
    assert loss.item() == pytest.approx((1 + 5) / 4 / 2)  # hinge of a quarter of all fake pixels, of one scale of two
    _, logs = Game(Brightness(), "hinge").learn(real, fake, weight=torch.tensor([0.0, 1.0]))
    assert logs["accuracy"] == 1 and logs["fake"] == -10
    assert Game(Brightness(), "wgan").learn(real, fake)[1]["accuracy"] == pytest.approx((7 / 8 + 1) / 2)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "wgan"])
def test_accuracy_is_half_where_nothing_is_told_apart(kind):
    same = 100.75 + THRESHOLDS.get(kind, 0.0) + torch.arange(-8.0, 8).view(1, 1, 4, 4).expand(1, 3, 4, 4)
    _, logs = Game(Brightness(), kind, round=False).learn(same, same.clone())
    assert logs["accuracy"] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("wgan", "hinge")])  # flat, or flat between -1 and 1
def test_thresholds_are_those_of_the_best_discriminator(kind):
    """The logit that minimises the loss where P and Q are the same."""
    from intaglio.losses.adversarial import learn

    v = torch.linspace(-2, 3, 501)[:, None]
    assert v[learn(kind, v, v).argmin()].item() == pytest.approx(THRESHOLDS.get(kind, 0.0), abs=0.011)


def test_pictures_count_by_their_weight(pair):
    game, (x, fake, latent) = make().eval(), pair
    one, _ = game.learn(x[:1], fake[:1], latent[:1])
    weighted, _ = game.learn(x, fake, latent, torch.tensor([4.0, 0, 0, 0]))
    assert weighted.item() == pytest.approx(one.item(), rel=1e-5)


def test_matching_is_zero_between_equals_and_adds_its_weight(pair):
    x, fake, latent = pair
    plain, matched = make().eval(), make(matching=3.0).eval()
    assert torch.allclose(plain.fool(x, latent), matched.fool(x, latent, x), atol=1e-6)
    once, thrice = make(matching=1.0).eval().fool(fake, latent, x), matched.fool(fake, latent, x)
    assert torch.allclose(thrice - plain.fool(fake, latent), 3 * (once - plain.fool(fake, latent)), atol=1e-5)
    assert (once > plain.fool(fake, latent)).all()


def test_a_penalty_comes_at_its_interval_and_weighs_as_much_more(pair):
    game, lazy = make(penalty="r1").eval(), make(penalty="r1", interval=3).eval()
    plain = make().eval().learn(*pair)[0].item()
    every = game.learn(*pair)[0].item() - plain
    rest = [lazy.learn(*pair)[0].item() - plain for _ in range(6)]
    assert every > 0 and rest == pytest.approx([3 * every, 0, 0] * 2, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("penalty", ["wgan-gp", "r1"])
def test_a_resumed_game_goes_on_as_the_first(pair, penalty):
    def step(game):
        game.zero_grad()
        loss = game.learn(*pair)[0]
        loss.backward()
        with torch.no_grad():
            for p in game.parameters():
                p -= 0.01 * p.grad
        return loss

    first = make(kind="wgan", penalty=penalty, interval=2)
    for _ in range(2):
        step(first)
    again = make(kind="wgan", penalty=penalty, interval=2)
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    torch.rand(7)  # whatever else draws random numbers
    assert [step(first).item() for _ in range(3)] == [step(again).item() for _ in range(3)]


def test_games_work_in_half_precision(pair):
    game = make(penalty="r1")
    with torch.autocast("cpu", torch.bfloat16):
        loss, logs = game.learn(*pair)
        verdict = game.fool(pair[1], pair[2])
    loss.backward()
    assert verdict.dtype == torch.float32 and all(torch.isfinite(t).all() for t in (loss, verdict, *logs.values()))
    assert all(torch.isfinite(p.grad).all() for p in game.parameters())


def test_wrong_words_are_told():
    for options in ({"kind": "hing"}, {"penalty": "r2"}, {"interval": 0}):
        with pytest.raises(BadInput):
            make(**options)


@pytest.mark.parametrize("kind, above", [("non-saturating", 0.8), ("lsgan", 0.8), ("wgan", 0.65)])
def test_it_learns_by_other_losses_than_hinge(kind, above):
    torch.manual_seed(0)
    before, after = learned(Game(Patch(48, 8, 2), kind), "decoded", steps=40, rate=1e-3 if kind == "wgan" else 3e-3)
    assert before < 0.6 and after > above  # of wgan's scores only the differences mean something: its bar is a guess


def test_a_penalised_slope_does_not_keep_it_from_learning():
    torch.manual_seed(0)
    game = Game(Patch(48, 8, 2), "non-saturating", penalty="r1", penalty_weight=1.0, interval=4)
    assert learned(game, "decoded")[1] > 0.8
