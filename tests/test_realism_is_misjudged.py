"""Hazards: a distance between distributions is another than its name says; paired or overlapping patches bias it; an
interval takes patches for pictures; the network is wired, fed or pooled otherwise than the one that everybody uses."""

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.metrics.distribution import Paired, features, frechet, interval, kernel, kid, patches, resamples
from intaglio.metrics.perceptual import TAPS, VGGDistance
from intaglio.nn.backbones.inception import CHANNELS, Inception, shapes
from intaglio.nn.backbones.weights import VARIABLE, WrongWeights

PHOTO = Path(__file__).parent.parent / "examples" / "dog.webp"
needs_weights = pytest.mark.skipif(
    not os.environ.get(VARIABLE), reason=f"{VARIABLE} does not name a folder with the weights of the backbones"
)


def sets(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) / math.sqrt(d)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) @ mix + 0.3


# ---- Frechet distance


@pytest.mark.parametrize("n, m, d", [(60, 45, 12), (200, 13, 12)])
def test_frechet_is_scipys_matrix_root(n, m, d):
    from scipy.linalg import sqrtm

    x, y = sets(n, m, d)
    cx, cy = np.cov(x.T), np.cov(y.T)
    theirs = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(cx + cy) - 2 * np.real(np.trace(sqrtm(cx @ cy)))
    assert frechet(x, y) == pytest.approx(theirs, rel=1e-9)
    assert frechet(y, x) == pytest.approx(theirs, rel=1e-9)


def test_frechet_of_fewer_patches_than_features():
    """Singular covariances, where iterative roots fail: against the eigenvalues of the product of covariances."""
    x, y = sets(9, 11, 30)
    cx, cy = np.cov(x.T), np.cov(y.T)
    root = np.sqrt(np.maximum(np.linalg.eigvals(cx @ cy).real, 0)).sum()
    assert frechet(x, y) == pytest.approx(
        np.square(x.mean(0) - y.mean(0)).sum() + np.trace(cx) + np.trace(cy) - 2 * root, rel=1e-6
    )


def test_frechet_closed_forms():
    x, _ = sets(50, 2, 8)
    shift = np.arange(8.0)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, x + shift) == pytest.approx((shift**2).sum())
    assert frechet(x, 3 * x) == pytest.approx(4 * (x.mean(0) ** 2).sum() + 4 * x.var(0, ddof=1).sum())
    with pytest.raises(ValueError, match="two rows"):
        frechet(x[:1], x)


# ---- kernel distance


def naive_kid(x, y):
    def k(a, b):
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    xx = [k(a, b) for (i, a), (j, b) in itertools.product(enumerate(x), repeat=2) if i != j]
    yy = [k(a, b) for (i, a), (j, b) in itertools.product(enumerate(y), repeat=2) if i != j]
    xy = [k(a, b) for a, b in itertools.product(x, y)]
    return np.mean(xx) + np.mean(yy) - 2 * np.mean(xy)


def test_kid_is_the_double_loop():
    x, y = sets(7, 9, 5)
    assert kid(x, y) == pytest.approx(naive_kid(x, y), rel=1e-12)
    with pytest.raises(ValueError, match="two rows"):
        kid(x, y[:1])


def repeated(measure, repeats=400):
    values = np.array([measure(np.random.default_rng(i)) for i in range(repeats)])
    return values.mean(), values.std() / math.sqrt(repeats)


def test_kid_is_unbiased_for_independent_sets():
    mean, error = repeated(lambda rng: kid(rng.normal(size=(8, 4)), rng.normal(size=(8, 4))))
    assert abs(mean) < 4 * error


def coded(rng, noise):
    """Originals and decoded ones with the same distribution, paired, four patches a picture that are alike."""
    scene = rng.normal(size=(6, 1, 4))
    real = scene + 0.5 * rng.normal(size=(6, 4, 4))
    fake = scene + 0.5 * rng.normal(size=(6, 4, 4)) if noise else real
    return list(real), list(fake)


