"""Pictures -> files: written whole or not at all, with their metadata where the format has room for it."""

import contextlib
import io
import os
import secrets
import stat
import warnings
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from PIL import Image, PngImagePlugin

from .errors import BadInput, IntaglioWarning
from .metadata import is_plain, portable_exif
from .pictures import MODES, foreseen, register_heif


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
_MARKER_LIMITS = {"ICC": 255 * 65519, "EXIF": 65527, "XMP": 65504}  # bytes beside their prefixes, JPEG only


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
        register_heif(f"write {name}")
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
            stack.enter_context(foreseen(f"cannot write {name}"))
            plain.save(file, kind.name, **options)
            return
        stack.enter_context(foreseen(f"cannot write {name}"))
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
        elif kind.name == "JPEG" and len(data.removeprefix(b"Exif\0\0")) > _MARKER_LIMITS[label]:
            lost[label] = f"{len(data)} bytes are too many"
    parsed = Image.Exif()
    if "EXIF" in metadata and kind.name in ("TIFF", "AVIF", "HEIF"):  # these take it apart
        try:
            if not is_plain(metadata["EXIF"]):
                raise ValueError
            parsed.load(metadata["EXIF"])
            portable_exif(parsed)
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
        directory = portable_exif(parsed if "EXIF" in kept else Image.Exif(), kept.get("XMP"))
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
    with _replacing(os.fspath(path)) as file, foreseen(f"cannot write {path}"):
        file.write(data)


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[IO[bytes]]:
    """A file to fill that takes the path's place when all went well and vanishes otherwise.

    Until then no folder lists it (on Linux, where not even `kill -9` leaves anything behind), or it lies hidden in the
    same folder. Links are followed and permissions kept; what is no plain file (a pipe, a device) is not replaced but
    written to, once everything is there.
    """
    special = os.path.exists(path) and not os.path.isfile(path)  # whose real path may be no path (/dev/stdout)
    target = os.path.abspath(path) if special else os.path.realpath(path)
    with foreseen(f"cannot write {path}"):
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
            file = _unlisted(folder)
            if file is None:
                with open(part, "x+b") as file:
                    yield file
            else:
                with file:
                    yield file
                    file.flush()
                    # with a descriptor Python calls linkat, which follows /proc's link to the file itself
                    os.link(f"/proc/self/fd/{file.fileno()}", part, src_dir_fd=file.fileno())
            if mode is not None:
                os.chmod(part, stat.S_IMODE(mode))
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise


def _unlisted(folder: str) -> IO[bytes] | None:
    """A file on the folder's disk without a name, or None where the system or the file system has no such thing."""
    if not os.path.isdir("/proc/self/fd"):  # through which it gets its name
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except (AttributeError, OSError):
        return None
