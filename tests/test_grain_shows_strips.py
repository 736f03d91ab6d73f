"""Hazards: the grain of realism jumps where strips meet or a region begins, repeats itself, or shows at realism 0."""

import numpy as np
import pytest
import torch
from PIL import Image

import intaglio
from intaglio.grain import grain
from intaglio.nn.transforms import Synthesis
from intaglio.package import Package
from intaglio.runtime import Runtime
from intaglio.train.export import SynthesisGraph, graph
from intaglio.train.warm import shape_of, state


@pytest.fixture(scope="module")
def grainy(tiny_model):
    """The tiny model with a synthesis of today, whose grain is strong."""
    tiny = Package.read(tiny_model)
    shape = shape_of(tiny)

    class Codec(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.synthesis = Synthesis(shape)

    codec = Codec().eval().requires_grad_(False)
    weights = {f"synthesis.{k.removeprefix('synthesis.')}": v for k, v in state(tiny).items() if "synthesis" in k}
    assert not codec.load_state_dict(weights, strict=False).unexpected_keys
    codec.synthesis.grain.fill_(20.0)
    codec.synthesis.out.dial_bias.normal_(0, 0.02)
    m, h, w = shape.latents, 24, 40
    inputs = {"latents": torch.zeros(1, m, h, w), "t": torch.zeros(1, 1, h, w), "realism": torch.zeros(1, 1, 1, 1),
              "noise": torch.zeros(1, 1, 16 * h, 16 * w)}
    last = (2, 3)
    data = graph(SynthesisGraph(codec), inputs, {"latents": last, "t": last, "noise": last}, ["pixels"])
    graphs = {n.removesuffix(".onnx"): d for n, d in tiny.members.items() if n.endswith(".onnx")}
    return Package.assemble(dict(tiny.card), {**graphs, "synthesis": data}, tiny.tables, tiny.arrays("prior"))


def test_regions_have_the_grain_of_the_whole(grainy):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 1100, 3), dtype=np.uint8))
    data = intaglio.encode(picture, model=grainy, quality=40)  # two tiles wide
    plain, whole = (np.asarray(intaglio.decode(data, model=grainy, realism=r)).astype(int) for r in (0, 1))
    assert np.abs(whole - plain).std() > 3, "there is grain"
    for x, y, w, h in ((0, 0, 64, 64), (37, 21, 90, 100), (1000, 5, 100, 140), (1090, 140, 10, 10)):
        part = np.asarray(intaglio.decode(data, model=grainy, realism=1, region=(x, y, w, h))).astype(int)
        assert np.abs(part - whole[y : y + h, x : x + w]).max() <= 1


def test_a_synthesis_that_does_not_scale_its_noise_gets_none_at_realism_0(grainy, monkeypatch):
    """Such as one whose noise joins the latents as channels: docs/format.md says zeros, whatever the seed."""
    engine, fed = Runtime(grainy), []
    run = engine._run
    monkeypatch.setattr(engine, "_run", lambda name, feed, *out: fed.append(feed["noise"]) or run(name, feed, *out))
    latents, t = np.zeros((1, grainy.card["latents"], 4, 4), np.float32), np.zeros((1, 1, 4, 4), np.float32)
    for realism in (0.0, 0.01):
        engine.synthesis(latents, t, realism, (64, 32), seed=7)
    assert not fed[0].any() and np.array_equal(fed[1][0, 0], grain(64, 32, 64, 64, 7))


def test_the_grain_grows_with_realism(grainy):
    data = intaglio.encode(Image.new("RGB", (128, 128), (90, 120, 150)), model=grainy, quality=40)
    spread = [np.asarray(intaglio.decode(data, model=grainy, realism=r)).std((0, 1)).mean() for r in (0, 0.5, 1)]
    assert spread[1] > spread[0] + 1 and spread[2] > spread[1] + 1


def test_noise_is_white_normal_and_a_function_of_the_place():
    noise = grain(0, 0, 640, 480)
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert abs((noise**3).mean()) < 0.03 and abs((noise**4).mean() - 2.7) < 0.1  # of four uniform bytes: 3 - 1.2 / 4
    assert np.array_equal(grain(100, 50, 64, 32), noise[50:82, 100:164])
    spectrum = np.abs(np.fft.fft2(noise)) ** 2 / noise.size
    assert 8 < spectrum.max() < 20, "the largest of 150,000 exponential numbers is near 12; a pattern's would be more"
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 8), (8, 0), (16, 16)):
        shifted = np.roll(noise, (dy, dx), (0, 1))
        assert abs((noise * shifted).mean()) < 0.01
    assert grain(2**20, 2**20, 3, 2).shape == (2, 3)
