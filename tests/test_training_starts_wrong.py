"""Hazards: the KLT start is none, a step trains nothing or not the same twice, a package cannot be trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipe import TINY, Tiny

from intaglio.nn.codec import KNOTS, STEPS, Codec, hat, rate_weight
from intaglio.nn.transforms import Shape
from intaglio.package import Package, released
from intaglio.train import klt, release, warm
from intaglio.train.data import Photographs
from intaglio.train.draws import Draws
from intaglio.train.export import integers
from intaglio.train.loop import Options, Trainer
from intaglio.train.packs import pack

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    out = tmp_path_factory.mktemp("pack") / "photos"
    index = pack(EXAMPLES, out)
    assert index["skipped"] == sum(1 for p in EXAMPLES.rglob("*") if p.is_file()) - len(index["entries"])
    return Photographs(out)


def test_unreadable_files_are_skipped_and_counted(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "notes.txt").write_text("no picture")
    np.save(tmp_path / "array.npy", np.zeros(3))
    assert pack(tmp_path, tmp_path / "out" / "p")["skipped"] == 3


def test_klt_start_reconstructs_as_the_linear_transform_does(photos):
    torch.manual_seed(0)
    codec = Codec(Shape(width=192, latents=256, prior_width=16, prior_low=8, hyper=8, hyper_groups=(8,))).eval()
    klt.start(codec, photos, count=400)
    x = photos.crops(Draws(1, 0, 4), 128)
    with torch.no_grad():
        linear = codec.synthesis(codec.analysis(x), torch.zeros(4, 1, 1, 1), torch.zeros(1))
        one = codec.analysis(x)[:, :8]
        few = codec.synthesis(torch.cat([one, torch.zeros(4, 248, 8, 8)], 1), torch.zeros(4, 1, 1, 1), torch.zeros(1))
    error, coarse = (linear - x).square().mean(), (few - x).square().mean()
    assert 10 * torch.log10(65025 / error) > 36, "a third of the components keep nearly all of a photograph"
    assert 10 * torch.log10(65025 / coarse) > 18, "the first components are the largest"


def test_steps_train_and_train_the_same_twice(photos, tmp_path):
    def run(steps):
        trainer = Trainer(Tiny(fooling=0), photos, Options(tmp_path, steps=steps))
        return [trainer.step(0.0)[1]["loss"].item() for _ in range(steps)]

    first = run(60)
    assert np.mean(first[-20:]) < 0.9 * np.mean(first[:20]), "0.74 to 0.81 with three seeds: every step has other crops"
    assert first[:20] == run(20)


def test_bfloat16_goes_the_same_way(photos, tmp_path):
    """The prior's integers, gains of hundreds of steps and the pixels stay out of it: a loss is hardly moved."""
    def run(half):
        trainer = Trainer(Tiny(fooling=0), photos, Options(tmp_path, steps=4, bfloat16=half))
        return np.array([trainer.step(0.0)[1]["loss"].item() for _ in range(4)])

    real, half = run(False), run(True)
    assert np.abs(half / real - 1).max() < 0.02, "0.002 to 0.008 with three seeds; later, every way is another"
    assert (half != real).any()


