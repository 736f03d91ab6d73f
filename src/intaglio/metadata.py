"""ICC, EXIF and XMP of a Pillow image, as bytes that go on living in another file."""

import struct
import warnings
from collections.abc import Iterator

from PIL import ExifTags, Image, TiffImagePlugin

from .errors import IntaglioWarning

_XMP_TAG, ORIENTATION = 700, 0x0112
_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4)  # bytes of a value by its type in a directory
_FOLDERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)
# Tags of a TIFF directory that tell how its own pixels are stored, or that are carried apart (XMP, 34675 ICC), or
# that are private to IPTC and Photoshop (at times whole pictures): no EXIF for another file.
_STORAGE_TAGS = {*range(254, 260), *range(262, 267), 273, *range(277, 282), 284, *range(288, 294), 301, 317}
_STORAGE_TAGS |= {*range(320, 326), 330, 332, *range(338, 343), 347, *range(512, 533), 559}
_STORAGE_TAGS |= {_XMP_TAG, 33723, 34377, 34675, 37724}


def orientation(exif: bytes | None) -> int | None:
    """EXIF's orientation, 1..8; None where it has none, or cannot be parsed. Reads that one tag alone."""
    try:
        for order, tag, kind, count, value in _entries((exif or b"").removeprefix(b"Exif\0\0")):
            if tag == ORIENTATION and kind == 3 and count == 1:
                found = struct.unpack_from(order + "H", value)[0]
                return found if 1 <= found <= 8 else None
    except (struct.error, KeyError):
        pass
    return None


def is_plain(exif: bytes) -> bool:
    """Whether the values of its tags lie inside the block and together are no more bytes than it has, so that taking it
    apart takes no more memory than that: a stranger's tags may all point at the same bytes, or beyond the end."""
    block, together = exif.removeprefix(b"Exif\0\0"), 0
    try:
        for order, _, kind, count, value in _entries(block, _FOLDERS):
            size = _SIZES[kind] * count if kind < len(_SIZES) else 0
            together += size
            if together > len(block) or size > 4 and struct.unpack(order + "L", value)[0] + size > len(block):
                return False
    except (struct.error, KeyError):
        return False
    return True


def _entries(block: bytes, folders: tuple[int, ...] = ()) -> Iterator[tuple[str, int, int, int, bytes]]:
    """(byte order, tag, type, count, the four bytes of value) of the first directory, and of those that it and they
    point to by the tags in `folders`. Raises struct.error or KeyError where it cannot be read."""
    order = {b"II": "<", b"MM": ">"}[block[:2]]
    waiting, seen = [struct.unpack_from(order + "L", block, 4)[0]], set()
    while waiting:
        at = waiting.pop()
        if at in seen:
            raise KeyError(at)
        seen.add(at)
        for i in range(struct.unpack_from(order + "H", block, at)[0]):
            tag, kind, count, value = struct.unpack_from(order + "HHL4s", block, at + 2 + 12 * i)
            if tag in folders:
                waiting.append(struct.unpack(order + "L", value)[0])
            yield order, tag, kind, count, value


def icc_of(image: Image.Image) -> bytes | None:
    profile = image.info.get("icc_profile")
    return bytes(profile) if isinstance(profile, (bytes, bytearray)) and profile else None


def exif_of(image: Image.Image, name: str) -> bytes | None:
    exif = image.info.get("exif") or _raw_profile(image, "exif")
    if not exif and isinstance(image, TiffImagePlugin.TiffImageFile):
        try:
            exif = portable_exif(image.getexif())
        except Exception:  # Pillow's EXIF code fails in many ways on damaged tags
            warnings.warn(f"{name}: its EXIF is damaged and left out", IntaglioWarning, stacklevel=2)
    return bytes(exif) if isinstance(exif, (bytes, bytearray)) and exif else None


def xmp_of(image: Image.Image) -> bytes | None:
    xmp = image.info.get("xmp") or _raw_profile(image, "xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return bytes(xmp) if isinstance(xmp, (bytes, bytearray)) and xmp else None


def _raw_profile(image: Image.Image, kind: str) -> bytes | None:
    """ImageMagick's way to keep metadata in a PNG: a text of three lines (the third a length), then hexadecimal."""
    try:
        return bytes.fromhex("".join(image.info[f"Raw profile type {kind}"].split("\n")[3:]))
    except (KeyError, ValueError, AttributeError):
        return None


def portable_exif(exif: Image.Exif, xmp: bytes | None = None) -> bytes:
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
