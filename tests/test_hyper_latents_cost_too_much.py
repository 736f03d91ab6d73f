"""Hazard: hyper-latents, a small smooth picture, are coded as if each stood alone, or as what comes later tells."""

import dataclasses
import itertools
import types
from pathlib import Path

import numpy as np
import pytest
import tiny_recipe
import torch
from golden_pictures import landscape, photograph
from PIL import Image
from tiny_recipe import TINY

from intaglio import recipes
from intaglio.entropy import TOTAL
from intaglio.errors import BadInput, WrongModel
from intaglio.latents import TileCoder
from intaglio.nn import hyper_prior
from intaglio.nn.codec import Codec, gaussian_bits
from intaglio.nn.hyper_prior import HyperPrior, phases
from intaglio.nn.prior import Prior, context
from intaglio.nn.quantised import real_numbers
from intaglio.package import Package, released
from intaglio.recipes import intaglio1
from intaglio.runtime import Runtime
from intaglio.train import checkpoint, priors, warm
from intaglio.train.export import export
from intaglio.train.packs import pack

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def grouped() -> Package:
    return Package.read(GOLDEN / "grouped.itgm")


def stirred(codec: Codec) -> Codec:
    """With a prior of hyper-latents that says something: its last layers begin at zero."""
    with torch.no_grad():
        for name, p in codec.prior.hyper.named_parameters():
            if ".mean." in name or ".scale." in name:
                p.normal_(0, 0.02, generator=torch.Generator().manual_seed(len(name)))
    return codec.eval()


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 4), (5, 3), (8, 8)])
def test_the_phases_take_every_place_once(h: int, w: int) -> None:
    assert torch.equal(sum(p.int() for p in phases(h, w)), torch.ones(h, w, dtype=torch.int32))


def test_nothing_is_told_by_what_is_decoded_later() -> None:
    torch.manual_seed(0)
    prior = HyperPrior(6, 16, (2, 6))
    for p in prior.parameters():
        torch.nn.init.normal_(p, 0, 0.3)
    z, q, base = 5 * torch.randn(1, 6, 5, 6), torch.zeros(1, 1, 5, 6), torch.full((1, 6, 1, 1), 20.0)
    places = list(phases(5, 6))
    before = prior(z, q, base)
    seen = 0
    for first, end in ((0, 2), (2, 6)):
        for k, place in enumerate(places):
            later = z.clone()
            later[:, first:end, place] += 30
            now = prior(later, q, base)
            for old, new in zip(before[:2], now[:2], strict=True):
                assert torch.equal(old[:, :first], new[:, :first])
                for earlier in places[: k + 1]:
                    assert torch.equal(old[:, first:end, earlier], new[:, first:end, earlier])
            seen += any(not torch.equal(a, b) for a, b in zip(before[:2], now[:2], strict=True))
    assert seen == 7, "all but the last phase of the last group are heeded by later ones"


def test_smooth_hyper_latents_become_cheaper() -> None:
    """A field that its neighbours and the other channels foretell; half of its bits are noise."""
    torch.manual_seed(0)
    prior, q, base = HyperPrior(4, 32, (2, 4)), torch.zeros(8, 1, 8, 8), torch.full((1, 4, 1, 1), 24.0)
    optimiser = torch.optim.Adam(prior.parameters(), 3e-3)

    def bits() -> torch.Tensor:
        coarse = torch.nn.functional.interpolate(3 * torch.randn(8, 1, 3, 3), (8, 8), mode="bilinear")
        mean, index, z_hat = prior(coarse * torch.tensor([1.0, -1, 0.5, 2]).view(1, 4, 1, 1)
                                   + 0.3 * torch.randn(8, 4, 8, 8), q, base)
        return gaussian_bits(z_hat - mean, index).mean()

    with torch.no_grad():
        start = torch.stack([bits() for _ in range(8)]).mean()
    for _ in range(150):
        optimiser.zero_grad()
        bits().backward()
        optimiser.step()
    with torch.no_grad():
        assert torch.stack([bits() for _ in range(8)]).mean() < 0.75 * start


