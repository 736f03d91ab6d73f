"""LEB128: whole numbers in as few bytes as they need."""

from __future__ import annotations

from .errors import AGAIN, BadInput, CorruptFile


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


def get_varint(
    buffer: bytes | bytearray | memoryview, offset: int, limit: int = 0xFFFFFFFF, where: str = "the number"
) -> tuple[int, int]:
    """The LEB128 number at `offset` and the offset after it.

    CorruptFile, naming `where`, when it is cut short, above `limit`, or spelled with needless zero bytes.
    """
    n = shift = 0
    for at in range(offset, len(buffer)):
        byte = buffer[at]
        n |= (byte & 0x7F) << shift
        shift += 7
        if n > limit or (byte & 0x80 and shift > limit.bit_length()):
            raise CorruptFile(f"{where} is above {limit}; {AGAIN}")
        if not byte & 0x80:
            if byte == 0 and at > offset:  # one value, one spelling
                raise CorruptFile(f"{where} has needless zero bytes; {AGAIN}")
            return n, at + 1
    raise CorruptFile(f"{where} is cut short; {AGAIN}")