def test_pairs_and_pictures_do_not_bias():
    """Paired sets of one distribution are 0 apart; the estimate for independent sets is not 0 for them."""
    mean, error = repeated(lambda rng: Paired(*coded(rng, True)).kid())
    assert abs(mean) < 4 * error
    plain, error = repeated(lambda rng: kid(*map(np.concatenate, coded(rng, True))))
    assert plain < -4 * error
    real, fake = coded(np.random.default_rng(0), False)
    assert Paired(real, fake).kid() == pytest.approx(0, abs=1e-12)
    assert Paired(real, fake).fid() == pytest.approx(0, abs=1e-9)
    assert kid(np.concatenate(real), np.concatenate(fake)) < 0


def uneven(seed=3):
    rng = np.random.default_rng(seed)
    counts = (3, 1, 4, 2, 5)
    return [rng.normal(size=(n, 6)) for n in counts], [rng.normal(size=(n, 6)) * 1.5 + 0.4 for n in counts]


def test_paired_kid_compares_different_pictures_only():
    real, fake = uneven()
    total = pairs = 0.0
    for p, q in itertools.permutations(range(len(real)), 2):
        for a, b in itertools.product((real, fake), repeat=2):
            total += (1 if a is b else -1) * kernel(a[p], b[q]).sum()
        pairs += len(real[p]) * len(real[q])
    assert Paired(real, fake).kid() == pytest.approx(total / pairs)
    assert Paired(real, fake).kid() > 0.1


def test_paired_fid_is_the_frechet_distance_of_all_patches():
    real, fake = uneven()
    sets_of = Paired(real, fake)
    assert sets_of.fid() == pytest.approx(frechet(np.concatenate(real), np.concatenate(fake)))
    weights = np.array([2, 0, 1, 0, 2])

    def drawn(pictures):
        return np.concatenate([rows for rows, n in zip(pictures, weights, strict=True) for _ in range(n)])

    assert sets_of.fid(weights) == pytest.approx(frechet(drawn(real), drawn(fake)))
    used = [i for i in range(5) if weights[i]]
    only = Paired([real[i] for i in used], [fake[i] for i in used])
    assert sets_of.kid(weights) == pytest.approx(only.kid(weights[used]))
    assert only.kid(np.array([3, 3, 3])) == pytest.approx(only.kid())
    with pytest.raises(ValueError, match="weights"):
        sets_of.kid(np.array([5, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match="same pictures"):
        Paired(real, fake[::-1])


# ---- intervals


def test_resamples_draw_pictures_with_replacement():
    rows = resamples(20, 300)
    assert (rows.sum(1) == 20).all() and (rows >= 0).all()
    assert (rows == resamples(20, 300)).all() and (rows != resamples(20, 300, seed=1)).any()
    assert rows.var() == pytest.approx(0.95, abs=0.05)  # of a count of 20 draws at 1/20 each
    assert (np.count_nonzero(resamples(2, 50), 1) == 2).all()
    with pytest.raises(ValueError):
        resamples(1, 5)


def test_intervals_hold_the_truth():
    """A mean over 30 pictures: its interval has the width of 2 x 1.96 standard errors and mostly holds the truth."""
    weights, held, widths = resamples(30, 200), 0, []
    for seed in range(100):
        values = np.random.default_rng(seed).normal(5, 2, 30)
        low, high = interval(values.mean(), weights @ values / 30)
        held += low < 5 < high
        widths.append(high - low)
    assert 85 <= held <= 99
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 2 / math.sqrt(30), rel=0.1)
    assert interval(1.0, np.linspace(2.0, 3.0, 101)) == pytest.approx((0.525, 1.475))  # bias of resamples is taken out


# ---- patches


def test_patches_lie_where_the_protocol_says():
    picture = np.zeros((512, 768, 3), np.uint8)
    picture[:, :, 0], picture[:, :, 1] = np.arange(512)[:, None] // 4, np.arange(768) // 4
    corners = [(int(p[0, 0, 0]) * 4, int(p[0, 0, 1]) * 4) for p in patches(picture)]
    assert corners == [(0, 0), (0, 256), (0, 512), (256, 0), (256, 256), (256, 512), (128, 128), (128, 384)]
    assert (patches(picture)[7] == picture[128:384, 384:640]).all()
    assert len(patches(picture[:300, : 255 + 1])) == 1
    with pytest.raises(ValueError, match="255 x 512"):
        patches(picture[:, :255])


# ---- Inception


@pytest.fixture(scope="module")
def random_state():
    rng = np.random.default_rng(0)
    state = {}
    for name, shape in shapes().items():
        fan_in = shape[1] * shape[2] * shape[3]
        weight = rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / fan_in))
        state[f"{name}.weight"] = torch.from_numpy(weight)
        state[f"{name}.bias"] = torch.from_numpy(rng.standard_normal(shape[0], np.float32) * np.float32(0.1))
    return state


