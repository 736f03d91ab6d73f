"""Hazard: adaptive quantisation spends bits the wrong way round, breaks the scale, or cannot be left out."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import intaglio
from intaglio import adapt
from intaglio.errors import BadInput, WrongModel
from intaglio.package import Package, released
from intaglio.reader import Reader
from intaglio.tiles import Layout


def half_busy(width: int = 256, height: int = 128) -> Image.Image:
    """Noise on the left, a soft slope on the right."""
    x = np.broadcast_to(np.linspace(90, 150, width)[None, :, None], (height, width, 3)).copy()
    x[:, : width // 2] += np.random.default_rng(0).normal(0, 30, (height, width // 2, 1))
    return Image.fromarray(x.clip(0, 255).astype(np.uint8))


def with_advice(strength: float) -> Package:
    model = released()
    return replace(model, card={**model.card, "adaptive": strength})


@pytest.mark.parametrize("size", [(256, 128), (250, 120), (65, 64), (1, 1)])
def test_busy_blocks_are_told_from_quiet_ones(size: tuple[int, int]) -> None:
    busy = adapt.busyness(half_busy(*size), Layout(*size))
    assert busy.shape == (-(-size[1] // 64), -(-size[0] // 64)) and abs(float(busy.mean())) < 1e-5
    if size == (256, 128):
        assert (busy[:, :2] > 2).all() and (busy[:, 2:] < -2).all()


def test_grey_pictures_count_as_their_luma() -> None:
    image = half_busy().convert("L")
    assert np.allclose(adapt.busyness(image, Layout(256, 128)),
                       adapt.busyness(image.convert("RGB"), Layout(256, 128)), atol=1e-3)


def test_steps_grow_with_q_and_the_ends_of_the_scale_stay() -> None:
    busy = np.linspace(-9, 9, 64, dtype=np.float32).reshape(8, 8)
    for strength in (0.5, 2.0, 8.0):
        steps = np.stack([q + adapt.offsets(busy, strength, q) for q in range(64)])
        assert (np.diff(steps, axis=0) >= -2).all(), "offsets are even, so a step may fall back by their grain at most"
        assert (steps[0] == 0).all() and (steps[-1] == 63).all() and steps.min() >= 0 and steps.max() <= 63
        middle = steps[32] - 32
        assert (np.diff(middle.ravel()) <= 0).all() and middle.max() == -middle.min() > 0
        assert not (middle % 2).any()


def test_quiet_blocks_are_kept_better_and_busy_ones_pay() -> None:
    image, model = half_busy(), with_advice(2.0)
    plain = intaglio.encode(image, quality=50, tune="psnr", model=model)
    adapted = intaglio.encode(image, target_bytes=len(plain) + 20, model=model)
    with Reader(io.BytesIO(adapted)) as reader:
        assert (reader.qmap[:, 2:] > reader.qmap[:, :2].max()).all()
    source = np.asarray(image, np.float64)
    errors = [(np.asarray(intaglio.decode(data, realism=0, model=model), np.float64) - source) ** 2
              for data in (plain, adapted)]
    assert errors[1][:, 128:].mean() < errors[0][:, 128:].mean()
    assert errors[1][:, :128].mean() > errors[0][:, :128].mean()


def test_tuned_for_psnr_or_by_a_model_without_advice_no_map_is_written() -> None:
    image = half_busy()
    plain = intaglio.encode(image, tune="psnr", model=with_advice(2.0))
    assert b"BMAP" not in plain
    assert intaglio.encode(image, model=with_advice(0).grainless()) == plain
    assert b"BMAP" in intaglio.encode(image, model=with_advice(2.0).grainless())


def test_a_picture_without_busy_blocks_pays_for_no_map() -> None:
    assert b"BMAP" not in intaglio.encode(Image.new("RGB", (200, 200), (9, 9, 9)), model=with_advice(2.0))


def test_sizes_grow_with_the_quality() -> None:
    model = with_advice(2.0)
    sizes = [len(intaglio.encode(half_busy(), quality=q, model=model)) for q in range(0, 101, 10)]
    assert sizes == sorted(sizes)


def test_a_mask_comes_on_top() -> None:
    image, model = half_busy(), with_advice(2.0)
    mask = np.zeros((128, 256), np.uint8)
    mask[:, :128] = 255
    data = intaglio.encode(image, quality=50, roi=mask, model=model)
    with Reader(io.BytesIO(data)) as reader:
        assert reader.qmap[:, :2].min() > reader.qmap[:, 2:].max()
    assert len(data) <= len(intaglio.encode(image, quality=50, model=model))


def test_senseless_advice_and_tunes_are_refused() -> None:
    with pytest.raises(BadInput, match="eye, psnr"):
        intaglio.encode(half_busy(), tune="ear")
    for advice in (-1, 9, "much", True, float("nan")):
        with pytest.raises(WrongModel, match="adaptive"):
            Package.from_bytes(with_advice(advice).to_bytes(), "here")  # type: ignore[arg-type]
