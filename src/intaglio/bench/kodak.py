"""Rate and distortion of a model package beside Pillow's JPEG, WebP and AVIF, over a folder of pictures, real files.

    python -m intaglio.bench.kodak PHOTOS [--model PACKAGE] [--codecs jpeg,webp,avif] [--json OUT.json]

Prints mean bpp, PSNR and MS-SSIM at each setting, and the BD-rate of intaglio against every other codec: over the mean
curves, qualities that the other codec reaches between 0.15 and 0.6 bpp.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import multiprocessing
import os
import sys
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .. import codec, pictures
from ..metrics.fidelity import ms_ssim, psnr
from .bd import bd_rate

RANGE = (0.1, 0.8)
SETTINGS: dict[str, tuple[dict, list[int]]] = {
    "jpeg": ({"format": "JPEG", "optimize": True, "subsampling": "4:2:0"}, [5, 10, 15, 20, 30, 40, 50, 65, 80]),
    "webp": ({"format": "WEBP", "method": 6}, [0, 5, 15, 30, 50, 70, 85, 93]),
    "avif": ({"format": "AVIF", "subsampling": "4:4:4", "speed": 6, "autotiling": False},
             [10, 20, 30, 40, 50, 60, 70]),
}
STEPS = [0, 8, 16, 24, 32, 40, 48, 56, 63]


def measure(path: Path, name: str, setting: int, model: str | None, realism: float) -> tuple[float, float, float]:
    """(bpp of the real file, PSNR, MS-SSIM) of one picture at one setting of a codec."""
    image = pictures.load(path).image.convert("RGB")
    if name == "intaglio":
        data = codec.encode(image, quality=setting * 100 / 63, model=model, threads=1)
        decoded = codec.decode(data, realism=realism, model=model, threads=1)
    else:
        sink = io.BytesIO()
        image.save(sink, quality=setting, **SETTINGS[name][0])
        data = sink.getvalue()
        decoded = Image.open(io.BytesIO(data)).convert("RGB")
    a, b = np.asarray(image), np.asarray(decoded)
    return 8 * len(data) / (image.width * image.height), psnr(a, b), ms_ssim(a, b)


def curve(name: str, files: list[Path], model: str | None, realism: float, pool: Executor) -> list[dict]:
    """One row a setting: means over the pictures."""
    rows = []
    for setting in STEPS if name == "intaglio" else SETTINGS[name][1]:
        values = list(pool.map(partial(measure, name=name, setting=setting, model=model, realism=realism), files))
        bpp, p, m = np.mean(values, 0).tolist()
        rows.append({"setting": setting, "bpp": bpp, "psnr": p, "ms_ssim": m})
        print(f"{name:9} {setting:3}  {bpp:.4f} bpp  {p:.3f} dB  MS-SSIM {m:.5f}", flush=True)
    return rows


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photos", type=Path)
    p.add_argument("--model")
    p.add_argument("--codecs", default="jpeg,webp,avif")
    p.add_argument("--realism", type=float, default=0.0)
    p.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; each computes on one thread")
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    files = sorted(f for f in a.photos.iterdir() if f.suffix.lower() in (".png", ".webp", ".jpg", ".avif"))
    if not files:
        sys.exit(f"{a.photos}: no pictures there; give a folder of PNG, WebP, JPEG or AVIF files")
    names = ["intaglio", *filter(None, a.codecs.split(","))]
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        curves = {name: curve(name, files, a.model, a.realism, pool) for name in names}
    deltas = {}
    for name, rows in curves.items():
        if name == "intaglio":
            continue
        pairs = {}
        for key, quality in (("psnr", lambda r: r["psnr"]), ("ms_ssim", lambda r: -10 * math.log10(1 - r["ms_ssim"]))):
            anchor, test = ([(r["bpp"], quality(r)) for r in c] for c in (rows, curves["intaglio"]))
            pairs[key] = bd_rate(anchor, test, RANGE)
        deltas[name] = pairs
        print(f"BD-rate against {name}, {RANGE[0]} to {RANGE[1]} bpp: "
              f"PSNR {pairs['psnr']:+.1f}%, MS-SSIM {pairs['ms_ssim']:+.1f}%")
    if a.json:
        a.json.write_text(json.dumps({"pictures": len(files), "curves": curves, "bd_rate": deltas}, indent=1) + "\n")


if __name__ == "__main__":
    main()
