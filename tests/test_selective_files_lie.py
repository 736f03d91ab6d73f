"""Hazard: a selective file that keeps something else than was asked for, shows a label where it does not belong, spends
bits on what is synthesised, or breaks its reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_pictures import clouds, landscape
from labelled_model import NAMES, labelled
from PIL import Image
from running import call, one_sentence

import intaglio
from intaglio import areas, labels
from intaglio.container import Header, pack
from intaglio.errors import BadInput, CorruptFile, TooLarge
from intaglio.package import Package
from intaglio.reader import Reader
from intaglio.tiles import Layout
from intaglio.writing import write_bytes

WIDTH, HEIGHT = 300, 150
MAP = np.kron(clouds(WIDTH // 2, HEIGHT // 2, 20, 3) * 12 // 256, np.ones((2, 2))).astype(np.uint8)


@pytest.fixture(scope="module")
def model(tiny: Package) -> Package:
    return labelled(tiny)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return landscape(WIDTH, HEIGHT, 5)


def chunks(data: bytes) -> dict[str, bytes]:
    """Payloads by type."""
    with Reader(data) as reader:
        return {kind: data[offset + 8 : offset + 8 + n] for kind, offset, n in reader.chunks}


def shown(data: bytes, model: Package, **options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sum of the latents, kept, label) at every pixel."""
    rgb = np.asarray(intaglio.decode(data, model=model, threads=1, **options))
    return rgb[:, :, 0], rgb[:, :, 1] == 255, rgb[:, :, 2]


