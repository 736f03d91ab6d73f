"""The tables of two papers with measured rows under the papers' own.

    python -m intaglio.bench.tables report/results.json [MORE.json] [--table 2,4] [--row CompressGAN=NAME]
    python -m intaglio.bench.tables --data DIR [--codecs jpeg,jpeg2000,bpg,intaglio,my.itgm] [--out FOLDER]

The first form reads finished benchmarks, the second runs them: over Kodak, and for table 5 over every set of the paper
that DIR holds. Tables 2, 3, 4 and 5 are those of "CompressGAN"; `hifi` are the three of "High-fidelity generative image
compression using GANs and XGBoost": its rows are a model, that model refined by neighbours, and refined by trees, which
--codecs hific.itgm,hific-knn.itgm,hific-xgb.itgm names (`intaglio train hific-knn --warm hific.itgm` and so on).

CompressGAN's tables 2, 3 and 5 state no bitrate, so nothing can be compared with them at equal size: measured rows name
their rate, and under a paper's PSNR stands the rate at which the measured codec reaches it. --row says which measured
codec is the model that a row of the paper names; none of ours is taken for one of the paper's by itself.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput, IntaglioError
from ..told import ended
from . import data, plots, summary

BPP = (0.14, 0.25, 0.3, 0.45, 1.0, 2.0)  # HiFiC's low, medium and high are 0.14, 0.3 and 0.45
RATES = {"low": 0.14, "medium": 0.3, "high": 0.45}
SAME = {"JPEG": "jpeg", "JPEG2000": "jpeg2000", "BPG": "bpg"}
READ = {"title", "pictures", "codecs", "skipped", "metrics", "unavailable", "means", "rows"}  # of results.json
LPIPS = "lpips-alex"  # the paper does not say which network


@dataclass(frozen=True)
class Table:
    """One table of the CompressGAN paper. columns: (heading, metric); rows: the paper's figures; bpp: None where the
    paper leaves it out."""

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: dict[str, tuple[float, ...]]
    bpp: float | None = None
    note: str = ""


FIDELITY = (("PSNR (dB)", "psnr"), ("SSIM", "ssim"), ("LPIPS", LPIPS))
OWN = "The paper does not define these scores; the measured ones are this project's definitions of the same names."
TABLES = {
    "2": Table("Table 2, quantitative evaluation", FIDELITY, {
        "JPEG": (29.1, 0.842, 0.310), "JPEG2000": (31.5, 0.891, 0.256), "BPG": (33.2, 0.903, 0.204),
        "Autoencoder": (34.8, 0.917, 0.182), "VAE": (35.2, 0.921, 0.175), "CompressGAN": (36.7, 0.942, 0.128),
    }, note="The pictures are not named either; table 5 gives CompressGAN's row as Kodak's."),
    "3": Table("Table 3, qualitative analysis", (
        ("Edges (0-100)", "edge-preservation"), ("Colour (%)", "colour-accuracy"),
        ("Texture (0-100)", "texture-realism"),
    ), {
        "JPEG": (62.3, 71.8, 58), "JPEG2000": (69.4, 76.0, 65), "Autoencoder": (75.1, 82.5, 72),
        "CompressGAN": (84.7, 89.6, 91),
    }, note=OWN),
    "4": Table("Table 4, low bitrate", FIDELITY[:2], {
        "JPEG": (25.3, 0.751), "JPEG2000": (27.1, 0.804), "BPG": (28.6, 0.826), "CompressGAN": (30.9, 0.883),
    }, 0.25),
}
ACROSS = {"kodak": (36.7, 0.942, 0.128), "clic": (35.8, 0.935, 0.132), "div2k": (37.3, 0.948, 0.119),
          "urban100": (34.9, 0.927, 0.140)}  # table 5, CompressGAN
NAMES = (*TABLES, "5", "hifi")


def reaches(results: dict[str, Any], codec: str, metric: str, value: float) -> str:
    """The bpp at which a codec's mean curve reaches a figure, by interpolation over log-rate: "0.62", "below 0.14" or
    "above 2"; an en dash where there is no curve."""
    points = summary.curve(results["means"], codec, metric)
    better = next((m["better"] for m in results["metrics"] if m["name"] == metric), "higher")
    good = [v >= value if better == "higher" else v <= value for _, v in points]
    if not points:
        return "–"
    if good[0]:
        return f"below {points[0][0]:.2f}"
    if True not in good:
        return f"above {points[-1][0]:.2f}"
    i = good.index(True)
    (b0, v0), (b1, v1) = points[i - 1], points[i]
    share = (value - v0) / (v1 - v0)
    return f"{math.exp(math.log(b0) + share * (math.log(b1) - math.log(b0))):.2f}"


def _at(results: dict[str, Any], codec: str, bpp: float | None) -> list[dict[str, Any]]:
    """The means of a codec: at one target (with 1% of tolerance), or at all."""
    means = [m for m in results["means"] if m["codec"] == codec and m["target"] is not None]
    return [m for m in means if bpp is None or abs(m["target"] - bpp) <= 0.01 * bpp]


def _measured(table: Table, results: dict[str, Any], codec: str, paper: tuple[float, ...] | None) -> list[list[str]]:
    rows = []
    for mean in _at(results, codec, table.bpp):
        label = f"  {codec}, measured" + ("" if mean["met"] == mean["pictures"] else " (its smallest files)")
        rows.append([label, f"{mean['bpp']:.3f}", *(summary.shown(mean["metrics"].get(m)) for _, m in table.columns)])
    if not rows:
        rows.append([f"  {codec}, not measured" + (f" at {table.bpp} bpp" if table.bpp else ""), "",
                     *("" for _ in table.columns)])
    elif paper is not None and table.columns[0][1] == "psnr":
        first = reaches(results, codec, "psnr", paper[0])
        rows.append([f"  {codec} reaches {paper[0]} dB at", first, *("" for _ in table.columns)])
    return rows


def _grid(head: list[str], rows: list[list[str]]) -> str:
    """Columns in line; a row with nothing but its first cell is a remark, and widens none."""
    full = [head, *(r for r in rows if any(r[1:]))]
    widths = [max(len(r[i]) for r in full) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
             for r in [head, *rows]]
    return "\n".join(line.rstrip() for line in [lines[0], "-" * len(lines[0]), *lines[1:]])


def compressgan(number: str, results: dict[str, Any], rows: dict[str, str]) -> str:
    """Table 2, 3 or 4 as text. rows: the measured codec of each model of the paper, by the paper's name."""
    table = TABLES[number]
    same = SAME | rows
    stated = f"at {table.bpp} bpp" if table.bpp else "the paper states no bitrate"
    known = {c["name"] for c in results["codecs"]}
    lines: list[list[str]] = []
    for model, figures in table.rows.items():
        lines.append([f"{model}, the paper", f"{table.bpp}" if table.bpp else "not stated", *map(str, figures)])
        codec = same.get(model)
        if codec is None:
            lines.append([f"  no model of it at hand (--row {model}=CODEC)", "", *("" for _ in table.columns)])
        elif codec in known:
            lines += _measured(table, results, codec, figures)
        else:
            why = next((s["why"] for s in results["skipped"] if s["name"] == codec), "it was not in the run")
            lines.append([f"  {codec}, not measured: {why}", "", *("" for _ in table.columns)])
    best = table.rows["CompressGAN"]
    for codec in [c["name"] for c in results["codecs"] if c["name"] not in same.values() and not c["lossless"]]:
        lines.append([f"{codec}, not in the paper", "", *("" for _ in table.columns)])
        lines += _measured(table, results, codec, best)
    text = f"{table.title} ({stated}). Measured on {_pictures(results)}. {table.note}".rstrip()
    return "\n".join([text, "", _grid(["model", "bpp", *(h for h, _ in table.columns)], lines),
                      *_absent(results, [m for _, m in table.columns])])


