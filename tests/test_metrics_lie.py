"""Hazards: a metric bears a name and computes something else; without its weights it gives a number all the same."""

import os

import numpy as np
import pytest
import reference_networks as reference
import torch
from photographs import crop, noisy, rounded
from scipy import special, stats

from intaglio.metrics import fidelity
from intaglio.metrics.dists import CHANNELS, DISTS, l2_pool
from intaglio.metrics.inception_score import inception_score
from intaglio.nn.backbones.weights import KNOWN, MissingWeights, WrongWeights

weights = pytest.mark.skipif(
    not os.environ.get("INTAGLIO_WEIGHTS"), reason="the folder INTAGLIO_WEIGHTS with trained weights is not set"
)


@pytest.fixture(scope="module")
def photo():
    return crop()


def batch(*pictures):
    return torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1).float() for p in pictures])


# Luma and rates


def test_luma_psnr_is_scikit_images_of_bt_601(photo):
    from skimage.color import rgb2ycbcr
    from skimage.metrics import peak_signal_noise_ratio

    other = noisy(photo, 8)
    # theirs is studio range, 16..235: undo it
    ours, theirs = fidelity.luma(photo), (rgb2ycbcr(photo)[..., 0] - 16) * 255 / 219
    assert np.abs(ours - theirs).max() < 1e-3  # their coefficients are rounded otherwise
    expected = peak_signal_noise_ratio(fidelity.luma(photo), fidelity.luma(other), data_range=255)
    assert fidelity.psnr_y(photo, other) == pytest.approx(expected, abs=1e-9)
    assert fidelity.psnr_y(photo, photo) == np.inf
    assert fidelity.psnr_y(photo, photo[..., ::-1]) < 40 < fidelity.psnr_y(photo, rounded(photo + 1.0))


def test_rates_of_a_file_by_hand():
    assert fidelity.bpp(12_000, 320, 300) == 1
    assert fidelity.compression_ratio(12_000, 320, 300) == 24
    assert fidelity.compression_ratio(3 * 7 * 5, 7, 5) == 1
    for bad in ((0, 8, 8), (10, 0, 8), (10, 8, -1)):
        with pytest.raises(ValueError, match="positive"):
            fidelity.bpp(*bad)


# DISTS


def random_dists(seed=0):
    g = torch.Generator().manual_seed(seed)
    return {name: torch.rand(1, sum(CHANNELS), 1, 1, generator=g) for name in ("alpha", "beta")}


def dists_by_numpy(x, y, trunk, trained):
    """Equations 3 to 6 of Ding et al. 2020, in float64."""

    def features(picture):
        out, before = [picture / 255.0], "1"
        x = reference.torchvision_input(picture)
        for (name, _), index in zip(reference.VGG, reference.VGG_INDEX, strict=True):
            if name[0] != before:
                before = name[0]
                window = np.hanning(5)[1:-1]
                window = np.outer(window, window) / np.outer(window, window).sum()
                stack = np.repeat(window[None, None], len(x), 0)
                x = np.sqrt(reference.conv(x**2, stack, stride=2, pad=(1, 1, 1, 1)) + 1e-12)
            weight, bias = (trunk[f"features.{index}.{part}"] for part in ("weight", "bias"))
            x = reference.relu(reference.conv(x, weight, bias, pad=(1, 1, 1, 1)))
            if name in ("1_2", "2_2", "3_3", "4_3", "5_3"):
                out.append(x)
        return out

    alpha, beta = (np.asarray(trained[name], float).ravel() for name in ("alpha", "beta"))
    total, score, first = alpha.sum() + beta.sum(), 0.0, 0
    for a, b in zip(features(x), features(y), strict=True):
        for j in range(len(a)):
            ma, mb = a[j].mean(), b[j].mean()
            luminance = (2 * ma * mb + 1e-6) / (ma**2 + mb**2 + 1e-6)
            cov = ((a[j] - ma) * (b[j] - mb)).mean()
            structure = (2 * cov + 1e-6) / (a[j].var() + b[j].var() + 1e-6)
            score += (alpha[first + j] * luminance + beta[first + j] * structure) / total
        first += len(a)
    return 1 - score


