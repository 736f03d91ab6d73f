"""Files that are missing, cut, empty, hostile or no pictures: one sentence each, never a traceback of Pillow's."""

import importlib
import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from intaglio import pictures
from intaglio.errors import BadInput, IntaglioError, IntaglioWarning, TooLarge


def noise(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def refused(source, match, error=BadInput):
    with pytest.raises(error, match=match) as caught:
        pictures.load(source)
    assert "\n" not in str(caught.value)


def test_paths_that_hold_no_picture(tmp_path):
    refused(tmp_path / "none.png", "none.png: there is no such file")
    refused(str(tmp_path / "none.heic"), "there is no such file")
    refused(tmp_path, "it is a folder")
    refused("zero\0byte.png", "cannot read")
    (tmp_path / "empty.jpg").touch()
    refused(tmp_path / "empty.jpg", "empty.jpg: it is empty")
    (tmp_path / "text.png").write_text("a letter, not a picture\n" * 99)
    refused(tmp_path / "text.png", "text.png: it is damaged, or of a kind that Pillow does not know")
    (tmp_path / "x.itg").write_bytes(b"\x8aITG\r\n\x1a\n" + bytes(50))
    importlib.import_module("intaglio.pillow")  # once it is registered, Pillow would open .itg files as well
    refused(tmp_path / "x.itg", "decode it first")


def test_things_that_are_no_sources(tmp_path):
    refused(b"bytes", "a bytes cannot be read as a picture.*io.BytesIO")
    refused(None, "NoneType")
    refused([[1, 2], [3, 4]], "list.*numpy.asarray")
    (tmp_path / "x.png").write_bytes(noise("PNG"))
    with open(tmp_path / "x.png", encoding="latin-1") as text:
        refused(text, "binary mode")
    refused(Image.new("RGB", (0, 4)), "no pixels")
    closed = Image.open(tmp_path / "x.png")
    closed.close()
    refused(closed, "cannot read")


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "JPEG2000", "PPM", "TGA", "HEIF"]
)
def test_every_truncation_is_refused_or_read_whole(kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = noise(kind)
    for cut in sorted({1, 7, 15, 30, *np.linspace(1, len(data) - 40, 8).astype(int).tolist()}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                picture = pictures.load(io.BytesIO(data[:cut]))
            except IntaglioError as error:
                assert isinstance(error, BadInput) and "cannot read the stream: " in str(error)
            else:
                assert picture.image.size == (64, 64) and cut > len(data) // 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_cut_photograph_is_refused(tmp_path, kind):
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(noise(kind)[:-500])
    refused(path, "cannot read .*cut")


def test_a_decompression_bomb_is_refused_by_its_header():
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    idat = b"IDAT" + zlib.compress(bytes(1000))
    data += struct.pack(">I", len(idat) - 4) + idat + struct.pack(">I", zlib.crc32(idat))
    refused(io.BytesIO(data), "max_pixels=268435456", TooLarge)
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(TooLarge, match=r"100000x100000.*max_pixels=9000000000"):
            pictures.load(io.BytesIO(data), max_pixels=9_000_000_000)
    assert before == Image.MAX_IMAGE_PIXELS


def test_pillows_limit_is_lifted_for_us_and_restored(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = noise("PNG")
    failures = []

    def read():
        try:
            for _ in range(20):
                pictures.load(io.BytesIO(data))
        except BaseException as error:
            failures.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    pictures.load(io.BytesIO(data))
    assert Image.MAX_IMAGE_PIXELS is None


def test_a_hostile_tag_does_not_choose_the_memory_taken():
    entries = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 200), (278, 4), (279, 16), (700, 2**31 - 1)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)  # each one LONG, XMP too
    data = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    refused(io.BytesIO(data.ljust(216, b"\7")), "cannot read the stream: ")
    assert pictures.load(io.BytesIO(data.replace(b"\xbc\x02", b"\xbd\x02").ljust(216, b"\7"))).image.size == (4, 4)


def test_streams_that_cannot_seek_are_read():
    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self.rest = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self.rest.readinto(buffer)

    assert pictures.load(io.BufferedReader(Pipe(noise("JPEG")))).image.size == (64, 64)
    refused(io.BufferedReader(Pipe(b"")), "it is empty")


def test_a_callers_file_is_left_open():
    file = io.BytesIO(noise("PNG"))
    file.seek(100)
    pictures.load(file)
    assert not file.closed


def test_warnings_as_errors_stay_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", IntaglioWarning)
        with pytest.raises(IntaglioWarning):
            pictures.load(Image.new("P", (4, 4)))
