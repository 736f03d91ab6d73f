"""AVIF (Pillow, 4:4:4, speed 6) at a size, and what a viewer could do to its pictures to make them look sharper."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

# one thread: several write slightly other files, and how many cores a machine has must not decide
OPTIONS = {"format": "AVIF", "subsampling": "4:4:4", "speed": 6, "autotiling": False, "max_threads": 1}


def encode(image: Image.Image, quality: int) -> bytes:
    """The AVIF file of an RGB image at Pillow's quality 0..100."""
    sink = io.BytesIO()
    image.save(sink, quality=quality, **OPTIONS)  # type: ignore[arg-type]
    return sink.getvalue()


def decode(data: bytes) -> NDArray[np.uint8]:
    """The pixels (h, w, 3) of an AVIF file."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def nearest(image: Image.Image, size: float) -> bytes:
    """The file whose number of bytes is nearest to `size`, over the qualities on both sides of it. Sizes are taken to
    grow with quality, as they do but for a few bytes."""
    files: dict[int, bytes] = {}
    low, high = -1, 101  # the last quality that is no larger than `size`, the first one that is
    while high - low > 1:
        middle = (low + high) // 2
        files[middle] = encode(image, middle)
        if len(files[middle]) <= size:
            low = middle
        else:
            high = middle
    return min((files[q] for q in (low, high) if q in files), key=lambda data: abs(len(data) - size))


def _soft_noise(height: int, width: int, seed: int) -> NDArray:
    """Normal noise (height, width) of standard deviation 1, smoothed by [1 2 1]/4 each way: film has no single-pixel
    grains, and features of networks shy at white noise."""
    noise = np.random.default_rng(seed).standard_normal((height + 2, width + 2), np.float32)
    noise = noise[:-2] + 2 * noise[1:-1] + noise[2:]
    noise = noise[:, :-2] + 2 * noise[:, 1:-1] + noise[:, 2:]
    return noise / 6  # the square root of (1 + 4 + 1)^2


class Trick(NamedTuple):
    """Unsharp masking by `sharpen` percent (radius 1 pixel), then grain of `grain` grey levels (standard deviation of
    a soft normal noise), the same on R, G and B or, in colour, of its own on each."""

    sharpen: int
    grain: float
    colour: bool = False

    @property
    def name(self) -> str:
        """What follows the codec's name."""
        kind = "colour grain" if self.colour else "grain"
        parts = [f"sharpen {self.sharpen}%"] * bool(self.sharpen) + [f"{kind} {self.grain:g}"] * bool(self.grain)
        return "".join(f" + {part}" for part in parts)

    def apply(self, picture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """The picture (h, w, 3) after the trick; the grain is drawn from `seed`."""
        if self.sharpen:
            mask = ImageFilter.UnsharpMask(radius=1, percent=self.sharpen, threshold=0)
            picture = np.asarray(Image.fromarray(picture).filter(mask))
        if self.grain:
            seeds = (seed, seed + 1, seed + 2) if self.colour else (seed,)
            noise = np.stack([_soft_noise(picture.shape[0], picture.shape[1], s) for s in seeds], 2) * self.grain
            picture = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
        return picture
