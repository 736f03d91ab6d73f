"""Hazard: a file larger than the size that was asked for, or much smaller than it could have been."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from golden_pictures import alpha, landscape, photograph
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import intaglio
from intaglio import codec, pictures, search
from intaglio.package import Package
from intaglio.runtime import runtime


def sizes(image: Any, tiny: Package) -> list[int]:
    """Bytes of the file at every step."""
    encoder = codec.Encoder(pictures.load(image), runtime(tiny), 0.0, True, lambda share: None)
    return [len(encoder.at(q)) for q in range(64)]


def loaded(info: bool) -> Image.Image:
    image = Image.fromarray(np.dstack([photograph(100, 100, 130, 90), alpha(130, 90)]))
    if info:
        image.info |= {"icc_profile": np.random.default_rng(0).bytes(700), "exif": bytes(50), "xmp": b"<x/>"}
    return image


@pytest.mark.parametrize("info", [False, True])
def test_the_largest_step_that_fits_is_taken(tiny: Package, info: bool) -> None:
    """The target is that of the whole file: alpha and metadata included."""
    image = loaded(info)
    every = sizes(image, tiny)
    assert every == sorted(every), "on photographs every step costs something"
    targets = {n + d for n in every[::5] for d in (-1, 0, 1)} | {every[-1] + 10**6}
    for target in sorted(t for t in targets if t >= every[0]):
        data = intaglio.encode(image, model=tiny, realism=0, target_bytes=target)
        assert len(data) == max(n for n in every if n <= target)
        assert len(data) == every[intaglio.info(data)["q"]]
    for target in (every[0] - 1, 1):
        with pytest.raises(intaglio.BadInput, match=f"at least {every[0]}$"):
            intaglio.encode(image, model=tiny, realism=0, target_bytes=target)


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_no_target_is_ever_exceeded(tiny: Package, data: st.DataObject) -> None:
    """Flat pictures, noise, single pixels: there sizes do not always grow with the step, and still."""
    width, height = data.draw(st.integers(1, 100)), data.draw(st.integers(1, 100))
    kind = data.draw(st.sampled_from(["flat", "noise", "clouds"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    pixels = {
        "flat": np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8),
        "noise": rng.integers(0, 256, (height, width, 4), np.uint8),
        "clouds": landscape(width, height, int(rng.integers(99))),
    }[kind]
    mask = data.draw(st.none() | st.just(np.array([[0, 255], [255, 0]], np.uint8)))
    target = data.draw(st.integers(1, 3000))
    try:
        result = intaglio.encode(pixels, model=tiny, target_bytes=target, roi=mask)
    except intaglio.BadInput as error:
        least = int(str(error).split()[-1])
        assert least > target
        assert len(intaglio.encode(pixels, model=tiny, target_bytes=least, roi=mask)) <= least
        return
    assert len(result) <= target
    assert intaglio.decode(result, model=tiny).size == (width, height)


def test_bits_per_pixel_are_those_of_the_whole_file(tiny: Package) -> None:
    image = loaded(True)
    every = sizes(image, tiny)
    pixels = image.width * image.height
    for bpp in (8 * every[0] / pixels + 1e-9, 8 * every[20] / pixels - 1e-9, 8 * every[50] / pixels, 24.0):
        data = intaglio.encode(image, model=tiny, target_bpp=bpp)
        assert 8 * len(data) <= bpp * pixels
        assert len(data) == max(n for n in every if 8 * n <= bpp * pixels)
        assert intaglio.info(data)["bpp"] <= round(bpp, 4)
    with pytest.raises(intaglio.BadInput, match=f"takes at least {every[0]}$"):
        intaglio.encode(image, model=tiny, target_bpp=0.01)


def test_blocks_of_their_own_steps_fill_a_target() -> None:
    """Whole steps are 7% apart; a budget is the user's, and what is left of it is quality lost."""
    picture = photograph(0, 0, 512, 384)
    filled = []
    for target in (2500, 6000, 7001, 15000):
        data = intaglio.encode(picture, target_bytes=target)
        assert len(data) <= target
        filled.append(len(data) / target)
    assert min(filled) > 0.96 and np.mean(filled) > 0.985


