"""Every random number of a training step, from the seed and the step alone.

So a resumed run goes on with the numbers that it would have had, and a process of several draws what a single process
with the whole batch would have drawn, and keeps its own part.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """Random numbers of one step for `batch` pictures, on `device`; process `rank` of `world` keeps its pictures."""

    def __init__(self, seed: int, step: int, batch: int, device: torch.device | str = "cpu", rank: int = 0,
                 world: int = 1):
        mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
        self.generator = torch.Generator(device).manual_seed(mixed)
        self.device = torch.device(device)
        self.batch, self.rank, self.world = batch, rank, world

    def _mine(self, every: Tensor) -> Tensor:
        return every[self.rank * self.batch : (self.rank + 1) * self.batch]

    def uniform(self, *shape: int) -> Tensor:
        """Real numbers in [0, 1): (batch, *shape)."""
        size = (self.world * self.batch, *shape)
        return self._mine(torch.rand(size, generator=self.generator, device=self.device))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers: (batch, *shape)."""
        size = (self.world * self.batch, *shape)
        return self._mine(torch.randn(size, generator=self.generator, device=self.device))

    def integers(self, end: int, *shape: int) -> Tensor:
        """Integers in [0, end): (batch, *shape)."""
        size = (self.world * self.batch, *shape)
        return self._mine(torch.randint(end, size, generator=self.generator, device=self.device))

    def shared(self) -> float:
        """One real number in [0, 1), the same in every process."""
        return torch.rand((), generator=self.generator, device=self.device).item()
