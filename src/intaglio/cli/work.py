"""What each command does to one file: reads it, runs the codec, writes the result, and says what came of it."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from .. import codec, pictures, writing
from ..errors import BadInput
from ..package import resolve
from ..runtime import runtime
from .batch import Progress
from .paths import PIPE, Job, refuse_overwrite
from .report import clean

Outcome = tuple[dict[str, Any], str]  # for --json, and for people
LABELS = ".labels.png"  # ends the name of a label map that belongs to a photograph
_BAND = 256  # rows at a time in `psnr`


def encode(job: Job, progress: Progress, overwrite: bool, options: dict[str, Any]) -> Outcome:
    """One picture to one .itg file; `options` are those of codec.encode, but that `labels` may be a folder of maps,
    with the subfolders of the pictures."""
    _check_target(job.target, overwrite)
    if options.get("labels") is not None and os.path.isdir(options["labels"]):
        stem = os.path.splitext(job.below)[0]
        options = {**options, "labels": os.path.join(options["labels"], stem + LABELS)}
    started = time.perf_counter()
    data = codec.encode(_source(job), progress=progress, **options)
    seconds = time.perf_counter() - started
    _write(job.target, lambda target: writing.write_bytes(target, data), data)
    about = codec.info(data, max_pixels=options["max_pixels"])
    record = {"source": job.source, "target": job.target, "seconds": round(seconds, 3)}
    record |= {key: about[key] for key in ("width", "height", "mode", "q", "bytes", "bpp")}
    return record, f"{_route(job)}  {len(data):,} bytes  {about['bpp']:.4f} bpp  {seconds:.2f} s"


def decode(job: Job, progress: Progress, overwrite: bool, kind: str | None, options: dict[str, Any]) -> Outcome:
    """One .itg file to one picture; kind: its format ("png"), None for what the target's suffix says."""
    _check_target(job.target, overwrite)
    started = time.perf_counter()
    image = codec.decode(_source(job), progress=progress, **options)
    seconds = time.perf_counter() - started
    _save(image, job.target, kind)
    record = {"source": job.source, "target": job.target, "seconds": round(seconds, 3)}
    record |= {"width": image.width, "height": image.height, "mode": image.mode}
    return record, f"{_route(job)}  {image.width} x {image.height} {image.mode}  {seconds:.2f} s"


def info(job: Job, progress: Progress, max_pixels: int) -> Outcome:
    """What a file's header says."""
    about = {"file": job.source, **codec.info(_source(job), max_pixels=max_pixels)}
    width = max(map(len, about))
    lines = []
    for key, value in about.items():
        if key == "chunks":
            shown = [f"{c['type']} {c['bytes']:,}" for c in value[:12]]
            value = ", ".join(shown) + (f", and {len(value) - 12} more" if len(value) > 12 else "")
        elif key == "bytes":
            value = f"{value:,}"
        elif key == "gain_map" and value:
            value = f"{value[0]:+d} to {value[1]:+d}"
        lines.append(f"{key:<{width}}  {'-' if value is None else value}")
    return about, "\n".join(lines)


def label(job: Job, progress: Progress, overwrite: bool) -> Outcome:
    """One picture to its label map, by a segmentation network of street scenes."""
    _check_target(job.target, overwrite)
    import torch

    from ..nn.backbones import espnet

    network = espnet.trained()
    started = time.perf_counter()
    image = pictures.load(_source(job)).image.convert("RGB")
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    ids = espnet.label_map(network, x)[0].numpy()
    seconds = time.perf_counter() - started
    _save(Image.fromarray(ids), job.target, "png")
    shares = {espnet.CLASSES[i]: round(float((ids == i).mean()), 4) for i in np.unique(ids)}
    record = {"source": job.source, "target": job.target, "seconds": round(seconds, 3), "classes": shares}
    largest = sorted(shares, key=lambda name: -shares[name])[:3]
    return record, f"{_route(job)}  {', '.join(f'{n} {100 * shares[n]:.0f}%' for n in largest)}  {seconds:.2f} s"


