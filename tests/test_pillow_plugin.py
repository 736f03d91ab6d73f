"""The Pillow plugin: lazy, faithful to metadata, and failing the way Pillow's users expect."""

import io
import pickle
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

import intaglio
from intaglio.package import Package
from intaglio.runtime import Runtime

MODES = ("L", "LA", "RGB", "RGBA")


@pytest.fixture(scope="module", autouse=True)
def plugin():
    """The plugin, for these tests only: others look at how Pillow is without it."""
    import intaglio.pillow

    yield intaglio.pillow
    Image.ID.remove("ITG")
    for table, key in ((Image.OPEN, "ITG"), (Image.SAVE, "ITG"), (Image.MIME, "ITG"), (Image.EXTENSION, ".itg")):
        del table[key]


def picture(mode: str = "RGB", width: int = 70, height: int = 45) -> Image.Image:
    shape = (height, width, len(mode)) if mode != "L" else (height, width)
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8), mode)


@pytest.fixture
def saved(tiny_model, monkeypatch):
    """Saves an image with the tiny model into a buffer at its start, and lets files of that model be loaded."""
    package = Package.read(tiny_model)
    monkeypatch.setattr("intaglio.codec.for_fingerprint", lambda fingerprint, model: package)

    def save(image: Image.Image, **options) -> io.BytesIO:
        buffer = io.BytesIO()
        image.save(buffer, "ITG", model=tiny_model, **options)
        buffer.seek(0)
        return buffer

    return save


def test_open_runs_no_network(saved, monkeypatch):
    buffer = saved(picture("RGBA"), quality=30, realism=0.5)

    def refuse(*_):
        raise AssertionError("a network was asked for")

    with monkeypatch.context() as patch:
        patch.setattr(Runtime, "session", refuse)
        image = Image.open(buffer)
        assert (image.format, image.size, image.mode) == ("ITG", (70, 45), "RGBA")
        assert image.info["q"] == 19 and image.info["realism"] == 0.5
        assert image.get_format_mimetype() == "image/x-intaglio"
    image.load()
    assert image.fp is None


@pytest.mark.parametrize("mode", MODES)
def test_pixels_are_those_of_decode(saved, tiny_model, mode):
    buffer = saved(picture(mode))
    expected = intaglio.decode(buffer.getvalue(), model=tiny_model)
    image = Image.open(buffer)
    assert image.mode == mode and np.array_equal(np.asarray(image), np.asarray(expected))
    image.putpixel((0, 0), expected.getpixel((1, 1)))  # writable, and not shared with anything
    assert image.getpixel((0, 0)) == expected.getpixel((1, 1))


def test_a_path_its_suffix_and_the_file_handle(saved, tmp_path, tiny_model):
    path = tmp_path / "a.itg"
    picture().save(path, model=str(tiny_model), quality=10)
    with Image.open(path) as image:
        image.load()
        copy = image.copy()
    assert copy.size == (70, 45)
    image = Image.open(path)
    handle = image.fp
    image.load()
    assert handle.closed
    with Image.open(path) as image:
        pass
    with pytest.raises((ValueError, OSError)):
        image.load()


def test_load_takes_parameters(saved, tiny_model):
    buffer = saved(picture(width=128, height=128))
    a, b = Image.open(buffer), Image.open(io.BytesIO(buffer.getvalue()))
    a.load(realism=0.0, model=tiny_model, threads=1)
    b.load(realism=1.0, grain=5)
    for image, realism, grain in ((a, 0.0, None), (b, 1.0, 5)):
        expected = intaglio.decode(buffer.getvalue(), realism=realism, grain=grain, model=tiny_model)
        assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_metadata_from_info_and_from_parameters(saved):
    image = picture()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info |= {"icc_profile": b"a profile", "exif": exif.tobytes(), "xmp": b"<x/>"}
    back = Image.open(saved(image))
    assert {k: back.info[k] for k in ("icc_profile", "exif", "xmp")} == image.info
    assert back.getexif()[0x0112] == 6 and ImageOps.exif_transpose(back).size == (45, 70)
    other = Image.Exif()
    other[0x010E] = "a description"
    changed = Image.open(saved(image, exif=other, icc_profile=b"another", xmp=b"<y/>"))
    assert changed.getexif()[0x010E] == "a description" and 0x0112 not in changed.getexif()
    assert (changed.info["icc_profile"], changed.info["xmp"]) == (b"another", b"<y/>")
    bare = Image.open(saved(image, exif=b"", icc_profile=None, xmp=b""))
    assert not {"icc_profile", "exif", "xmp"} & set(bare.info)
    assert image.info["xmp"] == b"<x/>" and "xmp" in back.info


