"""Hazards: a metric whose weights are not at hand gives a number, or a sentence that does not help; the list calls one
metric and computes another; features are taken for those of another picture."""

import math
import os

import numpy as np
import pytest
import reference_networks as reference
import torch
from photographs import blurred, crop, noisy
from torch import nn

from intaglio.errors import BadInput
from intaglio.losses.lpips import LPIPS
from intaglio.metrics import catalogue, distribution, fidelity
from intaglio.metrics.catalogue import METRICS, available, by_name, missing
from intaglio.metrics.dists import CHANNELS, DISTS
from intaglio.metrics.inception_score import inception_score
from intaglio.nn.backbones.weights import KNOWN, MissingWeights

WEIGHTS = os.environ.get("INTAGLIO_WEIGHTS")
CLASSICAL = {"mse", "psnr", "psnr-y", "ssim", "ms-ssim", "edge-preservation", "colour-accuracy", "texture-realism"}
PUBLISHED = {"lpips-alex", "lpips-vgg", "lpips-squeeze", "dists", "fid-2048", "kid-2048", "inception-score"}
OTHERS = {"vgg-distance", "niqe", "fid-768", "kid-768"}


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No weights in the environment and an empty cache; networks of other tests are forgotten, before and after."""
    loaders = (catalogue._lpips, catalogue._dists, catalogue._niqe, catalogue._vgg, catalogue._inception)
    for loader in loaders:
        loader.cache_clear()
    for variable in ("HOME", "USERPROFILE", "INTAGLIO_WEIGHTS"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(catalogue, "_FEATURES", {})
    yield tmp_path
    for loader in loaders:
        loader.cache_clear()


@pytest.fixture(scope="module")
def photo():
    return crop()


def test_the_list_is_whole_and_says_what_each_is():
    names = [metric.name for metric in METRICS]
    assert set(names) == CLASSICAL | PUBLISHED | OTHERS and len(names) == len(set(names))
    for metric in METRICS:
        assert metric.about and all(need in KNOWN for need in metric.needs) and by_name(metric.name) is metric
        if metric.name in PUBLISHED:  # whoever has a connection can fetch all that they need
            assert metric.needs and all(KNOWN[need].url for need in metric.needs)
    with pytest.raises(BadInput, match="psnr-y"):
        by_name("fid")  # neither of the two is simply FID


def test_without_weights_there_is_a_sentence_and_no_number(nowhere, photo):
    for metric in METRICS:
        if metric.name in CLASSICAL:
            assert available(metric) is None and missing(metric) == []
            continue
        why = available(metric)
        assert why.startswith("unavailable: ") and "\n" not in why and missing(metric) == list(metric.needs)
        first = KNOWN[metric.needs[0]]
        assert first.file in why and (first.url or "INTAGLIO_WEIGHTS") in why
        assert ("--fetch-weights" in why) == bool(first.url)
        pictures = {"pair": (photo, photo), "single": (photo,), "set": ([photo[:256]] * 2, [photo[:256]] * 2)}
        large = tuple(np.tile(p, (2, 2, 1)) if isinstance(p, np.ndarray) else [np.tile(q, (2, 2, 1)) for q in p]
                      for p in pictures[metric.kind])  # fmt: skip
        with pytest.raises(MissingWeights):
            metric.compute(*large)


def test_repacked_files_do_for_published_ones(nowhere):
    dists, lpips = by_name("dists"), by_name("lpips-alex")
    (nowhere / KNOWN["dists"].file).write_bytes(b"")
    assert missing(dists) == ["vgg16-torchvision"] and len(missing(lpips)) == 2
    (nowhere / KNOWN["vgg16-torchvision"].file).write_bytes(b"")
    assert missing(dists) == [] and available(dists) is None
    (nowhere / KNOWN["alexnet-torchvision"].file).write_bytes(b"")
    assert missing(lpips) == ["lpips-alex-official"] and "lpips_v0.1_alex.pth" in available(lpips)


@pytest.mark.parametrize("name", sorted(CLASSICAL))
def test_what_needs_no_weights_gets_worse_with_the_picture(name, photo):
    metric = by_name(name)
    little, much = (metric.compute(photo, noisy(photo, amount)) for amount in (4, 20))
    same = metric.compute(photo, photo)
    assert (same > little > much) if metric.better == "higher" else (same < little < much)
    assert math.isinf(same) == name.startswith("psnr")
    with pytest.raises(ValueError, match="cannot be compared"):
        metric.compute(photo, photo[:-1])
    if metric.smallest > 1:
        small = photo[: metric.smallest - 1]
        with pytest.raises(ValueError, match=f"sides of {metric.smallest}"):
            metric.compute(small, small)
        metric.compute(photo[: metric.smallest, : metric.smallest], photo[: metric.smallest, : metric.smallest])


def test_names_belong_to_their_functions(photo):
    other = blurred(photo, 1)
    assert by_name("mse").compute(photo, other) == fidelity.mse(photo, other)
    assert by_name("psnr-y").compute(photo, other) == fidelity.psnr_y(photo, other) != fidelity.psnr(photo, other)
    assert by_name("psnr").compute(photo, other) == fidelity.psnr(photo, other)


def test_learned_distances_reach_their_networks(nowhere, monkeypatch, photo):
    a, b = photo[:40, :48], noisy(photo[:40, :48], 40)
    x, y = (torch.tensor(p).permute(2, 0, 1)[None].float() for p in (a, b))
    heads = reference.random_heads((64, 128, 256, 384, 384, 512, 512))
    lpips = {"squeeze": LPIPS("squeeze", trunk=reference.random_squeezenet(), heads=heads)}
    monkeypatch.setattr(catalogue, "_lpips", lambda net: lpips[net])
    assert by_name("lpips-squeeze").compute(a, b) == pytest.approx(float(lpips["squeeze"](y, x)), rel=1e-5)
    trained = {name: torch.rand(1, sum(CHANNELS), 1, 1) for name in ("alpha", "beta")}
    dists = DISTS(trunk=reference.random_vgg("torchvision", 13), trained=trained)
    monkeypatch.setattr(catalogue, "_dists", lambda: dists)
    assert by_name("dists").compute(a, b) == pytest.approx(float(dists(x, y)), abs=1e-6) != 0
    for name in ("lpips-alex", "lpips-vgg", "lpips-squeeze", "dists"):  # the smallest pictures that they say they take
        side = by_name(name).smallest
        heads = reference.random_heads((64, 192, 384, 256, 256) if name == "lpips-alex" else (64, 128, 256, 512, 512))
        if name == "lpips-alex":
            lpips["alex"] = LPIPS("alex", trunk=reference.random_alexnet(), heads=heads)
        elif name == "lpips-vgg":
            lpips["vgg"] = LPIPS("vgg", trunk=reference.random_vgg("torchvision", 13), heads=heads)
        assert by_name(name).compute(a[:side, :side], a[:side, :side]) == pytest.approx(0, abs=1e-6)


class Toy(nn.Module):
    """Stands for Inception: the mean colours of a patch and of its left half; it counts what it is shown."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return torch.cat([x.mean((2, 3)), x[..., :128].mean((2, 3))], 1)

    def logits(self, features, bias=True):
        return features[:, :4] / 20 + (100 if bias else 0) * torch.arange(4)


