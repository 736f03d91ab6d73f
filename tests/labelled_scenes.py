"""Pictures with label maps: streets from CamVid where INTAGLIO_CAMVID names its folder, else made-up ones whose classes
have colours and textures of their own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from golden_pictures import clouds
from PIL import Image

COLOURS = np.array([[150, 190, 230], [170, 110, 90], [60, 60, 60], [110, 110, 120], [200, 190, 170], [50, 120, 50]])


def scene(width: int, height: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, ids): areas of six classes, each shaded, and striped in its own direction."""
    ids = clouds(width, height, 60, seed) * len(COLOURS) // 256
    y, x = np.mgrid[:height, :width]
    angle = ids * np.pi / len(COLOURS)
    stripes = 14 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.7)
    shade = (clouds(width, height, 25, seed + 50) - 128) * 0.35
    pixels = COLOURS[ids] + (stripes + shade)[:, :, None]
    return np.clip(pixels, 0, 255).astype(np.uint8), ids.astype(np.uint8)


def folders(root: Path, train: int = 16, test: int = 3) -> tuple[Path, list[tuple[Path, Path]]]:
    """A folder to train on, and (picture, label map) pairs that are not in it."""
    camvid = os.environ.get("INTAGLIO_CAMVID")
    if camvid:
        pictures = sorted((Path(camvid) / "test").glob("*.webp"))
        return Path(camvid) / "train", [(p, p.with_suffix(".labels.png")) for p in pictures[:: len(pictures) // test]]
    (root / "train").mkdir()
    pairs = []
    for i in range(train + test):
        pixels, ids = scene(320, 256, 7 * i)
        target = (root / "train" if i < train else root) / f"scene{i}.png"
        Image.fromarray(pixels).save(target)
        Image.fromarray(ids).save(target.with_suffix(".labels.png"))
        if i >= train:
            pairs.append((target, target.with_suffix(".labels.png")))
    return root / "train", pairs
