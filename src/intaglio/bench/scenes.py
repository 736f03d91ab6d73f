"""Crops for looking at: the same window of a picture from every codec, at equal bytes, as data for a page."""

from __future__ import annotations

import base64
import io
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import measure, summary
from .data import Picture
from .plots import label
from .targets import written

WINDOW = (480, 320)  # pixels of a crop, at most
PICTURES, RATES = 6, 2  # how many a report shows: a page of all of them would weigh hundreds of megabytes
THUMB = 240


def _uri(image: Image.Image, **options: Any) -> str:
    sink = io.BytesIO()
    image.save(sink, "WEBP", **options)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()


def window(original: np.ndarray, decoded: list[np.ndarray]) -> tuple[int, int, int, int]:
    """(x, y, width, height) where the codecs together lose most: squared errors, each codec's over its own mean, added
    up. No codec's failures weigh more than another's."""
    height, width = original.shape[:2]
    w, h = min(WINDOW[0], width), min(WINDOW[1], height)
    loss = np.zeros((height, width))
    for other in decoded:
        error = np.square(original.astype(np.float32) - other).mean(2)
        loss += error / max(float(error.mean()), 1e-9)
    total = np.pad(loss.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    y, x = np.unravel_index(int(sums[::8, ::8].argmax()), sums[::8, ::8].shape)
    return int(x) * 8, int(y) * 8, w, h


def scenes(results: dict[str, Any], pictures: list[Picture], specs: dict[str, str], out: Path) -> list[dict[str, Any]]:
    """One entry a picture: its crop by every codec at some targets, as data URIs of lossless WebP, with their figures.

    specs: the user's word of each codec, by name. The encoded files are those below `out`.
    """
    lossy = [c["name"] for c in results["codecs"] if not c["lossless"]]
    if not lossy:
        return []
    rows = {(r["picture"], r["codec"], r["target"]): r for r in results["rows"]}
    targets = shown_targets(results["targets"])
    heads = [m for m in summary.headline(results["metrics"], 4) if m["kind"] != "set"]
    found = []
    for i in np.unique(np.linspace(0, len(pictures) - 1, min(PICTURES, len(pictures))).round().astype(int)):
        picture = pictures[i]
        image = measure.load(picture)
        decoded = {}
        for t, name in product(targets, lossy):
            file = (out / rows[picture.name, name, t]["file"]).read_bytes()
            decoded[name, t] = measure.codec_of(specs[name], None).decode(file)
        x, y, w, h = window(np.asarray(image), [np.asarray(decoded[name, targets[0]]) for name in lossy])
        box = (x, y, x + w, y + h)
        thumb = image.copy()
        thumb.thumbnail((THUMB, THUMB))
        found.append({
            "picture": picture.name, "width": w, "height": h, "thumb": _uri(thumb, quality=80),
            "box": [100 * x / image.width, 100 * y / image.height, 100 * w / image.width, 100 * h / image.height],
            "original": {"src": _uri(image.crop(box), lossless=True),
                         "facts": [["picture", f"{image.width} × {image.height}"]]},
            "rates": {written(t): {name: _shot(rows[picture.name, name, t], decoded[name, t].crop(box), heads)
                                for name in lossy} for t in targets},
        })
    return found


def shown_targets(targets: list[float]) -> list[float]:
    """The lowest target, where codecs differ most, and the middle one."""
    return sorted({targets[0], targets[len(targets) // 2]})[:RATES]


def _shot(row: dict[str, Any], crop: Image.Image, heads: list[dict[str, Any]]) -> dict[str, Any]:
    facts = [["file", f"{row['bytes']:,} bytes"], ["bpp", f"{row['bpp']:.3f}"]]
    facts += [[label(m["name"]), summary.shown(row["metrics"].get(m["name"]))] for m in heads]
    warn = "" if row["met"] else "larger than asked for: this codec's smallest file"
    return {"src": _uri(crop, lossless=True), "facts": facts, "warn": warn}