def test_sets_are_compared_by_their_patches(nowhere, monkeypatch, photo):
    toys = {True: Toy(), False: Toy()}
    monkeypatch.setattr(catalogue, "_inception", lambda full: toys[full])
    rng = np.random.default_rng(0)
    originals = [rng.integers(0, 256, (280, 600, 3), dtype=np.uint8) // (i + 1) for i in range(3)] + [photo[:100]]
    decoded = [p // 2 for p in originals]
    x, y = (
        np.concatenate([distribution.features(Toy(), distribution.patches(p)) for p in pictures[:3]])
        for pictures in (originals, decoded)
    )
    for size in ("2048", "768"):
        assert by_name(f"fid-{size}").compute(originals, decoded) == pytest.approx(distribution.frechet(x, y)) != 0
        assert by_name(f"kid-{size}").compute(originals, decoded) == pytest.approx(distribution.kid(x, y)) != 0
        assert by_name(f"fid-{size}").compute(originals, originals) == pytest.approx(0, abs=1e-6)
    assert [toy.seen for toy in toys.values()] == [len(x) + len(y)] * 2  # each picture once by each network
    expected = inception_score(y[:, :4] / 20)[0]  # of the decoded ones, without the bias
    assert by_name("inception-score").compute(originals, decoded) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="256"):
        by_name("fid-768").compute([photo[:100]], [photo[:100]])


@pytest.mark.skipif(not WEIGHTS, reason="the folder INTAGLIO_WEIGHTS with trained weights is not set")
def test_metrics_with_weights_at_hand_tell_good_from_bad(photo):
    from skimage.data import astronaut, coffee

    for name in ("vgg-distance", "niqe", "fid-768", "kid-768"):
        assert available(by_name(name)) is None
    vgg, a = by_name("vgg-distance"), photo[:96, :96]
    assert vgg.compute(a, a) == 0 < vgg.compute(a, noisy(a, 5)) < vgg.compute(a, noisy(a, 30))
    other = photo[96:192, :96]  # what was kept of the last original is not taken for another one's
    assert vgg.compute(other, other) == 0 and vgg.compute(a, a) == 0
    originals = [astronaut()[:256, :256], coffee()[:256, :256]]
    for name in ("fid-768", "kid-768"):
        metric = by_name(name)
        soft, softer = (metric.compute(originals, [blurred(p, s) for p in originals]) for s in (1, 3))
        assert metric.compute(originals, originals) < soft < softer
