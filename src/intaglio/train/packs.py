"""Packs of photographs for training: every picture decoded once, into one flat uint8 file.

    python -m intaglio.train.packs PHOTOS OUT        makes OUT/photographs.u8 and .json, and prints OUT/photographs

A pack NAME is a pair of files: NAME.u8 (all pictures, RGB, one after another) and NAME.json (their sizes and offsets,
and which files of which folder they were read from).

A picture NAME.jpg (or .webp, ...) may have a label map NAME.labels.png beside it, of class ids (0..254) in one channel;
as for `intaglio encode`, a label for every pixel as the file stores them, which the pack turns along with its picture.
Where there is one, a third file, NAME.ids, holds a byte for every pixel of the pack, 255 where there is no label.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from .. import selection
from ..errors import BadInput, IntaglioError
from ..told import ended
from ..upright import turned, upright
from ..writing import write_bytes

PACK = "photographs"  # the name of a run's
LABELS = ".labels.png"
NO_LABEL = 255
OF_RUNS = {"last.pt", "log.jsonl"}  # a folder that holds one of these is a run's, and its pictures are the codec's


def part(pack: Path, suffix: str) -> Path:
    """The file of a pack with a suffix, ".u8", ".ids" or ".json"; any of them may stand for the pack as well."""
    name = pack.name.removesuffix(".u8").removesuffix(".json") if pack.suffix in (".u8", ".json") else pack.name
    return pack.parent / (name + suffix)


def files_of(folder: Path, out: Path) -> dict[str, list[int]]:
    """The files below `folder` that a pack `out` is made of: their names in it, sizes in bytes, times in ns. Not those
    of runs: packs and strips, which show decoded pictures."""
    found = [p for p in folder.rglob("*") if p.is_file()]
    runs = {p.parent.resolve() for p in found if p.name in OF_RUNS and p.parent != folder}
    if folder.resolve() in out.resolve().parent.parents:
        runs.add(out.parent.resolve())
    found = [p for p in found if runs.isdisjoint(p.resolve().parents)]
    return {str(p.relative_to(folder)): [(s := p.stat()).st_size, s.st_mtime_ns] for p in sorted(found)}


def is_current(out: Path, folder: Path) -> bool:
    """Whether there is a pack `out` that was made of the very files that `folder` holds. One whose index does not say
    what it was made of (older ones) is taken to be."""
    try:
        index = json.loads(part(out, ".json").read_text())
        return "files" not in index or index["files"] == files_of(folder, out)
    except (OSError, ValueError, TypeError):
        return False


def pack(folder: Path, out: Path) -> dict:
    """Decode every readable picture below `folder` into `out`.u8 and `out`.json, in place of a pack that is there.
    Returns the index.

    Pictures smaller than 64 pixels on a side, and files that are no picture, are skipped and counted in the index
    under `skipped`; label maps are no pictures of their own. A map that does not fit its picture is a BadInput.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: is no folder; give the folder that holds the photographs")
    entries, names, skipped, offset = [], [], 0, 0
    made_of = files_of(folder, out)  # before the pack itself appears among them, and as they are now
    files = [folder / name for name in made_of]
    maps = {p for p in files if p.name.endswith(LABELS)}
    files = [p for p in files if p not in maps]
    out.parent.mkdir(parents=True, exist_ok=True)
    u8_part = part(out, ".u8.part")
    ids_part = part(out, ".ids.part")
    with u8_part.open("wb") as sink, ids_part.open("wb") as ids_sink:
        for path in files:
            try:
                image, orientation = upright(path)
            except IntaglioError:  # a folder of strangers' files: whatever is no picture is skipped, and counted
                skipped += 1
                continue
            pixels = np.asarray(image)
            if min(pixels.shape[:2]) < 64:
                skipped += 1
                continue
            sink.write(pixels.tobytes())
            if maps:
                ids_sink.write(_ids(path.with_suffix(LABELS), maps, orientation, pixels.shape[:2]).tobytes())
            entries.append([offset, pixels.shape[0], pixels.shape[1]])
            names.append(str(path.relative_to(folder)))
            offset += pixels.size
    index = {"entries": entries, "names": names, "skipped": skipped, "pixels": offset // 3,
             "folder": str(folder.resolve()), "files": made_of}
    part(out, ".json").unlink(missing_ok=True)  # until all is there, there is no pack
    u8_part.replace(part(out, ".u8"))
    if maps:
        ids_part.replace(part(out, ".ids"))
    else:
        ids_part.unlink()
        part(out, ".ids").unlink(missing_ok=True)  # of the pack before
    write_bytes(part(out, ".json"), json.dumps(index).encode())
    return index


def _ids(path: Path, maps: set[Path], orientation: int, shape: tuple[int, int]) -> np.ndarray:
    """The label map beside a picture that has been turned, and then is of `shape`; 255 everywhere where there is none.
    """
    if path not in maps:
        return np.full(shape, NO_LABEL, np.uint8)
    ids = selection.read(path)
    stored = shape if orientation < 5 else shape[::-1]  # from 5 on, EXIF's orientations swap the sides
    if ids.shape != stored or int(ids.max()) > NO_LABEL:
        raise BadInput(f"{path}: is {ids.shape[1]} x {ids.shape[0]} with ids up to {ids.max()}; give one of the "
                       f"picture's {stored[1]} x {stored[0]} as it is stored, with class ids up to 254")
    return np.asarray(turned(Image.fromarray(ids.astype(np.uint8)), orientation))


def prepare(data: Path, out: Path, resume: bool = False, name: str = PACK) -> Path:
    """The pack to train on: `data` itself if it is one (NAME for NAME.u8 and NAME.json), else that of the folder
    `data`, which is made in `out`, as `name`, unless it is there and the folder holds the same files still.

    resume: a pack of other files is not replaced, but a BadInput, as is what is neither a folder nor a pack.
    """
    if is_pack(data):
        return data
    if not data.is_dir():
        raise BadInput(f"{data}: is neither a folder of photographs nor a pack of them; give one with --data")
    target = out / name
    if is_current(target, data):
        return target
    if resume and is_pack(target):
        raise BadInput(f"{data}: holds other files than this run was trained on; go on with those (--data {target}), "
                       "or start a run of its own with another --out")
    if out.resolve() == data.resolve():
        raise BadInput(f"{out}: holds the photographs themselves; give a folder of its own for what is made of them")
    pack(data, target)
    return target


def is_pack(data: Path) -> bool:
    return part(data, ".json").is_file() and part(data, ".u8").is_file()


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photographs", type=Path, metavar="PHOTOS")
    p.add_argument("out", type=Path, metavar="OUT")
    p.add_argument("--resume", action="store_true", help="a pack of other files is not replaced")
    a = p.parse_args()
    try:
        found = prepare(a.photographs, a.out, a.resume)
        index = json.loads(part(found, ".json").read_text())
        print(f"{len(index['entries'])} photographs, {index['skipped']} other files skipped", file=sys.stderr)
        print(found)
    except (IntaglioError, OSError, ValueError) as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    ended(main)