def windows(x, rows, columns, stride):
    return np.lib.stride_tricks.sliding_window_view(x, (rows, columns), (1, 2))[:, ::stride, ::stride]


def reference(state, x):
    """Table 1 of the paper and TensorFlow's graph, written out a second time in NumPy: (3, h, w) to (768, h', w')."""

    def conv(x, name, stride=1, same=True):
        w, b = state[f"{name}.weight"].numpy().astype(float), state[f"{name}.bias"].numpy()
        _, _, rows, columns = w.shape
        if same:
            x = np.pad(x, ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2))
        return np.maximum(
            np.einsum("cijkl,ockl->oij", windows(x, rows, columns, stride), w, optimize=True) + b[:, None, None], 0
        )

    def largest(x):
        return windows(x, 3, 3, 2).max((3, 4))

    def mean(x):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
        return np.nanmean(windows(padded, 3, 3, 1), (3, 4))

    def chain(x, *names):
        for name in names:
            x = conv(x, name)
        return x

    x = conv(conv(conv(x, "conv", 2, False), "conv_1", 1, False), "conv_2")
    x = largest(conv(chain(largest(x), "conv_3"), "conv_4", 1, False))
    for m in ("mixed", "mixed_1", "mixed_2"):
        x = np.concatenate([
            chain(x, f"{m}_conv"),
            chain(x, f"{m}_tower_conv", f"{m}_tower_conv_1"),
            chain(x, f"{m}_tower_1_conv", f"{m}_tower_1_conv_1", f"{m}_tower_1_conv_2"),
            chain(mean(x), f"{m}_tower_2_conv"),
        ])  # fmt: skip
    x = np.concatenate([
        conv(x, "mixed_3_conv", 2, False),
        conv(chain(x, "mixed_3_tower_conv", "mixed_3_tower_conv_1"), "mixed_3_tower_conv_2", 2, False),
        largest(x),
    ])  # fmt: skip
    for m in ("mixed_4", "mixed_5", "mixed_6", "mixed_7"):
        x = np.concatenate([
            chain(x, f"{m}_conv"),
            chain(x, f"{m}_tower_conv", f"{m}_tower_conv_1", f"{m}_tower_conv_2"),
            chain(x, *(f"{m}_tower_1_conv{i}" for i in ("", "_1", "_2", "_3", "_4"))),
            chain(mean(x), f"{m}_tower_2_conv"),
        ])  # fmt: skip
    return x


