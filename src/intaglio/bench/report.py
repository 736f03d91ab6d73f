"""The report: one HTML file that asks nothing of any network, made from the results and the encoded files."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from . import plots, summary
from .data import Picture
from .scenes import scenes, shown_targets
from .targets import written

NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")


def _e(text: Any) -> str:
    return html.escape(str(text), quote=True)


def _count(n: int, one: str, many: str) -> str:
    return f"{NUMBERS[n] if n < len(NUMBERS) else n} {one if n == 1 else many}"


def _target(results: dict[str, Any], target: Any) -> str:
    if target is None:
        return "lossless"
    return f"{target:,.0f} bytes" if results["unit"] == "bytes" else f"{target:g} bpp"


def page(results: dict[str, Any], pictures: list[Picture], specs: dict[str, str], out: Path) -> str:
    """The whole document. pictures and specs: what the results were measured on and with, for the crops."""
    shots = scenes(results, pictures, specs, out)
    parts = [("look", "Look", _slider(results, shots)), ("curves", "Curves", _curves(results)),
             ("bytes", "Bytes saved", _deltas(results)), ("cost", "Time and memory", _cost(results)),
             ("figures", "All figures", _figures(results)), ("made", "How it was made", _made(results))]
    parts = [p for p in parts if p[2]]
    nav = "".join(f'<a href="#{i}">{name}</a>' for i, name, _ in parts)
    body = "\n".join(f'<section id="{i}">{text}</section>' for i, _, text in parts)
    n, k = len(results["pictures"]), len(results["codecs"])
    heading = (f"{_count(k, 'codec', 'codecs')}, {_count(n, 'picture', 'pictures').lower()}, "
               f"{'the same bytes' if k > 1 else 'real files'}")
    files = resources.files(__package__)
    css, js = (files.joinpath(f"report.{kind}").read_text("utf-8") for kind in ("css", "js"))
    notes = " ".join(_e(note) for note in results["notes"])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_e(results["title"])}: {_e(heading.lower())}</title>
<link rel="icon" href="data:,">
<style>{css}</style>
</head>
<body>
<div class="bar"><strong>intaglio bench</strong><nav aria-label="Sections">{nav}</nav>
<button id="theme" type="button">Light / dark</button></div>
<header>
<h1>{_e(heading)}</h1>
<p class="standfirst">Every codec was asked for files of the same size. Every file was written, read back and compared
with the original.</p>
<p class="notes">{_e(results["title"])}. {notes}</p>
{_failures(results)}
</header>
<main>
{body}
</main>
<footer>Written by <code>{_e(results["made"]["command"])}</code>. The figures are in results.json and results.csv, the
encoded files in files/, beside this page.</footer>
<script>{js}</script>
</body>
</html>
"""


def _failures(results: dict[str, Any]) -> str:
    return "".join(f'<p class="warn">{_e(sentence)}</p>' for sentence in results["failures"])


