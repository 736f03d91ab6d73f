"""Files and arrays <-> pictures in one of the four modes that intaglio keeps; knows nothing of the codec.

A picture is a Pillow image and stays one: a 100-megapixel photograph is decoded once and never copied as a whole unless
its mode has to change. What cannot be kept (other modes, more than 8 bits, further frames) is converted with one
warning, or refused.

Orientation: pixels and metadata always belong together. JPEG, PNG, WebP and AVIF keep their stored pixels and the
orientation in their EXIF; TIFF and HEIC are turned upright by the libraries that read them, which also take the
orientation out of the EXIF.
"""

import contextlib
import io
import os
import secrets
import stat
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from .errors import BadInput, IntaglioError, IntaglioWarning, TooLarge

MODES = ("L", "LA", "RGB", "RGBA")
MAX_PIXELS = 2**28

# What the other modes of Pillow become; a transparent colour or palette then makes L into LA and RGB into RGBA.
_BECOMES = {"1": "L", "I": "L", "F": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"heif", b"mif1", b"msf1"}
_XMP_TAG = 700
# Tags of a TIFF directory that tell how its own pixels are stored, or that are carried apart (XMP, 34675 ICC), or
# that are private to IPTC and Photoshop (at times whole pictures): no EXIF for another file.
_STORAGE_TAGS = {*range(254, 260), *range(262, 267), 273, *range(277, 282), 284, *range(288, 294), 301, 317}
_STORAGE_TAGS |= {*range(320, 326), 330, 332, *range(338, 343), 347, *range(512, 533), 559}
_STORAGE_TAGS |= {_XMP_TAG, 33723, 34377, 34675, 37724}


class _Format(NamedTuple):
    """A format to write: whether it holds alpha and metadata, and Pillow's options for it.

    The options are such that a decoded picture does not lose much again.
    """

    name: str
    suffixes: str
    alpha: bool
    metadata: bool
    options: dict[str, Any]


_FORMATS = (
    _Format("PNG", ".png", True, True, {}),
    _Format("JPEG", ".jpg .jpeg", False, True, {"quality": 95, "subsampling": 0}),
    _Format("WEBP", ".webp", True, True, {"lossless": True, "exact": True}),  # exact: colours under transparent pixels
    _Format("TIFF", ".tif .tiff", True, True, {}),
    _Format("AVIF", ".avif", True, True, {"quality": 90}),
    _Format("HEIF", ".heic .heif", True, True, {"quality": 90}),
    _Format("JPEG2000", ".jp2", True, False, {}),
    _Format("TGA", ".tga", True, False, {}),
    _Format("BMP", ".bmp", False, False, {}),
    _Format("PPM", ".ppm .pgm .pnm", False, False, {}),
)
_BY_SUFFIX = {suffix: row for row in _FORMATS for suffix in row.suffixes.split()}
_MARKER_LIMITS = {"ICC": 255 * 65519, "EXIF": 65527, "XMP": 65504}  # bytes, JPEG only


@dataclass
class Picture:
    """`image` in mode L, LA, RGB or RGBA, its `info` empty; its metadata byte for byte as Pillow read them, or None."""

    image: Image.Image
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