@given(sizes=st.lists(st.integers(1, 100), min_size=1, max_size=88), limit=st.integers(1, 120), low=st.integers(-8, 0))
def test_the_search_keeps_its_word_whatever_the_sizes(sizes: list[int], limit: int, low: int) -> None:
    """Even where they go up and down; where they only go up, its answer is the best one."""
    tried: list[int] = []

    def encode(step: int) -> bytes:
        tried.append(step)
        return bytes(sizes[step - low])

    high = low + len(sizes) - 1
    if sizes[0] > limit:
        with pytest.raises(intaglio.BadInput, match=f"at least {sizes[0]}$"):
            search.largest(encode, limit, low, high)
        return
    found = len(search.largest(encode, limit, low, high))
    assert found <= limit and len(tried) <= 9 and all(low <= step <= high for step in tried)
    if sizes == sorted(sizes):
        assert found == max(n for n in sizes if n <= limit)


@pytest.mark.parametrize("bend", [-0.3, 0.0, 0.3])
def test_the_search_needs_few_files(bend: float) -> None:
    """Each one is a picture coded anew. Halving 32 * 64 parts takes 12 of them."""
    n = search.PARTS * 64
    sizes = [round(800 * math.exp(0.06 / search.PARTS * i * (1 + bend * i / n))) for i in range(n)]
    trials = []
    for limit in np.geomspace(sizes[0], 1.1 * sizes[-1], 200).astype(int):
        count = 0

        def encode(part: int) -> bytes:
            nonlocal count
            count += 1
            return bytes(sizes[part])

        found = search.largest(encode, limit, 0, n - 1, search.PARTS)
        assert len(found) == max(size for size in sizes if size <= limit)
        trials.append(count)
    assert np.mean(trials) < search.TRIALS and max(trials) <= 13


@pytest.mark.parametrize("quality", [0, 1, 20, 50, 99, 100])
def test_a_mask_takes_no_more_bytes_than_none(tiny: Package, quality: float) -> None:
    """At the ends of the scale too, where steps cannot be moved any more."""
    picture = photograph(0, 0, 320, 256)
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3, 1:3] = 255
    plain = intaglio.encode(picture, model=tiny, quality=quality)
    kept = intaglio.encode(picture, model=tiny, quality=quality, roi=mask)
    assert 0.9 * len(plain) < len(kept) <= len(plain)


@pytest.mark.parametrize(
    "rate",
    [{"quality": -1}, {"quality": 100.1}, {"quality": float("nan")}, {"target_bpp": 0}, {"target_bpp": -1.0},
     {"target_bpp": float("nan")}, {"target_bpp": float("inf")}, {"target_bytes": 0}, {"target_bytes": -5},
     {"realism": 1.01}, {"realism": float("nan")}, {"quality": 5, "target_bytes": 500}, {"threads": 0},
     {"target_bpp": 1, "target_bytes": 500}, {"device": "abacus"}, {"roi": np.zeros((3, 3), np.uint8)}],
)
def test_senseless_rates_are_refused_in_a_sentence(tiny: Package, rate: dict[str, Any]) -> None:
    with pytest.raises(intaglio.BadInput) as caught:
        intaglio.encode(np.zeros((9, 9), np.uint8), **{"model": tiny, **rate})
    assert "\n" not in str(caught.value)


def test_quality_is_linear_in_the_step() -> None:
    steps = [codec.quality_to_q(q / 10) for q in range(1001)]
    assert steps[0] == 0 and steps[-1] == 63 and steps == sorted(steps)
    assert all(abs(step - q * 0.063) <= 0.5 for q, step in enumerate(steps))


def test_targets_beyond_every_number(tiny: Package) -> None:
    """The best file meets them; what is no number of bytes is refused."""
    image = photograph(0, 0, 40, 30)
    best = intaglio.encode(image, model=tiny, quality=100)
    assert intaglio.encode(image, model=tiny, target_bpp=1e308) == best
    for wrong in (float("nan"), float("inf"), 0):
        with pytest.raises(intaglio.BadInput, match="target_bytes"):
            intaglio.encode(image, model=tiny, target_bytes=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"target_bytes": 600}, {"roi": np.eye(2, dtype=bool), "quality": 50}])
def test_a_search_tells_of_its_progress_and_can_be_stopped_in_every_trial(tiny: Package, options: Any) -> None:
    shares: list[float] = []
    image = photograph(0, 0, 130, 90)
    intaglio.encode(image, model=tiny, progress=shares.append, **options)
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert 0.5 in shares and len(set(shares)) >= 6

    class Stop(Exception):
        pass

    def stop(share: float) -> None:
        if share > 0.6:
            raise Stop

    with pytest.raises(Stop):
        intaglio.encode(image, model=tiny, progress=stop, **options)
