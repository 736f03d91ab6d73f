"""Just enough of an .itg container, written from docs/format.md: chunks, header, gain map, tiles. No intaglio."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

MODES = ("L", "LA", "RGB", "RGBA")
TILE, BLOCK = 1024, 64  # pixels


@dataclass
class File:
    """steps: q of every 64x64 block; tiles: the payloads, in row-major order."""

    width: int
    height: int
    mode: str
    fingerprint: bytes
    steps: np.ndarray
    tiles: list[bytes]

    def tile_steps(self, i: int) -> np.ndarray:
        """The q map of tile i."""
        row, column = divmod(i, -(-self.width // TILE))
        n = TILE // BLOCK
        return self.steps[row * n : (row + 1) * n, column * n : (column + 1) * n]


def parse(data: bytes) -> File:
    """A sound file of version 1; anything else fails an assertion."""
    assert data[:8] == b"\x8aITG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        payload = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + payload) == int.from_bytes(data[at + 8 + length : at + 12 + length], "big")
        chunks.append((kind, payload))
        at += 12 + length
    known = dict(reversed(chunks))
    head = known[b"HEAD"]
    version, mode, q, _ = head[:4]
    assert version == 1
    width, at = leb128(head, 12)
    height, at = leb128(head, at)
    assert at == len(head) or (at == len(head) - 1 and head[at]), "the grain, where there is one"
    steps = np.full((-(-height // BLOCK), -(-width // BLOCK)), q)
    if b"BMAP" in known:
        steps += block_numbers(known[b"BMAP"], steps.shape)[0]
    if b"QMAP" in known:
        steps += np.frombuffer(zlib.decompress(known[b"QMAP"]), np.int8).reshape(steps.shape)
    tiles = [payload for kind, payload in chunks if kind == b"TILE"]
    if b"TIDX" in known:
        at = 0
        for tile in tiles:
            length, at = leb128(known[b"TIDX"], at)
            assert length == len(tile)
    return File(width, height, MODES[mode], head[4:12], steps, tiles)


def block_numbers(data: bytes, shape: tuple[int, int]) -> list[np.ndarray]:
    """The offsets and the grain levels of the blocks."""
    kind, zeros, numbers = data[0], 0, []
    assert 0 < kind < 8 or kind & 12 == 12 and kind < 16
    for bit in "".join(f"{byte:08b}" for byte in data[1:]):
        if bit == "1":
            numbers.append((zeros + 1) // 2 if zeros % 2 else -(zeros // 2))
        zeros = 0 if bit == "1" else zeros + 1
    assert zeros < 8, "what fills the last byte"
    maps = []
    for flag, unit in ((1, 2 if kind & 2 else 1), (4, 1)):
        found = np.zeros(shape, int)
        for y, x in np.ndindex(shape) if kind & flag else ():
            left = found[y, x - 1] if x else found[y - 1, x] if y else 0
            above = found[y - 1, x] if y else left
            between = found[y - 1, x - 1] if y and x else left
            found[y, x] = numbers.pop(0) + sorted((left, above, left + above - between))[1]
        maps.append(unit * found)
    assert not numbers
    return maps


def leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and the offset after it."""
    n = shift = 0
    while True:
        n |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return n, at