def cells(wanted: np.ndarray) -> np.ndarray:
    """Pixels of the 16x16 squares that a wanted pixel lies in."""
    height, width = wanted.shape
    square = np.pad(wanted, ((0, -height % 16), (0, -width % 16)))
    square = square.reshape(square.shape[0] // 16, 16, -1, 16).any((1, 3))
    return np.kron(square, np.ones((16, 16), bool))[:height, :width]


def rectangle(x: int, y: int, w: int, h: int) -> np.ndarray:
    result = np.zeros((HEIGHT, WIDTH), bool)
    result[y : y + h, x : x + w] = True
    return result


MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[20:50, 60:61] = 255
KEEPS: dict[str, tuple[Any, np.ndarray]] = {
    "nothing": (None, np.zeros((HEIGHT, WIDTH), bool)),
    "a box": ((40, 10, 33, 50), rectangle(40, 10, 33, 50)),
    "boxes": ([(40, 10, 33, 50), (299, 149, 1, 1)], rectangle(40, 10, 33, 50) | rectangle(299, 149, 1, 1)),
    "one box, in no list, by name": ({"boxes": (40, 10, 33, 50)}, rectangle(40, 10, 33, 50)),
    "a mask": (MASK, MASK > 0),
    "a class by name": ({"classes": ["tree"]}, MAP == 5),
    "one class, in no list": ({"classes": "tree"}, MAP == 5),
    "one number, in no list": ({"classes": 5}, MAP == 5),
    "classes by number": ({"classes": [5, "4"]}, (MAP == 4) | (MAP == 5)),
    "all together": ({"classes": ["road"], "mask": MASK, "boxes": [(0, 0, 5, 5)]},
                     (MAP == 3) | (MASK > 0) | rectangle(0, 0, 5, 5)),
    "everything": ((0, 0, WIDTH, HEIGHT), np.ones((HEIGHT, WIDTH), bool)),
}  # fmt: skip


@pytest.mark.parametrize("keep", KEEPS)
def test_what_is_asked_for_is_kept_and_the_rest_has_its_label(model: Package, photo: np.ndarray, keep: str) -> None:
    asked, wanted = KEEPS[keep]
    data = intaglio.encode(photo, model=model, labels=MAP, keep=asked, label_cell=2, quality=60, threads=1)
    latents, kept, label = shown(data, model)
    assert np.array_equal(kept, cells(wanted))
    assert np.array_equal(label[~kept], MAP[~kept])
    assert (latents[~kept] == 128).all()  # they are 0
    if wanted.any():
        assert len(np.unique(latents[kept])) > 1
    assert intaglio.info(data)["kept"] == pytest.approx(kept.mean(), abs=0.1)


def test_instances_select_and_their_classes_are_stored(model: Package, photo: np.ndarray) -> None:
    instances = MAP.astype(np.int32)
    instances[(MAP == 5) & (np.arange(WIDTH) < 150)] = 5001
    instances[(MAP == 5) & (np.arange(WIDTH) >= 150)] = 5002
    for chosen in (5002, 5):
        data = intaglio.encode(photo, model=model, labels=instances, keep={"classes": [chosen]}, label_cell=2)
        _, kept, label = shown(data, model)
        assert np.array_equal(kept, cells(instances == 5002 if chosen > 1000 else MAP == 5))
        assert np.array_equal(label[~kept], MAP[~kept])


def test_a_picture_of_ids_is_read_by_its_numbers(model: Package, photo: np.ndarray, tmp_path: Path) -> None:
    palette = Image.fromarray(MAP, "L").convert("P")
    palette.putdata(MAP.ravel().tolist())
    palette.putpalette(np.random.default_rng(0).bytes(768))
    deep = Image.fromarray(MAP.astype(np.uint16) * 1000)
    expected = intaglio.encode(photo, model=model, labels=MAP)
    for name, image in (("grey", Image.fromarray(MAP)), ("palette", palette), ("deep", deep)):
        image.save(tmp_path / f"{name}.png")
        assert intaglio.encode(photo, model=model, labels=tmp_path / f"{name}.png") == expected, name


def test_no_latent_bits_are_spent_on_what_is_synthesised(model: Package, photo: np.ndarray) -> None:
    nothing = intaglio.encode(photo, model=model, labels=MAP, quality=90)
    assert chunks(nothing)["TILE"] == b"\0\0"
    half = intaglio.encode(photo, model=model, labels=MAP, keep=(0, 0, 96, HEIGHT), quality=90)
    other = photo.copy()
    other[:, 96 + model.card["halo"]["analysis"] :] = 255 - other[:, 96 + model.card["halo"]["analysis"] :]
    assert intaglio.encode(other, model=model, labels=MAP, keep=(0, 0, 96, HEIGHT), quality=90) == half
    whole = intaglio.encode(photo, model=model, quality=90)
    assert len(chunks(half)["TILE"]) < 0.45 * len(chunks(whole)["TILE"])


def test_another_map_changes_the_map_alone(model: Package, photo: np.ndarray) -> None:
    one, two = (chunks(intaglio.encode(photo, model=model, labels=m, keep=(0, 0, 64, 64))) for m in (MAP, MAP[::-1]))
    assert {kind for kind in one if one[kind] != two[kind]} == {"LABL"}


def test_labels_of_what_is_kept_cost_nothing(model: Package, photo: np.ndarray) -> None:
    noise = np.where(rectangle(0, 0, 96, HEIGHT), np.random.default_rng(1).integers(0, 12, MAP.shape), MAP)
    plain, noisy = (len(chunks(intaglio.encode(photo, model=model, labels=m.astype(np.uint8), keep=(0, 0, 96, HEIGHT)))
                        ["LABL"]) for m in (MAP, noise))
    assert noisy == plain


@pytest.mark.parametrize("cell", [4, 16, 64])
def test_coarser_maps_hold_what_most_pixels_have(model: Package, photo: np.ndarray, cell: int) -> None:
    data = intaglio.encode(photo, model=model, labels=MAP, label_cell=cell)
    _, _, label = shown(data, model)
    for y in range(0, HEIGHT - cell, cell):
        for x in range(0, WIDTH - cell, cell):
            square = np.bincount(MAP[y : y + cell, x : x + cell].ravel())
            assert (label[y : y + cell, x : x + cell] == label[y, x]).all()
            assert square[label[y, x]] == square.max()
    assert len(data) < len(intaglio.encode(photo, model=model, labels=MAP, label_cell=cell // 2))


def test_regions_show_what_the_whole_shows(model: Package) -> None:
    """Across the border of two tiles, and where a window starts inside a label."""
    photo, ids = np.tile(landscape(206, 70, 2), (1, 6, 1)), (clouds(1236, 70, 30, 2) * 12 // 256).astype(np.uint8)
    data = intaglio.encode(photo, model=model, labels=ids, keep=[(1000, 10, 40, 40)], label_cell=8)
    whole = np.asarray(intaglio.decode(data, model=model))
    for x, y, w, h in ((1010, 5, 33, 60), (3, 3, 1, 1), (1230, 60, 6, 10)):
        part = np.asarray(intaglio.decode(data, model=model, region=(x, y, w, h)))
        assert np.array_equal(part, whole[y : y + h, x : x + w])


def test_without_labels_all_is_kept(model: Package, tiny: Package, photo: np.ndarray) -> None:
    data = intaglio.encode(photo, model=model)
    assert chunks(data)["TILE"] == chunks(intaglio.encode(photo, model=tiny))["TILE"]
    assert shown(data, model)[1].all() and intaglio.info(data)["kept"] == 1.0


def test_a_target_counts_the_maps(model: Package, photo: np.ndarray) -> None:
    for limit in (450, 650):
        data = intaglio.encode(photo, model=model, labels=MAP, keep=(0, 0, 128, 64), target_bytes=limit)
        assert 0.7 * limit < len(data) <= limit


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a model without labels": ({"model": None}, "does not synthesise from labels"),
    "keep alone": ({"labels": None, "keep": (0, 0, 9, 9)}, "give it with labels"),
    "an id too large": ({"labels": MAP + 1}, "holds id 12 and the model knows 0 to 11"),
    "a negative id": ({"labels": MAP.astype(int) - 1}, "run from -1"),
    "colours": ({"labels": Image.fromarray(MAP).convert("RGB")}, "mode is RGB"),
    "real numbers": ({"labels": MAP / 2}, "whole numbers"),
    "no file": ({"labels": "/nowhere/map.png"}, "cannot read /nowhere/map.png"),
    "another shape": ({"labels": MAP[:, :150]}, "differ in shape"),
    "a box outside": ({"keep": (290, 0, 11, 5)}, "not inside the picture of 300 x 150"),
    "half a box": ({"keep": [(1, 2, 3)]}, "four whole numbers"),
    "no such class": ({"keep": {"classes": ["dog"]}}, "no class is called 'dog'; the model knows sky, building"),
    "no list of boxes": ({"keep": {"boxes": 5}}, "boxes to keep are 5; give a list"),
    "no list of classes": ({"keep": {"classes": 5.5}}, "classes to keep are 5.5; give a list"),
    "no number at all": ({"keep": {"classes": [float("inf")]}}, "no class is called inf"),
    "no such number": ({"keep": {"classes": [12]}}, "there is no class 12"),
    "no such way": ({"keep": {"box": (1, 2, 3, 4)}}, "keep names box; it may name boxes, mask, classes"),
    "an odd cell": ({"label_cell": 3}, "cannot be stored 3 pixels wide"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input_is_told(model: Package, photo: np.ndarray, wrong: str) -> None:
    changes, sentence = WRONG[wrong]
    with pytest.raises(BadInput, match=sentence) as told:
        intaglio.encode(photo, **{"model": model, "labels": MAP, **changes})
    assert "\n" not in str(told.value)


def test_maps_of_large_pictures_are_coarser() -> None:
    assert areas.finest(Layout(4000, 3000), areas.KEEP_SIDES) == 16
    assert areas.finest(Layout(16384, 16384), areas.KEEP_SIDES) == 32
    assert areas.finest(Layout(16384, 16384), areas.LABEL_SIDES) == 32
    with pytest.raises(TooLarge, match="too many"):
        areas.finest(Layout(1 << 20, 1 << 16), areas.KEEP_SIDES)


def test_every_flipped_bit_of_the_maps_is_found(model: Package) -> None:
    photo = landscape(70, 80, 1)
    data = intaglio.encode(photo, model=model, labels=MAP[:80, :70], keep=(10, 10, 30, 20))
    with Reader(data) as reader:
        spans = [(offset, n) for kind, offset, n in reader.chunks if kind in ("KEEP", "LABL")]
    assert len(spans) == 2
    for offset, n in spans:
        for at in range(offset, offset + n + 12):
            for mask in (1, 32, 128):
                damaged = bytearray(data)
                damaged[at] ^= mask
                with pytest.raises((CorruptFile, intaglio.UnsupportedFile)):
                    intaglio.decode(bytes(damaged), model=model, threads=1)


def parts(keep: bytes | None, label: bytes | None, model: Package) -> bytes:
    """A file of 100 x 80 pixels of which nothing is kept, with these maps."""
    header = Header(100, 80, "RGB", 30, 0.0, model.fingerprint)
    data = pack(header, [b"\0\0"], areas=(keep or b"", label or b""))
    for payload, kind in ((keep, b"KEEP"), (label, b"LABL")):
        if payload is None:
            at = data.index(kind)
            data = data[: at] + data[at + 12 :]
    return data


NO, SKY = b"\4\0\0", b"\4\0\0"  # sides of 16; one label, 0


def test_sound_maps_are_accepted(model: Package) -> None:
    _, kept, label = shown(parts(NO, SKY, model), model)
    assert not kept.any() and not label.any()


@pytest.mark.parametrize(
    ("keep", "label", "sentence"),
    [
        (None, SKY, "only one"),
        (NO, None, "only one"),
        (b"", SKY, "KEEP chunk is malformed"),
        (b"\3\0\0", SKY, "KEEP chunk is malformed"),  # finer than a latent
        (b"\7\0\0", SKY, "KEEP chunk is malformed"),
        (NO, b"\7\0\0", "LABL chunk is malformed"),
        (NO, b"\4", "LABL chunk is malformed"),
        (NO, b"\4\2\0", "LABL chunk is malformed"),  # an unknown coding
        (NO, b"\4\0\0more", "LABL chunk"),
    ],
)
def test_hostile_maps_are_refused(model: Package, keep: bytes | None, label: bytes | None, sentence: str) -> None:
    with pytest.raises(CorruptFile, match=sentence):
        intaglio.decode(parts(keep, label, model), model=model)


def test_what_a_file_says_of_itself_costs_no_decoding_of_labels(
    model: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps of strangers take seconds: a KEEP of more than yes and no is refused unread, and LABL is not looked at."""
    seen = []
    decoded = labels.unpack
    monkeypatch.setattr(labels, "unpack", lambda *given: seen.append(given[2]) or decoded(*given))
    assert intaglio.info(parts(NO, b"\4\0\xffmuch work", model))["kept"] == 0.0
    assert seen == ["the KEEP chunk"]
    for look in (intaglio.info, lambda data: intaglio.decode(data, model=model)):
        with pytest.raises(CorruptFile, match="something else than yes and no"):
            look(parts(b"\4\0\xffmuch work", SKY, model))
    assert seen == ["the KEEP chunk"]


def test_maps_that_the_model_does_not_know_are_refused(model: Package, tiny: Package) -> None:
    layout = Layout(100, 80)
    rows = areas.entries(layout, 16)
    nothing = areas.Areas(layout, 16, np.zeros(rows, bool), 16, np.full(rows, len(NAMES), np.uint8))
    with pytest.raises(CorruptFile, match="label 12 and its model knows 12"):
        intaglio.decode(parts(*nothing.pack(), model), model=model)
    with pytest.raises(CorruptFile, match="label 0 and its model knows 0"):
        intaglio.decode(parts(NO, SKY, tiny), model=tiny)
    twos = areas.Areas(layout, 16, np.full(rows, 2, np.uint8), 16, np.zeros(rows, np.uint8))  # type: ignore[arg-type]
    with pytest.raises(CorruptFile, match="something else than yes and no"):
        intaglio.decode(parts(*twos.pack(), model), model=model)


@pytest.fixture(scope="module")
def folder(model: Package, photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("selective")
    write_bytes(path / "m.itgm", model.to_bytes())
    Image.fromarray(photo).save(path / "photo.png")
    Image.fromarray(MAP).save(path / "map.png")
    Image.fromarray(MASK).save(path / "mask.png")
    return path


def test_the_command_line_says_the_same(model: Package, photo: np.ndarray, folder: Path) -> None:
    options = ["--labels", folder / "map.png", "--keep-box", "40,10,33,50", "--keep-box", "0,0,5,5", "--keep-mask",
               folder / "mask.png", "--keep-classes", "tree, 3", "--label-cell", "2"]
    target = folder / "out.itg"
    assert call("encode", folder / "photo.png", "-o", target, "--model", folder / "m.itgm", *options) == 0
    keep = {"boxes": [(40, 10, 33, 50), (0, 0, 5, 5)], "mask": MASK, "classes": ["tree", 3]}
    assert target.read_bytes() == intaglio.encode(photo, model=model, labels=MAP, keep=keep, label_cell=2)
    assert call("info", target) == 0


def test_a_folder_of_maps_is_taken_by_name(model: Package, photo: np.ndarray, folder: Path, tmp_path: Path) -> None:
    """Photographs and their maps in one folder, as for training."""
    for name, pixels, ids in (("a", photo, MAP), ("b", photo[::-1], MAP[::-1])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        Image.fromarray(ids).save(tmp_path / f"{name}.labels.png")
    out = tmp_path / "out"
    assert call("encode", tmp_path, "-o", out, "--model", folder / "m.itgm", "--labels", tmp_path) == 0
    assert sorted(p.name for p in out.iterdir()) == ["a.itg", "b.itg"]
    assert (out / "b.itg").read_bytes() == intaglio.encode(photo[::-1].copy(), model=model, labels=MAP[::-1])
    Image.fromarray(photo).save(tmp_path / "c.png")
    rest = ["-o", out / "c.itg", "--model", folder / "m.itgm", "--labels", tmp_path]
    assert call("encode", tmp_path / "c.png", *rest) == 1  # there is no c.labels.png


def test_a_folder_of_maps_has_the_subfolders_of_the_photographs(
    model: Package, photo: np.ndarray, folder: Path, tmp_path: Path
) -> None:
    """Two photographs of one name have a map each, as `intaglio labels PHOTOS -o MAPS` leaves them."""
    photos, maps, out = (tmp_path / name for name in ("photos", "maps", "out"))
    for name, pixels, ids in (("one/a", photo, MAP), ("two/a", photo[::-1], MAP[::-1])):
        for base, end, array in ((photos, ".png", pixels), (maps, ".labels.png", ids)):
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(base / f"{name}{end}")
    assert call("encode", photos, "-o", out, "--model", folder / "m.itgm", "--labels", maps) == 0
    assert (out / "one" / "a.itg").read_bytes() == intaglio.encode(photo, model=model, labels=MAP)
    assert (out / "two" / "a.itg").read_bytes() == intaglio.encode(photo[::-1].copy(), model=model, labels=MAP[::-1])


def test_the_command_line_refuses_in_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["encode", folder / "photo.png", "-o", folder / "x.itg", "--model", folder / "m.itgm"]
    for options, sentence in (
        (["--keep-box", "1,2,3,4"], "give it with --labels MAP"),
        (["--label-cell", "4"], "give it with --labels MAP"),
        (["--labels", folder / "map.png", "--keep-box", "1,2,3"], "--keep-box 1,2,3: give four whole numbers"),
        (["--labels", folder / "photo.png"], "mode is RGB"),
    ):
        assert call(*common, *options) != 0
        assert sentence in one_sentence(capsys.readouterr().err.splitlines()[-1] + "\n")
    assert not (folder / "x.itg").exists()