def _slider(results: dict[str, Any], shots: list[dict[str, Any]]) -> str:
    if not shots:
        return ""
    names = [c["name"] for c in results["codecs"] if not c["lossless"]]
    ours = [c["name"] for c in results["codecs"] if plots.is_ours(c) and not c["lossless"]]
    right = ours[-1] if ours else names[-1]
    left = results["anchor"] if results["anchor"] in names and results["anchor"] != right else (
        next((n for n in names if n != right), "original"))

    def options(chosen: str) -> str:
        return "".join(f'<option{" selected" if n == chosen else ""}>{_e(n)}</option>' for n in ["original", *names])

    targets = shown_targets(results["targets"])
    rates = "".join(
        f'<label><input type="radio" name="rate" value="{written(t)}"{"" if i else " checked"}>'
        f"{_target(results, t)}</label>"
        for i, t in enumerate(targets))
    thumbs = "".join(
        f'<button type="button" aria-pressed="false" aria-label="{_e(s["picture"])}"><img src="{s["thumb"]}" alt="">'
        f'<i style="left:{s["box"][0]:.2f}%;top:{s["box"][1]:.2f}%;width:{s["box"][2]:.2f}%;height:{s["box"][3]:.2f}%">'
        "</i></button>" for s in shots)
    data = [{k: v for k, v in s.items() if k not in ("thumb", "box")} for s in shots]
    first = data[0]
    payload = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")  # "<!--" would open a comment there

    def src(name: str) -> str:
        shot = first["original"] if name == "original" else first["rates"][written(targets[0])][name]
        return str(shot["src"])

    return f"""<h2>Look before you count</h2>
<p class="lead">Drag the divider, or focus it and use the arrow keys. The window is where the codecs together lose most;
choose what stands on either side. The figures below are those of the whole picture.</p>
<div class="desk">
<figure>
<div class="stage" id="stage" style="aspect-ratio: {first["width"]} / {first["height"]}">
<img class="under" id="under" src="{src(right)}" alt="">
<img class="over" id="over" src="{src(left)}" alt="">
<span class="tag l" id="tag-l">{_e(left)}</span><span class="tag r" id="tag-r">{_e(right)}</span>
<input type="range" id="divider" min="0" max="1000" step="10" value="500" aria-label="Divider between the two pictures">
<span class="line"></span>
</div>
<figcaption>
<div class="sides">
<div><label for="pick-l">left of the divider</label><select id="pick-l">{options(left)}</select>
<dl id="facts-l"></dl><p class="warn" id="warn-l" aria-live="polite"></p></div>
<div><label for="pick-r">right of the divider</label><select id="pick-r">{options(right)}</select>
<dl id="facts-r"></dl><p class="warn" id="warn-r" aria-live="polite"></p></div>
</div>
<fieldset class="rates"><legend>asked for</legend>{rates}</fieldset>
</figcaption>
</figure>
<div class="scenes" role="group" aria-label="Pictures">{thumbs}</div>
</div>
<script type="application/json" id="scenes-data">{payload}</script>
<noscript><p class="lead">The slider needs JavaScript; nothing else here does.</p></noscript>"""


def _curves(results: dict[str, Any]) -> str:
    metrics = plots.drawable(results)
    if not metrics:
        return ""
    groups = [("Distortion: how close to the original", [m for m in metrics if m["name"] in plots.FIDELITY]),
              ("Perception: how it looks", [m for m in metrics if m["name"] not in plots.FIDELITY])]
    text = """<h2>What each byte buys</h2>
<p class="lead">Means over all pictures. A codec whose curve begins further right cannot make smaller files.</p>"""
    for title, group in groups:
        if group:
            plates = "".join(f"<figure>{plots.inline(results, m)}</figure>" for m in group)
            text += f'<h3>{title}</h3><div class="plates">{plates}</div>'
    return text


def _row(cells: Sequence[str], ours: bool) -> str:
    return f'<tr{" class=ours" if ours else ""}><th scope="row">{cells[0]}</th>{"".join(cells[1:])}</tr>'


def _deltas(results: dict[str, Any]) -> str:
    if not results["bd_rate"]:
        return ""
    names = list(dict.fromkeys(n for row in results["bd_rate"].values() for n in row))
    ours = {c["name"] for c in results["codecs"] if plots.is_ours(c)}
    rows = []
    for name in names:
        cells = [_e(name)]
        for row in results["bd_rate"].values():
            value = row.get(name)
            if isinstance(value, (int, float)):
                best = value == min(v for v in row.values() if isinstance(v, (int, float))) and value < 0
                sign = "−" if value < 0 else "+"
                cells.append(f'<td{" class=best" if best else ""}>{sign}{abs(value):.1f}</td>')
            else:
                cells.append(f'<td class="none" title="{_e(value or "")}">–</td>')
        rows.append(_row(cells, name in ours))
    heads = "".join(f'<th scope="col">{_e(plots.label(m))}</th>' for m in results["bd_rate"])
    return f"""<h2>Bytes saved at equal quality</h2>
<p class="lead">Bjøntegaard's mean change of the file's size against {_e(results["anchor"])}, in percent: below zero is
fewer bytes. Each column takes another metric's word for what equal means. A dash: the two curves share no quality, or
one does not grow. An asterisk: the most saved.</p>
<div class="scroll"><table><caption>BD-rate against {_e(results["anchor"])}, %</caption>
<thead><tr><th scope="col">codec</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>"""


