"""What the user names (files, folders, `-`) to a list of jobs: where each picture comes from and where it goes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image

from ..errors import BadInput

PIPE = "-"
ITG = ".itg"
# Pillow lists these for reading, but they are no photographs, or it needs another program to read them.
_NOT_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "ITG", "MPEG", "WMF"}


@dataclass(frozen=True)
class Job:
    """One file to work on. `source` and `target` are paths or `-`; a job with a `problem` fails with that sentence.
    `below`: the path of the source below the folder that the user named, or its own name."""

    source: str
    target: str | None = None
    problem: str | None = None
    below: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """What the user calls it."""
        return "standard input" if self.source == PIPE else self.source


def picture_suffixes() -> frozenset[str]:
    """Suffixes (lower case, with the dot) of the files in a folder that are taken for pictures."""
    known = {s for s, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind not in _NOT_PICTURES}
    return frozenset(known | {".heic", ".heif", ".hif"})


def plan(inputs: Sequence[str], output: str | None, suffixes: frozenset[str], new: str | None) -> list[Job]:
    """The jobs for `inputs`, in order, each file once.

    Folders are searched for files with one of `suffixes`, and mirrored below the folder `output`; without it every
    result goes beside its source, and that of `-` to `-`. new: the suffix of results (None: there are none).
    Raises BadInput where output and inputs do not fit together.
    """
    found, seen = [], set()
    for entry in _expand(inputs, output, suffixes):
        if os.path.abspath(entry[0]) not in seen:  # a folder and a file in it, or one file named twice
            seen.add(os.path.abspath(entry[0]))
            found.append(entry)
    if new is None:
        return [Job(source, None, problem, relative) for source, relative, problem in found]
    into = _into_folder(inputs, output)
    jobs: dict[str, Job] = {}  # by target
    failed = []
    for source, relative, problem in found:
        target = _target(source, relative, output, into, suffixes, new)
        job = Job(source, target, problem or _clash(source, target, jobs.get(_key(target))), relative)
        if job.problem is None:
            jobs.setdefault(_key(target), job)
        else:
            failed.append(job)
    return [*jobs.values(), *failed]


def refuse_overwrite(target: str) -> str | None:
    """The sentence that refuses to replace an existing file; pipes and devices are no files to lose."""
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return None
    return f"{target} exists already; give --overwrite to replace it" if stat.S_ISREG(mode) else None


def _expand(
    inputs: Sequence[str], output: str | None, suffixes: frozenset[str]
) -> Iterator[tuple[str, str, str | None]]:
    """(source, path below the folder it was found in, problem)."""
    for name in inputs:
        if name == PIPE or not os.path.isdir(name):
            there = name == PIPE or os.path.exists(name)
            yield name, os.path.basename(name), None if there else f"{name}: there is no such file or folder"
            continue
        problems: list[OSError] = []
        empty = True
        skipped = os.path.realpath(output) if output not in (None, PIPE) else ""
        for folder, folders, files in os.walk(name, onerror=problems.append):
            folders[:] = sorted(
                f for f in folders if not f.startswith(".") and os.path.realpath(os.path.join(folder, f)) != skipped
            )
            for file in sorted(files):  # hidden files are no pictures: ours in the making, a Mac's ._ twins
                if not file.startswith(".") and os.path.splitext(file)[1].lower() in suffixes:
                    path = os.path.join(folder, file)
                    if os.path.exists(path) and not os.path.isfile(path):
                        continue  # opening a pipe or a device could wait for ever
                    empty = False
                    yield path, os.path.relpath(path, name), None
        for error in problems:
            yield str(error.filename), "", f"the folder {error.filename} cannot be read ({error.strerror})"
        if empty and not problems:
            yield name, "", f"the folder {name} holds no {'.itg files' if suffixes == {ITG} else 'pictures'}"


def _into_folder(inputs: Sequence[str], output: str | None) -> bool:
    """Whether `output` is a folder to fill rather than the file to write."""
    if output is None:
        return False
    if not output:
        raise BadInput("-o is empty; give a file, a folder or -")
    many = len(inputs) > 1 or any(os.path.isdir(name) for name in inputs)
    if output == PIPE:
        if many:
            raise BadInput("-o - takes one picture; give a folder for several")
        return False
    if many and os.path.exists(output) and not os.path.isdir(output):
        raise BadInput(f"-o {output} is a file; give a folder for several pictures")
    into = many or os.path.isdir(output) or output.endswith(("/", os.sep))
    if into and PIPE in inputs:
        raise BadInput("- has no name to put into a folder; give it alone, with -o FILE")
    return into


def _target(source: str, relative: str, output: str | None, into: bool, suffixes: frozenset[str], new: str) -> str:
    if output is None:
        return PIPE if source == PIPE else _renamed(source, suffixes, new)
    return os.path.join(output, _renamed(relative, suffixes, new)) if into else output


def _renamed(path: str, suffixes: frozenset[str], new: str) -> str:
    stem, suffix = os.path.splitext(path)
    return (stem if suffix.lower() in suffixes else path) + new  # holiday.v2 is no suffix to lose


def _key(target: str) -> str:
    return target if target == PIPE else os.path.realpath(target)


def _clash(source: str, target: str, other: Job | None) -> str | None:
    if target == PIPE:
        return None if other is None else "only one picture fits into standard output"
    if source != PIPE and _key(source) == _key(target):
        return f"{target} would replace its own source; give another name with -o"
    if other is None:
        return None
    return f"{source}: {target} is the result of {other.name} already; do one of them alone, with -o FILE"
