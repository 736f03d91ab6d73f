"""Results in one JSON value: means over the pictures, BD-rates, and every single figure; the same as CSV.

    rows    one for each (picture, codec, target): file, bytes, bpp, metrics
    means   one for each (codec, target): arithmetic means over the pictures (of decibels too), and the set metrics;
            `counts` says over how many pictures a metric's mean is, the same ones for every codec
    bd_rate for each metric, codec -> percent against the anchor (or the sentence why there is none)
"""

from __future__ import annotations

import csv
import io
import math
import os
import platform
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .bd import bd_rate

# What tables and the terminal show first, where it is at hand; everything else is in the files.
HEADLINE = ("psnr", "ms-ssim", "ssim", "lpips-alex", "lpips-vgg", "dists", "vgg-distance", "fid-2048", "kid-2048",
            "fid-768", "kid-768", "niqe")


def tidy(value: Any) -> Any:
    """JSON that every parser takes: floats of 6 digits, infinity as "inf", NaN as null."""
    if isinstance(value, dict):
        return {str(k): tidy(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(v) for v in value]
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return float(f"{value:.6g}") if math.isfinite(value) else ("inf" if value > 0 else "-inf")
    return value


def number(value: Any) -> float | None:
    """A figure out of such JSON: None stays None, "inf" is infinite."""
    return None if value is None else float(value)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in map(number, values) if v is not None]
    return float(np.mean(known)) if known else None


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each codec and target, in the order of their first appearance.

    A metric that has no figure of a picture by one codec is averaged without that picture for all codecs at that
    target: else they would be compared over different pictures.
    """
    groups: dict[tuple[str, Any], list[dict[str, Any]]] = {}
    without: dict[tuple[Any, str], set[str]] = {}  # pictures, by target and metric
    for row in rows:
        groups.setdefault((row["codec"], row["target"]), []).append(row)
        for name, value in row["metrics"].items():
            if number(value) is None:
                without.setdefault((row["target"], name), set()).add(row["picture"])
    result = []
    for (codec, target), group in groups.items():
        kept = {n: [r["metrics"].get(n) for r in group if r["picture"] not in without.get((target, n), ())]
                for n in group[0]["metrics"]}
        result.append({
            "codec": codec, "target": target, "pictures": len(group), "met": sum(r["met"] for r in group),
            "bytes": float(np.mean([r["bytes"] for r in group])), "bpp": float(np.mean([r["bpp"] for r in group])),
            "ratio": float(np.mean([r["ratio"] for r in group])),
            "metrics": {n: _mean(values) for n, values in kept.items()},
            "counts": {n: len(values) for n, values in kept.items()},
        })
    return result


def quality(name: str, better: str, value: float) -> float:
    """A figure on a scale that grows with quality and on which equal steps mean about as much at either end.

    Decibels stay; similarities up to 1 become -10 log10(1 - value), distances -10 log10(value). BD-rates interpolate
    over this scale; a figure at its best value is infinite there.
    """
    if better == "lower":
        return -10 * math.log10(value) if value > 0 else math.inf
    if "ssim" in name:
        return -10 * math.log10(1 - value) if value < 1 else math.inf
    return value


def curve(means_: Sequence[dict[str, Any]], codec: str, metric: str) -> list[tuple[float, float]]:
    """(bpp, value) of a codec by growing rate: the points at which it has one."""
    points = [(float(m["bpp"]), number(m["metrics"].get(metric))) for m in means_
              if m["codec"] == codec and m["target"] is not None]
    # a codec that cannot go below some size meets two targets in one file
    return sorted({(b, v) for b, v in points if v is not None and math.isfinite(v)})


def bd_rates(means_: Sequence[dict[str, Any]], metrics: Sequence[dict[str, Any]], anchor: str) -> dict[str, Any]:
    """For each metric {codec: percent, or a sentence}; below 0 means fewer bytes than the anchor at equal quality."""
    names = list(dict.fromkeys(m["codec"] for m in means_ if m["target"] is not None))
    result: dict[str, Any] = {}
    for metric in metrics:
        curves = {}
        for name in names:
            points = [(b, quality(metric["name"], metric["better"], v)) for b, v in curve(means_, name, metric["name"])]
            curves[name] = [p for p in points if math.isfinite(p[1])]
        if anchor not in curves or len(curves[anchor]) < 2:
            continue
        row: dict[str, Any] = {}
        for name in names:
            if name == anchor:
                continue
            try:
                row[name] = bd_rate(curves[anchor], curves[name])
            except ValueError as error:
                row[name] = str(error)
        if row:
            result[metric["name"]] = row
    return result


def machine() -> dict[str, Any]:
    """What the times were taken on."""
    cpu, memory = platform.processor() or platform.machine(), None
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        cpu = found[1].strip() if found else cpu
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, ValueError, AttributeError):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": cpu, "cores": cores, "memory_gib": memory, "system": platform.system(),
            "architecture": platform.machine()}


def where(made: dict[str, Any]) -> str:
    """The machine of a run in words: its processes, cores and memory."""
    m, jobs, cores = made["machine"], made["jobs"], made["machine"]["cores"]
    memory = f", {m['memory_gib']} GiB" if m["memory_gib"] else ""
    return (f"{jobs} {'process' if jobs == 1 else 'processes'} on {cores} {'core' if cores == 1 else 'cores'} of "
            f"{m['cpu']}{memory}, {m['system']}")


def versions() -> dict[str, str]:
    """The packages that the figures depend on."""
    found = {"python": platform.python_version()}
    for name in ("intaglio", "numpy", "pillow", "onnxruntime", "torch", "pillow-heif", "imagecodecs", "matplotlib"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def as_csv(rows: Sequence[dict[str, Any]], metrics: Sequence[str]) -> bytes:
    """The rows (or means) as CSV with a header, one column a metric; nothing where there is no figure."""
    fixed = [k for k in rows[0] if k not in ("metrics", "counts", "sha256")] if rows else []
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*fixed, *metrics])
    for row in rows:
        values = [row[k] for k in fixed] + [row["metrics"].get(m) for m in metrics]
        writer.writerow(["" if v is None else v for v in tidy(values)])
    return sink.getvalue().encode()


def headline(metrics: Sequence[dict[str, Any]], most: int = 6) -> list[dict[str, Any]]:
    """The few metrics to show where there is little room."""
    by_name = {m["name"]: m for m in metrics}
    first = [by_name[n] for n in HEADLINE if n in by_name]
    return (first + [m for m in metrics if m["name"] not in HEADLINE])[:most]


def shown(value: Any, digits: int = 4) -> str:
    """A figure for people: about `digits` digits, an en dash where there is none."""
    v = number(value) if not isinstance(value, str) or value in ("inf", "-inf") else None
    if v is None:
        return "–"
    if math.isinf(v):
        return "∞"
    if v == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(v))))
    return f"{v:.{min(places, 5)}f}"
