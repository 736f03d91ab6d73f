"""Picture <-> bytes: the one place that knows the order of the steps."""

from __future__ import annotations

import operator
import os
import sys
from typing import Any

import numpy as np
from PIL import Image

from . import alpha as alpha_plane
from . import pictures, search
from .areas import unpack_kept
from .container import MAX_PIXELS, Header
from .encoder import TOP, Encoder, Progress
from .errors import BadInput
from .grain import STRONGEST, UNIT, deviations
from .guards import memory_told
from .metadata import orientation
from .package import Package, for_fingerprint, released_names, resolve
from .printing import Printer
from .reader import Reader
from .runtime import runtime
from .selection import select
from .tiles import Box, Layout

DEFAULT_QUALITY = 50.0
TUNES = ("eye", "psnr")

Model = Package | str | os.PathLike | None


def quality_to_q(quality: float) -> int:
    """Quality 0..100 to the step q 0..63, linearly, to the nearest."""
    if not 0 <= quality <= 100:
        raise BadInput(f"quality is {quality}; give a number from 0 (smallest) to 100 (best)")
    return int(quality * TOP / 100 + 0.5)


@memory_told()
def encode(
    image: Any,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    target_bytes: int | None = None,
    roi: Any = None,
    tune: str = "eye",
    labels: Any = None,
    keep: Any = None,
    label_cell: int | None = None,
    seed: int = 0,
    realism: float | None = None,
    model: Model = None,
    strict: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = lambda share: None,
) -> bytes:
    """Encode a picture; returns the bytes of an `.itg` file.

    image: a path, a binary file, a Pillow image, or a uint8 array (H, W) or (H, W, 1..4).
    Rate, at most one of: quality 0..100 (default 50), target_bpp (bits of the whole file for each pixel, > 0) or
    target_bytes (of the whole file); a target is never exceeded, and met from below by the largest step that fits,
    to 1 to 3% where tune is "eye" (some blocks are a step finer then), else to about 7%.
    roi: a mask (path, Pillow image, or array of uint8 or bool; any size, stretched to the picture): white areas are
    kept better, black ones starved, at no more bytes than the target, or than the quality takes without the mask.
    tune: "eye" spends bits where errors are seen, as far as the model's card advises (fewer in busy blocks, more in
    quiet ones), and tells how strong the noise was that is lost; "psnr" spends them alike everywhere, for the least
    squared error.
    labels: a map of what stands where (path, Pillow image or array of class ids, or of instances as class * 1000 + n),
    for a model that synthesises from labels: latents are spent on what `keep` names alone, all else is synthesised from
    the map. keep: None (nothing), a mask as for roi, boxes (x, y, width, height), or a dict of any of boxes, mask and
    classes (names or ids). label_cell: the map is stored with a label every so many pixels (1, 2, 4, ... 64; default 4,
    more in large pictures).
    seed: 0..2^32 - 1, of the noise, for a model that takes some, or of the grain; stored in the file.
    realism: 0..1, the decoder's default, stored in the file (None: the model's own).
    model: None (released), a released name, a package's path, or a Package. strict: refuse what would be converted.
    device: cpu, cuda, coreml or directml, where the installed onnxruntime has it. threads: 1..256, None for all cores.
    max_pixels bounds width * height of the picture and of the mask.
    progress: called with the share done, 0..1; what it raises ends the work and reaches the caller.
    Raises BadInput, TooLarge or WrongModel; warns with IntaglioWarning of what was converted.
    """
    given = [name for name, value in (("quality", quality), ("target_bpp", target_bpp), ("target_bytes", target_bytes))
             if value is not None]
    if len(given) > 1:
        raise BadInput(f"{' and '.join(given)} are given together; choose one")
    q = quality_to_q(DEFAULT_QUALITY if quality is None else quality)
    package = resolve(model)
    if realism is None:
        realism = float(package.card.get("realism", 0.0))
    if not 0 <= realism <= 1:
        raise BadInput(f"realism is {realism}; give a number from 0 (least distortion) to 1 (most realistic)")
    engine = runtime(package, device, threads)
    if tune not in TUNES:
        raise BadInput(f"tune is {tune!r}; give one of {', '.join(TUNES)}")
    picture = pictures.load(image, strict, max_pixels=max_pixels)
    width, height = picture.image.size
    limit = None
    if target_bpp is not None:
        if not 0 < target_bpp < float("inf"):
            raise BadInput(f"target_bpp is {target_bpp}; give bits per pixel above 0")
        limit = int(min(target_bpp * width * height / 8, sys.maxsize))
    if target_bytes is not None:
        if not 1 <= target_bytes < float("inf"):
            raise BadInput(f"target_bytes is {target_bytes}; give a number of bytes above 0")
        limit = int(target_bytes)
    areas = None
    if labels is not None:
        if "labels" not in package.card:
            raise BadInput(f"model {package.name} does not synthesise from labels; give one of recipe extreme-sc")
        areas = select(labels, keep, Layout(width, height), package.card["labels"], label_cell, max_pixels)
    elif keep is not None or label_cell is not None:
        raise BadInput("what is not kept is synthesised from a label map; give it with labels")
    if not hasattr(seed, "__index__") or not 0 <= (seed := operator.index(seed)) < 2**32:
        raise BadInput(f"seed is {seed}; give a whole number from 0 to {2**32 - 1}")
    if seed and not engine.noisy() and ("grain" not in package.card or tune != "eye"):
        why = "takes no noise" if "grain" not in package.card else f"has no grain with tune {tune!r}"
        raise BadInput(f"model {package.name} {why}, so that a seed would change nothing; leave it out")
    searching = limit is not None or roi is not None
    encoder = Encoder(picture, engine, realism, searching, progress, areas, seed, tune == "eye")
    if not searching:
        return encoder.refined(encoder.at(q))
    qmap = search.gain_offsets(roi, encoder.layout, max_pixels) if roi is not None else None
    if limit is None:
        limit = len(encoder.at(q))
    data = encoder.within(limit, qmap)
    progress(1.0)
    return data


