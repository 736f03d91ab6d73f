"""LPIPS, the learned perceptual image patch similarity.

Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018),
equation 1, version 0.1 of their weights. The name belongs to one function: the published heads on the torchvision
project's networks. Without those files there is no LPIPS here, only MissingWeights.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BadInput
from ..nn.backbones.frozen import Frozen
from ..nn.backbones.vgg import VGG
from ..nn.backbones.weights import MissingWeights, WrongWeights, load

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # on the 0..1 scale; LPIPS's own "scaling layer" is this


class _Trunk(Frozen):
    """What AlexNet and SqueezeNet share: torchvision's state dict, its preprocessing, taps in order."""

    mean: Tensor

    def __init__(self, name: str, state: Mapping[str, Tensor] | None, folder: str | os.PathLike[str] | None):
        super().__init__()
        self._state: Mapping[str, Tensor] = load(name, folder) if state is None else state
        self.keep("mean", 255 * torch.tensor(_MEAN).view(1, 3, 1, 1))

    def take(self, key: str, first: bool = False) -> None:
        """Keep the convolution `features.{key}`; the first one takes up the division by the standard deviation."""
        try:
            weight, bias = (self._state[f"features.{key}.{part}"] for part in ("weight", "bias"))
        except KeyError as error:
            raise WrongWeights(f"these weights lack {error.args[0]}") from None
        if first:
            weight = weight / (255 * torch.tensor(_STD)).view(1, 3, 1, 1)
        self.keep(f"w{key.replace('.', '_')}", weight)
        self.keep(f"b{key.replace('.', '_')}", bias)

    def conv(self, x: Tensor, key: str, stride: int = 1, padding: int = 0) -> Tensor:
        key = key.replace(".", "_")
        return F.relu(F.conv2d(x, getattr(self, f"w{key}"), getattr(self, f"b{key}"), stride, padding))


class AlexNet(_Trunk):
    """The five convolutions of AlexNet ("one weird trick"), after ReLU: 64, 192, 384, 256, 256 channels.

    Pictures (batch, 3, h, w) of RGB in 0..255, sides of at least 31, to {"relu1": ..., ..., "relu5": ...}.
    """

    TABLE = (("0", 4, 2), ("3", 1, 2), ("6", 1, 1), ("8", 1, 1), ("10", 1, 1))  # features.N, stride, padding
    POOLED = ("3", "6")  # a 3x3 maximum of stride 2 comes before these

    def __init__(self, folder: str | os.PathLike[str] | None = None, state: Mapping[str, Tensor] | None = None):
        super().__init__("alexnet-torchvision", state, folder)
        for key, _, _ in self.TABLE:
            self.take(key, first=key == "0")
        del self._state

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features, x = {}, x - self.mean
        for i, (key, stride, padding) in enumerate(self.TABLE, 1):
            if key in self.POOLED:
                x = F.max_pool2d(x, 3, 2)
            features[f"relu{i}"] = x = self.conv(x, key, stride, padding)
        return features


class SqueezeNet(_Trunk):
    """SqueezeNet 1.1 where LPIPS looks: 64, 128, 256, 384, 384, 512, 512 channels, after ReLU.

    Pictures (batch, 3, h, w) of RGB in 0..255, sides of at least 17, to {"relu1": ..., ..., "relu7": ...}.
    """

    FIRES = ("3", "4", "6", "7", "9", "10", "11", "12")
    POOLED = ("3", "6", "9")  # a 3x3 maximum of stride 2, sides rounded up, comes before these
    TAPS = ("4", "7", "9", "10", "11", "12")

    def __init__(self, folder: str | os.PathLike[str] | None = None, state: Mapping[str, Tensor] | None = None):
        super().__init__("squeezenet-torchvision", state, folder)
        self.take("0", first=True)
        for fire in self.FIRES:
            for part in ("squeeze", "expand1x1", "expand3x3"):
                self.take(f"{fire}.{part}")
        del self._state

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.conv(x - self.mean, "0", stride=2)
        features = {"relu1": x}
        for fire in self.FIRES:
            if fire in self.POOLED:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            x = self.conv(x, f"{fire}.squeeze")
            x = torch.cat([self.conv(x, f"{fire}.expand1x1"), self.conv(x, f"{fire}.expand3x3", padding=1)], 1)
            if fire in self.TAPS:
                features[f"relu{len(features) + 1}"] = x
        return features


def _vgg(folder: str | os.PathLike[str] | None = None, state: Mapping[str, Tensor] | None = None) -> VGG:
    taps = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
    return VGG(13, taps, source="torchvision", folder=folder, state=state)


TRUNKS: dict[str, Callable[..., Frozen]] = {"alex": AlexNet, "squeeze": SqueezeNet, "vgg": _vgg}


def _heads(net: str, folder: str | os.PathLike[str] | None) -> Mapping[str, Tensor]:
    """Either file of the heads; they hold the same numbers under the same names."""
    try:
        return load(f"lpips-{net}", folder)
    except MissingWeights:
        return load(f"lpips-{net}-official", folder)


def _unit(x: Tensor) -> Tensor:
    """Features of unit length over the channels; all zeros stay zeros, with a slope of zero."""
    x = x.float()
    return x / (torch.sqrt(x.square().sum(1, keepdim=True).clamp_min(1e-20)) + 1e-10)


class LPIPS(nn.Module):
    """sum_l mean_hw sum_c w_lc (u_lc(x_hat) - u_lc(x))^2, u_l the features at tap l, of unit length over channels.

    Two (batch, 3, h, w) in 0..255 to (batch,); 0 for equal pictures. net: "alex" (what papers report as LPIPS), "vgg"
    (common as a training loss) or "squeeze". folder: where the files of trunk and heads are, see `weights.find`; the
    files of the torchvision project are checked by the eight digits of their SHA-256 that are public. trunk and heads:
    their tensors instead of files ("lin0.model.1.weight", ...), for tests of the arithmetic.

    Raises BadInput (no such net), MissingWeights, WrongWeights.
    """

    def __init__(
        self,
        net: str = "alex",
        *,
        folder: str | os.PathLike[str] | None = None,
        trunk: Mapping[str, Tensor] | None = None,
        heads: Mapping[str, Tensor] | None = None,
    ):
        super().__init__()
        if net not in TRUNKS:
            raise BadInput(f"LPIPS looks through {', '.join(TRUNKS)}, not {net!r}")
        self.trunk = TRUNKS[net](folder=folder, state=trunk)
        heads = _heads(net, folder) if heads is None else heads
        for i in range(len(heads)):
            self.register_buffer(f"head{i}", heads[f"lin{i}.model.1.weight"].float().clone(), persistent=False)

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            reference = self.trunk(x)
        parts = []
        for i, (a, b) in enumerate(zip(self.trunk(x_hat).values(), reference.values(), strict=True)):
            head = getattr(self, f"head{i}")  # (1, channels, 1, 1)
            parts.append((head * (_unit(a) - _unit(b)).square()).sum(1).mean((1, 2)))
        return torch.stack(parts).sum(0)
