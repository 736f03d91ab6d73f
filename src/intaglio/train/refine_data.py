"""What a refinement learns from: pixels of photographs that a model has decoded, and how far they are off."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..codec import decode
from ..container import BLOCK
from ..encoder import Encoder
from ..errors import BadInput
from ..package import STEPS, Package
from ..pictures import load
from ..refine import FEATURES, REACH, features, grey
from ..runtime import runtime
from ..tiles import CELL
from .data import Photographs

CROP = 256  # pixels along a side of the part of each photograph that is coded
MOST = 4_000_000  # pixels altogether, for the memory's sake
RIM = CELL  # of it is left out all around: the border of a crop is none of the photograph


@dataclass(frozen=True)
class Samples:
    """n pixels. seen: what the model sees of them, (n, 54) int16, as `intaglio.refine.features` gives it. wanted: the
    mean over the channels of what is missing there, in grey levels, (n,) float32. photographs: of how many they are."""

    seen: NDArray[np.int16]
    wanted: NDArray[np.float32]
    photographs: int = 0

    def __len__(self) -> int:
        return len(self.wanted)


def split(count: int, share: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The numbers 0..count - 1 in a random order, without and with the `share` (at least one) that is held out."""
    order = np.random.default_rng(seed).permutation(count)
    held = min(max(1, round(share * count)), count - 1)
    if held < 1:
        raise BadInput("a refinement learns from two photographs or more; give a folder with more of them")
    return order[held:], order[:held]


def gather(
    package: Package, photographs: Photographs, which: Sequence[int] | NDArray[np.intp], pixels: int | None, seed: int,
    deadline: float = float("inf"), threads: int | None = None,
) -> Samples:
    """Code a crop of each photograph of `which` at a random q, and take `pixels` of each at random (None, or more than
    it has: all).

    The crop lies on whole blocks, so that its pixels are where they would be in the whole photograph's grid; their
    absolute position is that in the photograph. No more photographs are taken than hold MOST pixels, and it ends early
    when time.monotonic() passes `deadline`. The picture is decoded without any refinement, at the card's own realism,
    and without grain, which a decoder adds to what it has refined.
    """
    package = package.grainless()
    engine = runtime(package, "cpu", threads)
    realism = float(package.card.get("realism", 0.0))
    each = CROP**2 if pixels is None else min(pixels, CROP**2)
    sides = photographs.entries[torch.as_tensor(which), 1:].clamp_max(CROP) - 2 * RIM
    ends = np.cumsum(np.minimum(sides.prod(1).numpy(), each))
    which = which[: max(1, int(np.searchsorted(ends, MOST, "right")))]
    most = int(ends[len(which) - 1])
    seen, wanted, n, used = np.empty((most, FEATURES), np.int16), np.empty(most, np.float32), 0, 0
    for number in which:
        if n and time.monotonic() > deadline:
            break
        rng = np.random.default_rng([seed, int(number)])
        offset, height, width = photographs.entries[number].tolist()
        whole = photographs.flat[offset : offset + 3 * height * width].numpy().reshape(height, width, 3)
        top, left = (int(rng.integers(max(1, (side - CROP) // BLOCK + 1))) * BLOCK for side in (height, width))
        crop = np.ascontiguousarray(whole[top : top + CROP, left : left + CROP])
        q = int(rng.integers(STEPS))
        file = Encoder(load(crop), engine, realism, False, lambda share: None).at(q)
        decoded = np.asarray(decode(file, model=package, threads=threads))
        h, w = (side - 2 * RIM for side in crop.shape[:2])
        count = min(each, h * w)
        at = rng.permutation(h * w)[:count]
        rows, columns = RIM + at // w, RIM + at % w
        window = np.pad(grey(decoded), REACH, "edge")
        steps = np.full(count, q)
        seen[n : n + count] = features(window, rows, columns, (left, top), (width, height), steps)
        wanted[n : n + count] = (crop[rows, columns].astype(np.float32) - decoded[rows, columns]).mean(1)
        n, used = n + count, used + 1
    return Samples(seen[:n], wanted[:n], used)
