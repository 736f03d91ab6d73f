"""Hazards: a discriminator trained on a loss measures another divergence than the loss is named for; the generator's
gradient points elsewhere than that divergence's; a large logit is an overflow; a penalty's scale is not the papers'."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from intaglio.errors import BadInput
from intaglio.losses.adversarial import KINDS, activation, conjugate, fool, learn
from intaglio.losses.feature_matching import feature_matching
from intaglio.losses.gradient_penalty import UNIT, r1, wgan_gp

# Two distributions on six outcomes, as counts out of 16: a batch with these counts has exactly these frequencies.
P, Q = np.array([1, 2, 6, 4, 2, 1]), np.array([5, 1, 1, 2, 4, 3])
ATOMS_P, ATOMS_Q = (torch.from_numpy(np.repeat(np.arange(6), n)) for n in (P, Q))
F_GANS = KINDS[5:]


def divergences(p, q):
    """Closed forms of what the discriminator's loss is at its best, by kind."""
    p, q = np.asarray(p, float), np.asarray(q, float)
    m = (p + q) / 2
    js = 0.5 * (p * np.log(p / m) + q * np.log(q / m)).sum()
    return {
        "minimax": 2 * math.log(2) - 2 * js,
        "non-saturating": 2 * math.log(2) - 2 * js,
        "lsgan": (p * q / (p + q)).sum(),
        "hinge": 2 - np.abs(p - q).sum(),
        "wgan": -np.abs(np.cumsum(p - q)).sum(),  # on a line, one apart
        "kl": -(p * np.log(p / q)).sum(),
        "reverse-kl": -(q * np.log(q / p)).sum(),
        "pearson": -((p - q) ** 2 / q).sum(),
        "hellinger": -((np.sqrt(p) - np.sqrt(q)) ** 2).sum(),
        "jensen-shannon": -2 * js,
    }


def best(kind):
    """The table of logits (6,) that gradient steps on `learn` lead to, and the loss there."""
    table = torch.zeros(6, requires_grad=True)
    optimiser = torch.optim.Adam([table], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 700)

    def logits():  # wgan: 1-Lipschitz, that is, neighbours differ by at most 1
        return torch.cumsum(table.clamp(-1, 1), 0) if kind == "wgan" else table

    for _ in range(700):
        loss = learn(kind, logits()[ATOMS_P][None], logits()[ATOMS_Q][None])[0]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    v = logits().detach()
    return v, learn(kind, v[ATOMS_P][None], v[ATOMS_Q][None]).item()


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_discriminator_measures_the_divergence(kind):
    v, loss = best(kind)
    assert loss == pytest.approx(divergences(P / 16, Q / 16)[kind], abs=2e-3)
    if kind in ("hinge", "wgan"):
        return
    # The generator can move mass between outcomes: its gradient is that of the divergence, and not of something else.
    own = fool(kind, v[:, None]).double().numpy()  # the loss of each outcome; linear in Q
    if kind in ("non-saturating", "lsgan"):  # these follow no divergence of P and Q, but do favour what P favours
        assert (np.argsort(own) == np.argsort(Q / P)).all()
        return
    rng = np.random.default_rng(0)
    for _ in range(3):
        move = rng.normal(size=6)
        move -= move.mean()
        h = 1e-5
        up, down = (divergences(P / 16, Q / 16 + s * h * move)[kind] for s in (1, -1))
        slope = -(up - down) / (2 * h)  # the discriminator's loss is minus the divergence, up to a constant
        assert (own * move).sum() == pytest.approx(slope, abs=0.02 * np.abs(move).sum())


