"""Seconds and memory of one codec on one picture, each action in a process of its own so that nothing else counts.

    python -m intaglio.bench.cost CODEC encode PICTURE --setting 40 --repeats 5
    python -m intaglio.bench.cost CODEC decode FILE --repeats 5

Prints one JSON object: the first call, the median of the calls after it, how many those were, and the most memory that
the process (or the program that it started) held, Python, libraries and pixels included, beside what it held before.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import BadInput, IntaglioError
from ..told import ended

PATIENCE = 20.0  # seconds after which no further call is begun


class CostFailed(IntaglioError):
    """The measuring process ended badly."""


def peak_mib() -> float:
    """The most memory that this process, or one that it started, has held so far, in MiB."""
    children = own = 0.0
    try:
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit
    except ImportError:  # Windows
        return float("nan")
    try:  # Linux counts in ru_maxrss what the parent held when it started us; this does not
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        own = int(found[1]) / 1024 if found else own
    except OSError:
        pass
    return max(own, children)


def timed(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Seconds of the first call, and the median of up to `repeats` more."""
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    times: list[float] = []
    while len(times) < repeats and time.perf_counter() - start < PATIENCE:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return {"first_s": first, "median_s": statistics.median(times or [first]), "calls": len(times)}


def cost(spec: str, picture: Path, file: Path, setting: float, repeats: int, threads: int | None) -> dict[str, Any]:
    """{"encode": .., "decode": ..} of a codec on a picture (any lossless file) and on its own file.

    Two processes, one after the other. Raises CostFailed.
    """
    result = {}
    for action, source in (("encode", picture), ("decode", file)):
        command = [sys.executable, "-m", "intaglio.bench.cost", spec, action, str(source), "--repeats", str(repeats),
                   "--setting", repr(setting), *(["--threads", str(threads)] if threads else [])]
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
        if done.returncode:
            words = done.stderr.strip().splitlines() or ["it said nothing"]
            raise CostFailed(f"{spec}: measuring the time to {action} failed: {words[-1]}")
        result[action] = json.loads(done.stdout)
    return result


def main() -> None:
    """One action of one codec, in this process."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("codec")
    p.add_argument("action", choices=("encode", "decode"))
    p.add_argument("file", type=Path)
    p.add_argument("--setting", type=float, default=0)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--threads", type=int)
    a = p.parse_args()
    from PIL import Image

    from . import codecs

    codec = codecs.named(a.codec, a.threads)
    if not math.isfinite(a.setting):
        raise BadInput(f"--setting {a.setting}: give a number")
    setting = int(a.setting) if a.setting == int(a.setting) else a.setting
    if a.action == "encode":
        with Image.open(a.file) as opened:
            image = opened.convert("RGB")
        before = peak_mib()
        result = timed(lambda: codec.encode(image, setting), a.repeats)
    else:
        data = a.file.read_bytes()
        before = peak_mib()
        result = timed(lambda: codec.decode(data), a.repeats)
    print(json.dumps(result | {"peak_mib": peak_mib(), "before_mib": before}))


if __name__ == "__main__":
    ended(main)
