"""Multi-scale structural similarity as a loss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BadInput

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003, section 3.2; finest first
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
KNEE = 0.05


def scales(side: int) -> int:
    """How many scales a picture with this shorter side has room for: 1..5; five from 176 pixels. 0: below 11."""
    return sum(side >> i >= WINDOW for i in range(len(WEIGHTS)))


def _power(term: Tensor, weight: float) -> Tensor:
    """term^weight for terms of at least KNEE; below it, down to -1, a hyperbola that goes on from there smoothly.

    A fractional power has no finite slope at 0 and no value below it, and clipping there would leave the other scales
    without a gradient as well: they are multiplied.
    """
    tail = KNEE**weight / (1 + (1 - term.clamp_max(KNEE) / KNEE) * weight)
    return torch.where(term > KNEE, term.clamp_min(KNEE) ** weight, tail)


class MSSSIM(nn.Module):
    """1 - MS-SSIM for each picture: (batch, 3, h, w) in 0..255 to (batch,) in 0..1; 0 for equal pictures.

    Wang, Simoncelli, Bovik 2003, equation 7, mean over R, G and B: 1 - `metrics.fidelity.ms_ssim`, except where a
    plane's mean term falls below 0.05 (pictures that have nothing in common), which that metric clips only at 0.

    From a shorter side of 176 pixels there are five scales. Smaller pictures have fewer, `scales(side)`, with the
    weights of those divided by their sum; such values are of use for training, and not comparable with the metric.
    Raises BadInput for sides below 11. Computed outside autocast, on CUDA in float64: variances are small differences
    of large numbers, which bfloat16 and TF32 would lose.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        t = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
        window = torch.exp(-(t**2) / (2 * SIGMA**2))
        self.register_buffer("window", window / window.sum(), persistent=False)

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        n = scales(min(x.shape[-2:]))
        if n == 0:
            raise BadInput(f"MS-SSIM needs sides of at least {WINDOW} pixels, not {x.shape[-1]} x {x.shape[-2]}")
        weights = [w / math.fsum(WEIGHTS[:n]) if n < len(WEIGHTS) else w for w in WEIGHTS[:n]]
        with torch.autocast(x.device.type, enabled=False):
            dtype = torch.float64 if x.is_cuda else torch.float32
            a, b, window = x_hat.to(dtype), x.to(dtype), self.window.to(x.device, dtype)
            score = torch.ones((), dtype=dtype, device=x.device)
            for i, weight in enumerate(weights):
                structure, whole = self._terms(a, b, window, last=i == n - 1)
                score = score * _power((whole if i == n - 1 else structure).mean((2, 3)), weight)
                if i < n - 1:
                    a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
            return 1 - score.mean(1).float()

    @staticmethod
    def _terms(a: Tensor, b: Tensor, window: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """The maps of structure (contrast and structure) and, at the last scale, of the whole SSIM."""
        c = a.shape[1]
        maps = torch.cat([a, b, a * a + b * b, a * b], 1)  # SSIM needs the two variances only as a sum
        column, row = (window.view(1, 1, *s).expand(4 * c, 1, *s) for s in ((WINDOW, 1), (1, WINDOW)))
        maps = F.conv2d(F.conv2d(maps, column, groups=4 * c), row, groups=4 * c)
        ma, mb, squares, product = maps.split(c, 1)
        means, mean_product = ma * ma + mb * mb, ma * mb
        structure = (2 * (product - mean_product) + C2) / (squares - means + C2)
        return structure, structure * (2 * mean_product + C1) / (means + C1) if last else structure
