"""What was computed once and need not be again: bytes under a key that names everything they depend on."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput


def digest(*parts: object) -> str:
    """A key of parts: bytes and arrays by their content (an array's shape and type too), others by their `repr`."""
    h = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            part = f"{part.dtype}{part.shape}".encode() + part.tobytes()
        data = part if isinstance(part, bytes) else repr(part).encode()
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()


class Cache:
    """Keys to bytes in one SQLite file, or in memory where path is None; each entry is on the disk once it is put.

    A run that is killed loses nothing but what it was at, and two may share a file. Raises BadInput where the path
    cannot be opened, is another kind of file, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None):
        self.hits = self.misses = 0
        name = self._name = ":memory:" if path is None else os.fspath(path)
        try:
            self._db = sqlite3.connect(name, timeout=60, isolation_level=None)
            self._db.execute("create table if not exists entries (key text primary key, value blob not null)")
        except sqlite3.Error as error:
            raise BadInput(f"{name} cannot be used as a cache ({error}); delete it or name another file") from None

    def bytes(self, key: str, compute: Callable[[], bytes]) -> bytes:
        """The bytes under the key; computed and kept where there are none."""
        row = self._asked("select value from entries where key = ?", (key,)).fetchone()
        if row is not None:
            self.hits += 1
            return row[0]
        self.misses += 1
        value = compute()
        self._asked("insert or replace into entries values (?, ?)", (key, value))
        return value

    def _asked(self, statement: str, given: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, given)
        except sqlite3.Error as error:
            raise BadInput(f"{self._name} cannot be used as a cache any more ({error}); free some space on its disk, "
                           "or name another file") from None

    def floats(self, key: str, columns: int, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """`bytes` for an array of float32 of shape (rows, columns)."""
        value = self.bytes(key, lambda: np.ascontiguousarray(compute(), np.float32).tobytes())
        return np.frombuffer(value, np.float32).reshape(-1, columns)
