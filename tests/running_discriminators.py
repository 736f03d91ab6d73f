"""Every kind of discriminator at the width that tests can afford, and a way to teach it."""

from functools import cache

import pytest
import torch
from textures import Eyes, blurred, decoded, textures

from intaglio.nn.discriminators.global_local import GlobalLocal
from intaglio.nn.discriminators.multiscale import MultiScale
from intaglio.nn.discriminators.patch import Patch
from intaglio.nn.discriminators.projected import Projected
from intaglio.nn.discriminators.unet import UNet

M = 48
MAKERS = {
    "patch": lambda m: Patch(m, 8, 2),
    "patch on groups of pixels": lambda m: Patch(m, 16, 1, unshuffle=2),
    "multi-scale": lambda m: MultiScale(m, 8, 2, 2),
    "global and local": lambda m: GlobalLocal(m, 8),
    "U-Net": lambda m: UNet(m, 6, 2),
    "projected": lambda m: Projected([Eyes()], m, 12),
    "projected and mixed": lambda m: Projected([Eyes()], m, 12, mix=True, norm="none"),
}
ALL = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def latent_of(x, seed=0):
    h, w = (-(-n // 16) for n in x.shape[2:])
    return torch.randn(len(x), M, h, w, generator=torch.Generator().manual_seed(seed)) * 5


STEPS, BATCH, SEEN = 26, 4, 112


@cache
def pictures():
    """128 originals, {how: fakes}, latents; those from SEEN on are never learned from."""
    x = textures(128, 64, torch.Generator().manual_seed(3))
    x_hat, latent = decoded(x)
    return x, {"blurred": blurred(x), "decoded": x_hat}, latent


def learned(game, fakes, steps=STEPS, rate=3e-3):
    """The game's accuracy in its first two steps, and after `steps` on pictures that it has not learned from."""
    x, fake, latent = pictures()
    fake = fake[fakes]
    optimiser = torch.optim.Adam([p for p in game.parameters() if p.requires_grad], rate, (0.0, 0.99))
    generator = torch.Generator().manual_seed(1)
    first = 0.0
    for i in range(steps):
        chosen = torch.randint(0, SEEN, (BATCH,), generator=generator)
        loss, logs = game.train().learn(x[chosen], fake[chosen], latent[chosen])
        first += float(logs["accuracy"]) / 2 if i < 2 else 0
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = rate * min(1, 2 * (1 - i / steps))
        optimiser.step()
    with torch.no_grad():
        _, logs = game.eval().learn(x[SEEN:], fake[SEEN:], latent[SEEN:])
    return first, float(logs["accuracy"])
