"""One entropy tile: latents <-> bytes, with the prior between them. The one place that knows the order of the symbols.

    LEB128 K | the residual coder's bytes (entropy.py)

K: channels K.. have only zero residuals in this tile, and none is coded for them. Coding order: z (channel by channel,
row by row), then the passes of the card, each its channels below K at the positions of its parity, row by row.

A model of a finite alphabet codes nothing beyond it, its means are 0, and a tile that the prior would make larger than
log2 of the alphabet for each latent is written plainly: LEB128 M + 1 | the kept latents, channel by channel (plain.py).

Where only some areas of a picture are kept (`kept`), the positions outside are left out of every group: for z those
whose 4x4 latents are all outside. They are zero for the prior and for the synthesis.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import plain
from .entropy import LIMIT, TOTAL, Tables, TileReader, TileWriter
from .errors import CorruptFile
from .runtime import Runtime
from .varint import get_varint, put_varint

Kept = NDArray[np.bool_] | None
NOTHING = b"\0\0"  # the payload of a tile of which nothing is kept

MEAN_UNIT = 16  # means, and decoded latents on the way, are whole sixteenths

# Rate-distortion optimised quantisation, encoder only: a residual is rounded up only where the distortion it saves (in
# squared steps) outweighs its bits / RD_WEIGHT, and never shifted by more than RD_CAP. The released decoder and tables
# have learnt on such latents (nn/prior.py); a lighter and a heavier weight gave less on training photographs, and to
# decoders trained on plainly rounded ones it is worth next to nothing (docs/log.md).
RD_WEIGHT, RD_CAP = 20.0, 0.3
RD_LEVELS = 8  # magnitudes from here on are rounded plainly


class TileCoder:
    """Codes the tiles of one file. Shapes: latents (1, M, h, w) with h and w multiples of 4; q (h/4, w/4) in 0..63;
    kept: bool (h, w), the latents that are coded, or None for all."""

    def __init__(self, runtime: Runtime):
        self.runtime = runtime
        card, tables = runtime.package.card, runtime.package.tables
        self.latents: int = card["latents"]
        self.passes: list[tuple[int, int, int]] = [tuple(p) for p in card["passes"]]
        self.seen: list[int] = card["seen"]
        self.steps: int = card["steps"]
        self.levels: int = card.get("levels", 0)
        self.gains: NDArray[np.float32] = tables["gains"]
        self.hyper_index: NDArray[np.uint8] = tables["hyper_index"]
        self.thresholds = rounding_thresholds(runtime.tables)
        if card.get("rounding") == "nearest":  # a system that is to be what its paper says
            self.thresholds = np.full_like(self.thresholds, 0.5)

    def gain(self, q: NDArray[np.integer]) -> NDArray[np.float32]:
        """Gains (1, M, h, w) of a q map; (1, M, 1, 1) where it is all one step."""
        if (q == q.flat[0]).all():
            return self.gains[q.flat[0]][None, :, None, None]
        return np.repeat(np.repeat(self.gains[q].transpose(2, 0, 1), 4, 1), 4, 2)[None]

    def _features(self, z: NDArray[np.int32], q: NDArray[np.integer]) -> NDArray[np.float32]:
        clamped = np.clip(z, -128, 127).astype(np.float32)[None]
        return self.runtime.features(clamped, (2 * q - (self.steps - 1)).astype(np.float32)[None, None])

    def _hyper_indices(self, q: NDArray[np.integer], kept: Kept = None) -> NDArray[np.uint8]:
        return self.hyper_index[q].transpose(2, 0, 1)[:, _blocks(q, kept)].ravel()

    def residuals(
        self, y: NDArray[np.float32], q: NDArray[np.integer], kept: Kept = None
    ) -> Iterator[tuple[int, NDArray, NDArray]]:
        """The encoder's groups in coding order: (first channel, residuals, scale indices), the first one being z with
        channel -1 and flat arrays, the others (channels, positions). Channels are not yet cut to K."""
        _, m, h, w = y.shape
        y = y * self.gain(q)
        if self.levels:
            y = np.clip(np.floor(y + 0.5), -(self.levels // 2), self.levels // 2)
        if kept is not None:
            y = y * kept  # what is not coded must not show in the hyper-latents beside it
        z_real = self.runtime.hyper(y, (q / np.float32(self.steps - 1)).astype(np.float32)[None, None])
        blocks = _blocks(q, kept)
        z = np.clip(np.floor(z_real[0] + 0.5), -LIMIT, LIMIT).astype(np.int32) * blocks
        yield -1, z[:, blocks].ravel(), self._hyper_indices(q, kept)
        features = self._features(z, q)
        y16 = np.zeros((m, h * w), np.float32)
        flat = y.reshape(m, h * w)
        for k, ((first, end, parity), seen) in enumerate(zip(self.passes, self.seen, strict=True)):
            mean16, index = self._prior(k, features, y16[:seen].reshape(1, seen, h, w) if seen else None)
            at = positions(h, w, parity, kept)
            mean = np.take(mean16.reshape(end - first, -1), at, 1)
            scale = np.take(index.reshape(end - first, -1), at, 1)
            r = self._quantise(np.take(flat[first:end], at, 1) - mean * (1 / MEAN_UNIT), scale)
            y16[first:end, at] = r * MEAN_UNIT + mean
            yield first, r.astype(np.int32), scale

    def _prior(
        self, k: int, features: NDArray[np.float32], y16: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        mean16, index = self.runtime.prior(k, features, y16)
        return np.zeros_like(mean16) if self.levels else mean16, index

    def _quantise(self, v: NDArray[np.floating], scale: NDArray[np.uint8]) -> NDArray[np.floating]:
        """Residuals as whole numbers in float32, each magnitude rounded at the threshold of its scale and level."""
        if self.levels:  # they are whole already
            return v
        magnitude = np.abs(v)
        level = np.floor(magnitude)
        threshold = self.thresholds[scale, np.minimum(level, RD_LEVELS).astype(np.uint8)]
        level += magnitude - level > threshold
        return np.copysign(np.minimum(level, LIMIT), v)

    def encode(self, y: NDArray[np.float32], q: NDArray[np.integer], kept: Kept = None) -> bytes:
        """The payload of one tile. y: analysis output without gain, float32."""
        if kept is not None and not kept.any():
            return NOTHING
        groups = list(self.residuals(y, q, kept))
        active = 0
        for first, r, _ in groups[1:]:
            used = np.flatnonzero(r.any(1))
            if len(used):
                active = max(active, first + int(used[-1]) + 1)
        writer = TileWriter(self.runtime.tables)
        for first, r, index in groups:
            if first >= 0:
                count = max(0, active - first)
                r, index = r[:count].ravel(), index[:count].ravel()
            writer.put(r, index)
        data = put_varint(active) + writer.finish()
        return min(data, self._plainly(groups[1:], kept, *y.shape[2:]), key=len) if self.levels else data

    def _plainly(self, groups: list[tuple[int, NDArray, NDArray]], kept: Kept, h: int, w: int) -> bytes:
        symbols = np.zeros((self.latents, h * w), np.int32)
        for (first, end, parity), (_, r, _) in zip(self.passes, groups, strict=True):
            symbols[first:end, positions(h, w, parity, kept)] = r
        symbols = symbols if kept is None else symbols[:, kept.ravel()]
        return put_varint(self.latents + 1) + plain.encode(symbols.ravel(), self.levels)

    def decode(self, data: bytes, q: NDArray[np.integer], kept: Kept = None) -> NDArray[np.float32]:
        """Latents without gain (1, M, h, w), ready for synthesis, 0 where not kept. Raises CorruptFile."""
        h, w = 4 * q.shape[0], 4 * q.shape[1]
        m = self.latents
        if kept is not None and not kept.any():
            if data != NOTHING:
                raise CorruptFile("it holds symbols where nothing is kept")
            return np.zeros((1, m, h, w), np.float32)
        active, offset = get_varint(data, 0, m + (self.levels > 0), "the channel count of a tile")
        if active > m:
            there = np.ones(h * w, bool) if kept is None else kept.ravel()
            y16 = np.zeros((m, h * w), np.float32)
            y16[:, there] = MEAN_UNIT * plain.decode(data[offset:], m * int(there.sum()), self.levels).reshape(m, -1)
            return self._ungained(y16, q)
        reader = TileReader(self.runtime.tables, data[offset:])
        blocks = _blocks(q, kept)
        index = self._hyper_indices(q, kept)
        z = np.zeros((self.hyper_index.shape[1], *q.shape), np.int32)
        z[:, blocks] = reader.get(index).reshape(len(z), -1)
        features = self._features(z, q)
        y16 = np.zeros((m, h * w), np.float32)
        for k, ((first, end, parity), seen) in enumerate(zip(self.passes, self.seen, strict=True)):
            mean16, index = self._prior(k, features, y16[:seen].reshape(1, seen, h, w) if seen else None)
            at = positions(h, w, parity, kept)
            decoded = np.take(mean16.reshape(end - first, -1), at, 1)
            count = max(0, min(end, active) - first)
            if count:
                r = reader.get(np.take(index.reshape(end - first, -1)[:count], at, 1).ravel())
                if self.levels and len(r) and int(np.abs(r).max()) > self.levels // 2:
                    raise CorruptFile("An entropy-coded tile is damaged: a symbol is not in the model's alphabet.")
                decoded[:count] += np.float32(MEAN_UNIT) * r.reshape(count, -1)
            y16[first:end, at] = decoded
        reader.finish()
        return self._ungained(y16, q)

    def _ungained(self, y16: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.float32]:
        y = y16.reshape(1, self.latents, 4 * q.shape[0], 4 * q.shape[1])
        return y / (np.float32(MEAN_UNIT) * self.gain(q))


@lru_cache(maxsize=8)
def rounding_thresholds(tables: Tables) -> NDArray[np.float32]:
    """(scale, level 0..RD_LEVELS): the fraction above which a magnitude `level + fraction` is rounded up."""
    result = np.full((len(tables), RD_LEVELS + 1), 0.5, np.float32)
    for s, reach in enumerate(tables.reach):
        bits = -np.log2(tables.counts(s)[reach : reach + RD_LEVELS + 1].astype(float) / TOTAL)[: reach + 1]
        extra = np.diff(bits) / (2 * RD_WEIGHT)
        result[s, : len(extra)] += np.clip(extra, 0, RD_CAP)
    return result


def positions(h: int, w: int, parity: int, kept: Kept = None) -> NDArray[np.intp]:
    """Flat positions (row by row) of the checkerboard colour `parity`: (row + column) % 2 == parity; of kept ones."""
    colour = (np.arange(h)[:, None] + np.arange(w)) % 2 == parity
    return np.flatnonzero(colour if kept is None else colour & kept)


def _blocks(q: NDArray[np.integer], kept: Kept) -> NDArray[np.bool_]:
    """Which hyper-latents (h/4, w/4) are coded: those with a kept latent among their 4x4."""
    if kept is None:
        return np.ones(q.shape, bool)
    return np.asarray(kept.reshape(q.shape[0], 4, q.shape[1], 4).any((1, 3)))
