"""The published results: a page of the documentation, made from a benchmark's results.json.

    python -m intaglio.bench.results report/results.json [--peers OLDER.json] --docs docs

writes docs/results.json (the figures), docs/results.md (the page) and docs/images/results-*.svg (the curves). The page
names the SHA-256 of the data that it was made from, and holds nothing else: `page` makes the same text of it again.
--peers: results of the same pictures, targets and metrics, out of which the codecs come that were not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BadInput, IntaglioError
from ..told import ended
from ..writing import write_bytes
from . import plots, summary
from .targets import written

CURVES = 6  # figures on the page
EARLIER = "are of an earlier run over the same pictures."


def condensed(results: dict[str, Any]) -> bytes:
    """The results as JSON to commit: one line for each row, so that changes can be read."""
    parts = []
    lacks = [{**u, "why": re.sub(r" in /[^;]+;", ";", u["why"])} for u in results["unavailable"]]  # a reader's folders
    for name, value in summary.tidy(results | {"unavailable": lacks}).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = ",\n".join("  " + json.dumps(v, ensure_ascii=False) for v in value)
            parts.append(f' "{name}": [\n{lines}\n ]')
        else:
            parts.append(f' "{name}": {json.dumps(value, ensure_ascii=False)}')
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


def curves(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics whose curves stand on the page."""
    drawable = plots.drawable(results)
    heads = [m["name"] for m in summary.headline(drawable, CURVES)]
    return [m for m in drawable if m["name"] in heads]


def page(data: bytes) -> str:
    """The page, in Markdown, of the bytes of results.json."""
    results = json.loads(data)
    made, unit = results["made"], results["unit"]
    names = [c["name"] for c in results["codecs"]]
    n = len(results["pictures"])
    notes = " ".join(results["notes"])
    targets = ", ".join(map(written, results["targets"]))
    text = [
        "# Results",
        f"{results['title']}, {n} pictures, {len(names)} codecs at {targets} {unit}. {notes} Every figure comes from "
        "real files that were written, read back and compared with the original; sizes are those of whole files. Each "
        "codec is asked for the largest file that is not above the target, picture by picture, and figures are means "
        "over the pictures. † marks codecs that could not make all pictures that small: their smallest files were "
        "compared.",
        "This page is made by a command (below) and not edited by hand.",
    ]
    for metric in curves(results):
        text.append(f"![{plots.label(metric['name'])} by rate](images/results-{metric['name']}.svg)")
    text += _deltas(results)
    text.append("## Figures")
    for metric in results["metrics"]:
        arrow = "higher is better" if metric["better"] == "higher" else "lower is better"
        rows = []
        for name in names:
            cells = [name]
            for target in results["targets"]:
                mean = next((m for m in results["means"] if m["codec"] == name and m["target"] in (target, None)), None)
                value = summary.shown(mean["metrics"].get(metric["name"])) if mean else "–"
                cells.append(value + ("" if mean is None or mean["met"] == mean["pictures"] else " †"))
            rows.append(cells)
        unit_of = f", {metric['unit']}" if metric["unit"] else ""
        text.append(f"### {plots.label(metric['name'])}{unit_of} ({arrow})")
        text.append(f"{metric['about']} {plots.fewer(results, metric['name'])}".rstrip())
        text.append(_table(["codec", *(f"{written(t)} {unit}" for t in results["targets"])], rows))
    text += _cost(results)
    if results["unavailable"] or results["skipped"]:
        text.append("## Not measured")
        text.append("\n".join(f"- {e['name']}: {e['why']}" for e in (*results["skipped"], *results["unavailable"])))
    older = " --peers docs/results.json" if any(note.endswith(EARLIER) for note in results["notes"]) else ""
    text += [
        "## How it was made",
        f"    {made['command']}\n    python -m intaglio.bench.results report/results.json{older} --docs docs",
        f"The last run took {made['seconds'] / 60:.0f} minutes with {summary.where(made)}; what earlier ones had "
        "finished was not done again. " + ", ".join(f"{k} {v}" for k, v in made["versions"].items()) + ".",
        _table(["codec", "run with", "by"], [[c["name"], c["about"], c["version"]] for c in results["codecs"]])
        .replace("---:", "---"),
        f"Made from [results.json](results.json), SHA-256 `{hashlib.sha256(data).hexdigest()}`.",
    ]
    return "\n\n".join(text) + "\n"


