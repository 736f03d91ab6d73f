"""`intaglio labels`. It needs the extra [train]; nothing of it is imported before it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Optional

import typer

from ..errors import BadInput
from . import batch, paths, work

# typer reads annotations at run time, on Python 3.10 too: hence Optional.
Files = Annotated[list[str], typer.Argument(metavar="FILES...", help="Photographs, or folders.", show_default=False)]
Output = Annotated[Optional[str], typer.Option(  # noqa: UP045
    "-o", "--output", metavar="PATH", help="File or folder to write. Default: NAME.labels.png beside each.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist already (default: refuse).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each file.")]


def labels(files: Files, output: Output = None, overwrite: Overwrite = False, as_json: AsJson = False) -> Callable:
    """Make label maps of street scenes, for encode --labels and for training extreme-sc. Needs intaglio[train]."""

    def todo() -> int:
        try:
            import torch  # noqa: F401
        except ImportError:
            raise BadInput("label maps are made with PyTorch; pip install 'intaglio[train]'") from None
        plan = paths.plan(files, output, paths.picture_suffixes(), work.LABELS)
        plan = [job for job in plan if not job.source.endswith(work.LABELS)]  # in folders that have been here before
        if any(job.target == paths.PIPE for job in plan):
            plan = [replace(job, problem="a label map needs a file to go to; give -o FILE") for job in plan]
        return batch.run(plan, partial(work.label, overwrite=overwrite), 1, as_json=as_json)

    return todo
