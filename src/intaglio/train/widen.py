"""A network goes on as a larger one: wider and deeper transforms that compute, at first, what the smaller ones did.

New channels see everything and are seen by no old one: what they begin as is chance, and the weights from them to the
old ones are 0 (Chen, Goodfellow, Shlens 2015, "Net2Net", makes copies of channels instead, which then have to grow
apart). New blocks are residual and begin at 0 by themselves. So a size that has never been trained starts where another
one stands; the weights from what is new learn first, those that lead to it from the next step on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..nn.transforms import Modulation


def _places(old: Tensor, new: Tensor, halves: bool) -> list[Tensor]:
    """Where the old channels come to lie in the new tensor: the first ones, or the first ones of each half."""
    rows = torch.arange(len(old))
    if halves:
        rows = torch.where(rows < len(old) // 2, rows, rows + (len(new) - len(old)) // 2)
    return [rows, *(torch.arange(n) for n in old.shape[1:2])]


def is_smaller(network: nn.Module, weights: dict[str, Tensor]) -> str:
    """A tensor of this network's transforms for which `weights`, of a network like it, have no or a smaller one, where
    there is such a tensor; "" else. Dials and the filter, which old packages lack, do not count where they are missing.
    """
    for name, own in network.state_dict().items():
        if name.startswith(("analysis.", "synthesis.")):
            old = weights.get(name)
            young = ".dial_" in name or ".filter." in name
            if not young if old is None else old.numel() < own.numel():
                return name
    return ""


def widened(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of a network like this one, made to fit where the transforms of this one have more channels.

    Tensors of any other shape, or without a place here, stay as they are. `network` holds its start values.
    """
    own, result = network.state_dict(), dict(weights)
    halves = {f"{name}.out" for name, module in network.named_modules() if isinstance(module, Modulation)}
    for name, old in weights.items():
        new = own.get(name)
        if new is None or not name.startswith(("analysis.", "synthesis.")) or new.dim() != old.dim():
            continue
        smaller = any(n < o for n, o in zip(new.shape, old.shape, strict=True))
        if new.shape == old.shape or new.shape[2:] != old.shape[2:] or smaller:
            continue
        places = _places(old, new, name.rpartition(".")[0] in halves)
        grown = new.clone()
        grown[places[0]] = 0  # what new channels would add to the old ones
        if old.dim() == 1:
            grown[places[0]] = old
        else:
            grown[places[0][:, None], places[1]] = old
        result[name] = grown
    return result
