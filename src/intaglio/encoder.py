"""One picture on its way into a file: analysed once, written at any step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from . import adapt, blockmap, container, grain, pictures, refine, search
from . import alpha as alpha_plane
from .areas import Areas
from .container import BLOCK, Header
from .errors import BadInput
from .latents import TileCoder
from .package import WHOLE
from .printing import Printer
from .reader import Reader
from .runtime import Runtime
from .tiles import CELL, Layout, Spill, pixels

TOP = container.MAX_Q

Progress = Callable[[float], None]


class Encoder:
    """One picture, analysed once; `at` writes it at any q and gain map."""

    def __init__(
        self, picture: pictures.Picture, engine: Runtime, realism: float, keep: bool, progress: Progress,
        areas: Areas | None = None, seed: int = 0, eye: bool = False,
    ):
        """eye: spend bits where errors are seen, and tell of grain, as far as the model's card advises."""
        card = engine.package.card
        self._error: list[float] | None = card.get("grain")
        self.picture, self.engine, self.realism = picture, engine, realism
        self._header(0)  # a picture too large for the format is refused before the work
        self.layout = Layout(*picture.image.size)
        for halo in card["halo"].values():
            self.layout.window(self.layout.picture, halo)  # one too large for the model likewise
        self._adaptive = float(card.get("adaptive", 0.0)) if eye else 0.0
        self._busy = adapt.busyness(picture.image, self.layout) if self._adaptive else None
        self._noise = grain.measured(picture.image, self.layout) if self._error and eye else None
        self.coder = TileCoder(engine)
        self.progress = progress
        self._whole: NDArray[np.float32] | None = None  # latents of the whole picture, of a network that sees no less
        self._trials = 0
        self._alpha = self._alpha_records()
        self._areas, self._seed = None if areas is None else areas.pack(), seed
        self._kept = None if areas is None else areas.kept()
        self._latents = Spill() if keep else None
        if self._latents is not None:
            for i in range(len(self.layout)):
                self._latents.append(self._analyse(i))
                progress(0.5 * (i + 1) / len(self.layout))

    def _alpha_records(self) -> list[bytes] | None:
        image = self.picture.image
        if image.mode not in ("LA", "RGBA"):
            return None
        records = []
        for i in range(len(self.layout)):
            box = self.layout.tile(i).common(self.layout.picture)
            records.append(alpha_plane.encode(image.crop((box.x0, box.y0, box.x1, box.y1)).getchannel("A")))
            self.progress(0.0)  # nothing yet, but who is told may want to stop us
        return records

    def _analyse(self, i: int) -> NDArray[np.float32]:
        """Latents of tile i (1, M, h, w), computed with a halo from the neighbours."""
        tile, halo = self.layout.tile(i), self.engine.package.card["halo"]["analysis"]
        box = self.layout.window(tile, halo)
        y = self.engine.analysis(pixels(self.picture.image, box)) if self._whole is None else self._whole
        if halo == WHOLE:
            self._whole = y
        x0, y0 = (tile.x0 - box.x0) // CELL, (tile.y0 - box.y0) // CELL
        return y[:, :, y0 : y0 + tile.height // CELL, x0 : x0 + tile.width // CELL]

    def _header(self, q: int) -> Header:
        image = self.picture.image
        return Header(*image.size, image.mode, q, self.realism, self.engine.package.plain)

    def frame(self, q: int, tiles: list[bytes], qmap: NDArray[np.int8] | None) -> bytes:
        """The file around given tiles."""
        return self._pack(self._header(q), tiles, qmap, None)

    def _pack(
        self, header: Header, tiles: list[bytes], qmap: NDArray[np.int8] | None, on: NDArray[np.bool_] | None
    ) -> bytes:
        p, lost = self.picture, None
        if self._noise is not None and self._error is not None:
            steps = np.full(header.blocks, header.q, np.int64) + (np.int64(0) if qmap is None else qmap)
            lost = grain.levels(self._noise, self._error, steps, TOP)
        return container.pack(
            header, tiles, qmap=qmap, grain=lost, refined=on, areas=self._areas, seed=self._seed, icc=p.icc,
            exif=p.exif, xmp=p.xmp, alpha=self._alpha,
        )

    def at(self, q: int, qmap: NDArray[np.int8] | None = None, lift: float = 0.0) -> bytes:
        """The whole file at base step q. With `qmap`, offsets for each 64x64 block, q may leave 0..63: the sums are
        clipped, so that from a low or high enough base every block is at 0 or 63. Offsets for what the eye sees, where
        the encoder adapts, come on top, and with them a lift of 0 .. 1 steps."""
        blocks = self.layout.padded.outwards(BLOCK)
        steps = np.full((blocks.height, blocks.width), q)
        q = min(max(q, 0), TOP)
        if qmap is not None:
            steps += qmap
        if self._busy is not None:
            steps += adapt.offsets(self._busy, self._adaptive, q, lift)
        steps = np.clip(steps, 0, TOP)
        qmap = (steps - q).astype(np.int8)
        tiles = []
        for i in range(len(self.layout)):
            t = self.layout.tile(i).outwards(BLOCK)
            y = self._analyse(i) if self._latents is None else self._latents[i]
            c = self.layout.tile(i).outwards(CELL)
            kept = None if self._kept is None else self._kept[c.y0 : c.y1, c.x0 : c.x1]
            tiles.append(self.coder.encode(y, steps[t.y0 : t.y1, t.x0 : t.x1], kept))
            share = (i + 1) / len(self.layout)
            if self._latents is not None:  # a search, of which the analysis was the first half
                share = min(1.0, 0.5 + 0.5 * (self._trials + share) / search.TRIALS)
            self.progress(share)
        self._trials += 1
        return self.frame(q, tiles, qmap)

    def within(self, limit: int, qmap: NDArray[np.int8] | None = None) -> bytes:
        """The file of the largest step, or part of one where the encoder adapts, that has at most `limit` bytes, and
        room for switches where refining pays. BadInput where no step is small enough."""
        if self.room:
            with contextlib.suppress(BadInput):  # there may be no room, but for the bare file
                data = self._largest(limit - self.room, qmap)
                refined = self.refined(data, limit)
                if refined is not data:
                    return refined
        return self._largest(limit, qmap)

    def _largest(self, limit: int, qmap: NDArray[np.int8] | None) -> bytes:
        low, high = (0, TOP) if qmap is None else (-int(qmap.max()), TOP - int(qmap.min()))
        parts = 1 if self._busy is None else search.PARTS
        span = parts * low, parts * high
        return search.largest(lambda n: self.at(n // parts, qmap, n % parts / parts), limit, *span, parts)

    @property
    def room(self) -> int:
        """Bytes that switches of a refinement may add to a file; 0 where the model has none."""
        if not self.engine.package.refined:
            return 0
        return container.FRAME + blockmap.limit(*self._header(0).blocks)

    def refined(self, data: bytes, limit: int | None = None) -> bytes:
        """A file of `at`, of at most `limit` bytes, with the model's refinement, if it has one, switched on where that
        lowers the squared error of what it decodes to (at its own realism) by more than the switches are worth."""
        package, picture = self.engine.package, self.layout.picture
        if not package.refined:
            return data
        with Reader(data, max_pixels=picture.width * picture.height) as reader:
            header, order = reader.header, self.layout.touched(picture)
            printer = Printer(reader, self.engine, order)
            error, gain = np.zeros((2, *header.blocks), np.int64)
            for i in order:
                part = self.layout.tile(i).common(picture)
                source = pixels(self.picture.image, part)[0]
                plain, better = (np.atleast_3d(np.asarray(p)) for p in printer.both(i, part, header.realism))
                refine.note(source[:, :, : plain.shape[2]], plain, better, part, error, gain)
                self.progress(1.0)
            on = refine.choose(error, gain, len(data))
            if on is None:
                return data
            tiles = [reader.tile(i) for i in range(len(self.layout))]
            header = replace(header, fingerprint=package.fingerprint)
            longer = self._pack(header, tiles, reader.qmap, on)
        return data if limit is not None and len(longer) > limit else longer
