"""Work in this process or in several, with a progress bar."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ..errors import IntaglioError


def work(
    jobs: int, threads: int | None, do: Callable[[Any], str | None], units: Sequence[Any], label: Callable[[Any], str]
) -> list[str]:
    """Do the units in this process or in several; the sentences of what failed."""
    failures: list[str] = []
    with bar(len(units)) as tick:
        if jobs == 1:
            _keep_memory()
            for unit in units:
                failures += filter(None, [do(unit)])
                tick(label(unit))
            return failures
        context = multiprocessing.get_context("spawn")  # forked threads of torch and onnxruntime hang
        pool = ProcessPoolExecutor(jobs, context, _begin, (threads or 1,))
        try:
            waiting: dict[Future[str | None], Any] = {pool.submit(do, unit): unit for unit in units}
            while waiting:
                ended, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ended:
                    failures += filter(None, [future.result()])
                    tick(label(waiting.pop(future)))
        except BrokenProcessPool:
            raise IntaglioError("a worker process died, perhaps for want of memory; run the same command again to go "
                                "on, with fewer --jobs") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return failures


def _keep_memory() -> None:
    """Tell glibc, where that is the C library, to keep large freed blocks for the next picture instead of returning
    them: metrics allocate and free tens of megabytes at a time, and clearing fresh pages took three times as long as
    the arithmetic."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        c = ctypes.CDLL(None)
        c.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD
        c.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def _begin(threads: int) -> None:
    """In each worker: Ctrl-C is the parent's to handle, and cores are shared."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_memory()
    import torch

    torch.set_num_threads(threads)


@contextlib.contextmanager
def bar(total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar where standard error is a terminal: yields what is called after each step, with its name."""
    if not total or not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as shown:
        task = shown.add_task("", total=total)
        yield lambda text: shown.update(task, advance=1, description=text[-40:])
