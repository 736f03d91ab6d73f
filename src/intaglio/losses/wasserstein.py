"""Wasserstein distortion: local statistics of features compared over windows of any size.

Qiu, Wagner, Balle, Theis, "Wasserstein Distortion: Unifying Fidelity and Realism" (2023, arXiv:2310.03629). Around each
place, both pictures' features are summarised by their mean and standard deviation under a window of standard deviation
sigma, and compared by the squared 2-Wasserstein distance of Gaussians with independent features,
(mu - mu')^2 + (s - s')^2. At sigma = 0 that is the squared error of the features (fidelity); for large sigma only the
texture counts (realism).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BadInput


def halve(x: Tensor) -> Tensor:
    """Low-pass by [1, 3, 3, 1]/8 both ways and take every second place: (b, c, h, w) to (b, c, ceil(h/2), ceil(w/2)).

    The window's variance is 3/4; borders are replicated.
    """
    c, (h, w) = x.shape[1], x.shape[-2:]
    # not F.pad: inductor (torch 2.13) mistakes the strides of its gradient where the features were channels-last
    x = torch.cat([x[:, :, :1], x] + [x[:, :, -1:]] * (1 + h % 2), 2)
    x = torch.cat([x[..., :1], x] + [x[..., -1:]] * (1 + w % 2), 3)
    taps = torch.full((4,), 3 / 8, dtype=x.dtype, device=x.device)  # made where it is used: no copy to wait for
    taps[::3] = 1 / 8
    return F.conv2d(x, torch.outer(taps, taps).expand(c, 1, 4, 4), stride=2, groups=c)


def statistics(features: Tensor, levels: int) -> list[tuple[Tensor, Tensor]]:
    """Local (mean, variance) of features (b, c, h, w) at levels 1..levels, each half the size of the one before.

    Level l has a window near a Gaussian of sigma = sqrt(4^l - 1) / 2 places: 0.87, 1.94, 3.97, 7.98, ...
    In float32, outside autocast. Contiguous, because depthwise convolutions of channels-last tensors may run in TF32 on
    CUDA, which is too coarse for a variance.
    """
    with torch.autocast(features.device.type, enabled=False):
        mean = features.float().contiguous()
        variance: Tensor | None = None
        out = []
        for _ in range(levels):
            second = mean.square() if variance is None else variance + mean.square()
            mean, second = halve(mean), halve(second)
            variance = (second - mean.square()).clamp_min(0)
            out.append((mean, variance))
        return out


def level(sigma: float, stride: float = 1.0) -> float:
    """The level whose window has this sigma, in pixels, on features of this stride; 0 is no window."""
    return 0.5 * math.log2(1 + 4 * (sigma / stride) ** 2)


class WassersteinDistortion(nn.Module):
    """sum_l w_l mean over channels and places of (mu - mu')^2 + (s - s')^2, for two (batch, 3, h, w) to (batch,).

    backbone: pictures to {tap: features (batch, channels, h', w')}, frozen; None if only `on` is called. sigmas: the
    windows' standard deviations in pixels of the picture, averaged over; between two levels of the pyramid the distance
    is interpolated. At most `levels` levels, and only while both sides of the features are above 1: larger sigmas are
    cut down to that. weights: w_l by tap, 1 if not named. floor: added to the variances, in the features' units
    squared, so that the slope of the square root stays finite.

    Raises BadInput for no sigma or a negative one.
    """

    def __init__(
        self,
        backbone: nn.Module | None = None,
        sigmas: Sequence[float] = (0.0, 4.0, 16.0),
        *,
        levels: int = 5,
        weights: Mapping[str, float] | None = None,
        floor: float = 1e-4,
    ):
        super().__init__()
        if not sigmas or min(sigmas) < 0:
            raise BadInput(f"windows need sigmas of at least 0 pixels, not {tuple(sigmas)}")
        if levels < 1 or floor <= 0:
            raise BadInput(f"levels must be at least 1 and floor above 0, not {levels} and {floor}")
        self.backbone, self.sigmas, self.levels, self.floor = backbone, tuple(sigmas), levels, floor
        self.weights = dict(weights or {})

    def forward(self, x_hat: Tensor, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """sigma: a map (batch, 1, h, w), or one that broadcasts over the batch, in pixels, instead of `sigmas`."""
        if self.backbone is None:
            raise BadInput("this Wasserstein distortion has no backbone; give features to `on`")
        with torch.no_grad():
            reference = self.backbone(x)
        return self.on(self.backbone(x_hat), reference, x.shape[-1], sigma)

    def on(
        self, hat: Mapping[str, Tensor], reference: Mapping[str, Tensor], width: int, sigma: Tensor | None = None
    ) -> Tensor:
        """The loss from features at hand; `width` is the pictures', in pixels, which gives the features' strides."""
        if extra := [tap for tap in self.weights if tap not in reference]:
            raise BadInput(f"weights for {', '.join(extra)}, but the features are {', '.join(reference)}")
        parts = []
        for tap, b in reference.items():
            stride = 2.0 ** round(math.log2(width / b.shape[-1]))
            maps = None if sigma is None else 0.5 * torch.log2(1 + 4 * (sigma.float() / stride) ** 2)
            parts.append(self._one(hat[tap], b, stride, maps) * self.weights.get(tap, 1.0))
        return torch.stack(parts).sum(0)

    def _one(self, a: Tensor, b: Tensor, stride: float, maps: Tensor | None) -> Tensor:
        """One tap. maps: the level at every place, (batch or 1, 1, H, W), where it varies."""
        top = min(self.levels, int(math.log2(min(b.shape[-2:]))))
        if maps is None:
            at = [min(level(s, stride), top) for s in self.sigmas]
            shares = [sum(max(0.0, 1 - abs(t - i)) for t in at) / len(at) for i in range(top + 1)]
            deepest = max(i for i, share in enumerate(shares) if share > 0)  # nothing behind it is computed
        else:
            maps, deepest = maps.clamp_max(top), top
        total = torch.zeros(b.shape[0], device=b.device)
        if maps is not None or shares[0] > 0:
            d = (a.float() - b.float()).square()
            total = total + self._mean(d, 0, maps if maps is not None else shares[0])
        both = zip(statistics(a, deepest), statistics(b, deepest), strict=True)
        for i, ((ma, va), (mb, vb)) in enumerate(both, 1):
            if maps is None and shares[i] == 0:
                continue
            d = (ma - mb).square() + (torch.sqrt(va + self.floor) - torch.sqrt(vb + self.floor)).square()
            total = total + self._mean(d, i, maps if maps is not None else shares[i])
        return total

    @staticmethod
    def _mean(d: Tensor, i: int, share: Tensor | float) -> Tensor:
        """Mean over channels and places of d (b, c, h, w), weighted by level i's share: a number, or from a map."""
        if isinstance(share, Tensor):  # taken where the map is fine: averaged, the levels' shares still sum to 1
            share = F.adaptive_avg_pool2d((1 - (share - i).abs()).clamp_min(0), (d.shape[-2], d.shape[-1]))
            return (d.mean(1, keepdim=True) * share).mean((1, 2, 3))
        return d.mean((1, 2, 3)) * share
