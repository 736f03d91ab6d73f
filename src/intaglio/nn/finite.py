"""A finite alphabet: L centres -(L - 1) / 2 .. (L - 1) / 2, one apart, and no symbol beyond them.

Agustsson, Mentzer, Tschannen, Cavigelli, Timofte, Benini, Van Gool 2017 (soft-to-hard quantisation) and Agustsson,
Tschannen, Mentzer, Timofte, Van Gool 2019 (extreme compression), whose bound it makes: dim(q(w)) log2 L bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHARPNESS = 1.0  # sigma of the soft assignment, in 1 / squared distance of centres


def soft_to_hard(y: Tensor, levels: int, sharpness: float = SHARPNESS) -> Tensor:
    """The nearest centre of each value (any shape), with the slope of sum_j c_j softmax_j(-sharpness (y - c_j)^2)."""
    half = (levels - 1) / 2
    centres = torch.arange(levels, device=y.device, dtype=y.dtype) - half
    soft = torch.softmax(-sharpness * (y[..., None] - centres).square(), -1) @ centres
    hard = torch.floor(y.detach() + 0.5).clamp(-half, half)
    return hard + (soft - soft.detach())


def bounded_bits(v: Tensor, sigma: Tensor, levels: int) -> Tensor:
    """Bits of the symbol v under a zero-mean Gaussian of deviation sigma, cut off beyond the alphabet."""
    root = 1 / (sigma * math.sqrt(2))
    v = v.abs()
    p = 0.5 * (torch.erfc((v - 0.5) * root) - torch.erfc((v + 0.5) * root))
    return -torch.log2((p + 1e-6) / (torch.erf(levels / 2 * root) + levels * 1e-6))
