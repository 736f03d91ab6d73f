"""The convolutions of VGG-16 (Simonyan, Zisserman 2014, configuration D), frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BadInput
from .frozen import Frozen
from .weights import WrongWeights, load

# Convolutions in order; a 2x2 maximum follows the last one of a block, before the next block begins.
NAMES = tuple(f"conv{block}_{i}" for block, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1))
CHANNELS = {name: min(64 << (int(name[4]) - 1), 512) for name in NAMES}
IN_KERAS = 7  # how many of them the file of Keras's weights holds

_CAFFE_MEAN = (123.68, 116.779, 103.939)  # R, G, B on the 0..255 scale
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # on the 0..1 scale
_TORCHVISION_INDEX = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # features.N of each convolution


class VGG(Frozen):
    """Pictures (batch, 3, h, w) of RGB in 0..255 to features after ReLU: {tap: (batch, channels, h', w')}.

    A tap is the name of a convolution, "conv1_1" to "conv5_3"; block b has stride 2^(b-1), sides rounded down, and
    CHANNELS[tap] channels. Sides must be at least the stride of the deepest tap. Nothing behind the deepest tap is
    computed.

    convolutions: how many there are in the trunk, 1..13; taps must lie inside it. source: "keras" (the original Caffe
    weights, up to conv3_3), "torchvision" (all 13), or None: Keras's where they reach the deepest tap. The two were
    trained apart and are fed differently, so their features differ in scale and meaning. folder: where the file is, see
    `weights.find`. state: the tensors themselves, instead of a file, named as in the file of `source`.

    Raises BadInput (no such tap or number), MissingWeights, WrongWeights.
    """

    mean: Tensor

    def __init__(
        self,
        convolutions: int = 7,
        taps: Sequence[str] = ("conv1_2", "conv2_2", "conv3_3"),
        *,
        source: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ):
        super().__init__()
        if not 1 <= convolutions <= len(NAMES):
            raise BadInput(f"VGG-16 has 1 to {len(NAMES)} convolutions, not {convolutions}")
        names = NAMES[:convolutions]
        if not taps or any(tap not in names for tap in taps):
            raise BadInput(
                f"taps {', '.join(taps)} are not all among the {convolutions} convolutions {' '.join(names)}"
            )
        self.taps = tuple(taps)
        self.names = names[: 1 + max(names.index(tap) for tap in taps)]
        source = source or ("keras" if len(self.names) <= IN_KERAS else "torchvision")
        if source not in ("keras", "torchvision"):
            raise BadInput(f'weights of VGG-16 come from "keras" or "torchvision", not {source!r}')
        if source == "keras" and len(self.names) > IN_KERAS:
            raise BadInput(f"Keras's weights here end with conv3_3, before {self.names[-1]}; take torchvision's")
        state = load(f"vgg16-{source}", folder) if state is None else state
        fan_in = 3
        for i, name in enumerate(self.names):
            key = name if source == "keras" else f"features.{_TORCHVISION_INDEX[i]}"
            try:
                weight, bias = state[f"{key}.weight"], state[f"{key}.bias"]
            except KeyError as error:
                raise WrongWeights(f"these weights of VGG-16 lack {error.args[0]}") from None
            if weight.shape != (CHANNELS[name], fan_in, 3, 3) or bias.shape != (CHANNELS[name],):
                raise WrongWeights(f"{key} is of shape {tuple(weight.shape)}, which is not VGG-16's")
            if i == 0:  # both kinds of preprocessing become "minus the mean"; the padding is zero after it
                if source == "keras":
                    weight = weight.flip(1)  # it expects blue first
                else:
                    weight = weight / (255 * torch.tensor(_IMAGENET_STD)).view(1, 3, 1, 1)
            self.keep(f"{name}_weight", weight)
            self.keep(f"{name}_bias", bias)
            fan_in = CHANNELS[name]
        mean = torch.tensor(_CAFFE_MEAN) if source == "keras" else 255 * torch.tensor(_IMAGENET_MEAN)
        self.keep("mean", mean.view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = {}
        block, x = "1", x - self.mean
        for name in self.names:
            if name[4] != block:
                block, x = name[4], F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias"), padding=1))
            if name in self.taps:
                features[name] = x
        return features
