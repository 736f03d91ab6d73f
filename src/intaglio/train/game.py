"""The game between a discriminator and whatever makes its fakes: its losses, its penalty, and how well it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..losses import adversarial
from ..losses.feature_matching import feature_matching
from ..losses.gradient_penalty import UNIT, r1, wgan_gp
from ..nn.discriminators.judgement import Judgement

PENALTIES = ("none", "wgan-gp", "r1")
# The logit at which the best discriminator holds both to be equally likely; 0 for the other kinds. A Wasserstein critic
# has none: its scores are only ever compared.
THRESHOLDS = {"lsgan": 0.5, "kl": 1.0}


def as_shown(x_hat: Tensor) -> Tensor:
    """Rounded and clamped to 0..255, with the gradient passing as if it were not.

    Originals hold whole grey levels. A discriminator that sees unrounded fakes learns to tell the two apart by the
    grid, of which nothing is left in the picture that is shown.
    """
    return x_hat + (x_hat.detach().round().clamp(0, 255) - x_hat.detach())


@contextmanager
def _held(module: nn.Module) -> Iterator[None]:
    """Inside, nothing that is computed will send gradients to the module's parameters."""
    learning = [p for p in module.parameters() if p.requires_grad]
    for p in learning:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)


class Game(nn.Module):
    """A discriminator d(x, latent) -> Judgement with the losses of both players.

    kind: one of `adversarial.KINDS`. Scales count alike: losses are means over them, where some papers sum.
    matching: weight of feature matching in the generator's loss. penalty: "none", "wgan-gp" or "r1", its `weight` (10
    in both papers) and, for both, the `interval` of steps at which it is computed, weighing as much more then. round:
    whether fakes are judged `as_shown`. unit: what the penalty counts slopes per; 1 for codes. Which step it is, is
    part of the state dict. Raises BadInput.
    """

    steps: Tensor

    def __init__(
        self,
        discriminator: nn.Module,
        kind: str = "hinge",
        matching: float = 0.0,
        penalty: str = "none",
        penalty_weight: float = 10.0,
        interval: int = 1,
        round: bool = True,
        unit: float = UNIT,
    ):
        super().__init__()
        if kind not in adversarial.KINDS:
            raise BadInput(f"no adversarial loss is called {kind!r}; there are {', '.join(adversarial.KINDS)}")
        if penalty not in PENALTIES:
            raise BadInput(f"no gradient penalty is called {penalty!r}; there are {', '.join(PENALTIES)}")
        if interval < 1:
            raise BadInput(f"a penalty every {interval} steps is never computed; give an interval of 1 or more")
        self.discriminator = discriminator
        self.kind, self.matching, self.round = kind, matching, round
        self.penalty, self.penalty_weight, self.interval, self.unit = penalty, penalty_weight, interval, unit
        self.batchwise = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in discriminator.modules())
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def learn(
        self, real: Tensor, fake: Tensor, latent: Tensor | None = None, weight: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's loss (a scalar: the mean over pictures of weight times loss), and what to log.

        real, fake: (batch, 3, h, w) in 0..255, of the same scenes; latent: (batch, M, h/16, w/16) of both; weight:
        (batch,), 1 where None. No gradient reaches any of them.
        Logs: `real` and `fake`, mean logits; `accuracy`, the share of decisions on the right side of the kind's
        threshold, half of them real ones; `penalty`, where there is one. All count pictures by weight and scales alike.
        """
        real, fake, latent = real.detach(), fake.detach(), None if latent is None else latent.detach()
        fake = as_shown(fake) if self.round else fake
        # One batch of both, as HiFiC does: statistics of a batch norm may not differ between real and fake.
        both = self._judge(torch.cat([real, fake]), None if latent is None else torch.cat([latent, latent]))
        b = len(real)
        loss = torch.stack([adversarial.learn(self.kind, v[:b], v[b:]) for v in both.logits]).mean(0)
        weight = torch.ones_like(loss) if weight is None else weight.detach().to(loss)
        logs = self._logs(both, b, weight)
        if self.penalty != "none" and int(self.steps) % self.interval == 0:
            slope = self._slope(real, fake, latent)
            loss = loss + (self.penalty_weight * self.interval) * slope
            logs["penalty"] = (weight * slope.detach()).sum() / weight.sum().clamp_min(1e-9)
        self.steps += 1
        return (weight * loss).mean(), logs

    def fool(self, fake: Tensor, latent: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """The generator's loss (batch,), differentiable in `fake` alone: the discriminator gets no gradient.

        Arguments as for `learn`. `real` is needed where features are matched, and by batch norms, whose discriminator
        judges as it learns, in one batch of both; else BadInput.
        """
        latent = None if latent is None else latent.detach()
        if real is None and (self.matching or self.batchwise):
            raise BadInput("feature matching and batch norm need the originals beside the fakes: give `real` too")
        fake, b = as_shown(fake) if self.round else fake, len(fake)
        with _held(self.discriminator):
            if self.batchwise:
                assert real is not None
                latents = None if latent is None else torch.cat([latent, latent])
                both = self._judge(torch.cat([real.detach(), fake]), latents)
                judged = Judgement([v[b:] for v in both.logits], [f[b:] for f in both.features])
                target = [f[:b].detach() for f in both.features]
            else:
                judged, target = self._judge(fake, latent), []
            loss = torch.stack([adversarial.fool(self.kind, v) for v in judged.logits]).mean(0)
            if self.matching:
                if not self.batchwise:
                    with torch.no_grad():
                        assert real is not None
                        target = self._judge(real, latent).features
                loss = loss + self.matching * feature_matching(judged.features, target)
        return loss

    def _judge(self, x: Tensor, latent: Tensor | None) -> Judgement:
        return self.discriminator(x, latent)

    def _slope(self, real: Tensor, fake: Tensor, latent: Tensor | None) -> Tensor:
        def critic(x: Tensor) -> list[Tensor]:
            return self._judge(x, latent).logits

        if self.penalty == "r1":
            return r1(critic, real, self.unit)
        # seeded by the step, so that a resumed training draws what an uninterrupted one would
        generator = torch.Generator(real.device).manual_seed(int(self.steps))
        return wgan_gp(critic, real, fake, generator, self.unit)

    @torch.no_grad()
    def _logs(self, both: Judgement, b: int, weight: Tensor) -> dict[str, Tensor]:
        share = weight / weight.sum().clamp_min(1e-9)  # of each picture
        real, fake, right = [], [], []
        for v in both.logits:
            r, f = (part.float().flatten(1) for part in (v[:b], v[b:]))
            mean_real, mean_fake = (share * r.mean(1)).sum(), (share * f.mean(1)).sum()
            bar = (mean_real + mean_fake) / 2 if self.kind == "wgan" else THRESHOLDS.get(self.kind, 0.0)
            hits = ((r > bar).float().mean(1) + (f < bar).float().mean(1)) / 2
            real.append(mean_real)
            fake.append(mean_fake)
            right.append((share * hits).sum())
        logs = {"real": real, "fake": fake, "accuracy": right}
        return {name: torch.stack(values).mean() for name, values in logs.items()}
