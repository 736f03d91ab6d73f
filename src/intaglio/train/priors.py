"""Both priors and the hyper-analysis, trained alone on latents that stay as they are: smaller files, alike pictures.

    python -m intaglio.train.priors CHECKPOINT --data PHOTOS --minutes 20
    torchrun --nproc-per-node 2 -m intaglio.train.priors CHECKPOINT ...      two processes, twice the batch

Within the whole codec they learn as integers, whose rounding hides from them what a small change of a weight would
give. Here photographs are analysed once, and their latents kept; then they are coded at steps q (seven in ten with the
offsets that files have for the eye's sake), and all that does not touch the latents learns to do with fewer bits, in
real numbers (`nn.quantised.real_numbers`), which in the integers of ten bits that files are written by are nearly the
same. The decoder is left as it is, and so are the pictures, but for the fractions of a step that means move what is
decoded by, and for what rounding by rate and distortion sends to zero. The checkpoint is changed in place, after the
last stage that trains the encoder; one of a network that had a static prior of hyper-latents gets its groups so. A
crop's latents take 1.3 MB of memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from .. import adapt
from ..errors import BadInput, IntaglioError
from ..nn.codec import STEPS, Codec, rate_weight
from ..nn.quantised import real_numbers
from ..recipes import recipe as named
from ..recipes.intaglio1 import SLOPE
from ..tiles import Layout
from ..told import ended
from . import checkpoint, parallel, warm
from .data import Photographs
from .draws import Draws
from .export import classes
from .numbers import kept
from .packs import PACK, is_pack, prepare
from .release import ADAPTIVE
from .run import device_of

SIDE = 512  # of a crop, in pixels, where photographs are that large: most hyper-latents have all their neighbours
HELD = 16  # one crop of so many is not learnt from
MEASURED = (10, 24, 40)  # steps q at which those are coded
RATE = 3e-4
SLOWER = 0.4  # the hyper-analysis, which is real in files too
OFFSETS = 0.7  # share of the crops that are coded with offsets

Samples = list[tuple[Tensor, NDArray]]  # (latents without gain (M, h, w), how busy their blocks are (h/4, w/4))


@torch.no_grad()
def samples(codec: Codec, photographs: Photographs, crops: int, seed: int = 0) -> Samples:
    """Latents of `crops` crops. Raises BadInput where no photograph is as large as 128 x 128."""
    size = min(SIDE, photographs.largest_crop() // 64 * 64)
    if size < 128:
        raise BadInput("no photograph is as large as 128 x 128, and one hyper-latent says nothing; give larger ones")
    found: Samples = []
    for i in range(crops):
        x = photographs.crops(Draws(seed, i, 1), size).cpu()
        picture = Image.fromarray(x[0].permute(1, 2, 0).byte().numpy())
        found.append((codec.analysis(x)[0].clone(), adapt.busyness(picture, Layout(size, size))))
    return found


def steps_of(busy: NDArray, step: int, strength: float) -> Tensor:
    """The q map (h/4, w/4) that a file of step q has."""
    return torch.from_numpy(np.clip(step + adapt.offsets(busy, strength, step), 0, STEPS - 1)).float()


def drawn(data: Samples, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents (count, M, h, w) of crops at random, and their q maps (count, h/4, w/4)."""
    latents, maps = [], []
    for at, step, offset in torch.rand(count, 3, generator=generator).tolist():
        y, busy = data[int(at * len(data))]
        latents.append(y)
        maps.append(steps_of(busy, int(step * STEPS), ADAPTIVE if offset < OFFSETS else 0.0))
    return torch.stack(latents), torch.stack(maps)


def learn(
    codec: Codec, data: Samples, share: Callable[[], float], batch: int = 2, seed: int = 0, rank: int = 0,
    world: int = 1,
) -> int:
    """Train priors and hyper-analysis, in place, until `share` of the time gives 1, at a rate that falls as a cosine.

    The loss is that of stage 1 without its error: bits per pixel / sqrt(lambda(q)), so that every rate weighs alike.
    Runs where the codec is; batch: crops a step, of one process. Returns the steps."""
    device = codec.log_gain.device
    for fixed in (codec.log_gain, *codec.analysis.parameters(), *codec.synthesis.parameters()):
        fixed.requires_grad_(False)
    generator = torch.Generator().manual_seed(1000 * seed + rank)
    priors = [*codec.prior.parameters(), codec.hyper_scale]
    analysis = list(codec.hyper.parameters())
    optimiser = torch.optim.Adam([{"params": priors, "factor": 1.0}, {"params": analysis, "factor": SLOWER}], RATE,
                                 betas=(0.9, 0.98))
    count = 0
    while (done := share()) < 1:
        rate = RATE * min(1.0, (count + 1) / 100) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        y, q = (part.to(device) for part in drawn(data, batch, generator))
        shapes = y.shape, (batch, codec.shape.hyper, *q.shape[1:])
        noise = tuple(torch.rand(shape, generator=generator).to(device) for shape in shapes)
        with real_numbers():
            bits = codec.code_latents(y, q, (noise[0], noise[1]))[2]
        normalised = (rate_weight(q).mean((1, 2)) / SLOPE).rsqrt()
        loss = (bits / (256 * y[0, 0].numel()) * normalised).mean()
        optimiser.zero_grad()
        loss.backward()
        parallel.average([*priors, *analysis], world)
        nn.utils.clip_grad_norm_([*priors, *analysis], 1.0)
        optimiser.step()
        count += 1
    return count