def _cost(results: dict[str, Any]) -> str:
    if not results["cost"]:
        return ""
    first, machine = results["cost"][0], results["made"]["machine"]
    ours = {c["name"] for c in results["codecs"] if plots.is_ours(c)}
    rows = []
    for c in results["cost"]:
        cells = [_e(c["codec"])]
        for action in ("encode", "decode"):
            cells += [f"<td>{_seconds(c[action]['median_s'])}</td>", f"<td>{_seconds(c[action]['first_s'])}</td>",
                      f"<td>{summary.shown(c[action]['peak_mib'], 3)}</td>"]
        rows.append(_row(cells, c["codec"] in ours))
    before = [c["decode"]["before_mib"] for c in results["cost"] if c["decode"]["before_mib"] is not None]
    python = f",\n{min(before):.0f} MiB of which are Python's own" if before else " (not known on this system)"
    return f"""<h2>What it costs</h2>
<p class="lead">One picture of {first["width"]} × {first["height"]} pixels ({_e(first["picture"])}) on
{_cores(machine)}, at the setting found for the middle size: the median call of a warm
process, the first call of a fresh one (which loads models and libraries), and the most memory the process held{python}.
Codecs use as many threads as they like.</p>
<div class="scroll"><table><caption>Seconds, and MiB at the peak</caption><thead><tr><th scope="col">codec</th>
<th scope="col">encode</th><th scope="col">first</th><th scope="col">MiB</th>
<th scope="col">decode</th><th scope="col">first</th><th scope="col">MiB</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>"""


def _cores(machine: dict[str, Any]) -> str:
    return f"{machine['cores']} {'core' if machine['cores'] == 1 else 'cores'} of {_e(machine['cpu'])}"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _figures(results: dict[str, Any]) -> str:
    heads = "".join(
        f'<th scope="col">{_e(plots.label(m["name"]))}<small>{_e(m["unit"])} {"↑" if m["better"] == "higher" else "↓"}'
        "</small></th>" for m in results["metrics"])
    ours = {c["name"] for c in results["codecs"] if plots.is_ours(c)}
    bodies = []
    for target in [*results["targets"], None]:
        rows = []
        for mean in (m for m in results["means"] if m["target"] == target):
            title = f"{mean['met']} of {mean['pictures']} pictures met the target; of the others, the smallest files"
            met = "" if mean["met"] == mean["pictures"] else f' <span class="none" title="{title}">†</span>'
            cells = [_e(mean["codec"]) + met, f"<td>{_target(results, target)}</td>",
                     f"<td>{summary.shown(mean['bpp'], 3)}</td>", f"<td>{mean['ratio']:.0f}</td>"]
            cells += [f"<td>{summary.shown(mean['metrics'].get(m['name']))}</td>" for m in results["metrics"]]
            rows.append(_row(cells, mean["codec"] in ours))
        bodies += [f"<tbody>{''.join(rows)}</tbody>"] if rows else []
    fewer = " ".join(_e(plots.fewer(results, m["name"])) for m in results["metrics"])
    return f"""<h2>All the figures</h2>
<p class="lead">Arithmetic means over {len(results["pictures"])} pictures, of decibels too. † some pictures could
not be made that small by this codec; what was compared is its smallest file. {fewer}</p>
<div class="scroll"><table><caption>Means at each size asked for</caption><thead><tr><th scope="col">codec</th>
<th scope="col">asked</th><th scope="col">bpp</th><th scope="col">ratio</th>{heads}</tr></thead>
{"".join(bodies)}</table></div>"""


def _made(results: dict[str, Any]) -> str:
    made = results["made"]
    minutes = made["seconds"] / 60
    versions = ", ".join(f"{n} {v}" for n, v in made["versions"].items())
    used = "".join(f"<dt>{_e(c['name'])}</dt><dd>{_e(c['about'])}; {_e(c['version'])}</dd>" for c in results["codecs"])
    used += "".join(f"<dt>{_e(s['name'])}</dt><dd class=none>not run: {_e(s['why'])}</dd>" for s in results["skipped"])
    metrics = "".join(f"<dt>{_e(plots.label(m['name']))}</dt><dd>{_e(m['about'])}</dd>" for m in results["metrics"])
    metrics += "".join(f"<dt>{_e(plots.label(u['name']))}</dt><dd class=none>unavailable: {_e(u['why'])}</dd>"
                       for u in results["unavailable"])
    return f"""<h2>How it was made</h2>
<pre><code>{_e(made["command"])}</code></pre>
<p>{minutes:.1f} minutes with {_e(summary.where(made))}; what an earlier run had finished was not done again.
{_e(versions)}.</p>
<h3>Codecs</h3><dl class="words">{used}</dl>
<h3>Metrics</h3><dl class="words">{metrics}</dl>"""
