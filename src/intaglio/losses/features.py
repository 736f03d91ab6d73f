"""The distance of two pictures in the features of a frozen network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import BadInput

KINDS = ("squared", "absolute", "relative", "unit")


def distance(
    kind: str, hat: Mapping[str, Tensor], reference: Mapping[str, Tensor], weights: Mapping[str, float] | None = None
) -> Tensor:
    """sum_l w_l d_l over the taps l of `reference`: features {tap: (batch, channels, h, w)} to (batch,) in float32.

    "squared": d_l = mean (hat - reference)^2; "absolute": mean |hat - reference|; both in the features' own units.
    "relative": mean (hat - reference)^2 / mean reference^2, which has no units, so that taps and networks of any scale
    count alike. "unit": at every place both feature vectors are divided by their length, and d_l = mean over places of
    |difference|^2, 0..4: direction alone counts, dark places as much as bright ones (LPIPS with weights of 1). Other
    means are over channels and places. A tap that `weights` does not name weighs 1. Raises BadInput for
    another kind, and for weights of taps that are not there.
    """
    if kind not in KINDS:
        raise BadInput(f"no distance of features is called {kind!r}; there are {', '.join(KINDS)}")
    weights = weights or {}
    if extra := [tap for tap in weights if tap not in reference]:
        raise BadInput(f"weights for {', '.join(extra)}, but the features are {', '.join(reference)}")
    parts = []
    for tap, b in reference.items():
        a, b = hat[tap].float(), b.float()
        if kind == "unit":
            parts.append(((unit(a) - unit(b)).square().sum(1).mean((1, 2))) * weights.get(tap, 1.0))
            continue
        difference = a - b
        d = (difference.abs() if kind == "absolute" else difference.square()).mean((1, 2, 3))
        if kind == "relative":
            d = d / (b.square().mean((1, 2, 3)) + 1e-12)
        parts.append(d * weights.get(tap, 1.0))
    return torch.stack(parts).sum(0)


def unit(features: Tensor) -> Tensor:
    """Feature vectors (batch, channels, h, w) of length 1 at every place; those near zero stay near zero."""
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + 1e-6)


class FeatureDistance(nn.Module):
    """`distance` in the features of a frozen backbone (pictures to {tap: features}): two (batch, 3, h, w) to (batch,).

    The original's features are computed without a graph. Where several losses look through one backbone, compute the
    features once and give them to `on`.
    """

    def __init__(self, backbone: nn.Module, kind: str, weights: Mapping[str, float] | None = None):
        super().__init__()
        self.backbone, self.kind, self.weights = backbone, kind, dict(weights or {})

    def on(self, hat: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
        """The loss from features at hand."""
        return distance(self.kind, hat, reference, self.weights)

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            reference = self.backbone(x)
        return self.on(self.backbone(x_hat), reference)
