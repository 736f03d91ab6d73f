"""Yes or no for every 64x64 block of a picture, in few bytes."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALL, _BITS, _DEFLATED = 0, 1, 2


def pack(on: NDArray[Any]) -> bytes:
    """A map (rows, columns) of bool as bytes, in the shortest of three kinds: all on, plain bits, deflated bits."""
    if on.all():
        return bytes([_ALL])
    bits = np.packbits(on.astype(bool).ravel()).tobytes()
    deflated = zlib.compress(bits, 9)
    return bytes([_DEFLATED]) + deflated if len(deflated) < len(bits) else bytes([_BITS]) + bits


def limit(rows: int, columns: int) -> int:
    """Bytes of a packed map, at most."""
    return 1 + -(-rows * columns // 8)


def unpack(data: bytes, rows: int, columns: int) -> NDArray[np.bool_] | None:
    """The map of bool (rows, columns), perhaps not writable; None where `data` is no packed map of that size."""
    count = rows * columns
    size = -(-count // 8)
    kind, rest = (data[0], data[1:]) if data else (None, b"")
    if kind == _ALL and not rest:
        return np.broadcast_to(np.True_, (rows, columns))
    if kind == _DEFLATED and len(rest) <= size:
        stream = zlib.decompressobj()
        try:
            rest = stream.decompress(rest, size + 1)
        except zlib.error:
            return None
        if not stream.eof or stream.unused_data:
            return None
    elif kind != _BITS:
        return None
    if len(rest) != size:
        return None
    bits = np.unpackbits(np.frombuffer(rest, np.uint8))
    if bits[count:].any():
        return None
    return bits[:count].astype(bool).reshape(rows, columns)
