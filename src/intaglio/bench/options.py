"""What a benchmark is asked to do, and whether it can be done: every check that comes before the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput
from . import codecs, data, measure, summary
from .data import Picture
from .targets import written

CODECS = ("jpeg", "jpeg2000", "webp", "avif", "heic", "jxl", "intaglio")
BPP = (0.15, 0.3, 0.45, 0.6)
QUICK_PICTURES, QUICK_BPP, QUICK_CROP = 4, (0.15, 0.3, 0.6), (512, 384)


@dataclass(frozen=True)
class Options:
    """What to do. Pictures: `photos` (files, folders) or a `dataset` below the folder `data`.

    codecs: words of codecs.named. bpp: targets in bits a pixel; or `sizes`, in bytes. metrics: names, or None for all.
    anchor: the codec that BD-rates are against (None: avif, else the first). jobs: processes (None: a core each).
    repeats: calls that a time is the median of (0: no times). quick: few pictures, cropped, few targets, no set
    metrics. fetch_weights: download what the metrics lack first.
    """

    photos: tuple[str, ...] = ()
    dataset: str | None = None
    data: str | None = None
    codecs: tuple[str, ...] = CODECS
    bpp: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    metrics: tuple[str, ...] | None = None
    anchor: str | None = None
    out: str = "report"
    jobs: int | None = None
    repeats: int = 5
    quick: bool = False
    fetch_weights: bool = False

    @property
    def targets(self) -> tuple[float, ...]:
        return tuple(sorted(set(self.sizes or self.bpp or (QUICK_BPP if self.quick else BPP))))

    def command(self) -> str:
        """The command line that repeats this run, with DIR and PHOTOS for the user's own paths."""
        words = ["intaglio bench", f"--dataset {self.dataset} --data DIR" if self.dataset else "PHOTOS"]
        words.append(f"--codecs {','.join(os.path.basename(c) for c in self.codecs)}")
        words.append(("--bytes " if self.sizes else "--bpp ") + ",".join(map(written, self.targets)))
        words += [f"--metrics {','.join(self.metrics)}"] if self.metrics is not None else []
        words += [f"--anchor {os.path.basename(self.anchor)}"] if self.anchor else []
        words += ["--quick"] if self.quick else []
        return " ".join(words)


@dataclass
class Plan:
    """A checked run: what the options mean here."""

    options: Options
    pictures: list[Picture]
    specs: dict[str, str]  # by the codec's name, the user's word
    skipped: list[dict[str, str]]  # codecs: name and why
    metrics: list[Any]
    missing: list[dict[str, str]]  # metrics: name and why
    notes: list[str]
    jobs: int
    threads: int | None
    out: Path


def prepare(options: Options) -> Plan:
    """Check everything that can be checked before the work. Raises BadInput or WrongModel."""
    if options.dataset is not None and options.photos:
        raise BadInput("give pictures or --dataset, not both")
    if (options.dataset is None) != (options.data is None):
        raise BadInput("--dataset NAME and --data DIR go together: the set's name, and the folder that holds it")
    if options.bpp and options.sizes:
        raise BadInput("--bpp and --bytes exclude each other; choose one")
    if wrong := [t for t in options.targets if not 0 < t < float("inf")]:
        raise BadInput(f"a target is {written(wrong[0])}; give sizes above 0")
    if options.jobs is not None and not 1 <= options.jobs <= 256:
        raise BadInput(f"jobs is {options.jobs}; give 1 to 256")
    if not 0 <= options.repeats <= 1000:
        raise BadInput(f"repeats is {options.repeats}; give 0 (no times) to 1000")
    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give a folder for the report")
    if out.is_dir() and any(out.iterdir()) and not (out / "journal.jsonl").exists():
        raise BadInput(f"{out} holds other things than a benchmark; give a new folder, or that of an earlier run")
    notes = []
    if options.dataset is not None:
        pictures = data.find(options.dataset, options.data or ".")
        rule = data.DATASETS[options.dataset].rule
        notes.append(f"{rule[0].upper()}{rule[1:]}.")
        if short := data.shortfall(options.dataset, len(pictures)):
            notes.append(f"{short}: figures of the whole split will differ.")
    else:
        pictures = data.chosen(options.photos)
    if options.quick:
        every = np.linspace(0, len(pictures) - 1, min(QUICK_PICTURES, len(pictures))).round().astype(int)
        pictures = [replace(pictures[i], crop=QUICK_CROP) for i in every]
        crop = f"{QUICK_CROP[0]}\u00a0×\u00a0{QUICK_CROP[1]}"
        notes.append(f"A quick look: {len(pictures)} of the pictures, cropped to their middle {crop}.")
    specs, skipped = _codecs(options.codecs)
    if options.anchor is not None and codecs.named(options.anchor).name not in specs:
        raise BadInput(f"the anchor {options.anchor} is not among the codecs: {', '.join(specs)}")
    metrics, missing = _metrics(options)
    cores = int(summary.machine()["cores"] or 1)
    jobs = min(options.jobs or cores, len(pictures) * len(specs))
    threads = max(1, cores // jobs) if jobs > 1 else None
    return Plan(options, pictures, specs, skipped, metrics, missing, notes, jobs, threads, out)


def _codecs(words: Sequence[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The user's word of each codec that can be had, by its name; and those that cannot, with the reason."""
    specs: dict[str, str] = {}
    skipped = []
    for word in dict.fromkeys(words):
        codec = codecs.named(word)
        if why := codec.available():
            skipped.append({"name": codec.name, "why": why})
        elif codec.name in specs:
            raise BadInput(f"{specs[codec.name]} and {word} would both be called {codec.name}; rename one of the files")
        else:
            specs[codec.name] = word
    if not specs:
        raise BadInput("; ".join(s["why"] for s in skipped) or "there is no codec to run: name some with --codecs")
    return specs, skipped


def _metrics(options: Options) -> tuple[list[Any], list[dict[str, str]]]:
    """The metrics that can be had, and those that cannot, with the reason."""
    try:
        import matplotlib  # noqa: F401  (for the curves: its lack had better be told before hours of work)

        everything = measure.catalogue()
    except ImportError as error:
        raise BadInput(f"the benchmark needs more packages ({error}); pip install 'intaglio[eval]'") from None
    names = [m.name for m in everything]
    if options.metrics is not None:
        unknown = [n for n in options.metrics if n not in names]
        if unknown:
            raise BadInput(f"no metric is called {unknown[0]!r}; there are {', '.join(names)}")
        everything = [m for m in everything if m.name in options.metrics]
    if options.fetch_weights:
        _fetch(everything)
    missing = []
    kept = []
    for metric in everything:
        if options.quick and metric.kind == "set":
            missing.append({"name": metric.name, "why": "left out of a quick run: it takes many pictures"})
        elif why := measure.unavailable(metric):
            missing.append({"name": metric.name, "why": why})
        else:
            kept.append(metric)
    if not kept:
        raise BadInput(f"no metric can be computed: {missing[0]['why']}" if missing else "no metric was asked for")
    return kept, missing


def _fetch(metrics: Iterable[Any]) -> None:
    """Download the weights that have an address. Raises MissingWeights where that fails."""
    from ..metrics import catalogue
    from ..nn.backbones import weights

    for name in dict.fromkeys(n for m in metrics for n in catalogue.missing(m)):
        if weights.known(name).url:
            print(f"fetching {name}: {weights.known(name).about}", file=sys.stderr)
            weights.fetch(name)
