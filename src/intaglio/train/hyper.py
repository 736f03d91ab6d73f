"""The prior of the hyper-latents, trained alone on hyper-latents that stay as they are: smaller files, alike pictures.

    python -m intaglio.train.hyper CHECKPOINT --data PHOTOS --minutes 10

Within the whole codec it learns from a few hyper-latents a step, beside networks that take a thousand times its work,
and as 8-bit integers, which learn badly from their start. Here photographs are analysed once, coded at several steps q
(half of them with the offsets that files have for the eye's sake), and what they give is kept; then nothing but groups
and phases (`nn/hyper_prior.py`) is run, in real numbers (`poured.py`). A model that had a static prior gets its groups
so. The checkpoint is changed in place, after the last stage that trains the encoder.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .. import adapt
from ..errors import BadInput, IntaglioError
from ..nn.codec import STEPS, Codec, gaussian_bits
from ..nn.hyper_prior import Group
from ..recipes import recipe as named
from ..tiles import Layout
from ..told import ended
from . import checkpoint, warm
from .data import Photographs
from .draws import Draws
from .numbers import kept
from .packs import prepare
from .poured import RealGroup
from .release import ADAPTIVE

SIDE = 640  # of a crop, in pixels, where photographs are that large
LOOKS = 6  # steps q that each is coded at
HELD = 16  # one crop of so many is not learnt from
WINDOW = 8  # side of what is learnt from at once, in hyper-latents
BATCH = 24
RATE = 2e-3

Samples = list[tuple[Tensor, Tensor]]  # (hyper-latents (N, h, w), not rounded; q (h, w))


@torch.no_grad()
def samples(codec: Codec, photographs: Photographs, crops: int, seed: int = 0) -> Samples:
    """Hyper-latents of `crops` crops at LOOKS steps each."""
    size = min(SIDE, photographs.largest_crop() // 64 * 64)
    if size < 128:
        raise BadInput("no photograph is as large as 128 x 128, and one hyper-latent says nothing; give larger ones")
    found: Samples = []
    for i in range(crops):
        draws = Draws(seed, i, 1)
        x = photographs.crops(draws, size).cpu()
        y = codec.analysis(x)
        busy = adapt.busyness(Image.fromarray(x[0].permute(1, 2, 0).byte().numpy()), Layout(size, size))
        for look, step in enumerate(draws.integers(STEPS, LOOKS)[0].tolist()):
            offsets = adapt.offsets(busy, ADAPTIVE if look % 2 else 0.0, step)
            q = torch.from_numpy(np.clip(step + offsets, 0, STEPS - 1)).float()[None]
            gain = codec.gain(q).repeat_interleave(4, 2).repeat_interleave(4, 3)
            found.append((codec.hyper(y * gain, (q / (STEPS - 1))[:, None])[0], q[0]))
    return found


def bits(codec: Codec, z: Tensor, q: Tensor) -> Tensor:
    """Of hyper-latents z (batch, N, h, w) at steps q (batch, h, w): the mean of one place."""
    assert codec.prior.hyper is not None
    with torch.no_grad():
        base = codec.hyper_index(q)
    mean, index, z_hat = codec.prior.hyper(z, (2 * q - (STEPS - 1))[:, None], base)
    return gaussian_bits(z_hat - mean, index).sum(1).mean()


def learn(codec: Codec, data: Samples, share: Callable[[], float], seed: int = 0) -> int:
    """Train `codec.prior.hyper` anew, in place, until `share` of the time gives 1, at a rate that falls as a cosine: in
    real numbers, which are poured into its integers at the end. Returns the steps."""
    prior = codec.prior.hyper
    assert prior is not None
    torch.manual_seed(seed)
    generator, steps = torch.Generator().manual_seed(seed), 0
    integers = prior.groups
    real = [RealGroup(group) for group in integers if isinstance(group, Group)]
    prior.groups = nn.ModuleList(real)
    optimiser = torch.optim.Adam(prior.groups.parameters(), RATE)
    while (done := share()) < 1:
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, (steps + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done))
        optimiser.zero_grad()
        bits(codec, *_windows(data, generator)).backward()
        optimiser.step()
        steps += 1
    for group in real:
        group.seen = []
    with torch.no_grad():
        for _ in range(8):
            bits(codec, *_windows(data, generator))
    for group, integer in zip(real, integers, strict=True):
        assert isinstance(integer, Group)
        group.pour(integer)
    prior.groups = integers
    return steps


def _windows(data: Samples, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    side = min(WINDOW, *data[0][1].shape)
    windows = []
    for at, *corner in torch.rand(BATCH, 3, generator=generator).tolist():
        z, q = data[int(at * len(data))]
        top, left = (int(u * (n - side + 1)) for u, n in zip(corner, q.shape, strict=True))
        windows.append((z[:, top : top + side, left : left + side], q[top : top + side, left : left + side]))
    z, q = (torch.stack(parts) for parts in zip(*windows, strict=True))
    return z, q


def learn_checkpoint(path: Path, data: Path, minutes: float, crops: int, seed: int = 0) -> tuple[float, float]:
    """`learn` for a checkpoint, in place. Returns bits of a place of hyper-latents before and after, of crops that were
    not learnt from. Raises BadInput where it is of no network with groups of hyper-latents."""
    if not 0 < minutes < math.inf or crops < HELD + 1:
        raise BadInput(f"--minutes {minutes}, --crops {crops}: give a time above 0 and more than {HELD} crops")
    state = checkpoint.load(path)
    recipe = named(checkpoint.recipe_of(state, path))
    recipe = dataclasses.replace(recipe, **kept(recipe, state.get("numbers", {})))
    network = recipe.network()
    if not isinstance(network, Codec) or network.prior.hyper is None:
        raise BadInput(f"{path}: is of {recipe.name}, whose hyper-latents have a static prior")
    weights = warm.grouped(network, state["ema"])
    checkpoint.fill(network, weights, path)
    network.eval()
    every = samples(network, Photographs(prepare(data, path.parent)), crops, seed)
    held, learnt = [[s for i, s in enumerate(every) if (i // LOOKS % HELD == 0) == part] for part in (True, False)]

    @torch.no_grad()
    def measured() -> float:
        return sum(bits(network, z[None], q[None]).item() for z, q in held) / len(held)

    before, began = measured(), time.monotonic()
    steps = learn(network, learnt, lambda: (time.monotonic() - began) / 60 / minutes, seed)
    own = {f"prior.hyper.{name}": value for name, value in network.prior.hyper.state_dict().items()}
    for key in ("network", "ema"):
        state[key] = {**warm.grouped(network, state[key]), **own}
    said = {"recipe": "intaglio.train.hyper", "steps": steps, "pixels": 0, "crops": crops, "seed": seed}
    for training in (state["training"], state.get("before", {})):  # of what it is, and of what a resumed run was
        training["stages"] = [*training.get("stages", []), said]
    checkpoint.save(path, state)
    return before, measured()


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    p.add_argument("--data", type=Path, required=True, metavar="PHOTOS", help="a folder of photographs, or a pack")
    p.add_argument("--minutes", type=float, default=10, help="of learning; analysing the photographs comes before")
    p.add_argument("--crops", type=int, default=1000, help="of 640 pixels, or what the photographs allow")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    try:
        before, after = learn_checkpoint(a.checkpoint, a.data, a.minutes, a.crops, a.seed)
        print(f"{a.checkpoint}: hyper-latents of new crops take {after:.2f} bits a block of 64x64 pixels, {before:.2f} "
              "before")
    except IntaglioError as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    ended(main)
