"""Bytes of a stranger's making, never more of them than asked for: a file at an offset, a zlib stream up to a limit."""

from __future__ import annotations

import io
import os
import threading
import zlib
from typing import IO, BinaryIO

from .container import SIGNATURE, BytesLike, check_signature
from .errors import BadInput, CorruptFile, TooLarge

PIECE = 1 << 16  # bytes taken at a time where a length is not to be trusted
PIPE = 1 << 31  # bytes that are read from what cannot seek, and so has to be kept in memory


class Source:
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
        check_signature(start)  # before the rest is read
        self._view = memoryview(start + drained(file, "the pipe"))
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


def inflate(data: bytes, limit: int) -> bytes | None:
    """What the one zlib stream in `data` expands to; None when it is malformed, or expands to more than `limit`."""
    stream, size = zlib.decompressobj(), 0
    try:
        # Counted first, in small pieces of either side, so that a bomb costs time but no memory.
        for at in range(0, len(data), PIECE):
            rest = data[at : at + PIECE]
            while rest and not stream.eof:
                size += len(stream.decompress(rest, PIECE))
                rest = stream.unconsumed_tail
                if size > limit:
                    return None
            if stream.eof and len(data) - at > PIECE:
                return None
        if not stream.eof or stream.unused_data:
            return None
        return zlib.decompress(data, bufsize=max(1, size))
    except zlib.error:
        return None


def drained(file: IO[bytes], name: str) -> bytes:
    """The rest of a file that cannot seek. Raises TooLarge after PIPE bytes: a pipe may have no end."""
    data = bytearray()
    while more := file.read(PIECE):
        if not isinstance(more, bytes):
            raise BadInput(f"{name} is open as text: open it in binary mode")
        data += more
        if len(data) > PIPE:
            raise TooLarge(f"{name} gives more than {PIPE >> 30} GiB: keep it in a file, and give that")
    return bytes(data)


def _read_fully(file: BinaryIO, n: int) -> bytes:
    """n bytes, or fewer at the end of the file: an unbuffered file may give less than was asked for."""
    data = file.read(n)
    if not isinstance(data, bytes):
        raise BadInput("the file gives no bytes: open it in mode 'rb'")
    while len(data) < n and (more := file.read(n - len(data))):
        data += more
    return data