def _deltas(results: dict[str, Any]) -> list[str]:
    if not results["bd_rate"]:
        return []
    names = list(dict.fromkeys(n for row in results["bd_rate"].values() for n in row))
    rows = []
    for name in names:
        values = [row.get(name) for row in results["bd_rate"].values()]
        rows.append([name, *(f"{v:+.1f}" if isinstance(v, (int, float)) else "–" for v in values)])
    return [f"## Bytes against {results['anchor']} at equal quality",
            f"BD-rate in percent against {results['anchor']}, over the mean curves: below zero is fewer bytes. – where "
            "the curves have no quality in common, or one does not grow with the rate.",
            _table(["codec", *map(plots.label, results["bd_rate"])], rows)]


def _cost(results: dict[str, Any]) -> list[str]:
    if not results["cost"]:
        return []
    first = results["cost"][0]
    rows = []
    for c in results["cost"]:
        cells = [c["codec"]]
        for action in ("encode", "decode"):
            cells += [f"{c[action]['median_s']:.3f}", f"{c[action]['first_s']:.3f}",
                      summary.shown(c[action]["peak_mib"], 3)]
        rows.append(cells)
    return ["## Time and memory",
            f"One picture of {first['width']} × {first['height']} pixels at the middle size: seconds of the median "
            "call in a warm process and of the first call in a fresh one, and the most memory in MiB, Python and its "
            "libraries included. Codecs use as many threads as they like.",
            _table(["codec", "encode", "first", "MiB", "decode", "first", "MiB"], rows)]


def merged(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The new results, and of the codecs that they lack the old ones' figures. Raises BadInput where the two are of
    different pictures, targets or metrics."""
    for what, key in (("pictures", "sha256"), ("metrics", "name")):
        if [entry[key] for entry in new[what]] != [entry[key] for entry in old[what]]:
            raise BadInput(f"the two results are of different {what}; measure all codecs in one run")
    if new["targets"] != old["targets"]:
        raise BadInput("the two results are of different targets; measure all codecs in one run")
    order = [c["name"] for c in old["codecs"]]
    again = {c["name"] for c in new["codecs"]}
    order += [c["name"] for c in new["codecs"] if c["name"] not in order]
    result = {**new, "anchor": old["anchor"], "made": new["made"] | {"command": old["made"]["command"]}}
    for part, key in (("codecs", "name"), ("means", "codec"), ("cost", "codec"), ("rows", "codec")):
        timed = {row[key] for row in new[part]} if part == "cost" else again
        kept = [row for row in old[part] if row[key] not in timed] + new[part]
        result[part] = [row for name in order for row in kept if row[key] == name]
    older = ", ".join(name for name in order if name not in again)
    notes = [note for note in new["notes"] if not note.endswith(EARLIER)]
    result["notes"] = [*notes, f"The figures of {older} {EARLIER}"] if older else notes
    return result | {"bd_rate": summary.bd_rates(result["means"], result["metrics"], result["anchor"])}


def consistent(results: dict[str, Any]) -> None:
    """Raise BadInput where the means are not those of the rows, to five digits."""
    of_rows = {(m["codec"], m["target"]): m for m in summary.means(results["rows"])}
    for mean in results["means"]:
        found = of_rows.get((mean["codec"], mean["target"]), {"metrics": {}, "bytes": None})
        pairs = [("bytes", mean["bytes"], found["bytes"]),
                 *((name, mean["metrics"].get(name), value) for name, value in found["metrics"].items())]
        for name, told, value in pairs:
            a, b = summary.number(told), summary.number(value)
            if (a is None) != (b is None) or a is not None and b is not None and a != b and abs(a - b) > 2e-5 * abs(b):
                raise BadInput(f"{mean['codec']} at {mean['target']}: {name} is {told} among the means and {value} by "
                               "the rows; make the page from a results.json as the run left it")


def write(source: Path, docs: Path, peers: Path | None = None) -> None:
    """Make the page and what belongs to it in the folder `docs`. Raises BadInput if a source is no results.json."""
    try:
        results = json.loads(source.read_bytes())
        if peers:
            results = merged(results, json.loads(peers.read_bytes()))
        consistent(results)
        data = condensed(results)
        text = page(data)
    except IntaglioError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{source} is no results.json of intaglio bench ({type(error).__name__}: {error})") from None
    (docs / "images").mkdir(parents=True, exist_ok=True)
    for old in (docs / "images").glob("results-*.svg"):
        old.unlink()
    for metric in curves(results):
        write_bytes(docs / "images" / f"results-{metric['name']}.svg", plots.svg(results, metric).encode())
    write_bytes(docs / "results.json", data)
    write_bytes(docs / "results.md", text.encode())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("results", type=Path)
    p.add_argument("--docs", type=Path, default=Path("docs"))
    p.add_argument("--peers", type=Path, metavar="OLDER.json", help="where the codecs come from that are not in it")
    a = p.parse_args()
    try:
        write(a.results, a.docs, a.peers)
    except IntaglioError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    ended(main)
