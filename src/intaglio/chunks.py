"""The frames that an `.itg` file is cut into: type, length, payload, checksum (docs/format.md, "Chunks")."""

from __future__ import annotations

import zlib

from .container import FRAME
from .errors import AGAIN, CorruptFile
from .source import PIECE, Source


class Chunks(Source):
    """A source read chunk by chunk. `offset` is where a chunk starts, `length` what its frame says of its payload;
    CorruptFile where the bytes do not bear that out."""

    def frame(self, offset: int) -> tuple[str, int]:
        """(type, payload length) of the chunk at `offset`; the file has that many bytes, unless it is a TILE."""
        if offset + FRAME > self.size:
            raise CorruptFile(
                f"the file ends at byte {self.size}, inside the chunk at byte {offset}: get the whole file"
            )
        frame = self.read(offset, 8)
        if not (frame[:4].isalpha() and frame[:4].isascii()):
            raise CorruptFile(f"no chunk starts at byte {offset}, where one belongs; {AGAIN}")
        kind, length = frame[:4].decode(), int.from_bytes(frame[4:], "big")
        if offset + FRAME + length > self.size and kind != "TILE":  # what there is of a cut file can be decoded
            raise CorruptFile(
                f"the {kind} chunk at byte {offset} claims {length} bytes and the file ends at byte {self.size}: "
                "it was cut short or damaged, so get a fresh copy"
            )
        return kind, length

    def crc_ok(self, kind: str, offset: int, length: int) -> bool:
        """Whether the chunk's CRC-32 holds; in pieces, so that its length costs no memory."""
        crc, at, end = zlib.crc32(kind.encode()), offset + 8, offset + 8 + length
        while at < end:
            piece = self.read(at, min(PIECE, end - at))
            crc = zlib.crc32(piece, crc)
            at += len(piece)
        return crc == int.from_bytes(self.read(end, 4), "big")

    def payload(self, kind: str, offset: int, length: int, limit: int) -> bytes:
        """The chunk's payload, of at most `limit` bytes, once its checksum holds."""
        if length > limit:
            raise CorruptFile(f"the {kind} chunk at byte {offset} claims {length} bytes, above {limit}; {AGAIN}")
        chunk = self.read(offset + 8, length + 4)
        if zlib.crc32(chunk[:length], zlib.crc32(kind.encode())) != int.from_bytes(chunk[length:], "big"):
            raise CorruptFile(f"the {kind} chunk at byte {offset} fails its checksum; {AGAIN}")
        return chunk[:length]
