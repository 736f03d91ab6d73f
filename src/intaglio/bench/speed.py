"""Seconds and memory of encoding and decoding, beside Pillow's JPEG, WebP and AVIF, in one run on one machine.

    python -m intaglio.bench.speed PHOTO [--sizes 768x512,4000x3000] [--model PACKAGE] [--repeat 5]

Every row is a fresh process that works on PHOTO mirrored out to the size: the median of some calls after a first one,
the first call itself (which loads the model), and the process's peak memory, pixels and Python included. For intaglio
the median call is split into its stages.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import codec, latents, pictures
from ..errors import BadInput
from ..package import resolve
from ..runtime import MAX_THREADS, runtime
from ..told import ended

CODECS: dict[str, dict[str, Any]] = {
    "jpeg": {"format": "JPEG", "quality": 75, "optimize": True},
    "webp": {"format": "WEBP", "quality": 60, "method": 6},
    "avif": {"format": "AVIF", "quality": 50, "speed": 6, "subsampling": "4:4:4"},
    "intaglio": {},
}
STAGES = {"analysis": "analysis", "hyper": "hyper", "hyper_prior": "prior", "features": "prior", "prior": "prior",
          "synthesis": "synthesis"}


def picture(photo: Path, width: int, height: int) -> Image.Image:
    """The photograph, mirrored at its edges as often as it takes to fill the size."""
    a = np.asarray(pictures.load(photo).image.convert("RGB"))
    rows, columns = -(-height // a.shape[0]), -(-width // a.shape[1])
    band = np.concatenate([a if i % 2 == 0 else a[:, ::-1] for i in range(columns)], 1)[:, :width]
    return Image.fromarray(np.concatenate([band if i % 2 == 0 else band[::-1] for i in range(rows)], 0)[:height])


class Stages:
    """Seconds spent inside the networks and the entropy coder, by wrapping their calls."""

    def __init__(self, engine: Any):
        self.seconds: dict[str, float] = defaultdict(float)
        for name, stage in STAGES.items():
            setattr(engine, name, self._timed(stage, getattr(engine, name)))
        for owner, method in ((latents.TileWriter, "put"), (latents.TileWriter, "finish"),
                              (latents.TileReader, "get"), (latents.TileReader, "finish")):
            setattr(owner, method, self._timed("entropy", getattr(owner, method)))

    def _timed(self, stage: str, call: Callable) -> Callable:
        def timed(*args: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*args)
            finally:
                self.seconds[stage] += time.perf_counter() - start

        return timed


def _output(command: list[str]) -> bytes:
    """What a process prints. Raises BadInput where it fails, which it has explained by itself."""
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        raise BadInput(f"a measuring process ended with code {done.returncode}; see what it says above")
    return done.stdout


def one(photo: Path, name: str, action: str, size: str, model: str | None, threads: int | None, repeat: int) -> dict:
    """Measure in this process; see the module's text for what."""
    image = picture(photo, *map(int, size.split("x")))
    options = CODECS[name]
    stages = None

    def encode() -> bytes:
        if name == "intaglio":
            return codec.encode(image, model=model, threads=threads)
        sink = io.BytesIO()
        image.save(sink, **options)
        return sink.getvalue()

    def decode(data: bytes) -> None:
        if name == "intaglio":
            codec.decode(data, model=model, threads=threads)
        else:
            Image.open(io.BytesIO(data)).load()

    if action == "encode":
        call: Callable[[], Any] = encode
    else:  # the file comes from another process, whose memory is not this one's
        command = [sys.executable, "-m", "intaglio.bench.speed", str(photo), "--emit", name, "--sizes", size]
        command += ["--model", model] if model else []
        data = _output(command)
        del image

        def call() -> None:
            decode(data)

    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    if name == "intaglio":
        stages = Stages(runtime(resolve(model), "cpu", threads))
    times, parts = [], []
    for _ in range(repeat):
        if stages:
            stages.seconds.clear()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        parts.append(dict(stages.seconds) if stages else {})
    median = statistics.median_low(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"codec": name, "action": action, "size": size, "median_s": median, "first_s": first, "peak_mib": peak,
            "stages_s": parts[times.index(median)]}


def _checked(a: argparse.Namespace) -> None:
    """Raise BadInput or WrongModel for what no row could be measured with."""
    pictures.load(a.photo)
    resolve(a.model)
    for size in a.sizes.split(","):
        sides = size.split("x")
        if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
            raise BadInput(f"--sizes {size}: give widths and heights in pixels, as 768x512,4000x3000")
    if a.repeat < 1:
        raise BadInput(f"--repeat {a.repeat}: give 1 or more")
    if a.threads is not None and not 1 <= a.threads <= MAX_THREADS:
        raise BadInput(f"--threads {a.threads}: give 1 to {MAX_THREADS}")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photo", type=Path)
    p.add_argument("--sizes", default="768x512,4000x3000")
    p.add_argument("--model")
    p.add_argument("--threads", type=int)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--one", nargs=2, metavar=("CODEC", "ACTION"), help=argparse.SUPPRESS)
    p.add_argument("--emit", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.emit:
        image = picture(a.photo, *map(int, a.sizes.split("x")))
        if a.emit == "intaglio":
            sys.stdout.buffer.write(codec.encode(image, model=a.model))
        else:
            image.save(sys.stdout.buffer, **CODECS[a.emit])
        return
    if a.one:
        print(json.dumps(one(a.photo, a.one[0], a.one[1], a.sizes, a.model, a.threads, a.repeat)))
        return
    _checked(a)
    print(f"{'codec':9} {'action':7} {'size':10} {'median s':>9} {'first s':>8} {'peak MiB':>9}  stages (s)")
    for size in a.sizes.split(","):
        for name in CODECS:
            for action in ("encode", "decode"):
                command = [sys.executable, "-m", "intaglio.bench.speed", str(a.photo), "--one", name, action,
                           "--sizes", size, "--repeat", str(a.repeat), *(["--model", a.model] if a.model else []),
                           *(["--threads", str(a.threads)] if a.threads else [])]
                row = json.loads(_output(command))
                parts = "  ".join(f"{k} {v:.3f}" for k, v in row["stages_s"].items())
                figures = f"{row['median_s']:9.3f} {row['first_s']:8.3f} {row['peak_mib']:9.0f}"
                print(f"{name:9} {action:7} {size:10} {figures}  {parts}", flush=True)


if __name__ == "__main__":
    ended(main)
