"""Inception-v3 (Szegedy et al. 2015, "Rethinking the Inception architecture", table 1) up to mixed_7, frozen.

The TensorFlow graph of 2015-12-05 that FID (Heusel et al. 2017) looks through, with batch norm folded into the
convolutions. For evaluation only: a codec trained against it would be measured by what it was taught.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .frozen import Frozen
from .weights import WrongWeights, load

CHANNELS = 768  # of mixed_7: pytorch-fid's dims=768
SIDE = 299  # pixels of a side, after the resize

# Branches of each block as chains of convolutions (channels, rows, columns of the kernel), in the order in which they
# are concatenated. A last branch, the pooled one, follows them: its convolution has POOLED channels and a 1x1 kernel.
Branch = tuple[tuple[int, int, int], ...]
_FINE: tuple[Branch, ...] = (((64, 1, 1),), ((48, 1, 1), (64, 5, 5)), ((64, 1, 1), (96, 3, 3), (96, 3, 3)))


def _wide(n: int) -> tuple[Branch, ...]:
    rows, columns = (n, 1, 7), (n, 7, 1)
    return ((192, 1, 1),), ((n, 1, 1), rows, (192, 7, 1)), ((n, 1, 1), columns, rows, columns, (192, 1, 7))


BLOCKS: dict[str, tuple[Branch, ...]] = {
    "mixed": _FINE,
    "mixed_1": _FINE,
    "mixed_2": _FINE,
    "mixed_3": (((384, 3, 3),), ((64, 1, 1), (96, 3, 3), (96, 3, 3))),
    "mixed_4": _wide(128),
    "mixed_5": _wide(160),
    "mixed_6": _wide(160),
    "mixed_7": _wide(192),
}
POOLED = {"mixed": 32, "mixed_1": 64, "mixed_2": 64, "mixed_4": 192, "mixed_5": 192, "mixed_6": 192, "mixed_7": 192}
# name: channels, kernel, stride, padding; a 3x3 maximum with stride 2 follows conv_2 and conv_4
STEM = {"conv": (32, 3, 2, 0), "conv_1": (32, 3, 1, 0), "conv_2": (64, 3, 1, 1), "conv_3": (80, 1, 1, 0),
        "conv_4": (192, 3, 1, 0)}  # fmt: skip


def _chain(block: str, branch: int, length: int) -> list[str]:
    """TensorFlow's names of a branch's convolutions."""
    prefix = block + ("", "_tower", "_tower_1", "_tower_2")[branch]
    return [f"{prefix}_conv" + (f"_{i}" if i else "") for i in range(length)]


def shapes() -> dict[str, tuple[int, int, int, int]]:
    """The shape (out, in, rows, columns) of every convolution's weight, by name."""
    found, channels = {}, 3
    for name, (out, kernel, _, _) in STEM.items():
        found[name] = (out, channels, kernel, kernel)
        channels = out
    for block, branches in BLOCKS.items():
        total = 0
        for b, branch in enumerate(branches):
            inside = channels
            for name, (out, rows, columns) in zip(_chain(block, b, len(branch)), branch, strict=True):
                found[name] = (out, inside, rows, columns)
                inside = out
            total += inside
        if block in POOLED:
            found[_chain(block, len(branches), 1)[0]] = (POOLED[block], channels, 1, 1)
            total += POOLED[block]
        else:  # mixed_3 halves the sides; its pooled branch is the maximum alone
            total += channels
        channels = total
    return found


class Inception(Frozen):
    """Pictures (batch, 3, h, w) of RGB in 0..255 to mixed_7's features, averaged over positions: (batch, 768), >= 0.

    Bilinear resize to 299x299 (half-pixel centres, no antialiasing) as in pytorch-fid, (x - 128) / 128 as in the
    TensorFlow graph that its weights come from (pytorch-fid takes x / 127.5 - 1: 1e-3 of the features), ReLU after
    every convolution, average pools that leave the padding out. About 4.5 GMAC a picture of any size.

    folder: where the file is, see `weights.find`. state: the tensors themselves, named as in the file.
    Raises MissingWeights, WrongWeights.
    """

    def __init__(self, *, folder: str | os.PathLike[str] | None = None, state: Mapping[str, Tensor] | None = None):
        super().__init__()
        state = load("inception-v3-fid", folder) if state is None else state
        for name, shape in shapes().items():
            try:
                weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
            except KeyError as error:
                raise WrongWeights(f"these weights of Inception-v3 lack {error.args[0]}") from None
            if weight.shape != shape or bias.shape != shape[:1]:
                raise WrongWeights(f"{name} is of shape {tuple(weight.shape)}, not {shape} as in Inception-v3")
            self.keep(f"{name}_weight", weight.contiguous(memory_format=torch.channels_last))
            self.keep(f"{name}_bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
        return self.mixed_7((x - 128) / 128).mean((2, 3))

    def mixed_7(self, x: Tensor) -> Tensor:
        """Pictures (batch, 3, h, w), already resized and in -1..1, to features (batch, 768, h', w'); 17x17 of 299."""
        x = x.contiguous(memory_format=torch.channels_last)
        for name, (_, _, stride, padding) in STEM.items():
            x = self._conv(x, name, stride, (padding, padding))
            if name in ("conv_2", "conv_4"):
                x = F.max_pool2d(x, 3, 2)
        for block, branches in BLOCKS.items():
            x = torch.cat([self._branch(x, block, b) for b in range(len(branches))] + [self._pooled(x, block)], 1)
        return x

    def _conv(self, x: Tensor, name: str, stride: int, padding: tuple[int, int]) -> Tensor:
        return F.relu(F.conv2d(x, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias"), stride, padding))

    def _branch(self, x: Tensor, block: str, branch: int) -> Tensor:
        kernels = BLOCKS[block][branch]
        names = _chain(block, branch, len(kernels))
        for name, (_, rows, columns) in zip(names, kernels, strict=True):
            if block == "mixed_3" and name == names[-1]:
                x = self._conv(x, name, 2, (0, 0))
            else:
                x = self._conv(x, name, 1, (rows // 2, columns // 2))
        return x

    def _pooled(self, x: Tensor, block: str) -> Tensor:
        if block not in POOLED:
            return F.max_pool2d(x, 3, 2)
        name = _chain(block, len(BLOCKS[block]), 1)[0]
        return self._conv(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), name, 1, (0, 0))
