"""Adversarial losses by name, from raw logits: what the discriminator learns, and what the generator does about it.

P is the distribution of originals, Q that of decoded pictures, v = D(x) the raw logit.

| kind            | the discriminator minimises               | the generator minimises | at its best, the former is  |
|-----------------|-------------------------------------------|-------------------------|-----------------------------|
| minimax         | P softplus(-v) + Q softplus(v)            | Q -softplus(v)          | 2 log 2 - 2 JS(P, Q)        |
| non-saturating  | the same                                  | Q softplus(-v)          | the same                    |
| lsgan           | P (v - 1)^2 + Q v^2                       | Q (v - 1)^2             | sum pq / (p + q)            |
| hinge           | P max(0, 1 - v) + Q max(0, 1 + v)         | Q -v                    | 2 - 2 TV(P, Q)              |
| wgan            | Q v - P v, with v held 1-Lipschitz        | Q -v                    | -W1(P, Q)                   |
| kl              | Q exp(v - 1) - P v                        | Q -exp(v - 1)           | -KL(P, Q)                   |
| reverse-kl      | P exp(-v) + Q (v - 1)                     | Q 1 - v                 | -KL(Q, P)                   |
| pearson         | Q (v^2/4 + v) - P v                       | Q -(v^2/4 + v)          | -sum (p - q)^2 / q          |
| hellinger       | P (exp(-v) - 1) + Q (exp(v) - 1)          | Q 1 - exp(v)            | -sum (sqrt p - sqrt q)^2    |
| jensen-shannon  | P softplus(-v) + Q softplus(v) - 2 log 2  | Q log 2 - softplus(v)   | -2 JS(P, Q)                 |

Sources: minimax and non-saturating, Goodfellow et al. 2014; lsgan, Mao et al. 2017 with labels 0, 1, 1 and without the
factor 1/2; hinge, Lim and Ye 2017; wgan, Arjovsky et al. 2017. The last five are the f-GANs of Nowozin, Cseke, Tomioka
2016: with the output activation g and the conjugate f* of its tables 2 and 6, F = E_P[g(v)] - E_Q[f*(g(v))] is a lower
bound of D_f(P || Q); the discriminator minimises -F and the generator F. Their f for Jensen-Shannon gives twice the
divergence. The generator's part in P is constant and left out.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import BadInput

KINDS = (
    "minimax",
    "non-saturating",
    "lsgan",
    "hinge",
    "wgan",
    "kl",
    "reverse-kl",
    "pearson",
    "hellinger",
    "jensen-shannon",
)
BEND = 10.0


def _exp(v: Tensor) -> Tensor:
    """exp(v) up to BEND, its tangent there beyond it: still convex and rising, never infinite.

    The best discriminator is the same wherever |log(p/q)| is below BEND, and a logit of 90 is no overflow.
    """
    return torch.exp(v.clamp_max(BEND)) * (1 + (v - BEND).clamp_min(0))


def activation(kind: str, v: Tensor) -> Tensor:
    """g(v), the output activation of an f-GAN: any real logit to the domain of the conjugate."""
    if kind in ("kl", "pearson"):
        return v
    if kind == "reverse-kl":
        return -_exp(-v)
    if kind == "hellinger":
        return 1 - _exp(-v)
    if kind == "jensen-shannon":
        return math.log(2) - F.softplus(-v)
    raise BadInput(f"no f-GAN is called {kind!r}; there are {', '.join(KINDS[5:])}")


def conjugate(kind: str, v: Tensor) -> Tensor:
    """f*(g(v)), simplified by hand: f* alone would divide by zero where g(v) has been rounded to the domain's edge."""
    if kind == "kl":
        return _exp(v - 1)
    if kind == "reverse-kl":
        return v - 1
    if kind == "pearson":
        return v.square() / 4 + v
    if kind == "hellinger":
        return _exp(v) - 1
    if kind == "jensen-shannon":
        return F.softplus(v) - math.log(2)
    raise BadInput(f"no f-GAN is called {kind!r}; there are {', '.join(KINDS[5:])}")


def _mean(v: Tensor) -> Tensor:
    return v.reshape(v.shape[0], -1).mean(1)


def learn(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss from its logits, each (batch, ...), to (batch,): the mean over a picture's logits.

    Raises BadInput for a kind that is not in KINDS.
    """
    real, fake = real.float(), fake.float()
    if kind in ("minimax", "non-saturating"):
        return _mean(F.softplus(-real)) + _mean(F.softplus(fake))
    if kind == "lsgan":
        return _mean((real - 1).square()) + _mean(fake.square())
    if kind == "hinge":
        return _mean(F.relu(1 - real)) + _mean(F.relu(1 + fake))
    if kind == "wgan":
        return _mean(fake) - _mean(real)
    if kind in KINDS:
        return _mean(conjugate(kind, fake)) - _mean(activation(kind, real))
    raise BadInput(f"no adversarial loss is called {kind!r}; there are {', '.join(KINDS)}")


def fool(kind: str, fake: Tensor) -> Tensor:
    """The generator's loss from the discriminator's logits (batch, ...) for decoded pictures, to (batch,).

    Raises BadInput for a kind that is not in KINDS.
    """
    fake = fake.float()
    if kind == "minimax":
        return -_mean(F.softplus(fake))
    if kind == "non-saturating":
        return _mean(F.softplus(-fake))
    if kind == "lsgan":
        return _mean((fake - 1).square())
    if kind in ("hinge", "wgan"):
        return -_mean(fake)
    if kind in KINDS:
        return -_mean(conjugate(kind, fake))
    raise BadInput(f"no adversarial loss is called {kind!r}; there are {', '.join(KINDS)}")
