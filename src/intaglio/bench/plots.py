"""Rate-distortion and rate-perception curves, one figure a metric, as SVG and PNG.

Okabe and Ito's colours, which colour-blind people tell apart, with a marker of its own for each codec; intaglio's
curves are the heavy ones. Names stand at the ends of the curves, so there is no legend to look up.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..writing import write_bytes
from . import summary

OURS = ("#D55E00", "#CC79A7", "#A6611A")
OTHERS = ("#808080", "#A6761D", "#56B4E9", "#1F78C1", "#009E73", "#E6A200", "#8C7BD8", "#5AAE61", "#C2577A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
INK = "#1A1816"  # what is currentColor in a page
FIDELITY = ("psnr", "ms-ssim", "ssim", "psnr-y", "edge-preservation", "colour-accuracy", "mse")
LABELS = {"psnr": "PSNR", "psnr-y": "PSNR of luma", "mse": "MSE", "ssim": "SSIM", "ms-ssim": "MS-SSIM", "niqe": "NIQE",
          "dists": "DISTS", "vgg-distance": "VGG distance", "lpips-vgg": "LPIPS (VGG)", "lpips-alex": "LPIPS (AlexNet)",
          "lpips-squeeze": "LPIPS (SqueezeNet)"}


def label(metric: str) -> str:
    """A metric's name for people."""
    if metric in LABELS:
        return LABELS[metric]
    return metric.upper() if metric.startswith(("fid", "kid")) else metric.replace("-", " ").capitalize()


def fewer(results: dict[str, Any], metric: str) -> str:
    """The sentence that says so where a metric's means leave pictures out; "" where they leave out none."""
    counts = sorted({m.get("counts", {}).get(metric, m["pictures"]) for m in results["means"]})
    every = len(results["pictures"])
    if not counts or counts[0] == every:
        return ""
    some = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{label(metric)}: means over {some} of {every} pictures, those of which every codec has a figure."


def is_ours(codec: dict[str, Any]) -> bool:
    """Whether a codec of the results is a model of ours."""
    return str(codec["version"]).startswith("intaglio ")


def styles(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Colour, marker and weight of each codec, the same in every figure."""
    ours = others = 0
    found = {}
    for codec in results["codecs"]:
        if codec["lossless"]:
            continue
        if is_ours(codec):
            found[codec["name"]] = {"color": OURS[ours % len(OURS)], "marker": "o", "linewidth": 2.6, "zorder": 5,
                                    "linestyle": ("-", "--", "-.")[ours % 3]}
            ours += 1
        else:
            found[codec["name"]] = {"color": OTHERS[others % len(OTHERS)], "marker": MARKERS[1 + others % 8],
                                    "linewidth": 1.3, "zorder": 3}
            others += 1
    return found


def drawable(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of which some codec has a curve, in the order to show them: those of fidelity first."""
    with_curve = [m for m in results["metrics"]
                  if any(len(summary.curve(results["means"], c["name"], m["name"])) > 1 for c in results["codecs"])]
    order = [*FIDELITY, *summary.HEADLINE]
    return sorted(with_curve, key=lambda m: order.index(m["name"]) if m["name"] in order else len(order))


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights in 0..1 moved as little as may be until neighbours are `gap` apart."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = [heights[i] for i in order]
    for _ in range(200):
        moved = False
        for i in range(len(placed) - 1):
            lack = gap - (placed[i + 1] - placed[i])
            if lack > 1e-6:
                placed[i] -= lack / 2
                placed[i + 1] += lack / 2
                moved = True
        if not moved:
            break
    result = list(heights)
    for i, height in zip(order, placed, strict=True):
        result[i] = height
    return result


def figure(results: dict[str, Any], metric: dict[str, Any]) -> Any:
    """A matplotlib figure of mean bpp against a metric's mean, one curve a codec."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.family": "sans-serif", "font.size": 9.5}):
        fig = Figure(figsize=(6.2, 3.9))
        FigureCanvasAgg(fig)
        axes = fig.add_axes((0.095, 0.125, 0.72, 0.745))
        ends = []
        for name, style in styles(results).items():
            points = summary.curve(results["means"], name, metric["name"])
            if points:
                axes.plot(*zip(*points, strict=True), label=name, markersize=4.6 if style["linewidth"] < 2 else 6,
                          markeredgewidth=0, clip_on=False, **style)
                ends.append((name, points[-1], style))
        axes.set_xlim(left=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set(color=INK, linewidth=0.8)
        axes.tick_params(colors=INK, width=0.8, length=3)
        axes.grid(axis="y", color=INK, alpha=0.13, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.set_xlabel("bits per pixel", color=INK, loc="right")
        unit = f", {metric['unit']}" if metric["unit"] else ""
        fig.text(0.012, 0.945, f"{label(metric['name'])}{unit}", color=INK, fontsize=12, fontweight="bold",
                 parse_math=False)
        best = "higher is better ↑" if metric["better"] == "higher" else "lower is better ↓"
        fig.text(0.815, 0.945, best, color=INK, alpha=0.65, ha="right")
        to_axes = axes.transData + axes.transAxes.inverted()
        at = [to_axes.transform(point) for _, point, _ in ends]
        for (name, _, style), (x, y), height in zip(ends, at, _spread([p[1] for p in at], 0.062), strict=True):
            axes.plot([x, 1.03], [y, height], transform=axes.transAxes, color=style["color"], linewidth=0.6, alpha=0.6,
                      clip_on=False, zorder=1)
            axes.text(1.04, height, name, transform=axes.transAxes, color=style["color"], va="center",
                      fontweight="bold" if style["linewidth"] > 2 else "normal",
                      parse_math=False)  # a package may be called $a$.itgm
        return fig


def svg(results: dict[str, Any], metric: dict[str, Any], *, clear: bool = False) -> str:
    """The figure as an SVG document on white (or on nothing), the same text for the same results."""
    import matplotlib

    sink = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": f"intaglio {metric['name']}", "svg.fonttype": "none"}):
        figure(results, metric).savefig(
            sink, format="svg", transparent=clear, facecolor="none" if clear else "white",
            metadata={"Date": None, "Creator": None})
    return sink.getvalue()


def inline(results: dict[str, Any], metric: dict[str, Any]) -> str:
    """The figure as an element of a page: the page's own ink and fonts, and words for those who do not see it."""
    text = svg(results, metric, clear=True)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(INK, "currentColor", text, flags=re.I)
    text = re.sub(r"font(?:-family)?: ([^;\"]*?)'DejaVu Sans'[^;\"]*", lambda m: f"font: {m[1]}var(--sans)"
                  if m[1] else "font-family: var(--sans)", text)
    words = html.escape("; ".join(
        f"{c['name']} " + ", ".join(f"{summary.shown(v)} at {summary.shown(b, 2)} bpp" for b, v in points)
        for c in results["codecs"] if (points := summary.curve(results["means"], c["name"], metric["name"]))))
    return text.replace("<svg ", f'<svg role="img" aria-label="{label(metric["name"])} by rate: {words}" ', 1)


def write(results: dict[str, Any], folder: Path) -> None:
    """Each metric's figure as NAME.svg and NAME.png in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for metric in drawable(results):
        write_bytes(folder / f"{metric['name']}.svg", svg(results, metric).encode())
        sink = io.BytesIO()
        figure(results, metric).savefig(sink, format="png", dpi=160, facecolor="white")
        write_bytes(folder / f"{metric['name']}.png", sink.getvalue())
