"""Photographs for training: decoded once into one flat uint8 file, then cropped at random.

A crop costs one slice of a memory map, so the two cores that train never wait for an image decoder. The pack is a
pair of files: `NAME.u8` (all pictures, RGB, one after another) and `NAME.json` (their sizes and offsets).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


def pack(folder: Path, out: Path) -> dict:
    """Decode every readable picture below `folder` into `out`.u8 and `out`.json. Returns the index.

    Pictures smaller than 64 pixels on a side, and files that are no picture, are skipped and counted in the index
    under `skipped`.
    """
    entries, skipped, offset = [], 0, 0
    files = sorted(p for p in folder.rglob("*") if p.is_file())  # before the pack itself appears among them
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".u8.part")
    with part.open("wb") as sink:
        for path in files:
            try:
                with Image.open(path) as image:
                    pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            except Exception:  # a folder of strangers' files: whatever Pillow cannot read is skipped, and counted
                skipped += 1
                continue
            if min(pixels.shape[:2]) < 64:
                skipped += 1
                continue
            sink.write(pixels.tobytes())
            entries.append([offset, pixels.shape[0], pixels.shape[1]])
            offset += pixels.size
    index = {"entries": entries, "skipped": skipped, "pixels": offset // 3}
    part.rename(out.with_suffix(".u8"))
    out.with_suffix(".json").write_text(json.dumps(index))
    return index


class Crops:
    """Random crops of a pack, as uint8 arrays of shape (batch, 3, size, size).

    Pictures are drawn in proportion to their area, so every pixel is seen equally often. Left-right flips; no other
    change, since scaled pictures have other statistics than photographs have.
    """

    def __init__(self, out: Path, size: int, seed: int = 0):
        index = json.loads(out.with_suffix(".json").read_text())
        self.entries = [e for e in index["entries"] if min(e[1:]) >= size]
        if not self.entries:
            raise ValueError(f"{out}: no picture is as large as a crop of {size} x {size}; give smaller crops")
        area = np.array([h * w for _, h, w in self.entries], float)
        self.cumulative = np.cumsum(area / area.sum())
        self.pixels = np.memmap(out.with_suffix(".u8"), np.uint8, "r")
        self.size = size
        self.rng = np.random.default_rng(seed)

    def batch(self, count: int) -> np.ndarray:
        return np.stack([self.one() for _ in range(count)])

    def one(self) -> np.ndarray:
        n = self.size
        chosen = int(np.searchsorted(self.cumulative, self.rng.random()))
        offset, h, w = self.entries[min(chosen, len(self.entries) - 1)]
        picture = self.pixels[offset : offset + h * w * 3].reshape(h, w, 3)
        y, x = self.rng.integers(h - n + 1), self.rng.integers(w - n + 1)
        crop = picture[y : y + n, x : x + n]
        if self.rng.random() < 0.5:
            crop = crop[:, ::-1]
        return crop.transpose(2, 0, 1)
