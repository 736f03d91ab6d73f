"""What a discriminator says about a batch of pictures."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Judgement:
    """logits: one map (batch, 1, h', w') a scale, high for "real"; features: those before them, first to last."""

    logits: list[Tensor]
    features: list[Tensor]
