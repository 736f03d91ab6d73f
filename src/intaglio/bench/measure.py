"""The unit of a benchmark's work: one picture by one codec, at each of some sizes, through real files and all metrics.

Every result is a line of the journal and a file below `files/`; whoever has both need not work again. `measure` runs in
worker processes. Metrics come from `metrics.catalogue`, and nothing here knows one by name.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import IntaglioError
from ..writing import write_bytes
from . import codecs, data
from .codecs import Codec
from .data import Picture
from .journal import Journal, key
from .targets import written

LAYOUT = 1  # of the journal's records; a new one makes old lines worthless


@dataclass(frozen=True)
class Unit:
    """One picture (`sha` is `digest`'s) by one codec at each target: bpp, or bytes where `in_bytes`."""

    picture: Picture
    sha: str
    codec: str
    threads: int | None
    targets: tuple[float, ...]
    in_bytes: bool
    metrics: tuple[str, ...]
    out: Path


@lru_cache(maxsize=2)
def load(picture: Picture) -> Image.Image:
    """`data.load`, once for a picture's several codecs."""
    return data.load(picture)


@lru_cache(maxsize=16)
def codec_of(spec: str, threads: int | None) -> Codec:
    """`codecs.named`, once a process."""
    return codecs.named(spec, threads)


def digest(image: Image.Image) -> str:
    """SHA-256 of the pixels and the size."""
    return hashlib.sha256(f"{image.width}x{image.height} ".encode() + image.tobytes()).hexdigest()


def catalogue() -> list[Any]:
    """All metrics there are."""
    from ..metrics import catalogue  # imports torch

    return list(catalogue.METRICS)


def unavailable(metric: Any) -> str | None:
    """None, or the sentence of what a metric lacks."""
    from ..metrics import catalogue

    why = catalogue.available(metric)
    return None if why is None else why.removeprefix("unavailable: ")


def identity(codec: Codec) -> list[str]:
    """What a codec's files depend on."""
    return [codec.name, codec.version(), codec.about, *codec.parts()]


def target_of(codec: Codec, target: float) -> float | None:
    """The target as results name it: a lossless codec has none."""
    return None if codec.lossless else target


def key_of(unit: Unit, codec: Codec, target: float) -> str:
    """The journal's key of one result."""
    goal = target_of(codec, target)
    return key(LAYOUT, unit.sha, identity(codec), goal, unit.in_bytes and goal is not None, sorted(unit.metrics))


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_.@" else "_" for c in name)


def file_of(unit: Unit, codec: Codec, target: float) -> Path:
    """Where one encoded file lies, relative to the benchmark's folder."""
    goal = "lossless" if codec.lossless else f"{written(target)}{'B' if unit.in_bytes else 'bpp'}"
    return Path("files", _safe(codec.name), f"{_safe(unit.picture.name)}-{unit.sha[:6]}-{goal}{codec.suffix}")


def sound(record: dict[str, Any], out: Path) -> bool:
    """Whether a result's file is still there, byte for byte."""
    try:
        data = (out / record["file"]).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data).hexdigest() == record["sha256"]


def measure(unit: Unit) -> str | None:
    """Do one unit and write it down; None, or the sentence of what failed (what was finished before that stands)."""
    try:
        _measure(unit)
    except IntaglioError as error:
        return f"{unit.codec} on {unit.picture.name}: {error}"
    except Exception as error:  # libraries raise what they like; one picture must not end the run
        words = " ".join(str(error).split())
        return f"{unit.codec} on {unit.picture.name}: {type(error).__name__}: {words}"
    return None


def _measure(unit: Unit) -> None:
    image, codec = load(unit.picture), codec_of(unit.codec, unit.threads)
    metrics = [m for m in catalogue() if m.name in unit.metrics]
    search = codecs.Search(codec, image)
    original = np.asarray(image)
    seen: dict[str, dict[str, Any]] = {}  # by the file's hash: two targets may meet in one file
    journal = Journal(unit.out / "journal.jsonl")
    pixels = image.width * image.height
    for target in unit.targets:
        limit = int(target if unit.in_bytes else target * pixels / 8)
        setting, file = search.within(limit)
        sha = hashlib.sha256(file).hexdigest()
        if sha not in seen:
            decoded = codec.decode(file)
            if decoded.size != image.size or decoded.mode != "RGB":
                raise ValueError(f"decoded to {decoded.mode} of {decoded.width}x{decoded.height}")
            seen[sha] = {m.name: value_of(m, original, np.asarray(decoded)) for m in metrics}
        path = file_of(unit, codec, target)
        (unit.out / path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(unit.out / path, file)
        journal.append(key_of(unit, codec, target), {
            "picture": unit.picture.name, "codec": codec.name, "target": target_of(codec, target), "setting": setting,
            "bytes": len(file), "bpp": 8 * len(file) / pixels, "ratio": 3 * pixels / len(file),
            "met": codec.lossless or len(file) <= limit, "file": path.as_posix(), "sha256": sha, "metrics": seen[sha],
        })


def value_of(metric: Any, original: np.ndarray, decoded: np.ndarray) -> float | None:
    """One picture's figure; None where the metric does not apply to it (a picture too small, say)."""
    try:
        value = metric.compute(decoded) if metric.kind == "single" else metric.compute(original, decoded)
    except ValueError:
        return None
    return None if math.isnan(value) else float(value)


@dataclass(frozen=True)
class SetUnit:
    """All pictures by one codec at one target, for the metrics of whole sets. files: relative to `out`, in order."""

    pictures: tuple[Picture, ...]
    files: tuple[str, ...]
    codec: str
    threads: int | None
    metrics: tuple[str, ...]
    key: str
    out: Path


KEPT = 256 * 2**20  # bytes of pictures that `_Lazily` keeps: all of Kodak, a part of larger sets


class _Lazily(Sequence[np.ndarray]):
    """A list of pictures that are read when they are first asked for, and kept up to KEPT bytes for the next metric: a
    whole data set need not fit into memory."""

    def __init__(self, read: Callable[[int], Image.Image], count: int):
        self._read, self._count = read, count
        self._kept: dict[int, np.ndarray] = {}
        self._room = KEPT

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(self._count))]
        if not -self._count <= i < self._count:
            raise IndexError(i)
        i %= self._count
        if i in self._kept:
            return self._kept[i]
        picture = np.asarray(self._read(i))
        if picture.nbytes <= self._room:
            self._kept[i] = picture
            self._room -= picture.nbytes
        return picture


def measure_set(unit: SetUnit) -> str | None:
    """Compute the set metrics and write them down; None, or the sentence of what failed."""
    try:
        codec = codec_of(unit.codec, unit.threads)
        originals = _Lazily(lambda i: data.load(unit.pictures[i]), len(unit.pictures))
        decoded = _Lazily(lambda i: codec.decode((unit.out / unit.files[i]).read_bytes()), len(unit.files))
        values = {m.name: _of_sets(m, originals, decoded) for m in catalogue() if m.name in unit.metrics}
        Journal(unit.out / "journal.jsonl").append(unit.key, {"set": unit.codec, "metrics": values})
    except Exception as error:
        words = " ".join(str(error).split())
        return f"{unit.codec}, metrics of whole sets: {words if isinstance(error, IntaglioError) else repr(error)}"
    return None


def _of_sets(metric: Any, originals: Sequence[np.ndarray], decoded: Sequence[np.ndarray]) -> float | None:
    try:
        return float(metric.compute(originals, decoded))
    except ValueError:  # too few pictures, or none large enough
        return None
