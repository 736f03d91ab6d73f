"""Hazard: EXIF of a stranger's making: tags that share bytes or point beyond them, and an orientation that is none."""

import json
import struct
import warnings

import numpy as np
import pytest
from PIL import Image
from running import call

from intaglio import container, metadata, writing
from intaglio.errors import IntaglioWarning
from intaglio.reader import Reader


def block(*entries, order="<", spare=40):
    """A TIFF directory of (tag, type, count, four bytes of value) and `spare` bytes behind it."""
    ifd = b"".join(struct.pack(order + "HHL4s", *entry) for entry in entries)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(order + "LH", 8, len(entries)) + ifd + bytes(4 + spare)


def orientation(value, kind=3, count=1, order="<"):
    return block((0x0112, kind, count, value), order=order)


SHARED = block(*((1000 + i, 7, 30, struct.pack("<L", 8)) for i in range(8)), spare=0)  # 240 bytes of values in 110
BEYOND = block(*((1000 + i, 7, 5, struct.pack("<L", 4000)) for i in range(8)))


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_orientations_are_read_as_pillow_reads_them(prefix):
    for value in range(1, 9):
        tags = Image.Exif()
        tags[0x010E], tags[0x0112] = "a description", value
        assert metadata.orientation(prefix + tags.tobytes().removeprefix(b"Exif\0\0")) == value
    assert metadata.orientation(prefix + orientation(b"\0\6\0\0", order=">")) == 6


@pytest.mark.parametrize("data", [
    None, b"", b"Exif\0\0", b"II", b"II*\0\xff\xff\xff\xff", b"nonsense", orientation(b"\0\0\0\0"),
    orientation(b"\x09\0\0\0"), orientation(b"abcd", 7, 4), orientation(b"abc\0", 2, 4), orientation(b"\x08\0\0\0", 5),
    orientation(b"\6\0\6\0", 3, 2), block((1000, 3, 1, b"\6\0\0\0")), orientation(b"\6\0\0\0")[:20],
])  # fmt: skip
def test_what_is_no_orientation_is_none(data):
    assert metadata.orientation(data) is None


def test_values_that_share_bytes_or_lie_beyond_are_not_taken_apart():
    tags = Image.Exif()
    tags[271], tags.get_ifd(0x8769)[33434], tags.get_ifd(0x8825)[1] = "Intaglio", 0.01, "N"
    sound = tags.tobytes()
    assert metadata.is_plain(sound) and metadata.is_plain(sound.removeprefix(b"Exif\0\0"))
    assert metadata.is_plain(block((1000, 7, 30, struct.pack("<L", 30))))
    endless = block((0x8769, 4, 1, struct.pack("<L", 8)))
    for data in (SHARED, BEYOND, endless, b"", b"II*\0", sound[:20]):
        assert not metadata.is_plain(data)


@pytest.mark.parametrize("suffix", ["tiff", "avif", "heic"])
@pytest.mark.parametrize("data", [SHARED, BEYOND])
def test_they_are_left_behind_with_one_warning(tmp_path, suffix, data):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        writing.save(Image.new("RGB", (8, 8)), tmp_path / f"x.{suffix}", exif=data)
    assert [(w.category, "EXIF (it is damaged)" in str(w.message)) for w in told] == [(IntaglioWarning, True)]


def test_info_of_any_orientation_is_json(tmp_path, tiny_model, capsys):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png")
    assert call("encode", tmp_path / "a.png", "--model", tiny_model) == 0
    with Reader(tmp_path / "a.itg") as reader:
        header, tiles = reader.header, [reader.tile(0)]
    for data, told in ((orientation(b"\6\0\0\0"), 6), (orientation(b"abcd", 7, 4), None), (SHARED, None)):
        (tmp_path / "b.itg").write_bytes(container.pack(header, tiles, exif=data))
        capsys.readouterr()
        assert call("info", "--json", tmp_path / "b.itg") == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["orientation"] == told and not err


def test_a_jpeg_keeps_as_much_as_it_has_room_for(tmp_path):
    data = b"Exif\0\0" + orientation(b"\6\0\0\0").ljust(65527, b"\1")
    writing.save(Image.new("RGB", (8, 8)), tmp_path / "a.jpg", exif=data)
    with Image.open(tmp_path / "a.jpg") as back:
        assert back.info["exif"] == data
    with pytest.warns(IntaglioWarning, match="too many"):
        writing.save(Image.new("RGB", (8, 8)), tmp_path / "b.jpg", exif=data + b"\1")
