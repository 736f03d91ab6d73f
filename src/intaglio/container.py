"""The `.itg` file: signature, chunks, lengths, CRC-32, limits. No networks, no pixels. The layout is in docs/format.md.

    data = pack(Header(768, 512, "RGB", q=32, realism=1.0, fingerprint=bytes(8)), [tile_payload])
    with Reader("photo.itg") as reader:         # bytes, a path or a binary file; reads up to the first TILE only
        reader.header, reader.qmap, reader.icc, reader.tile(0)

Whatever the bytes are, a Reader raises CorruptFile, UnsupportedFile or TooLarge, or warns (IntaglioWarning) and goes
on without the damaged metadata. Nothing is allocated on the word of a length that the file's true size, or a stated
limit, does not bear out.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from intaglio.errors import BadInput, CorruptFile, IntaglioWarning, TooLarge, UnsupportedFile

SIGNATURE = b"\x8aITG\r\n\x1a\n"
VERSION = 1
MODES = ("L", "LA", "RGB", "RGBA")  # the mode byte is the place in this tuple
TILE = 1024  # pixels along a side of an entropy tile
BLOCK = 64  # pixels along a side of a block of the gain map
MAX_SIDE = 1 << 24
MAX_PIXELS = 1 << 28  # the default of Reader's max_pixels
MAX_Q = 63
MAX_METADATA = 64 << 20  # bytes of one ICC profile, EXIF block or XMP packet, expanded
MAX_TILE_BYTES = 64 << 20  # bytes of one TILE payload; the dearest one that symbols of at most 2^20 can fill is 12 MB
MAX_CHUNKS = 256  # chunks before the first TILE
FRAME = 12  # bytes around a payload: type, length, CRC-32

_HEAD_LIMIT = 4096  # far above version 1's 20 bytes, so that a newer HEAD is still recognised as newer
_STORED_LIMIT = MAX_METADATA + (1 << 20)  # deflate may grow what it cannot shrink, by less than this
_PIECE = 1 << 16
_CRITICAL_ORDER = ("HEAD", "QMAP", "ALPH", "TIDX", "TILE")
_METADATA = {"iCCP": "icc", "eXIF": "exif", "xMPd": "xmp"}
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_AGAIN = "the file is damaged, so get a fresh copy"

BytesLike = bytes | bytearray | memoryview


def put_varint(n: int) -> bytes:
    """n >= 0 as LEB128: 7 bits a byte, low bits first, the top bit set on every byte but the last."""
    if n < 0:
        raise BadInput(f"cannot write {n} as a length: it is negative")
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def get_varint(buffer: BytesLike, offset: int, limit: int = 0xFFFFFFFF, where: str = "the number") -> tuple[int, int]:
    """The LEB128 number at `offset` and the offset after it.

    CorruptFile, naming `where`, when it is cut short, above `limit`, or spelled with needless zero bytes.
    """
    n = shift = 0
    for at in range(offset, len(buffer)):
        byte = buffer[at]
        n |= (byte & 0x7F) << shift
        shift += 7
        if n > limit or (byte & 0x80 and shift > limit.bit_length()):
            raise CorruptFile(f"{where} is above {limit}; {_AGAIN}")
        if not byte & 0x80:
            if byte == 0 and at > offset:  # one value, one spelling
                raise CorruptFile(f"{where} has needless zero bytes; {_AGAIN}")
            return n, at + 1
    raise CorruptFile(f"{where} is cut short; {_AGAIN}")


@dataclass(frozen=True)
class Header:
    """What every file says first. BadInput when a field is out of its range."""

    width: int  # pixels, 1..2^24
    height: int  # pixels, 1..2^24
    mode: str  # one of MODES
    q: int  # 0..63
    realism: float  # 0..1, the default at decoding; stored as a whole percent
    fingerprint: bytes  # 8 bytes: the model that decodes the tiles

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
    icc: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    alpha: Sequence[bytes] | None = None,
) -> bytes:
    """The whole file: `tiles` are the TILE payloads and `alpha` the alpha records, both in grid order.

    qmap: int8 (rows, columns) of header.blocks; one that is all zero is not written. Empty metadata is not written.
    BadInput when the parts do not fit together, TooLarge when one exceeds its limit.
    """
    if len(tiles) != header.tiles:
        raise BadInput(f"{header.width}x{header.height} pixels are {header.tiles} tiles, not {len(tiles)}")
    for i, tile in enumerate(tiles):
        if len(tile) > MAX_TILE_BYTES:
            raise TooLarge(f"tile {i} has {len(tile)} bytes, more than the format's {MAX_TILE_BYTES}")
    head = struct.pack(">BBBB", VERSION, MODES.index(header.mode), header.q, round(header.realism * 100))
    head += header.fingerprint + put_varint(header.width) + put_varint(header.height)
    out = [SIGNATURE, *_chunk("HEAD", head)]
    if qmap is not None:
        if qmap.shape != header.blocks or qmap.dtype.kind not in "iu":
            raise BadInput(f"a gain map of {qmap.shape} {qmap.dtype} is not whole numbers of shape {header.blocks}")
        if header.q + int(qmap.min()) < 0 or header.q + int(qmap.max()) > MAX_Q:
            raise BadInput(f"a gain map around q = {header.q} leaves 0..{MAX_Q}: clip its offsets")
        if np.any(qmap):
            out += _chunk("QMAP", zlib.compress(qmap.astype(np.int8).tobytes(), 9))
    for name, value in (("iCCP", icc), ("eXIF", exif), ("xMPd", xmp)):
        if value and len(value) > MAX_METADATA:
            raise TooLarge(f"{len(value)} bytes of {_METADATA[name].upper()} are above the limit of {MAX_METADATA}")
        if value:
            out += _chunk(name, value if name == "eXIF" else zlib.compress(value, 9))
    if (alpha is not None) != (header.mode in ("LA", "RGBA")):
        raise BadInput(f"mode {header.mode} {'needs' if alpha is None else 'has no'} alpha records")
    if alpha is not None:
        if len(alpha) != header.tiles:
            raise BadInput(f"{header.tiles} tiles need as many alpha records, not {len(alpha)}")
        for i, record in enumerate(alpha):
            if problem := _alpha_problem(record, *header.tile_box(i)[2:]):
                raise BadInput(f"the alpha record of tile {i} {problem}")
        out += _chunk("ALPH", b"".join(put_varint(len(record)) + record for record in alpha))
    if header.tiles > 1:
        out += _chunk("TIDX", b"".join(put_varint(len(tile)) for tile in tiles))
    for tile in tiles:
        out += _chunk("TILE", tile)
    return b"".join(out)


class Reader:
    """An `.itg` file, open for random access; safe to share between threads.

    source: bytes-like, a path, or a binary file, read from where it stands (one that cannot seek is read whole).
    max_pixels: TooLarge above it. Offsets count from the signature's first byte.
    Attributes: header; version; qmap: int8 (rows, columns), not writable; icc, exif, xmp: bytes or None; size in bytes.
    """

    def __init__(self, source: BytesLike | str | os.PathLike[str] | BinaryIO, max_pixels: int = MAX_PIXELS) -> None:
        self._source = _Source(source)
        try:
            self._open(max_pixels)
        except BaseException:
            self.close()
            raise

    def _open(self, max_pixels: int) -> None:
        self.size = self._source.size
        self.version = VERSION
        self.icc: bytes | None = None
        self.exif: bytes | None = None
        self.xmp: bytes | None = None
        self._alpha_at: array[int] | None = None
        self._alpha_chunk: tuple[int, int] | None = None
        self._front: list[tuple[str, int, int]] = []
        _check_signature(self._source.read(0, min(len(SIGNATURE), self.size)))
        offset = len(SIGNATURE)
        kind, length = self._frame(offset)
        if kind != "HEAD":
            raise CorruptFile(f"the chunk at byte {offset} is {kind} where HEAD belongs; {_AGAIN}")
        self.header = self._read_head(offset, length, max_pixels)
        # A gain map of zeros costs nothing this way, however many blocks a raised max_pixels lets in.
        self.qmap: NDArray[np.int8] = np.broadcast_to(np.int8(0), self.header.blocks)
        last, lengths = "HEAD", None
        while True:
            self._front.append((kind, offset, length))
            offset += FRAME + length
            if len(self._front) > MAX_CHUNKS:
                raise CorruptFile(f"more than {MAX_CHUNKS} chunks come before the first tile; {_AGAIN}")
            if offset == self.size:
                raise CorruptFile(f"the file ends at byte {offset}, before its first tile; {_AGAIN}")
            kind, length = self._frame(offset)
            if kind in _CRITICAL_ORDER:
                if _CRITICAL_ORDER.index(kind) <= _CRITICAL_ORDER.index(last):
                    raise CorruptFile(f"the {kind} chunk at byte {offset} comes after {last}; {_AGAIN}")
                # Behind metadata a QMAP could vanish into a metadata chunk whose length is damaged, unnoticed.
                if kind == "QMAP" and any(name in _METADATA for name, _, _ in self._front):
                    raise CorruptFile(f"the QMAP chunk at byte {offset} comes after metadata; {_AGAIN}")
                last = kind
            if kind == "TILE":
                break
            if kind == "QMAP":
                self.qmap = self._read_qmap(offset, length)
            elif kind == "ALPH":
                self._alpha_chunk = (offset, length)
            elif kind == "TIDX":
                lengths = self._read_index(offset, length)
            elif kind in _METADATA:
                self._read_metadata(kind, offset, length)
            else:
                self._skip_unknown(kind, offset, length)
        if (self._alpha_chunk is None) == (self.header.mode in ("LA", "RGBA")):
            has = "no" if self._alpha_chunk is None else "an"
            raise CorruptFile(f"a picture of mode {self.header.mode} has {has} ALPH chunk; {_AGAIN}")
        if lengths is None:
            if self.header.tiles > 1:
                raise CorruptFile(f"the TIDX chunk of {self.header.tiles} tiles is missing; {_AGAIN}")
            if length > MAX_TILE_BYTES:
                raise CorruptFile(
                    f"the TILE chunk at byte {offset} claims {length} bytes, above {MAX_TILE_BYTES}; {_AGAIN}"
                )
            lengths = array("Q", [length])
        self._tile_at = array("Q", [offset])  # one more than tiles: the last is the file's proper end
        for tile_length in lengths:
            offset += FRAME + tile_length
            self._tile_at.append(offset)

    @property
    def chunks(self) -> list[tuple[str, int, int]]:
        """(type, offset, payload length) of every chunk; the tiles are as the index says, not looked at."""
        ends = zip(self._tile_at, self._tile_at[1:], strict=False)
        return self._front + [("TILE", start, end - start - FRAME) for start, end in ends]

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the source so far, chunk frames included."""
        return self._source.bytes_read

    def tile(self, i: int) -> bytes:
        """The payload of TILE i; reads its chunk only."""
        if not 0 <= i < self.header.tiles:
            raise IndexError(f"no tile {i}: the picture has {self.header.tiles}")
        start, length = self._tile_at[i], self._tile_at[i + 1] - self._tile_at[i] - FRAME
        if start + FRAME + length > self.size:
            raise CorruptFile(
                f"tile {i} ends at byte {start + FRAME + length} and the file at byte {self.size}: "
                "it was cut short, so get the whole file"
            )
        chunk = self._source.read(start, FRAME + length)
        if chunk[:8] != b"TILE" + struct.pack(">I", length):
            raise CorruptFile(f"no TILE of {length} bytes is at byte {start}, where tile {i} belongs; {_AGAIN}")
        payload = chunk[8:-4]
        if zlib.crc32(payload, zlib.crc32(b"TILE")) != int.from_bytes(chunk[-4:], "big"):
            raise CorruptFile(f"the TILE chunk of tile {i} at byte {start} fails its checksum; {_AGAIN}")
        return payload

    def alpha(self, i: int) -> bytes | None:
        """The alpha record of tile i (a kind byte, then a value or a PNG of the tile's size); None without alpha."""
        _, _, width, height = self.header.tile_box(i)
        if self._alpha_chunk is None:
            return None
        if self._alpha_at is None:
            self._alpha_at = self._index_alpha(*self._alpha_chunk)
        start, length = self._alpha_at[2 * i], self._alpha_at[2 * i + 1]
        if length > _alpha_limit(width, height):
            raise CorruptFile(f"the alpha of tile {i} claims {length} bytes for {width}x{height} pixels; {_AGAIN}")
        record = self._source.read(start, length)
        if problem := _alpha_problem(record, width, height):
            raise CorruptFile(f"the alpha record of tile {i} at byte {start} {problem}; {_AGAIN}")
        return record

    def check_tail(self) -> None:
        """CorruptFile when the file is shorter than its index says; a warning when it is longer."""
        end = self._tile_at[-1]
        if self.size < end:
            raise CorruptFile(f"the file has {self.size} of its {end} bytes: it was cut short, so get the whole file")
        if self.size > end:
            _warn(f"{self.size - end} bytes after the last tile, at byte {end}, are not part of the picture: ignored")

    def close(self) -> None:
        """Lets go of the source; closes only a file that the Reader opened."""
        self._source.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _frame(self, offset: int) -> tuple[str, int]:
        """(type, payload length) of the chunk at `offset`; the file has that many bytes, unless it is a TILE."""
        if offset + FRAME > self.size:
            raise CorruptFile(
                f"the file ends at byte {self.size}, inside the chunk at byte {offset}: get the whole file"
            )
        frame = self._source.read(offset, 8)
        if not (frame[:4].isalpha() and frame[:4].isascii()):
            raise CorruptFile(f"no chunk starts at byte {offset}, where one belongs; {_AGAIN}")
        kind, length = frame[:4].decode(), int.from_bytes(frame[4:], "big")
        if offset + FRAME + length > self.size and kind != "TILE":  # what there is of a cut file can be decoded
            raise CorruptFile(
                f"the {kind} chunk at byte {offset} claims {length} bytes and the file ends at byte {self.size}: "
                "it was cut short or damaged, so get a fresh copy"
            )
        return kind, length

    def _crc_ok(self, kind: str, offset: int, length: int) -> bool:
        """Whether the chunk's CRC-32 holds; in pieces, so that its length costs no memory."""
        crc, at, end = zlib.crc32(kind.encode()), offset + 8, offset + 8 + length
        while at < end:
            piece = self._source.read(at, min(_PIECE, end - at))
            crc = zlib.crc32(piece, crc)
            at += len(piece)
        return crc == int.from_bytes(self._source.read(end, 4), "big")

    def _payload(self, kind: str, offset: int, length: int, limit: int) -> bytes:
        if length > limit:
            raise CorruptFile(f"the {kind} chunk at byte {offset} claims {length} bytes, above {limit}; {_AGAIN}")
        chunk = self._source.read(offset + 8, length + 4)
        if zlib.crc32(chunk[:length], zlib.crc32(kind.encode())) != int.from_bytes(chunk[length:], "big"):
            raise CorruptFile(f"the {kind} chunk at byte {offset} fails its checksum; {_AGAIN}")
        return chunk[:length]

    def _read_head(self, offset: int, length: int, max_pixels: int) -> Header:
        head = self._payload("HEAD", offset, length, _HEAD_LIMIT)
        where = f"the HEAD chunk at byte {offset}"
        if head and head[0] > VERSION:
            raise UnsupportedFile(f"the file has format version {head[0]} and this reads {VERSION}: upgrade intaglio")
        if len(head) < 14 or head[0] != VERSION:
            raise CorruptFile(f"{where} is malformed; {_AGAIN}")
        width, at = get_varint(head, 12, MAX_SIDE, f"the width in {where}")
        height, at = get_varint(head, at, MAX_SIDE, f"the height in {where}")
        mode, q, percent = head[1:4]
        if at != len(head) or mode >= len(MODES) or q > MAX_Q or percent > 100 or not (width and height):
            raise CorruptFile(f"{where} holds a value outside its range; {_AGAIN}")
        if width * height > max_pixels:
            raise TooLarge(f"{width}x{height} pixels are above max_pixels = {max_pixels}: raise it to decode this file")
        header = Header(width, height, MODES[mode], q, percent / 100, head[4:12])
        if header.tiles * FRAME > self.size:
            raise CorruptFile(
                f"{header.tiles} tiles do not fit in {self.size} bytes: the file was cut short, get it whole"
            )
        return header

    def _read_qmap(self, offset: int, length: int) -> NDArray[np.int8]:
        rows, columns = self.header.blocks
        where = f"the QMAP chunk at byte {offset}"
        # Deflate never shrinks by more than 1032, nor grows by more than a few bytes in 16 KiB.
        if not rows * columns // 1032 <= length <= rows * columns + rows * columns // 1000 + 64:
            raise CorruptFile(f"{where} has {length} bytes for {rows * columns} blocks; {_AGAIN}")
        data = _inflate(self._payload("QMAP", offset, length, length), rows * columns)
        if data is None or len(data) != rows * columns:
            raise CorruptFile(f"{where} does not expand to {columns}x{rows} blocks; {_AGAIN}")
        qmap = np.frombuffer(data, np.int8).reshape(rows, columns)
        if self.header.q + int(qmap.min()) < 0 or self.header.q + int(qmap.max()) > MAX_Q:
            raise CorruptFile(f"{where} leaves q = 0..{MAX_Q}; {_AGAIN}")
        return qmap

    def _read_index(self, offset: int, length: int) -> array[int]:
        if self.header.tiles == 1 or not self.header.tiles <= length <= 5 * self.header.tiles:
            raise CorruptFile(f"the TIDX chunk at byte {offset} does not index {self.header.tiles} tiles; {_AGAIN}")
        data = self._payload("TIDX", offset, length, length)
        lengths, at = array("Q"), 0
        for i in range(self.header.tiles):
            n, at = get_varint(data, at, MAX_TILE_BYTES, f"the length of tile {i} in the TIDX chunk at byte {offset}")
            lengths.append(n)
        if at != length:
            raise CorruptFile(f"the TIDX chunk at byte {offset} is longer than its {self.header.tiles} tiles; {_AGAIN}")
        return lengths

    def _read_metadata(self, kind: str, offset: int, length: int) -> None:
        if any(name == kind for name, _, _ in self._front):
            return _warn(f"a second {kind} chunk at byte {offset} is ignored")
        try:
            data: bytes | None = self._payload(kind, offset, length, _STORED_LIMIT)
        except CorruptFile as error:
            return _warn(f"metadata ignored: {error}")
        if kind != "eXIF":
            data = _inflate(data or b"", MAX_METADATA)
        if data is None or len(data) > MAX_METADATA:
            return _warn(f"the {kind} chunk at byte {offset} does not expand to at most {MAX_METADATA} bytes: ignored")
        setattr(self, _METADATA[kind], data)

    def _skip_unknown(self, kind: str, offset: int, length: int) -> None:
        # A failing checksum puts the type itself in doubt: QMAP with one bit flipped is an ancillary-looking qMAP.
        if not self._crc_ok(kind, offset, length):
            raise CorruptFile(f"the {kind} chunk at byte {offset} is unknown and fails its checksum; {_AGAIN}")
        if kind[0].isupper():
            raise UnsupportedFile(f"the file needs the {kind} chunk at byte {offset}, unknown here: upgrade intaglio")

    def _index_alpha(self, offset: int, length: int) -> array[int]:
        """(offset, length) pairs, flat, of the alpha records, once the chunk's checksum holds."""
        if not self._crc_ok("ALPH", offset, length):
            raise CorruptFile(f"the ALPH chunk at byte {offset} fails its checksum; {_AGAIN}")
        pairs, at, end = array("Q"), offset + 8, offset + 8 + length
        for i in range(self.header.tiles):
            where = f"the alpha length of tile {i} at byte {at}"
            n, used = get_varint(self._source.read(at, min(5, end - at)), 0, where=where)
            at += used
            if at + n > end:
                raise CorruptFile(f"the alpha record of tile {i} at byte {at} leaves its chunk; {_AGAIN}")
            pairs.extend((at, n))
            at += n
        if at != end:
            raise CorruptFile(f"the ALPH chunk at byte {offset} is longer than its {self.header.tiles} tiles; {_AGAIN}")
        return pairs


