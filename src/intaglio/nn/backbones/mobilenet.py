"""MobileNetV2 1.0 (Sandler et al. 2018, table 2) with Keras's ImageNet weights, frozen. About 6 kMAC a pixel."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BadInput
from .frozen import Frozen
from .weights import WrongWeights, load

EPSILON = 1e-3  # of Keras's batch norm
# Output channels and stride of each block; table 2 of the paper with its repetitions written out.
BLOCKS = tuple(
    (channels, stride if i == 0 else 1)
    for channels, repeats, stride in (
        (16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1),
    )
    for i in range(repeats)
)  # fmt: skip
TAPS = tuple(f"block_{i}" for i in range(len(BLOCKS))) + ("head",)


def _conv(x: Tensor, weight: Tensor, bias: Tensor, stride: int = 1) -> Tensor:
    """A convolution with a side of 1 or 3; depthwise where the weight has one input channel and x has more."""
    groups = x.shape[1] // weight.shape[1]
    if stride == 1:
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)
    # Keras pads even sides only behind, odd ones on both sides (keras.applications.imagenet_utils.correct_pad).
    h, w = x.shape[-2:]
    x = F.pad(x, (w % 2, 1, h % 2, 1))
    return F.conv2d(x, weight, bias, stride=stride, groups=groups)


class MobileNetV2(Frozen):
    """Pictures (batch, 3, h, w) of RGB in 0..255 to features {tap: (batch, channels, h', w')}, deepest last.

    Taps are "block_0" to "block_16", the outputs of the bottlenecks (linear, so they take both signs), and "head", the
    1280 channels after the last 1x1 convolution and ReLU6. The default ones have strides 2, 4, 8, 16, 32 and 16, 24,
    32, 96, 320 channels; sides are rounded up. Nothing behind the deepest tap is computed.

    folder: where the file is, see `weights.find`. state: the tensors themselves, named as in the file.
    Raises BadInput (no such tap), MissingWeights, WrongWeights.
    """

    def __init__(
        self,
        taps: Sequence[str] = ("block_0", "block_2", "block_5", "block_12", "block_16"),
        *,
        folder: str | os.PathLike[str] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ):
        super().__init__()
        if not taps or any(tap not in TAPS for tap in taps):
            raise BadInput(f"taps {', '.join(taps)} are not all among those of MobileNetV2: {' '.join(TAPS)}")
        self.taps = tuple(taps)
        self.names = TAPS[: 1 + max(TAPS.index(tap) for tap in taps)]
        state = load("mobilenet-v2-keras", folder) if state is None else state
        self._fold(state, "stem", "Conv1", "bn_Conv1")
        for i, name in enumerate(n for n in self.names if n != "head"):
            prefix = f"block_{i}" if i else "expanded_conv"
            for part in ("expand", "depthwise", "project") if i else ("depthwise", "project"):
                self._fold(state, f"{name}_{part}", f"{prefix}_{part}", f"{prefix}_{part}_BN")
        if "head" in self.names:
            self._fold(state, "head", "Conv_1", "Conv_1_bn")

    def _fold(self, state: Mapping[str, Tensor], name: str, conv: str, norm: str) -> None:
        """Keep a convolution with the batch norm behind it folded in: the same function, in one pass."""
        try:
            weight = state[f"{conv}.weight"].double()
            beta, gamma, mean, variance = (
                state[f"{norm}.{part}"].double() for part in ("beta", "gamma", "moving_mean", "moving_variance")
            )
        except KeyError as error:
            raise WrongWeights(f"these weights of MobileNetV2 lack {error.args[0]}") from None
        scale = gamma / torch.sqrt(variance + EPSILON)
        self.keep(f"{name}_weight", weight * scale[:, None, None, None])
        self.keep(f"{name}_bias", beta - mean * scale)

    def _apply_conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        return _conv(x, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias"), stride)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = {}
        x = F.relu6(self._apply_conv(x * (1 / 127.5) - 1, "stem", 2))
        for i, name in enumerate(self.names):
            if name == "head":
                x = F.relu6(self._apply_conv(x, "head"))
            else:
                channels, stride = BLOCKS[i]
                y = F.relu6(self._apply_conv(x, f"{name}_expand")) if i else x
                y = F.relu6(self._apply_conv(y, f"{name}_depthwise", stride))
                y = self._apply_conv(y, f"{name}_project")
                x = x + y if stride == 1 and channels == x.shape[1] else y
            if name in self.taps:
                features[name] = x
        return features
