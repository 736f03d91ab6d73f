"""The whole Inception-v3 that FID, KID and Inception Score are defined on, from pytorch-fid's file, frozen.

The TensorFlow graph of 2015-12-05 (Szegedy et al. 2015, "Rethinking the Inception architecture", table 1) under the
names of the torchvision project's class. Up to mixed_7 it is `inception.Inception`; here are the file's names, the
three blocks behind it and the classifier. For evaluation only: a codec trained against it would be measured by what it
was taught.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .frozen import Frozen
from .inception import SIDE, Inception
from .inception import shapes as trunk_shapes
from .weights import WrongWeights, load

CHANNELS = 2048  # of the last average
CLASSES = 1008  # of this graph; 1000 of them are ImageNet's
EPSILON = 1e-3  # of its batch norm

# The file's names of a block's branches, by TensorFlow's.
_A = {"": "branch1x1", "tower": "branch5x5", "tower_1": "branch3x3dbl", "tower_2": "branch_pool"}
_B = {"": "branch3x3", "tower": "branch3x3dbl"}
_C = {"": "branch1x1", "tower": "branch7x7", "tower_1": "branch7x7dbl", "tower_2": "branch_pool"}
_BRANCHES = (_A, _A, _A, _B, _C, _C, _C, _C)
_BLOCKS = ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e")
_STEM = {"conv": "Conv2d_1a_3x3", "conv_1": "Conv2d_2a_3x3", "conv_2": "Conv2d_2b_3x3", "conv_3": "Conv2d_3b_1x1",
         "conv_4": "Conv2d_4a_3x3"}  # fmt: skip

_E = {"branch1x1": (320, 1, 1), "branch3x3_1": (384, 1, 1), "branch3x3_2a": (384, 1, 3), "branch3x3_2b": (384, 3, 1),
      "branch3x3dbl_1": (448, 1, 1), "branch3x3dbl_2": (384, 3, 3), "branch3x3dbl_3a": (384, 1, 3),
      "branch3x3dbl_3b": (384, 3, 1), "branch_pool": (192, 1, 1)}  # fmt: skip
TAIL: dict[str, dict[str, tuple[int, int, int]]] = {  # channels, rows and columns of the kernel
    "Mixed_7a": {"branch3x3_1": (192, 1, 1), "branch3x3_2": (320, 3, 3), "branch7x7x3_1": (192, 1, 1),
                 "branch7x7x3_2": (192, 1, 7), "branch7x7x3_3": (192, 7, 1), "branch7x7x3_4": (192, 3, 3)},
    "Mixed_7b": _E,
    "Mixed_7c": _E,
}  # fmt: skip
_INPUTS = {"Mixed_7a": 768, "Mixed_7b": 1280, "Mixed_7c": 2048}


def official(name: str) -> str:
    """The file's name of a convolution up to mixed_7 that TensorFlow calls `name`, such as "mixed_4_tower_1_conv_2"."""
    if name in _STEM:
        return _STEM[name]
    match = re.fullmatch(r"mixed(?:_(\d))?(?:_(tower(?:_\d)?))?_conv(?:_(\d))?", name)
    assert match, name
    block, tower, step = int(match[1] or 0), match[2] or "", int(match[3] or 0) + 1
    branch = _BRANCHES[block][tower]
    single = branch in ("branch1x1", "branch_pool") or (block == 3 and branch == "branch3x3")
    return f"{_BLOCKS[block]}.{branch}" + ("" if single else f"_{step}")


def shapes() -> dict[str, tuple[int, int, int, int]]:
    """The shape (out, in, rows, columns) of every convolution's weight, by the file's name without ".conv.weight"."""
    found = {official(name): shape for name, shape in trunk_shapes().items()}
    for block, layers in TAIL.items():
        for name, (out, rows, columns) in layers.items():
            stem, _, step = name.rpartition("_")
            before = f"{stem}_{int(step[0]) - 1}" if step[0].isdigit() and step[0] != "1" else ""
            found[f"{block}.{name}"] = (out, layers[before][0] if before else _INPUTS[block], rows, columns)
    return found