def test_a_model_that_had_none_is_the_same_codec_until_they_learn(tiny_model: Path) -> None:
    old = warm.codec(Package.read(tiny_model)).eval()
    new = dataclasses.replace(intaglio1.small, shape=dataclasses.replace(old.shape, hyper_groups=(3, 8)))
    network = new.network().eval()
    new.warm(network, tiny_model)
    assert network.hyper_scale.mean(0).diff().max() <= 0, "the widest channels come first"
    x = torch.from_numpy(photograph(90, 60, 192, 128).copy()).permute(2, 0, 1)[None].float()
    q = torch.full((1, 1, 1), 30.0)
    with torch.no_grad():
        for a, b in zip(old(x, q), network(x, q), strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-3)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's checkpoint, of a network that had no groups, and beside it `pack`, of a smooth picture."""
    recipe = tiny_recipe.Tiny()
    monkeypatch.setattr(priors, "named", lambda name: recipe if name == "tiny" else recipes.recipe(name))
    (tmp_path / "photographs").mkdir()
    Image.fromarray(landscape(300, 300, 5)).save(tmp_path / "photographs" / "landscape.png")
    pack(tmp_path / "photographs", tmp_path / "pack")
    torch.manual_seed(0)
    network = Codec(dataclasses.replace(TINY, hyper_groups=()))
    network.requires_grad_(False).log_gain += 2
    network.hyper.out.weight *= 20  # an untrained network has few hyper-latents that do not round to 0
    network.hyper_scale += torch.linspace(0, 0.5, 8)
    weights = network.state_dict()
    training = {"steps": 3, "pixels": 9, "stages": [{"recipe": "tiny", "steps": 3, "pixels": 9}]}
    checkpoint.save(tmp_path / "last.pt", {"recipe": "tiny", "numbers": {}, "network": weights, "ema": {**weights},
                                           "step": 3, "pixels": 9, "training": training, "before": {}})
    return tmp_path / "last.pt"