class _Source:
    """Bytes at an offset, out of memory or out of a file that can seek."""

    def __init__(self, source: BytesLike | str | os.PathLike[str] | BinaryIO) -> None:
        self.bytes_read = 0
        self._lock = threading.Lock()  # a file has one position, and tiles may be read from several threads
        self._file: BinaryIO | None = None
        self._owned = False
        if isinstance(source, bytes | bytearray | memoryview):
            view = memoryview(source)
            self._view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
            self.size = len(self._view)
            return
        if isinstance(source, str | os.PathLike):
            try:
                self._file = open(source, "rb")  # noqa: SIM115 (close() closes it)
            except (OSError, ValueError) as error:
                raise BadInput(f"{source} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
            self._owned = True
        elif isinstance(source, io.TextIOBase) or not hasattr(source, "read"):
            raise BadInput(f"a {type(source).__name__} cannot be read: give bytes, a path or a file open in mode 'rb'")
        else:
            self._file = source
        try:
            self._measure(self._file)
        except BaseException:
            self.close()
            raise

    def _measure(self, file: BinaryIO) -> None:
        if hasattr(file, "seekable") and file.seekable():
            self._base = file.tell()
            self.size = max(0, file.seek(0, os.SEEK_END) - self._base)
            return
        start = _read_fully(file, len(SIGNATURE))
        _check_signature(start)  # before the rest is read: a pipe that is not ours may have no end
        self._view = memoryview(start + file.read())
        self.size = len(self._view)
        self.close()
        self._file = None

    def read(self, offset: int, n: int) -> bytes:
        """Exactly n bytes; CorruptFile when the source ends before them."""
        with self._lock:
            if self._file is None:
                data = bytes(self._view[offset : offset + n])
            else:
                self._file.seek(self._base + offset)
                data = _read_fully(self._file, n)
            self.bytes_read += len(data)
        if len(data) != n:
            raise CorruptFile(f"the file ends before byte {offset + n}: get the whole file")
        return data

    def close(self) -> None:
        if self._owned and self._file is not None:
            self._file.close()


def _read_fully(file: BinaryIO, n: int) -> bytes:
    """n bytes, or fewer at the end of the file: an unbuffered file may give less than was asked for."""
    data = file.read(n)
    if not isinstance(data, bytes):
        raise BadInput("the file gives no bytes: open it in mode 'rb'")
    while len(data) < n and (more := file.read(n - len(data))):
        data += more
    return data


def _chunk(kind: str, payload: BytesLike) -> tuple[bytes, BytesLike, bytes]:
    if len(payload) > 0xFFFFFFFF:
        raise TooLarge(f"{len(payload)} bytes do not fit in one {kind} chunk: its length has 32 bits")
    crc = zlib.crc32(payload, zlib.crc32(kind.encode()))
    return kind.encode() + struct.pack(">I", len(payload)), payload, struct.pack(">I", crc)


def _inflate(data: bytes, limit: int) -> bytes | None:
    """What the one zlib stream in `data` expands to; None when it is malformed, or expands to more than `limit`."""
    stream, size = zlib.decompressobj(), 0
    try:
        # Counted first, in small pieces of either side, so that a bomb costs time but no memory.
        for at in range(0, len(data), _PIECE):
            rest = data[at : at + _PIECE]
            while rest and not stream.eof:
                size += len(stream.decompress(rest, _PIECE))
                rest = stream.unconsumed_tail
                if size > limit:
                    return None
            if stream.eof and len(data) - at > _PIECE:
                return None
        if not stream.eof or stream.unused_data:
            return None
        return zlib.decompress(data, bufsize=max(1, size))
    except zlib.error:
        return None


def _alpha_limit(width: int, height: int) -> int:
    """Bytes of an alpha record, at most: no sane PNG of these many grey pixels comes near."""
    return 2 * width * height + _PIECE


def _alpha_problem(record: bytes, width: int, height: int) -> str | None:
    """What is wrong with an alpha record of a tile of this size, from its first bytes, or None."""
    if len(record) == 2 and record[0] == 0:
        return None
    if len(record) > _alpha_limit(width, height):
        return f"has {len(record)} bytes for {width}x{height} pixels"
    if record[:1] != b"\x01" or record[1:17] != _PNG_START or len(record) < 30:
        return "is neither a constant nor a PNG"
    if record[17:27] != struct.pack(">IIBB", width, height, 8, 0):
        return f"is not an 8-bit grey PNG of {width}x{height} pixels"
    return None


def _check_signature(head: bytes) -> None:
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
        raise CorruptFile(f"the signature at byte 0 is damaged; {_AGAIN}")
    raise CorruptFile("this is no .itg file: it does not start with the signature of one")


def _warn(message: str) -> None:
    warnings.warn(message, IntaglioWarning, stacklevel=3)
