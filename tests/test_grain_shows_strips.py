"""Hazards: grain jumps where strips, blocks or a region meet, repeats itself, shows at realism 0 or where none was, is
of another strength than the original's, or is lost from older files."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import intaglio
from intaglio import grain
from intaglio.container import Header, pack, parse_header
from intaglio.errors import BadInput, CorruptFile, WrongModel
from intaglio.package import Package
from intaglio.reader import Reader
from intaglio.runtime import Runtime
from intaglio.tiles import Box, Layout
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
    found = grain.measured(image, Layout(*image.size))
    assert found.shape == (5, 7)
    rounding = 0.29 if deviation else 0.38
    assert np.median(found) == pytest.approx(np.hypot(deviation, rounding), rel=0.1)
    assert found.max() <= 1.25 * np.median(found)


def test_texture_and_clipped_places_are_no_noise():
    """Texture of any strength counts as TEXTURE at most; black tells nothing, nor do pictures of a few pixels."""
    stripes = np.tile(np.array([100, 140], np.uint8), (256, 64))
    clean = np.full((256, 128), 130, np.uint8)
    stepped = np.kron(np.random.default_rng(0).choice([90, 140], (256, 64)), np.ones((1, 2))).astype(np.uint8)
    for picture in (np.hstack([stripes, clean]), np.zeros((256, 256), np.uint8)):
        assert not grain.measured(Image.fromarray(picture), Layout(*picture.shape[::-1])).any()
    found = grain.measured(Image.fromarray(np.hstack([stepped, clean])), Layout(256, 256))
    assert (found[:, :2] == np.float32(grain.TEXTURE)).all() and not found[:, 2:].any()
    assert grain.measured(Image.new("L", (17, 9)), Layout(17, 9)).tolist() == [[0]]
    assert grain.measured(Image.new("L", (3, 2)), Layout(3, 2)).tolist() == [[0]]


@pytest.mark.parametrize("more", [(9, 8), (1, 7), (12, 5)])
def test_blocks_cut_by_the_edge_are_measured_on_what_is_there(more):
    """Or have their neighbour's, where that is less than a square."""
    image = noisy(1.2, 64 + more[0], 64 + more[1])
    found = grain.measured(image, Layout(*image.size))
    assert found.shape == (2, 2) and found == pytest.approx(np.full((2, 2), 1.2), rel=0.3)


def test_the_file_says_what_was_lost_and_no_more(tiny_model, grainy):
    said = [intaglio.info(intaglio.encode(noisy(s), model=grainy, quality=40))["grain"] for s in (0, 1, 3)]
    assert said[0] == 0 and said[1] == pytest.approx(0.65, rel=0.2) and said[2] == pytest.approx(1.95, rel=0.2)
    assert intaglio.info(intaglio.encode(noisy(3), model=tiny_model))["grain"] == 0, "its card asks for none"
    assert intaglio.info(intaglio.encode(noisy(3), model=grainy, tune="psnr"))["grain"] == 0, "only the error counts"
    faithful = replace(grainy, card={**grainy.card, "grain": [40.0, 0.6]})
    assert intaglio.info(intaglio.encode(noisy(3), model=faithful, quality=100))["grain"] == 0.6


def test_levels_are_the_nearest_to_what_is_lost():
    deviation = np.array([0, 0.2, 0.34, 0.6, 1, 4, 1e6], np.float32)
    found = grain.levels(deviation, (255.0, 255.0), np.full(7, 20), 63)
    assert found.tolist() == [0, 0, 0, 2, 3, 7, 15]
    assert grain.deviations(found) == pytest.approx([0, 0, 0, 0.3 * 2**0.5, 0.6, 2.4, 0.3 * 2**7])
    assert grain.levels(deviation, (9.0, 0.6), np.full(7, 63), 63).tolist() == [0, 0, 0, 2, 3, 3, 3]


def test_blocks_have_grain_of_their_own(grainy):
    """The left half is clean; between the middles of its last block and the next one the grain sets in."""
    pixels_of = np.asarray(noisy(1.5, 512, 256)).copy()
    pixels_of[:, :256] = 128
    data = intaglio.encode(Image.fromarray(pixels_of), model=grainy, quality=40)
    with Reader(data) as reader:
        assert not reader.grain[:, :4].any() and (reader.grain[:, 4:] >= 4).all()
    added = pixels(data, grainy, 1) - pixels(data, grainy, 0)
    assert not added[:, :224].any() and added[:, 300:].std() > 0.7 > added[:, 230:250].std() > 0


