"""Hazards: a metric computes something else than its name says; a BD-rate has the wrong sign or size; a benchmark does
not count the real file."""

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from intaglio.bench import kodak
from intaglio.bench.bd import bd_rate
from intaglio.metrics.fidelity import ms_ssim, mse, psnr, ssim

PHOTO = Path(__file__).parent.parent / "examples" / "dog.webp"


@pytest.fixture(scope="module")
def photo():
    return np.asarray(Image.open(PHOTO).convert("RGB"))[100:340, 100:420]


def noisy(a, amount, seed=0):
    return (a + np.random.default_rng(seed).normal(0, amount, a.shape)).clip(0, 255).astype(np.uint8)


def test_psnr_is_the_closed_form():
    a = np.full((8, 8, 3), 100, np.uint8)
    b = a.copy()
    b[0, 0] = 110
    assert mse(a, b) == pytest.approx(100 / 64)
    assert psnr(a, b) == pytest.approx(10 * np.log10(255**2 * 64 / 100))
    assert psnr(a, a) == np.inf


def test_ssim_is_scikit_images(photo):
    from skimage.metrics import structural_similarity

    for amount in (2, 10, 40):
        other = noisy(photo, amount)
        options = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        theirs = [structural_similarity(photo[:, :, c], other[:, :, c], **options) for c in range(3)]
        assert ssim(photo, other) == pytest.approx(np.mean(theirs), abs=1e-6)


def test_ms_ssim_by_its_definition(photo):
    """The product of the terms, computed here with SciPy's correlation instead of torch's convolution."""
    from scipy.ndimage import correlate1d

    other = noisy(photo, 12)
    t = np.arange(-5, 6)
    window = np.exp(-(t**2) / 4.5) / np.exp(-(t**2) / 4.5).sum()

    def blur(p):
        return correlate1d(correlate1d(p, window, 0), window, 1)[5:-5, 5:-5]

    scores = []
    for c in range(3):
        x, y, score = photo[:, :, c].astype(float), other[:, :, c].astype(float), 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            mx, my = blur(x), blur(y)
            term = (2 * (blur(x * y) - mx * my) + 58.5225) / (blur(x * x) - mx**2 + blur(y * y) - my**2 + 58.5225)
            if scale == 4:
                term = term * (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            score *= term.mean() ** weight
            x, y = (p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2].reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2)
                    .mean((1, 3)) for p in (x, y))
        scores.append(score)
    assert ms_ssim(photo, other) == pytest.approx(np.mean(scores), abs=1e-9)
    assert ms_ssim(photo, photo) == pytest.approx(1)
    assert ms_ssim(photo, noisy(photo, 5)) > ms_ssim(photo, other) > ms_ssim(photo, noisy(photo, 40))
    assert ms_ssim(photo[:176, :176], photo[:176, :176]) == pytest.approx(1)
    with pytest.raises(ValueError, match="176"):
        ms_ssim(photo[:175], photo[:175])


def test_bd_rate_of_known_curves():
    anchor = [(0.1, 28.0), (0.2, 30.5), (0.4, 33.0), (0.8, 36.0)]
    assert bd_rate(anchor, anchor) == pytest.approx(0)
    assert bd_rate(anchor, [(0.8 * r, q) for r, q in anchor]) == pytest.approx(-20)
    assert bd_rate([(0.8 * r, q) for r, q in anchor], anchor) == pytest.approx(25)
    # half the rate below 30.5 dB, the same above: inside a window of rates only the window's part counts
    mixed = [(0.05, 28.0), (0.2, 30.5), (0.4, 33.0), (0.8, 36.0)]
    assert bd_rate(anchor, mixed, (0.41, 0.79)) == pytest.approx(0, abs=0.5)
    assert bd_rate(anchor, mixed, (0.1, 0.2)) < -20
    for bad in ([(0.1, 40.0), (0.2, 41.0)], [(0.1, 28.0)], [(0.1, 30.0), (0.2, 29.0)]):
        with pytest.raises(ValueError):
            bd_rate(anchor, bad)


def test_bd_rate_of_a_numpy_before_2(monkeypatch):
    """pyproject.toml allows 1.26, which has no np.trapezoid."""
    monkeypatch.delattr(np, "trapezoid", raising=False)
    anchor = [(0.1, 28.0), (0.2, 30.5), (0.4, 33.0)]
    assert bd_rate(anchor, [(0.8 * r, q) for r, q in anchor]) == pytest.approx(-20)


def test_bd_rate_interpolates_like_scipy():
    from scipy.interpolate import PchipInterpolator

    from intaglio.bench.bd import _pchip

    rng = np.random.default_rng(1)
    for n in (3, 4, 7):
        x, y = np.cumsum(rng.uniform(0.2, 3, n)), np.cumsum(rng.uniform(0.1, 2, n))
        at = np.linspace(x[0], x[-1], 200)
        assert np.allclose(_pchip(x, y, at), PchipInterpolator(x, y)(at), atol=1e-9)


