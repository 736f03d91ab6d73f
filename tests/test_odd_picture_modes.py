"""Pictures in modes that are not kept: converted rightly and with one warning, or refused, never silently bent."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from intaglio import pictures
from intaglio.errors import BadInput, IntaglioWarning, TooLarge


def converted(source, match):
    """Load with exactly one IntaglioWarning of one line, and check that strict refuses the same."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        picture = pictures.load(source)
    assert len(seen) == 1 and seen[0].category is IntaglioWarning, [str(w.message) for w in seen]
    assert match in str(seen[0].message) and "\n" not in str(seen[0].message)
    with pytest.raises(BadInput, match="cannot be kept as it is"):
        pictures.load(source, strict=True)
    return picture


def kept(source):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return pictures.load(source, strict=True)


def pixels(image):
    return [image.getpixel((x, y)) for y in range(image.height) for x in range(image.width)]


def file_of(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer


def png(width, height, depth, colour, rows, *extra):
    """A PNG by hand; rows are the raw bytes of each row, extra are (type, payload) before the pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), *extra]
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def cmyk_profile():
    """The least ICC profile for CMYK: cyan ink prints as a red of about Lab (50, 70, 40), no ink as white."""
    clut = bytearray()
    for corner in range(16):
        cyan, magenta, yellow, black = (corner >> 3) & 1, (corner >> 2) & 1, (corner >> 1) & 1, corner & 1
        light = 0 if black else 50 if cyan or magenta or yellow else 100
        clut += bytes([round(light * 2.55), 198 if cyan and not black else 128, 168 if cyan and not black else 128])
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + bytes(clut) + ramp * 3
    head = struct.pack(
        ">I4sI4s4s4s12s4s", 144 + len(lut), b"", 0x02400000, b"prtr", b"CMYK", b"Lab ", bytes(12), b"acsp"
    )
    head += bytes(28) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


@pytest.mark.parametrize("mode", pictures.MODES)
def test_kept_modes_are_neither_converted_nor_copied(mode):
    image = Image.new(mode, (5, 3), 7 if mode == "L" else tuple(range(9, 9 + len(mode))))
    assert kept(image).image.im is image.im
    again = kept(file_of(image, "PNG")).image
    assert (again.mode, again.tobytes()) == (mode, image.tobytes())
    assert type(again) is Image.Image  # nothing of the file or its decoder is held


def test_a_given_image_is_left_as_it_was():
    image = Image.new("P", (4, 4), 3)
    image.info["transparency"] = 3
    converted(image, "mode P becomes RGBA")
    assert (image.mode, image.info) == ("P", {"transparency": 3})


def test_a_mapped_file_is_never_written_to(tmp_path):
    Image.new("L", (64, 64), 5).save(tmp_path / "x.tiff")
    picture = kept(Image.open(tmp_path / "x.tiff"))
    assert picture.image.readonly  # else the next line may write to read-only memory
    picture.image.putpixel((0, 0), 9)
    assert (picture.image.getpixel((0, 0)), kept(tmp_path / "x.tiff").image.getpixel((0, 0))) == (9, 5)


def test_palette_with_and_without_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert pixels(converted(file_of(image, "PNG"), "mode P becomes RGB").image) == [
        (10, 20, 30),
        (200, 100, 50),
    ]
    picture = converted(file_of(image, "PNG", transparency=b"\x80\x00"), "mode P becomes RGBA")
    assert pixels(picture.image) == [(10, 20, 30, 128), (200, 100, 50, 0)]
    assert converted(file_of(image, "GIF", transparency=1), "RGBA").image.getpixel((1, 0))[3] == 0


def test_a_transparent_colour_becomes_alpha():
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    picture = converted(file_of(image, "PNG", transparency=(9, 9, 9)), "mode RGB becomes RGBA")
    assert [pixel[3] for pixel in pixels(picture.image)] == [255, 0]
    grey = png(2, 1, 4, 0, [b"\x5f"], (b"tRNS", b"\0\x0f"))  # 4-bit grey: 5 and 15, the latter transparent
    assert pixels(converted(grey, "mode L becomes LA").image) == [(85, 255), (255, 0)]
    grey = png(4, 1, 2, 0, [b"\x1b"], (b"tRNS", b"\0\x02"))  # 2-bit grey: 0 to 3, 2 transparent
    assert pixels(converted(grey, "mode L becomes LA").image) == [(0, 255), (85, 255), (170, 0), (255, 255)]
    row = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0xFFFF, 0, 0)
    deep = png(2, 1, 16, 2, [row], (b"tRNS", row[:6]))
    for loaded in (False, True):  # as Pillow's own save does before it asks us
        image = Image.open(io.BytesIO(deep.getvalue()))
        if loaded:
            image.load()
        picture = converted(image, "more than 8 bits a sample are reduced to 8, mode RGB becomes RGBA")
        assert pixels(picture.image) == [(0x12, 0x56, 0x9A, 0), (255, 0, 0, 255)]


def test_sixteen_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 127, 128, 129, 385, 386, 32767, 65406, 65407, 65535]], np.uint16)
    expected = [round(int(v) / 257) for v in values[0]]
    for image in (
        Image.fromarray(values),
        file_of(Image.fromarray(values), "PNG"),
        file_of(Image.fromarray(values), "TIFF"),
    ):
        picture = converted(image, "becomes L (0..65535 to 0..255)")
        assert picture.image.mode == "L" and pixels(picture.image) == expected
    assert pixels(converted(Image.fromarray(values.astype(np.int32)), "mode I becomes L").image) == expected
    pgm = io.BytesIO(b"P5 10 1 65535\n" + values.astype(">u2").tobytes())
    assert pixels(converted(pgm, "becomes L").image) == expected
    big = io.BytesIO()
    Image.frombytes("I;16B", (10, 1), values.astype(">u2").tobytes()).save(big, "TIFF")
    assert pixels(converted(big, "becomes L").image) == expected
    transparent = png(2, 1, 16, 0, [b"\x12\x34\x80\x00"], (b"tRNS", b"\x80\x00"))
    assert pixels(converted(transparent, "becomes LA").image) == [(18, 255), (128, 0)]


def test_sixteen_bit_colour_is_reduced_with_a_warning():
    deep = png(1, 1, 16, 2, [struct.pack(">3H", 0x1234, 0x8000, 0xFFFF)])
    assert converted(deep, "more than 8 bits").image.getpixel((0, 0)) == (0x12, 0x80, 0xFF)
    ppm = io.BytesIO(b"P6 1 1 65535\n" + struct.pack(">3H", 0, 0x8080, 0xFFFF))
    assert converted(ppm, "more than 8 bits").image.getpixel((0, 0)) == (0, 0x80, 0xFF)


def test_ten_bit_heic_is_reduced_with_a_warning():
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.encode("RGB;16", (64, 64), np.full((64, 64, 3), 32768, np.uint16).tobytes(), buffer, bit_depth=10)
    assert abs(converted(buffer, "more than 8 bits").image.getpixel((9, 9))[1] - 128) < 4


def test_bands_meet_without_a_seam(monkeypatch):
    values = (np.arange(700 * 1600, dtype=np.uint32).reshape(1600, 700) * 7919 % 65536).astype(np.uint16)
    picture = converted(Image.fromarray(values), "becomes L")
    assert np.array_equal(np.asarray(picture.image), (values.astype(np.uint32) + 128) // 257)


@pytest.mark.parametrize("top", [1, 255, 65535])
def test_float_pictures_by_their_range(top):
    values = np.array([[0, 0.25, 0.5, 1]], np.float32) * top
    picture = converted(Image.fromarray(values), f"mode F becomes L (0..{top} to 0..255)")
    assert pixels(picture.image) == [0, 64, 128, 255]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1, 1e6])
def test_values_beyond_any_scale_are_refused(bad):
    with pytest.raises(BadInput, match=r"values run from .* scale them"):
        pictures.load(Image.fromarray(np.array([[0, bad]], np.float32)))


def test_cmyk_goes_through_its_profile_and_drops_it():
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    picture = converted(file_of(image, "JPEG", icc_profile=cmyk_profile()), "becomes RGB through its ICC profile")
    red, green, blue = picture.image.getpixel((8, 8))
    assert red > 180 and green < 90 and blue < 90  # Pillow's plain conversion gives cyan
    assert picture.image.mode == "RGB" and picture.icc is None
    white = converted(file_of(Image.new("CMYK", (8, 8)), "TIFF", icc_profile=cmyk_profile()), "through its ICC profile")
    assert min(white.image.getpixel((0, 0))) >= 252


@pytest.mark.parametrize(
    "icc", [None, b"no profile at all", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_cmyk_without_a_usable_profile_is_still_converted(icc):
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    picture = converted(file_of(image, "JPEG", icc_profile=icc), "becomes RGB without")
    red, green, blue = picture.image.getpixel((8, 8))
    assert red < 30 and green > 220 and blue > 220 and picture.icc is None


@pytest.mark.parametrize("mode, target", [("1", "L"), ("La", "LA"), ("RGBa", "RGBA"), ("PA", "RGBA")])
def test_other_modes_find_their_nearest_kept_one(mode, target):
    source = Image.new("LA" if mode == "La" else "RGBA", (2, 2), (200, 128) if mode == "La" else (200, 200, 200, 128))
    if mode == "PA":  # old Pillows convert to PA without the alpha
        source = Image.merge("PA", (Image.new("P", (2, 2)), Image.new("L", (2, 2), 128)))
        source.putpalette([200, 200, 200])
    picture = converted(source.convert(mode), f"mode {mode} becomes {target}")
    assert picture.image.mode == target
    if mode != "1":
        assert picture.image.getpixel((0, 0))[-1] == 128 and abs(picture.image.getpixel((0, 0))[0] - 200) < 2


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB"])
def test_other_colour_spaces_become_rgb(mode):
    image = Image.new("RGB", (2, 2), (200, 30, 60))
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    else:
        image = image.convert(mode)
    pixel = converted(image, f"mode {mode} becomes RGB").image.getpixel((0, 0))
    assert np.abs(np.subtract(pixel, (200, 30, 60))).max() < 4


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_only_the_first_frame_is_taken_and_it_is_said(kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    buffer = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    picture = converted(buffer, "only one of its several frames or pages")
    red, green, blue = picture.image.convert("RGB").getpixel((16, 16))
    assert red > 240 and green < 15 and blue < 15


def test_a_given_image_keeps_the_frame_it_is_at():
    frames = [Image.new("L", (8, 8), value) for value in (10, 20, 30)]
    image = Image.open(file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    image.seek(2)
    assert converted(image, "several frames").image.getpixel((0, 0)) == 30


def test_a_raw_files_preview_is_not_taken_for_the_picture():
    buffer = file_of(Image.new("RGB", (8, 8)), "TIFF", tiffinfo={254: 1})
    with pytest.raises(BadInput, match="only its preview"):
        pictures.load(buffer)


@pytest.mark.parametrize(
    "shape, mode", [((4, 6), "L"), ((4, 6, 1), "L"), ((4, 6, 2), "LA"), ((4, 6, 3), "RGB"), ((4, 6, 4), "RGBA")]
)
def test_arrays_become_pictures(shape, mode):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for view in (array, array[::-1, ::2], np.asfortranarray(array)):
        picture = kept(view)
        assert picture.image.mode == mode
        assert np.array_equal(np.asarray(picture.image).reshape(view.shape), view)


@pytest.mark.parametrize(
    "array, sentence",
    [
        (np.zeros((4, 4), np.float32), r"a \* 255"),
        (np.zeros((4, 4), np.uint16), "a // 257"),
        (np.zeros((4, 4), ">u2"), "a // 257"),
        (np.zeros((4, 4), bool), "astype"),
        (np.zeros((4, 4), object), "astype"),
        (np.zeros((3, 4, 5), np.uint8), "1 to 4 channels"),
        (np.zeros(7, np.uint8), "1 to 4 channels"),
        (np.zeros((), np.uint8), "1 to 4 channels"),
        (np.zeros((1, 4, 4, 3), np.uint8), "1 to 4 channels"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.zeros((4, 4, 0), np.uint8), "1 to 4 channels"),
    ],
)
def test_other_arrays_are_refused_with_the_way_out(array, sentence):
    with pytest.raises(BadInput, match=sentence):
        pictures.load(array)


def test_our_pixel_limit_holds_for_every_source():
    image = Image.new("L", (100, 50))
    for source in (image, np.zeros((50, 100), np.uint8), file_of(image, "PNG"), file_of(image, "WEBP")):
        assert pictures.load(source, max_pixels=5000).image.size == (100, 50)
        with pytest.raises(TooLarge, match="max_pixels=4999"):
            pictures.load(source, max_pixels=4999)
