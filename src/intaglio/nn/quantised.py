"""Quantisation-aware layers of the integer prior.

Every tensor between these layers holds integers of BITS bits in float32, so that training sees exactly the arithmetic
that the exported graph and the NumPy int64 reference do:

    s   = sum(w_int * a_int) + b_int            |s| < 2^24, asserted at export
    out = clamp(floor((s + 2^(k-1)) / 2^k))     k: one shift for each output channel

A weight is trained as a real number w and used as w_int * 2^-k with w_int = round(w * 2^k) in [-127, 127]; since the
factor is a power of two, scaling the weights instead of the sum changes no bit of the result. Only 1x1 and depthwise
3x3 convolutions exist here: a library may run a dense 3x3 through Winograd or FFT, which is not exact.

Within `real_numbers()` nothing between layers is rounded; ranges and the weights' integers stay. What is learnt so
(`train/priors.py`) says the same in integers, but for errors of half a step between layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BITS = 10  # of activations: TF32's 11 hold them, and 8 cost 2% of a file at 0.05 bits per pixel, 0.8% at 0.25
UNSIGNED, SIGNED = (0, 2**BITS - 1), (-(2 ** (BITS - 1)), 2 ** (BITS - 1) - 1)
UNIT = 2 ** (BITS - 4)  # one real unit of an activation is this many integer steps; biases are in real units
OUTSIDE = 16  # the same of what enters a network and leaves it: sixteenths, and what is taken for them
MAX_SHIFT = 16  # w_int * 2^-16 is a number of float16, in which packages store weights
JOINED_SHIFT = 12  # where a trunk of BITS bits joins the sum, shifted
MAX_BIAS = 2**22  # what a shift may make of a bias
MAX_WEIGHT = 127

_real = False


@contextmanager
def real_numbers() -> Iterator[None]:
    """Inside, activations are real numbers, to be trained."""
    global _real
    before, _real = _real, True
    try:
        yield
    finally:
        _real = before


class _RoundClamp(torch.autograd.Function):
    """floor(x), clamped to [lo, hi]; the gradient passes inside the range, and where it leads back into it."""

    @staticmethod
    def forward(ctx, x, lo, hi, whole=True):
        ctx.save_for_backward(x)
        ctx.range = lo, hi
        return torch.floor(x).clamp_(lo, hi) if whole else x.clamp(lo, hi)

    @staticmethod
    def backward(ctx, *grads):
        (grad,), (x,), (lo, hi) = grads, ctx.saved_tensors, ctx.range
        blocked = ((x < lo) & (grad > 0)) | ((x > hi) & (grad < 0))
        return grad.masked_fill(blocked, 0), None, None, None


def floor_clamp(x: Tensor, lo: float, hi: float) -> Tensor:
    """Requantisation of a sum that already holds its half (`IntConv` adds it): with it, round half up."""
    if torch.is_grad_enabled() and x.requires_grad:
        return _RoundClamp.apply(x, lo, hi)
    return torch.floor(x).clamp(lo, hi)


def unsigned(x: Tensor) -> Tensor:
    """ReLU and requantisation to BITS bits, of a sum that holds its half."""
    return _RoundClamp.apply(x - 0.5, *UNSIGNED, False) if _real else floor_clamp(x, *UNSIGNED)


def signed(x: Tensor) -> Tensor:
    """Requantisation to BITS bits, one of them the sign, of a sum that holds its half."""
    return _RoundClamp.apply(x - 0.5, *SIGNED, False) if _real else floor_clamp(x, *SIGNED)


class IntConv(nn.Module):
    """A 1x1 or a depthwise 3x3 convolution with 8-bit weights and a shift for each output channel.

    Takes integers (batch, inputs, h, w), returns s * 2^-k + 1/2 (batch, outputs, h, w), the half being that of the
    rounding rule: the caller adds a residual where there is one, then takes the floor and clamps. Zero padding.
    takes, gives: integer steps of one real unit of what enters and of what it returns. joined: whether a trunk joins.
    """

    def __init__(
        self, inputs: int, outputs: int, depthwise: bool = False, scale: float = 1.0, takes: int = UNIT,
        gives: int = UNIT, joined: bool = False,
    ):
        super().__init__()
        if depthwise and inputs != outputs:
            raise ValueError("a depthwise convolution has as many outputs as inputs")
        self.depthwise, self.takes, self.gives, self.joined = depthwise, takes, gives, joined
        taps = 9 if depthwise else inputs
        shape = (outputs, 1, 3, 3) if depthwise else (outputs, inputs, 1, 1)
        self.weight = nn.Parameter(torch.randn(shape) * scale * (1.0 / taps) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def integers(self) -> tuple[Tensor, Tensor, Tensor]:
        """(weights, biases, shifts) as integers in float tensors; shifts have one entry an output channel."""
        with torch.no_grad():
            real, offset = self._steps()
            peak = real.abs().amax(dim=(1, 2, 3)).clamp_min(1e-9)
            most = JOINED_SHIFT if self.joined else MAX_SHIFT
            shift = torch.floor(torch.log2(MAX_WEIGHT / peak)).clamp_max(most)
            shift = torch.minimum(shift, torch.floor(torch.log2(MAX_BIAS / offset.abs().clamp_min(1)))).clamp_min(0)
            factor = torch.exp2(shift)
            weight = torch.floor(real * factor[:, None, None, None] + 0.5).clamp_(-MAX_WEIGHT, MAX_WEIGHT)
            bias = torch.floor(offset * factor + 0.5)
        return weight, bias, shift

    def _steps(self) -> tuple[Tensor, Tensor]:
        """Weights and biases between integer steps, real numbers."""
        return self.weight * (self.gives / self.takes), self.bias * self.gives

    def forward(self, a: Tensor) -> Tensor:
        real, offset = self._steps()
        weight, bias, shift = self.integers()
        factor = torch.exp2(-shift)
        # straight through: the value is the quantised one, the gradient that of the real one. A real number minus
        # itself is exactly 0; real + (quantised - real) can miss by a last bit, and the floor then by a whole step
        w = weight * factor[:, None, None, None] + (real - real.detach())
        b = bias * factor + 0.5 + (offset - offset.detach())
        if self.depthwise:
            return F.conv2d(a, w, b, padding=1, groups=a.shape[1])
        return F.conv2d(a, w, b)


class IntBlock(nn.Module):
    """Residual block on unsigned integers: depthwise 3x3, 1x1, ReLU, 1x1, added to the trunk, ReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.spatial = IntConv(channels, channels, depthwise=True)
        self.expand = IntConv(channels, channels)
        self.project = IntConv(channels, channels, scale=0.1, joined=True)

    def forward(self, x: Tensor) -> Tensor:
        h = unsigned(self.expand(signed(self.spatial(x))))
        return unsigned(x + self.project(h))
