"""The commands and their options. Parsing only: every command returns what is then to be done, for main() to call."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Optional

import typer

from .. import __version__, pictures
from ..codec import TUNES
from ..container import MAX_PIXELS
from ..errors import BadInput
from ..grain import STRONGEST
from ..package import resolve
from ..runtime import MAX_THREADS, PROVIDERS, provider, runtime
from . import batch, benchmark, labelling, paths, training, work
from .paths import ITG, PIPE, Job

# typer reads annotations at run time, on Python 3.10 too: hence Optional.
Todo = Callable[[], int]
Files = Annotated[list[str], typer.Argument(
    metavar="FILES...", help="Files, folders (searched recursively), or - for a pipe.", show_default=False)]
Output = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "-o", "--output", metavar="PATH", help="File or folder to write, - for a pipe. Default: beside each source.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist already (default: refuse).")]
Quality = Annotated[Optional[float], typer.Option(  # noqa: UP045
    "-q", "--quality", min=0, max=100, help="0 (smallest) to 100 (best). [default: 50]", show_default=False)]
TargetBpp = Annotated[Optional[float], typer.Option(  # noqa: UP045
    "--target-bpp", metavar="BITS", help="The best file of at most so many bits per pixel.")]
TargetBytes = Annotated[Optional[int], typer.Option(  # noqa: UP045
    "--target-bytes", metavar="BYTES", min=1, help="The best file of at most so many bytes, metadata and all.")]
StoredRealism = Annotated[Optional[float], typer.Option(  # noqa: UP045
    "--realism", min=0, max=1, help="Default of the decoder, kept in the file: 0 least distortion, 1 most realistic.")]
Realism = Annotated[Optional[float], typer.Option(  # noqa: UP045
    "--realism", min=0, max=1, help="0 least distortion, 1 most realistic. [default: the file's]", show_default=False)]
Grain = Annotated[Optional[float], typer.Option(  # noqa: UP045
    "--grain", min=0, max=STRONGEST, metavar="LEVELS", help="Even film grain of so many grey levels; 0 for none. "
    "[default: what the file tells of, by realism]", show_default=False)]
Roi = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--roi", metavar="MASK", help="A picture: white areas are kept better, black ones starved, at the same bytes.")]
Tune = Annotated[str, typer.Option(
    "--tune", metavar="|".join(TUNES),
    help="Spend bits where errors are seen and tell of grain, or alike for the least squared error.")]
Labels = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--labels", metavar="MAP", help="A picture of class ids (or instances), or a folder of NAME.labels.png: what is "
    "not kept is synthesised from it.")]
KeepBox = Annotated[Optional[list[str]], typer.Option(  # noqa: UP045
    "--keep-box", metavar="X,Y,W,H", help="With --labels: keep these pixels. May be repeated.", show_default=False)]
KeepMask = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--keep-mask", metavar="MASK", help="With --labels: keep what is white in this picture.")]
KeepClasses = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--keep-classes", metavar="A,B,...", help="With --labels: keep these classes, by id or name.")]
LabelCell = Annotated[Optional[int], typer.Option(  # noqa: UP045
    "--label-cell", metavar="PIXELS", help="Store a label every so many pixels: 1, 2, 4, ... 64. [default: 4]",
    show_default=False)]
Seed = Annotated[int, typer.Option(
    "--seed", min=0, max=2**32 - 1, help="Of the grain, and of the noise of models that take some.")]
Region = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--region", metavar="X,Y,W,H", help="Decode these pixels only.")]
Format = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "-f", "--format", metavar="KIND", help="png, jpg, webp, tiff, avif, ... [default: by -o's suffix, else png]",
    show_default=False)]
KeepItg = Annotated[bool, typer.Option("--keep-itg", help="Write the .itg file too, beside the decoded picture.")]
Model = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--model", metavar="NAME|FILE", help="A released model or an .itgm package. [default: the released one that fits]",
    show_default=False)]
Device = Annotated[str, typer.Option("--device", metavar="|".join(PROVIDERS), help="Where the networks run.")]
Threads = Annotated[Optional[int], typer.Option(  # noqa: UP045
    "--threads", min=1, max=MAX_THREADS, help="Threads for each picture. [default: the cores, shared among --jobs]",
    show_default=False)]
Jobs = Annotated[Optional[int], typer.Option(  # noqa: UP045
    "-j", "--jobs", min=1, help="Pictures at a time; memory grows with them. [default: the cores, at most 4]",
    show_default=False)]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse pictures that cannot be kept as they are.")]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, help="Refuse pictures of more pixels.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each file.")]

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"intaglio {__version__}")
        raise typer.Exit


@app.callback()
def _intaglio(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """A learned image codec: photographs to small .itg files and back."""


@app.command()
def encode(
    files: Files, output: Output = None, quality: Quality = None, target_bpp: TargetBpp = None,
    target_bytes: TargetBytes = None, realism: StoredRealism = None, roi: Roi = None, tune: Tune = "eye",
    labels: Labels = None, keep_box: KeepBox = None, keep_mask: KeepMask = None, keep_classes: KeepClasses = None,
    label_cell: LabelCell = None, seed: Seed = 0, model: Model = None,
    device: Device = "cpu", threads: Threads = None, jobs: Jobs = None, strict: Strict = False,
    overwrite: Overwrite = False, max_pixels: MaxPixels = MAX_PIXELS, as_json: AsJson = False,
) -> Todo:
    """Encode pictures to .itg files."""
    options = _encoding(quality, target_bpp, target_bytes, realism, roi, tune, model, device, strict, max_pixels)
    options |= _areas(labels, keep_box, keep_mask, keep_classes, label_cell) | {"seed": seed}

    def todo() -> int:
        suffixes = paths.picture_suffixes()
        plan = _plan(files, output, suffixes, ITG, as_json)
        if labels is not None:  # maps beside the photographs of a folder are none
            plan = [job for job in plan if not job.source.endswith(work.LABELS)]
        if any(job.target == output and job.problem is None for job in plan):
            suffix = os.path.splitext(str(output))[1].lower()
            if suffix in suffixes:
                raise BadInput(f"-o {output}: {suffix} is a picture's suffix and encode writes .itg; end it in .itg")
        workers, options["threads"] = _share(plan, jobs, threads)
        _prepare(options)
        return batch.run(plan, partial(work.encode, overwrite=overwrite, options=options), workers, as_json=as_json)

    return todo


@app.command()
def decode(
    files: Files, output: Output = None, kind: Format = None, realism: Realism = None, grain: Grain = None,
    region: Region = None, model: Model = None, device: Device = "cpu", threads: Threads = None, jobs: Jobs = None,
    overwrite: Overwrite = False, max_pixels: MaxPixels = MAX_PIXELS, as_json: AsJson = False,
) -> Todo:
    """Decode .itg files to pictures."""
    _no_nan(realism=realism, grain=grain)
    options: dict[str, Any] = {"realism": realism, "grain": grain, "region": _region(region), "model": model}
    options |= {"device": device, "max_pixels": max_pixels}

    def todo() -> int:
        plan = _plan(files, output, frozenset({ITG}), _suffix(kind), as_json)
        _check_format(plan, output, kind)
        workers, options["threads"] = _share(plan, jobs, threads)
        provider(device)
        if model is not None:
            _prepare(options)
        one = partial(work.decode, overwrite=overwrite, kind=kind, options=options)
        return batch.run(plan, one, workers, as_json=as_json)

    return todo


@app.command()
def info(files: Files, max_pixels: MaxPixels = MAX_PIXELS, as_json: AsJson = False) -> Todo:
    """Show what .itg files say of themselves; reads their headers only."""

    def todo() -> int:
        plan = _plan(files, None, frozenset({ITG}), None, as_json)
        return batch.run(plan, partial(work.info, max_pixels=max_pixels), 1, as_json=as_json)

    return todo


@app.command()
def roundtrip(
    files: Files, output: Output = None, keep_itg: KeepItg = False, kind: Format = None, quality: Quality = None,
    target_bpp: TargetBpp = None, target_bytes: TargetBytes = None,
    realism: Realism = None, roi: Roi = None, tune: Tune = "eye", model: Model = None, device: Device = "cpu",
    threads: Threads = None, jobs: Jobs = None, strict: Strict = False, overwrite: Overwrite = False,
    max_pixels: MaxPixels = MAX_PIXELS, as_json: AsJson = False,
) -> Todo:
    """Encode and decode pictures; show size, bits per pixel, PSNR and times. Writes nothing without -o."""
    options = _encoding(quality, target_bpp, target_bytes, realism, roi, tune, model, device, strict, max_pixels)
    if keep_itg and (output is None or output == PIPE):
        raise BadInput("--keep-itg needs -o FILE or -o FOLDER")

    def todo() -> int:
        plan = _plan(files, output, paths.picture_suffixes(), None if output is None else _suffix(kind), as_json)
        _check_format(plan, output, kind)
        # One at a time unless told otherwise: the times are half the point.
        workers, options["threads"] = _share(plan, jobs or 1, threads)
        _prepare(options)
        return batch.run(plan, work.RoundTrip(overwrite, keep_itg, kind, options), workers, as_json=as_json)

    return todo


app.command()(training.train)
app.command()(training.export)
app.command()(labelling.labels)
app.command()(benchmark.bench)


def _encoding(
    quality: float | None, target_bpp: float | None, target_bytes: int | None, realism: float | None, roi: str | None,
    tune: str, model: str | None, device: str, strict: bool, max_pixels: int,
) -> dict[str, Any]:
    """codec.encode's keyword arguments, but for threads."""
    given = {"--quality": quality, "--target-bpp": target_bpp, "--target-bytes": target_bytes}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise BadInput(f"{' and '.join(names)} exclude each other; choose one")
    _no_nan(quality=quality, realism=realism)
    if target_bpp is not None and not 0 < target_bpp < float("inf"):
        raise BadInput(f"--target-bpp {target_bpp} is no number of bits above 0")
    if tune not in TUNES:
        raise BadInput(f"--tune {tune}: give one of {', '.join(TUNES)}")
    return {
        "quality": quality, "target_bpp": target_bpp, "target_bytes": target_bytes, "realism": realism, "roi": roi,
        "tune": tune, "model": model, "device": device, "strict": strict, "max_pixels": max_pixels,
    }


