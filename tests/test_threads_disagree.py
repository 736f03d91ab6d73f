"""Hazard: results that depend on how many threads run, inside onnxruntime or outside, or on what ran before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_pictures import alpha, landscape
from PIL import Image

import intaglio
from intaglio import runtime as runtimes
from intaglio.codec import decode_reader
from intaglio.package import Package
from intaglio.reader import Reader

WORKERS = 8


def pictures() -> list[tuple[Image.Image, dict[str, Any]]]:
    mask = np.array([[0, 255, 90]], np.uint8)
    return [
        (Image.fromarray(landscape(200, 130, 1)), {"quality": 40}),
        (Image.fromarray(landscape(61, 200, 2)[..., 0]), {"quality": 90}),
        (Image.fromarray(np.dstack([landscape(150, 150, 3), alpha(150, 150)])), {"quality": 10, "roi": mask}),
        (Image.fromarray(np.tile(landscape(150, 70, 4), (1, 8, 1))), {"target_bytes": 6000}),
        (Image.fromarray(landscape(1, 1, 5)), {}),
    ]


def test_files_and_pictures_are_the_same_in_many_threads(tiny: Package) -> None:
    """Encodes and decodes of different pictures, all at once, over sessions that nobody has opened before."""
    jobs = pictures()
    files = [intaglio.encode(image, model=tiny, **how) for image, how in jobs]
    decoded = [intaglio.decode(file, model=tiny).tobytes() for file in files]
    fresh = Package(tiny.card, tiny.members)

    def both(n: int) -> tuple[bytes, bytes]:
        image, how = jobs[n]
        return intaglio.encode(image, model=fresh, **how), intaglio.decode(files[n], model=fresh).tobytes()

    order = np.random.default_rng(0).permutation(np.arange(40) % len(jobs))
    with ThreadPoolExecutor(WORKERS) as pool:
        for n, (file, pixels) in zip(order, pool.map(both, order), strict=True):
            assert file == files[n] and pixels == decoded[n]


def test_threads_may_share_a_picture_a_reader_and_a_path(tiny: Package, tmp_path: Path) -> None:
    """One open file, one file position: regions asked for at once must not read each other's bytes."""
    image = Image.fromarray(np.tile(np.dstack([landscape(130, 60, 6), alpha(130, 60)]), (2, 10, 1)))
    path = tmp_path / "shared.itg"
    path.write_bytes(intaglio.encode(image, model=tiny))
    rng = np.random.default_rng(1)
    boxes = [(int(x), int(y), 64, 48) for x, y in rng.integers(0, (1236, 72), (30, 2))]
    alone = [intaglio.decode(path, model=tiny, region=box).tobytes() for box in boxes]
    with Reader(path) as reader, ThreadPoolExecutor(WORKERS) as pool:
        shared = list(pool.map(lambda box: decode_reader(reader, region=box, model=tiny).tobytes(), boxes))
    assert shared == alone
    with ThreadPoolExecutor(WORKERS) as pool:
        files = list(pool.map(lambda _: intaglio.encode(image, model=tiny), range(WORKERS)))
    assert set(files) == {path.read_bytes()}


@pytest.mark.parametrize("threads", [1, 2, 3, None])
def test_any_number_of_threads_gives_one_result(tiny: Package, threads: int | None) -> None:
    """The latents exactly; a pixel may sit on the edge between two grey levels."""
    for image, how in pictures():
        file = intaglio.encode(image, model=tiny, threads=1, **how)
        want = np.asarray(intaglio.decode(file, model=tiny, threads=1)).astype(int)
        got = np.asarray(intaglio.decode(file, model=tiny, threads=threads)).astype(int)
        assert np.abs(got - want).max() <= 1 and (got != want).mean() < 0.001


def test_a_damaged_file_in_one_thread_does_not_disturb_the_others(tiny: Package) -> None:
    file = intaglio.encode(landscape(90, 90, 7), model=tiny)
    bad = bytearray(file)
    bad[-20] ^= 1
    want = intaglio.decode(file, model=tiny).tobytes()

    def one(n: int) -> bool:
        if n % 2:
            with pytest.raises(intaglio.CorruptFile):
                intaglio.decode(bytes(bad), model=tiny)
            return True
        return intaglio.decode(file, model=tiny).tobytes() == want

    with ThreadPoolExecutor(WORKERS) as pool:
        assert all(pool.map(one, range(60)))


def test_sessions_are_loaded_once(tiny: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []
    session = runtimes.ort.InferenceSession

    def counting(graph: bytes, *args: Any, **kwargs: Any) -> Any:
        opened.append(graph)
        return session(graph, *args, **kwargs)

    monkeypatch.setattr(runtimes.ort, "InferenceSession", counting)
    fresh = Package(tiny.card, tiny.members)
    engine = runtimes.runtime(fresh, "cpu", 1)
    graphs = [name.removesuffix(".onnx") for name in fresh.members if name.endswith(".onnx")]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(engine.session, graphs * WORKERS))
    assert len(opened) == len(set(opened)) == len(graphs)


def test_encoder_and_decoder_share_one_loaded_model() -> None:
    from intaglio.package import DEFAULT, for_fingerprint, released, resolve

    package = released()
    assert resolve(None) is package and resolve(DEFAULT) is package
    assert for_fingerprint(package.fingerprint, None) is package
