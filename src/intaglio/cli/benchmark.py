"""`intaglio bench`. It needs the extra [eval]; nothing of it is imported before it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Optional

import typer

from ..errors import BadInput

# typer reads annotations at run time, on Python 3.10 too: hence Optional.
Photos = Annotated[Optional[list[str]], typer.Argument(  # noqa: UP045
    metavar="PHOTOS...", help="Pictures, or folders of them.", show_default=False)]
Codecs = Annotated[str, typer.Option(
    "--codecs", metavar="LIST", help="Codecs, and .itgm model packages, separated by commas.")]
Bpp = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--bpp", metavar="LIST", help="Sizes at which codecs meet, bits per pixel. [default: 0.15,0.3,0.45,0.6]",
    show_default=False)]
Bytes = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--bytes", metavar="LIST", help="The same in bytes a picture.", show_default=False)]
Metrics = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--metrics", metavar="LIST", help="What to measure. [default: all that can be had]", show_default=False)]
Dataset = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--dataset", metavar="NAME", help="A published set below --data, with its split and crops: kodak, clic, ...",
    show_default=False)]
Data = Annotated[Optional[str], typer.Option("--data", metavar="DIR", show_default=False)]  # noqa: UP045
Anchor = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--anchor", metavar="CODEC", help="What BD-rates are against. [default: avif, else the first]",
    show_default=False)]
Out = Annotated[str, typer.Option("--out", metavar="DIR", help="Folder of the report; a second run goes on in it.")]
Jobs = Annotated[Optional[int], typer.Option("-j", "--jobs", help="Processes. [default: the cores]",  # noqa: UP045
                                             show_default=False)]
Repeats = Annotated[int, typer.Option("--repeats", help="Calls that a time is the median of; 0: no times.")]
Quick = Annotated[bool, typer.Option("--quick", help="A few pictures, cropped, at a few sizes: minutes.")]
Fetch = Annotated[bool, typer.Option("--fetch-weights", help="Download the weights that metrics lack, first.")]


def bench(
    photos: Photos = None, codecs: Codecs = "jpeg,jpeg2000,webp,avif,heic,jxl,intaglio", bpp: Bpp = None,
    sizes: Bytes = None, metrics: Metrics = None, dataset: Dataset = None, data: Data = None, anchor: Anchor = None,
    out: Out = "report", jobs: Jobs = None, repeats: Repeats = 5, quick: Quick = False, fetch_weights: Fetch = False,
) -> Callable[[], int]:
    """Compare codecs on your own pictures at equal sizes; writes a report. Needs intaglio[eval]."""

    def todo() -> int:
        try:
            from ..bench import run
            from ..bench.options import Options
        except ImportError as error:
            raise BadInput(f"the benchmark needs more packages ({error}); pip install 'intaglio[eval]'") from None
        return run.bench(Options(
            tuple(photos or ()), dataset, data, _words(codecs), tuple(_number("--bpp", w, float) for w in _words(bpp)),
            tuple(_number("--bytes", w, int) for w in _words(sizes)), None if metrics is None else _words(metrics),
            anchor, out, jobs, repeats, quick, fetch_weights,
        ))

    return todo


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _number(option: str, word: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(word)
    except ValueError:
        kinds = "whole numbers" if kind is int else "numbers"
        raise BadInput(f"{option} {word}: give {kinds} separated by commas") from None
