"""Luma, for losses and critics that leave colours out."""

from __future__ import annotations

from torch import Tensor


def luma(x: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B (BT.601) of pictures (batch, 3, h, w), on their scale: (batch, 1, h, w), float32."""
    weights = x.new_tensor([0.299, 0.587, 0.114])[:, None, None].float()
    return (x.float() * weights).sum(1, keepdim=True)
