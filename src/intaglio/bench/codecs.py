"""Codecs behind one face: a picture and a setting to a real file's bytes, and back. No torch.

    codec = named("avif")
    setting, data = find(codec, image, target_bytes=9000)
    decoded = codec.decode(data)

What is measured is always the whole file, its container and all. Each codec has its best useful effort at a speed that
one would wait for; what that is stands in `about`, which goes into every report. Formats that other packages
write are in plugins.py, external programs in external.py.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from .. import codec as itg
from .. import package, pictures
from ..errors import BadInput
from ..runtime import runtime

Setting = float  # an int where the codec takes ints


class Codec:
    """One codec. `settings` run from the smallest file to the largest; one setting means lossless."""

    name: str
    suffix: str  # of its files, with the dot
    about: str  # what it is run with, in words
    settings: tuple[Setting, ...]

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        """The whole file of an RGB picture at one of `settings`."""
        return self.finish(image, self.encoder(image)(setting), None)

    def encoder(self, image: Image.Image) -> Callable[[Setting], bytes]:
        """`encode` of one picture: what several settings can share is done once."""
        return lambda setting: self.encode(image, setting)

    def finish(self, image: Image.Image, data: bytes, limit: int | None) -> bytes:
        """What an encoder does once, to the file that it has settled for; of at most `limit` bytes if `data` is."""
        return data

    def room(self, image: Image.Image) -> int:
        """Bytes that `finish` may add to a file of the picture."""
        return 0

    def decode(self, data: bytes) -> Image.Image:
        """The RGB picture of a file."""
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")

    def available(self) -> str | None:
        """None, or the sentence that says what is missing and how to get it."""
        return None

    def version(self) -> str:
        """The libraries that write and read the files, and their versions."""
        raise NotImplementedError

    def parts(self) -> list[str]:
        """What files depend on beside name, version and `about`, where that says too little."""
        return []

    @property
    def lossless(self) -> bool:
        return len(self.settings) == 1


@dataclass
class PillowCodec(Codec):
    """A format that Pillow writes. key: the option that the setting goes to; feature: Pillow's name of `library`."""

    name: str
    format: str
    suffix: str
    settings: tuple[Setting, ...]
    options: dict[str, Any]
    feature: str
    library: str
    about: str
    key: str = "quality"

    def encode(self, image: Image.Image, setting: Setting) -> bytes:
        value = [setting] if self.key == "quality_layers" else setting
        sink = io.BytesIO()
        image.save(sink, self.format, **{self.key: value}, **self.options)
        return sink.getvalue()

    def available(self) -> str | None:
        if features.check(self.feature):
            return None
        return f"{self.name} needs a Pillow that was built with {self.library}; pip install --upgrade 'pillow>=11.3'"

    def version(self) -> str:
        return f"{self.library} {features.version(self.feature) or '?'} in Pillow {Image.__version__}"


@dataclass
class Intaglio(Codec):
    """A model package of ours: `model` as package.resolve takes it, decoded at `realism` (None: the file's default)."""

    name: str
    model: str | None = None
    realism: float | None = None
    threads: int | None = None
    suffix: str = ".itg"
    about: str = field(init=False)
    settings: tuple[Setting, ...] = tuple(range(package.STEPS))

    def __post_init__(self) -> None:
        if self.realism is not None and not 0 <= self.realism <= 1:
            raise BadInput(f"{self.name}: realism is {self.realism}; give a number from 0 to 1")
        card = self._package.card
        realism = float(card.get("realism", 0.0)) if self.realism is None else self.realism
        self.about = f"model {self._package.name} {card['fingerprint']}, realism {realism:g}"
        if self._package.refined:
            self.about += f", refined by {card['refinement'].get('kind', 'a model of its own')}"

    @property
    def _package(self) -> package.Package:
        return package.resolve(self.model)

    def parts(self) -> list[str]:
        """The members' digests and what the encoder reads of the card: the fingerprint in `about` is the decoder's, and
        a better encoder may come under it."""
        card = self._package.card
        members = [f"{name} {digest}" for name, digest in sorted(card["sha256"].items())]
        return members + [f"{name} {card[name]}" for name in ("halo", "adaptive", "grain", "rounding") if name in card]

    def encoder(self, image: Image.Image) -> Callable[[Setting], bytes]:
        realism = float(self._package.card.get("realism", 0.0)) if self.realism is None else self.realism
        encoder = self._encoder(image, realism, True)  # analysed here, once
        return lambda setting: encoder.at(int(setting))

    def finish(self, image: Image.Image, data: bytes, limit: int | None) -> bytes:
        return self._encoder(image, 0.0, False).refined(data, limit)

    def room(self, image: Image.Image) -> int:
        return self._encoder(image, 0.0, False).room

    def _encoder(self, image: Image.Image, realism: float, keep: bool) -> itg.Encoder:
        engine = runtime(self._package, "cpu", self.threads)
        return itg.Encoder(pictures.load(image), engine, realism, keep, lambda share: None, eye=True)

    def decode(self, data: bytes) -> Image.Image:
        return itg.decode(data, realism=self.realism, model=self._package, threads=self.threads)

    def version(self) -> str:
        import onnxruntime

        from .. import __version__

        return f"intaglio {__version__}, onnxruntime {onnxruntime.__version__}"


