"""Jobs over threads: one bad file never stops the others, Ctrl-C stops them all.

Threads, not processes: they share the model in memory, and the networks, the entropy coder and Pillow's codecs all run
outside Python's lock. Memory grows with the number of pictures at work, which is why it is bounded (`default_jobs`).
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import IntaglioError
from .paths import PIPE, Job
from .report import Report

MOST_JOBS = 4  # by default; each may hold a large picture
Progress = Callable[[float], None]
Work = Callable[[Job, Progress], tuple[dict[str, Any], str]]


class Stopped(BaseException):
    """Raised inside a worker that has been told to stop; no library swallows it, for it is no Exception."""


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_jobs(files: int) -> int:
    """How many pictures to work on at a time when nobody says."""
    return max(1, min(files, cores(), MOST_JOBS))


def run(jobs: Sequence[Job], work: Work, workers: int, *, as_json: bool = False) -> int:
    """Do every job and report it; the exit code: 0, or 1 where some job failed."""
    taken = any(job.target == PIPE for job in jobs)
    with Report(len(jobs), as_json=as_json, stdout_taken=taken) as report:
        if workers == 1 or len(jobs) == 1:
            for job in jobs:
                _attempt(job, work, report, report.progress)
        else:
            _threaded(jobs, work, workers, report)
        report.summary()
    return 1 if report.failures else 0


def _threaded(jobs: Sequence[Job], work: Work, workers: int, report: Report) -> None:
    stop = threading.Event()
    waiting, lock = iter(jobs), threading.Lock()
    # Every worker says here that it is over, then rings. Thread.join would not do: up to Python 3.12 a join that Ctrl-C
    # interrupts takes its thread for ended, and Python then leaves while that is deep inside a library, which aborts.
    over: list[BaseException | None] = []
    bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def progress(share: float) -> None:
        if stop.is_set():
            raise Stopped
        report.progress(share)

    def worker() -> None:
        fault: BaseException | None = None
        try:
            while not stop.is_set():
                with lock:
                    job = next(waiting, None)
                if job is None:
                    break
                _attempt(job, work, report, progress)
        except Stopped:
            pass
        except BaseException as error:  # nobody is left to read what is printed, say
            stop.set()
            fault = error
        finally:
            over.append(fault)
            bell.put(None)

    running = min(workers, len(jobs))
    for _ in range(running):
        threading.Thread(target=worker, daemon=True).start()
    fault: BaseException | None = None
    while len(over) < running:
        try:
            bell.get(timeout=0.2)  # with a timeout, for some systems tell of Ctrl-C only between waits
        except queue.Empty:
            continue
        except BaseException as interruption:
            if stop.is_set() and isinstance(interruption, KeyboardInterrupt):
                os._exit(130)  # a second Ctrl-C: the strips at work are not waited for
            stop.set()
            fault = interruption
    fault = fault or next(filter(None, over), None)
    if fault is not None:
        raise fault


def _attempt(job: Job, work: Work, report: Report, progress: Progress) -> None:
    report.begin(job.name)
    try:
        if job.problem is not None:
            return report.error(job.problem)
        record, text = work(job, progress)
        report.result(record, text)
    except IntaglioError as error:
        report.error(str(error))
    except BrokenPipeError:
        raise  # whoever read our output has gone: nothing is left to do
    except MemoryError:
        report.error("there is not enough memory for this picture; try --jobs 1")
    except OSError as error:
        report.error(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except Exception as error:  # a fault of ours, or of a library: the batch goes on all the same
        report.error(f"internal error, please report it ({type(error).__name__}: {' '.join(str(error).split())})")
    finally:
        report.end()
