"""ICC, EXIF, XMP and orientation must come out of every format as they went in, and fit the pixels beside them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from intaglio import pictures, writing
from intaglio.errors import BadInput, IntaglioWarning

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>\xc3\xa9</a></x:xmpmeta>'


def exif(orientation=None):
    tags = Image.Exif()
    tags[271] = "Intaglio"  # Make
    tags.get_ifd(0x8769)[33434] = 0.01  # ExposureTime, in the EXIF directory
    tags.get_ifd(0x8825)[1] = "N"  # GPSLatitudeRef
    if orientation:
        tags[274] = orientation
    return tags.tobytes()


def halves(mode="RGB"):
    """48x32: left black, right white, so that a turn shows."""
    image = Image.new(mode, (48, 32), "black")
    image.paste("white", (24, 0, 48, 32))
    return image


def tags_of(data):
    parsed = Image.Exif()
    parsed.load(data)
    return parsed


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "avif", "heic"])
def test_metadata_survives_save_and_load(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    writing.save(halves(), path, icc=ICC, exif=exif(), xmp=XMP)
    picture = pictures.load(path)
    assert (picture.icc, picture.xmp) == (ICC, XMP)
    tags = tags_of(picture.exif)
    assert tags[271] == "Intaglio"
    assert float(tags.get_ifd(0x8769)[33434]) == pytest.approx(0.01)
    assert tags.get_ifd(0x8825)[1] == "N"
    assert picture.image.info == {}


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_exif_bytes_are_not_rewritten(tmp_path, suffix):
    data = b"Exif\0\0II*\0 nonsense that nobody may parse"
    with pytest.warns(UserWarning) if suffix == "jpg" else pytest.MonkeyPatch.context():
        writing.save(halves(), tmp_path / f"x.{suffix}", exif=data)
        assert pictures.load(tmp_path / f"x.{suffix}").exif.removeprefix(b"Exif\0\0") == data[6:]


def test_exif_without_its_prefix_is_found_again_in_jpeg(tmp_path):
    writing.save(halves(), tmp_path / "x.webp", exif=exif())
    bare = pictures.load(tmp_path / "x.webp").exif
    assert not bare.startswith(b"Exif")
    writing.save(halves(), tmp_path / "x.jpg", exif=bare)
    assert pictures.load(tmp_path / "x.jpg").exif == exif()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "avif", "heic"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_picture_is_turned_exactly_once(tmp_path, suffix, orientation):
    path = tmp_path / f"x.{suffix}"
    writing.save(halves(), path, exif=exif(orientation))
    picture = pictures.load(path)
    turn = tags_of(picture.exif).get(274, 1)
    upright = {1: picture.image, 3: picture.image.rotate(180), 6: picture.image.rotate(-90, expand=True)}
    upright[8] = picture.image.rotate(90, expand=True)
    seen = np.asarray(upright[turn].convert("L")).astype(int)
    wanted = {1: halves(), 3: halves().rotate(180), 6: halves().rotate(-90, expand=True)}
    wanted[8] = halves().rotate(90, expand=True)
    expected = np.asarray(wanted[orientation].convert("L")).astype(int)
    assert seen.shape == expected.shape
    assert np.abs(seen - expected).max() < 40
    if suffix in ("png", "jpg", "webp", "avif"):
        assert turn == orientation
        assert picture.image.size == (48, 32)


def test_metadata_behind_the_pixels_of_a_png_is_found(tmp_path):
    buffer = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    halves().save(buffer, "PNG", pnginfo=info, exif=exif())
    data = buffer.getvalue()
    chunks, at = [], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        chunks.append(data[at:end])
        at = end
    late = [chunk for chunk in chunks if chunk[4:8] in (b"iTXt", b"eXIf")]
    assert len(late) == 2
    rest = [chunk for chunk in chunks if chunk not in late]
    picture = pictures.load(io.BytesIO(data[:8] + b"".join(rest[:-1] + late + rest[-1:])))
    assert picture.xmp == XMP
    assert picture.exif == exif()


def test_imagemagicks_hexadecimal_exif_is_found():
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(exif()):8}\n{exif().hex()}\n", zip=True)
    buffer = io.BytesIO()
    halves().save(buffer, "PNG", pnginfo=info)
    assert pictures.load(buffer).exif == exif()


def test_a_tiffs_exif_does_not_describe_its_strips(tmp_path):
    halves().save(tmp_path / "x.tiff", compression="tiff_lzw", tiffinfo={271: "Intaglio", 274: 6}, icc_profile=ICC)
    picture = pictures.load(tmp_path / "x.tiff")
    tags = tags_of(picture.exif)
    assert not {256, 257, 258, 259, 262, 273, 274, 279, 34675} & set(tags)
    assert picture.image.size == (32, 48)
    halves().save(tmp_path / "plain.tiff")
    assert pictures.load(tmp_path / "plain.tiff").exif is None


def test_exif_of_another_size_does_not_spoil_a_tiff(tmp_path):
    tags = tags_of(exif())
    tags[256], tags[257], tags[258], tags[262] = 4000, 3000, (16, 16, 16), 6  # some cameras write these
    writing.save(halves(), tmp_path / "x.tiff", exif=tags.tobytes())
    assert pictures.load(tmp_path / "x.tiff").image.tobytes() == halves().tobytes()


@pytest.mark.parametrize("suffix", ["bmp", "ppm", "tga", "jp2"])
def test_a_format_without_room_says_what_is_lost(tmp_path, suffix):
    with pytest.warns(IntaglioWarning, match="without its ICC .*EXIF .*XMP"):
        writing.save(halves(), tmp_path / f"x.{suffix}", icc=ICC, exif=exif(), xmp=XMP)
    assert pictures.load(tmp_path / f"x.{suffix}").image.tobytes() == halves().tobytes()


def test_metadata_too_long_for_a_jpeg_is_dropped_with_a_warning(tmp_path):
    with pytest.warns(IntaglioWarning, match=r"EXIF \(66000 bytes.*XMP \(66000 bytes"):
        writing.save(halves(), tmp_path / "x.jpg", icc=ICC * 200, exif=b"II" + bytes(65998), xmp=b"x" * 66000)
    picture = pictures.load(tmp_path / "x.jpg")
    assert (picture.icc, picture.exif, picture.xmp) == (ICC * 200, None, None)


@pytest.mark.parametrize("suffix", ["tiff", "avif", "heic"])
def test_damaged_exif_does_not_keep_a_picture_from_being_written(tmp_path, suffix):
    with pytest.warns(IntaglioWarning, match="EXIF .it is damaged"):
        writing.save(halves(), tmp_path / f"x.{suffix}", exif=b"Exif\0\0garbage", xmp=XMP)
    assert pictures.load(tmp_path / f"x.{suffix}").xmp == XMP


def test_saving_takes_metadata_from_info_unless_told_otherwise(tmp_path):
    image = halves()
    image.info = {"icc_profile": ICC, "exif": exif(), "xmp": XMP, "comment": b"stale", "transparency": (0, 0, 0)}
    writing.save(image, tmp_path / "a.png")
    picture = pictures.load(tmp_path / "a.png")
    assert (picture.image.mode, picture.icc, picture.exif, picture.xmp) == ("RGB", ICC, exif(), XMP)
    writing.save(image, tmp_path / "b.png", icc=b"", exif=b"", xmp=b"")
    picture = pictures.load(tmp_path / "b.png")
    assert (picture.icc, picture.exif, picture.xmp) == (None, None, None)
    assert image.info["comment"] == b"stale"


def test_heic_without_its_package_names_the_extra(tmp_path, monkeypatch):
    writing.save(halves(), tmp_path / "x.heic")
    writing.save(halves(), tmp_path / "x.avif")
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(BadInput, match=r'pip install "intaglio\[heic\]"'):
        pictures.load(tmp_path / "x.heic")
    with pytest.raises(BadInput, match=r'pip install "intaglio\[heic\]"'):
        writing.save(halves(), tmp_path / "y.heic")
    assert pictures.load(tmp_path / "x.avif").image.size == (48, 32)
    assert not (tmp_path / "y.heic").exists()


def test_an_avif_under_heifs_general_brand_needs_no_package(tmp_path, monkeypatch):
    writing.save(halves(), tmp_path / "x.avif")
    data = (tmp_path / "x.avif").read_bytes()
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    assert data[8:12] == b"avif" and b"avif" in data[16:40]
    assert pictures.load(io.BytesIO(data[:8] + b"mif1" + data[12:])).image.mode == "RGB"
