"""Rate and distortion of a model package beside Pillow's JPEG, WebP and AVIF, over a folder of pictures, real files.

    python -m intaglio.bench.kodak PHOTOS [--model PACKAGE] [--codecs jpeg,webp,avif] [--tune psnr] [--json OUT.json]

Codecs are as Pillow has them; AVIF's encoder aims at SSIMULACRA 2 by default (libavif 1.4 and later: `tune=iq`), and
avif-psnr, which is measured where it is asked for, at the squared error.

Prints mean bpp, PSNR and MS-SSIM at each setting, and the BD-rate of intaglio against every other codec: over the mean
curves, qualities that the other codec reaches between 0.1 and 0.8 bpp.
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

from .. import codec, package, pictures
from ..errors import BadInput, IntaglioError
from ..metrics.fidelity import ms_ssim, psnr
from ..told import ended
from ..writing import write_bytes
from . import avif
from .bd import bd_rate
from .data import SUFFIXES

RANGE = (0.1, 0.8)
LEAST = 176  # pixels of a side that MS-SSIM needs
SETTINGS: dict[str, tuple[dict, list[int]]] = {
    "jpeg": ({"format": "JPEG", "optimize": True, "subsampling": "4:2:0"}, [5, 10, 15, 20, 30, 40, 50, 65, 80]),
    "webp": ({"format": "WEBP", "method": 6}, [0, 5, 15, 30, 50, 70, 85, 93]),
    "avif": (avif.OPTIONS, [10, 20, 30, 40, 50, 60, 70]),
    "avif-psnr": (avif.OPTIONS | {"advanced": {"tune": "psnr"}}, [10, 20, 30, 40, 50, 60, 70]),
}
PERFECT = {"psnr": math.inf, "ms_ssim": 1.0}  # of pictures coded exactly: no point of a curve
STEPS = [0, 8, 16, 24, 32, 40, 48, 56, 63]


def measure(
    path: Path, name: str, setting: int, model: str | None, realism: float, tune: str
) -> tuple[float, float, float]:
    """(bpp of the real file, PSNR, MS-SSIM) of one picture at one setting of a codec."""
    image = pictures.load(path).image.convert("RGB")
    if name == "intaglio":
        data = codec.encode(image, quality=setting * 100 / 63, tune=tune, model=model, threads=1)
        decoded = codec.decode(data, realism=realism, model=model, threads=1)
    else:
        sink = io.BytesIO()
        image.save(sink, quality=setting, **SETTINGS[name][0])
        data = sink.getvalue()
        decoded = Image.open(io.BytesIO(data)).convert("RGB")
    a, b = np.asarray(image), np.asarray(decoded)
    return 8 * len(data) / (image.width * image.height), psnr(a, b), ms_ssim(a, b)


def curve(
    name: str, files: list[Path], model: str | None, realism: float, tune: str, pool: Executor
) -> list[dict]:
    """One row a setting: means over the pictures."""
    rows = []
    for setting in STEPS if name == "intaglio" else SETTINGS[name][1]:
        one = partial(measure, name=name, setting=setting, model=model, realism=realism, tune=tune)
        values = list(pool.map(one, files))
        bpp, p, m = np.mean(values, 0).tolist()
        rows.append({"setting": setting, "bpp": bpp, "psnr": p, "ms_ssim": m})
        print(f"{name:9} {setting:3}  {bpp:.4f} bpp  {p:.3f} dB  MS-SSIM {m:.5f}", flush=True)
    return rows


def chosen(photos: Path) -> list[Path]:
    """The pictures of a folder, all of which can be read and measured. Raises BadInput."""
    inside = photos.iterdir() if photos.is_dir() else ()
    files = sorted(f for f in inside if f.suffix.lower() in SUFFIXES)
    if not files:
        raise BadInput(f"{photos}: no pictures there; give a folder of PNG, WebP, JPEG or AVIF files")
    for file in files:
        width, height = pictures.load(file).image.size
        if min(width, height) < LEAST:
            raise BadInput(f"{file}: is {width} x {height}, and MS-SSIM needs {LEAST} pixels a side; take it out")
    return files


def deltas(curves: dict[str, list[dict]]) -> dict[str, dict[str, float | str]]:
    """BD-rates of intaglio against every other codec, in percent, by metric; or the sentence why there is none."""
    result: dict[str, dict[str, float | str]] = {}
    for name in curves.keys() - {"intaglio"}:
        result[name] = {}
        for key, quality in (("psnr", lambda r: r["psnr"]), ("ms_ssim", lambda r: -10 * math.log10(1 - r["ms_ssim"]))):
            try:
                anchor, test = ([(r["bpp"], quality(r)) for r in curves[c] if r[key] < PERFECT[key]]
                                for c in (name, "intaglio"))
                result[name][key] = bd_rate(anchor, test, RANGE)
            except ValueError as error:
                result[name][key] = str(error)
    return {name: result[name] for name in curves if name in result}


def run(a: argparse.Namespace) -> None:
    """Everything that can be wrong is found before the first file is made. Raises IntaglioError."""
    names = [*dict.fromkeys(["intaglio", *filter(None, a.codecs.split(","))])]
    if unknown := [n for n in names if n != "intaglio" and n not in SETTINGS]:
        raise BadInput(f"no codec here is called {unknown[0]!r}; there are {', '.join(SETTINGS)}")
    if not 0 <= a.realism <= 1:
        raise BadInput(f"--realism {a.realism:g}: give a number from 0 to 1")
    if a.jobs < 1:
        raise BadInput(f"--jobs {a.jobs}: give 1 or more")
    if a.json and not a.json.resolve().parent.is_dir():
        raise BadInput(f"--json {a.json}: there is no such folder")
    if a.json and a.json.is_dir():
        raise BadInput(f"--json {a.json}: it is a folder; give a file in it")
    package.resolve(a.model)
    files = chosen(a.photos)
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        curves = {name: curve(name, files, a.model, a.realism, a.tune, pool) for name in names}
    found = deltas(curves)
    for name, pairs in found.items():
        said = ", ".join(f"{label} {v:+.1f}%" if isinstance(v := pairs[key], float) else f"{label}: {v}"
                         for key, label in (("psnr", "PSNR"), ("ms_ssim", "MS-SSIM")))
        print(f"BD-rate against {name}, {RANGE[0]} to {RANGE[1]} bpp: {said}")
    if a.json:
        text = json.dumps({"pictures": len(files), "curves": curves, "bd_rate": found}, indent=1) + "\n"
        write_bytes(a.json, text.encode())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photos", type=Path)
    p.add_argument("--model")
    p.add_argument("--codecs", default="jpeg,webp,avif")
    p.add_argument("--realism", type=float, default=0.0)
    p.add_argument("--tune", choices=codec.TUNES, default=codec.TUNES[0], help="what intaglio's encoder aims at")
    p.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; each computes on one thread")
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    try:
        run(a)
    except (IntaglioError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    ended(main)
