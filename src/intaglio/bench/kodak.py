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
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from .. import codec, pictures
from ..metrics.fidelity import ms_ssim, psnr
from .bd import bd_rate

RANGE = (0.15, 0.6)
SETTINGS: dict[str, tuple[dict, list[int]]] = {
    "jpeg": ({"format": "JPEG", "optimize": True, "subsampling": "4:2:0"}, [5, 10, 15, 20, 30, 40, 50, 65, 80]),
    "webp": ({"format": "WEBP", "method": 6}, [0, 5, 15, 30, 50, 70, 85, 93]),
    "avif": ({"format": "AVIF", "subsampling": "4:4:4", "speed": 6}, [20, 30, 40, 50, 60, 70]),
}
STEPS = [0, 8, 16, 24, 32, 40, 48, 56, 63]


def measure(image: Image.Image, encode: Callable[[], bytes], decode: Callable[[bytes], Image.Image]) -> list[float]:
    """[bpp of the real file, PSNR, MS-SSIM] of one picture."""
    data = encode()
    a, b = np.asarray(image), np.asarray(decode(data).convert("RGB"))
    return [8 * len(data) / (image.width * image.height), psnr(a, b), ms_ssim(a, b)]


def curve(name: str, images: list[Image.Image], model: str | None, realism: float) -> list[dict]:
    """One row a setting: means over the pictures."""
    rows = []
    if name == "intaglio":
        settings: list[int] = STEPS
    else:
        options, settings = SETTINGS[name]
    for setting in settings:
        values = []
        for image in images:
            if name == "intaglio":
                values.append(measure(
                    image, lambda im=image, s=setting: codec.encode(im, quality=s * 100 / 63, model=model),  # type: ignore[misc]
                    lambda d: codec.decode(d, realism=realism, model=model)))
            else:
                def encode(im: Image.Image = image, s: int = setting) -> bytes:
                    sink = io.BytesIO()
                    im.save(sink, quality=s, **options)
                    return sink.getvalue()

                values.append(measure(image, encode, lambda d: Image.open(io.BytesIO(d))))
        bpp, p, m = np.mean(values, 0)
        rows.append({"setting": setting, "bpp": bpp, "psnr": p, "ms_ssim": m})
        print(f"{name:9} {setting:3}  {bpp:.4f} bpp  {p:.3f} dB  MS-SSIM {m:.5f}", flush=True)
    return rows


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photos", type=Path)
    p.add_argument("--model")
    p.add_argument("--codecs", default="jpeg,webp,avif")
    p.add_argument("--realism", type=float, default=0.0)
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    files = sorted(f for f in a.photos.iterdir() if f.suffix.lower() in (".png", ".webp", ".jpg", ".avif"))
    if not files:
        sys.exit(f"{a.photos}: no pictures there; give a folder of PNG, WebP, JPEG or AVIF files")
    images = [pictures.load(f).image.convert("RGB") for f in files]
    curves = {n: curve(n, images, a.model, a.realism) for n in ["intaglio", *filter(None, a.codecs.split(","))]}
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
        a.json.write_text(json.dumps({"pictures": len(images), "curves": curves, "bd_rate": deltas}, indent=1) + "\n")


if __name__ == "__main__":
    main()
