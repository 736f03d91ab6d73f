"""Realism beside AVIF's at the same bytes: FID-768, KID-768, VGG distance and PSNR, real files, intervals.

    python -m intaglio.bench.realism PHOTOS [PHOTOS ...] [--model PACKAGE] [--realism 0,1,1:1] [--bpp 0.15,0.3,0.45]
        [--cache FILE] [--json OUT.json] [--every 4] [--no-vgg] [--tricks 0:2,60:4,0:1c]

For each picture and target rate: AVIF's file nearest to the target; intaglio's largest that takes no more bytes than
that one (the lowest step's where none does: counted), decoded at every realism; and AVIF's picture sharpened and
grained, which costs a viewer nothing: of the strengths tried the one with the lowest KID is reported, so the choice
favours AVIF. --realism 1:1 is realism 1 with film grain of one level in place of the file's own, as its viewer may ask
for. FID and KID over 256-pixel patches in two shifted passes, KID between different pictures only (see
metrics.distribution.Paired; the JSON has the plain estimate too); means of PSNR and VGG distance over pictures.

Intervals hold 95% of bootstrap resamples of pictures, the same ones for every codec; "of AVIF" is the ratio to AVIF's
figure, resampled in pairs: below 1 with its whole interval is better than AVIF beyond the choice of pictures.

--cache keeps AVIF's files and all that was measured of originals and AVIF, so that another model costs its own part.
A quick look: one folder, --bpp 0.3 --every 3 --no-vgg. Needs the weights inception-v3-fid and, unless --no-vgg,
vgg16-keras (INTAGLIO_WEIGHTS names their folder).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from .. import codec
from ..errors import BadInput, IntaglioError
from ..grain import STRONGEST
from ..metrics import distribution
from ..metrics.fidelity import psnr
from ..metrics.perceptual import VGGDistance
from ..nn.backbones.inception import Inception
from ..package import Package, resolve
from ..told import ended
from ..writing import write_bytes
from . import avif
from .avif import Trick
from .cache import Cache
from .data import SUFFIXES
from .meter import Meter, Seconds, avif_file, load, seed_of

TRICKS = "0:1,30:1,60:2,0:1c,0:1.5c"
DRAWS = 200  # resamples of the pictures
COLUMNS = (  # key, title, factor in the table
    ("psnr", "PSNR dB", 1), ("vgg", "VGG distance", 1), ("fid768", "FID-768", 1), ("kid768", "KID-768 x1000", 1000),
)  # fmt: skip


class Dial(NamedTuple):
    """How intaglio's files are decoded: realism, and film grain in place of their own."""

    realism: float
    grain: float | None = None

    @property
    def name(self) -> str:
        return f"realism {self.realism:g}" + ("" if self.grain is None else f", grain {self.grain:g}")


@dataclass
class Row:
    """What was measured of one codec at one rate, picture by picture."""

    name: str
    bpp: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    vgg: list[float] = field(default_factory=list)
    features: list[NDArray[np.float32]] = field(default_factory=list)


def intaglio_file(image: Image.Image, limit: int, model: Package, threads: int) -> bytes:
    """The largest file with at most `limit` bytes, or that of the lowest step."""
    try:
        return codec.encode(image, target_bytes=limit, model=model, threads=threads)
    except BadInput:
        return codec.encode(image, quality=0, model=model, threads=threads)


def best_tricks(
    files: list[Path], rates: list[float], tricks: list[Trick], real: list, meter: Meter
) -> tuple[dict[float, Trick | None], list[dict]]:
    """For each rate the trick with the lowest KID, and what all of them gave."""
    best: dict[float, Trick | None] = {}
    tried = []
    for bpp in rates:
        found: dict[Trick, list] = {trick: [] for trick in tricks}
        for path in files:
            image = load(path)
            picture, seed = avif.decode(avif_file(image, bpp, meter)), seed_of(np.asarray(image))
            for trick in tricks:
                found[trick].append(meter.features(trick.apply(picture, seed), True))
        sets = {trick: distribution.Paired(real, fake) for trick, fake in found.items()}
        figures = {trick: (s.fid(), 1000 * s.kid()) for trick, s in sets.items()}
        best[bpp] = min(figures, key=lambda t: figures[t][1]) if figures else None
        said = []
        for trick, (fid, kid) in figures.items():
            tried.append({"target": bpp, "codec": f"AVIF{trick.name}", "fid768": fid, "kid768_x1000": kid})
            said.append(f"AVIF{trick.name} KID {kid:.3f}")
        say(f"{bpp} bpp: tried {', '.join(said) or 'no tricks'}")
    return best, tried


