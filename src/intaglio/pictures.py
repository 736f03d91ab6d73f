"""Files and arrays -> pictures in one of the four modes that intaglio keeps; knows nothing of the codec.

A picture is a Pillow image and stays one: a 100-megapixel photograph is decoded once and never copied as a whole unless
its mode has to change. What cannot be kept (other modes, more than 8 bits, further frames) is converted with one
warning, or refused.

Orientation: pixels and metadata always belong together. JPEG, PNG, WebP and AVIF keep their stored pixels and the
orientation in their EXIF; TIFF and HEIC are turned upright by the libraries that read them, which also take the
orientation out of the EXIF.
"""

import io
import os
import warnings
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin, UnidentifiedImageError

from .container import MAX_PIXELS
from .errors import BadInput, IntaglioWarning, TooLarge
from .guards import foreseen, pillow_limit
from .metadata import exif_of, icc_of, xmp_of
from .source import drained

MODES = ("L", "LA", "RGB", "RGBA")

# What the other modes of Pillow become; a transparent colour or palette then makes L into LA and RGB into RGBA.
_BECOMES = {"1": "L", "I": "L", "F": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"heif", b"mif1", b"msf1"}


@dataclass
class Picture:
    """`image` in mode L, LA, RGB or RGBA, its `info` empty; its metadata byte for byte as Pillow read them, or None."""

    image: Image.Image
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


class _Rules(NamedTuple):
    """What reading may do: convert or refuse, warn or be silent, and how large a picture may be."""

    strict: bool
    silent: bool
    max_pixels: int


def load(source: Any, strict: bool = False, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a path, a binary file (from its start), a Pillow image (its current frame; the pixels are shared, not
    copied) or a uint8 array of shape (H, W) or (H, W, 1..4).

    strict: refuse whatever would be converted or dropped. max_pixels bounds width * height, in place of Pillow's limit.
    Raises BadInput (missing, damaged, no picture, refused) or TooLarge; warns with IntaglioWarning, one line a picture.
    """
    return _load(source, _Rules(strict, False, max_pixels))


def load_mask(source: Any, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Whatever `load` reads, or an array of booleans (True is white), as a grey mask (mode L). No conversion is worth a
    warning; transparency says nothing."""
    if isinstance(source, np.ndarray) and source.dtype == np.bool_:
        source = source.astype(np.uint8) * np.uint8(255)
    image = _load(source, _Rules(False, True, max_pixels)).image
    return image.convert("RGB").convert("L") if image.mode in ("LA", "RGBA") else image.convert("L")


def _load(source: Any, rules: _Rules) -> Picture:
    if isinstance(source, np.ndarray):
        return _finish(_from_array(source), "the array", [], rules)
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "the picture")
        with pillow_limit(rules.max_pixels), foreseen(f"cannot read {name}", rules.max_pixels):
            return _decode(source, b"", name, rules)
    if isinstance(source, (str, os.PathLike)):
        name = os.fsdecode(source)
        try:
            file = open(name, "rb")  # noqa: SIM115 (the with below closes it)
        except FileNotFoundError:
            raise BadInput(f"cannot read {name}: there is no such file") from None
        except (OSError, ValueError) as error:
            reason = "it is a folder" if os.path.isdir(name) else getattr(error, "strerror", None) or error
            raise BadInput(f"cannot read {name}: {reason}") from error
        with file:
            return _read(file, name, rules)
    if hasattr(source, "read"):
        return _read(source, str(getattr(source, "name", "the stream")), rules)
    hint = "numpy.asarray makes an array of much else"
    if isinstance(source, (bytes, bytearray, memoryview)):
        hint = "io.BytesIO makes a file of bytes"
    wanted = "a path, a binary file, a Pillow image or a uint8 array"
    raise BadInput(f"a {type(source).__name__} cannot be read as a picture: give {wanted} ({hint})")