def _check_region(region: tuple[int, int, int, int] | None, header: Header) -> Box:
    if region is None:
        return Box(0, 0, header.width, header.height)
    try:
        x, y, w, h = (operator.index(v) for v in region)
    except (TypeError, ValueError):
        raise BadInput(f"region is {region!r}; give four whole numbers: x, y, width, height") from None
    if w < 1 or h < 1 or x < 0 or y < 0 or x + w > header.width or y + h > header.height:
        raise BadInput(f"region {x},{y},{w},{h} is not inside the picture of {header.width} x {header.height}")
    return Box(x, y, x + w, y + h)


def decode(
    data: Any,
    *,
    realism: float | None = None,
    grain: float | None = None,
    region: tuple[int, int, int, int] | None = None,
    model: Model = None,
    device: str = "cpu",
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = lambda share: None,
) -> Image.Image:
    """Decode an `.itg` file: bytes, a path, or a binary file. Returns a Pillow image (L, LA, RGB or RGBA).

    realism: 0 (least distortion) .. 1 (most realistic); None takes the file's default. grain: None puts back what the
    file tells of, in proportion to the realism; 0 leaves it out; up to 20 is an even film grain in its place, of so
    many grey levels (standard deviation), whatever the realism. region: (x, y, width, height) in pixels; only its tiles
    are read, and little more than it is computed. max_pixels bounds what a header may ask for.
    ICC profile, EXIF and XMP are in `.info` under Pillow's names (icc_profile, exif, xmp); EXIF orientation is kept as
    metadata, not applied. model, device, threads and progress are those of encode, but that model=None takes whichever
    released one made the file. A binary file is read from where it stands.
    Raises CorruptFile, UnsupportedFile, WrongModel, TooLarge or BadInput; warns (IntaglioWarning) of damaged metadata.
    """
    with Reader(data, max_pixels=max_pixels) as reader:
        return decode_reader(reader, realism, region, model, device, threads, progress, grain)