@pytest.mark.parametrize("kind", F_GANS)
def test_conjugates_are_fenchels(kind):
    """f*(t) = sup over u of u t - f(u), on a fine grid of u, at t = g(v); and g covers the domain of f*."""
    f = {
        "kl": lambda u: u * np.log(u),
        "reverse-kl": lambda u: -np.log(u),
        "pearson": lambda u: (u - 1) ** 2,
        "hellinger": lambda u: (np.sqrt(u) - 1) ** 2,
        "jensen-shannon": lambda u: u * np.log(u) - (u + 1) * np.log((1 + u) / 2),
    }[kind]
    u = np.exp(np.linspace(-25, 25, 200001))
    v = torch.linspace(-1.9, 3, 13, dtype=torch.float64)
    for t, ours in zip(activation(kind, v).tolist(), conjugate(kind, v).tolist(), strict=True):
        assert ours == pytest.approx(np.max(u * t - f(u)), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_logit_overflows(kind):
    for size in (90.0, 1e4):
        for dtype in (torch.float32, torch.bfloat16):
            real = torch.tensor([[size, -size]], dtype=dtype, requires_grad=True)
            fake = torch.tensor([[-size, size]], dtype=dtype, requires_grad=True)
            loss = learn(kind, real, fake) + fool(kind, fake)
            assert loss.dtype == torch.float32 and torch.isfinite(loss).all()
            loss.sum().backward()
            assert torch.isfinite(real.grad).all() and torch.isfinite(fake.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_directions(kind):
    """Real is up, fake is down, and the generator pushes up; a better discriminator has the lower loss."""
    v = torch.full((1, 1), 0.5, requires_grad=True)
    for loss, sign in ((learn(kind, v, v.detach()), -1), (learn(kind, v.detach(), v), 1), (fool(kind, v), -1)):
        (slope,) = torch.autograd.grad(loss.sum(), v)
        assert slope.sign().item() == sign
    right, wrong = torch.full((1, 4), 0.3), torch.full((1, 4), -0.3)
    assert learn(kind, right, wrong) < learn(kind, wrong, right)


def test_closed_forms():
    real, fake = torch.tensor([[2.0, 0.5]]), torch.tensor([[-2.0, 1.0]])
    log = math.log1p
    expected = {
        "minimax": (log(math.exp(-2)) + log(math.exp(-0.5))) / 2 + (log(math.exp(-2)) + log(math.exp(1))) / 2,
        "lsgan": (1 + 0.25) / 2 + (4 + 1) / 2,
        "hinge": (0 + 0.5) / 2 + (0 + 2) / 2,
        "wgan": -0.5 - 1.25,
        "kl": (math.exp(-3) + 1) / 2 - 1.25,
        "reverse-kl": (math.exp(-2) + math.exp(-0.5)) / 2 + (-3 + 0) / 2,
        "pearson": (1 - 2 + 0.25 + 1) / 2 - 1.25,
        "hellinger": (math.exp(-2) + math.exp(-0.5)) / 2 + (math.exp(-2) + math.exp(1)) / 2 - 2,
    }
    expected["non-saturating"] = expected["minimax"]
    expected["jensen-shannon"] = expected["minimax"] - 2 * math.log(2)
    assert set(expected) == set(KINDS)
    for kind, value in expected.items():
        assert learn(kind, real, fake).item() == pytest.approx(value, rel=1e-5)
    softplus = (log(math.exp(-2)) + log(math.exp(1))) / 2
    assert fool("minimax", fake).item() == pytest.approx(-softplus)
    assert fool("non-saturating", fake).item() == pytest.approx((2 + log(math.exp(-2)) + log(math.exp(-1))) / 2)
    assert fool("lsgan", fake).item() == pytest.approx(4.5)
    assert fool("hinge", fake).item() == fool("wgan", fake).item() == 0.5


def test_only_minimax_saturates():
    """Against a sure discriminator the non-saturating generator still learns, which is its point."""
    slopes = {}
    for kind in ("minimax", "non-saturating", "hinge", "lsgan"):
        v = torch.full((1, 1), -15.0, requires_grad=True)
        slopes[kind] = abs(torch.autograd.grad(fool(kind, v).sum(), v)[0].item())
    assert slopes["minimax"] < 1e-6 and min(v for k, v in slopes.items() if k != "minimax") > 0.99


@pytest.mark.parametrize("shape", [(3,), (3, 1, 5, 7), (3, 2)])
def test_every_picture_has_its_own_value(shape):
    g = torch.Generator().manual_seed(0)
    real, fake = torch.randn(shape, generator=g), torch.randn(3, 1, 2, 2, generator=g)
    for kind in KINDS:
        assert learn(kind, real, fake).shape == fool(kind, real).shape == (3,)
        assert learn(kind, real, fake)[1].item() == pytest.approx(learn(kind, real[1:2], fake[1:2]).item(), rel=1e-5)


def test_unknown_kinds_are_refused():
    v = torch.zeros(1, 1)
    for call in (lambda: learn("wasserstein", v, v), lambda: fool("wasserstein", v), lambda: activation("hinge", v)):
        with pytest.raises(BadInput, match="jensen-shannon"):
            call()
    with pytest.raises(BadInput, match="jensen-shannon"):
        conjugate("hinge", v)


def test_adversarial_losses_compile():
    real, fake = torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3)

    def everything(real, fake):
        return torch.stack([learn(kind, real, fake) + fool(kind, fake) for kind in KINDS])

    torch.compiler.reset()
    compiled = torch.compile(everything, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(real, fake), everything(real, fake))


class Quadratic(nn.Module):
    """A critic whose logits are s x^2 / 2, one each value: its mean over a picture has slope s x / n."""

    def __init__(self, s):
        super().__init__()
        self.s = nn.Parameter(torch.tensor(float(s)))

    def forward(self, x):
        return self.s * x.square() / 2


def test_gradient_penalties_are_the_closed_forms():
    x = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 255
    n = 60
    critic = Quadratic(0.3)
    slope = UNIT * 0.3 / n * x.square().sum((1, 2, 3)).sqrt()
    with torch.no_grad():  # a step that logs may well be inside no_grad
        assert r1(critic, x).tolist() == pytest.approx((slope**2 / 2).tolist(), rel=1e-4)
    value = r1(critic, x)
    (by_s,) = torch.autograd.grad(value.sum(), critic.s)
    assert by_s.item() == pytest.approx((slope**2 / 0.3).sum().item(), rel=1e-4)
    assert wgan_gp(critic, x, x).tolist() == pytest.approx(((slope - 1) ** 2).tolist(), rel=1e-4)
    # pictures in -1..1, as in the papers, have the slope that the penalty says
    w = torch.full((1, 3, 4, 5), 0.1)
    small = (x / UNIT - 1).requires_grad_()
    (theirs,) = torch.autograd.grad((w * small).sum(), small)
    ours = wgan_gp(lambda x: (w * (x / UNIT - 1)).sum((1, 2, 3)), x, x)
    assert ours.tolist() == pytest.approx(((theirs.square().sum((1, 2, 3)).sqrt() - 1) ** 2).tolist(), rel=1e-3)


def test_gradient_penalty_looks_between_the_pictures():
    real, fake = torch.zeros(64, 3, 2, 2), torch.full((64, 3, 2, 2), 100.0)
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.square()

    first = wgan_gp(critic, real, fake, torch.Generator().manual_seed(1))
    again = wgan_gp(critic, real, fake, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    x = seen[0]
    assert (x == x[:, :1, :1, :1]).all()  # one point a picture, on the segment, anywhere on it
    assert 0 <= x.min() < 10 and 90 < x.max() <= 100 and 35 < x.mean() < 65


def test_gradient_penalties_of_flat_critics_and_of_scales():
    x = torch.rand(2, 3, 8, 8) * 255
    flat = Quadratic(0.0)
    value = wgan_gp(flat, x, x)
    assert value.tolist() == pytest.approx([1, 1], abs=1e-4)
    (slope,) = torch.autograd.grad(value.sum() + r1(flat, x).sum(), flat.s)
    assert torch.isfinite(slope)
    one = Quadratic(0.2)
    both = r1(lambda x: [one(x), one(x)], x)  # scales are averaged: two alike are as good as one
    assert both.tolist() == pytest.approx(r1(one, x).tolist(), rel=1e-5)
    cast = r1(lambda x: one(x).bfloat16(), x)
    assert cast.dtype == torch.float32 and cast.tolist() == pytest.approx(r1(one, x).tolist(), rel=0.02)


def test_feature_matching_is_the_closed_form():
    real = [torch.zeros(2, 4, 3, 3, requires_grad=True), torch.ones(2, 8, requires_grad=True)]
    fake = [torch.full((2, 4, 3, 3), 2.0, requires_grad=True), torch.full((2, 8), -4.0, requires_grad=True)]
    value = feature_matching(fake, real)
    assert value.tolist() == [3.5, 3.5]
    value.sum().backward()
    assert all(r.grad is None for r in real) and all(f.grad.abs().sum() > 0 for f in fake)
    equal = feature_matching(fake, fake)
    equal.sum().backward()
    assert equal.tolist() == [0, 0] and all(torch.isfinite(f.grad).all() for f in fake)
    for wrong in (([], []), (fake, real[:1])):
        with pytest.raises(BadInput, match="features"):
            feature_matching(*wrong)