def _read(file: IO[bytes], name: str, rules: _Rules) -> Picture:
    with pillow_limit(rules.max_pixels), foreseen(f"cannot read {name}", rules.max_pixels):
        if not getattr(file, "seekable", lambda: True)():
            file = io.BytesIO(drained(file, name))
        file.seek(0)
        head = file.read(4096)
        if not isinstance(head, bytes):
            raise BadInput(f"cannot read {name}: it is open as text, open it in binary mode")
        if not head:
            raise BadInput(f"cannot read {name}: it is empty")
        if head[1:4] == b"ITG":  # our Pillow plugin, where it is registered, would decode it
            raise BadInput(f"cannot read {name}: it is an .itg file already, decode it first")
        heif = _is_heif(head)
        if heif:
            register_heif(f"read {name}")
        try:
            image = Image.open(file, formats=["HEIF"] if heif else None)
        except UnidentifiedImageError:
            raise BadInput(f"cannot read {name}: it is damaged, or of a kind that Pillow does not know") from None
        return _decode(image, head, name, rules)


def _decode(image: Image.Image, head: bytes, name: str, rules: _Rules) -> Picture:
    """Decode the pixels, noting beforehand what only the undecoded file tells."""
    _check_size(image, name, rules.max_pixels)
    notes = []
    if isinstance(image, TiffImagePlugin.TiffImageFile) and int(image.tag_v2.get(254, 0)) & 1:
        reason = "only its preview can be read (a camera's raw file?), develop it to TIFF or PNG first"
        raise BadInput(f"cannot read {name}: {reason}")
    if getattr(image, "is_animated", False):
        notes.append("only one of its several frames or pages is kept")
    rawmode = _rawmode(image)
    deep_heif = image.format == "HEIF" and image.info.get("bit_depth", 8) > 8
    transparent = image.info.get("transparency")
    deep_colour = isinstance(transparent, tuple) and (";16" in rawmode or max(transparent) > 255)
    if image.mode in MODES and (";16" in rawmode or deep_colour or deep_heif or _deep_avif(head)):
        notes.append("more than 8 bits a sample are reduced to 8")
    image.load()
    if deep_colour and isinstance(transparent, tuple):  # Pillow reduces the pixels, not the colour
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    if rawmode in ("L;2", "L;4") and isinstance(transparent, int):
        image.info["transparency"] = min(255, transparent * (85 if rawmode == "L;2" else 17))
    return _finish(image, name, notes, rules)


def _finish(image: Image.Image, name: str, notes: list[str], rules: _Rules) -> Picture:
    """The loaded image in a mode that is kept, with its metadata beside it."""
    _check_size(image, name, rules.max_pixels)
    target = image.mode if image.mode in MODES else _BECOMES.get(image.mode.split(";")[0], "RGB")
    if target in ("L", "RGB") and image.mode in ("1", "L", "P", "RGB", "I;16") and image.has_transparency_data:
        target += "A"
    if target != image.mode:
        notes.append(f"mode {image.mode} becomes {target}")
    if rules.strict and notes:
        raise BadInput(f"{name} cannot be kept as it is: {', '.join(notes)}; convert it first or do without strict")
    icc, xmp = icc_of(image), xmp_of(image)
    exif = None if rules.silent else exif_of(image, name)  # which warns of damaged tags
    if target == image.mode:
        plain = image._new(image.im)  # the same pixels, without the decoder, its buffers and its file
        plain.readonly = image.readonly  # a mapped file: Pillow copies it before it changes it
    else:
        plain, how = _convert(image, target, icc, name)
        notes[-1] += how
        if image.mode in ("CMYK", "LAB", "HSV"):
            icc = None  # it described the inks (or the space), not the RGB that replaces them
    plain.info = {}
    if notes and not rules.silent:
        warnings.warn(f"{name}: {', '.join(notes)}", IntaglioWarning, stacklevel=2)
    return Picture(plain, icc, exif, xmp)


