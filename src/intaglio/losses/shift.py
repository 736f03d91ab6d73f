"""What a decoder does to all pictures alike, seen as a shift of their features' statistics.

A distance between a picture and its original is a sum over pictures, and most of it is chance: another leaf, another
grain. What is the same in all of them, such as texture that is a little weaker everywhere, weighs little there, yet it
is what tells a set of decoded pictures from a set of originals (the mean is most of a FID or KID). Mean matching asks
for just that (GMMN: Li, Swersky, Zemel 2015; McGan: Mroueh, Sercu, Goel 2017): with the originals at hand the shift is
that of pairs, whose chance is much smaller.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

SHRINK = 1.0  # batches' worth of "no shift" that what was seen is averaged with


def statistics(features: Mapping[str, Tensor]) -> Tensor:
    """Means and standard deviations over places of features {tap: (batch, channels, h, w)}: (batch, 2 x all channels)
    in float32, tap by tap."""
    parts = []
    for f in features.values():
        variance, mean = torch.var_mean(f.float(), (2, 3), correction=0)
        parts += [mean, torch.sqrt(variance + 1e-4)]
    return torch.cat(parts, 1)


class CommonShift(nn.Module):
    """The squared common shift of features, estimated by the product of this picture's shift and of the ones before.

    on(hat, reference, band, weight) -> (batch,): with d the difference of `statistics` (decoded - original), m its mean
    over the steps before (which fade out in about `memory` steps) and v the variance of the originals' own, the mean
    over the statistics of a tap of m d / v, summed over taps. Its mean estimates that of m^2 / v, in units of the
    spread between originals, and its gradient half of that one's; single values may have either sign, and it is 0 at
    identical inputs.

    channels: of each tap, in order. bands: pictures of each band (rates) have a shift of their own.
    What was seen is in the state dict. The mean over processes of the states is the state of one process with the whole
    batch.
    """

    shares: Tensor
    total: Tensor
    count: Tensor
    first: Tensor
    second: Tensor
    steps: Tensor

    def __init__(self, channels: Mapping[str, int], bands: int = 1, memory: float = 200.0):
        super().__init__()
        self.keep = 1 - 1 / memory
        self.parts = [c for c in channels.values() for _ in ("mean", "deviation")]
        shares = [torch.full((c,), 1 / (2 * c)) for c in self.parts]
        self.register_buffer("shares", torch.cat(shares), persistent=False)
        statistics = len(self.shares)
        self.register_buffer("total", torch.zeros(bands, statistics))
        self.register_buffer("count", torch.zeros(bands, 1))
        self.register_buffer("first", torch.zeros(statistics))
        self.register_buffer("second", torch.zeros(statistics))
        self.register_buffer("steps", torch.zeros(()))

    def on(self, hat: Mapping[str, Tensor], reference: Mapping[str, Tensor], band: Tensor, weight: Tensor) -> Tensor:
        """hat, reference: features {tap: (batch, channels, h, w)}; band: (batch,) integers; weight: (batch,), how much
        a picture counts in the mean. Remembers the pictures for the steps that follow."""
        with torch.no_grad():
            original = statistics(reference)
        d = statistics(hat) - original
        self._see_originals(original)
        mean = self.first / self.steps
        variances = (self.second / self.steps - mean.square()).clamp_min(0).split(self.parts)
        # a statistic that hardly varies is not blown up beyond the others of its kind
        variance = torch.cat([v + 0.1 * v.mean() + 1e-9 for v in variances])
        m = self.total / (self.count + SHRINK)
        loss = (self.shares * m[band] * d / variance).sum(1)
        with torch.no_grad():
            share = weight.detach()[:, None] / len(d)
            self.total.mul_(self.keep).index_add_(0, band, share * d.detach())
            self.count.mul_(self.keep).index_add_(0, band, share)
        return loss

    @torch.no_grad()
    def _see_originals(self, original: Tensor) -> None:
        self.first.mul_(self.keep).add_(original.mean(0))
        self.second.mul_(self.keep).add_(original.square().mean(0))
        self.steps.mul_(self.keep).add_(1)