def test_dists_by_its_definition(photo):
    trunk, trained = reference.random_vgg("torchvision", 13), random_dists()
    metric = DISTS(trunk=trunk, trained=trained)
    a = photo[40:73, 30:80]  # odd sides: pooling rounds up
    b = noisy(a, 30)
    expected = dists_by_numpy(a.transpose(2, 0, 1), b.transpose(2, 0, 1), trunk, trained)
    values = metric(batch(a, a), batch(b, a))
    assert values[0].item() == pytest.approx(expected, abs=1e-5) and expected > 0.01
    assert abs(values[1].item()) < 1e-6
    assert metric(batch(b), batch(a)).item() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="shapes"):
        metric(batch(a), batch(a[:20]))


def test_l2_pooling_of_a_constant_and_of_a_point():
    inside = l2_pool(torch.full((1, 2, 8, 8), 3.0))[0, :, 1:, 1:]
    assert torch.allclose(inside, torch.tensor(3.0))  # it averages energies, so constants stay
    x = torch.zeros(1, 1, 6, 6)
    x[0, 0, 2, 3] = 4
    expected = torch.zeros(3, 3)
    expected[1, 1] = expected[1, 2] = 4 * (1 / 8) ** 0.5  # 2/4 of the window down, 1/4 across
    assert torch.allclose(l2_pool(x)[0, 0], expected, atol=1e-5)


def test_dists_without_its_weights_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("INTAGLIO_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with pytest.raises(MissingWeights, match="vgg16-397923af"):
        DISTS(trained=random_dists())
    trunk = reference.random_vgg("torchvision", 13)
    with pytest.raises(MissingWeights, match="dists"):
        DISTS(trunk=trunk)
    with pytest.raises(WrongWeights, match="beta"):
        DISTS(trunk=trunk, trained={"alpha": random_dists()["alpha"]})


@weights
def test_dists_trained_weights_are_the_published_ones():
    metric = DISTS(trunk=reference.random_vgg("torchvision", 13))
    assert float(metric.alpha.sum() + metric.beta.sum()) == pytest.approx(1)
    assert float(metric.alpha.min()) >= 0 and float(metric.beta.min()) >= 0
    # the paper's figure 5 has most of the weight on texture at the coarse taps; the picture itself has little
    assert 0 < float(metric.alpha[:3].sum()) < 0.2


# Inception Score


def test_inception_score_of_known_cases():
    assert inception_score(np.zeros((7, 5))) == pytest.approx((1, 0))
    sure = 60.0 * np.eye(5)[np.arange(20) % 5]
    assert inception_score(sure)[0] == pytest.approx(5)
    assert inception_score(sure[:1].repeat(9, 0))[0] == pytest.approx(1)  # always the same class
    mean, deviation = inception_score(np.concatenate([sure, sure[:1].repeat(20, 0)]), splits=2)
    assert (mean, deviation) == pytest.approx((3, 2))  # 5 and 1
    assert inception_score(sure + 1000)[0] == pytest.approx(5)  # nothing overflows
    for bad in ((np.zeros((0, 5)), 1), (np.zeros((3, 5)), 4), (np.zeros(5), 1)):
        with pytest.raises(ValueError):
            inception_score(*bad)


def test_inception_score_by_scipys_entropies():
    logits = np.random.default_rng(0).normal(0, 3, (50, 11))
    p = special.softmax(logits, 1)
    expected = np.exp(np.mean([stats.entropy(row, p.mean(0)) for row in p]))
    assert inception_score(logits) == pytest.approx((expected, 0), abs=1e-9)
    parts = [inception_score(part)[0] for part in np.array_split(logits, 4)]
    assert inception_score(logits, 4) == pytest.approx((np.mean(parts), np.std(parts)))


def test_weights_of_published_metrics_can_be_fetched():
    for name in ("dists-official", "inception-v3-fid-full"):
        assert len(KNOWN[name].sha256) == 64 and KNOWN[name].url.startswith("https://")
