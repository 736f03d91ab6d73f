"""`intaglio train` and `intaglio export`. They need the extra [train]; nothing of it is imported before they run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..errors import BadInput, IntaglioError
from ..runtime import MAX_THREADS

# typer reads annotations at run time, on Python 3.10 too: hence Optional.
Recipe = Annotated[Optional[str], typer.Argument(  # noqa: UP045
    metavar="RECIPE", help="What to train; --list names them.", show_default=False)]
Data = Annotated[Optional[Path], typer.Option(  # noqa: UP045
    "--data", metavar="DIR", help="Folder of photographs, or a pack of them.", show_default=False)]
Out = Annotated[Optional[Path], typer.Option(  # noqa: UP045
    "--out", metavar="RUN", help="Folder of the run. [default: out/RECIPE]", show_default=False)]
Minutes = Annotated[Optional[float], typer.Option("--minutes", help="Time box, export and all.")]  # noqa: UP045
Steps = Annotated[Optional[int], typer.Option("--steps", min=1, help="Number of steps.")]  # noqa: UP045
Listing = Annotated[bool, typer.Option("--list", help="Name the recipes, and end.")]
Warm = Annotated[Optional[Path], typer.Option(  # noqa: UP045
    "--warm", metavar="FILE", show_default=False,
    help="Package or checkpoint to start from; for intaglio1, a smaller size's too.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, exactly where it stopped.")]
Batch = Annotated[Optional[int], typer.Option("--batch", min=1, help="Crops a step and process.")]  # noqa: UP045
Crop = Annotated[Optional[int], typer.Option("--crop", help="Their side, a multiple of 64 pixels.")]  # noqa: UP045
Width = Annotated[Optional[int], typer.Option(  # noqa: UP045
    "--width", help="Channels of the first layer; all others scale along (papers' systems).", show_default=False)]
Numbers = Annotated[Optional[list[str]], typer.Option(  # noqa: UP045
    "--set", metavar="NAME=VALUE", show_default=False,
    help="Another number of the recipe, as beta=0, kind=lsgan or delta=4,0.5; may be given again.")]
Rate = Annotated[Optional[float], typer.Option("--rate", help="The largest learning rate.")]  # noqa: UP045
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1)]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda")]
Half = Annotated[bool, typer.Option(
    "--bfloat16",
    help="Autocast, outside the prior. For GPUs, and CPUs that multiply it (AVX512-BF16); others lose by it.")]
Compile = Annotated[bool, typer.Option(
    "--compile", help="Compile what pays, which takes minutes first: for stage 1 in float32.")]
Threads = Annotated[Optional[int], typer.Option("--threads", min=1, max=MAX_THREADS)]  # noqa: UP045
Strip = Annotated[float, typer.Option("--strip-minutes", help="How often a strip of pictures is drawn.")]
Pictures = Annotated[Optional[int], typer.Option(  # noqa: UP045
    "--pictures", min=1, help="Crops that the entropy tables are counted on.")]
Counted = Annotated[Optional[Path], typer.Option(  # noqa: UP045
    "--data", metavar="DIR", help="Folder of photographs, or a pack of them, that the entropy tables are counted on. "
    "[default: those packed in RUN]", show_default=False)]
Tables = Annotated[Optional[Path], typer.Option(  # noqa: UP045
    "--tables", metavar="PACKAGE", help="Take the entropy tables of a package with the same encoder and prior.")]
Samples = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "--samples", metavar="Y|all", help="Pixels of each photograph that a refinement learns from.", show_default=False)]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or a checkpoint.")]
Package = Annotated[Optional[Path], typer.Option(  # noqa: UP045
    "-o", "--output", metavar="FILE", help="The package to write. [default: RUN/RECIPE.itgm]", show_default=False)]


def train(
    recipe: Recipe = None, data: Data = None, out: Out = None, minutes: Minutes = None, steps: Steps = None,
    listing: Listing = False, warm: Warm = None, resume: Resume = False, batch: Batch = None, crop: Crop = None,
    rate: Rate = None, seed: Seed = 0, device: Device = "auto", bfloat16: Half = False, compile: Compile = False,
    threads: Threads = None, strip_minutes: Strip = 10.0, samples: Samples = None,
    width: Width = None, numbers: Numbers = None, pictures: Pictures = None,
) -> Callable[[], int]:
    """Train a recipe on photographs and export the model package. Needs intaglio[train]."""

    def todo() -> int:
        _torch()
        from .. import recipes

        if listing:
            print(*recipes.NAMES, *recipes.REFINEMENTS, sep="\n")
            return 0
        if recipe is None or data is None:
            raise BadInput("intaglio train needs a RECIPE and --data DIR; intaglio train --list names the recipes")
        refines = recipe in recipes.REFINEMENTS
        if samples is not None and not refines:
            raise BadInput(f"--samples is for refinements ({', '.join(recipes.REFINEMENTS)}), and {recipe} is none")
        if minutes is None and steps is None and not refines:  # which end by themselves
            raise BadInput("a training needs an end: give --minutes or --steps")
        if minutes is not None and not 0 < minutes < math.inf:
            raise BadInput(f"--minutes {minutes} is no time above 0")
        if not strip_minutes > 0:
            raise BadInput(f"--strip-minutes {strip_minutes} is no time above 0")
        if device not in ("auto", "cpu", "cuda"):
            raise BadInput(f"--device {device}: choose auto, cpu or cuda")
        from ..train import run
        from ..train.loop import Options

        options = Options(
            out or Path("out") / recipe, minutes or math.inf, steps or math.inf, seed, device, bfloat16, compile,
            resume, warm, strip_minutes=strip_minutes,
        )
        if refines:
            if unused := [name for name, value in (("--batch", batch), ("--crop", crop), ("--rate", rate),
                                                   ("--width", width), ("--set", numbers),
                                                   ("--pictures", pictures)) if value]:
                raise BadInput(f"{recipe} has no use for {' and '.join(unused)}; leave it out")
            from ..train import refine

            return _told(lambda: refine.train(recipes.refinement(recipe), data, options, threads, samples))
        return _told(lambda: run.train(recipe, data, options, threads, numbers or (), pictures or run.PICTURES,
                                       batch=batch, crop=crop, rate=rate, width=width))

    return todo


def export(
    run: Run, data: Counted = None, output: Package = None, pictures: Pictures = None, tables: Tables = None
) -> Callable[[], int]:
    """Make a model package of a run's last checkpoint. Needs intaglio[train]."""

    def todo() -> int:
        _torch()
        from ..train import run as runs

        return _told(lambda: runs.export(run, data, output, pictures or runs.PICTURES, tables))

    return todo


def _torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise BadInput("training needs PyTorch; pip install 'intaglio[train]'") from None


def _told(work: Callable[[], None]) -> int:
    """0, or 1 after the sentence of what went wrong once the command line made sense."""
    from . import _say

    try:
        work()
    except BadInput:
        raise
    except IntaglioError as error:
        return _say(str(error), 1)
    except RuntimeError as error:
        if "out of memory" in str(error) or "can't allocate memory" in str(error):  # a GPU's words, and a CPU's
            return _say("there is not enough memory for a step; give a smaller --batch or --crop, and --resume where "
                        "the run has a checkpoint", 1)
        raise
    return 0
