"""Hazards: a score of this project's own rises where a picture gets worse, prefers one of two pictures, or computes
something else than its docstring says."""

import numpy as np
import pytest
from photographs import blurred, crop, hue_shifted, noisy, photographs
from scipy import ndimage

from intaglio.metrics import fidelity
from intaglio.metrics.compressgan import colour_accuracy, edge_preservation, texture_realism

OWN = (edge_preservation, colour_accuracy, texture_realism)


@pytest.fixture(scope="module")
def photo():
    return crop()


@pytest.mark.parametrize("read", photographs())
def test_own_scores_fall_as_pictures_get_worse(read):
    a = read()[64:256, 64:320, :3]
    assert [score(a, a) for score in OWN] == [100, 100, 100]
    for spoil, amounts in ((blurred, (0.6, 1.2, 3)), (noisy, (2, 8, 30)), (hue_shifted, (6, 20, 60, 120))):
        scores = np.array([[100] * 3] + [[score(a, b) for score in OWN] for b in (spoil(a, s) for s in amounts)])
        falls = np.diff(scores, axis=0) < 0
        falls |= scores[:-1] < 1  # of 100: there is nothing left to fall
        falls[:, 1] |= scores[1:, 1] == 100  # no pixel's change can be seen: that leaves colour accuracy as it is
        assert falls.all() and (np.diff(scores, axis=0) < 1).all(), f"{spoil.__name__}: {scores}"
        assert (scores[-1] < 95).all() and scores.min() >= 0


def test_own_scores_are_symmetric_and_take_any_size(photo):
    for h, w in ((16, 16), (17, 40), (33, 65), (70, 71)):
        a, b = photo[:h, :w], noisy(photo[:h, :w], 15)
        for score in OWN:
            assert score(a, b) == pytest.approx(score(b, a), abs=1e-9) and 0 < score(a, b) < 100 == score(a, a)
    for score in OWN:
        with pytest.raises(ValueError, match="16 pixels"):
            score(photo[:15], photo[:15])
        with pytest.raises(ValueError, match="shapes"):
            score(photo[:20], photo[:21])


def test_flat_pictures_have_scores():
    a, b = np.full((40, 40, 3), 90, np.uint8), np.full((40, 40, 3), (90, 90, 160), np.uint8)
    assert [score(a, a) for score in OWN] == [100, 100, 100]
    assert edge_preservation(a, b) > 99.99  # there are no edges, but for digits that rounding leaves
    assert colour_accuracy(a, b) == 0 and texture_realism(a, b) < 1
    half = a.copy()
    half[:20] = b[:20]
    assert colour_accuracy(a, half) == 50


def test_edge_preservation_by_scipys_derivatives(photo):
    from skimage.color import rgb2lab

    def gradient(picture):
        lab = rgb2lab(picture)
        orders = ((0, 1), (1, 0))
        return [ndimage.gaussian_filter(lab[..., c], 1, order, mode="nearest") for c in range(3) for order in orders]

    for other in (noisy(photo, 10), blurred(photo, 1.5), hue_shifted(photo, 30)):
        x, y = np.array(gradient(photo)), np.array(gradient(other))
        c = (2.3 / np.sqrt(2 * np.pi)) ** 2
        similarity = (2 * (x * y).sum(0) + c) / ((x * x).sum(0) + (y * y).sum(0) + c)
        expected = 100 * np.average(similarity, weights=np.sqrt(np.maximum((x * x).sum(0), (y * y).sum(0))))
        assert edge_preservation(photo, other) == pytest.approx(expected, abs=0.05)


def test_colour_accuracy_by_scikit_image(photo):
    from skimage.color import deltaE_ciede2000, rgb2lab

    for other in (noisy(photo, 4), blurred(photo, 1.5), hue_shifted(photo, 10)):
        expected = 100 * np.mean(deltaE_ciede2000(rgb2lab(photo), rgb2lab(other)) < 2.3)
        assert colour_accuracy(photo, other) == pytest.approx(expected, abs=0.1)


def test_texture_realism_by_its_definition(photo):
    """Window by window with NumPy's covariances and determinants."""
    from skimage.color import rgb2lab

    def window(x, y, unseen):  # (c, n) each
        d = x.mean(1) - y.mean(1)
        sx, sy = (np.cov(p, bias=True) + np.diag(np.tile(unseen, len(x) // 3)) ** 2 for p in (x, y))
        s = (sx + sy) / 2
        det = np.linalg.det
        b = np.exp(-d @ np.linalg.inv(s) @ d / 8) * (det(sx) * det(sy)) ** 0.25 / det(s) ** 0.5
        return b, np.sqrt(max(np.trace(sx), np.trace(sy)) / len(x))

    a = photo[:83, :70]  # windows that the border cuts, and three scales
    for b in (noisy(a, 9), blurred(a, 1.2), hue_shifted(a, 20)):
        x, y = rgb2lab(a), rgb2lab(b)
        above = below = 0
        for _ in range(3):
            values, contrasts = [], []
            h, w = x.shape[0] - 1, x.shape[1] - 1
            for top in range(0, h - 8, 8):
                for left in range(0, w - 8, 8):
                    parts = []
                    for p in (x, y):
                        here = p[:-1, :-1]
                        steps = np.concatenate([p[:-1, 1:] - here, p[1:, :-1] - here], -1) / np.sqrt(2)
                        at = np.s_[top : top + 16, left : left + 16]
                        parts.append((here[at].reshape(-1, 3).T, steps[at].reshape(-1, 6).T))
                    colour, _ = window(parts[0][0], parts[1][0], (1, 2.3, 2.3))
                    grain, contrast = window(parts[0][1], parts[1][1], (1, 2.3, 2.3))
                    values.append(colour * grain)
                    contrasts.append(contrast)
            above += np.dot(values, contrasts) / len(values)
            below += np.mean(contrasts)
            x, y = (p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in (x, y))
            x, y = (p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2, 3).mean((1, 3)) for p in (x, y))
        assert texture_realism(a, b) == pytest.approx(100 * above / below, abs=0.05)


def test_texture_is_judged_as_texture():
    """Another piece of the same grass is real grass though no pixel is right; a blurred or a noisy one is not, though
    each pixel is nearly right."""
    from skimage.data import grass

    a = np.repeat(grass()[..., None], 3, 2)
    here, elsewhere = a[:256, :256], a[256:512, 200:456]
    for worse in (blurred(here, 1.5), noisy(here, 12)):
        assert fidelity.mse(here, worse) < fidelity.mse(here, elsewhere) / 3
        assert edge_preservation(here, worse) > edge_preservation(here, elsewhere)
        assert texture_realism(here, worse) < 85 < texture_realism(here, elsewhere)