def measure(
    files: list[Path], rates: list[float], dials: list[Dial], best: dict[float, Trick | None], model: Package,
    threads: int, meter: Meter,
) -> tuple[dict[float, list[Row]], int]:
    """The rows of every rate, and how many of intaglio's files could not be made as small as AVIF's."""
    rows: dict[float, list[Row]] = {}
    for bpp in rates:
        trick = best[bpp]
        names = ["AVIF", *([f"AVIF{trick.name}"] if trick else []), *(f"intaglio, {dial.name}" for dial in dials)]
        rows[bpp] = [Row(name) for name in names]
    over = 0
    start = time.perf_counter()
    for i, path in enumerate(files):
        image = load(path)
        original, pixels = np.asarray(image), image.width * image.height
        distance = meter.against(original)
        for bpp in rates:
            trick, data = best[bpp], avif_file(image, bpp, meter)
            shown = [(len(data), avif.decode(data), True)]
            if trick:
                shown.append((len(data), trick.apply(shown[0][1], seed_of(original)), True))
            with meter.seconds.at("intaglio"):
                own = intaglio_file(image, len(data), model, threads)
                over += len(own) > len(data)
                for r, grain in dials:
                    decoded = codec.decode(own, realism=r, grain=grain, model=model, threads=threads)
                    shown.append((len(own), np.asarray(decoded), False))
            for row, (size, picture, keep) in zip(rows[bpp], shown, strict=True):
                row.bpp.append(8 * size / pixels)
                row.psnr.append(psnr(original, picture))
                row.features.append(meter.features(picture, keep))
                if meter.vgg is not None:
                    row.vgg.append(distance(picture, keep))
        if i % 10 == 9:
            say(f"{i + 1} of {len(files)} pictures, {time.perf_counter() - start:.0f} s")
    return rows, over


def figures(rows: list[Row], real: list, weights: NDArray) -> list[dict]:
    """The figures of the rows at one rate, the first of which is what "of AVIF" refers to; [value, low, high] each."""
    reports: list[dict] = []
    base: dict[str, tuple[float, NDArray]] = {}
    for row in rows:
        sets = distribution.Paired(real, row.features)
        means = (("psnr", row.psnr), ("vgg", row.vgg))
        found = {key: (float(np.mean(v)), weights @ np.array(v) / len(v)) for key, v in means if v}
        found["fid768"] = sets.fid(), np.array([sets.fid(w) for w in weights])
        found["kid768"] = sets.kid(), np.array([sets.kid(w) for w in weights])
        base = base or found
        report: dict = {"codec": row.name, "bpp": float(np.mean(row.bpp)), "of_avif": {}}
        for key, (value, draws) in found.items():
            report[key] = [value, *distribution.interval(value, draws)]
            anchor, anchors = base[key]
            if found is not base and key != "psnr" and anchor > 0 and (anchors > 0).all():
                report["of_avif"][key] = [value / anchor, *distribution.interval(value / anchor, draws / anchors)]
        report["kid768_plain"] = distribution.kid(np.concatenate(real), np.concatenate(row.features))
        reports.append(report)
    return reports


def table(bpp: float, reports: list[dict]) -> str:
    """The figures of one rate in lines."""
    columns = [c for c in COLUMNS if c[0] in reports[0]]
    lines = [f"{f'{bpp:g} bpp':44} {'bpp':>6}" + "".join(f"  {title:>22}" for _, title, _ in columns)]
    for r in reports:
        cells = []
        for key, _, scale in columns:
            value, low, high = (scale * v for v in r[key])
            digits = 2 if key == "psnr" else 3
            cells.append(f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
        lines.append(f"{r['codec']:44} {r['bpp']:6.4f}" + "".join(f"  {cell:>22}" for cell in cells))
    for r in reports[1:]:
        ratios = [r["of_avif"].get(key) for key, *_ in columns]
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*ratio) if ratio else "" for ratio in ratios]
        lines.append(f"{r['codec'] + ', of AVIF':51}" + "".join(f"  {cell:>22}" for cell in cells))
    return "\n".join(lines)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]


def settings(text: str) -> list[Dial]:
    """Dials from "0,1,0.5:1": realism, and grey levels of film grain where it is not to be the file's own."""
    return [Dial(*map(float, part.split(":"))) for part in text.split(",") if part]


