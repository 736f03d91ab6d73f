"""Ctrl-C and SIGTERM wait for the end of a step, so that a run that is told to stop loses nothing."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def noted() -> Iterator[list[int]]:
    """Inside, the first of the signals is only put into the list that this gives; a second one acts at once, and all do
    again afterwards. What is ignored stays so (as in the background of a script), and outside the main thread, which
    signals never reach, nothing changes."""
    told: list[int] = []
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)
        restore()

    with contextlib.suppress(ValueError):  # not the main thread
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: a handler that is not Python's
                before[number] = signal.signal(number, note)
    try:
        yield told
    finally:
        restore()