class InceptionFull(Frozen):
    """Pictures (batch, 3, h, w) of RGB in 0..255 to the features of FID and KID: (batch, 2048), 0 or more.

    As pytorch-fid does it: bilinear resize to 299x299 (half-pixel centres, no antialiasing), 2 x / 255 - 1, ReLU after
    every convolution, average pools that leave the padding out, a maximum in the last block's pooled branch (the
    graph's own peculiarity), the mean over positions. About 5.7 GMAC a picture of any size.

    folder: where the file is, see `weights.find`. state: the tensors themselves, named as in the file
    ("Conv2d_1a_3x3.conv.weight", "Conv2d_1a_3x3.bn.running_mean", ..., "fc.weight").
    Raises MissingWeights, WrongWeights.
    """

    fc_weight: Tensor
    fc_bias: Tensor

    def __init__(self, *, folder: str | os.PathLike[str] | None = None, state: Mapping[str, Tensor] | None = None):
        super().__init__()
        state = load("inception-v3-fid-full", folder) if state is None else state
        trunk = {}
        for name in trunk_shapes():
            trunk[f"{name}.weight"], trunk[f"{name}.bias"] = self._folded(state, official(name))
        self.trunk = Inception(state=trunk)
        every = shapes()
        for block, layers in TAIL.items():
            for name in layers:
                weight, bias = self._folded(state, f"{block}.{name}")
                if weight.shape != every[f"{block}.{name}"]:
                    raise WrongWeights(f"{block}.{name} is of shape {tuple(weight.shape)}, which is not Inception-v3's")
                self.keep(f"{block}_{name}_weight", weight.contiguous(memory_format=torch.channels_last))
                self.keep(f"{block}_{name}_bias", bias)
        try:
            weight, bias = state["fc.weight"], state["fc.bias"]
        except KeyError as error:
            raise WrongWeights(f"these weights of Inception-v3 lack {error.args[0]}") from None
        if weight.shape != (CLASSES, CHANNELS) or bias.shape != (CLASSES,):
            raise WrongWeights(f"the classifier is of shape {tuple(weight.shape)}, not {(CLASSES, CHANNELS)}")
        self.keep("fc_weight", weight)
        self.keep("fc_bias", bias)

    @staticmethod
    def _folded(state: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias of a convolution with the batch norm behind it folded in: the same function, in one pass."""
        try:
            weight = state[f"{name}.conv.weight"].double()
            gamma, beta, mean, variance = (
                state[f"{name}.bn.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
            )
        except KeyError as error:
            raise WrongWeights(f"these weights of Inception-v3 lack {error.args[0]}") from None
        scale = gamma / torch.sqrt(variance + EPSILON)
        return (weight * scale[:, None, None, None]).float(), (beta - mean * scale).float()

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
        return self.pooled(x * (2 / 255) - 1)

    def logits(self, pooled: Tensor, bias: bool = True) -> Tensor:
        """Features (batch, 2048) to what the classifier says of the classes: (batch, 1008), before the softmax.

        bias: False is what the program of the Inception Score does, which multiplies by the matrix alone."""
        return F.linear(pooled, self.fc_weight, self.fc_bias if bias else None)

    def pooled(self, x: Tensor) -> Tensor:
        """Pictures (batch, 3, h, w), already resized and in -1..1, sides of 75 or more, to features (batch, 2048)."""
        x = self.trunk.mixed_7(x)
        a = self._chain(x, "Mixed_7a", "branch3x3_1", "branch3x3_2")
        b = self._chain(x, "Mixed_7a", *(f"branch7x7x3_{i}" for i in range(1, 5)))
        x = torch.cat([a, b, F.max_pool2d(x, 3, 2)], 1)
        for block in ("Mixed_7b", "Mixed_7c"):
            if block == "Mixed_7b":
                pool = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            else:
                pool = F.max_pool2d(x, 3, 1, 1)
            a = self._chain(x, block, "branch3x3_1")
            b = self._chain(x, block, "branch3x3dbl_1", "branch3x3dbl_2")
            x = torch.cat(
                [
                    self._chain(x, block, "branch1x1"),
                    self._chain(a, block, "branch3x3_2a"),
                    self._chain(a, block, "branch3x3_2b"),
                    self._chain(b, block, "branch3x3dbl_3a"),
                    self._chain(b, block, "branch3x3dbl_3b"),
                    self._chain(pool, block, "branch_pool"),
                ],
                1,
            )
        return x.mean((2, 3))

    def _chain(self, x: Tensor, block: str, *names: str) -> Tensor:
        """Convolutions one behind the other; in Mixed_7a those of 3 x 3 halve the sides."""
        for name in names:
            _, rows, columns = TAIL[block][name]
            halves = block == "Mixed_7a" and rows == columns == 3
            weight, bias = getattr(self, f"{block}_{name}_weight"), getattr(self, f"{block}_{name}_bias")
            x = F.relu(
                F.conv2d(x, weight, bias, 2, 0) if halves else F.conv2d(x, weight, bias, 1, (rows // 2, columns // 2))
            )
        return x