def _convert(image: Image.Image, target: str, icc: bytes | None, name: str) -> tuple[Image.Image, str]:
    """The image in the target mode, and how it was done (for the warning)."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _convert_deep(image, target, name)
    if image.mode not in ("CMYK", "LAB"):
        return image.convert(target), ""
    if image.mode == "CMYK" and not icc:
        return image.convert(target), " without a profile (none is attached)"
    try:
        srgb = ImageCms.createProfile("sRGB")
        space = io.BytesIO(icc or b"") if image.mode == "CMYK" else ImageCms.createProfile("LAB")
        transform = ImageCms.buildTransform(
            space, srgb, image.mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        )
        converted = ImageCms.applyTransform(image, transform)
        assert converted is not None  # None only when done in place
        return converted, " through its ICC profile" if image.mode == "CMYK" else ""
    except (ImageCms.PyCMSError, ImportError):  # no CMYK profile, or a Pillow built without LittleCMS
        return image.convert(target), " without its ICC profile (it cannot be used)"


def _convert_deep(image: Image.Image, target: str, name: str) -> tuple[Image.Image, str]:
    """Grey of 16 bits, 32 bits or float to 8 bits, round(v * 255 / top), in bands that keep the working memory small.

    top is 65535 for integers (what Pillow's mode I holds is mostly 16-bit files), and for floats the least of 1, 255
    and 65535 that holds them all.
    """
    width, height = image.size
    rows = max(1, 2**20 // width)
    boxes = [(0, y, width, min(height, y + rows)) for y in range(0, height, rows)]
    top = 65535
    if not image.mode.startswith("I;16"):
        low, high = float("inf"), float("-inf")
        for box in boxes:
            band = np.asarray(image.crop(box))
            low, high = np.minimum(low, band.min()), np.maximum(high, band.max())  # both carry NaN on
        if not 0 <= low <= high <= 65535:
            values = f"its values run from {low:g} to {high:g}"
            raise BadInput(f"cannot convert {name} to 8 bits: {values}, scale them to 0..255 first")
        if image.mode == "F":
            top = 1 if high <= 1 else 255 if high <= 255 else 65535
    result = Image.new(target, image.size)
    for box in boxes:
        band = np.asarray(image.crop(box))
        grey = Image.fromarray((band * (255.0 / top) + 0.5).astype(np.uint8))
        if target == "LA":
            opaque = np.where(band == image.info["transparency"], 0, 255).astype(np.uint8)
            grey = Image.merge("LA", (grey, Image.fromarray(opaque)))
        result.paste(grey, box)
    return result, f" (0..{top} to 0..255)"


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        sixteen = array.dtype.kind == "u" and array.dtype.itemsize == 2  # of either byte order
        how = "(a // 257).astype(numpy.uint8)" if sixteen else "a.astype(numpy.uint8)"
        if array.dtype == np.bool_:
            how = "a.astype(numpy.uint8) * 255"
        if array.dtype.kind == "f":
            how = "numpy.clip(a * 255 + 0.5, 0, 255).astype(numpy.uint8) if it runs from 0 to 1"
        raise BadInput(f"the array is {array.dtype}, not uint8 in 0..255: convert it, for instance with {how}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (2, 3, 4)):
        wanted = "(height, width) or (height, width, channels) with 1 to 4 channels"
        raise BadInput(f"the array's shape is {array.shape}: give {wanted}")
    if 0 in array.shape:
        raise BadInput(f"the array's shape is {array.shape}: it holds no pixels")
    return Image.fromarray(array)


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if not width or not height:
        raise BadInput(f"{name} is {width}x{height}: it holds no pixels")
    if width * height > max_pixels:
        raise TooLarge(f"{name} is {width}x{height}: {width * height} pixels are more than max_pixels={max_pixels}")


def _rawmode(image: Image.Image) -> str:
    """How the file stores its samples, in Pillow's words ("RGB;16B"), "" where unknown. Only told before loading."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return ""
    codec, _, _, args = image.tile[0]
    if codec.startswith("ppm") and isinstance(args, tuple):
        return f"{args[0]};16" if int(args[1]) > 255 else str(args[0])
    return str(args[0] if isinstance(args, tuple) and args else args)


def _deep_avif(head: bytes) -> bool:
    """Whether the AV1 configuration box says 10 or 12 bits (AV1-ISOBMFF 2.3.3); Pillow reduces them without a word."""
    at = head.find(b"av1C")
    return head[4:8] == b"ftyp" and 0 <= at < len(head) - 6 and bool(head[at + 6] & 0x40)


def _is_heif(head: bytes) -> bool:
    """Whether the file type box names HEIF's brands and none of AVIF's, which Pillow reads by itself."""
    if head[4:8] != b"ftyp":
        return False
    box = head[8 : int.from_bytes(head[:4], "big")]
    brands = {box[i : i + 4] for i in range(0, len(box), 4)}
    return bool(brands & _HEIF_BRANDS) and not brands & {b"avif", b"avis"}


def register_heif(purpose: str) -> None:
    try:
        import pillow_heif
    except ImportError:
        raise BadInput(f'cannot {purpose}: HEIC needs one more package, pip install "intaglio[heic]"') from None
    pillow_heif.register_heif_opener()