def test_priors_are_learnt_for_a_checkpoint_and_its_card_says_so(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = checkpoint.load(start)["ema"]
    clock = types.SimpleNamespace(monotonic=itertools.count().__next__)  # a second a step, however slow it is
    monkeypatch.setattr(priors, "time", clock)
    monkeypatch.setattr(priors, "RATE", 3e-3)  # in so few steps
    before, after = priors.learn_checkpoint(start, start.parent / "pack", 2, priors.HELD + 4)
    assert all(new < 0.9 * was for was, new in zip(before, after, strict=True))
    state = checkpoint.load(start)
    network = tiny_recipe.Tiny().network()
    for key in ("network", "ema"):
        assert checkpoint.fill(network, state[key], start) == []
        assert any(state[key][name].any() for name in state[key] if name.endswith("groups.0.mean.weight"))
        for name, was in old.items():
            if not name.startswith(("prior.", "hyper")):
                assert torch.equal(state[key][name], was), f"{name}: latents, and the decoder, stay"
    said = state["training"]["stages"][-1]
    assert said["recipe"] == "intaglio.train.priors" and said["steps"] == 119
    assert state["before"]["stages"] == state["training"]["stages"][-1:]


def test_little_is_lost_when_real_numbers_become_integers() -> None:
    torch.manual_seed(0)
    prior = Prior(latents=24, hyper=8, width=32, low=8, hyper_groups=(3, 8))
    for name, p in prior.named_parameters():
        if name.endswith(("mean.weight", "scale.weight")):
            torch.nn.init.normal_(p, 0, 0.1)
    assert prior.hyper is not None
    z, q, base = 8 * torch.randn(4, 8, 6, 6), torch.full((4, 1, 6, 6), 9.0), torch.full((4, 8, 1, 1), 20.0)
    y = 30 * torch.randn(4, 24, 24, 24)
    with torch.no_grad():
        integer = [*prior.hyper(z, q, base)[:2], *prior(y, z.round(), q)[:2]]
        with real_numbers():
            real = [*prior.hyper(z, q, base)[:2], *prior(y, z.round(), q)[:2]]
    for now, was in zip(integer, real, strict=True):
        assert was.std() > 0.1 and not torch.equal(now, was)
        assert (now - was).abs().mean() < 0.05 * was.std()
    with torch.no_grad():
        assert torch.equal(prior(y, z.round(), q)[0], integer[2]), "outside, nothing has changed"


def test_what_cannot_learn_is_refused(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for minutes, crops in ((0, 20), (float("nan"), 20), (1, priors.HELD)):
        with pytest.raises(BadInput, match="give a time"):
            priors.learn_checkpoint(start, start.parent / "pack", minutes, crops)
    with pytest.raises(BadInput, match="--batch 0"):
        priors.learn_checkpoint(start, start.parent / "pack", 1, 20, batch=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="no CUDA"):
        priors.learn_checkpoint(start, start.parent / "pack", 1, 20, device="cuda")
    monkeypatch.setattr(priors, "kept", lambda *_: {})
    monkeypatch.setattr(priors.dataclasses, "replace", lambda recipe: recipe)
    for network in (torch.nn.Identity(), Codec(TINY, levels=5), Codec(TINY, delta=(4.0, 4.0))):
        other = types.SimpleNamespace(name="other", network=lambda network=network: network)
        monkeypatch.setattr(priors, "named", lambda name, other=other: other)
        with pytest.raises(BadInput, match="of other, whose files"):
            priors.learn_checkpoint(start, start.parent / "pack", 1, 20)


@pytest.mark.parametrize("bits", [7, 12, 8.0, "8", None, True])
def test_activations_that_float32_cannot_hold_are_refused(grouped: Package, bits: object) -> None:
    graphs = {name.removesuffix(".onnx"): d for name, d in grouped.members.items() if name.endswith(".onnx")}
    made = Package.assemble({**grouped.card, "activations": bits}, graphs, grouped.tables, grouped.arrays("prior"))
    with pytest.raises(WrongModel, match="activations is"):
        Package.from_bytes(made.to_bytes(), "made")


def test_eight_bits_are_another_model(grouped: Package) -> None:
    graphs = {name.removesuffix(".onnx"): d for name, d in grouped.members.items() if name.endswith(".onnx")}
    made = Package.assemble({**grouped.card, "activations": 10}, graphs, grouped.tables, grouped.arrays("prior"))
    assert made.fingerprint != grouped.fingerprint


def test_the_released_groups_are_worth_their_bytes() -> None:
    package = released()
    coder = TileCoder(Runtime(package, threads=1))
    pixels = np.asarray(Image.open(EXAMPLES / "dog.webp").convert("RGB"))
    pixels = pixels[: pixels.shape[0] // 64 * 64, : pixels.shape[1] // 64 * 64]
    y, tables = coder.runtime.analysis(pixels[None]), coder.runtime.tables
    q = np.full((y.shape[2] // 4, y.shape[3] // 4), 20)

    def bits(r: np.ndarray, index: np.ndarray) -> float:
        found = 0.0
        for s in np.unique(index):
            counts, reach = tables.counts(s), tables.reach[s]
            at = np.clip(r[index == s] + reach, 0, len(counts) - 1)
            found -= np.log2(counts[at] / TOTAL).sum()
        return found

    groups = [(r, i) for first, r, i in coder.residuals(y, q) if first < 0]
    learnt = sum(bits(r, i) for r, i in groups)
    z = np.floor(coder.runtime.hyper(y * coder.gain(q), np.full((1, 1, *q.shape), 20 / 63, np.float32))[0] + 0.5)
    alone = sum(min(bits(r, np.full(r.shape, s)) for s in range(64)) for r in z.astype(int))
    assert learnt < 0.85 * alone, "alone: each channel with the table that suits it best in this picture"


def test_weights_of_eight_bits_are_read_for_ten(grouped: Package) -> None:
    """A prior of eight bits says nearly the same where its activations are finer, and its training can go on."""
    prior, runtime = Codec(warm.shape_of(grouped)).prior, Runtime(grouped, threads=1)
    prior.load_state_dict(warm.prior_state(grouped, prior))
    rng = np.random.default_rng(1)
    z16, q = rng.integers(-80, 80, (1, 8, 4, 5)), np.full((1, 1, 4, 5), 9)
    y16, done = rng.integers(-200, 200, (1, 24, 16, 20)), 64 * rng.integers(0, 2, (1, 1, 4, 5))
    z16, q, y16, done = (a.astype(np.float32) for a in (z16, q, y16, done))
    with torch.no_grad():
        fine = prior.start(torch.from_numpy(z16 / 16), torch.from_numpy(q))
        coarse = runtime.features(z16 / 16, q)
        assert coarse.std() > 2 and np.abs(fine.numpy() / 4 - coarse).mean() < 1
        assert prior.hyper is not None
        seen = hyper_prior.context(*(torch.from_numpy(a) for a in (z16, q, done)))
        for k, group in enumerate(prior.hyper.groups):
            for ours, theirs in zip(group(seen), runtime.hyper_prior(k, z16, q, done), strict=True):
                assert np.abs(ours.numpy() - theirs).mean() < 0.3 * max(1, theirs.std())
        for k, n in ((1, 8), (2, 8), (3, 24)):
            seen = context(torch.from_numpy(y16[:, :n]), n, 8)
            ours, theirs = prior.steps[k](fine, seen)[1], runtime.prior(k, coarse, y16[:, :n].copy())[1]
            assert np.abs(ours.numpy() - theirs).mean() < 0.2 * max(1, theirs.std())


@pytest.mark.parametrize("bits", [9, 10, 11])
def test_layers_of_other_bits_compute_the_same_real_numbers(grouped: Package, bits: int) -> None:
    """The same integers in a package of other bits: what enters is worth as much, so that weights are worth more."""
    prior = Codec(warm.shape_of(grouped)).prior
    made = types.SimpleNamespace(name="made", card={"activations": bits}, arrays=grouped.arrays)
    eight, other = warm.prior_state(grouped, prior), warm.prior_state(made, prior)
    finer = 2.0 ** (bits - 8)
    for name, factor in (("start.enter.weight", 1 / finer), ("start.rise.weight", 1), ("start.rise.bias", 1 / finer),
                         ("steps.1.mean.weight", finer), ("steps.1.mean.bias", 1)):
        assert eight[name].any() and torch.equal(other[name], factor * eight[name]), name


@pytest.mark.parametrize("sides", [(64, 64), (192, 128), (320, 64)])
def test_files_hold_what_training_saw(sides: tuple[int, int]) -> None:
    torch.manual_seed(1)
    codec = stirred(Codec(TINY))
    coder = TileCoder(Runtime(export(codec, {"name": "any"}), threads=1))
    x = torch.from_numpy(landscape(*sides, 4)).permute(2, 0, 1)[None].float()
    q = np.full((sides[1] // 64, sides[0] // 64), 45)
    codec.requires_grad_(False)
    with torch.no_grad():
        y = codec.analysis(x)
        step = torch.full((1, 1, 1), 45.0)
        gained = y * codec.gain(step)
        s = codec.symbols(gained, codec.hyper(gained, step[:, None] / 63), step)
    assert s.z_mean.any() and s.z_hat.any()
    groups = [(r, i) for first, r, i in coder.residuals(y.numpy(), q) if first < 0]
    written = np.concatenate([r for r, _ in groups])
    assert np.sort(written).tolist() == np.sort((s.z_hat - s.z_mean).round().int().flatten().numpy()).tolist()
    assert np.sort(np.concatenate([i for _, i in groups])).tolist() == s.z_scale.int().flatten().sort()[0].tolist()
    data = coder.encode(y.numpy(), q)
    assert np.allclose(coder.decode(data, q), (s.y_hat / codec.gain(step)).numpy(), atol=1e-4)


def test_what_is_not_kept_has_no_hyper_latents(grouped: Package) -> None:
    coder = TileCoder(Runtime(grouped, threads=1))
    y, q = coder.runtime.analysis(landscape(320, 256, 5)[None]), np.full((4, 5), 40)
    kept = np.zeros((16, 20), bool)
    kept[2:7, 9:14] = True
    coded = sum(len(r) for first, r, _ in coder.residuals(y, q, kept) if first < 0)
    assert coded == grouped.card["hyper"] * 4, "two by two blocks have a kept latent"
    back = coder.decode(coder.encode(y, q, kept), q, kept)
    assert not back[:, :, ~kept].any() and back[:, :, kept].any()


@pytest.mark.parametrize(
    "ends", [[], [8, 8], [3], [3, 9], [0, 8], [-1, 8], [8, 3], "38", [3.0, 8], None, [[3], 8], [True, 8]]
)
def test_groups_that_do_not_fit_are_refused(grouped: Package, ends: object) -> None:
    graphs = {name.removesuffix(".onnx"): d for name, d in grouped.members.items() if name.endswith(".onnx")}
    card = {**grouped.card, "hyper_groups": ends}
    made = Package.assemble(card, graphs, grouped.tables, grouped.arrays("prior"))
    with pytest.raises(WrongModel, match="hyper_groups is"):
        Package.from_bytes(made.to_bytes(), "made")


def test_other_groups_are_another_model(grouped: Package) -> None:
    graphs = {name.removesuffix(".onnx"): d for name, d in grouped.members.items() if name.endswith(".onnx")}
    made = [Package.assemble({**grouped.card, "hyper_groups": ends}, graphs, grouped.tables, grouped.arrays("prior"))
            for ends in ([3, 8], [4, 8])]
    assert made[0].fingerprint == grouped.fingerprint != made[1].fingerprint