@memory_told()
def decode_reader(
    reader: Reader,
    realism: float | None = None,
    region: tuple[int, int, int, int] | None = None,
    model: Model = None,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = lambda share: None,
    grain: float | None = None,
) -> Image.Image:
    """`decode` on a file that is already open."""
    header = reader.header
    box = _check_region(region, header)
    realism = header.realism if realism is None else realism
    if not 0 <= realism <= 1:
        raise BadInput(f"realism is {realism}; give a number from 0 (least distortion) to 1 (most realistic)")
    if grain is not None and not 0 <= grain <= STRONGEST:
        raise BadInput(f"grain is {grain}; give a number of grey levels from 0 (none) to {STRONGEST}")
    engine = runtime(for_fingerprint(header.fingerprint, model), device, threads)
    if region is None:
        reader.check_tail()
    layout = Layout(header.width, header.height)
    touched = layout.touched(box)
    printer = Printer(reader, engine, touched)
    out = None
    for done, i in enumerate(touched):
        part = layout.tile(i).common(box)
        whole, record = layout.tile(i).common(layout.picture), reader.alpha(i)
        plane = None if record is None else alpha_plane.decode(record, (whole.width, whole.height))
        image = printer.image(i, part, realism, grain)
        if plane is not None:
            image.putalpha(plane.crop((part.x0 - whole.x0, part.y0 - whole.y0, part.x1 - whole.x0, part.y1 - whole.y0)))
        if out is None:  # not before a tile has proved sound: a short damaged file may claim many pixels
            out = Image.new(header.mode, (box.width, box.height))
        out.paste(image, (part.x0 - box.x0, part.y0 - box.y0))
        progress((done + 1) / len(touched))
    assert out is not None
    for name, value in (("icc_profile", reader.icc), ("exif", reader.exif), ("xmp", reader.xmp)):
        if value is not None:
            out.info[name] = value
    return out


def info(data: Any, *, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """What a file says of itself, without reading a tile or running a network.

    data: bytes, a path, or a binary file. The answer's keys: format ("itg"), version, width, height (pixels), mode,
    q (0..63) and quality (0..100) of the file as a whole, realism (0..1, the default), model (a released one's name or
    None), fingerprint (16 hexadecimal digits), bytes, bpp (bits of the whole file for each pixel), tiles, gain_map
    ([least, greatest] offset from q, or None), refined (share of the blocks that are), kept (share of the latents that
    are coded, 1.0 for all), grain (its deviation at realism 1, root mean square over the blocks, grey levels),
    orientation (EXIF's 1..8, or None), icc_bytes, exif_bytes, xmp_bytes (0 where there is none) and chunks (a list of
    {type, offset, bytes}, in the order of the file).
    Raises CorruptFile (also when the file was cut short), UnsupportedFile, TooLarge or BadInput.
    """
    with Reader(data, max_pixels=max_pixels) as reader:
        reader.check_tail()
        header, size = reader.header, reader.size
        names = [n for n in released_names() if resolve(n).decodes(header.fingerprint)]
        return {
            "format": "itg", "version": reader.version, "width": header.width, "height": header.height,
            "mode": header.mode, "q": header.q, "quality": round(header.q * 100 / TOP, 1), "realism": header.realism,
            "model": names[0] if names else None, "fingerprint": header.fingerprint.hex(),
            "bytes": size, "bpp": round(8 * size / (header.width * header.height), 4), "tiles": header.tiles,
            "gain_map": [int(np.min(reader.qmap)), int(np.max(reader.qmap))] if np.any(reader.qmap) else None,
            "refined": 0.0 if reader.refined is None else round(float(np.mean(reader.refined)), 4),
            "kept": 1.0 if reader.areas is None else round(_kept(reader), 4),
            "grain": _grain(reader),
            "orientation": orientation(reader.exif),
            "icc_bytes": len(reader.icc or b""), "exif_bytes": len(reader.exif or b""),
            "xmp_bytes": len(reader.xmp or b""),
            "chunks": [{"type": kind, "offset": offset, "bytes": length} for kind, offset, length in reader.chunks],
        }


def _grain(reader: Reader) -> float:
    """The deviation of the grain at realism 1, root mean square over the blocks."""
    if reader.grain is None:
        return reader.header.grain * UNIT
    return round(float(np.mean(np.square(deviations(reader.grain)))) ** 0.5, 4)


def _kept(reader: Reader) -> float:
    """The share of the latents that are coded."""
    assert reader.areas is not None
    return float(unpack_kept(reader.areas[0], Layout(reader.header.width, reader.header.height)).mean())
