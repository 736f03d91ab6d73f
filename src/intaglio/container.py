"""What an `.itg` file is: signature, chunks, header, limits, and how one is put together. No networks, no pixels.

    data = pack(Header(768, 512, "RGB", q=32, realism=1.0, fingerprint=bytes(8)), [tile_payload])

reader.py takes one apart. The layout is in docs/format.md.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import blockmap, numbermap
from .errors import AGAIN, BadInput, CorruptFile, TooLarge, UnsupportedFile
from .varint import get_varint, put_varint

SIGNATURE = b"\x8aITG\r\n\x1a\n"
VERSION = 1
MODES = ("L", "LA", "RGB", "RGBA")  # the mode byte is the place in this tuple
TILE = 1024  # pixels along a side of an entropy tile
BLOCK = 64  # pixels along a side of a block of the gain map
MAX_SIDE = 1 << 24
MAX_PIXELS = 1 << 28  # the default of Reader's max_pixels
MAX_Q = 63
MAX_METADATA = 64 << 20  # bytes of one ICC profile, EXIF block or XMP packet, expanded
MAX_MAP_BYTES = 1 << 20  # bytes of a KEEP or LABL payload
MAX_TILE_BYTES = 64 << 20  # bytes of one TILE payload; the dearest one that symbols of at most 2^20 can fill is 12 MB
FRAME = 12  # bytes around a payload: type, length, CRC-32

METADATA = {"iCCP": "icc", "eXIF": "exif", "xMPd": "xmp"}
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"

BytesLike = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Header:
    """What every file says first. BadInput when a field is out of its range."""

    width: int  # pixels, 1..2^24
    height: int  # pixels, 1..2^24
    mode: str  # one of MODES
    q: int  # 0..63
    realism: float  # 0..1, the default at decoding; stored as a whole percent
    fingerprint: bytes  # 8 bytes: the model that decodes the tiles
    grain: int = 0  # 0..255: the deviation at realism 1 of grain that is white and even, in sixteenths of a grey level

    def __post_init__(self) -> None:
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise BadInput(f"a picture of {self.width}x{self.height} pixels does not fit: a side is 1 to {MAX_SIDE}")
        if self.mode not in MODES:
            raise BadInput(f"mode {self.mode!r} cannot be stored: convert the picture to one of {', '.join(MODES)}")
        if not 0 <= self.q <= MAX_Q:
            raise BadInput(f"q = {self.q} is outside 0..{MAX_Q}")
        if not 0.0 <= self.realism <= 1.0:
            raise BadInput(f"realism = {self.realism} is outside 0..1")
        if len(self.fingerprint) != 8:
            raise BadInput(f"a model fingerprint has 8 bytes, not {len(self.fingerprint)}")
        if not 0 <= self.grain <= 255:
            raise BadInput(f"grain = {self.grain} is outside 0..255")

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of entropy tiles."""
        return -(-self.height // TILE), -(-self.width // TILE)

    @property
    def tiles(self) -> int:
        """The number of entropy tiles."""
        return self.grid[0] * self.grid[1]

    @property
    def blocks(self) -> tuple[int, int]:
        """(rows, columns) of the gain map."""
        return -(-self.height // BLOCK), -(-self.width // BLOCK)

    def tile_box(self, i: int) -> tuple[int, int, int, int]:
        """(x, y, width, height) in pixels of tile i of the row-major grid, clipped to the picture."""
        if not 0 <= i < self.tiles:
            raise IndexError(f"no tile {i}: the picture has {self.tiles}")
        row, column = divmod(i, self.grid[1])
        x, y = column * TILE, row * TILE
        return x, y, min(TILE, self.width - x), min(TILE, self.height - y)


def pack(
    header: Header,
    tiles: Sequence[BytesLike],
    *,
    qmap: NDArray[Any] | None = None,
    grain: NDArray[Any] | None = None,
    refined: NDArray[Any] | None = None,
    areas: tuple[bytes, bytes] | None = None,
    seed: int = 0,
    icc: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    alpha: Sequence[bytes] | None = None,
) -> bytes:
    """The whole file: `tiles` are the TILE payloads and `alpha` the alpha records, both in grid order.

    qmap: int8 (rows, columns) of header.blocks; grain: levels 0..15 of the same shape. What is all zero is not written.
    refined: bool of the same shape, the blocks that are refined; where there is none, it is not written. areas: the
    payloads of KEEP and LABL (areas.py). seed: of the noise, 0..2^32 - 1; 0 is not written, nor is empty metadata.
    BadInput when the parts do not fit together, TooLarge when one exceeds its limit.
    """
    if len(tiles) != header.tiles:
        raise BadInput(f"{header.width}x{header.height} pixels are {header.tiles} tiles, not {len(tiles)}")
    for i, tile in enumerate(tiles):
        if len(tile) > MAX_TILE_BYTES:
            raise TooLarge(f"tile {i} has {len(tile)} bytes, more than the format's {MAX_TILE_BYTES}")
    head = struct.pack(">BBBB", VERSION, MODES.index(header.mode), header.q, round(header.realism * 100))
    head += header.fingerprint + put_varint(header.width) + put_varint(header.height)
    head += bytes([header.grain]) if header.grain else b""
    out = [SIGNATURE, *_chunk("HEAD", head)]
    out += _block_numbers(header, qmap, grain)
    if refined is not None and refined.shape != header.blocks:
        raise BadInput(f"a map of refined blocks of {refined.shape} is not of shape {header.blocks}")
    if refined is not None and refined.any():
        out += _chunk("REFN", blockmap.pack(refined))
    for name, payload in zip(("KEEP", "LABL"), areas or (), strict=False):
        if len(payload) > MAX_MAP_BYTES:
            raise TooLarge(f"a {name} chunk of {len(payload)} bytes is above the format's {MAX_MAP_BYTES}")
        out += _chunk(name, payload)
    if seed:
        out += _chunk("SEED", struct.pack(">I", seed))
    for name, value in (("iCCP", icc), ("eXIF", exif), ("xMPd", xmp)):
        if value and len(value) > MAX_METADATA:
            raise TooLarge(f"{len(value)} bytes of {METADATA[name].upper()} are above the limit of {MAX_METADATA}")
        if value:
            out += _chunk(name, value if name == "eXIF" else zlib.compress(value, 9))
    if (alpha is not None) != (header.mode in ("LA", "RGBA")):
        raise BadInput(f"mode {header.mode} {'needs' if alpha is None else 'has no'} alpha records")
    if alpha is not None:
        if len(alpha) != header.tiles:
            raise BadInput(f"{header.tiles} tiles need as many alpha records, not {len(alpha)}")
        for i, record in enumerate(alpha):
            if problem := alpha_problem(record, *header.tile_box(i)[2:]):
                raise BadInput(f"the alpha record of tile {i} {problem}")
        out += _chunk("ALPH", b"".join(put_varint(len(record)) + record for record in alpha))
    if header.tiles > 1:
        out += _chunk("TIDX", b"".join(put_varint(len(tile)) for tile in tiles))
    for tile in tiles:
        out += _chunk("TILE", tile)
    return b"".join(out)


def _block_numbers(
    header: Header, qmap: NDArray[Any] | None, grain: NDArray[Any] | None
) -> tuple[()] | tuple[bytes, BytesLike, bytes]:
    """The chunk with the numbers of the blocks, where any is not 0."""
    for name, numbers in (("gain", qmap), ("grain", grain)):
        if numbers is not None and (numbers.shape != header.blocks or numbers.dtype.kind not in "iu"):
            raise BadInput(
                f"a {name} map of {numbers.shape} {numbers.dtype} is not whole numbers of shape {header.blocks}"
            )
    if qmap is not None and (header.q + int(qmap.min()) < 0 or header.q + int(qmap.max()) > MAX_Q):
        raise BadInput(f"a gain map around q = {header.q} leaves 0..{MAX_Q}: clip its offsets")
    if grain is not None and (int(grain.min()) < 0 or int(grain.max()) > numbermap.LEVELS):
        raise BadInput(f"a grain map leaves 0..{numbermap.LEVELS}")
    packed = numbermap.pack(np.zeros(header.blocks, np.int8) if qmap is None else qmap, grain)
    return () if packed is None else _chunk("BMAP", packed)


def _chunk(kind: str, payload: BytesLike) -> tuple[bytes, BytesLike, bytes]:
    if len(payload) > 0xFFFFFFFF:
        raise TooLarge(f"{len(payload)} bytes do not fit in one {kind} chunk: its length has 32 bits")
    crc = zlib.crc32(payload, zlib.crc32(kind.encode()))
    return kind.encode() + struct.pack(">I", len(payload)), payload, struct.pack(">I", crc)


def parse_header(head: bytes, where: str) -> Header:
    """The header out of a HEAD payload. `where` names the chunk in errors: UnsupportedFile, CorruptFile."""
    if head and head[0] > VERSION:
        raise UnsupportedFile(f"the file has format version {head[0]} and this reads {VERSION}: upgrade intaglio")
    if len(head) < 14 or head[0] != VERSION:
        raise CorruptFile(f"{where} is malformed; {AGAIN}")
    width, at = get_varint(head, 12, MAX_SIDE, f"the width in {where}")
    height, at = get_varint(head, at, MAX_SIDE, f"the height in {where}")
    mode, q, percent = head[1:4]
    grain = head[at] if at == len(head) - 1 else 0
    if at + (grain > 0) != len(head) or mode >= len(MODES) or q > MAX_Q or percent > 100 or not (width and height):
        raise CorruptFile(f"{where} holds a value outside its range; {AGAIN}")
    return Header(width, height, MODES[mode], q, percent / 100, head[4:12], grain)


def alpha_limit(width: int, height: int) -> int:
    """Bytes of an alpha record, at most: no sane PNG of these many grey pixels comes near."""
    return 2 * width * height + (1 << 16)


def alpha_problem(record: bytes, width: int, height: int) -> str | None:
    """What is wrong with an alpha record of a tile of this size, from its first bytes, or None."""
    if len(record) == 2 and record[0] == 0:
        return None
    if len(record) > alpha_limit(width, height):
        return f"has {len(record)} bytes for {width}x{height} pixels"
    if record[:1] != b"\x01" or record[1:17] != _PNG_START or len(record) < 30:
        return "is neither a constant nor a PNG"
    if record[17:27] != struct.pack(">IIBB", width, height, 8, 0):
        return f"is not an 8-bit grey PNG of {width}x{height} pixels"
    return None


def check_signature(head: bytes) -> None:
    """CorruptFile, and how it came about where the first 8 bytes tell."""
    if head == SIGNATURE:
        return
    if len(head) < len(SIGNATURE):
        raise CorruptFile(f"the file has only {len(head)} bytes: it was cut short, so get the whole file")
    how = None
    if head.startswith((b"\x8aITG\n\x1a\n", b"\x8aITG\r\x1a\n", b"\x8aITG\r\x1a\r", b"\x8aITG\r\r\x1a\r")):
        how = "was copied as text, which changed its line endings (CRLF was shortened)"
    elif head.startswith((b"\x8aITG\r\n\x1a\r", b"\x8aITG\r\r\n\x1a")):
        how = "was copied as text, which changed its line endings (LF became CRLF)"
    elif head.startswith(b"\x0aITG"):
        how = "was copied through something that strips the eighth bit of every byte"
    elif head.startswith((b"\xc2\x8aITG", b"\xef\xbf\xbdITG", b"?ITG")):
        how = "was copied as text, which changed its encoding"
    if how:
        raise CorruptFile(f"the file {how}; copy it again in binary mode")
    if head[1:4] == b"ITG":
        raise CorruptFile(f"the signature at byte 0 is damaged; {AGAIN}")
    raise CorruptFile("this is no .itg file: it does not start with the signature of one")
