"""Sources of the golden files: pictures made with integers alone (equal on every machine), and photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "dog.webp"


def hashed(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """A pseudo-random 0..255 for every integer point."""
    n = (x * 374761393 + y * 668265263 + seed * 2246822519) & 0xFFFFFFFF
    n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((n ^ (n >> 16)) >> 8) & 0xFF


def clouds(width: int, height: int, cell: int, seed: int) -> np.ndarray:
    """Bilinear value noise 0..255 (height, width): one random value every `cell` pixels."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    column, row, u, v = x // cell, y // cell, x % cell, y % cell
    above = hashed(column, row, seed) * (cell - u) + hashed(column + 1, row, seed) * u
    below = hashed(column, row + 1, seed) * (cell - u) + hashed(column + 1, row + 1, seed) * u
    return (above * (cell - v) + below * v) // (cell * cell)


def landscape(width: int, height: int, seed: int) -> np.ndarray:
    """uint8 (height, width, 3): clouds of every size, and a few discs with sharp edges."""
    octaves = [(96, 8), (40, 5), (16, 3), (6, 2), (2, 1)]
    grey = sum(weight * clouds(width, height, cell, seed + cell) for cell, weight in octaves) // 19
    tint = [clouds(width, height, 64, seed + 1000 + c) for c in range(3)]
    rgb = np.stack([(3 * grey + t) // 4 for t in tint], 2)
    y, x = np.mgrid[:height, :width].astype(np.int64)
    for k in range(5):
        cx, cy, radius = (int(hashed(np.int64(k), np.int64(j), seed)) for j in range(3))
        inside = (x - cx * width // 255) ** 2 + (y - cy * height // 255) ** 2 < (8 + radius // 4) ** 2
        rgb[inside] = (rgb[inside] + np.array([cx, cy, radius])) // 2
    return rgb.astype(np.uint8)


def static(width: int, height: int, seed: int) -> np.ndarray:
    """uint8 (height, width, 3) of 0 and 255 only: nothing a picture codec likes."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    return np.stack([np.where(hashed(x // 4, y // 4, seed + c) > 127, 255, 0) for c in range(3)], 2).astype(np.uint8)


def noisy(picture: np.ndarray, seed: int) -> np.ndarray:
    """uint8: the picture with even grey noise of up to 4 levels in its right half."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.int64)
    noise = np.where(2 * x > picture.shape[1], hashed(x, y, seed) % 9 - 4, 0)
    return np.clip(picture + noise[:, :, None], 0, 255).astype(np.uint8)


def photograph(x: int, y: int, width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3): part of the photograph of examples/."""
    with Image.open(PHOTOGRAPH) as image:
        return np.asarray(image.convert("RGB").crop((x, y, x + width, y + height)))


def alpha(width: int, height: int) -> np.ndarray:
    """uint8 (height, width): opaque in a disc, fading outside."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    distance = (2 * x - width) ** 2 + (2 * y - height) ** 2
    return np.clip(320 - distance * 256 // (width * height), 0, 255).astype(np.uint8)


def exif(orientation: int) -> bytes:
    """An EXIF block with one entry."""
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><note>golden</note></x:xmpmeta>'


def sources() -> dict[str, tuple[Image.Image, dict]]:
    """name -> (picture, arguments of intaglio.encode)."""
    rgba = np.dstack([landscape(90, 70, 3), alpha(90, 70)])
    with_metadata = Image.fromarray(rgba)
    with_metadata.info |= {"exif": exif(6), "xmp": XMP, "icc_profile": bytes(range(256)) * 2}
    la = np.dstack([landscape(17, 33, 4)[:, :, 1], np.full((33, 17), 128, np.uint8)])
    mask = np.zeros((256, 320), np.uint8)
    mask[64:192, 100:250] = 255
    return {
        "photo": (Image.fromarray(photograph(160, 130, 256, 192)), {"quality": 50}),
        "photo_q0": (Image.fromarray(photograph(200, 100, 150, 100)), {"quality": 0}),
        "photo_q63": (Image.fromarray(photograph(200, 100, 97, 81)), {"quality": 100}),
        "grey": (Image.fromarray(landscape(100, 75, 2)[:, :, 1]), {"quality": 40}),
        "rgba": (with_metadata, {"quality": 60, "realism": 0.25}),
        "la": (Image.fromarray(la), {"quality": 30}),
        "pixel": (Image.fromarray(photograph(300, 300, 1, 1)), {"quality": 50}),
        "tiles": (Image.fromarray(landscape(1100, 1030, 7)), {"quality": 10}),
        "gain": (Image.fromarray(landscape(320, 256, 8)), {"quality": 45, "roi": mask}),
        "blocks": (Image.fromarray(landscape(320, 200, 11)), {"quality": 45, "roi": mask, "seed": 9}),
        "soft": (Image.fromarray(noisy(landscape(320, 200, 11), 12)), {"quality": 45, "roi": mask, "seed": 8}),
        "static": (Image.fromarray(static(130, 66, 9)), {"quality": 100}),
        "grouped": (Image.fromarray(photograph(40, 70, 330, 270)), {"quality": 40}),
        "grouped_gain": (Image.fromarray(landscape(310, 256, 8)), {"quality": 60, "roi": mask}),
        "wide": (Image.fromarray(photograph(10, 30, 270, 330)), {"quality": 45}),
        "wide_gain": (Image.fromarray(landscape(320, 250, 8)), {"quality": 55, "roi": mask}),
        "wide_static": (Image.fromarray(static(66, 130, 9)), {"quality": 100}),
    }


def model_of(name: str) -> str:
    """The golden model that a golden file is of."""
    return next((model for model in ("grouped", "wide") if name.startswith(model)), "tiny")


def error(image: Image.Image, other: Image.Image) -> float:
    """Mean squared error of the colours of two pictures, alpha left out."""
    channels = 1 if image.mode in ("L", "LA") else 3
    a, b = (np.atleast_3d(np.asarray(i))[:, :, :channels].astype(np.float64) for i in (image, other))
    return float(((a - b) ** 2).mean())
