"""Hazard: working memory that grows with the picture, or with a mask, an alpha channel or a hostile header.

Every measurement is the peak RSS of a process of its own, the pictures included. Pillow takes 1 byte a pixel for L and
4 for everything else. The pictures are noise: flat ones hide what entropy coding and latents take.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from intaglio.package import released_names

SOURCES = Path(__file__).parents[1] / "src"
RUN = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from PIL import Image
import intaglio
from intaglio.package import resolve

def peak():
    if os.path.exists("/proc/self/status"):  # Linux's ru_maxrss counts the process that started this one, too
        with open("/proc/self/status") as status:
            return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def noisy(mode, width, height):
    rng = np.random.default_rng(0)
    image = Image.new(mode, (width, height))
    rows = max(1, 2**18 // width)
    for y in range(0, height, rows):
        channels = len(image.getbands())
        band = rng.integers(0, 256, (min(rows, height - y), width, channels), np.uint8)
        image.paste(Image.fromarray(band.squeeze(2) if channels == 1 else band), (0, y))
    return image

model = resolve(sys.argv[2] or None)
"""
ENCODE = "data = intaglio.encode(noisy({mode!r}, {width}, {height}), model=model, threads=1, **{how})\n"
SAVE = "open({path!r}, 'wb').write(data)\n"
DECODE = "intaglio.decode({path!r}, model=model, threads=1)\n"


def peak(code: str, model: str, timeout: int = 60) -> int:
    """Peak RSS in bytes of a process that runs `code` behind RUN."""
    command = [sys.executable, "-c", RUN + code + "print(peak())", str(SOURCES), model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    print(f"{int(done.stdout) / MB:.0f} MB")
    return int(done.stdout)


def growth(code: str, model: str, sizes: list[tuple[int, int]], path: str = "", **how: object) -> float:
    """Bytes of peak memory for each pixel more, from the first size to the second."""
    peaks = []
    for n, (width, height) in enumerate(sizes):
        given = {"width": width, "height": height, "path": f"{path}{n}"} | how
        peaks.append(peak(code.format(**given), model))
    pixels = [width * height for width, height in sizes]
    return (peaks[1] - peaks[0]) / (pixels[1] - pixels[0])


TALL = [(2048, 2500), (2048, 14000)]
MB = 10**6


def test_grey_pictures_take_their_pixels_and_little_more(tiny_model: Path, tmp_path: Path) -> None:
    """1 byte a pixel, and on the way out the file, twice; whole-picture floats would be 4 more. What an allocator does
    from run to run, some 20 MB, is nearly one more here: 1.2 to 2.9 were measured of the same code."""
    path = str(tmp_path / "picture")
    assert growth(ENCODE + SAVE, str(tiny_model), TALL, path, mode="L", how={"quality": 50}) < 3.8
    assert growth(DECODE, str(tiny_model), TALL, path) < 3.8


def test_a_mask_is_never_as_large_as_the_picture(tiny_model: Path) -> None:
    """The mask itself is small; stretched onto 105 megapixels it would take 105 MB, as floats 420."""
    code = """
from intaglio import search, tiles
search.gain_offsets(np.arange(256, dtype=np.uint8)[None], tiles.Layout(10240, 10240))
"""
    assert peak(code, str(tiny_model)) < 100 * MB


def test_wide_pictures_take_no_more_than_tall_ones() -> None:
    """A strip of the whole width, as floats, would take a kilobyte for each of these pixels. The wide one is wide
    enough that what an allocator does from run to run, some 20 MB, is no more than 40 bytes a pixel."""
    assert growth(ENCODE, "", [(2**15, 1), (2**19, 1)], mode="RGB", how={"quality": 0}) < 100


def test_a_short_file_that_claims_many_pixels_is_cheap_to_refuse(tiny_model: Path) -> None:
    """2^28 pixels in RGBA would take a gigabyte; the first tile is no good, so none of it is taken."""
    code = """
from intaglio.container import Header, pack
data = pack(Header(1 << 14, 1 << 14, "RGBA", 63, 1.0, model.fingerprint), [bytes(12)] * 256, alpha=[bytes(2)] * 256)
try:
    intaglio.decode(data, model=model, threads=1)
except intaglio.CorruptFile:
    pass
else:
    raise SystemExit("decoded")
"""
    assert peak(code, str(tiny_model)) < 250 * MB


def test_an_alpha_record_that_blows_up_is_cut_off(tiny_model: Path) -> None:
    """PNGs of 600x600 with one chunk that expands to 300 MB."""
    code = r"""
import struct, zlib
from intaglio import alpha

def chunk(body):
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

stream = zlib.compressobj(9)
bomb = b"".join([stream.compress(bytes(2**20)) for _ in range(300)]) + stream.flush()
head = chunk(b"IHDR" + struct.pack(">IIBBBBB", 600, 600, 8, 0, 0, 0, 0))
tail = chunk(b"IDAT" + zlib.compress(bytes(601 * 600))) + chunk(b"IEND")
for body in (b"zTXta\0\0" + bomb, b"iTXta\0\1\0\0\0" + bomb, b"iCCPa\0\0" + bomb, b"IDAT" + bomb):
    try:
        alpha.decode(b"\1\x89PNG\r\n\x1a\n" + head + chunk(body) + tail, (600, 600))
    except intaglio.CorruptFile:
        pass
"""
    assert peak(code, str(tiny_model)) < 150 * MB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "how"),
    [("RGB", {}), ("RGB", {"quality": 100}), ("RGBA", {}), ("RGB", {"target_bpp": 0.5}), ("L", {"quality": 0})],
)
def test_100_megapixels_of_noise_take_less_than_a_gigabyte_and_a_half(
    tiny_model: Path, tmp_path: Path, mode: str, how: dict[str, float]
) -> None:
    model = "" if released_names() else str(tiny_model)
    given = {"mode": mode, "width": 12_000, "height": 8_400, "how": how, "path": str(tmp_path / "picture")}
    encode = peak((ENCODE + SAVE).format(**given), model, timeout=3600)
    decode = peak(DECODE.format(**given), model, timeout=3600)
    print(f"{mode} {how}: encode {encode / MB:.0f} MB, decode {decode / MB:.0f} MB")
    assert encode < 1500 * MB
    assert decode < 1500 * MB


@pytest.mark.slow
def test_the_largest_picture_takes_its_pixels_and_a_strip(tiny_model: Path) -> None:
    """2^28 pixels of RGB, the default limit: 4 bytes each."""
    code = """
from intaglio.container import Header, pack
from intaglio.reader import Reader
with Reader(intaglio.encode(noisy("RGB", 1024, 1024), model=model, threads=1)) as reader:
    tile, header = reader.tile(0), reader.header
data = pack(Header(1 << 14, 1 << 14, "RGB", header.q, 0.0, model.fingerprint), [tile] * 256)
assert intaglio.decode(data, model=model, threads=1).size == (1 << 14, 1 << 14)
"""
    assert peak(code, str(tiny_model), timeout=1800) < 4 * 2**28 + 400 * MB
