"""Hazard: the refinement touches pixels that nobody switched it on for, makes pictures worse, costs more than it gives,
or the same file decodes to one picture here and to another one there."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_pictures import alpha, landscape, photograph
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from refining import fitted, linear

import intaglio
from intaglio import blockmap, refine
from intaglio.bench import codecs, refinement
from intaglio.container import pack
from intaglio.encoder import Encoder
from intaglio.metrics import fidelity
from intaglio.package import Package
from intaglio.pictures import load
from intaglio.reader import Reader
from intaglio.runtime import runtime

WIDTH, HEIGHT = 200, 150  # 4 x 3 blocks, the last ones not whole


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return landscape(WIDTH, HEIGHT, 5)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return photograph(100, 100, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def useful(tiny: Package, photo: np.ndarray) -> Package:
    """A refinement that is of use for `photo`."""
    return fitted(tiny, photo, 30)


def pixels(data: bytes, model: Package, **options: object) -> np.ndarray:
    return np.asarray(intaglio.decode(data, model=model, threads=1, **options)).astype(int)


def switched(data: bytes) -> np.ndarray | None:
    with Reader(data) as reader:
        return reader.refined


def by_hand(image: np.ndarray, x: int, y: int, q: int) -> list[int]:
    """The features of one pixel, in plain words."""
    height, width, _ = image.shape

    def grey(column: int, row: int) -> int:
        r, g, b = (int(v) for v in image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)])
        return (2 * (r + g + b) + 3) // 6

    own = grey(x, y)
    around = [grey(x + dx, y + dy) - own for dy in range(-3, 4) for dx in range(-3, 4)]
    around[24] = own
    return [*around, 256 * x // width, 256 * y // height, x % 16, y % 16, q]


def file_of(image: object, model: Package, q: int = 20, qmap: np.ndarray | None = None) -> bytes:
    """A file without any block refined."""
    return Encoder(load(image), runtime(model), 0.0, False, lambda share: None).at(q, qmap)


def switch(data: bytes, model: Package, on: np.ndarray) -> bytes:
    """The file with the blocks `on` refined, whatever the encoder would say."""
    with Reader(data) as reader:
        header = replace(reader.header, fingerprint=model.fingerprint)
        alphas = [reader.alpha(i) for i in range(header.tiles)] if header.mode in ("LA", "RGBA") else None
        tiles = [reader.tile(i) for i in range(header.tiles)]
        return pack(header, tiles, qmap=reader.qmap, refined=on, alpha=alphas)


def all_on(data: bytes) -> np.ndarray:
    with Reader(data) as reader:
        return np.ones(reader.header.blocks, bool)


@pytest.mark.parametrize("feature", [0, 3, 24, 30, 48, 49, 50, 51, 52, 53])
def test_every_feature_is_what_the_page_says(tiny: Package, source: np.ndarray, feature: int) -> None:
    """A refinement that shows one feature: pixels at the corners, at borders of blocks, and inside."""
    model = linear(tiny, {feature: 0.25})
    file = file_of(source, model, 20, np.arange(12, dtype=np.int8).reshape(3, 4))
    plain, on = pixels(file, model), np.ones((3, 4), bool)
    on[1, 2] = False
    got = pixels(switch(file, model, on), model)
    right, bottom = WIDTH - 1, HEIGHT - 1
    for x, y in [(0, 0), (right, 0), (0, bottom), (right, bottom), (63, 63), (64, 63), (1, 128), (100, 30), (127, 70)]:
        seen = by_hand(plain, x, y, 20 + (y // 64) * 4 + x // 64)[feature]
        assert (got[y, x] == np.clip(np.floor(plain[y, x] + 0.25 * seen + 0.5), 0, 255)).all(), (x, y)
    assert (got[64:128, 128:192] == plain[64:128, 128:192]).all(), "a block that is off"
    assert (got != plain).any()


def test_switches_go_where_the_error_falls(tiny: Package, useful: Package, photo: np.ndarray) -> None:
    """Of a picture of which half is what the refinement was made for, and half is something else."""
    source = photo.copy()
    source[:, 120:] = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH - 120, 3))
    source[:, 120:] = source[:, 120:] // 64 + 90
    plain = intaglio.encode(source, model=tiny, quality=30, threads=1)
    worse, better = pixels(plain, tiny), pixels(switch(plain, useful, all_on(plain)), useful)
    file = intaglio.encode(source, model=useful, quality=30, threads=1)
    on = switched(file)
    assert on is not None and 0 < on.sum() < on.size, "of use in some blocks, and harmful in others"
    falls = np.zeros((3, 4))
    for row, column in np.ndindex(3, 4):
        at = slice(64 * row, 64 * row + 64), slice(64 * column, 64 * column + 64)
        falls[row, column] = ((worse[at] - source[at]) ** 2).sum() - ((better[at] - source[at]) ** 2).sum()
    assert (on == (falls > 0)).all()
    error = ((pixels(file, useful) - source) ** 2).sum()
    assert error == ((worse - source) ** 2).sum() - falls[on].sum()
    assert error * len(file) < ((worse - source) ** 2).sum() * len(plain)
    assert len(file) - len(plain) == 12 + 1 + 2, "a frame, a kind, twelve bits"
    assert intaglio.info(file)["refined"] == round(on.mean(), 4) and intaglio.info(plain)["refined"] == 0


def test_a_harmful_refinement_changes_no_byte(tiny: Package, source: np.ndarray) -> None:
    model = linear(tiny, {}, 40.0)
    file = intaglio.encode(source, model=model, threads=1)
    assert file == intaglio.encode(source, model=tiny, threads=1)
    assert (pixels(file, model) == pixels(file, tiny)).all()


def test_switches_that_gain_less_than_their_bits_stay_off() -> None:
    error, gain = np.full((4, 8), 1000), np.full((4, 8), -5)
    gain[2, 3] = 500  # of 32000: 1.6%, where 12 + 1 + 4 bytes are 17% of a file of 100
    assert refine.choose(error, gain, 100) is None
    on = refine.choose(error, gain, 10_000)  # where they are 0.2%
    assert on is not None and on.sum() == 1 and on[2, 3]
    gain[:] = 41  # 4% of the error, where 17 bytes are 4.25% of a file of 400
    gain[0, 0] = 0
    on = refine.choose(error, gain, 400)
    assert on is not None and on.all(), "one byte for all, where none loses, is 3.25%"
    gain[0, 0] = -1
    assert refine.choose(error, gain, 400) is None, "it is the losing block's price that there is a map"
    gain[:] = np.minimum(gain, 0)
    assert refine.choose(error, gain, 10**9) is None
    error, gain = np.full((64, 64), 1000), np.where(np.random.default_rng(0).random((64, 64)) < 0.5, -20, 20)
    gain[5, 5] = 100_000  # 2.4%; all that gain are 3.4%, for a map of 5.2% of a file of 10 kB
    on = refine.choose(error, gain, 10_000)
    assert on is not None and on.sum() == 1 and on[5, 5], "a map of few deflates"


@given(
    gain=arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-3, 900)),
    size=st.integers(50, 10**6),
)
@settings(max_examples=200, deadline=None)
def test_no_block_is_chosen_whose_error_rises(gain: np.ndarray, size: int) -> None:
    """However few lose, however little, and however many bytes it would save to refine them too."""
    on = refine.choose(np.full(gain.shape, 1000), gain, size)
    assert on is None or (gain[on] >= 0).all()


def test_one_losing_block_is_left_out_of_a_file_that_gains(tiny: Package, photo: np.ndarray) -> None:
    """It loses less than the map's two bytes are worth, and yet keeps its pixels."""
    model, file = linear(tiny, {}, 10.0), file_of(photo // 2 + 64, tiny, 30)  # no level is clipped
    plain = pixels(file, tiny)
    source = plain + np.where(np.indices(plain.shape).sum(0) % 2, 40, -40)  # an error that no refinement takes away
    last = slice(128, None), slice(192, None)
    shifted = source + 10
    shifted[last] = source[last]
    shifted = shifted.astype(np.uint8)
    refined = Encoder(load(shifted), runtime(model), 0.0, False, lambda share: None).refined(file)
    on = switched(refined)
    assert on is not None and on.sum() == 11 and not on[2, 3]
    assert (pixels(refined, model)[last] == plain[last]).all()

    def product(data: bytes) -> float:
        return float(((pixels(data, model) - shifted) ** 2).sum()) * len(data)

    assert product(switch(file, model, all_on(file))) < product(refined) < product(file), "the price of it"


def test_targets_hold_with_switches_and_all(tiny: Package, useful: Package, photo: np.ndarray) -> None:
    for q in range(14, 26, 3):
        for spare in (0, 15):  # a frame, a kind and twelve bits
            target = len(file_of(photo, tiny, q)) + spare
            file = intaglio.encode(photo, model=useful, target_bytes=target, threads=1)
            assert len(file) <= target
            assert switched(file) is not None, "there is room made for them"
    least = len(file_of(photo, tiny, 0))
    assert intaglio.encode(photo, model=useful, target_bytes=least + 5, threads=1) == file_of(photo, tiny, 0)
    harmful = linear(tiny, {}, 40.0)
    for target in (least + 100, least + 120):
        assert intaglio.encode(photo, model=harmful, target_bytes=target, threads=1) == intaglio.encode(
            photo, model=tiny, target_bytes=target, threads=1), "no byte is kept free for nothing"
    plain = file_of(photo, tiny, 14)
    encoder = Encoder(load(photo), runtime(useful), 0.0, False, lambda share: None)
    assert encoder.refined(plain, len(plain) + 12) is plain, "where the switches do not fit they stay out"
    assert switched(encoder.refined(plain, len(plain) + 15)) is not None
    mask = np.array([[0, 255]], np.uint8)
    same = intaglio.encode(photo, model=tiny, threads=1, quality=30)
    assert len(intaglio.encode(photo, model=useful, roi=mask, quality=30, threads=1)) <= len(same)


def test_a_refined_file_keeps_its_grain(tiny: Package, useful: Package, photo: np.ndarray) -> None:
    told = {"grain": [40.0, 40.0]}
    files = [intaglio.encode(photo, model=replace(model, card={**model.card, **told}), quality=30, threads=1)
             for model in (tiny, useful)]
    with Reader(files[0]) as plain, Reader(files[1]) as refined:
        assert plain.refined is None and refined.refined is not None
        assert plain.grain is not None and np.array_equal(plain.grain, refined.grain)


def test_the_dial_fades_it(tiny: Package, source: np.ndarray) -> None:
    """Around the realism that it was made for: whole there, half as much half a dial away, none at the other end."""
    model = linear(tiny, {}, 8.0, percent=25)
    file = file_of(source, tiny)
    shown = switch(file, model, all_on(file))
    inside = np.abs(pixels(file, tiny, realism=0.25) - 120).max(2) < 90
    assert inside.sum() > 10_000
    for realism, added in ((0.25, 8), (0.0, 6), (0.75, 4), (1.0, 2)):
        change = pixels(shown, model, realism=realism) - pixels(file, tiny, realism=realism)
        assert (change[inside] == added).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_other_modes_are_refined(tiny: Package, useful: Package, photo: np.ndarray, mode: str) -> None:
    image = Image.fromarray(photo).convert(mode)
    if mode != "L":
        image.putalpha(Image.fromarray(alpha(WIDTH, HEIGHT)))
    model = linear(tiny, {}, 3.0)
    file = file_of(image, tiny)
    plain, shown = pixels(file, tiny), pixels(switch(file, model, all_on(file)), model)
    colours = np.atleast_3d(shown - plain)[:, :, : 3 if mode == "RGBA" else 1]
    assert 2 <= colours.mean() <= 3
    if mode != "L":
        assert (shown[:, :, -1] == plain[:, :, -1]).all()
    assert switched(intaglio.encode(image, model=useful, quality=30, threads=1)) is not None


def test_regions_and_tiles_are_refined_as_the_whole(tiny: Package) -> None:
    """A refinement sees three pixels across the borders of tiles and regions."""
    wide = landscape(1100, 130, 2)
    model = linear(tiny, {0: 0.25, 48: 0.25, 49: 0.05})
    file = file_of(wide, tiny)
    on = all_on(file)
    on[1, ::3] = False
    file = switch(file, model, on)
    whole = pixels(file, model)
    assert (whole != pixels(file_of(wide, tiny), tiny)).any()
    for x, y, w, h in [(1020, 0, 8, 130), (1024, 60, 70, 7), (1000, 3, 24, 90), (5, 5, 3, 3), (63, 63, 2, 2)]:
        part = pixels(file, model, region=(x, y, w, h))
        assert np.abs(part - whole[y : y + h, x : x + w]).max() <= 1, "a grey level: sums of float32"
        assert (part == whole[y : y + h, x : x + w]).mean() > 0.99


def test_a_picture_of_one_pixel(tiny: Package) -> None:
    model = linear(tiny, {}, 3.0)
    file = switch(file_of(np.full((1, 1, 3), 90, np.uint8), tiny), model, np.ones((1, 1), bool))
    assert (pixels(file, model) - pixels(file_of(np.full((1, 1, 3), 90, np.uint8), tiny), tiny) == 3).all()


def test_equal_pixels_are_corrected_alike(tiny: Package, source: np.ndarray) -> None:
    """However many at a time, and on however many threads."""
    model = linear(tiny, {0: 1 / 1024, 53: 1 / 64})
    rng = np.random.default_rng(0)
    seen = rng.integers(-255, 256, (20_000, refine.FEATURES)).astype(np.float32)
    whole = runtime(model, "cpu", 1).refinement(seen)
    assert (runtime(model, "cpu", 3).refinement(seen) == whole).all()
    assert (np.concatenate([runtime(model, "cpu", 1).refinement(part) for part in np.split(seen, 50)]) == whole).all()


# Who decodes what.


def test_a_file_that_refines_nothing_is_the_plain_model_s(tiny: Package, source: np.ndarray) -> None:
    model = linear(tiny, {}, 40.0)
    assert model.fingerprint != tiny.fingerprint == model.plain == tiny.plain
    with Reader(intaglio.encode(source, model=model, threads=1)) as reader:
        assert reader.header.fingerprint == tiny.fingerprint
    assert (pixels(file_of(source, tiny), model) == pixels(file_of(source, tiny), tiny)).all()


def test_a_refined_file_needs_its_own_refinement(tiny: Package, source: np.ndarray) -> None:
    model, other = linear(tiny, {}, 3.0), linear(tiny, {}, 2.0)
    plain = file_of(source, tiny)
    file = switch(plain, model, all_on(plain))
    for wrong in (tiny, other, linear(tiny, {}, 3.0, percent=1)):
        with pytest.raises(intaglio.WrongModel, match=model.fingerprint.hex()):
            intaglio.decode(file, model=wrong)
    again = Package.from_bytes(model.to_bytes(), "again")
    assert (pixels(file, again) == pixels(file, model)).all()
    assert linear(model, {}, 2.0).fingerprint == other.fingerprint, "a second refinement takes the first one's place"


def test_switches_in_a_plain_model_s_file_are_damage(tiny: Package, source: np.ndarray) -> None:
    model = linear(tiny, {}, 3.0)
    file = file_of(source, tiny)
    with Reader(file) as reader:
        forged = pack(reader.header, [reader.tile(0)], refined=all_on(file))
    for package in (tiny, model):
        with pytest.raises(intaglio.CorruptFile, match="REFN chunk"):
            intaglio.decode(forged, model=package)


@pytest.mark.parametrize("percent", [None, -1, 101, 0.5, "0", True])
def test_a_refinement_without_a_realism_is_refused(tiny: Package, percent: object) -> None:
    model = linear(tiny, {}, 3.0).with_refinement(b"", {"percent": percent})
    with pytest.raises(intaglio.WrongModel, match="^odd.itgm: "):
        Package.from_bytes(model.to_bytes(), "odd.itgm")
    bare = Package({k: v for k, v in model.card.items() if k != "refinement"}, model.members)
    with pytest.raises(intaglio.WrongModel, match="^odd.itgm: "):
        Package.from_bytes(bare.to_bytes(), "odd.itgm")


def test_a_refinement_that_does_not_do_its_work_is_named(tiny: Package, source: np.ndarray) -> None:
    for graph in (b"", b"nonsense", tiny.members["synthesis.onnx"], tiny.members["hyper.onnx"]):
        model = tiny.with_refinement(graph, {"percent": 0})
        with pytest.raises(intaglio.WrongModel, match=r"refine\.onnx"):
            intaglio.encode(source, model=model, threads=1)
    with pytest.raises(intaglio.WrongModel, match=r"refine\.onnx does not do its work \(it gives infinities"):
        intaglio.encode(source, model=linear(tiny, {}, float("nan")), threads=1)


# Damage.


@pytest.fixture(scope="module")
def refined(tiny: Package) -> tuple[bytes, Package]:
    model = linear(tiny, {}, 3.0)
    image = Image.fromarray(landscape(130, 70, 1))
    image.info["icc_profile"] = b"profile" * 3
    file = file_of(image, tiny, 10)
    with Reader(file) as reader:
        header = replace(reader.header, fingerprint=model.fingerprint)
        on = np.array([[True, False, True], [False, False, True]])
        return pack(header, [reader.tile(0)], refined=on, icc=reader.icc), model


def test_every_flipped_bit_of_the_switches_is_found(refined: tuple[bytes, Package]) -> None:
    file, model = refined
    with Reader(file) as reader:
        at, length = next((at, n) for kind, at, n in reader.chunks if kind == "REFN")
    for place in range(at, at + 12 + length):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128):
            damaged = bytearray(file)
            damaged[place] ^= mask
            with pytest.raises(intaglio.IntaglioError):
                intaglio.decode(bytes(damaged), model=model)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\3", b"\0\0", b"\1", b"\1\xff", b"\1\xfc\0", b"\2", b"\2\0", b"\2" + zlib.compress(b"\xfc"),
     b"\2" + zlib.compress(bytes(10**7)), b"\1" + bytes(10**6), b"\xff" * 3],
)
def test_a_hostile_map_is_refused(refined: tuple[bytes, Package], payload: bytes) -> None:
    file, model = refined
    with pytest.raises(intaglio.CorruptFile, match="REFN"):
        intaglio.decode(with_chunk(file, payload), model=model)


