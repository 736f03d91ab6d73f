"""Hazards: a colour difference is wrong where hues wrap round or vanish; sRGB becomes a CIELAB of another white."""

import numpy as np
import pytest

from intaglio.metrics.colour import ciede2000, lab

# Sharma, Wu, Dalal 2005, table 1: L, a, b, L, a, b, difference (four decimals are printed).
PAIRS = np.array([
    (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
    (50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615),
    (50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412),
    (50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
    (50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461),
    (50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065),
    (50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492),
    (50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977),
    (50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030),
    (50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
    (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
    (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
    (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
    (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
    (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
])  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=[f"pair{i}" for i in range(1, 35)])
def test_published_pairs(pair):
    for one, other in ((pair[:3], pair[3:6]), (pair[3:6], pair[:3])):
        assert float(ciede2000(one, other)) == pytest.approx(pair[6], abs=5.1e-5)  # half of the last printed digit


def test_it_is_scikit_images():
    from skimage.color import deltaE_ciede2000

    rng = np.random.default_rng(0)
    for spread in (1, 10, 80):
        a = rng.uniform((0, -80, -80), (100, 80, 80), (20_000, 3))
        b = a + rng.normal(0, spread, a.shape)
        assert np.allclose(ciede2000(a, b), deltaE_ciede2000(a, b), atol=1e-9)


def test_shapes_equals_and_black_to_white():
    colours = np.random.default_rng(1).uniform(-50, 50, (4, 5, 3)) + [50, 0, 0]
    assert ciede2000(colours, colours).shape == (4, 5) and not ciede2000(colours, colours).any()
    assert float(ciede2000(np.zeros(3), np.array([100.0, 0, 0]))) == pytest.approx(100)
    # greys: hues of nothing at all must not count
    assert float(ciede2000(np.array([50.0, 0, 0]), np.array([50.0, 0, 1e-12]))) < 1e-9


def test_lab_is_scikit_images_and_greys_are_grey():
    from skimage.color import rgb2lab

    codes = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.abs(lab(codes) - rgb2lab(codes)).max() < 0.02  # their matrix and white are rounded otherwise
    greys = lab(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1))
    assert np.abs(greys[:, 1:]).max() < 1e-10
    assert greys[0, 0] == pytest.approx(0) and greys[255, 0] == pytest.approx(100)
    assert (np.diff(greys[:, 0]) > 0).all()
    # Published (Lindbloom, sRGB primaries under D65): red is 53.2408, 80.0925, 67.2032
    assert np.allclose(lab(np.array([255, 0, 0], np.uint8)), [53.2408, 80.0925, 67.2032], atol=5e-3)