@pytest.mark.parametrize("given", [{"realism": 2}, {"threads": 0}, {"device": "gpu"}])
def test_parameters_of_load_that_make_no_sense_are_value_errors(saved, given):
    with pytest.raises(ValueError, match="."):
        Image.open(saved(picture())).load(**given)


@pytest.mark.parametrize("given", [{}, {"icc_profile": None}, {"xmp": b"<x/>"}])
def test_a_tiff_keeps_its_exif_beside_other_metadata(saved, given):
    tags, file = Image.Exif(), io.BytesIO()
    tags[0x010E] = "a description"
    picture().save(file, "TIFF", exif=tags)
    with Image.open(file) as tiff:
        assert Image.open(saved(tiff, **given)).getexif()[0x010E] == "a description"


def test_rate_parameters(saved):
    sizes = [len(saved(picture(), quality=q).getvalue()) for q in (0, 50, 100)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]
    limit = (sizes[0] + sizes[2]) // 2
    assert sizes[0] < len(saved(picture(), target_bytes=limit).getvalue()) <= limit
    assert len(saved(picture(), target_bpp=8 * limit / (70 * 45)).getvalue()) <= limit


def test_senseless_parameters(saved, tmp_path):
    for options in ({"quality": 101}, {"quality": 5, "target_bpp": 1.0}, {"realism": 2}, {"target_bytes": 1}):
        with pytest.raises(ValueError, match="."):
            saved(picture(), **options)
    with pytest.raises(OSError, match="no such model"):
        picture().save(tmp_path / "a.itg", model="missing.itgm")
    assert not list(tmp_path.iterdir())


def test_other_modes(saved):
    with pytest.warns(intaglio.IntaglioWarning, match="mode P becomes RGB"):
        assert Image.open(saved(picture().convert("P"))).mode == "RGB"
    with pytest.raises(ValueError, match="strict"):
        saved(picture().convert("P"), strict=True)


def test_files_of_other_kinds(tmp_path):
    for data in (b"", b"\x8a", b"rubbish" * 10, b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(data))
    with pytest.raises(UnidentifiedImageError), pytest.warns(UserWarning, match="text mode"):
        Image.open(io.BytesIO(b"\x8aITG\n\x1a\n" + bytes(50)))
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    assert Image.open(buffer).format == "PNG"  # the plugin leaves other formats alone


def test_damaged_files(saved):
    data = saved(picture()).getvalue()
    for cut in range(8, len(data), 7):
        with pytest.raises(OSError, match="."):
            Image.open(io.BytesIO(data[:cut])).load()
    for at in range(8, len(data), 5):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        with pytest.raises(OSError, match="."):
            Image.open(io.BytesIO(damaged)).load()


def test_verify_finds_damage_without_decoding(saved):
    data = saved(picture("RGBA")).getvalue()
    Image.open(io.BytesIO(data)).verify()
    damaged = bytearray(data)
    damaged[-10] ^= 1
    with pytest.raises(OSError, match="checksum"):
        Image.open(io.BytesIO(damaged)).verify()


def test_the_wrong_model_is_an_os_error(saved, monkeypatch, tiny_model):
    buffer = saved(picture())
    monkeypatch.undo()
    monkeypatch.setattr("intaglio.package.released_names", list)
    image = Image.open(buffer)
    with pytest.raises(OSError, match="made with model"):
        image.load()
    image.load(model=tiny_model)  # a second try with the right one succeeds
    assert image.getpixel((0, 0)) is not None


def test_bombs_meet_pillows_limit(saved, monkeypatch):
    data = bytearray(saved(picture()).getvalue())
    end = 16 + int.from_bytes(data[12:16], "big")
    head = data[16:28] + b"\xa0\x9c\x01\xa0\x9c\x01"  # 20000 x 20000 pixels in a file of some hundred bytes
    bomb = data[:12] + len(head).to_bytes(4, "big") + head + zlib.crc32(b"HEAD" + head).to_bytes(4, "big")
    bomb += data[end + 4 :]
    with pytest.raises((OSError, Image.DecompressionBombError)):
        Image.open(io.BytesIO(bomb))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))


def test_copies_and_pickles(saved):
    image = Image.open(saved(picture()))
    twin = pickle.loads(pickle.dumps(image))
    assert np.array_equal(np.asarray(twin), np.asarray(image))
    assert image.convert("L").size == image.resize((70, 45)).size


def test_from_itg_to_itg(saved):
    first = Image.open(saved(picture(), quality=80))
    again = Image.open(saved(first, quality=80))
    assert again.size == first.size