def with_chunk(file: bytes, payload: bytes) -> bytes:
    """The file with another REFN payload under a right checksum."""
    with Reader(file) as reader:
        at, length = next((at, n) for kind, at, n in reader.chunks if kind == "REFN")
    crc = zlib.crc32(b"REFN" + payload).to_bytes(4, "big")
    return file[:at] + b"REFN" + len(payload).to_bytes(4, "big") + payload + crc + file[at + 12 + length :]


def test_switches_behind_metadata_are_refused(refined: tuple[bytes, Package]) -> None:
    file, model = refined
    with Reader(file) as reader:
        parts = [file[at : at + 12 + n] for _, at, n in reader.chunks]
    head, switches, profile, tile = parts
    assert file == file[:8] + head + switches + profile + tile
    with pytest.raises(intaglio.CorruptFile, match="REFN chunk at byte .* comes after"):
        intaglio.decode(file[:8] + head + profile + switches + tile, model=model)
    with pytest.raises(intaglio.CorruptFile, match="REFN"):
        intaglio.decode(file[:8] + head + switches + switches + profile + tile, model=model)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_maps_come_back(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    share = data.draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
    on = np.random.default_rng(data.draw(st.integers(0, 9))).random((rows, columns)) < share
    packed = blockmap.pack(on)
    assert len(packed) <= blockmap.limit(rows, columns)
    again = blockmap.unpack(packed, rows, columns)
    assert again is not None and (again == on).all()
    assert len(packed) == 1 if on.all() else len(packed) > 1
    if not on.all():
        assert blockmap.unpack(packed, rows + 8, columns) is None


def test_deflated_maps_may_be_as_long_as_plain_ones() -> None:
    deflated = bytes.fromhex("78da63606060844300002b0006")
    plain = zlib.decompress(deflated)
    assert len(deflated) == len(plain) == 13
    for data in (b"\1" + plain, b"\2" + deflated):
        on = blockmap.unpack(data, 8, 13)
        assert on is not None and np.packbits(on).tobytes() == plain
    assert blockmap.unpack(b"\2" + deflated, 8, 12) is None


def test_benchmarks_measure_what_is_refined(
    tiny: Package, useful: Package, photo: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "useful.itgm").write_bytes(useful.to_bytes())
    codec, image = codecs.named(str(tmp_path / "useful.itgm")), Image.fromarray(photo)
    assert "refined by linear" in codec.about
    target = len(file_of(photo, tiny, 20)) + 15
    setting, file = codecs.find(codec, image, target)
    assert len(file) <= target and switched(file) is not None
    assert switched(codec.encode(image, setting)) is not None
    assert (np.asarray(codec.decode(file)) == pixels(file, useful)).all()


def test_both_fingerprints_are_computed_as_the_page_says(tiny: Package) -> None:
    page = (Path(__file__).parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
    found = re.search(r'^    (\[\{"prior.npz":"HASH","refine.onnx.*\})\]$', page, re.MULTILINE)
    assert found
    model = linear(tiny, {}, 3.0, percent=70)
    card, text = model.card, found[1] + "]"
    for name in ("prior.npz", "refine.onnx", "synthesis.onnx", "tables.npz"):
        text = text.replace(f'"{name}":"HASH"', f'"{name}":"{card["sha256"][name]}"')
    words = {'"halo":S': card["halo"]["synthesis"], '"hyper":N': card["hyper"], '"latents":M': card["latents"],
             '"passes":[[F,E,P], ...]': card["passes"], '"refinement":PERCENT': 70, '"seen":[ ... ]': card["seen"]}
    for word, value in words.items():
        assert text.count(word) == 1
        text = text.replace(word, word.split(":")[0] + ":" + json.dumps(value, separators=(",", ":")))
    assert hashlib.sha256(text.encode("ascii")).digest()[:8] == model.fingerprint
    assert model.plain == tiny.fingerprint


def test_what_a_refinement_is_worth_is_net_of_its_bits(
    tiny: Package, useful: Package, photo: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gain = refinement.Sheet([Image.fromarray(photo)], 1).gain(useful, 0.25)
    plain = intaglio.encode(photo, model=tiny, target_bpp=0.25, threads=1)
    refined = Encoder(load(photo), runtime(useful, "cpu", 1), 0.0, False, lambda share: None).refined(plain)
    error = [((pixels(file, useful) - photo) ** 2).mean() for file in (plain, refined)]
    assert (gain.mse, gain.mse_refined) == pytest.approx(tuple(error))
    similar = [fidelity.ssim(pixels(file, useful).astype(np.uint8), photo) for file in (plain, refined)]
    assert (gain.ssim, gain.ssim_refined) == pytest.approx(tuple(similar)) and similar[0] != similar[1]
    assert gain.size == len(plain)
    assert gain.bytes == len(refined) - len(plain) > 12
    assert round(gain.share, 4) == intaglio.info(refined)["refined"] > 0
    won = 10 * np.log10(error[0] / error[1])
    assert 0 < gain.net < won and gain.net == pytest.approx(won - 10 * np.log10(len(refined) / len(plain)))
    with pytest.raises(intaglio.BadInput, match="no refinement"):
        refinement.Sheet([Image.fromarray(photo)]).gain(tiny, 0.25)
    with pytest.raises(intaglio.BadInput, match="40 x 10 pixels is too small"):
        refinement.Sheet([Image.fromarray(photo[:10, :40])])
    Image.fromarray(photo).save(tmp_path / "photo.png")
    (tmp_path / "useful.itgm").write_bytes(useful.to_bytes())
    command = ["refinement", tmp_path / "useful.itgm", "--data", tmp_path, "--bpp", "0.25", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", [*map(str, command)])
    refinement.main()
    assert f"{gain.net:+.3f} dB" in capsys.readouterr().out.splitlines()[2]
