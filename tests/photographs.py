"""Photographs for tests of metrics, and ways to spoil them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

PHOTO = Path(__file__).parent.parent / "examples" / "dog.webp"


def crop():
    """320 x 240 pixels of the example photograph."""
    return np.asarray(Image.open(PHOTO).convert("RGB"))[100:340, 100:420]


def photographs():
    """Kodak's where INTAGLIO_KODAK names their folder, else scikit-image's: names and functions that read them."""
    folder = os.environ.get("INTAGLIO_KODAK")
    if folder:
        found = sorted(Path(folder).glob("*.png"))
        assert found, f"INTAGLIO_KODAK names {folder}, where there are no PNG files"
        return [
            pytest.param(lambda path=path: np.asarray(Image.open(path).convert("RGB")), id=path.stem) for path in found
        ]
    from skimage import data

    return [pytest.param(getattr(data, name), id=name) for name in ("astronaut", "coffee", "chelsea", "rocket")]


def rounded(a):
    return np.round(a).clip(0, 255).astype(np.uint8)


def blurred(a, sigma):
    return rounded(np.stack([ndimage.gaussian_filter(a[..., c].astype(float), sigma) for c in range(3)], -1))


def noisy(a, sigma):
    return rounded(a + np.random.default_rng(0).normal(0, sigma, a.shape))


def hue_shifted(a, degrees):
    from skimage.color import hsv2rgb, rgb2hsv

    hsv = rgb2hsv(a)
    hsv[..., 0] = (hsv[..., 0] + degrees / 360) % 1
    return rounded(255 * hsv2rgb(hsv))
