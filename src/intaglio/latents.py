"""One entropy tile: latents <-> bytes, with the prior between them. The one place that knows the order of the symbols.

    LEB128 K | the residual coder's bytes (entropy.py)

K: channels K.. have only zero residuals in this tile, and none is coded for them. Coding order: z, then the passes of
the card, each its channels below K at the positions of its parity, channel by channel, row by row. z goes group by
group of its channels, each in four phases, where the card has `hyper_groups`; else all of it at once, its means 0.

A model of a finite alphabet codes nothing beyond it, its means are 0, and a tile that the prior would make larger than
log2 of the alphabet for each latent is written plainly: LEB128 M + 1 | the kept latents, channel by channel (plain.py).

Where only some areas of a picture are kept (`kept`), the positions outside are left out of every group: for z those
whose 4x4 latents are all outside. They are zero for the prior and for the synthesis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import plain
from .entropy import LIMIT, TOTAL, Tables, TileReader, TileWriter
from .errors import CorruptFile
from .runtime import Runtime
from .varint import get_varint, put_varint

Kept = NDArray[np.bool_] | None
Code = Callable[[int, NDArray, NDArray, NDArray], NDArray]
NOTHING = b"\0\0"  # the payload of a tile of which nothing is kept

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # of the groups of hyper-latents: (row, column) modulo 2
DONE = 64  # how their prior is told of places that are decoded
SCALES = 64  # the tables that a prior may name
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
        self.hyper_ends: list[int] = card.get("hyper_groups", [])
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

    def _features(self, z16: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.float32]:
        clamped = np.clip(z16, -128 * MEAN_UNIT, 127 * MEAN_UNIT) * np.float32(1 / MEAN_UNIT)
        return self.runtime.features(clamped[None], self._condition(q))

    def _condition(self, q: NDArray[np.integer]) -> NDArray[np.float32]:
        return (2 * q - (self.steps - 1)).astype(np.float32)[None, None]

    def _hyper_latents(self, q: NDArray[np.integer], kept: Kept, code: Code) -> NDArray[np.float32]:
        """z in sixteenths (N, h/4, w/4), 0 where none is coded. `code` writes or reads one group: it is given the first
        channel, the places (bool, h/4 x w/4) and, for each channel and place, means in sixteenths and tables, and gives
        the residuals."""
        base, there = self.hyper_index[q].transpose(2, 0, 1), _blocks(q, kept)
        z16 = np.zeros(base.shape, np.float32)
        if not self.hyper_ends:
            z16[:, there] = MEAN_UNIT * code(0, there, z16[:, there], base[:, there])
            return z16
        for k, (first, end) in enumerate(zip([0, *self.hyper_ends], self.hyper_ends, strict=False)):
            done = np.zeros((1, 1, *q.shape), np.float32)
            for row, column in PHASES:
                phase = np.zeros(q.shape, bool)
                phase[row::2, column::2] = True
                at = phase & there
                if at.any():
                    mean, offset = self.runtime.hyper_prior(k, z16[None], self._condition(q), done)
                    mean16 = mean[0][:, at]
                    index = np.clip(base[first:end, at] + offset[0][:, at], 0, SCALES - 1).astype(np.uint8)
                    z16[first:end, at] = MEAN_UNIT * code(first, at, mean16, index) + mean16
                done[0, 0, phase] = DONE
        return z16

    def residuals(
        self, y: NDArray[np.float32], q: NDArray[np.integer], kept: Kept = None
    ) -> Iterator[tuple[int, NDArray, NDArray]]:
        """The encoder's groups in coding order: (first channel, residuals, scale indices), z's first, with channel -1
        and flat arrays, then those of the passes, (channels, positions). Channels are not yet cut to K."""
        _, m, h, w = y.shape
        y = y * self.gain(q)
        if self.levels:
            y = np.clip(np.floor(y + 0.5), -(self.levels // 2), self.levels // 2)
        if kept is not None:
            y = y * kept  # what is not coded must not show in the hyper-latents beside it
        z = self.runtime.hyper(y, (q / np.float32(self.steps - 1)).astype(np.float32)[None, None])[0]
        groups: list[tuple[int, NDArray, NDArray]] = []

        def write(first: int, at: NDArray, mean16: NDArray, index: NDArray) -> NDArray:
            r = np.clip(np.floor(z[first : first + len(index), at] - mean16 / MEAN_UNIT + 0.5), -LIMIT, LIMIT)
            groups.append((-1, r.ravel().astype(np.int32), index.ravel()))
            return r

        features = self._features(self._hyper_latents(q, kept, write), q)
        yield from groups
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
        used = [first + np.flatnonzero(r.any(1)) + 1 for first, r, _ in groups if first >= 0]
        active = int(np.concatenate(used).max(initial=0))
        writer = TileWriter(self.runtime.tables)
        for first, r, index in groups:
            if first >= 0:
                count = max(0, active - first)
                r, index = r[:count].ravel(), index[:count].ravel()
            writer.put(r, index)
        data = put_varint(active) + writer.finish()
        if not self.levels:
            return data
        return min(data, self._plainly([g for g in groups if g[0] >= 0], kept, *y.shape[2:]), key=len)

    def _plainly(self, groups: list[tuple[int, NDArray, NDArray]], kept: Kept, h: int, w: int) -> bytes:
        symbols = np.zeros((self.latents, h * w), np.int32)
        for (first, end, parity), (_, r, _) in zip(self.passes, groups, strict=True):
            symbols[first:end, positions(h, w, parity, kept)] = r
        symbols = symbols if kept is None else symbols[:, kept.ravel()]
        return put_varint(self.latents + 1) + plain.encode(symbols.ravel(), self.levels)

    def decode(self, data: bytes, q: NDArray[np.integer], kept: Kept = None) -> NDArray[np.float32]:
        """Latents without gain (1, M, h, w), ready for synthesis, 0 where not kept. Raises CorruptFile."""
        h, w, m = 4 * q.shape[0], 4 * q.shape[1], self.latents
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

        def read(first: int, at: NDArray, mean16: NDArray, index: NDArray) -> NDArray:
            return reader.get(index.ravel()).reshape(index.shape)

        features = self._features(self._hyper_latents(q, kept, read), q)
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