def _table() -> dict[str, Callable[[int | None], Codec]]:
    """Makers by name; each takes the number of threads (None: as many as the codec likes)."""
    from . import external, plugins

    def avif(threads: int | None) -> Codec:
        # left to itself libavif cuts the picture into a tile for each thread, which costs bits
        options: dict[str, Any] = {"speed": 6, "subsampling": "4:4:4", "autotiling": False}
        options |= {"max_threads": threads} if threads else {}
        about = "libaom's encoder at speed 6, 4:4:4, one tile"
        return PillowCodec("avif", "AVIF", ".avif", tuple(range(101)), options, "avif", "libavif", about)

    ratios = tuple(round(float(r), 3) for r in np.geomspace(1000, 1.5, 512))
    jpeg = PillowCodec("jpeg", "JPEG", ".jpg", tuple(range(1, 96)), {"optimize": True, "subsampling": "4:2:0"}, "jpg",
                       "libjpeg-turbo", "baseline, optimised Huffman tables, 4:2:0")
    # Pillow codes R, G and B apart unless told of mct, which costs 4 dB.
    jpeg2000 = PillowCodec("jpeg2000", "JPEG2000", ".jp2", ratios,
                           {"irreversible": True, "mct": 1, "quality_mode": "rates"}, "jpg_2000", "OpenJPEG",
                           "9/7 wavelet, YCbCr, one quality layer, by compression ratio", "quality_layers")
    webp = PillowCodec("webp", "WEBP", ".webp", tuple(range(101)), {"method": 6}, "webp", "libwebp", "method 6")
    png = PillowCodec("png", "PNG", ".png", (9,), {"optimize": True}, "zlib", "zlib", "lossless, optimised",
                      "compress_level")
    return {
        "jpeg": lambda threads: jpeg,
        "jpeg2000": lambda threads: jpeg2000,
        "webp": lambda threads: webp,
        "avif": avif,
        "heic": lambda threads: plugins.Heic(),
        "jxl": lambda threads: plugins.JpegXL(),
        "png": lambda threads: png,
        "hevc": external.Hevc,
        "vvc": external.Vvc,
        "bpg": lambda threads: external.Bpg(),
        "intaglio": lambda threads: Intaglio("intaglio", None, None, threads),
    }


NAMES = ("jpeg", "jpeg2000", "webp", "avif", "heic", "jxl", "png", "hevc", "vvc", "bpg", "intaglio")


def named(spec: str, threads: int | None = None) -> Codec:
    """The codec that a user's word means: one of NAMES, a released model's name, or a path to a package (.itgm); of
    models also WORD@REALISM, decoded at that realism (intaglio@0.5). The name of a path is the file's own.

    Raises BadInput (no such codec, realism out of range) or WrongModel (no such package, or a damaged one).
    """
    word, at, tail = spec.rpartition("@")
    if not at:
        word, tail = spec, ""
    elif word in NAMES and word != "intaglio":
        raise BadInput(f"{spec}: only intaglio models have a realism, and {word} is none")
    if word == "intaglio" or word in package.released_names() or word.endswith(".itgm"):
        try:
            realism = float(tail) if at else None
        except ValueError:
            raise BadInput(f"{spec}: {tail!r} is no realism; give a number from 0 to 1 behind the @") from None
        label = os.path.basename(word).removesuffix(".itgm") + (at + tail)
        return Intaglio(label, None if word == "intaglio" else word, realism, threads)
    table = _table()
    if spec in table:
        return table[spec](threads)
    if Path(spec).is_file():
        raise BadInput(f"{spec} is a file, but no model package; those end in .itgm")
    raise BadInput(f"no codec is called {spec!r}; there are {', '.join(NAMES)}, released models' names "
                   f"({', '.join(package.released_names())}) and paths of .itgm packages")


class Search:
    """The files of one picture by one codec, each written once however many targets are tried."""

    def __init__(self, codec: Codec, image: Image.Image):
        self.codec, self._image = codec, image
        self._encode = codec.encoder(image)
        self._files: dict[Setting, bytes] = {}

    def at(self, setting: Setting) -> bytes:
        """The file at one setting, not finished."""
        if setting not in self._files:
            self._files[setting] = self._encode(setting)
        return self._files[setting]

    def within(self, target_bytes: int) -> tuple[Setting, bytes]:
        """The largest file of at most `target_bytes`, else the smallest there is, with its setting; finished.

        By bisection: exact where sizes grow with the setting. Where they dip, as libraries' sometimes do by a few
        bytes, it is the largest file among those tried. What is tried never depends on earlier targets.
        """
        if room := self.codec.room(self._image):
            setting, data = self._within(target_bytes - room)
            finished = self.codec.finish(self._image, data, target_bytes)
            if finished is not data:
                return setting, finished
        return self._within(target_bytes)

    def _within(self, target_bytes: int) -> tuple[Setting, bytes]:
        settings = self.codec.settings
        best = (settings[0], self.at(settings[0]))
        if len(best[1]) > target_bytes:
            return best
        low, high = 0, len(settings)  # the file of low fits; that of high does not, or there is none
        while high - low > 1:
            middle = (low + high) // 2
            data = self.at(settings[middle])
            if len(data) > target_bytes:
                high = middle
                continue
            low = middle
            if len(data) >= len(best[1]):
                best = (settings[middle], data)
        return best


def find(codec: Codec, image: Image.Image, target_bytes: int) -> tuple[Setting, bytes]:
    """(setting, file) of the largest file of at most `target_bytes`, else of the smallest."""
    return Search(codec, image).within(target_bytes)
