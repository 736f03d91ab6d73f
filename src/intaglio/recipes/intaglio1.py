"""The released model: one network for every rate. Two sizes by the same code.

Pixel-unshuffle by 8, depthwise-separable residual blocks at 1/8 and 1/16, 320 latent channels at 1/16, 64 hyper-latent
channels at 1/64, an 8-bit integer prior of four parallel passes, pixel-shuffle out; local operations only, so that
pictures of any size decode in strips. Multiplications for each pixel (analysis, synthesis): small at most 10 and 12
thousand, full at most 30 and 40 thousand. 320 latents keep 45.7 dB of a photograph's linear transform (256 keep 41.5,
192 keep 37.4, mean over Kodak), so the latent width is no ceiling at the highest rates.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..nn.transforms import Shape

SMALL = Shape()
FULL = Shape(width=256, analysis_blocks=(5, 2), synthesis_blocks=(7, 2))


@dataclass(frozen=True)
class Intaglio1:
    """Stage 1, fidelity: rate + lambda(q) MSE, q drawn evenly from 0..63 for each picture."""

    name: str = "intaglio1-small"
    shape: Shape = SMALL
    crop: int = 192  # pixels; a multiple of 64
    batch: int = 8
    rate: float = 1e-3  # Adam's largest, after 200 steps of warm-up; cosine to zero
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0  # gradient norm
    mixed: float = 0.1  # share of batches whose q varies by 64x64 block, as a gain map makes it


small = Intaglio1()
full = Intaglio1("intaglio1", FULL, crop=256, batch=32)