def load(source: Any, strict: bool = False, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a path, a binary file (from its start), a Pillow image (its current frame; the pixels are shared, not
    copied) or a uint8 array of shape (H, W) or (H, W, 1..4).

    strict: refuse whatever would be converted or dropped. max_pixels bounds width * height, in place of Pillow's limit.
    Raises BadInput (missing, damaged, no picture, refused) or TooLarge; warns with IntaglioWarning, one line a picture.
    """
    if isinstance(source, np.ndarray):
        return _finish(_from_array(source), "the array", [], strict, max_pixels)
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "the picture")
        with _pillow_limit(max_pixels), _foreseen(f"cannot read {name}", max_pixels):
            return _decode(source, b"", name, strict, max_pixels)
    if isinstance(source, (str, os.PathLike)):
        name = os.fsdecode(source)
        try:
            file = open(name, "rb")
        except FileNotFoundError:
            raise BadInput(f"cannot read {name}: there is no such file") from None
        except (OSError, ValueError) as error:
            reason = "it is a folder" if os.path.isdir(name) else getattr(error, "strerror", None) or error
            raise BadInput(f"cannot read {name}: {reason}") from error
        with file:
            return _read(file, name, strict, max_pixels)
    if hasattr(source, "read"):
        return _read(source, str(getattr(source, "name", "the stream")), strict, max_pixels)
    hint = "numpy.asarray makes an array of much else"
    if isinstance(source, (bytes, bytearray, memoryview)):
        hint = "io.BytesIO makes a file of bytes"
    wanted = "a path, a binary file, a Pillow image or a uint8 array"
    raise BadInput(f"a {type(source).__name__} cannot be read as a picture: give {wanted} ({hint})")


def _read(file: IO[bytes], name: str, strict: bool, max_pixels: int) -> Picture:
    with _pillow_limit(max_pixels), _foreseen(f"cannot read {name}", max_pixels):
        if not getattr(file, "seekable", lambda: True)():
            file = io.BytesIO(file.read())
        file.seek(0)
        head = file.read(4096)
        if not isinstance(head, bytes):
            raise BadInput(f"cannot read {name}: it is open as text, open it in binary mode")
        if not head:
            raise BadInput(f"cannot read {name}: it is empty")
        heif = _is_heif(head)
        if heif:
            _register_heif(f"read {name}")
        try:
            image = Image.open(file, formats=["HEIF"] if heif else None)
        except UnidentifiedImageError:
            reason = "it is damaged, or of a kind that Pillow does not know"
            if head[1:4] == b"ITG":
                reason = "it is an .itg file already, decode it first"
            raise BadInput(f"cannot read {name}: {reason}") from None
        return _decode(image, head, name, strict, max_pixels)


def _decode(image: Image.Image, head: bytes, name: str, strict: bool, max_pixels: int) -> Picture:
    """Decode the pixels, noting beforehand what only the undecoded file tells."""
    _check_size(image, name, max_pixels)
    notes = []
    if isinstance(image, TiffImagePlugin.TiffImageFile) and int(image.tag_v2.get(254, 0)) & 1:
        reason = "only its preview can be read (a camera's raw file?), develop it to TIFF or PNG first"
        raise BadInput(f"cannot read {name}: {reason}")
    if getattr(image, "is_animated", False):
        notes.append("only one of its several frames or pages is kept")
    rawmode = _rawmode(image)
    deep_heif = image.format == "HEIF" and image.info.get("bit_depth", 8) > 8
    if image.mode in MODES and (";16" in rawmode or deep_heif or _deep_avif(head)):
        notes.append("more than 8 bits a sample are reduced to 8")
    image.load()
    transparent = image.info.get("transparency")
    if ";16" in rawmode and isinstance(transparent, tuple):  # Pillow reduces the pixels, not the colour
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    if rawmode in ("L;2", "L;4") and isinstance(transparent, int):
        image.info["transparency"] = min(255, transparent * (85 if rawmode == "L;2" else 17))
    return _finish(image, name, notes, strict, max_pixels)


def _finish(image: Image.Image, name: str, notes: list[str], strict: bool, max_pixels: int) -> Picture:
    """The loaded image in a mode that is kept, with its metadata beside it."""
    _check_size(image, name, max_pixels)
    target = image.mode if image.mode in MODES else _BECOMES.get(image.mode.split(";")[0], "RGB")
    if target in ("L", "RGB") and image.mode in ("1", "L", "P", "RGB", "I;16") and image.has_transparency_data:
        target += "A"
    if target != image.mode:
        notes.append(f"mode {image.mode} becomes {target}")
    if strict and notes:
        raise BadInput(f"{name} cannot be kept as it is: {', '.join(notes)}; convert it first or do without strict")
    icc, exif, xmp = _icc(image), _exif(image, name), _xmp(image)
    if target == image.mode:
        plain = image._new(image.im)  # the same pixels, without the decoder, its buffers and its file
        plain.readonly = image.readonly  # a mapped file: Pillow copies it before it changes it
    else:
        plain, how = _convert(image, target, icc, name)
        notes[-1] += how
        if image.mode in ("CMYK", "LAB", "HSV"):
            icc = None  # it described the inks (or the space), not the RGB that replaces them
    plain.info = {}
    if notes:
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
        how = "(a // 257).astype(numpy.uint8)" if array.dtype == np.uint16 else "a.astype(numpy.uint8)"
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


def _register_heif(purpose: str) -> None:
    try:
        import pillow_heif
    except ImportError:
        raise BadInput(f'cannot {purpose}: HEIC needs one more package, pip install "intaglio[heic]"') from None
    pillow_heif.register_heif_opener()


def _icc(image: Image.Image) -> bytes | None:
    profile = image.info.get("icc_profile")
    return bytes(profile) if isinstance(profile, (bytes, bytearray)) and profile else None


def _exif(image: Image.Image, name: str) -> bytes | None:
    exif = image.info.get("exif") or _raw_profile(image, "exif")
    if not exif and isinstance(image, TiffImagePlugin.TiffImageFile):
        try:
            exif = _portable_exif(image.getexif())
        except Exception:  # Pillow's EXIF code fails in many ways on damaged tags
            warnings.warn(f"{name}: its EXIF is damaged and left out", IntaglioWarning, stacklevel=2)
    return bytes(exif) if isinstance(exif, (bytes, bytearray)) and exif else None


def _xmp(image: Image.Image) -> bytes | None:
    xmp = image.info.get("xmp") or _raw_profile(image, "xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return bytes(xmp) if isinstance(xmp, (bytes, bytearray)) and xmp else None


def _raw_profile(image: Image.Image, kind: str) -> bytes | None:
    """ImageMagick's way to keep metadata in a PNG: a text of three lines (the third a length), then hexadecimal."""
    try:
        return bytes.fromhex("".join(image.info[f"Raw profile type {kind}"].split("\n")[3:]))
    except (KeyError, ValueError, AttributeError):
        return None


def _portable_exif(exif: Image.Exif, xmp: bytes | None = None) -> bytes:
    """The same EXIF without the tags that describe its own file; with XMP, as a TIFF keeps it. b"" when empty."""
    portable = Image.Exif()
    portable.endian = exif.endian
    for tag in exif:
        if tag == ExifTags.IFD.Exif:
            directory = dict(exif.get_ifd(tag))
            if ExifTags.IFD.Interop in directory:
                directory[ExifTags.IFD.Interop] = exif.get_ifd(ExifTags.IFD.Interop)
            portable[tag] = directory
        elif tag not in _STORAGE_TAGS:
            portable[tag] = exif.get_ifd(tag) if tag == ExifTags.IFD.GPSInfo else exif[tag]
    if xmp:
        portable[_XMP_TAG] = xmp
    return portable.tobytes() if len(portable) else b""


@contextlib.contextmanager
def _foreseen(what: str, max_pixels: int = MAX_PIXELS) -> Iterator[None]:
    """Turn whatever Pillow and its plugins raise on damaged files (nearly anything) into one sentence."""
    try:
        yield
    except (IntaglioError, IntaglioWarning, BrokenPipeError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{what}: it holds more than max_pixels={max_pixels} pixels") from error
    except MemoryError as error:
        raise TooLarge(f"{what}: there is not enough memory for its pixels") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{what}: {reason}") from error


_limits: list[int] = []
_limits_lock = threading.Lock()
_pillow_before: int | None = None


@contextlib.contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    """Lift Pillow's global limit, which warns and refuses below ours, while any thread of ours reads."""
    global _pillow_before
    with _limits_lock:
        if not _limits:
            _pillow_before = Image.MAX_IMAGE_PIXELS
        _limits.append(max_pixels)
        _set_pillow_limit()
    try:
        yield
    finally:
        with _limits_lock:
            _limits.remove(max_pixels)
            _set_pillow_limit()


def _set_pillow_limit() -> None:
    Image.MAX_IMAGE_PIXELS = None if _pillow_before is None else max(_pillow_before, *_limits, 0)


def save(
    image: Image.Image,
    path_or_file: Any,
    *,
    icc: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    format: str | None = None,
) -> None:
    """Write an L, LA, RGB or RGBA image in the format that the suffix (or `format`, "png") names; atomic for a path.

    Metadata left as None is taken from image.info; b"" writes none. What the format cannot hold is dropped with an
    IntaglioWarning. Raises BadInput: unknown format, alpha it cannot hold, unwritable path, encoder failure.
    """
    path = os.fsdecode(path_or_file) if isinstance(path_or_file, (str, os.PathLike)) else None
    name = path if path is not None else str(getattr(path_or_file, "name", "the stream"))
    suffix = f".{format.lower().lstrip('.')}" if format else os.path.splitext(name)[1].lower()
    if suffix not in _BY_SUFFIX:
        reason = f"{suffix} is none of the formats" if suffix else "no suffix says which format, choose one of"
        raise BadInput(f"cannot write {name}: {reason} {' '.join(_BY_SUFFIX)}")
    kind = _BY_SUFFIX[suffix]
    if kind.name == "HEIF":
        _register_heif(f"write {name}")
    if kind.name not in Image.SAVE:
        Image.init()
    if kind.name not in Image.SAVE:
        raise BadInput(f"cannot write {name}: this Pillow was built without {kind.name}")
    if image.mode not in MODES:
        raise BadInput(f"cannot write {name}: mode {image.mode} is not one of {' '.join(MODES)}, convert it first")
    if image.mode in ("LA", "RGBA") and not kind.alpha:
        raise BadInput(
            f"cannot write {name}: {kind.name} cannot hold an alpha channel, choose .png, .webp, .tiff or .avif"
        )
    image.load()
    given = {"ICC": (icc, "icc_profile"), "EXIF": (exif, "exif"), "XMP": (xmp, "xmp")}
    metadata = {label: image.info.get(key) if data is None else data for label, (data, key) in given.items()}
    options = kind.options | _attached(kind, {k: v for k, v in metadata.items() if v}, name)
    plain = image._new(image.im)
    plain.info = {}  # else Pillow attaches what it finds there, of whatever format
    with contextlib.ExitStack() as stack:
        if path is not None:
            file = stack.enter_context(_replacing(path))
            stack.enter_context(_foreseen(f"cannot write {name}"))
            plain.save(file, kind.name, **options)
            return
        stack.enter_context(_foreseen(f"cannot write {name}"))
        if getattr(path_or_file, "seekable", lambda: False)():
            plain.save(path_or_file, kind.name, **options)
        else:
            buffer = io.BytesIO()
            plain.save(buffer, kind.name, **options)
            path_or_file.write(buffer.getbuffer())


def _attached(kind: _Format, metadata: dict[str, bytes], name: str) -> dict[str, Any]:
    """Pillow's save options that attach the metadata (label -> bytes), warning of what has to stay behind."""
    lost = {}
    for label, data in metadata.items():
        if not kind.metadata:
            lost[label] = "no room for it"
        elif kind.name == "JPEG" and len(data) > _MARKER_LIMITS[label]:
            lost[label] = f"{len(data)} bytes are too many"
    parsed = Image.Exif()
    if "EXIF" in metadata and kind.name in ("TIFF", "AVIF", "HEIF"):  # these take it apart
        try:
            parsed.load(metadata["EXIF"])
            _portable_exif(parsed)
        except Exception:
            lost["EXIF"] = "it is damaged"
    if lost:
        reasons = ", ".join(f"{label} ({reason})" for label, reason in lost.items())
        warnings.warn(f"{name}: written as {kind.name} without its {reasons}", IntaglioWarning, stacklevel=3)
    kept = {label: data for label, data in metadata.items() if label not in lost}
    options: dict[str, Any] = {}
    if "ICC" in kept:
        options["icc_profile"] = kept["ICC"]
    if kind.name == "TIFF":
        directory = _portable_exif(parsed if "EXIF" in kept else Image.Exif(), kept.get("XMP"))
        return options | ({"exif": directory} if directory else {})
    if "EXIF" in kept:  # JPEG knows EXIF by this prefix, which WebP and others leave out
        bare = kept["EXIF"].startswith((b"II", b"MM"))
        options["exif"] = b"Exif\0\0" + kept["EXIF"] if bare else kept["EXIF"]
    if "XMP" in kept:
        options["xmp"] = kept["XMP"]
        if kind.name == "PNG":
            options["pnginfo"] = PngImagePlugin.PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", options.pop("xmp"))
    return options


def write_bytes(path: str | os.PathLike[str], data: bytes | bytearray | memoryview) -> None:
    """Write a whole file or none of it: readers see the old bytes or the new ones. Raises BadInput where it cannot."""
    with _replacing(os.fspath(path)) as file, _foreseen(f"cannot write {path}"):
        file.write(data)


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[IO[bytes]]:
    """A file to fill that takes the path's place when all went well and vanishes otherwise.

    It lies hidden in the same folder until then. Links are followed and permissions kept; what is no plain file (a
    pipe, a device) is not replaced but written to, once everything is there.
    """
    target = os.path.realpath(path)
    with _foreseen(f"cannot write {path}"):
        folder = os.path.dirname(target)
        if not os.path.isdir(folder):
            raise BadInput(f"cannot write {path}: there is no folder {folder}")
        mode = os.stat(target).st_mode if os.path.exists(target) else None
        if mode is not None and stat.S_ISDIR(mode):
            raise BadInput(f"cannot write {path}: it is a folder")
        if mode is not None and not stat.S_ISREG(mode):
            buffer = io.BytesIO()
            yield buffer
            with open(target, "wb") as device:
                device.write(buffer.getbuffer())
            return
        part = os.path.join(folder, f".intaglio-{secrets.token_hex(8)}.part")
        try:
            with open(part, "x+b") as file:
                yield file
            if mode is not None:
                os.chmod(part, stat.S_IMODE(mode))
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
