"""What the user sees: results, warnings, errors, and a progress bar where standard error is a terminal.

Results go to standard output (to standard error when the picture itself goes there), one line a file or, with --json,
one JSON object a line. Warnings and errors go to standard error. All methods may be called from several threads.
"""

from __future__ import annotations

import json
import sys
import threading
import warnings
from types import TracebackType
from typing import Any, TextIO

from ..errors import IntaglioWarning


def clean(text: str) -> str:
    """The text on one line and free of control characters: it may quote a stranger's file name."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def _about(name: str, message: str) -> str:
    """The message with the file's name in front, unless it says the name itself."""
    return message if name in message or not name else f"{name}: {message}"


class Report:
    """The voice of one run over `total` files. A context manager: inside it warnings come out as lines of ours."""

    def __init__(self, total: int, *, as_json: bool = False, stdout_taken: bool = False) -> None:
        self.total, self.as_json = total, as_json
        self.failures: list[str] = []
        self._out: TextIO = sys.stderr if stdout_taken else sys.stdout
        self._lock = threading.RLock()
        self._local = threading.local()  # the name of the file that a thread is at
        self._shares: dict[str, float] = {}
        self._finished = 0
        self._bar: Any = None

    def __enter__(self) -> Report:
        self._catcher = warnings.catch_warnings()
        self._catcher.__enter__()
        warnings.simplefilter("always", IntaglioWarning)
        warnings.showwarning = self._show_warning
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns: list[Any] = [TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn()]
            if self.total > 1:
                columns.insert(2, MofNCompleteColumn())
            # Standard output may be a pipe or hold a picture: rich must leave it alone.
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
            self._task = self._bar.add_task("", total=self.total)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._catcher.__exit__(kind, error, trace)

    def begin(self, name: str) -> None:
        """This thread turns to the file `name`."""
        self._local.name = name
        self.progress(0.0)

    def progress(self, share: float) -> None:
        """0..1 of this thread's file is done."""
        if self._bar is None:
            return
        with self._lock:
            name = self._local.name
            self._shares[name] = share
            done = self._finished + sum(self._shares.values())
            self._bar.update(self._task, description=clean(name)[-40:], completed=done)

    def result(self, record: dict[str, Any], text: str) -> None:
        """One file is done: what to say of it, as JSON or as text."""
        if self.as_json:
            self._print(json.dumps(record), self._out)
        else:
            self._print("\n".join(clean(line) for line in text.split("\n")), self._out)

    def error(self, message: str) -> None:
        """This thread's file failed."""
        name = self._local.name
        with self._lock:
            self.failures.append(name)
            if self.as_json:
                self._print(json.dumps({"source": name, "error": message}), self._out)
            self._print(f"error: {clean(_about(name, message))}", sys.stderr)

    def end(self) -> None:
        """This thread's file is over, well or not."""
        with self._lock:
            self._shares.pop(self._local.name, None)
            self._finished += 1
            if self._bar is not None:
                self._bar.update(self._task, completed=self._finished + sum(self._shares.values()))
        self._local.name = ""

    def summary(self) -> None:
        """Of a batch: which files failed."""
        if self.failures and self.total > 1:
            self._print(f"{len(self.failures)} of {self.total} files failed:", sys.stderr)
            for name in self.failures:
                self._print(f"  {clean(name)}", sys.stderr)

    def _show_warning(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self._print(f"warning: {clean(_about(getattr(self._local, 'name', ''), str(message)))}", sys.stderr)

    def _print(self, line: str, stream: TextIO) -> None:
        with self._lock:
            if self._bar is not None and stream.isatty():  # both on the terminal: the line goes above the bar
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=stream, flush=True)
