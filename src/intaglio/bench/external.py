"""Codecs that are programs: HEVC intra (x265) and VVC (vvenc) through ffmpeg, BPG through bpgenc and bpgdec.

A program is taken from PATH; for ffmpeg the one that the Python package imageio-ffmpeg brings will do too. Files
are raw Annex B bitstreams, which players open, and .bpg files.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from PIL import Image

from ..errors import IntaglioError
from .codecs import Codec, Setting

EXACT = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"  # how ffmpeg converts colours
TIMEOUT = 600  # seconds for one picture; far more than any takes


class ProgramFailed(IntaglioError):
    """An external encoder or decoder ended badly."""


def _run(command: list[str], data: bytes = b"") -> bytes:
    """Standard output of a program. Raises ProgramFailed with its last words."""
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramFailed(f"{Path(command[0]).name} did not work: {error}") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise ProgramFailed(f"{Path(command[0]).name} failed with code {done.returncode}: {words[-1]}")
    return done.stdout


@lru_cache(maxsize=1)
def ffmpeg() -> str | None:
    """The path of ffmpeg: from PATH, else imageio-ffmpeg's."""
    if path := shutil.which("ffmpeg"):
        return path
    try:
        import imageio_ffmpeg  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


@lru_cache(maxsize=4)
def _coders(kind: str) -> str:
    """What `ffmpeg -encoders` or `-decoders` prints."""
    return _run([ffmpeg() or "ffmpeg", "-hide_banner", f"-{kind}"]).decode(errors="replace")


class _Video(Codec):
    """One still picture as a video of one intra frame."""

    encoder_name: str
    decoder_name: str
    container: str  # ffmpeg's name of the raw bitstream
    pixels: str  # the pixel format that is coded
    settings: tuple[Setting, ...]

    def __init__(self, threads: int | None = None):
        self.threads = threads

    def _options(self, setting: Setting) -> list[str]:
        raise NotImplementedError

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        width, height = image.size
        odd = (width % 2) + 2 * (height % 2) if "420" in self.pixels else 0
        padded = image.convert("RGB")
        if odd:  # 4:2:0 has even sides: repeat the last column and row
            padded = Image.new("RGB", (width + width % 2, height + height % 2))
            for x, y in ((1, 1), (0, 1), (1, 0), (0, 0)):
                padded.paste(image, (x * (width % 2), y * (height % 2)))
        matrix = f"scale=out_color_matrix=bt709:out_range=full:flags={EXACT}"
        data = _run([
            ffmpeg() or "ffmpeg", "-hide_banner", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", f"{padded.width}x{padded.height}", "-i", "-", "-frames:v", "1", "-vf", matrix,
            "-pix_fmt", self.pixels, "-color_range", "pc", "-colorspace", "bt709", "-c:v", self.encoder_name,
            *(["-threads", str(self.threads)] if self.threads else []), *self._options(setting),
            "-f", self.container, "-",
        ], padded.tobytes())
        # An Annex B stream may end in zero bytes, and encoders write none: their number tells which side was padded.
        return data + bytes(odd)

    def decode(self, data: bytes) -> Image.Image:
        odd = len(data) - len(data.rstrip(b"\0"))
        matrix = f"scale=in_color_matrix=bt709:in_range=full:flags={EXACT}"
        raw = _run([
            ffmpeg() or "ffmpeg", "-hide_banner", "-loglevel", "error", "-f", self.container, "-i", "-",
            "-frames:v", "1", "-vf", matrix, "-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "-",
        ], data)
        head = re.match(rb"P6\s(\d+)\s(\d+)\s255\s", raw)
        if head is None:
            raise ProgramFailed(f"{self.name}: ffmpeg decoded no picture")
        width, height = int(head[1]), int(head[2])
        image = Image.frombytes("RGB", (width, height), raw[head.end() :])
        return image.crop((0, 0, width - odd % 2, height - odd // 2))

    def available(self) -> str | None:
        how = "put one on PATH, or pip install imageio-ffmpeg"
        if ffmpeg() is None:
            return f"{self.name} needs an ffmpeg with {self.encoder_name}; {how}"
        try:
            lacks = [f"{self.encoder_name} (to encode)"] if f" {self.encoder_name} " not in _coders("encoders") else []
            lacks += [f"{self.decoder_name} (to decode)"] if f" {self.decoder_name} " not in _coders("decoders") else []
        except ProgramFailed as error:
            return f"{self.name}: {error}; {how}"
        return f"{self.name}: this ffmpeg has no {' and no '.join(lacks)}; {how}" if lacks else None

    def version(self) -> str:
        first = _run([ffmpeg() or "ffmpeg", "-version"]).decode(errors="replace").splitlines()[0]
        return f"{self.encoder_name} in {' '.join(first.split()[:3])}"


class Hevc(_Video):
    """HEVC intra by x265. One thread: its wave fronts would make the bits depend on the number of cores."""

    name, suffix, container = "hevc", ".hevc", "hevc"
    encoder_name, decoder_name, pixels = "libx265", "hevc", "yuv420p"
    settings = tuple(range(51, 0, -1))  # quantiser
    about = "x265 preset slower, intra, 4:2:0, one thread, by QP"

    def _options(self, setting: Setting) -> list[str]:
        how = f"qp={int(setting)}:keyint=1:wpp=0:frame-threads=1:pools=none:info=0:log-level=error"
        return ["-preset", "slower", "-x265-params", how]


class Vvc(_Video):
    """VVC intra by vvenc, 10 bits, which is all it codes."""

    name, suffix, container = "vvc", ".vvc", "vvc"
    encoder_name, decoder_name, pixels = "libvvenc", "vvc", "yuv420p10le"
    settings = tuple(range(63, 0, -1))  # quantiser
    about = "vvenc preset faster, intra, 4:2:0, 10 bits, by QP"

    def _options(self, setting: Setting) -> list[str]:
        return ["-preset", "faster", "-qp", str(int(setting)), "-period", "1", "-qpa", "0"]


class Bpg(Codec):
    """BPG (Bellard): HEVC intra in its own small container."""

    name, suffix = "bpg", ".bpg"
    settings = tuple(range(51, -1, -1))  # quantiser
    about = "bpgenc's defaults, 4:2:0, by quantiser"

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.png"), Path(folder, "out.bpg")
            image.convert("RGB").save(source, compress_level=1)
            _run(["bpgenc", "-q", str(int(setting)), "-o", str(target), str(source)])
            return target.read_bytes()

    def decode(self, data: bytes) -> Image.Image:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.bpg"), Path(folder, "out.png")
            source.write_bytes(data)
            _run(["bpgdec", "-o", str(target), str(source)])
            with Image.open(target) as image:
                return image.convert("RGB")

    def available(self) -> str | None:
        lacks = [name for name in ("bpgenc", "bpgdec") if not shutil.which(name)]
        return f"bpg needs {' and '.join(lacks)} on PATH; build libbpg from bellard.org/bpg" if lacks else None

    def version(self) -> str:
        try:  # bpgenc prints its version with its usage, and ends with 1
            words = subprocess.run(["bpgenc", "-h"], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return "bpgenc"
        found = re.search(r"version\s+([\w.]+)", words.stdout + words.stderr)
        return f"libbpg {found[1]}" if found else "bpgenc"
