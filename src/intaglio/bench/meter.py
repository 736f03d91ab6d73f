"""What realism is measured with: the two networks and AVIF's files, behind a cache of what is the same in every run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from .. import pictures
from ..metrics import distribution
from ..metrics.perceptual import VGGDistance
from ..nn.backbones.inception import CHANNELS, Inception
from ..nn.backbones.weights import known
from . import avif
from .cache import Cache, digest


class Seconds(defaultdict[str, float]):
    """Where the time went."""

    def __init__(self) -> None:
        super().__init__(float)

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self[stage] += time.perf_counter() - start


class Meter:
    """The two networks, behind the cache where what they look at is the same in every run."""

    def __init__(self, cache: Cache, vgg: VGGDistance | None, inception: Inception, seconds: Seconds):
        self.cache, self.vgg, self.inception, self.seconds = cache, vgg, inception, seconds

    def features(self, picture: NDArray[np.uint8], keep: bool) -> NDArray[np.float32]:
        """Features (patches, 768) of the picture's patches."""

        def compute() -> NDArray[np.float32]:
            with self.seconds.at("Inception"):
                return distribution.features(self.inception, distribution.patches(picture))

        if not keep:
            return compute()
        weights = known("inception-v3-fid").sha256
        return self.cache.floats(digest("features", 1, weights, distribution.PATCH, picture), CHANNELS, compute)

    def against(self, original: NDArray[np.uint8]) -> Callable[[NDArray[np.uint8], bool], float]:
        """A function of (picture, keep): its VGG distance to the original, which is looked at once at most."""
        held: list = []

        def distance(picture: NDArray[np.uint8], keep: bool) -> float:
            def compute() -> NDArray[np.float32]:
                assert self.vgg is not None
                with self.seconds.at("VGG"):
                    if not held:
                        held.append(self.vgg.features(original))
                    return np.array([self.vgg.between(held[0], self.vgg.features(picture))], np.float32)

            if not keep:
                return float(compute()[0])
            key = digest("vgg", 1, known("vgg16-keras").sha256, original, picture)
            return float(self.cache.floats(key, 1, compute)[0, 0])

        return distance


def load(path: Path) -> Image.Image:
    return pictures.load(path).image.convert("RGB")


def seed_of(picture: NDArray[np.uint8]) -> int:
    """The seed of a picture's grain."""
    return int(digest("grain", picture)[:8], 16)


def avif_file(image: Image.Image, bpp: float, meter: Meter) -> bytes:
    """AVIF's file nearest to the rate."""

    def compute() -> bytes:
        with meter.seconds.at("AVIF"):
            return avif.nearest(image, bpp * image.width * image.height / 8)

    version = (PIL.__version__, features.version("avif"), sorted(avif.OPTIONS.items()))
    return meter.cache.bytes(digest("avif", 1, version, bpp, np.asarray(image)), compute)
