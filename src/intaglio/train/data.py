"""Photographs for training: decoded once into one flat uint8 file, then cropped at random on the device that trains.

The pack is a pair of files: `NAME.u8` (all pictures, RGB, one after another) and `NAME.json` (their sizes and offsets,
and which files of which folder they were read from).
A GPU holds all of it as one tensor; on a CPU it is a memory map. Either way a batch is one gather, so the network
never waits for an image decoder.

A picture NAME.jpg (or .webp, ...) may have a label map NAME.labels.png beside it, of class ids (0..254) in one channel;
as for `intaglio encode`, a label for every pixel as the file stores them, which the pack turns along with its picture.
Where there is one, a third file, `NAME.ids`, holds a byte for every pixel of the pack, 255 where there is no label.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .. import selection
from ..errors import BadInput, IntaglioError
from ..upright import turned, upright
from ..writing import write_bytes
from .draws import Draws

LABELS = ".labels.png"
NO_LABEL = 255


def files_of(folder: Path, out: Path) -> dict[str, list[int]]:
    """The files below `folder` that a pack `out` is made of: their names in it, sizes in bytes, times in ns."""
    ours = out.parent.resolve() if folder.resolve() in out.resolve().parent.parents else None
    found = (p for p in folder.rglob("*") if p.is_file())
    if ours is not None:  # a run's folder in that of its photographs: its packs and strips are none of them
        found = (p for p in found if ours not in p.resolve().parents)
    return {str(p.relative_to(folder)): [(s := p.stat()).st_size, s.st_mtime_ns] for p in sorted(found)}


def is_current(out: Path, folder: Path) -> bool:
    """Whether there is a pack `out` that was made of the very files that `folder` holds. One whose index does not say
    what it was made of (older ones) is taken to be."""
    try:
        index = json.loads(out.with_suffix(".json").read_text())
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
    part = out.with_suffix(".u8.part")
    ids_part = out.with_suffix(".ids.part")
    with part.open("wb") as sink, ids_part.open("wb") as ids_sink:
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
    out.with_suffix(".json").unlink(missing_ok=True)  # until all is there, there is no pack
    part.replace(out.with_suffix(".u8"))
    if maps:
        ids_part.replace(out.with_suffix(".ids"))
    else:
        ids_part.unlink()
        out.with_suffix(".ids").unlink(missing_ok=True)  # of the pack before
    write_bytes(out.with_suffix(".json"), json.dumps(index).encode())
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


class Photographs:
    """The pictures of a pack, ready to be cropped on `device`; `labelled` where the pack has label maps.

    Raises BadInput where the pack is missing or damaged.
    """

    def __init__(self, out: Path, device: torch.device | str = "cpu"):
        try:
            self.index = json.loads(out.with_suffix(".json").read_text())
            count = 3 * self.index["pixels"]
            flat = torch.from_file(str(out.with_suffix(".u8")), shared=False, size=count, dtype=torch.uint8)
            ids, file = None, out.with_suffix(".ids")
            if file.is_file():
                ids = torch.from_file(str(file), shared=False, size=count // 3, dtype=torch.uint8)
        except (OSError, ValueError, KeyError, RuntimeError) as e:
            raise BadInput(f"{out}: is no pack of photographs ({e}); pack them again with --data FOLDER") from None
        if not self.index["entries"]:
            raise BadInput(f"{out}: holds no picture of at least 64 x 64 pixels; give a folder with photographs")
        self.flat = flat.to(device)
        self.labelled = ids is not None
        self._ids = None if ids is None else ids.to(device)
        self.entries = torch.tensor(self.index["entries"], device=device)  # offset, height, width
        self.device = torch.device(device)

    def crops(
        self, draws: Draws, size: int, zoom: float = 1.0, colour: float = 0.0, labels: bool = False
    ) -> Tensor:
        """Random crops (batch, 3, size, size) on the 0..255 scale, float32, flipped left to right half the time.

        Pictures are drawn in proportion to their area, so every pixel is seen equally often. `zoom`: crops are up to so
        many times larger, as far as the largest photograph goes, then shrunk (one factor a batch): finer detail than
        the photographs' own, and no trace of their compression. `colour`: brightness and every channel vary by up to
        this share. `labels`: the label of every pixel is the fourth channel, where the pack is `labelled`.
        """
        cut = max(size, min(round(size * zoom ** draws.shared()), self.largest_crop())) if zoom > 1 else size
        fitting = self.entries[self.entries[:, 1:].amin(1) >= cut]
        if not len(fitting):
            raise BadInput(f"no photograph is as large as a crop of {cut} x {cut}; train with smaller crops (--crop)")
        area = (fitting[:, 1] * fitting[:, 2]).double()
        edges = torch.cumsum(area / area.sum(), 0)
        u = draws.uniform(4).double()  # picture, row, column, flip
        offset, h, w = fitting[torch.searchsorted(edges, u[:, :1].contiguous())[:, 0].clamp_max(len(fitting) - 1)].T
        top, left = (u[:, 1] * (h - cut + 1)).long(), (u[:, 2] * (w - cut + 1)).long()
        along = torch.arange(cut, device=self.device)
        columns = torch.where(u[:, 3:] < 0.5, along, cut - 1 - along)  # (batch, cut)
        at = offset[:, None, None] + 3 * ((top[:, None, None] + along[:, None]) * w[:, None, None]
                                          + left[:, None, None] + columns[:, None, :])
        x = self.flat[at[:, None] + torch.arange(3, device=self.device)[:, None, None]].float()
        if cut > size:
            x = F.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp(0, 255)
        if colour > 0:
            change = 1 + colour * (2 * draws.uniform(4) - 1)
            x = (x * change[:, :1, None, None] * change[:, 1:, None, None]).clamp(0, 255)
        if not labels:
            return x
        assert self._ids is not None
        ids = self._ids[at // 3][:, None].float()
        return torch.cat([x, F.interpolate(ids, (size, size), mode="nearest-exact") if cut > size else ids], 1)

    def largest_crop(self) -> int:
        """The side of the largest square that some picture holds, in pixels."""
        return int(self.entries[:, 1:].amin(1).max())


def fixed_crops(photographs: Photographs, count: int, size: int, seed: int) -> Tensor:
    """`count` crops that depend on the seed alone, for start values, counts and pictures to look at."""
    return photographs.crops(Draws(seed, 0, count, photographs.device), size)
