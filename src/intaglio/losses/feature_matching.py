"""Matching of the discriminator's own features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import BadInput


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """mean_i mean |fake_i - real_i| over the layers i and their values: lists of (batch, ...) to (batch,).

    Wang et al. 2018 (pix2pixHD), equation 4, averaged where they sum over layers and scales, so that its weight does
    not depend on the discriminator's depth. The originals' features are targets: no gradient flows into them. Raises
    BadInput for empty lists or lists of different lengths.
    """
    if not fake or len(fake) != len(real):
        raise BadInput(f"feature matching needs two equally long lists, not {len(fake)} and {len(real)} features")
    parts = [
        (a.float() - b.detach().float()).abs().reshape(a.shape[0], -1).mean(1) for a, b in zip(fake, real, strict=True)
    ]
    return torch.stack(parts).mean(0)
