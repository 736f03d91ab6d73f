"""The KLT start: transforms that begin as the optimal linear ones, which saves hours of training.

The first 1x1 of the analysis becomes the principal-component basis of 8x8x3 patches, the second that of 2x2 groups of
its output, the synthesis their transposes; residual blocks start at zero. What remains to be learned is what no linear
transform can do.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nn.codec import Codec
from .data import Photographs
from .draws import Draws


def _basis(samples: Tensor) -> Tensor:
    """Eigenvectors of the second-moment matrix of samples (n, d), as rows, largest eigenvalue first."""
    moments = samples.T.double() @ samples.double() / len(samples)
    return torch.linalg.eigh(moments)[1].flip(1).T.float()


@torch.no_grad()
def start(codec: Codec, photographs: Photographs, seed: int = 0, count: int = 2000) -> None:
    """Set the 1x1 convolutions of `codec` to the KLT of `count` crops of 64. The width must be at least 192."""
    width, latents = getattr(codec.shape, "width", 0), codec.shape.latents
    if width < 192:
        raise ValueError(f"the KLT start needs a width of at least 192 (64 pixels of 3 colours), not {width}")
    draws = [Draws(seed, i, 200, photographs.device) for i in range(count // 200)]
    batches = [photographs.crops(d, 64).cpu() / 255 - 0.5 for d in draws]
    patches = [F.pixel_unshuffle(x, 8) for x in batches]
    basis8 = _basis(torch.cat([p.movedim(1, -1).reshape(-1, 192)[::7] for p in patches]))
    groups = [F.pixel_unshuffle(torch.einsum("oc,bchw->bohw", basis8, p), 2) for p in patches]
    # pixel_unshuffle keeps the four positions of a channel together; channels beyond 192 start unused
    basis16 = _basis(torch.cat([g.movedim(1, -1).reshape(-1, 768)[::2] for g in groups]))[:latents]

    def put(weight: Tensor, values: Tensor) -> None:
        weight.normal_(0, 0.02 / weight.shape[1] ** 0.5)  # spare channels must not be dead
        weight[: values.shape[0], : values.shape[1], 0, 0] = values

    a, s = codec.analysis, codec.synthesis
    put(a.enter.weight, basis8)
    put(s.out.weight, basis8.T)
    put(a.down.weight, basis16)
    put(s.up.weight, basis16.T)
    for layer in (a.enter, a.down, s.up, s.out):
        assert layer.bias is not None
        torch.nn.init.zeros_(layer.bias)
