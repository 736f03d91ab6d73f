"""A weight of the rate that leads training to a given rate."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import BadInput


class RateTarget:
    """The rate's weight: `above` while the batch's rate exceeds `target` (bits per pixel), `below` otherwise.

    The "rate target" of the high-fidelity paper, section 3.2 (there zeta(a), zeta(b) and r_t; Mentzer et al. 2020,
    HiFiC, section 3.2): with above much greater than below, rates of trained models end near the target whatever the
    other terms weigh, so that models with other terms can be compared. Near, since the share of batches above settles
    where the mean weight balances the other terms: at one half if these pull as (above + below) / 2 does. If they pull
    far less, few batches are above, and the mean is below by as much as batches scatter.

    `target` may be changed during training, by a schedule. Raises BadInput unless 0 <= below <= above and target > 0.
    """

    def __init__(self, target: float, above: float, below: float):
        if not (target > 0 and 0 <= below <= above):
            raise BadInput(f"a rate target needs target > 0 and 0 <= below <= above, not target={target}, "
                           f"above={above}, below={below}")  # fmt: skip
        self.target, self.above, self.below = target, above, below

    def __call__(self, bpp: Tensor) -> Tensor:
        """Rates of the pictures of a batch (batch,) to the weight (), on the same device and without a gradient.

        Multiply by it: `weight * bpp`.
        """
        return torch.where(bpp.detach().float().mean() > self.target, self.above, self.below).float()
