"""Quantisation-aware layers of the integer prior.

Every tensor between these layers holds integers of BITS bits in float32, so that training sees exactly the arithmetic
that the exported graph and the NumPy int64 reference do:

    s   = sum(w_int * a_int) + b_int            |s| < 2^24, asserted at export
    out = clamp(floor((s + 2^(k-1)) / 2^k))     k: one shift for each output channel

A weight is trained as a real number w and used as w_int * 2^-k with w_int = round(w * 2^k) in [-127, 127]; since the
factor is a power of two, scaling the weights instead of the sum changes no bit of the result. Only 1x1 and depthwise
3x3 convolutions exist here: a library may run a dense 3x3 through Winograd or FFT, which is not exact.

A GPU waits for the launch of every small operation, and quantising the weights of one layer takes thirty. So a codec
quantises all layers together, and once a step: `quantised_once`.

Within `real_numbers()` nothing between layers is rounded; ranges and the weights' integers stay. What is learnt so
(`train/priors.py`) says the same in integers, but for errors of half a step between layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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
        outside = x - x.clamp(lo, hi)
        return grad.masked_fill(outside * grad < 0, 0), None, None, None


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
        self.ready: tuple[Tensor, Tensor] | None = None  # what is used instead within `quantised_once`

    def integers(self) -> tuple[Tensor, Tensor, Tensor]:
        """(weights, biases, shifts) as integers in float tensors; shifts have one entry an output channel."""
        weights, bias, shift = _integers([self])
        return weights[0], bias, shift

    def forward(self, a: Tensor) -> Tensor:
        w, b = self.ready or _quantised([self])[0]
        if self.depthwise:
            return F.conv2d(a, w, b, padding=1, groups=a.shape[1])
        return F.conv2d(a, w, b)


@torch.no_grad()
def _integers(layers: Sequence[IntConv]) -> tuple[list[Tensor], Tensor, Tensor]:
    """(weights of each layer, biases of all, shifts of all) as integers in float tensors."""
    real = list(torch._foreach_mul([c.weight for c in layers], [c.gives / c.takes for c in layers]))
    offset = torch.cat(torch._foreach_mul([c.bias for c in layers], [float(c.gives) for c in layers]))
    peak = torch.cat([r.amax((1, 2, 3)) for r in torch._foreach_abs(real)]).clamp_min_(1e-9)
    shift = torch.floor(torch.log2(MAX_WEIGHT / peak))
    sizes = [len(r) for r in real]
    torch._foreach_clamp_max_(shift.split(sizes), [JOINED_SHIFT if c.joined else MAX_SHIFT for c in layers])
    shift = torch.minimum(shift, torch.floor(torch.log2(MAX_BIAS / offset.abs().clamp_min(1)))).clamp_min(0)
    factor = torch.exp2(shift)
    weights = torch._foreach_mul(real, [f[:, None, None, None] for f in factor.split(sizes)])
    torch._foreach_add_(weights, 0.5)
    torch._foreach_floor_(weights)
    torch._foreach_clamp_min_(weights, -MAX_WEIGHT)
    torch._foreach_clamp_max_(weights, MAX_WEIGHT)
    return list(weights), torch.floor(offset * factor + 0.5), shift


class _Quantised(torch.autograd.Function):
    """(layers, their weights, their biases) to the quantised ones; straight through: gradients are the real ones'."""

    @staticmethod
    def forward(ctx, layers, *parameters):
        ctx.layers = layers
        ctx.set_materialize_grads(False)  # a layer that a loss does not reach has no gradient
        weights, bias, shift = _integers(layers)
        factor, sizes = torch.exp2(-shift), [len(w) for w in weights]
        torch._foreach_mul_(weights, [f[:, None, None, None] for f in factor.split(sizes)])
        return *weights, *(bias * factor + 0.5).split(sizes)

    @staticmethod
    def backward(ctx, *grads):
        layers: Sequence[IntConv] = ctx.layers
        per = [c.gives / c.takes for c in layers] + [float(c.gives) for c in layers]
        reached = [i for i, grad in enumerate(grads) if grad is not None]
        scaled = torch._foreach_mul([grads[i] for i in reached], [per[i] for i in reached]) if reached else []
        found = dict(zip(reached, scaled, strict=True))
        return None, *(found.get(i) for i in range(len(grads)))


def _quantised(layers: Sequence[IntConv]) -> list[tuple[Tensor, Tensor]]:
    """(weights, biases) of each layer as it uses them: w_int * 2^-k and b_int * 2^-k + 1/2."""
    both: Any = _Quantised.apply(layers, *(c.weight for c in layers), *(c.bias for c in layers))
    return list(zip(both[: len(layers)], both[len(layers) :], strict=True))


@contextmanager
def quantised_once(network: nn.Module) -> Iterator[None]:
    """Inside, the network's layers use weights that were quantised on entry, all together."""
    layers = [m for m in network.modules() if isinstance(m, IntConv)]
    before = [layer.ready for layer in layers]
    for layer, ready in zip(layers, _quantised(layers) if layers else [], strict=True):
        layer.ready = ready
    try:
        yield
    finally:
        for layer, earlier in zip(layers, before, strict=True):
            layer.ready = earlier


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
