"""The `intaglio` command: encode, decode, info, roundtrip, train, export, bench.

    app.py     the commands and their options; parses, then hands back what is to be done
    work.py    what each command does to one file
    paths.py   files, folders and `-` to a list of jobs
    batch.py   jobs over threads, interruption, exit codes
    report.py  lines, warnings, errors, JSON and progress bars
    training.py  train and export, benchmark.py  bench; they need extras

Exit codes: 0 all went well, 1 some file failed, 2 the command line makes no sense, 130 interrupted (Ctrl-C), 141 the
reader of our output went away, 143 terminated. Every failure is one sentence on standard error, never a traceback,
once the libraries are loaded: before that, Ctrl-C is Python's own.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer

from ..errors import IntaglioError
from .app import app
from .report import clean

FAILED, USAGE, INTERRUPTED, PIPE, TERMINATED = 1, 2, 130, 141, 143

# typer carries a click of its own since 0.26 and imports click before; this is the class of usage errors of either.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit the process with its code."""
    _stand_in_for_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold what the locale cannot print
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, _terminate)
    code = _guarded(list(sys.argv[1:] if arguments is None else arguments))
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # what is left has nowhere to go, and Python would complain of it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or PIPE
    sys.exit(code)


def _stand_in_for_closed_streams() -> None:
    """Occupy the descriptors 0..2 that our caller closed, or the next file opened would get one of them, and whatever
    a library prints. sys.stdin and sys.stdout stay None, which print() ignores; nothing may go there for sys.stderr."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)


def _guarded(arguments: list[str]) -> int:
    """The exit code of a run; whatever goes wrong ends here."""
    try:
        # Parsing alone happens inside typer, which has its own idea of what to print on Ctrl-C or a broken pipe.
        todo: Any = app(args=arguments or ["--help"], prog_name="intaglio", standalone_mode=False)
        code = todo() if callable(todo) else int(todo or 0)
        return code if arguments else USAGE
    except UsageError as error:
        return _say(str(getattr(error, "format_message", error.__str__)()), USAGE)
    except IntaglioError as error:  # found before the first file: a model, a device or a mask that cannot be used
        return _say(str(error), USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted; what was finished is in place, nothing is half written", INTERRUPTED)
    except BrokenPipeError:
        return PIPE
    except MemoryError:
        return _say("there is not enough memory", FAILED)
    except OSError as error:
        return _say(f"cannot go on: {error.filename or 'standard output'}: {error.strerror or error}", FAILED)


def _say(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(f"error: {clean(message)}", file=sys.stderr, flush=True)
    return code


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)  # instead of dying on the spot, so that temporary files are cleared away
