"""Symbols of a finite alphabet <-> bytes with every symbol equally likely: log2 L bits each, and a constant.

The symbols are taken k at a time as digits of radix L^k, the largest below 2^63, and pushed onto one integer x, from
which words of 64 bits are taken as it grows (ANS with a uniform distribution). x starts as 2^32 + the CRC-32 of the
symbols, so damage is found. Since x keeps 32 bits beside a digit, all the words that leave it cost less than a
thousandth of a bit a tile: the bytes are never more than dim log2 L / 8 + OVERHEAD. docs/format.md has the details.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from .errors import CorruptFile

OVERHEAD = 16  # bytes: the checksum, the last digit's idle places, a word's rounding; the marker of a plain tile
START, WORD = 1 << 32, 64


def _digits(levels: int) -> int:
    """k: how many symbols one digit holds."""
    k = 1
    while levels ** (k + 1) < 1 << 63:
        k += 1
    return k


def encode(symbols: NDArray[np.int32], levels: int) -> bytes:
    """symbols: 1-D, within +-(levels - 1) / 2."""
    k = _digits(levels)
    values = (symbols.astype(np.int64) + (levels - 1) // 2).astype(np.uint64)
    values = np.pad(values, (0, -len(values) % k)).reshape(-1, k)
    powers = np.array([levels**i for i in range(k)], np.uint64)
    radix, x, words = levels**k, START + _checksum(symbols), []
    for digit in (values * powers).sum(1, dtype=np.uint64)[::-1].tolist():
        if x >> WORD >= START:
            words.append(x & (1 << WORD) - 1)
            x >>= WORD
        x = x * radix + digit
    while x:
        words.append(x & (1 << WORD) - 1)
        x >>= WORD
    return np.array(words, "<u8").tobytes().rstrip(b"\0")


def decode(data: bytes, count: int, levels: int) -> NDArray[np.int32]:
    """`count` symbols. CorruptFile where the bytes are not exactly those that `encode` makes."""
    k = _digits(levels)
    n = -(-count // k)
    radix = levels**k
    if len(data) > (n + 3) * WORD // 8 or data[-1:] == b"\0":
        raise _damaged()
    words = np.frombuffer(data + bytes(-len(data) % (WORD // 8)), "<u8").tolist()
    x, digits = 0, []
    while words and x < START * radix:
        x = x << WORD | words.pop()
    for _ in range(n):
        x, digit = divmod(x, radix)
        digits.append(digit)
        if words and x < START * radix:
            x = x << WORD | words.pop()
    values = np.array(digits, np.uint64)
    columns = []
    for _ in range(k):
        values, column = np.divmod(values, np.uint64(levels))
        columns.append(column)
    every = np.stack(columns, 1).ravel()
    symbols = every[:count].astype(np.int32) - np.int32((levels - 1) // 2)
    if words or x != START + _checksum(symbols) or every[count:].any():
        raise _damaged()
    return symbols


def _checksum(symbols: NDArray[np.int32]) -> int:
    return zlib.crc32(symbols.astype("<i4").data)


def _damaged() -> CorruptFile:
    return CorruptFile("A plainly coded tile is damaged, or was written with another model.")