def test_inception_is_wired_as_published(random_state):
    x = torch.randn((1, 3, 83, 91), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = Inception(state=random_state).mixed_7(x)[0].numpy()
    theirs = reference(random_state, x[0].numpy().astype(float))
    assert ours.shape == theirs.shape == (CHANNELS, 3, 4)
    assert theirs.std() > 0.1
    asymmetric = {"mixed_4_tower_conv_1": (1, 7), "mixed_6_tower_conv_2": (7, 1), "mixed_5_tower_1_conv_1": (7, 1),
                  "mixed_7_tower_1_conv_2": (1, 7), "mixed_7_tower_1_conv_4": (1, 7)}  # fmt: skip
    assert {name: shapes()[name][2:] for name in asymmetric} == asymmetric
    assert len(shapes()) == 70 and shapes()["mixed_3_tower_conv_2"] == (96, 96, 3, 3)
    assert np.abs(ours - theirs).max() < 1e-4 * theirs.max()


def test_inception_is_fed_and_pooled_as_published(random_state, monkeypatch):
    network, seen = Inception(state=random_state), []

    def mixed_7(x):
        seen.append(x)
        return torch.stack([x[:, 0], x[:, 1]], 1)

    monkeypatch.setattr(network, "mixed_7", mixed_7)
    picture = np.zeros((1, 256, 256, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(256), 64
    pooled = features(network, picture)
    x = seen[0][0].numpy()
    assert x.shape == (3, 299, 299)
    at = np.clip((np.arange(299) + 0.5) * 256 / 299 - 0.5, 0, 255)  # half-pixel centres, the edge repeated
    assert np.abs(x[0, 7] - (at - 128) / 128).max() < 1e-5
    assert (x[1] == -0.5).all() and (x[2] == -1).all()
    assert pooled.shape == (1, 2)
    assert pooled[0] == pytest.approx([x[0].mean(), -0.5], abs=1e-6)


def test_inception_with_other_weights_is_refused(random_state):
    lacking = {k: v for k, v in random_state.items() if k != "mixed_5_tower_conv_1.bias"}
    with pytest.raises(WrongWeights, match="mixed_5_tower_conv_1.bias"):
        Inception(state=lacking)
    with pytest.raises(WrongWeights, match="conv_3"):
        Inception(state={**random_state, "conv_3.weight": torch.zeros(80, 64, 3, 3)})


@needs_weights
def test_worse_pictures_are_farther(tmp_path):
    """With the published weights: JPEG's qualities in their order, in every measure."""
    image = Image.open(PHOTO).convert("RGB")
    photo, network, vgg = np.asarray(image)[:512, :512], Inception(), VGGDistance()
    real = features(network, patches(photo))
    assert real.shape == (5, CHANNELS) and (real >= 0).all() and real.std() > 0.01
    looks, distances, kernels = vgg.features(photo[:160, :160]), [], []
    for quality in (90, 40, 8):
        Image.fromarray(photo).save(tmp_path / "a.jpg", quality=quality)
        other = np.asarray(Image.open(tmp_path / "a.jpg"))
        distances.append(vgg.between(looks, vgg.features(other[:160, :160])))
        found = features(network, patches(other))
        kernels.append((frechet(real, found), Paired(list(real[:, None]), list(found[:, None])).kid()))
    assert 0 < distances[0] < distances[1] < distances[2] < 2
    (f0, k0), (f1, k1), (f2, k2) = kernels
    assert 0 < f0 < f1 < f2 and k0 < k1 < k2
    assert vgg.between(looks, looks) == 0


# ---- VGG distance


class Fixed(torch.nn.Module):
    """Features that follow from the pixels by hand: two channels a tap."""

    def forward(self, x):
        return {tap: torch.cat([x[:, :1] * (i + 1), x[:, 1:2]], 1) for i, tap in enumerate(TAPS)}


def test_vgg_distance_is_its_formula():
    distance = VGGDistance(network=Fixed())
    a, b = np.zeros((2, 4, 4, 3), np.uint8)
    a[..., 0], b[..., 1] = 10, 20  # orthogonal directions everywhere: |u - v|^2 = 2, however long they are
    assert distance(a, b) == pytest.approx(2)
    assert distance(a, a) == 0
    assert distance(a, 3 * a) == pytest.approx(0, abs=1e-12)
    c = np.zeros_like(a)
    c[..., 0], c[..., 1] = 3, 4
    by_hand = []
    for factor in (1, 2, 3):
        u = np.array([3.0 * factor, 4.0])
        by_hand.append(np.square(u / np.linalg.norm(u) - [1, 0]).sum())
    assert distance(c, a) == pytest.approx(np.mean(by_hand)) == pytest.approx(distance(a, c))
    half = a.copy()
    half[:2] = b[:2]
    assert distance(a, half) == pytest.approx(1)
    assert distance(a, np.zeros_like(a)) == pytest.approx(1)  # no features at all: finite
    with pytest.raises(ValueError, match="sizes"):
        distance(a, a[:2])