def _pictures(results: dict[str, Any]) -> str:
    n = len(results["pictures"])
    return f"{results['title']} ({n} picture{'s' * (n != 1)})"


def _absent(results: dict[str, Any], metrics: list[str]) -> list[str]:
    have = {m["name"] for m in results["metrics"]}
    why = {u["name"]: u["why"] for u in results["unavailable"]}
    absent = [f"{m}: {why.get(m, 'it was not in the run')}" for m in metrics if m not in have]
    return absent + [sentence for m in metrics if m in have and (sentence := plots.fewer(results, m))]


def across(all_results: dict[str, dict[str, Any]], rows: dict[str, str]) -> str:
    """Table 5 as text; all_results: by the name of the data set."""
    table = Table("", FIDELITY, {})
    lines: list[list[str]] = []
    absent: list[str] = []
    for name, figures in ACROSS.items():
        lines.append([f"{data.DATASETS[name].title}: CompressGAN, the paper", "not stated", *map(str, figures)])
        results = all_results.get(name)
        if results is None:
            lines.append([f"  not measured; get it at {data.DATASETS[name].where}", *("" for _ in range(4))])
            continue
        named = rows.get("CompressGAN")
        for codec in [named] if named else [c["name"] for c in results["codecs"] if _model(c)]:
            lines += _measured(table, results, codec, figures)
        absent += [a for a in _absent(results, [m for _, m in FIDELITY]) if a not in absent]
    text = "Table 5, across data sets (the paper states no bitrate)."
    return "\n".join([text, "", _grid(["set and model", "bpp", *(h for h, _ in FIDELITY)], lines), *absent])


