"""Hazards: grain jumps where strips meet or a region begins, repeats itself, shows at realism 0 or where none was, or
is of another strength than the original's."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import intaglio
from intaglio import grain
from intaglio.container import pack, parse_header
from intaglio.errors import BadInput, CorruptFile, WrongModel
from intaglio.package import Package
from intaglio.reader import Reader
from intaglio.runtime import Runtime
from intaglio.tiles import Layout
from intaglio.varint import put_varint


@pytest.fixture(scope="module")
def grainy(tiny_model):
    """The tiny model, whose errors are said to be large, so that all noise is lost."""
    tiny = Package.read(tiny_model)
    return replace(tiny, card={**tiny.card, "grain": [40.0, 40.0]})


def noisy(deviation, width=1100, height=150, seed=0):
    """A slope with white noise."""
    y, x = np.mgrid[:height, :width]
    level = 60 + 120 * x / width + 20 * np.sin(y / 40) + np.random.default_rng(seed).normal(0, deviation, x.shape)
    return Image.fromarray(np.repeat(np.floor(level.clip(0, 255) + 0.5).astype(np.uint8)[:, :, None], 3, 2))


def pixels(data, model, realism, **more):
    return np.asarray(intaglio.decode(data, model=model, realism=realism, **more)).astype(int)


@pytest.mark.parametrize("deviation", [0.0, 0.5, 1.0, 2.0, 4.0, 8.0])
def test_the_measure_is_right(deviation):
    image = noisy(deviation, 400, 300)
    assert grain.measured(image, Layout(*image.size)) == pytest.approx(deviation, rel=0.15, abs=0.1)


def test_texture_and_clipped_places_are_no_noise():
    """Stripes in most of the picture, and nothing but black in the rest: the flattest squares decide, and black ones
    tell nothing."""
    stripes = np.tile(np.array([100, 140], np.uint8), (256, 128))
    clean = np.full((256, 64), 130, np.uint8)
    for picture in (np.hstack([stripes, clean]), np.zeros((256, 256), np.uint8)):
        assert grain.measured(Image.fromarray(picture), Layout(*picture.shape[::-1])) == 0
    assert grain.measured(Image.new("L", (17, 9)), Layout(17, 9)) == 0


def test_the_file_says_what_was_lost_and_no_more(tiny_model, grainy):
    said = [intaglio.info(intaglio.encode(noisy(s), model=grainy, quality=40))["grain"] for s in (0, 1, 3)]
    assert said[0] == 0 and said[1] == pytest.approx(1, abs=0.15) and said[2] == pytest.approx(3, abs=0.3)
    assert intaglio.info(intaglio.encode(noisy(3), model=tiny_model))["grain"] == 0, "its card asks for none"
    faithful = replace(grainy, card={**grainy.card, "grain": [40.0, 0.5]})
    assert intaglio.info(intaglio.encode(noisy(3), model=faithful, quality=100))["grain"] == 0.5
    assert grain.number(1000.0, (255.0, 255.0), 0.5) == grain.MOST


def test_regions_have_the_grain_of_the_whole(grainy):
    data = intaglio.encode(noisy(5), model=grainy, quality=40)  # two tiles wide
    plain, whole = pixels(data, grainy, 0), pixels(data, grainy, 1)
    assert (whole - plain).std() == pytest.approx(intaglio.info(data)["grain"], rel=0.1)
    for x, y, w, h in ((0, 0, 64, 64), (37, 21, 90, 100), (1000, 5, 100, 140), (1090, 140, 10, 10)):
        part = pixels(data, grainy, 1, region=(x, y, w, h))
        assert np.abs(part - whole[y : y + h, x : x + w]).max() <= 1


def test_the_grain_grows_with_realism_from_none(grainy):
    data = intaglio.encode(noisy(6), model=grainy, quality=40)
    bare = intaglio.encode(noisy(6), model=replace(grainy, card={**grainy.card, "grain": [1e-3, 1e-3]}), quality=40)
    assert len(data) == len(bare) + 1
    assert np.array_equal(pixels(data, grainy, 0), pixels(bare, grainy, 0))
    spread = [(pixels(data, grainy, r) - pixels(bare, grainy, r)).std() for r in (0.5, 1)]
    assert spread[0] == pytest.approx(3, rel=0.15) and spread[1] == pytest.approx(6, rel=0.15)


def test_the_seed_draws_other_grain(grainy):
    one, two = (intaglio.encode(noisy(4), model=grainy, seed=s) for s in (1, 2))
    assert np.abs(pixels(one, grainy, 1) - pixels(two, grainy, 1)).mean() > 1
    assert np.array_equal(pixels(one, grainy, 0), pixels(two, grainy, 0))


def test_a_grain_of_0_is_not_spelt_out_and_more_bytes_are_damage(grainy):
    with Reader(intaglio.encode(noisy(4), model=grainy, quality=40)) as reader:
        header = reader.header
    head = pack(header, [b""] * header.tiles)[16 : 16 + 21 + 1]
    length = 12 + len(put_varint(header.width)) + len(put_varint(header.height))
    assert parse_header(head[: length + 1], "here") == header and header.grain > 0
    assert parse_header(head[:length], "here") == replace(header, grain=0)
    for wrong in (head[:length] + b"\0", head[: length + 1] + b"\1"):
        with pytest.raises(CorruptFile, match="here"):
            parse_header(wrong, "here")
    with pytest.raises(BadInput, match="grain"):
        replace(header, grain=256)


def test_a_card_with_another_grain_is_refused(grainy):
    for wrong in ([1.0], [0.0, 1.0], [float("nan"), 1.0], 3.0, ["a", "b"], [1.0, 300.0]):
        with pytest.raises(WrongModel, match="grain"):
            Package.from_bytes(replace(grainy, card={**grainy.card, "grain": wrong}).to_bytes(), "here")


def test_models_that_take_noise_get_none_at_realism_0(tiny_model, monkeypatch):
    """Such as one whose noise joins the latents as channels: docs/format.md says zeros, whatever the seed."""
    engine, fed = Runtime(Package.read(tiny_model)), []
    monkeypatch.setattr(engine, "noisy", lambda: True)
    answer = [np.zeros((1, 64, 64, 3), np.uint8)]
    monkeypatch.setattr(engine, "_run", lambda name, feed, *out: fed.append(feed["noise"]) or answer)
    latents, t = np.zeros((1, engine.package.card["latents"], 4, 4), np.float32), np.zeros((1, 1, 4, 4), np.float32)
    for realism in (0.0, 0.01):
        engine.synthesis(latents, t, realism, (64, 32), seed=7)
    assert not fed[0].any() and np.array_equal(fed[1][0, 0], grain.noise(64, 32, 64, 64, 7))


def test_noise_is_white_normal_and_a_function_of_the_place():
    noise = grain.noise(0, 0, 640, 480)
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert abs((noise**3).mean()) < 0.03 and abs((noise**4).mean() - 2.7) < 0.1  # of four uniform bytes: 3 - 1.2 / 4
    assert np.array_equal(grain.noise(100, 50, 64, 32), noise[50:82, 100:164])
    spectrum = np.abs(np.fft.fft2(noise)) ** 2 / noise.size
    assert 8 < spectrum.max() < 20, "the largest of 150,000 exponential numbers is near 12; a pattern's would be more"
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 8), (8, 0), (16, 16)):
        shifted = np.roll(noise, (dy, dx), (0, 1))
        assert abs((noise * shifted).mean()) < 0.01
    assert grain.noise(2**20, 2**20, 3, 2).shape == (2, 3)
