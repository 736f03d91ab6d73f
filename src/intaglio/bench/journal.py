"""What a benchmark has finished, one JSON line each, so that an interrupted run goes on where it stopped.

Each line carries its own key (a hash of everything that the result depends on) and a checksum. Lines are appended with
one write, by several processes at once; a line that is cut short or damaged is ignored, and its work done again.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def key(*parts: Any) -> str:
    """32 hexadecimal digits that name the result of `parts`, any JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Journal:
    """The lines of one file."""

    def __init__(self, path: Path):
        self.path = path

    def touch(self) -> None:
        """Make the file, empty, unless it is there."""
        self.path.touch()

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Add a finished result under its key; on the disk when this returns."""
        text = json.dumps({"key": name, **record}, sort_keys=True)
        # The newline in front ends what a killed process may have left unfinished.
        line = f"\n{_seal(text)} {text}\n".encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> dict[str, dict[str, Any]]:
        """The sound results by key, the latest of each; none where there is no file yet."""
        found: dict[str, dict[str, Any]] = {}
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return found
        for raw in lines:
            seal, _, text = raw.decode(errors="replace").partition(" ")
            if text and seal == _seal(text):
                record = json.loads(text)
                found[record["key"]] = record
        return found