def _model(codec: dict[str, Any]) -> bool:
    return str(codec["version"]).startswith("intaglio ")


def hifi(results: dict[str, Any]) -> str:
    """The three tables of the high-fidelity + XGBoost paper as text, for every model of ours in the results."""
    models = [c["name"] for c in results["codecs"] if _model(c)]
    if not models:
        raise BadInput("the tables of the high-fidelity paper are of learned models, and there is none in the results")
    columns = [(h, m) for h, m in (("MSE", "mse"), ("PSNR", "psnr"), ("SSIM", "ssim"), ("LPIPS", LPIPS),
                                   ("FID", "fid-2048"), ("KID", "kid-2048"), ("FID-768", "fid-768"),
                                   ("KID-768", "kid-768"))]
    sizes, quality, each = [], [], []
    for codec in models:
        for rate, bpp in RATES.items():
            means = _at(results, codec, bpp)
            if not means:
                sizes.append([f"{codec} {rate}", f"not measured at {bpp} bpp", "", ""])
                continue
            mean = means[0]
            sizes.append([f"{codec} {rate}", f"{mean['bytes'] / 1024:.1f}", f"{mean['bpp']:.3f}",
                          f"{mean['ratio']:.0f}"])
            quality.append([f"{codec} {rate}", f"{mean['bpp']:.3f}",
                            *(summary.shown(mean["metrics"].get(m)) for _, m in columns)])
            for row in (r for r in results["rows"] if r["codec"] == codec and r["target"] == mean["target"]):
                size = next(p for p in results["pictures"] if p["name"] == row["picture"])
                each.append([row["picture"], f"{size['width']}*{size['height']}", f"{codec} {rate}",
                             f"{row['bytes'] / 1024:.1f}", f"{row['bpp']:.3f}",
                             *(summary.shown(row["metrics"].get(m)) for m in ("mse", "psnr", "ssim"))])
    gone = ("The paper prints its figures as images of tables, which its text does not hold, and states no bitrate: "
            "there is no row of its own to set beside these. Low, medium and high are HiFiC's 0.14, 0.30 and 0.45 bpp.")
    nothing = "nothing was measured at these rates"
    blocks = [
        f"High-fidelity + XGBoost, table 1, compressed size. Measured on {_pictures(results)}.\n{gone}\n",
        _grid(["model", "KiB a picture", "bpp", "ratio"], sizes), "",
        "High-fidelity + XGBoost, table 2, visual quality.\n",
        _grid(["model", "bpp", *(h for h, _ in columns)], quality) if quality else nothing,
        *_absent(results, [m for _, m in columns]), "",
        "High-fidelity + XGBoost, table 3, picture by picture.\n",
        _grid(["picture", "resolution", "model", "KiB", "bpp", "MSE", "PSNR", "SSIM"],
              sorted(each, key=lambda row: row[0])) if each else nothing,
    ]
    return "\n".join(blocks)


