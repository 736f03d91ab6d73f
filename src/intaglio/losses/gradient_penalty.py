"""Penalties on the discriminator's slope with respect to pictures.

Both take `critic`, a function from pictures (batch, 3, h, w) in 0..255 to logits (batch, ...) or a list of them, one a
scale; for a discriminator d write `lambda x: d(x, latent).logits`. What is penalised is the slope of the mean logit of
each picture, averaged over the scales: the quantity that the adversarial losses average too. Slopes are per 127.5 grey
levels, so that weights from papers, whose pictures are in -1..1, carry over; per `unit` of whatever else is judged.

Both need a second derivative, which torch.compile does not give: hand over the discriminator that is not compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

UNIT = 127.5  # grey levels
Critic = Callable[[Tensor], Tensor | Sequence[Tensor]]


def _squared_slope(critic: Critic, x: Tensor, unit: float) -> Tensor:
    """The squared norm of the slope at each of the pictures x: (batch,), differentiable in the critic's weights."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        logits = critic(x)
        scales = [logits] if isinstance(logits, Tensor) else list(logits)
        score = torch.stack([s.float().reshape(len(x), -1).mean(1).sum() for s in scales]).mean()
        (slope,) = torch.autograd.grad(score, x, create_graph=True)
        return (unit * slope.float()).square().sum((1, 2, 3))


def wgan_gp(
    critic: Critic, real: Tensor, fake: Tensor, generator: torch.Generator | None = None, unit: float = UNIT
) -> Tensor:
    """(|slope| - 1)^2 at a random point between original and decoded picture: two (batch, 3, h, w) to (batch,).

    Gulrajani et al. 2017, equation 3 without its weight lambda (10 there). One point a picture, uniform on the segment;
    `generator` draws it. Add it, weighted, to the discriminator's loss.
    """
    t = torch.rand(len(real), 1, 1, 1, device=real.device, generator=generator)
    between = fake.detach() + t * (real.detach() - fake.detach())
    # the floor keeps the root's own slope finite where the critic is flat
    return (torch.sqrt(_squared_slope(critic, between, unit) + 1e-12) - 1).square()


def r1(critic: Critic, real: Tensor, unit: float = UNIT) -> Tensor:
    """|slope|^2 / 2 at the originals: (batch, 3, h, w) to (batch,).

    Mescheder, Geiger, Nowozin 2018, equation 9 without its weight gamma. Add it, weighted, to the discriminator's loss;
    where it is computed at every n-th step only, weigh it n times as much.
    """
    return _squared_slope(critic, real, unit) / 2