class RoundTrip:
    """Encode, decode and compare one picture after the other; the model is loaded once, and timed apart."""

    def __init__(self, overwrite: bool, keep_itg: bool, kind: str | None, encoding: dict[str, Any]):
        self.overwrite, self.keep_itg, self.kind, self.encoding = overwrite, keep_itg, kind, encoding
        self.common = {key: encoding[key] for key in ("model", "device", "threads", "max_pixels")}
        started = time.perf_counter()
        engine = runtime(resolve(encoding["model"]), encoding["device"], encoding["threads"])
        for member in engine.package.members:
            if member.endswith(".onnx"):
                engine.session(member.removesuffix(".onnx"))
        self.load_seconds = time.perf_counter() - started
        self.model = engine.package.name

    def __call__(self, job: Job, progress: Progress) -> Outcome:
        """The work of one job; its target, if any, is the decoded picture."""
        itg = None
        if job.target is not None:
            _check_target(job.target, self.overwrite)
            if self.keep_itg:
                itg = os.path.splitext(job.target)[0] + ".itg"
                _check_target(itg, self.overwrite)
        picture = pictures.load(_source(job), self.encoding["strict"], max_pixels=self.encoding["max_pixels"])
        for name, value in (("icc_profile", picture.icc), ("exif", picture.exif), ("xmp", picture.xmp)):
            if value is not None:
                picture.image.info[name] = value
        started = time.perf_counter()
        data = codec.encode(picture.image, progress=lambda share: progress(0.5 * share), **self.encoding)
        encoded = time.perf_counter()
        image = codec.decode(data, progress=lambda share: progress(0.5 + 0.5 * share), **self.common)
        decoded = time.perf_counter()
        if job.target is not None:
            _save(image, job.target, self.kind)
        if itg is not None:
            _write(itg, lambda target: writing.write_bytes(target, data), data)
        decibels = psnr(picture.image, image)
        about = codec.info(data, max_pixels=self.encoding["max_pixels"])
        record: dict[str, Any] = {"source": job.source, "target": job.target, "itg": itg, "model": self.model}
        record |= {key: about[key] for key in ("width", "height", "mode", "q", "bytes", "bpp")}
        # JSON has no infinity: null stands for a picture that came back without any difference.
        record |= {"psnr": round(decibels, 3) if math.isfinite(decibels) else None}
        record |= {"encode_seconds": round(encoded - started, 3), "decode_seconds": round(decoded - encoded, 3)}
        record |= {"load_seconds": round(self.load_seconds, 3)}
        lines = [
            clean(job.name) if job.target is None else _route(job),
            f"  size    {len(data):,} bytes, {about['bpp']:.4f} bits per pixel ({about['width']} x {about['height']})",
            f"  PSNR    {decibels:.2f} dB",
            f"  encode  {encoded - started:.2f} s",
            f"  decode  {decoded - encoded:.2f} s",
            f"  model   {self.model}, loaded in {self.load_seconds:.2f} s before",
        ]
        return record, "\n".join(lines)


def psnr(a: Image.Image, b: Image.Image) -> float:
    """PSNR in dB over the colour (or grey) samples of two images of one size and mode; peak 255, infinity when equal.

    Alpha is kept exactly and left out.
    """
    channels = 1 if a.mode in ("L", "LA") else 3
    total = 0
    for top in range(0, a.height, _BAND):
        box = (0, top, a.width, min(a.height, top + _BAND))
        x, y = (np.atleast_3d(np.asarray(image.crop(box)))[:, :, :channels].astype(np.int32) for image in (a, b))
        total += int(np.square(x - y).sum(dtype=np.int64))
    if not total:
        return math.inf
    return 10 * math.log10(255**2 * a.width * a.height * channels / total)


def check_format(target: str, kind: str | None) -> None:
    """Refuse, before anything is decoded, a picture format that cannot be written. Raises BadInput."""
    probe = io.BytesIO()
    probe.name = target  # what the sentence is to call it
    try:
        writing.save(Image.new("L", (16, 16)), probe, format=kind)
    except BadInput as error:
        raise BadInput(str(error)) from None


def _source(job: Job) -> str | BinaryIO:
    return sys.stdin.buffer if job.source == PIPE else job.source


def _route(job: Job) -> str:
    return clean(f"{job.name} -> {'standard output' if job.target == PIPE else job.target}")


def _check_target(target: str | None, overwrite: bool) -> None:
    if target not in (None, PIPE) and not overwrite and (problem := refuse_overwrite(str(target))):
        raise BadInput(problem)


def _save(image: Image.Image, target: str | None, kind: str | None) -> None:
    if target == PIPE:
        buffer = io.BytesIO()
        writing.save(image, buffer, format=kind or "png")
        _write(target, lambda _: None, buffer.getvalue())
    else:
        _write(target, lambda path: writing.save(image, path, format=kind), b"")


def _write(target: str | None, write: Callable[[str], None], data: bytes) -> None:
    """`data` to standard output, or `write` to a path whose folder is made first."""
    if target == PIPE:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    assert target is not None
    with contextlib.suppress(FileExistsError):  # a file where a folder belongs: `write` says it better
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    write(target)

