"""Hazards: NIQE fits other distributions than its authors' program, halves pictures otherwise, or prefers blurred and
noisy pictures to photographs."""

import os

import numpy as np
import pytest
import torch
from photographs import blurred, crop, noisy, photographs
from PIL import Image
from scipy import ndimage, special, stats

from intaglio.metrics import niqe

weights = pytest.mark.skipif(
    not os.environ.get("INTAGLIO_WEIGHTS"), reason="the folder INTAGLIO_WEIGHTS with trained weights is not set"
)


@pytest.fixture(scope="module")
def photo():
    return crop()


def test_aggd_finds_the_distribution_that_was_drawn_from():
    rng = np.random.default_rng(0)
    for shape, left, right in ((0.6, 1, 1), (1, 0.5, 2), (2, 3, 1), (4, 1, 1.5)):
        # sides are taken with probabilities in the ratio of their scales
        size = np.abs(stats.gennorm.rvs(shape, size=400_000, random_state=rng))
        x = np.where(rng.random(size.size) < left / (left + right), -left * size, right * size)
        fitted = [v[0] for v in niqe.aggd(x[None])]
        assert fitted == pytest.approx([shape, left, right], rel=0.03)
    constant = niqe.aggd(np.zeros((1, 64)))
    assert np.isnan(constant).all()


def test_niqe_halves_as_pillow_does():
    x = np.random.default_rng(0).uniform(0, 255, (64, 96)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(x).resize((48, 32), Image.Resampling.BICUBIC))
    assert np.abs(niqe.halve(x.astype(float)) - theirs)[2:-2, 2:-2].max() < 1e-3  # borders are done otherwise
    ramp = np.add.outer(np.arange(32.0), np.arange(64.0))
    assert np.allclose(niqe.halve(ramp)[2:-2, 2:-2], ramp.reshape(16, 2, 32, 2).mean((1, 3))[2:-2, 2:-2])


def niqe_by_scipy(picture, mean, covariance, window):
    """The authors' program, loop by loop."""

    def fit(x):
        x = x.ravel()
        shapes = np.arange(0.2, 10.0005, 0.001)
        table = special.gamma(2 / shapes) ** 2 / (special.gamma(1 / shapes) * special.gamma(3 / shapes))
        left, right = np.sqrt((x[x < 0] ** 2).mean()), np.sqrt((x[x > 0] ** 2).mean())
        g = left / right
        r = np.abs(x).mean() ** 2 / (x**2).mean() * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
        shape = shapes[np.argmin((table - r) ** 2)]
        scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
        return shape, left * scale, right * scale

    def cubic(t):
        t = abs(t)
        return 1.5 * t**3 - 2.5 * t**2 + 1 if t <= 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t <= 2 else 0

    def halve(x):
        matrix = np.zeros((len(x) // 2, len(x)))
        for i in range(len(matrix)):
            for j in range(2 * i - 4, 2 * i + 6):
                at = -1 - j if j < 0 else 2 * len(x) - 1 - j if j >= len(x) else j
                matrix[i, at] += 0.5 * cubic(0.5 * (2 * i + 0.5 - j))
        return matrix @ x

    grey = np.round(picture @ np.array([0.298936021293775, 0.587043074451121, 0.114020904255103]))
    h, w = grey.shape[0] // 96, grey.shape[1] // 96
    grey, rows = grey[: h * 96, : w * 96], [[] for _ in range(h * w)]
    for side in (96, 48):
        mu = ndimage.correlate(grey, window, mode="nearest")
        sigma = np.sqrt(np.abs(ndimage.correlate(grey**2, window, mode="nearest") - mu**2))
        normal = (grey - mu) / (sigma + 1)
        for k, row in enumerate(rows):
            y, x = k // w * side, k % w * side
            block = normal[y : y + side, x : x + side]
            shape, left, right = fit(block)
            row += [shape, (left + right) / 2]
            for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
                shape, left, right = fit(block * np.roll(block, shift, (0, 1)))
                row += [shape, (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape), left, right]
        grey = halve(halve(grey).T).T
    d = np.mean(rows, 0) - mean
    return np.sqrt(d @ np.linalg.pinv((np.cov(rows, rowvar=False) + covariance) / 2) @ d)


def test_niqe_by_its_definition(photo):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(36, 36)) / 6
    t = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(t, t) / np.outer(t, t).sum()
    mean, covariance = rng.uniform(0, 2, 36), root @ root.T + np.eye(36)
    arrays = {"mu_pris_param": mean[None], "cov_pris_param": covariance, "gaussian_window": window}
    metric = niqe.NIQE(state={name: torch.from_numpy(v) for name, v in arrays.items()})
    for picture in (photo, noisy(photo, 20)):
        assert metric(picture) == pytest.approx(niqe_by_scipy(picture, mean, covariance, window), rel=1e-6)
    assert metric(photo) == metric(photo[:192, :288])  # whole blocks only
    with pytest.raises(ValueError, match="two blocks"):
        metric(photo[:191, :96])
    with pytest.raises(ValueError, match="flat"):
        metric(np.full((192, 192, 3), 7, np.uint8))
    partly = photo[:192, :288].copy()
    partly[:96, :96] = 255  # a block of sky that says nothing
    assert np.isfinite(metric(partly))


@weights
def test_niqe_rises_as_photographs_get_worse():
    """On average: of a single smooth picture a slight blur may even please it."""
    metric = niqe.NIQE()
    pictures = [case.values[0]()[:288, :384, :3] for case in photographs()]
    plain = np.mean([metric(a) for a in pictures])
    assert 2 < plain < 6
    for spoil, amounts in ((blurred, (1.5, 4)), (noisy, (15, 50))):
        means = [plain, *(np.mean([metric(spoil(a, amount)) for a in pictures]) for amount in amounts)]
        assert (np.diff(means) > 0.5).all(), f"{spoil.__name__}: {means}"
