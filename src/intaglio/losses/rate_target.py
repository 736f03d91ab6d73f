"""A weight of the rate that leads training to a given rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import BadInput


class RateTarget(nn.Module):
    """The rate's weight: `above` while the rate exceeds `target` (bits per pixel), `below` otherwise.

    The "rate target" of the high-fidelity paper, section 3.2 (there zeta(a), zeta(b) and r_t; Mentzer et al. 2020,
    HiFiC, section 3.2): with above much greater than below, rates of trained models end near the target whatever the
    other terms weigh, so that models with other terms can be compared.

    memory: 0 compares the rate of the batch at hand, as in the papers; with m > 0 it is a running mean over about
    1/(1 - m) batches that were seen in training mode, free of the bias towards its start. The mean is part of the state
    dict, so resumed training goes on as it would have. `target` may be changed during training, by a schedule.

    Raises BadInput unless 0 <= below <= above, target > 0 and 0 <= memory < 1.
    """

    total: Tensor
    share: Tensor

    def __init__(self, target: float, above: float, below: float, memory: float = 0.0):
        super().__init__()
        if not (target > 0 and 0 <= below <= above and 0 <= memory < 1):
            raise BadInput(
                f"a rate target needs target > 0, 0 <= below <= above and 0 <= memory < 1, not target={target}, "
                f"above={above}, below={below}, memory={memory}"
            )
        self.target, self.above, self.below, self.memory = target, above, below, memory
        self.register_buffer("total", torch.zeros(()))  # running sum of weighted rates,
        self.register_buffer("share", torch.zeros(()))  # and of their weights

    def forward(self, bpp: Tensor) -> Tensor:
        """Rates of the pictures of a batch (batch,) to the weight (), on the same device and without a gradient.

        Multiply by it: `weight * bpp`. In training mode the running mean takes this batch up first.
        """
        rate = bpp.detach().float().mean()
        if self.memory:
            if self.training:
                self.total.mul_(self.memory).add_(rate * (1 - self.memory))
                self.share.mul_(self.memory).add_(1 - self.memory)
            rate = torch.where(self.share > 0, self.total / self.share.clamp_min(1e-12), rate)
        return torch.where(rate > self.target, self.above, self.below).float()
