"""Where the quality scale begins: the gains of q = 0, lowered at export until the lowest step takes few enough bits.

What a stage asks of features it pays for in bits, at low q above all, so that the lowest step drifts upwards from stage
to stage. It is held here and not by a loss: coarser steps than those of q = 0 need nothing new of the network, and the
qualities from q = 7 on stay as they are.
"""

from __future__ import annotations

import torch

from ..nn.codec import Codec
from .data import Photographs
from .draws import Draws

CROPS = 64
STEP, MOST = 0.01, 100  # of log gain, and how many of them at most: a network that needs more is not trained yet


@torch.no_grad()
def lower(codec: Codec, photographs: Photographs, bpp: float, crops: int = CROPS) -> float:
    """Lower the first knot of `codec.log_gain`, in place, by the fewest hundredths that bring the mean rate of q = 0 to
    at most `bpp` (by the prior's own estimate, over `crops` crops of 256 or of what the photographs allow), by 1 at
    most; returns by how much, 0 where nothing had to be done."""
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