def test_gradients_reach_every_weight(photos):
    torch.manual_seed(0)
    codec = Codec(TINY)
    # zeros at the start hide what lies behind them
    for module in (codec.analysis, codec.synthesis, codec.hyper, codec.prior.hyper):
        for p in module.parameters():
            if p.abs().sum() == 0:
                torch.nn.init.normal_(p, 0, 0.05)
    x = photos.crops(Draws(0, 0, 2), 128)
    q = torch.tensor([5.0, 60.0])[:, None, None]
    noise = [torch.rand(2, *shape) for shape in codec.noise_shapes(128, 128)]
    x_hat, bits, _ = codec(x, q, torch.tensor(0.7), noise)
    ((x_hat - x).square().mean() + bits.mean()).backward()
    dead = [n for n, p in codec.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert not dead


def test_the_dial_at_zero_is_the_decoder_without_it_and_elsewhere_is_not(photos):
    torch.manual_seed(0)
    codec = Codec(TINY).eval()
    x, q = photos.crops(Draws(0, 0, 2), 128), torch.full((2, 1, 1), 30.0)
    with torch.no_grad():
        before = codec(x, q)[0]
        for name, p in codec.synthesis.named_parameters():
            if "dial_" in name:
                p.normal_(0, 0.05)
        at = [codec(x, q, torch.tensor(r))[0] for r in (0.0, 0.5, 1.0)]
    assert torch.equal(at[0], before)
    assert (at[1] - at[0]).abs().mean() > 0.5 and (at[2] - at[1]).abs().mean() > 0.5
    blend = (at[0] + at[2]) / 2
    assert (at[1] - blend).abs().mean() > 0.05, "the middle of the dial is no blend of its ends"


def test_gain_maps_train_like_uniform_steps_when_they_are_uniform(photos):
    torch.manual_seed(0)
    codec = Codec(TINY).eval()
    x = photos.crops(Draws(0, 0, 2), 128)
    q = torch.tensor([20.0, 50.0])[:, None, None]
    with torch.no_grad():
        one, bits, _ = codec(x, q)
        two, bits_map, _ = codec(x, q.expand(2, 2, 2).contiguous())
    assert torch.allclose(one, two, atol=2e-3)
    assert torch.allclose(bits, bits_map, rtol=1e-4)


def test_lambda_and_gain_knots_span_every_step():
    q = torch.arange(STEPS).float()
    assert torch.allclose(hat(q).sum(-1), torch.ones(STEPS))
    assert hat(q)[0, 0] == 1 and hat(q)[-1, KNOTS - 1] == 1
    ratios = rate_weight(q)[1:] / rate_weight(q)[:-1]
    assert torch.allclose(ratios, ratios[0].expand_as(ratios))


def test_a_package_holds_what_training_needs(tiny_model):
    package = Package.read(tiny_model.with_name("wide.itgm"))  # of as many bits as training has
    prior = Codec(warm.shape_of(package)).prior
    prior.load_state_dict(warm.prior_state(package, prior))
    held, again = package.arrays("prior"), integers(prior)
    for name in {key.rsplit(".", 1)[0] for key in held}:  # w and 2 w at a shift of one more are one number
        for kind in ("weight", "bias"):
            was, now = (np.moveaxis(a[f"{name}.{kind}"], 0, -1) * 0.5 ** a[f"{name}.shift"] for a in (held, again))
            assert np.array_equal(was, now), name
    package = Package.read(tiny_model)
    codec = warm.codec(package)
    with torch.no_grad():
        q = torch.arange(STEPS).float()[None, None]
        assert np.allclose(codec.gain(q)[0, :, 0].T.numpy(), package.tables["gains"], rtol=1e-5)
        index = codec.hyper_index(q)[0, :, 0].T.numpy()
        assert np.abs(index - package.tables["hyper_index"]).max() <= 1  # knots come back rounded


def test_warm_start_computes_what_the_package_computes(tiny_model):
    from intaglio.runtime import Runtime

    package = Package.read(tiny_model)
    codec, engine = warm.codec(package).eval(), Runtime(package, threads=1)
    x = np.random.default_rng(0).integers(0, 256, (1, 64, 128, 3), dtype=np.uint8)
    with torch.no_grad():
        y = codec.analysis(torch.from_numpy(x).permute(0, 3, 1, 2).float())
        t = torch.full((1, 1, 4, 8), 0.5)
        out = codec.synthesis(y, t, torch.zeros(1))
    assert np.allclose(engine.analysis(x), y.numpy(), atol=1e-3)
    pixels = np.floor(out[0].permute(1, 2, 0).numpy().clip(0, 255) + 0.5)
    assert np.abs(engine.synthesis(y.numpy(), t.numpy(), 0.0)[0] - pixels).max() <= 1


def test_cards_say_of_the_dial_what_the_network_has(photos):
    codec = Codec(TINY).eval()
    assert "inert" in release.package(codec, "x", photos, 1, {}).card["limits"]
    next(p for name, p in codec.synthesis.named_parameters() if "dial_" in name).data.view(-1)[0] = 0.1
    limits = release.package(codec, "x", photos, 1, {}).card["limits"]
    assert "inert" not in limits and "realism above 0 invents detail" in limits


def test_warm_start_keeps_the_dial():
    network = warm.codec(released()).synthesis
    assert any(p.abs().max() > 0 for name, p in network.named_parameters() if "dial_" in name)
