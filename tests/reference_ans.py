"""An entropy-tile decoder in plain Python, written from docs/format.md: no numpy, no constriction, no intaglio."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from zlib import crc32


class Damaged(Exception):
    """The bytes are no entropy-coded tile."""


def decode(tables: Sequence[Sequence[int]], data: bytes, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """tables: counts per table, the escape's last; groups: per group, per residual, its table -> the residuals."""
    size, at = _leb128(data)
    bits = "".join(f"{byte:08b}" for byte in data[at : at + size])
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(at + size, len(data), 4)]
    if at + size > len(data) or (len(data) - at - size) % 4 or (words and words[-1] == 0):
        raise Damaged
    sums = [[0, *accumulate(counts)] for counts in tables]
    state = 0
    while words and state < 1 << 32:
        state = state << 32 | words.pop()
    out, crc = [], 0
    for group in groups:
        residuals = [0] * len(group)
        for i in sorted(range(len(group)), key=lambda i: group[i]):  # stable: equal tables stay in order
            cdf = sums[group[i]]
            low = state & (1 << 24) - 1
            entry = bisect_right(cdf, low) - 1
            state = (state >> 24) * (cdf[entry + 1] - cdf[entry]) + low - cdf[entry]
            if state < 1 << 32 and words:
                state = state << 32 | words.pop()
            reach = (len(cdf) - 3) // 2
            if entry <= 2 * reach:
                residuals[i] = entry - reach
            else:
                residuals[i], bits = _escape(bits, reach)
        out.append(residuals)
        crc = crc32(b"".join(r.to_bytes(4, "little", signed=True) for r in residuals), crc)
    if words or state != crc or len(bits) > 7 or "1" in bits:
        raise Damaged
    return out


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
