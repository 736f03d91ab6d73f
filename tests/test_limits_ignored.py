"""Hazard: a limit on pixels that somebody set, ours or Pillow's, that is ignored, or that stops what it should not."""

from __future__ import annotations

import io
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from golden_pictures import alpha, landscape
from PIL import Image

import intaglio
from intaglio import codec
from intaglio.container import MAX_SIDE, Header, pack
from intaglio.package import Package


def sources(tmp_path: Path) -> dict[str, object]:
    """The same 50 x 40 pixels in every way that a picture can be given."""
    pixels = landscape(50, 40, 1)
    path, file = tmp_path / "picture.png", io.BytesIO()
    for target in (path, file):
        Image.fromarray(pixels).save(target, "PNG")
    return {"path": path, "file": file, "image": Image.fromarray(pixels), "array": pixels}


@pytest.mark.parametrize("kind", ["path", "file", "image", "array"])
def test_encode_keeps_to_max_pixels(tiny: Package, tmp_path: Path, kind: str) -> None:
    source = sources(tmp_path)[kind]
    assert intaglio.encode(source, model=tiny, max_pixels=2000)
    with pytest.raises(intaglio.TooLarge, match="max_pixels"):
        intaglio.encode(source, model=tiny, max_pixels=1999)


def test_decode_and_info_keep_to_max_pixels(tiny: Package) -> None:
    data = intaglio.encode(landscape(50, 40, 1), model=tiny)
    assert intaglio.decode(data, model=tiny, max_pixels=2000).size == (50, 40)
    assert intaglio.info(data, max_pixels=2000)["width"] == 50
    for look in (intaglio.info, lambda d, max_pixels: intaglio.decode(d, model=tiny, max_pixels=max_pixels)):
        with pytest.raises(intaglio.TooLarge, match="50x40 pixels are above max_pixels = 1999"):
            look(data, max_pixels=1999)


def test_a_region_of_a_picture_above_the_limit_needs_the_limit_raised(tiny: Package) -> None:
    """The header is what the limit guards; a raised limit costs nothing until pixels are asked for."""
    data = pack(Header(MAX_SIDE, 1, "L", 9, 0.0, tiny.fingerprint), [b"\0\0"] * (MAX_SIDE // 1024))
    with pytest.raises(intaglio.TooLarge):
        intaglio.decode(data, model=tiny, region=(0, 0, 1, 1), max_pixels=MAX_SIDE - 1)
    with pytest.raises(intaglio.CorruptFile):
        intaglio.decode(data, model=tiny, region=(0, 0, 1, 1), max_pixels=MAX_SIDE)


def test_a_picture_too_long_for_the_format_is_refused_before_the_work(
    tiny: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec.Encoder, "_analyse", lambda *_: pytest.fail("the networks ran"))
    with pytest.raises(intaglio.BadInput, match="does not fit"):
        intaglio.encode(np.zeros((1, MAX_SIDE + 1), np.uint8), model=tiny)


@pytest.mark.parametrize("limit", [None, 1, 100])
def test_pillows_limit_is_neither_obeyed_nor_changed(
    tiny: Package, tmp_path: Path, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alpha is stored as PNG inside: a program that lowered Pillow's limit for its own sake still reads its files."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    path = tmp_path / "picture.png"
    Image.fromarray(np.dstack([landscape(50, 40, 2), alpha(50, 40)])).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = intaglio.decode(intaglio.encode(path, model=tiny, roi=np.eye(9, dtype=np.uint8) * 255), model=tiny)
    assert np.array_equal(np.asarray(image)[..., 3], alpha(50, 40))
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_header_that_claims_the_earth_is_refused_at_once(tiny: Package) -> None:
    """2^48 pixels, and as many as a raised limit lets in: the file is too short for their tiles."""
    head = pack(Header(1, 1, "RGB", 9, 0.0, tiny.fingerprint), [b"\0\0"])
    payload = head[16 : 16 + 12] + b"\x80\x80\x80\x08" * 2
    chunk = b"HEAD" + payload
    data = head[:8] + len(payload).to_bytes(4, "big").join((b"HEAD", payload)) + zlib.crc32(chunk).to_bytes(4, "big")
    data += head[-14:]
    start = time.perf_counter()
    with pytest.raises(intaglio.TooLarge, match="16777216x16777216"):
        intaglio.decode(data, model=tiny)
    with pytest.raises(intaglio.CorruptFile, match="tiles do not fit"):
        intaglio.decode(data, model=tiny, max_pixels=2**60)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("where", ["runtime.Runtime.synthesis", "runtime.Runtime.analysis", "codec.Image.new"])
def test_too_little_memory_is_told_in_a_sentence(tiny: Package, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    data = intaglio.encode(landscape(50, 40, 1), model=tiny)
    monkeypatch.setattr(f"intaglio.{where}", full)
    with pytest.raises(intaglio.TooLarge, match="not enough memory"):
        intaglio.decode(data, model=tiny)
        intaglio.encode(landscape(50, 40, 1), model=tiny)


@pytest.mark.parametrize("threads", [0, -1, 257, 1.5, float("nan")])
def test_threads_are_a_small_whole_number(tiny: Package, threads: float) -> None:
    with pytest.raises(intaglio.BadInput, match="threads is"):
        intaglio.encode(Image.new("L", (8, 8)), model=tiny, threads=threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["Failed to allocate memory for requested buffer of size 99", "bad allocation",
                                    "Resource temporarily unavailable"])
def test_a_full_machine_is_not_blamed_on_the_model(tiny: Package, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What onnxruntime says when memory or threads run out."""

    def full(*_: object, **__: object) -> None:
        raise RuntimeError(f"[ONNXRuntimeError] : {reason}")

    monkeypatch.setattr("intaglio.runtime.ort.InferenceSession", full)
    with pytest.raises(intaglio.TooLarge, match=f"too little memory.*{reason}"):
        intaglio.encode(landscape(50, 40, 1), model=Package(tiny.card, tiny.members))
