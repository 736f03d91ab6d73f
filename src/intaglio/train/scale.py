"""Where the quality scale begins: the gains of q = 0, lowered until the lowest step takes few enough bits.

    python -m intaglio.train.scale CHECKPOINT --data PHOTOS [--bpp 0.047]

What a stage asks of features it pays for in bits, so that the lowest step drifts upwards from stage to stage. It is
held here and not by a loss: coarser steps than those of q = 0 need nothing new of the network, and the qualities from
q = 7 on stay as they are. The checkpoint is changed in place, between a stage that trains the encoder and those that
leave its bytes alone; its card says by how much. Doing it again changes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

import torch

from ..errors import BadInput, IntaglioError
from ..nn.codec import Codec
from ..recipes import recipe as named
from ..told import ended
from . import checkpoint
from .data import Photographs
from .draws import Draws
from .numbers import kept
from .packs import prepare

LOWEST = 0.047  # bits per pixel of q = 0 by the prior's own estimate, on the released model's photographs
CROPS = 64
STEP, MOST = 0.01, 100  # of log gain, and how many of them at most: a network that needs more is not trained yet


@torch.no_grad()
def lower(codec: Codec, photographs: Photographs, bpp: float = LOWEST, crops: int = CROPS) -> float:
    """Lower the first knot of `codec.log_gain`, in place, by the fewest hundredths that bring the mean rate of q = 0 to
    at most `bpp` (over `crops` crops of 256 or of what the photographs allow), by 1 at most; returns by how much, 0
    where nothing had to be done."""
    codec = codec.eval()
    size = min(256, photographs.largest_crop() // 64 * 64)
    drawn = (photographs.crops(Draws(7, i, 1, photographs.device), size).cpu() for i in range(crops))
    latents = [codec.analysis(x) for x in drawn]
    q = torch.zeros(1, 1, 1)
    first = codec.log_gain[0].clone()

    def rate(steps: int) -> float:
        codec.log_gain[0] = first - STEP * steps
        bits = sum(codec.code_latents(y, q)[2].sum().item() for y in latents)
        return bits / (crops * size * size)

    low, high = -1, MOST  # rate(low) is too high, if low is tried at all; rate(high) is the best there is
    while high - low > 1:
        middle = (low + high) // 2
        if rate(middle) > bpp:
            low = middle
        else:
            high = middle
    codec.log_gain[0] = first - STEP * high
    return STEP * high


def lower_checkpoint(path: Path, data: Path, bpp: float = LOWEST, crops: int = CROPS) -> float:
    """`lower` for both sets of weights of a checkpoint, in place; returns by how much. Raises BadInput where it is of
    no network with gains of its own."""
    if not 0 < bpp < math.inf:
        raise BadInput(f"--bpp {bpp}: give a rate above 0")
    state = checkpoint.load(path)
    recipe = named(checkpoint.recipe_of(state, path))
    recipe = dataclasses.replace(recipe, **kept(recipe, state.get("numbers", {})))
    network = recipe.network()
    if not isinstance(network, Codec) or not isinstance(network.log_gain, torch.nn.Parameter):
        raise BadInput(f"{path}: is of {recipe.name}, which has no quality scale that is learned")
    checkpoint.fill(network, state["ema"], path)
    by = lower(network, Photographs(prepare(data, path.parent)), bpp, crops)
    if by:
        for key in ("network", "ema"):  # which a mean has as one
            lowered = state[key]["log_gain"].clone()
            lowered[0] -= by
            state[key] = {**state[key], "log_gain": lowered}
        said = {"recipe": "intaglio.train.scale", "steps": 0, "pixels": 0, "lowest_gains_lowered_by": by}
        for training in (state["training"], state.get("before", {})):  # of what it is, and of what a resumed run was
            training["stages"] = [*training.get("stages", []), said]
        checkpoint.save(path, state)
    return by


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    p.add_argument("--data", type=Path, required=True, metavar="PHOTOS", help="a folder of photographs, or a pack")
    p.add_argument("--bpp", type=float, default=LOWEST, help="bits per pixel that q = 0 may take")
    p.add_argument("--crops", type=int, default=CROPS, help="crops of 256 pixels that it is measured on")
    a = p.parse_args()
    if a.crops < 1:
        p.error(f"--crops {a.crops}: give at least one")
    try:
        by = lower_checkpoint(a.checkpoint, a.data, a.bpp, a.crops)
        print(f"{a.checkpoint}: the gains of q = 0 are lower by {by:.2f}")
    except IntaglioError as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    ended(main)
