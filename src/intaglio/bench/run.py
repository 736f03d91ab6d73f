"""The benchmark: pictures by codecs by targets, every metric at hand, times and memory, and the report.

`bench(options)` is what `intaglio bench` calls. Everything lands in one folder:

    report.html       for people          curves/          the same curves as SVG and PNG
    results.json      all figures         results.csv      one row for each picture, codec and target
    means.csv         one row for each codec and target
    files/            every encoded file  journal.jsonl    what is finished; a later run goes on from it
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import IntaglioError
from ..writing import write_bytes
from . import codecs, cost, data, measure, summary
from .journal import Journal, key
from .measure import SetUnit, Unit
from .options import Options, Plan, prepare
from .pool import bar, work
from .targets import written


def bench(options: Options) -> int:
    """Run the benchmark and write the report; 0, or 1 where something failed on the way (told on standard error).

    Raises BadInput (nothing is written then) or another IntaglioError.
    """
    start = time.monotonic()
    plan = prepare(options)
    shas, sizes = _look(plan)
    plan.out.mkdir(parents=True, exist_ok=True)
    failures = _measure_all(plan, shas)
    rows = _rows(plan, shas)
    complete = _complete(plan, shas, rows)
    if not complete:
        raise IntaglioError(f"no codec got through: {failures[0]}")
    failures += _sets(plan, rows, complete)
    costs, troubles = _costs(plan, rows, complete)
    results = _results(plan, rows, sizes, shas, costs, failures + troubles, complete, time.monotonic() - start)
    write(results, plan)
    _show(results, plan.out)
    for sentence in failures + troubles:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if failures or troubles else 0


def _look(plan: Plan) -> tuple[dict[str, str], dict[str, tuple[int, int]]]:
    """The hash and the size of every picture, by name: one that cannot be read stops the run before it began."""
    shas, sizes = {}, {}
    with bar(len(plan.pictures)) as tick:
        for picture in plan.pictures:
            image = measure.load(picture)
            shas[picture.name], sizes[picture.name] = measure.digest(image), image.size
            tick(f"reading {picture.name}")
    return shas, sizes


def _units(plan: Plan, shas: dict[str, str]) -> Iterator[Unit]:
    """All the work there is, finished or not."""
    pairs = tuple(m.name for m in plan.metrics if m.kind != "set")
    for picture in plan.pictures:
        for spec in plan.specs.values():
            lossless = measure.codec_of(spec, plan.threads).lossless
            targets = plan.options.targets[:1] if lossless else plan.options.targets
            yield Unit(picture, shas[picture.name], spec, plan.threads, targets, bool(plan.options.sizes), pairs,
                       plan.out)


def _measure_all(plan: Plan, shas: dict[str, str]) -> list[str]:
    """Do what the journal lacks; the sentences of what failed."""
    done = {k: r for k, r in Journal(plan.out / "journal.jsonl").read().items() if "file" in r}
    todo, kept = [], 0
    for unit in _units(plan, shas):
        codec = measure.codec_of(unit.codec, unit.threads)
        left = []
        for target in unit.targets:
            record = done.get(measure.key_of(unit, codec, target))
            if record is None or not measure.sound(record, plan.out):
                left.append(target)
        kept += len(unit.targets) - len(left)
        if left:
            todo.append(replace(unit, targets=tuple(left)))
    Journal(plan.out / "journal.jsonl").touch()
    if kept:
        print(f"{kept} results are there from an earlier run", file=sys.stderr)
    labels = {id(u): f"{u.picture.name}, {os.path.basename(u.codec)}" for u in todo}
    return work(plan.jobs, plan.threads, measure.measure, todo, lambda u: labels[id(u)])


def _sets(plan: Plan, rows: list[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """Write the metrics of whole sets into the journal; the sentences of what failed."""
    metrics = tuple(m.name for m in plan.metrics if m.kind == "set")
    if not metrics:
        return []
    done = Journal(plan.out / "journal.jsonl").read()
    units = [u for u in _set_units(plan, rows, names, metrics) if u.key not in done]
    return work(plan.jobs, plan.threads, measure.measure_set, units, lambda u: f"{os.path.basename(u.codec)}, all")


def _set_units(
    plan: Plan, rows: Sequence[dict[str, Any]], names: Sequence[str], metrics: tuple[str, ...]
) -> Iterator[SetUnit]:
    by = {(r["codec"], r["target"], r["picture"]): r for r in rows}
    for name in names:
        for target in dict.fromkeys(r["target"] for r in rows if r["codec"] == name):
            group = [by[name, target, p.name] for p in plan.pictures]
            name_of_result = key(measure.LAYOUT, "set", [r["key"] for r in group], sorted(metrics))
            yield SetUnit(tuple(plan.pictures), tuple(r["file"] for r in group), plan.specs[name], plan.threads,
                          metrics, name_of_result, plan.out)


def _rows(plan: Plan, shas: dict[str, str]) -> list[dict[str, Any]]:
    """The finished results in the plan's order, from the journal."""
    done = Journal(plan.out / "journal.jsonl").read()
    rows = []
    for unit in _units(plan, shas):
        codec = measure.codec_of(unit.codec, unit.threads)
        found = [done.get(measure.key_of(unit, codec, t)) for t in unit.targets]
        # the same pixels may have been measured under another name
        rows += [{**r, "picture": unit.picture.name} for r in found if r is not None]
    return rows