def test_the_grain_between_two_blocks_is_between_theirs():
    two = np.array([[1.0, 3.0]])
    across = grain.between(two, Box(0, 0, 128, 3))
    assert np.array_equal(across[0], across[2]) and (across[0, :32] == 1).all() and (across[0, 96:] == 3).all()
    assert np.allclose(np.diff(across[0, 32:96]), 2 / 64) and across[0, 63:65].mean() == pytest.approx(2)
    assert np.array_equal(grain.between(two, Box(50, 0, 70, 3)), across[:, 50:70])


def test_regions_have_the_grain_of_the_whole(grainy):
    """Two tiles wide, with more noise in the second one."""
    both = np.asarray(noisy(0.6)).copy()
    both[:, 1024:] = np.asarray(noisy(1.7))[:, 1024:]
    data = intaglio.encode(Image.fromarray(both), model=grainy, quality=40, seed=2)
    plain, whole = pixels(data, grainy, 0), pixels(data, grainy, 1)
    for x, y, w, h in ((0, 0, 64, 64), (37, 21, 90, 100), (1000, 5, 100, 140), (1090, 140, 10, 10)):
        part = pixels(data, grainy, 1, region=(x, y, w, h))
        assert np.abs(part - whole[y : y + h, x : x + w]).max() <= 1
    left, right = ((whole - plain)[:, a:b].std() for a, b in ((0, 900), (1060, 1100)))
    assert left == pytest.approx(0.4, rel=0.25) and right == pytest.approx(1.1, rel=0.25)


def test_the_grain_grows_with_realism_from_none(grainy):
    data = intaglio.encode(noisy(6), model=grainy, quality=40)
    bare = intaglio.encode(noisy(6), model=grainy.grainless(), quality=40)
    assert len(bare) + 12 < len(data) <= len(bare) + 12 + 1 + 3 * 18 // 8 + 8, "a chunk, and few bits a block"
    assert np.array_equal(pixels(data, grainy, 0), pixels(bare, grainy, 0))
    spread = [(pixels(data, grainy, r) - pixels(bare, grainy, r)).std() for r in (0.5, 1)]
    assert spread[0] == pytest.approx(1.95, rel=0.2) and spread[1] == pytest.approx(2 * spread[0], rel=0.05)


def test_the_seed_draws_other_grain(grainy):
    one, two = (intaglio.encode(noisy(4), model=grainy, seed=s) for s in (1, 2))
    assert np.abs(pixels(one, grainy, 1) - pixels(two, grainy, 1)).mean() > 1
    assert np.array_equal(pixels(one, grainy, 0), pixels(two, grainy, 0))


def test_viewers_have_their_own_grain_or_none(grainy):
    """Soft, even, the same in every region and at every realism, and in place of the file's, not besides."""
    data = intaglio.encode(noisy(4), model=grainy, quality=40, seed=3)
    bare = pixels(intaglio.encode(noisy(4), model=grainy.grainless(), quality=40), grainy, 1)
    assert np.array_equal(pixels(data, grainy, 1, grain=0), bare) and pixels(data, grainy, 1).tolist() != bare.tolist()
    whole = pixels(data, grainy, 1, grain=3)
    added = (whole - bare)[:, :, 0]
    assert added.std() == pytest.approx(3, rel=0.03) and abs(added.mean()) < 0.1
    for axis, apart, alike in ((0, 1, 2 / 3), (1, 1, 2 / 3), (0, 2, 1 / 6), (1, 2, 1 / 6), (0, 3, 0), (1, 3, 0)):
        assert np.corrcoef(added.ravel(), np.roll(added, apart, axis).ravel())[0, 1] == pytest.approx(alike, abs=0.04)
    still = pixels(data, grainy, 0, grain=3) - pixels(data, grainy, 0)
    assert np.array_equal(still[:, :, 0], added), "the realism has no say in it"
    for x, y, w, h in ((0, 0, 64, 64), (37, 21, 90, 100), (1000, 5, 100, 140), (1090, 140, 10, 10)):
        part = pixels(data, grainy, 1, grain=3, region=(x, y, w, h))
        assert np.abs(part - whole[y : y + h, x : x + w]).max() <= 1
    other = intaglio.encode(noisy(4), model=grainy, quality=40, seed=4)
    assert np.abs(pixels(other, grainy, 1, grain=3) - whole).mean() > 1
    for wrong in (-1, 20.5, float("nan")):
        with pytest.raises(BadInput, match="from 0 .none. to 20"):
            intaglio.decode(data, model=grainy, grain=wrong)


