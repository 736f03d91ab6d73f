"""ESPNet: a small network that says what stands where, for label maps that nobody drew.

Mehta, Rastegari, Caspi, Shapiro, Hajishirzi 2018, "ESPNet: Efficient Spatial Pyramid of Dilated Convolutions", the full
network (p = 2, q = 8) with its decoder, as the authors trained it on CamVid. Weights: `espnet-camvid` (weights.py).
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .weights import load

EPS = 1e-3  # of every batch norm
DILATIONS = (1, 2, 4, 8, 16)
# Blue, green and red of CamVid's training pictures (the mean of each picture's deviation): the authors take those of
# the data set at hand.
MEAN = (107.7, 106.3, 103.0)
DEVIATION = (70.9, 71.5, 68.8)
SIDE = 360  # pixels: the height of the pictures that it was trained on
CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist",
           "unlabelled")


class _Active(nn.Module):
    """Batch norm and PReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.bn, self.act = nn.BatchNorm2d(channels, EPS), nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(x))


class _Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2 * dilation, dilation, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _ConvActive(_Conv):
    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1):
        super().__init__(inputs, outputs, size, stride)
        self.bn, self.act = nn.BatchNorm2d(outputs, EPS), nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class _Pyramid(nn.Module):
    """The paper's module: reduce, convolve at five dilations side by side, add them up one after the other
    (hierarchical feature fusion), join; with the input added, unless told not to or the size is halved."""

    def __init__(self, inputs: int, outputs: int, halve: bool = False, add: bool = True):
        super().__init__()
        n = outputs // 5
        self.c1 = _Conv(inputs, n, 3, 2) if halve else _Conv(inputs, n, 1)
        for d in DILATIONS:
            self.add_module(f"d{d}", _Conv(n, outputs - 4 * n if d == 1 else n, 3, dilation=d))
        self.add = add and not halve
        if halve:
            self.act: nn.Module = nn.PReLU(outputs)
            self.bn: nn.Module = nn.BatchNorm2d(outputs, EPS)
        else:
            self.act, self.bn = nn.Identity(), _Active(outputs)

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.c1(x)
        first, *rest = (self.get_submodule(f"d{d}")(reduced) for d in DILATIONS)
        parts = [first, rest[0]]
        for branch in rest[1:]:
            parts.append(parts[-1] + branch)
        joined = torch.cat(parts, 1)
        return self.act(self.bn(x + joined if self.add else joined))


class _Encoder(nn.Module):
    def __init__(self, classes: int, p: int, q: int):
        super().__init__()
        self.level1 = _ConvActive(3, 16, 3, 2)
        self.b1 = _Active(16 + 3)
        self.level2_0 = _Pyramid(16 + 3, 64, halve=True)
        self.level2 = nn.ModuleList(_Pyramid(64, 64) for _ in range(p))
        self.b2 = _Active(128 + 3)
        self.level3_0 = _Pyramid(128 + 3, 128, halve=True)
        self.level3 = nn.ModuleList(_Pyramid(128, 128) for _ in range(q))
        self.b3 = _Active(256)
        self.classifier = _Conv(256, classes, 1)


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 2, 1)


class ESPNet(nn.Module):
    """Pictures (batch, 3, h, w), red, green, blue in 0..255, sides multiples of 8, to logits (batch, classes, h, w)."""

    def __init__(self, classes: int = len(CLASSES), p: int = 2, q: int = 8):
        super().__init__()
        self.encoder = _Encoder(classes, p, q)
        self.br = nn.BatchNorm2d(classes, EPS)
        self.level3_C = _Conv(128 + 3, classes, 1)
        self.combine_l2_l3 = nn.Sequential(_Active(2 * classes), _Pyramid(2 * classes, classes, add=False))
        self.up_l3 = nn.Sequential(nn.ConvTranspose2d(classes, classes, 2, 2, bias=False))
        self.up_l2 = nn.Sequential(nn.ConvTranspose2d(classes, classes, 2, 2, bias=False), _Active(classes))
        self.conv = _ConvActive(16 + 3 + classes, classes, 3)
        self.classifier = nn.ConvTranspose2d(classes, classes, 2, 2, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(DEVIATION)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        e = self.encoder
        x = (x.flip(1) - self.mean) / self.deviation  # type: ignore[operator]
        half = _halved(x)
        at2 = e.b1(torch.cat([e.level1(x), half], 1))
        start = h = e.level2_0(at2)
        for block in e.level2:
            h = block(h)
        at4 = e.b2(torch.cat([h, start, _halved(half)], 1))
        start = h = e.level3_0(at4)
        for block in e.level3:
            h = block(h)
        at8 = e.b3(torch.cat([start, h], 1))
        deep = self.up_l3(self.br(e.classifier(at8)))
        joined = self.up_l2(self.combine_l2_l3(torch.cat([self.level3_C(at4), deep], 1)))
        return self.classifier(self.conv(torch.cat([joined, at2], 1)))


@lru_cache(maxsize=1)
def trained() -> ESPNet:
    """The network as it was trained on CamVid. Raises MissingWeights or WrongWeights."""
    network = ESPNet()
    network.load_state_dict(load("espnet-camvid"))
    return network.eval().requires_grad_(False)


@torch.no_grad()
def label_map(network: ESPNet, x: Tensor) -> Tensor:
    """The class (0..10: never "unlabelled") of every pixel: (batch, 3, h, w) in 0..255 to uint8 (batch, h, w).

    Pictures larger than CamVid's are shrunk to its height of 360 pixels (or width, where that is less) before: the
    network knows things by their size. Labels are then as coarse.
    """
    h, w = x.shape[2:]
    small, x = min(1.0, SIDE / min(h, w)), x.float()
    if small < 1:
        x = F.interpolate(x, (round(h * small), round(w * small)), mode="bilinear", antialias=True)
    inner = x.shape[2:]
    x = F.pad(x, (0, -inner[1] % 8, 0, -inner[0] % 8), mode="replicate")
    labels = network(x)[:, :-1, : inner[0], : inner[1]].argmax(1, keepdim=True)
    return F.interpolate(labels.float(), (h, w), mode="nearest-exact")[:, 0].to(torch.uint8)
