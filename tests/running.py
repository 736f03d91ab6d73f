"""Running the command line from tests: in this process (quick), or in one of its own (pipes, signals, limits)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from intaglio import cli

COMMAND = [sys.executable, "-m", "intaglio"]


def call(*arguments: str | Path) -> int:
    """The exit code of a command line run in this process."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        cli.main([str(a) for a in arguments])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    finally:
        signal.signal(signal.SIGTERM, handler)


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """A command line in a process of its own, with pipes for what `options` do not name."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([*COMMAND, *map(str, arguments)], env=environment(), **streams)


def environment() -> dict[str, str]:
    """This process's, with the intaglio under test first on the path."""
    source = str(Path(cli.__file__).parents[2])
    return os.environ | {"PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}


def noise(path: Path, width: int = 64, height: int = 48, mode: str = "RGB", seed: int = 0, **options: Any) -> Path:
    """A small picture that no codec finds easy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode).save(path, **options)
    return path


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Until the condition holds; fails when the process ends, or the time is up, before that."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def one_sentence(text: str | bytes) -> str:
    """The text, which must be a single `error:` line."""
    text = text.decode() if isinstance(text, bytes) else text
    assert text.startswith("error: ") and text.endswith("\n") and text.count("\n") == 1, text
    return text