def test_files_with_even_white_grain_still_have_it(grainy):
    """As they were before there was a map: a byte at the end of HEAD, sixteenths of a grey level."""
    bare = intaglio.encode(noisy(0), model=grainy.grainless(), quality=40)
    with Reader(bare) as reader:
        header, tiles = reader.header, [reader.tile(i) for i in range(reader.header.tiles)]
        data = pack(replace(header, grain=48), tiles, qmap=reader.qmap, seed=7)
    assert intaglio.info(data)["grain"] == 3
    added = (pixels(data, grainy, 1) - pixels(bare, grainy, 1))[:, :, 0]
    assert added.std() == pytest.approx(3, rel=0.05) and abs((added * np.roll(added, 1, 1)).mean()) < 0.3
    part = pixels(data, grainy, 1, region=(1030, 40, 60, 90))
    assert np.abs(part - pixels(data, grainy, 1)[40:130, 1030:1090]).max() <= 1
    assert np.corrcoef(added.ravel(), grain.noise(0, 0, 1100, 150, 7).ravel())[0, 1] > 0.95, "of its own seed"


def test_the_step_of_a_block_says_how_much_of_it_is_lost(grainy):
    """Of noise of 6 levels, all where the step is the lowest, and 0.6 where it is the highest."""
    ends = replace(grainy, card={**grainy.card, "grain": [40.0, 0.6]})
    mask = Image.fromarray(np.repeat(np.repeat(np.uint8([[0, 255]]), 128, 0), 128, 1))
    with Reader(intaglio.encode(noisy(6, 256, 128), model=ends, quality=50, roi=mask)) as reader:
        starved, kept = reader.grain[:, :2], reader.grain[:, 2:]
        assert (reader.qmap[:, :2] < reader.qmap[:, 2:]).all() and starved.min() > kept.max() > 0


def test_a_grain_of_0_is_not_spelt_out_and_more_bytes_are_damage(grainy):
    header = Header(1100, 150, "RGB", 25, 0.5, grainy.fingerprint, grain=48)
    head = pack(header, [b""] * header.tiles)[16 : 16 + 21 + 1]
    length = 12 + len(put_varint(header.width)) + len(put_varint(header.height))
    assert parse_header(head[: length + 1], "here") == header
    assert parse_header(head[:length], "here") == replace(header, grain=0)
    for wrong in (head[:length] + b"\0", head[: length + 1] + b"\1"):
        with pytest.raises(CorruptFile, match="here"):
            parse_header(wrong, "here")
    with pytest.raises(BadInput, match="grain"):
        replace(header, grain=256)
    for wrong in (np.full((3, 18), 16), np.full((3, 18), -1), np.zeros((3, 17), int), np.zeros((3, 18))):
        with pytest.raises(BadInput, match="grain map"):
            pack(header, [b""] * header.tiles, grain=wrong)


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


@pytest.mark.parametrize("soft", [False, True])
def test_mapped_grain_is_as_strong_as_its_map_and_as_soft_as_it_should_be(soft):
    rgb, picture = np.full((256, 320, 3), 128, np.uint8), Box(0, 0, 320, 256)
    added = grain.mapped(rgb, 0.5, np.full((4, 5), 6.0), picture, 3, soft).astype(int)[:, :, 0] - 128
    assert added.std() == pytest.approx(3, rel=0.03) and abs(added.mean()) < 0.05
    for way in (0, 1):  # (1 6 1) * (1 6 1) is 12 of 38 one pixel on, 1 of 38 two on
        for shift, like in ((1, 12 / 38), (2, 1 / 38), (3, 0)):
            found = (added * np.roll(added, shift, way)).mean() / added.var()
            assert found == pytest.approx(like if soft else 0, abs=0.03)
    uneven = np.arange(20.0).reshape(4, 5)
    whole = grain.mapped(rgb, 0.5, uneven, picture, 3, soft)
    for part in (Box(70, 40, 200, 133), Box(250, 200, 320, 256), Box(0, 90, 5, 91)):
        cut = grain.mapped(rgb[part.y0 : part.y1, part.x0 : part.x1], 0.5, uneven, part, 3, soft)
        assert np.array_equal(cut, whole[part.y0 : part.y1, part.x0 : part.x1])