def test_benchmark_measures_the_real_file(tiny_model):
    bpp, quality, _ = kodak.measure(PHOTO, "jpeg", 20, None, 0.0, "eye")
    image, sink = Image.open(PHOTO).convert("RGB"), io.BytesIO()
    image.save(sink, "JPEG", quality=20, optimize=True, subsampling="4:2:0")
    assert bpp == 8 * len(sink.getvalue()) / (576 * 576)
    assert quality == psnr(np.asarray(image), np.asarray(Image.open(sink)))
    assert kodak.measure(PHOTO, "intaglio", 20, str(tiny_model), 0.0, "eye")[0] < 1


@pytest.mark.parametrize(("words", "says"), [
    (["nowhere"], "no pictures there"), (["small"], "small.png: is 200 x 100"), (["broken"], "broken.png"),
    (["photos", "--codecs", "jpeg,jxl"], "'jxl'; there are jpeg, webp, avif"), (["photos", "--realism", "2"], "0 to 1"),
    (["photos", "--jobs", "0"], "--jobs 0"), (["photos", "--model", "none.itgm"], "none.itgm"),
    (["photos", "--json", "none/out.json"], "no such folder"),
])
def test_what_cannot_be_benchmarked_is_a_sentence_before_the_work(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    for name in ("small", "broken", "photos"):
        Path(name).mkdir()
    Image.new("RGB", (200, 100)).save("small/small.png")
    Image.new("RGB", (176, 176)).save("photos/fine.png")
    Path("broken/broken.png").write_bytes(b"no picture")
    monkeypatch.setattr(kodak, "curve", lambda *given: pytest.fail("work began"))
    monkeypatch.setattr(sys, "argv", ["kodak", *words])
    with pytest.raises(SystemExit) as left:
        kodak.main()
    assert str(left.value.code).startswith("error: ") and says in left.value.code and "\n" not in left.value.code


def test_a_bd_rate_that_there_is_not_does_not_cost_the_others():
    rows = [{"bpp": 0.1 * 2**i, "psnr": 28.0 + 2 * i, "ms_ssim": 0.9 + 0.02 * i} for i in range(4)]
    better = [{**r, "psnr": r["psnr"] + 50} for r in rows]
    found = kodak.deltas({"intaglio": rows, "webp": rows, "jpeg": better})
    assert list(found) == ["webp", "jpeg"] and found["webp"]["psnr"] == pytest.approx(0)
    assert "in common" in found["jpeg"]["psnr"] and found["jpeg"]["ms_ssim"] == pytest.approx(0)


@pytest.mark.slow
def test_benchmarks_run_as_their_text_says(tmp_path, tiny_model):
    Image.open(PHOTO).convert("RGB").crop((0, 0, 200, 176)).save(tmp_path / "one.png")
    speed = [sys.executable, "-m", "intaglio.bench.speed", str(PHOTO), "--sizes", "96x64", "--repeat", "1"]
    out = subprocess.run([*speed, "--model", str(tiny_model)], capture_output=True, text=True, check=True).stdout
    assert len(out.splitlines()) == 9 and "synthesis" in out
    command = [sys.executable, "-m", "intaglio.bench.kodak", str(tmp_path), "--codecs", "jpeg", "--jobs", "1"]
    command += ["--model", str(tiny_model), "--json", str(tmp_path / "out.json")]
    subprocess.run(command, check=True)
    assert json.loads((tmp_path / "out.json").read_text())["bd_rate"]["jpeg"]["psnr"] > -99


def test_pictures_coded_exactly_are_no_points_of_a_curve():
    rows = [{"bpp": b, "psnr": 30 + 20 * b, "ms_ssim": 0.9 + 0.1 * b} for b in (0.1, 0.3, 0.5, 0.8)]
    exact = {"bpp": 1.0, "psnr": math.inf, "ms_ssim": 1.0}
    found = kodak.deltas({"intaglio": [*rows, exact], "webp": [*rows, exact]})
    assert found["webp"] == pytest.approx({"psnr": 0, "ms_ssim": 0}, abs=1e-6)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_that_aims_at_the_squared_error_has_more_of_it():
    """The default aims at what people see, so that the two are different codecs in a comparison of PSNR."""
    of = {name: kodak.curve(name, [PHOTO], None, 0.0, "eye", Inline()) for name in ("avif", "avif-psnr")}
    assert bd_rate(*([(r["bpp"], r["psnr"]) for r in of[name]] for name in ("avif", "avif-psnr"))) < -2


class Inline:
    """An executor of this process alone."""

    map = staticmethod(map)