def strengths(text: str) -> list[Trick]:
    """Tricks from "0:2,60:4,0:1c": percent of sharpening, grey levels of grain, c where it is coloured."""
    parts = [part.split(":") for part in text.split(",") if part]
    return [Trick(int(s), float(g.removesuffix("c")), g.endswith("c")) for s, g in parts]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photos", type=Path, nargs="+")
    p.add_argument("--model")
    p.add_argument("--realism", type=settings, default=[Dial(0.0)],
                   help="REALISM (0..1) or REALISM:LEVELS, with film grain in place of the file's")
    p.add_argument("--bpp", type=numbers, default=[0.15, 0.3, 0.45], help="target rates")
    p.add_argument("--every", type=int, default=1, help="only every N-th picture of each folder")
    p.add_argument("--tricks", type=strengths, default=TRICKS,
                   help="PERCENT:LEVELS of sharpening and grain (LEVELSc: coloured), or ''")
    p.add_argument("--no-vgg", action="store_true", help="leave out the VGG distance, the dearest figure")
    p.add_argument("--cache", type=Path)
    p.add_argument("--json", type=Path)
    p.add_argument("--threads", type=int, default=1, help="of the codec; the networks use OMP_NUM_THREADS")
    a = p.parse_args()
    try:
        run(a)
    except IntaglioError as error:
        sys.exit(str(error))


def run(a: argparse.Namespace) -> None:
    if a.every < 1 or not a.realism or not a.bpp or not all(0 < bpp < math.inf for bpp in a.bpp):
        raise BadInput("give rates above 0, values of realism, and a whole number for --every")
    if not all(0 <= r <= 1 and (grain is None or 0 <= grain <= STRONGEST) for r, grain in a.realism):
        raise BadInput(f"give values of realism from 0 to 1, and of grain from 0 to {STRONGEST}")
    if any(len(set(given)) < len(given) for given in (a.bpp, a.realism)):
        raise BadInput("give each rate and each value of realism once")
    if a.json and not a.json.resolve().parent.is_dir():
        raise BadInput(f"--json {a.json}: there is no such folder")
    if a.json and a.json.is_dir():
        raise BadInput(f"--json {a.json}: it is a folder; give a file in it")
    files = []
    for folder in a.photos:
        inside = folder.iterdir() if folder.is_dir() else ()
        found = sorted(f for f in inside if f.suffix.lower() in SUFFIXES)[:: a.every]
        if not found:
            raise BadInput(f"{folder}: no pictures there; give folders of PNG, WebP, JPEG or AVIF files")
        files += found
    if len(files) < 2:
        raise BadInput("one picture tells nothing of a distribution: give two or more")
    start, seconds, model = time.perf_counter(), Seconds(), resolve(a.model)
    meter = Meter(Cache(a.cache), None if a.no_vgg else VGGDistance(), Inception(), seconds)
    real = []
    for path in files:
        try:
            real.append(meter.features(np.asarray(load(path)), True))
        except ValueError as error:
            raise BadInput(f"{path}: {error}") from None
    best, tried = best_tricks(files, a.bpp, a.tricks, real, meter)
    rows, over = measure(files, a.bpp, a.realism, best, model, a.threads, meter)
    weights = distribution.resamples(len(files), DRAWS)
    report = []
    patches = sum(map(len, real))
    print(f"{len(files)} pictures, {patches} patches of 256 pixels; model {model.name} ({model.fingerprint.hex()})")
    for bpp in a.bpp:
        with seconds.at("intervals"):
            reports = figures(rows[bpp], real, weights)
        report += [{"target": bpp, **r} for r in reports]
        print(f"\n{table(bpp, reports)}", flush=True)
    if over:
        print(f"\n{over} of intaglio's files at its lowest step are larger than AVIF's")
    total = time.perf_counter() - start
    parts = ", ".join(f"{stage} {s:.0f}" for stage, s in seconds.items())
    print(f"\n{total:.0f} s: {parts}; {meter.cache.hits} entries from the cache, {meter.cache.misses} made")
    if a.json:
        result = {
            "folders": [f.name for f in a.photos], "every": a.every, "pictures": len(files), "patches": patches,
            "model": model.name, "fingerprint": model.fingerprint.hex(), "over": over,
            "avif": {"pillow": PIL.__version__, "libavif": features.version("avif"), **avif.OPTIONS},
            "seconds": {"total": total, **seconds}, "rows": report, "tricks": tried,
        }  # fmt: skip
        write_bytes(a.json, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    ended(main)
