"""An entropy-tile decoder in plain Python, written from docs/format.md: no numpy, no constriction, no intaglio."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from zlib import crc32


class Damaged(Exception):
    """The bytes are no entropy-coded tile."""


class Stream:
    """One coded tile. tables: the counts of each table, the escape's last."""

    def __init__(self, tables: Sequence[Sequence[int]], data: bytes):
        size, at = _leb128(data)
        if at + size > len(data) or (len(data) - at - size) % 4:
            raise Damaged
        self.bits = "".join(f"{byte:08b}" for byte in data[at : at + size])
        self.words = [int.from_bytes(data[i : i + 4], "little") for i in range(at + size, len(data), 4)]
        if self.words and self.words[-1] == 0:
            raise Damaged
        self.sums = [[0, *accumulate(counts)] for counts in tables]
        self.state = self.crc = 0
        self._refill()

    def group(self, index: Sequence[int]) -> list[int]:
        """The residuals of the next group; index: the table of each."""
        residuals = [0] * len(index)
        for i in sorted(range(len(index)), key=lambda i: index[i]):  # stable: equal tables stay in order
            cdf = self.sums[index[i]]
            low = self.state & (1 << 24) - 1
            entry = bisect_right(cdf, low) - 1
            self.state = (self.state >> 24) * (cdf[entry + 1] - cdf[entry]) + low - cdf[entry]
            self._refill()
            reach = (len(cdf) - 3) // 2
            if entry <= 2 * reach:
                residuals[i] = entry - reach
            else:
                residuals[i], self.bits = _escape(self.bits, reach)
        self.crc = crc32(b"".join(r.to_bytes(4, "little", signed=True) for r in residuals), self.crc)
        return residuals

    def finish(self) -> None:
        """Damaged unless everything was used and the checksum is right."""
        if self.words or self.state != self.crc or len(self.bits) > 7 or "1" in self.bits:
            raise Damaged

    def _refill(self) -> None:
        while self.words and self.state < 1 << 32:
            self.state = self.state << 32 | self.words.pop()


def decode(tables: Sequence[Sequence[int]], data: bytes, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """All groups of a tile: per group, per residual, its table -> the residuals."""
    stream = Stream(tables, data)
    residuals = [stream.group(index) for index in groups]
    stream.finish()
    return residuals


def _escape(bits: str, reach: int) -> tuple[int, str]:
    zeros = bits.find("1", 1) - 1
    end = 2 + 2 * zeros
    if zeros < 0 or end > len(bits):
        raise Damaged
    magnitude = reach + int(bits[1:end], 2)
    if magnitude > 1 << 20:
        raise Damaged
    return -magnitude if bits[0] == "1" else magnitude, bits[end:]


def _leb128(data: bytes) -> tuple[int, int]:
    n = 0
    for i, byte in enumerate(data[:5]):
        n |= (byte & 0x7F) << 7 * i
        if byte < 0x80 and (byte or not i):
            return n, i + 1
        if byte < 0x80:
            break
    raise Damaged
