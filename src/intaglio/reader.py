"""Takes an `.itg` file apart, wherever it lies, and reads no more of it than is asked for.

    with Reader("photo.itg") as reader:         # bytes, a path or a binary file; reads up to the first TILE only
        reader.header, reader.qmap, reader.icc, reader.tile(0)

Whatever the bytes are, a Reader raises CorruptFile, UnsupportedFile or TooLarge, or warns (IntaglioWarning) and goes
on without the damaged metadata. Nothing is allocated on the word of a length that the file's true size, or a stated
limit, does not bear out.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from array import array
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from . import blockmap, numbermap
from .chunks import Chunks
from .container import (
    FRAME,
    MAX_MAP_BYTES,
    MAX_METADATA,
    MAX_PIXELS,
    MAX_Q,
    MAX_TILE_BYTES,
    METADATA,
    SIGNATURE,
    VERSION,
    BytesLike,
    Header,
    alpha_limit,
    alpha_problem,
    check_signature,
    parse_header,
)
from .errors import AGAIN, CorruptFile, IntaglioWarning, TooLarge, UnsupportedFile
from .source import inflate
from .varint import get_varint

MAX_CHUNKS = 256  # chunks before the first TILE

_HEAD_LIMIT = 4096  # far above version 1's 20 bytes, so that a newer HEAD is still recognised as newer
_STORED_LIMIT = MAX_METADATA + (1 << 20)  # deflate may grow what it cannot shrink, by less than this
_CRITICAL_ORDER = ("HEAD", "QMAP", "BMAP", "REFN", "KEEP", "LABL", "SEED", "ALPH", "TIDX", "TILE")
_BEFORE_METADATA = ("QMAP", "BMAP", "REFN", "KEEP", "LABL", "SEED")


class Reader:
    """An `.itg` file, open for random access; safe to share between threads.

    source: bytes-like, a path, or a binary file, read from where it stands (one that cannot seek is read whole).
    max_pixels: TooLarge above it. Offsets count from the signature's first byte.
    Attributes: header; version; qmap: int8 (rows, columns), not writable; grain: uint8 of the same shape, levels, not
    writable, or None; soft: whether that grain is; refined: bool of the same shape, or None; areas: the payloads of
    KEEP and LABL, or None; seed: of the noise; icc, exif, xmp: bytes or None; size in bytes.
    """

    def __init__(self, source: BytesLike | str | os.PathLike[str] | BinaryIO, max_pixels: int = MAX_PIXELS) -> None:
        self._chunks = Chunks(source)
        try:
            self._open(max_pixels)
        except BaseException:
            self.close()
            raise

    def _open(self, max_pixels: int) -> None:
        self.size = self._chunks.size
        self.version = VERSION
        self.icc: bytes | None = None
        self.exif: bytes | None = None
        self.xmp: bytes | None = None
        self.grain: NDArray[np.uint8] | None = None
        self.soft = False
        self.refined: NDArray[np.bool_] | None = None
        self.seed = 0
        self._alpha_at: array[int] | None = None
        self._alpha_chunk: tuple[int, int] | None = None
        self._front: list[tuple[str, int, int]] = []
        check_signature(self._chunks.read(0, min(len(SIGNATURE), self.size)))
        offset = len(SIGNATURE)
        kind, length = self._chunks.frame(offset)
        if kind != "HEAD":
            raise CorruptFile(f"the chunk at byte {offset} is {kind} where HEAD belongs; {AGAIN}")
        self.header = self._read_head(offset, length, max_pixels)
        # A gain map of zeros costs nothing this way, however many blocks a raised max_pixels lets in.
        self.qmap: NDArray[np.int8] = np.broadcast_to(np.int8(0), self.header.blocks)
        last, lengths = "HEAD", None
        maps: list[bytes] = []
        while True:
            self._front.append((kind, offset, length))
            offset += FRAME + length
            if len(self._front) > MAX_CHUNKS:
                raise CorruptFile(f"more than {MAX_CHUNKS} chunks come before the first tile; {AGAIN}")
            if offset == self.size:
                raise CorruptFile(f"the file ends at byte {offset}, before its first tile; {AGAIN}")
            kind, length = self._chunks.frame(offset)
            if kind in _CRITICAL_ORDER:
                if _CRITICAL_ORDER.index(kind) <= _CRITICAL_ORDER.index(last):
                    raise CorruptFile(f"the {kind} chunk at byte {offset} comes after {last}; {AGAIN}")
                # Behind metadata these could vanish into a metadata chunk whose length is damaged, unnoticed.
                if kind in _BEFORE_METADATA and any(name in METADATA for name, _, _ in self._front):
                    raise CorruptFile(f"the {kind} chunk at byte {offset} comes after metadata; {AGAIN}")
                last = kind
            if kind == "TILE":
                break
            if kind in ("QMAP", "BMAP"):
                if any(name == "QMAP" for name, _, _ in self._front):
                    raise CorruptFile(f"the {kind} chunk at byte {offset} follows QMAP, whose place it has; {AGAIN}")
                self._read_numbers(kind, offset, length)
            elif kind == "REFN":
                self.refined = self._read_refined(offset, length)
            elif kind in ("KEEP", "LABL"):
                maps.append(self._chunks.payload(kind, offset, length, MAX_MAP_BYTES))
            elif kind == "SEED":
                self.seed = int.from_bytes(self._chunks.payload(kind, offset, length, 4), "big")
                if length != 4 or not self.seed:
                    raise CorruptFile(f"the SEED chunk at byte {offset} is no seed; {AGAIN}")
            elif kind == "ALPH":
                self._alpha_chunk = (offset, length)
            elif kind == "TIDX":
                lengths = self._read_index(offset, length)
            elif kind in METADATA:
                self._read_metadata(kind, offset, length)
            else:
                self._skip_unknown(kind, offset, length)
        if len(maps) == 1:
            raise CorruptFile(f"of KEEP and LABL, which belong together, the file has only one; {AGAIN}")
        self.areas: tuple[bytes, bytes] | None = (maps[0], maps[1]) if maps else None
        if (self._alpha_chunk is None) == (self.header.mode in ("LA", "RGBA")):
            has = "no" if self._alpha_chunk is None else "an"
            raise CorruptFile(f"a picture of mode {self.header.mode} has {has} ALPH chunk; {AGAIN}")
        if lengths is None:
            if self.header.tiles > 1:
                raise CorruptFile(f"the TIDX chunk of {self.header.tiles} tiles is missing; {AGAIN}")
            if length > MAX_TILE_BYTES:
                raise CorruptFile(
                    f"the TILE chunk at byte {offset} claims {length} bytes, above {MAX_TILE_BYTES}; {AGAIN}"
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
        return self._chunks.bytes_read

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
        chunk = self._chunks.read(start, FRAME + length)
        if chunk[:8] != b"TILE" + struct.pack(">I", length):
            raise CorruptFile(f"no TILE of {length} bytes is at byte {start}, where tile {i} belongs; {AGAIN}")
        payload = chunk[8:-4]
        if zlib.crc32(payload, zlib.crc32(b"TILE")) != int.from_bytes(chunk[-4:], "big"):
            raise CorruptFile(f"the TILE chunk of tile {i} at byte {start} fails its checksum; {AGAIN}")
        return payload

    def alpha(self, i: int) -> bytes | None:
        """The alpha record of tile i (a kind byte, then a value or a PNG of the tile's size); None without alpha."""
        _, _, width, height = self.header.tile_box(i)
        if self._alpha_chunk is None:
            return None
        if self._alpha_at is None:
            self._alpha_at = self._index_alpha(*self._alpha_chunk)
        start, length = self._alpha_at[2 * i], self._alpha_at[2 * i + 1]
        if length > alpha_limit(width, height):
            raise CorruptFile(f"the alpha of tile {i} claims {length} bytes for {width}x{height} pixels; {AGAIN}")
        record = self._chunks.read(start, length)
        if problem := alpha_problem(record, width, height):
            raise CorruptFile(f"the alpha record of tile {i} at byte {start} {problem}; {AGAIN}")
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
        self._chunks.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_head(self, offset: int, length: int, max_pixels: int) -> Header:
        head = self._chunks.payload("HEAD", offset, length, _HEAD_LIMIT)
        header = parse_header(head, f"the HEAD chunk at byte {offset}")
        width, height = header.width, header.height
        if width * height > max_pixels:
            raise TooLarge(f"{width}x{height} pixels are above max_pixels = {max_pixels}: raise it to decode this file")
        if header.tiles * FRAME > self.size:
            raise CorruptFile(
                f"{header.tiles} tiles do not fit in {self.size} bytes: the file was cut short, get it whole"
            )
        return header

    def _read_numbers(self, kind: str, offset: int, length: int) -> None:
        rows, columns = self.header.blocks
        where = f"the {kind} chunk at byte {offset}"
        count = rows * columns
        # Deflate never shrinks by more than 1032, nor grows by more than a few bytes in 16 KiB.
        least, most = numbermap.limits(count) if kind == "BMAP" else (count // 1032, count + count // 1000 + 64)
        if not least <= length <= most:
            raise CorruptFile(f"{where} has {length} bytes for {count} blocks; {AGAIN}")
        data = self._chunks.payload(kind, offset, length, length)
        found = numbermap.unpack(data, rows, columns) if kind == "BMAP" else _inflated(data, rows, columns)
        if found is None:
            raise CorruptFile(f"{where} does not expand to {columns}x{rows} blocks; {AGAIN}")
        offsets, self.grain, self.soft = found
        if offsets is not None:
            if self.header.q + int(offsets.min()) < 0 or self.header.q + int(offsets.max()) > MAX_Q:
                raise CorruptFile(f"{where} leaves q = 0..{MAX_Q}; {AGAIN}")
            self.qmap = offsets
        for numbers in found[:2]:
            if numbers is not None:
                numbers.setflags(write=False)

    def _read_refined(self, offset: int, length: int) -> NDArray[np.bool_]:
        rows, columns = self.header.blocks
        payload = self._chunks.payload("REFN", offset, length, blockmap.limit(rows, columns))
        refined = blockmap.unpack(payload, rows, columns)
        if refined is None:
            raise CorruptFile(f"the REFN chunk at byte {offset} is no map of {columns}x{rows} blocks; {AGAIN}")
        return refined

    def _read_index(self, offset: int, length: int) -> array[int]:
        if self.header.tiles == 1 or not self.header.tiles <= length <= 5 * self.header.tiles:
            raise CorruptFile(f"the TIDX chunk at byte {offset} does not index {self.header.tiles} tiles; {AGAIN}")
        data = self._chunks.payload("TIDX", offset, length, length)
        lengths, at = array("Q"), 0
        for i in range(self.header.tiles):
            n, at = get_varint(data, at, MAX_TILE_BYTES, f"the length of tile {i} in the TIDX chunk at byte {offset}")
            lengths.append(n)
        if at != length:
            raise CorruptFile(f"the TIDX chunk at byte {offset} is longer than its {self.header.tiles} tiles; {AGAIN}")
        return lengths

    def _read_metadata(self, kind: str, offset: int, length: int) -> None:
        if any(name == kind for name, _, _ in self._front):
            return _warn(f"a second {kind} chunk at byte {offset} is ignored")
        try:
            data: bytes | None = self._chunks.payload(kind, offset, length, _STORED_LIMIT)
        except CorruptFile as error:
            return _warn(f"metadata ignored: {error}")
        if kind != "eXIF":
            data = inflate(data or b"", MAX_METADATA)
        if data is None or len(data) > MAX_METADATA:
            return _warn(f"the {kind} chunk at byte {offset} does not expand to at most {MAX_METADATA} bytes: ignored")
        setattr(self, METADATA[kind], data)

    def _skip_unknown(self, kind: str, offset: int, length: int) -> None:
        # A failing checksum puts the type itself in doubt: QMAP with one bit flipped is an ancillary-looking qMAP.
        if not self._chunks.crc_ok(kind, offset, length):
            raise CorruptFile(f"the {kind} chunk at byte {offset} is unknown and fails its checksum; {AGAIN}")
        if kind[0].isupper():
            raise UnsupportedFile(f"the file needs the {kind} chunk at byte {offset}, unknown here: upgrade intaglio")

    def _index_alpha(self, offset: int, length: int) -> array[int]:
        """(offset, length) pairs, flat, of the alpha records, once the chunk's checksum holds."""
        if not self._chunks.crc_ok("ALPH", offset, length):
            raise CorruptFile(f"the ALPH chunk at byte {offset} fails its checksum; {AGAIN}")
        pairs, at, end = array("Q"), offset + 8, offset + 8 + length
        for i in range(self.header.tiles):
            where = f"the alpha length of tile {i} at byte {at}"
            n, used = get_varint(self._chunks.read(at, min(5, end - at)), 0, where=where)
            at += used
            if at + n > end:
                raise CorruptFile(f"the alpha record of tile {i} at byte {at} leaves its chunk; {AGAIN}")
            pairs.extend((at, n))
            at += n
        if at != end:
            raise CorruptFile(f"the ALPH chunk at byte {offset} is longer than its {self.header.tiles} tiles; {AGAIN}")
        return pairs


def _inflated(data: bytes, rows: int, columns: int) -> tuple[NDArray[np.int8], None, bool] | None:
    """The offsets of a QMAP, which has no levels of grain; None where it is damaged."""
    found = inflate(data, rows * columns)
    if found is None or len(found) != rows * columns:
        return None
    return np.frombuffer(found, np.int8).reshape(rows, columns), None, False


def _warn(message: str) -> None:
    warnings.warn(message, IntaglioWarning, stacklevel=3)
