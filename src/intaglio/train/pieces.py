"""A checkpoint cut into files of bounded size, and joined again: for places that carry small files only.

    python -m intaglio.train.pieces cut CHECKPOINT FOLDER [--mib 15]
    python -m intaglio.train.pieces join FOLDER CHECKPOINT

`cut` writes NAME.000, NAME.001, ... and NAME.json with the size and the SHA-256 of the whole; `join` checks both.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from ..errors import BadInput, CorruptFile
from ..told import ended
from ..writing import write_bytes

MIB = 2**20


def cut(source: Path, folder: Path, mib: float = 15) -> list[Path]:
    """Cut `source` into files of at most `mib` MiB in `folder`; returns them, the index last. Raises BadInput."""
    if mib <= 0:
        raise BadInput(f"pieces of {mib} MiB cannot hold anything; give a size above 0")
    try:
        data = source.read_bytes()
    except OSError as e:
        raise BadInput(f"{source}: cannot be read ({e.strerror}); give a checkpoint, as a run writes it") from None
    folder.mkdir(parents=True, exist_ok=True)
    size = max(1, int(mib * MIB))
    pieces = [data[i : i + size] for i in range(0, len(data), size)] or [b""]
    for old in folder.glob(f"{source.name}.[0-9][0-9][0-9]"):  # of a larger checkpoint, cut before
        old.unlink()
    written = []
    for i, piece in enumerate(pieces):
        path = folder / f"{source.name}.{i:03d}"
        write_bytes(path, piece)
        written.append(path)
    index = {"name": source.name, "pieces": len(pieces), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    write_bytes(folder / f"{source.name}.json", json.dumps(index).encode())
    return [*written, folder / f"{source.name}.json"]


def join(folder: Path, target: Path) -> None:
    """Put the one checkpoint whose pieces lie in `folder` together as `target`. Raises BadInput or CorruptFile."""
    indices = sorted(folder.glob("*.json"))
    if len(indices) != 1:
        raise BadInput(f"{folder}: holds {len(indices)} indices of pieces; give a folder that `cut` wrote, with one")
    try:
        index = json.loads(indices[0].read_text())
        paths = [folder / f"{index['name']}.{i:03d}" for i in range(index["pieces"])]
        size, digest = index["bytes"], index["sha256"]
    except (ValueError, KeyError, TypeError):
        raise CorruptFile(f"{indices[0]}: is no index of pieces; copy the folder again") from None
    missing = [p.name for p in paths if not p.is_file()]
    if missing:
        raise BadInput(f"{folder}: {', '.join(missing[:5])} of {len(paths)} pieces are missing; copy them too")
    data = b"".join(p.read_bytes() for p in paths)
    if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
        raise CorruptFile(f"{folder}: the pieces do not give the checkpoint that was cut; copy the folder again")
    write_bytes(target, data)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = p.add_subparsers(dest="command", required=True)
    one = commands.add_parser("cut")
    one.add_argument("source", type=Path)
    one.add_argument("folder", type=Path)
    one.add_argument("--mib", type=float, default=15)
    two = commands.add_parser("join")
    two.add_argument("folder", type=Path)
    two.add_argument("target", type=Path)
    a = p.parse_args()
    try:
        if a.command == "cut":
            print(*cut(a.source, a.folder, a.mib), sep="\n")
        else:
            join(a.folder, a.target)
    except (BadInput, CorruptFile) as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    ended(main)