@torch.no_grad()
def measured(codec: Codec, data: Samples) -> list[float]:
    """Bits per pixel at each of MEASURED, as the integers have it, with the offsets that files have."""
    found = []
    for step in MEASURED:
        bits = [codec.code_latents(y[None], steps_of(busy, step, ADAPTIVE)[None])[2].item() / (256 * y[0].numel())
                for y, busy in data]
        found.append(sum(bits) / len(bits))
    return found


def learn_checkpoint(
    path: Path, data: Path, minutes: float, crops: int, seed: int = 0, device: str = "auto", batch: int | None = None
) -> tuple[list[float], list[float]]:
    """`learn` for a checkpoint, in place. Returns bits per pixel at each of MEASURED before and after, of crops that
    were not learnt from (though others of the same photographs were). batch: None for 2, or 16 on a GPU.

    Raises BadInput where the checkpoint's system has another kind of network, or codes otherwise than the released one.
    """
    device = device_of(device)
    batch = (16 if device == "cuda" else 2) if batch is None else batch
    if not 0 < minutes < math.inf or crops < HELD + 1 or batch < 1:
        raise BadInput(f"--minutes {minutes}, --crops {crops}, --batch {batch}: give a time above 0, more than {HELD} "
                       "crops and 1 of them a step or more")
    rank, local, world = parallel.join(device == "cuda")
    try:
        where = torch.device(f"cuda:{local}" if device == "cuda" else device)
        if device == "cuda":
            torch.cuda.set_device(local)
        return _learn_checkpoint(path, data, minutes, crops, seed, where, batch, rank, world)
    finally:
        parallel.leave()


def _learn_checkpoint(
    path: Path, data: Path, minutes: float, crops: int, seed: int, device: torch.device, batch: int, rank: int,
    world: int,
) -> tuple[list[float], list[float]]:
    state = checkpoint.load(path)
    recipe = named(checkpoint.recipe_of(state, path))
    recipe = dataclasses.replace(recipe, **kept(recipe, state.get("numbers", {})))
    torch.manual_seed(seed)  # layers that the checkpoint lacks begin alike in every process
    network = recipe.network()
    if not isinstance(network, Codec) or network.levels or network.one_rate or classes(network):
        raise BadInput(f"{path}: is of {recipe.name}, whose files are not those of one network for every rate; its "
                       "prior learns in its own training alone")
    checkpoint.fill(network, warm.grouped(network, state["ema"]), path)
    network.eval()
    if rank == 0:
        source = prepare(data, path.parent)
    parallel.wait(world)
    if rank:
        source = data if is_pack(data) else path.parent / PACK
    every = samples(network, Photographs(source), crops, seed + rank)  # each process has crops of its own
    held, learnt = [[s for i, s in enumerate(every) if (i % HELD == 0) == part] for part in (True, False)]
    before, began = measured(network, held), time.monotonic()

    def share() -> float:
        return parallel.agree((time.monotonic() - began) / 60 / minutes, world, device)

    steps = learn(network.to(device), learnt, share, batch, seed, rank, world)
    network.cpu()
    own = {name: value for name, value in network.state_dict().items()
           if name.startswith(("prior.", "hyper.")) or name == "hyper_scale"}
    for key in ("network", "ema"):
        state[key] = {**warm.grouped(network, state[key]), **own}
    said = {"recipe": "intaglio.train.priors", "steps": steps, "pixels": 0, "crops": world * crops, "seed": seed}
    for training in (state["training"], state.get("before", {})):  # of what it is, and of what a resumed run was
        training["stages"] = [*training.get("stages", []), said]
    if rank == 0:
        checkpoint.save(path, state)
    return before, measured(network, held)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    p.add_argument("--data", type=Path, required=True, metavar="PHOTOS", help="a folder of photographs, or a pack")
    p.add_argument("--minutes", type=float, default=20, help="of learning; analysing the photographs comes before")
    p.add_argument("--crops", type=int, default=1000, help="of 512 pixels, or what the photographs allow, a process")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="what learns")
    p.add_argument("--batch", type=int, help="crops a step and process; 2, or 16 on a GPU")
    a = p.parse_args()
    try:
        before, after = learn_checkpoint(a.checkpoint, a.data, a.minutes, a.crops, a.seed, a.device, a.batch)
        said = ", ".join(f"{new:.4f} ({old:.4f}) at q {q}" for q, old, new in zip(MEASURED, before, after, strict=True))
        if os.environ.get("RANK", "0") == "0":
            print(f"{a.checkpoint}: new crops take {said} bits per pixel (before)")
    except IntaglioError as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    ended(main)
