"""The Pillow plugin: after `import intaglio.pillow`, Image.open and Image.save know `.itg`.

    im = Image.open("photo.itg")      # reads the header: size, mode, info; no network runs
    im.load()                         # decodes (as every use of the pixels does); load(realism=0.3) to choose
    im.save("copy.itg", quality=40)   # or target_bpp=, target_bytes=, realism=, roi=, model=, icc_profile=, exif=, xmp=

`info` has icc_profile, exif and xmp under Pillow's usual names, and the file's q, quality and realism. Failures are
what Pillow's users expect: UnidentifiedImageError for a file of another kind, OSError for a damaged one or a model that
is not at hand, ValueError for a parameter that makes no sense. Image.MAX_IMAGE_PIXELS is the limit on sizes.

Pillow loads a picture before it hands it over, and a loaded picture no longer tells how deep its file was: `strict`
sees nothing of more than 8 bits there, nor is the transparent grey of a 2- or 4-bit PNG known. intaglio.encode(path)
reads the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, cast

from PIL import Image, ImageFile

from . import codec
from .container import MAX_SIDE, SIGNATURE
from .errors import BadInput, IntaglioError
from .metadata import exif_of
from .package import Package
from .reader import Reader

FORMAT = "ITG"
_ENCODING = ("quality", "target_bpp", "target_bytes", "realism", "roi", "tune", "model", "strict", "device", "threads")
_METADATA = ("icc_profile", "exif", "xmp")


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except IntaglioError as error:
        raise OSError(str(error)) from error


@contextmanager
def _as_pillow_does() -> Iterator[None]:
    """ValueError for parameters, OSError for all else."""
    try:
        with _as_os_error():
            yield
    except OSError as error:
        if isinstance(error.__cause__, BadInput):
            raise ValueError(str(error)) from error.__cause__
        raise


class ItgImageFile(ImageFile.ImageFile):
    """An `.itg` file that is decoded when its pixels are first wanted."""

    format = FORMAT
    format_description = "intaglio"
    _reader: Reader | None = None

    def _open(self) -> None:
        with _as_os_error():
            self._reader = Reader(cast(BinaryIO, self.fp), max_pixels=MAX_SIDE**2)  # Image.open has a limit of its own
        header = self._reader.header
        self._size = header.width, header.height
        self._mode = header.mode
        self.info |= {"q": header.q, "quality": round(header.q * 100 / codec.TOP, 1), "realism": header.realism}
        for name, value in zip(_METADATA, (self._reader.icc, self._reader.exif, self._reader.xmp), strict=True):
            if value is not None:
                self.info[name] = value

    def load(
        self,
        realism: float | None = None,
        model: Package | str | None = None,
        device: str = "cpu",
        threads: int | None = None,
        grain: float | None = None,
    ) -> Any:
        """Decode, unless that was done before; the parameters are those of intaglio.decode."""
        if self._reader is not None:
            with _as_pillow_does():
                image = codec.decode_reader(self._reader, realism, None, model, device, threads, grain=grain)
            self.im = image.im
            self.readonly = 0
            self._reader = None
            if self._exclusive_fp and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Check every checksum of the file without decoding it; like any verify, it leaves the image unusable."""
        if self._reader is not None:
            with _as_os_error():
                self._reader.check_tail()
                for i in range(self._reader.header.tiles):
                    self._reader.tile(i)
                    self._reader.alpha(i)
            self._reader = None
        super().verify()


def _accept(prefix: bytes) -> bool | str:
    if prefix[1:4] == SIGNATURE[1:4] and not prefix.startswith(SIGNATURE):
        return "an .itg file whose signature is damaged, as transfers in text mode do; get a fresh copy in binary mode"
    return prefix.startswith(SIGNATURE)


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    given = image.encoderinfo
    metadata = {name: given[name] for name in _METADATA if name in given}
    if isinstance(metadata.get("exif"), Image.Exif):
        metadata["exif"] = metadata["exif"].tobytes()
    if metadata:  # into a twin that shares the pixels: the caller's own info stays as it is
        if "exif" not in metadata:  # a TIFF has it as tags, which the twin does not
            metadata["exif"] = exif_of(image, str(getattr(image, "filename", "") or "the picture"))
        twin = image._new(image.im)
        twin.info = dict(image.info)
        twin.info.update(metadata)
        image = twin
    with _as_pillow_does():
        data = codec.encode(image, **{name: given[name] for name in _ENCODING if name in given})
    fp.write(data)


Image.register_open(FORMAT, ItgImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".itg")
Image.register_mime(FORMAT, "image/x-intaglio")