def _name(results: dict[str, Any]) -> str:
    """The data set of results, "" for pictures of one's own."""
    return next((n for n, d in data.DATASETS.items() if d.title == results["title"]), "")


def _read(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_bytes())
        assert results["unit"] == "bpp" and results.keys() >= READ
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise BadInput(f"{path} is no results.json of an intaglio bench with --bpp") from None
    return dict(results)


def _run(folder: Path, codecs: tuple[str, ...], out: Path, wanted: list[str], jobs: int | None) -> list[dict[str, Any]]:
    """Benchmark Kodak, and for table 5 the sets of it that the folder holds."""
    from .options import Options
    from .run import bench

    found = []
    for name in ["kodak"] if wanted != ["5"] and "5" not in wanted else list(ACROSS):
        try:
            data.find(name, folder)
        except BadInput as error:
            print(f"{error}", file=sys.stderr)
            continue
        place = out / name
        bench(Options(dataset=name, data=str(folder), codecs=codecs, bpp=BPP, out=str(place), jobs=jobs, repeats=0))
        found.append(_read(place / "results.json"))
    if not found:
        raise BadInput(f"{folder} holds none of the paper's data sets")
    return found


def text(all_results: list[dict[str, Any]], wanted: list[str], rows: dict[str, str]) -> str:
    """The wanted tables, one below the other. Tables of one set are made from Kodak's results, else from the first."""
    by_name = {_name(r): r for r in all_results}
    first = by_name.get("kodak", all_results[0])
    blocks = []
    for name in wanted:
        if name in TABLES:
            blocks.append(compressgan(name, first, rows))
        else:
            blocks.append(across(by_name, rows) if name == "5" else hifi(first))
    return "\n\n\n".join(blocks)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("results", type=Path, nargs="*")
    p.add_argument("--table", default=",".join(NAMES), help=f"which, of {', '.join(NAMES)}")
    p.add_argument("--row", action="append", default=[], metavar="MODEL=CODEC")
    p.add_argument("--data", type=Path)
    p.add_argument("--codecs", default="jpeg,jpeg2000,bpg,intaglio")
    p.add_argument("--out", type=Path, default=Path("tables"))
    p.add_argument("--jobs", type=int)
    a = p.parse_args()
    try:
        wanted = a.table.split(",")
        if unknown := [n for n in wanted if n not in NAMES]:
            raise BadInput(f"there is no table {unknown[0]!r}; there are {', '.join(NAMES)}")
        if bad := [r for r in a.row if "=" not in r]:
            raise BadInput(f"--row {bad[0]}: give MODEL=CODEC, a model of the paper and a codec of the run")
        if bool(a.results) == bool(a.data):
            raise BadInput("give the results.json of benchmarks, or --data DIR to run them")
        found = [_read(path) for path in a.results] or _run(a.data, tuple(a.codecs.split(",")), a.out, wanted, a.jobs)
        print(text(found, wanted, dict(r.split("=", 1) for r in a.row)))
    except IntaglioError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    ended(main)
