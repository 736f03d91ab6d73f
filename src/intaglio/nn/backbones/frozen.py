"""A network that is looked through and never trained."""

from __future__ import annotations

from torch import Tensor, nn


class Frozen(nn.Module):
    """Holds its weights as buffers outside the state dict: no optimiser, average or checkpoint ever takes them up.

    They still follow `.to(device)`. Gradients pass through to the picture. The module stays in evaluation mode when a
    parent's `.train()` is called.
    """

    def __init__(self) -> None:
        super().__init__()
        super().train(False)

    def train(self, mode: bool = True) -> Frozen:
        return self

    def keep(self, name: str, tensor: Tensor) -> None:
        """Hold a copy of the tensor, in float32, as the attribute `name`."""
        self.register_buffer(name, tensor.detach().float().clone(), persistent=False)
