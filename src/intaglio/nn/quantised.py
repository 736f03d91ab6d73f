"""Quantisation-aware layers of the integer prior.

Every tensor between these layers holds integers in float32, so that training sees exactly the arithmetic that the
exported graph and the NumPy int64 reference do:

    s   = sum(w_int * a_int) + b_int            |s| < 2^24, asserted at export
    out = clamp(floor((s + 2^(k-1)) / 2^k))     k: one shift for each output channel

A weight is trained as a real number w and used as w_int * 2^-k with w_int = round(w * 2^k) in [-127, 127]; since the
factor is a power of two, scaling the weights instead of the sum changes no bit of the result. Only 1x1 and depthwise
3x3 convolutions exist here: a library may run a dense 3x3 through Winograd or FFT, which is not exact.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNIT = 16  # one real unit of an activation is this many integer steps; biases are trained in real units
MAX_SHIFT = 14  # w_int * 2^-14 is still a normal number in float16, in which packages store weights
MAX_WEIGHT = 127


class _RoundClamp(torch.autograd.Function):
    """floor(x), clamped to [lo, hi]; the gradient passes inside the range, and where it leads back into it."""

    @staticmethod
    def forward(ctx, x, lo, hi):
        ctx.save_for_backward(x)
        ctx.range = lo, hi
        return torch.floor(x).clamp_(lo, hi)

    @staticmethod
    def backward(ctx, *grads):
        (grad,), (x,), (lo, hi) = grads, ctx.saved_tensors, ctx.range
        blocked = ((x < lo) & (grad > 0)) | ((x > hi) & (grad < 0))
        return grad.masked_fill(blocked, 0), None, None


def floor_clamp(x: Tensor, lo: float, hi: float) -> Tensor:
    """Requantisation of a sum that already holds its half (`IntConv` adds it): with it, round half up."""
    if torch.is_grad_enabled() and x.requires_grad:
        return _RoundClamp.apply(x, lo, hi)
    return torch.floor(x).clamp(lo, hi)


def unsigned8(x: Tensor) -> Tensor:
    """ReLU and requantisation to 0..255."""
    return floor_clamp(x, 0, 255)


def signed8(x: Tensor) -> Tensor:
    """Requantisation to -128..127."""
    return floor_clamp(x, -128, 127)


class IntConv(nn.Module):
    """A 1x1 or a depthwise 3x3 convolution with 8-bit weights and a shift for each output channel.

    Takes integers (batch, inputs, h, w), returns s * 2^-k + 1/2 (batch, outputs, h, w), the half being that of the
    rounding rule: the caller adds a residual where there is one, then takes the floor and clamps. Zero padding.
    """

    def __init__(self, inputs: int, outputs: int, depthwise: bool = False, scale: float = 1.0):
        super().__init__()
        if depthwise and inputs != outputs:
            raise ValueError("a depthwise convolution has as many outputs as inputs")
        self.depthwise = depthwise
        taps = 9 if depthwise else inputs
        shape = (outputs, 1, 3, 3) if depthwise else (outputs, inputs, 1, 1)
        self.weight = nn.Parameter(torch.randn(shape) * scale * (1.0 / taps) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def integers(self) -> tuple[Tensor, Tensor, Tensor]:
        """(weights, biases, shifts) as integers in float tensors; shifts have one entry an output channel."""
        with torch.no_grad():
            peak = self.weight.abs().amax(dim=(1, 2, 3)).clamp_min(1e-9)
            shift = torch.floor(torch.log2(MAX_WEIGHT / peak)).clamp(0, MAX_SHIFT)
            factor = torch.exp2(shift)
            weight = torch.floor(self.weight * factor[:, None, None, None] + 0.5).clamp_(-MAX_WEIGHT, MAX_WEIGHT)
            bias = torch.floor(self.bias * UNIT * factor + 0.5)
        return weight, bias, shift

    def forward(self, a: Tensor) -> Tensor:
        weight, bias, shift = self.integers()
        factor = torch.exp2(-shift)
        # straight through: the value is the quantised one, the gradient that of the real one. A real number minus
        # itself is exactly 0; real + (quantised - real) can miss by a last bit, and the floor then by a whole step
        real = self.bias * UNIT
        w = weight * factor[:, None, None, None] + (self.weight - self.weight.detach())
        b = bias * factor + 0.5 + (real - real.detach())
        if self.depthwise:
            return F.conv2d(a, w, b, padding=1, groups=a.shape[1])
        return F.conv2d(a, w, b)


class IntBlock(nn.Module):
    """Residual block on 0..255: depthwise 3x3, 1x1, ReLU, 1x1, added to the trunk, ReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.spatial = IntConv(channels, channels, depthwise=True)
        self.expand = IntConv(channels, channels)
        self.project = IntConv(channels, channels, scale=0.1)

    def forward(self, x: Tensor) -> Tensor:
        h = unsigned8(self.expand(signed8(self.spatial(x))))
        return unsigned8(x + self.project(h))
