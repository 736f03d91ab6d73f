"""A GPU does the prior's small operations faster than they can be launched: their number is what a step takes there.

Weights must be quantised once a step, all together, and be the same as if each layer had quantised its own.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from intaglio.nn.codec import Codec
from intaglio.nn.quantised import JOINED_SHIFT, MAX_BIAS, MAX_SHIFT, IntConv, quantised_once
from intaglio.nn.transforms import Shape

VIEWS = {"view", "_unsafe_view", "permute", "transpose", "t", "expand", "slice", "select", "unsqueeze", "squeeze",
         "detach", "alias", "as_strided", "split", "split_with_sizes", "lift_fresh", "_reshape_alias"}


class Launches(TorchDispatchMode):
    """Counts the operations that a GPU would be given."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func._schema.name.removeprefix("aten::") not in VIEWS
        return func(*args, **(kwargs or {}))


def plainly(layer: IntConv) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights and biases that a layer uses, one channel after the other."""
    weights, biases = [], []
    real, offset = layer.weight.detach() * (layer.gives / layer.takes), layer.bias.detach() * layer.gives
    for w, b in zip(real, offset, strict=True):
        shift = min(JOINED_SHIFT if layer.joined else MAX_SHIFT, int(torch.floor(torch.log2(127 / w.abs().max()))),
                    int(torch.floor(torch.log2(MAX_BIAS / b.abs().clamp_min(1)))))
        factor = 2.0 ** max(shift, 0)
        weights.append((w * factor + 0.5).floor().clamp(-127, 127) / factor)
        biases.append((b * factor + 0.5).floor() / factor + 0.5)
    return torch.stack(weights), torch.stack(biases)


def test_weights_that_are_quantised_together_are_those_of_each_layer() -> None:
    torch.manual_seed(0)
    layers = torch.nn.ModuleList([
        IntConv(6, 4), IntConv(4, 4, depthwise=True), IntConv(4, 6, scale=0.01, gives=16, joined=True),
        IntConv(6, 5, takes=16, scale=30.0),
    ])  # fmt: skip
    with torch.no_grad():
        for layer in layers:
            layer.bias.normal_(0, 2)
        layers[3].bias[0] = 1e5  # so that its shift must be smaller
    a = torch.randint(0, 255, (2, 6, 4, 4)).float()

    def through() -> tuple[torch.Tensor, list[torch.Tensor]]:
        x, seen = a, []
        for layer in [*layers, *layers[:3]]:  # some of them twice, as in the phases of a group
            x = layer(x if x.shape[1] == layer.weight.shape[1] or layer.depthwise else a)
            seen.append(x)
        layers.zero_grad()
        sum(x.square().mean() for x in seen).backward()
        return torch.cat([x.flatten() for x in seen]), [p.grad.clone() for p in layers.parameters()]

    apart, gradients = through()
    with quantised_once(layers):
        for layer in layers:
            assert layer.ready is not None
            for got, want in zip(layer.ready, plainly(layer), strict=True):
                assert torch.equal(got, want)
        together, others = through()
    assert torch.equal(apart, together)
    assert all(torch.equal(x, y) for x, y in zip(gradients, others, strict=True))
    assert all(layer.ready is None for layer in layers)


def test_a_network_that_has_failed_quantises_anew() -> None:
    layer = IntConv(2, 2)
    try:
        with quantised_once(layer):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert layer.ready is None


def test_coding_takes_few_launches() -> None:
    network = Codec(Shape())
    x, q = torch.rand(1, 3, 128, 128) * 255, torch.full((1, 1, 1), 20.0)
    with Launches() as launches:
        latents, _, bits = network.code(x, q)
        forward = launches.count
        (latents.square().mean() + bits.mean()).backward()
    assert forward < 1800
    assert launches.count < 4500