def _areas(
    labels: str | None, boxes: list[str] | None, mask: str | None, classes: str | None, cell: int | None
) -> dict[str, Any]:
    """codec.encode's arguments for what is kept and what is synthesised."""
    keep: dict[str, Any] = {}
    if boxes:
        keep["boxes"] = [_rectangle("--keep-box", box) for box in boxes]
    if mask is not None:
        keep["mask"] = mask
    if classes is not None:
        keep["classes"] = [part.strip() for part in classes.split(",")]
    if labels is None and (keep or cell is not None):
        raise BadInput("what is not kept is synthesised from a label map; give it with --labels MAP")
    return {"labels": labels, "keep": keep or None, "label_cell": cell}


def _no_nan(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and math.isnan(value):  # which is neither below a minimum nor above a maximum
            raise BadInput(f"--{name} is not a number")


def _region(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else _rectangle("--region", text)


def _rectangle(option: str, text: str) -> tuple[int, ...]:
    try:
        x, y, w, h = (int(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"{option} {text}: give four whole numbers, X,Y,W,H, in pixels") from None
    return x, y, w, h


def _suffix(kind: str | None) -> str:
    return "." + (kind or "png").lower().lstrip(".")


def _plan(files: list[str], output: str | None, suffixes: frozenset[str], new: str | None, as_json: bool) -> list[Job]:
    plan = paths.plan(files, output, suffixes, new)
    if PIPE in files and sys.stdin is None:
        raise BadInput("- reads standard input, which is closed; send a picture through a pipe")
    if PIPE in files and sys.stdin.isatty():
        raise BadInput("- reads standard input, which is the terminal; send a picture through a pipe")
    if any(job.target == PIPE for job in plan):
        if sys.stdout is None:
            raise BadInput("the result would go to standard output, which is closed; give -o FILE")
        if sys.stdout.isatty():
            raise BadInput("the result would go to the terminal; send it through a pipe, or give -o FILE")
        if as_json:
            raise BadInput("--json and the picture both want standard output; give -o FILE")
    return plan


def _check_format(plan: list[Job], output: str | None, kind: str | None) -> None:
    targets = [job.target for job in plan if job.target is not None and job.problem is None]
    if targets and (kind is not None or targets[0] == output):
        work.check_format(targets[0], kind or (_suffix(None) if output == PIPE else os.path.splitext(targets[0])[1]))


def _share(plan: list[Job], jobs: int | None, threads: int | None) -> tuple[int, int | None]:
    """(pictures at a time, threads for each: None for all cores)."""
    workers = min(jobs or batch.default_jobs(len(plan)), max(1, len(plan)))
    return workers, threads or (max(1, batch.cores() // workers) if workers > 1 else None)


def _prepare(options: dict[str, Any]) -> None:
    """Fail now rather than once a file where the model, the device or the mask is at fault."""
    options["model"] = resolve(options["model"])
    runtime(options["model"], options["device"], options["threads"])
    if options.get("roi") is not None:
        options["roi"] = pictures.load_mask(options["roi"], max_pixels=options["max_pixels"])
