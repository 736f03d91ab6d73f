"""Hazard: a change makes the released networks dearer than they may be, unnoticed. Counted from the exported graphs."""

import copy

import pytest
import torch

from intaglio.nn.codec import Codec
from intaglio.package import released, released_names
from intaglio.recipes.intaglio1 import FULL, SMALL
from intaglio.train import export, macs


@pytest.mark.parametrize(("shape", "analysis", "synthesis"), [(SMALL, 10, 12), (FULL, 30, 40)])
@pytest.mark.slow
def test_macs_of_fresh_exports(shape, analysis, synthesis):
    torch.manual_seed(0)
    codec = Codec(shape).eval().requires_grad_(False)
    h, w, m = 24, 40, shape.latents
    pixels = {"pixels": torch.zeros(1, 16 * h, 16 * w, 3, dtype=torch.uint8)}
    graph = export.graph(export.AnalysisGraph(copy.deepcopy(codec)), pixels, {"pixels": (1, 2)}, ["latents"])
    assert macs.macs(graph, {"pixels": (1, 512, 768, 3)}) / (512 * 768) / 1000 <= analysis
    inputs = {"latents": torch.zeros(1, m, h, w), "t": torch.zeros(1, 1, h, w), "realism": torch.zeros(1, 1, 1, 1)}
    graph = export.graph(export.SynthesisGraph(codec), inputs, {"latents": (2, 3), "t": (2, 3)}, ["pixels"])
    shapes = {"latents": (1, m, 32, 48), "t": (1, 1, 32, 48), "realism": (1, 1, 1, 1)}
    assert macs.macs(graph, shapes) / (512 * 768) / 1000 <= synthesis


def test_macs_of_the_released_model():
    package = released(released_names()[0])
    graphs = {name[:-5]: data for name, data in package.members.items() if name.endswith(".onnx")}
    network = package.card["network"]
    counted = macs.per_pixel(graphs, network["latents"], network["hyper"], network["prior_width"], package.card["seen"],
                             len(package.card.get("hyper_groups", [])))
    assert counted["analysis"] <= 10 and counted["synthesis"] <= 12
    assert counted == package.card["kmac_per_pixel"], "the card says what was counted"


def test_the_counter_counts():
    """One 1x1 convolution of 192 to 192 channels at 1/8 resolution: 192 * 192 / 64 for each pixel."""

    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(192, 192, 1)

        def forward(self, pixels):
            return self.conv(torch.nn.functional.pixel_unshuffle(pixels, 8))

    graph = export.graph(One(), {"pixels": torch.zeros(1, 3, 64, 128)}, {"pixels": (2, 3)}, ["out"])
    assert macs.macs(graph, {"pixels": (1, 3, 64, 64)}) == 192 * 192 * 64