def _complete(plan: Plan, shas: dict[str, str], rows: Sequence[dict[str, Any]]) -> list[str]:
    """The codecs with a result for every picture and target: means over fewer pictures compare with nothing."""
    wanted: dict[str, int] = {}
    for unit in _units(plan, shas):
        name = measure.codec_of(unit.codec, unit.threads).name
        wanted[name] = wanted.get(name, 0) + len(unit.targets)
    return [n for n, count in wanted.items() if sum(r["codec"] == n for r in rows) == count]


def _costs(
    plan: Plan, rows: Sequence[dict[str, Any]], names: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Times and memory of each codec on the first picture at the middle target, one process at a time."""
    if not plan.options.repeats:
        return [], []
    journal = Journal(plan.out / "journal.jsonl")
    done = journal.read()
    picture = plan.pictures[0]
    middle = plan.options.targets[(len(plan.options.targets) - 1) // 2]
    result, troubles = [], []
    with bar(len(names)) as tick, tempfile.TemporaryDirectory() as folder:
        image = measure.load(picture)
        source = Path(folder, "picture.png")
        image.save(source, compress_level=1)
        for name in names:
            row = next(r for r in rows if r["picture"] == picture.name and r["codec"] == name
                       and r["target"] in (middle, None))
            codec = measure.codec_of(plan.specs[name], plan.threads)
            k = key(measure.LAYOUT, "cost", row["sha256"], measure.identity(codec), plan.options.repeats,
                    summary.machine())
            if k not in done:
                try:
                    values = cost.cost(plan.specs[name], source, plan.out / row["file"], row["setting"],
                                       plan.options.repeats, None)
                    journal.append(k, {"cost": name, **values})
                    done[k] = values
                except cost.CostFailed as error:
                    troubles.append(str(error))
                    continue
            result.append({"codec": name, "picture": picture.name, "width": image.width, "height": image.height,
                           "bytes": row["bytes"], "encode": done[k]["encode"], "decode": done[k]["decode"]})
            tick(f"timing {name}")
    return result, troubles


def _results(
    plan: Plan, rows: list[dict[str, Any]], sizes: dict[str, tuple[int, int]], shas: dict[str, str],
    costs: list[dict[str, Any]], failures: list[str], names: Sequence[str], seconds: float,
) -> dict[str, Any]:
    """Everything that tables, curves and reports are made from, as plain JSON values."""
    options = plan.options
    rows = [r for r in rows if r["codec"] in names]
    averages = summary.means(rows)
    sets = tuple(m.name for m in plan.metrics if m.kind == "set")
    done = Journal(plan.out / "journal.jsonl").read()
    if sets:
        for mean, unit in zip(_in_order(averages, names), _set_units(plan, rows, names, sets), strict=True):
            mean["metrics"].update(done.get(unit.key, {}).get("metrics", dict.fromkeys(sets)))
    anchor = codecs.named(options.anchor).name if options.anchor else ("avif" if "avif" in names else (*names, "")[0])
    metrics = [{"name": m.name, "better": m.better, "unit": m.unit, "kind": m.kind, "about": m.about}
               for m in plan.metrics]
    made = {"command": options.command(), "seconds": seconds, "jobs": plan.jobs, "machine": summary.machine(),
            "versions": summary.versions()}
    machines = [measure.codec_of(plan.specs[n], plan.threads) for n in names]
    return summary.tidy({
        "title": data.DATASETS[options.dataset].title if options.dataset else "Pictures of your own",
        "made": made, "notes": plan.notes, "failures": failures,
        "unit": "bytes" if options.sizes else "bpp", "targets": list(options.targets), "anchor": anchor,
        "pictures": [{"name": p.name, "width": sizes[p.name][0], "height": sizes[p.name][1], "sha256": shas[p.name]}
                     for p in plan.pictures],
        "codecs": [{"name": c.name, "version": c.version(), "about": c.about, "lossless": c.lossless}
                   for c in machines],
        "skipped": plan.skipped, "metrics": metrics, "unavailable": plan.missing,
        "means": averages, "bd_rate": summary.bd_rates(averages, metrics, anchor), "cost": costs,
        "rows": [{k: v for k, v in r.items() if k != "key"} for r in rows],
    })


def _in_order(averages: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The means codec by codec, as `_set_units` goes."""
    return [m for n in names for m in averages if m["codec"] == n]


def write(results: dict[str, Any], plan: Plan) -> None:
    """All files of a finished benchmark, from its results and the encoded files."""
    from . import plots, report

    out, names = plan.out, [m["name"] for m in results["metrics"]]
    write_bytes(out / "results.csv", summary.as_csv(results["rows"], names))
    write_bytes(out / "means.csv", summary.as_csv(results["means"], names))
    plots.write(results, out / "curves")
    write_bytes(out / "results.json", (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    write_bytes(out / "report.html", report.page(results, plan.pictures, plan.specs, out).encode())


def _show(results: dict[str, Any], out: Path) -> None:
    """The headline on standard output."""
    from . import plots

    metrics = summary.headline(results["metrics"])
    wide = max([5, *(len(c["name"]) for c in results["codecs"])])
    print(f"{'codec':{wide}}  {'target':>8} {'bpp':>7}  " + "".join(f"{m['name']:>14}" for m in metrics))
    for mean in results["means"]:
        target = "lossless" if mean["target"] is None else written(mean["target"])
        figures = "".join(f"{summary.shown(mean['metrics'].get(m['name'])):>14}" for m in metrics)
        print(f"{mean['codec']:{wide}}  {target:>8} {summary.shown(mean['bpp']):>7}  {figures}")
    for sentence in filter(None, (plots.fewer(results, m["name"]) for m in metrics)):
        print(sentence)
    if results["bd_rate"]:
        print(f"\nBD-rate against {results['anchor']}, percent of bytes at equal quality:")
        for metric, row in results["bd_rate"].items():
            print(f"  {metric:18}" + "  ".join(
                f"{n} {v:+.1f}" if isinstance(v, float) else f"{n} –" for n, v in row.items()))
    for kind, entries in (("codec", results["skipped"]), ("metric", results["unavailable"])):
        for entry in entries:
            print(f"{kind} {entry['name']} unavailable: {entry['why']}")
    print(f"\nthe report is {out / 'report.html'}; figures are in results.json and results.csv beside it")
