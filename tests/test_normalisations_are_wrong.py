"""Hazards: a normalisation takes its statistics over the wrong axes; spectral norm bounds nothing."""

import pytest
import torch
from torch import nn

from intaglio.errors import BadInput
from intaglio.nn.normalise import KINDS, ChannelNorm, conv, norm_layer

AXES = {"batch": (0, 2, 3), "instance": (2, 3), "layer": (1, 2, 3), "channel": (1,)}


@pytest.mark.parametrize("kind", AXES)
def test_statistics_are_taken_over_the_axes_of_the_name(kind):
    torch.manual_seed(0)
    x = torch.randn(3, 5, 4, 6) * torch.rand(3, 5, 4, 6) * 9 + 2
    layer = norm_layer(kind, 5)
    scale, shift = (list(layer.parameters())[i] for i in (0, 1))
    with torch.no_grad():
        scale.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0]))
        shift.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0, 0.3]))
    mean = x.mean(AXES[kind], keepdim=True)
    variance = x.var(AXES[kind], keepdim=True, correction=1 if kind == "channel" else 0)
    eps = 1e-3 if kind == "channel" else 1e-5
    expected = (x - mean) / (variance + eps).sqrt() * scale.view(1, 5, 1, 1) + shift.view(1, 5, 1, 1)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_channel_norm_of_a_strip_is_the_strip_of_the_whole():
    x = torch.randn(1, 6, 20, 20)
    layer = ChannelNorm(6)
    assert torch.equal(layer(x)[:, :, 3:9], layer(x[:, :, 3:9]))


def test_spectral_norm_holds_the_largest_singular_value_at_one():
    torch.manual_seed(0)
    layer = conv("spectral", 7, 12, 4, stride=2, padding=1)
    with torch.no_grad():  # far from what it was made with, as after a bad step
        layer.parametrizations.weight.original.copy_(torch.randn(12, 7, 4, 4) * 30)
    for _ in range(40):
        layer(torch.randn(1, 7, 8, 8))
    values = torch.linalg.svdvals(layer.weight.detach().flatten(1))
    assert values[0] == pytest.approx(1, abs=0.02) and values[-1] < 0.8
    frozen = layer.eval().weight.clone()
    layer(torch.randn(1, 7, 8, 8))
    assert torch.equal(frozen, layer.weight)


def test_spectral_layers_start_without_losing_a_direction():
    values = torch.linalg.svdvals(conv("spectral", 5, 32, 3).weight.detach().flatten(1))
    assert values.min() == pytest.approx(1, abs=1e-3) and values.max() == pytest.approx(1, abs=1e-3)


def test_only_spectral_changes_weights_and_only_the_others_change_activations():
    for kind in KINDS:
        assert (type(conv(kind, 3, 4, 1)) is nn.Conv2d) == (kind != "spectral")
        assert isinstance(norm_layer(kind, 4), nn.Identity) == (kind in ("spectral", "none"))
    for make in (lambda: conv("weight", 3, 4, 1), lambda: norm_layer("group", 4), lambda: ChannelNorm(1)):
        with pytest.raises(BadInput):
            make()
