"""Pixels out of an open file, box by box: the decoder's order of steps, for the one who shows them and for the encoder
that wants to know what its file decodes to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import areas, grain, refine
from .container import BLOCK, MAX_Q
from .errors import AGAIN, CorruptFile
from .latents import TileCoder
from .package import WHOLE
from .reader import Reader
from .runtime import Runtime
from .tiles import CELL, Box, Latents, Layout


class Printer:
    """An open file and the model that decodes it."""

    def __init__(self, reader: Reader, engine: Runtime, order: Sequence[int]):
        """order: the tiles that will be asked for, as they come."""
        self.reader, self.engine, self.header = reader, engine, reader.header
        self.layout = Layout(self.header.width, self.header.height)
        self._coder = TileCoder(engine)
        self._deviations = None if reader.grain is None else grain.deviations(reader.grain)
        self._whole: tuple[float, NDArray[np.uint8]] | None = None  # realism and pixels, where a model sees no less
        self._latents = Latents(self.layout, self._decode, order)
        self._areas = None if reader.areas is None else areas.unpack(*reader.areas, self.layout)
        self._kept = None if self._areas is None else self._areas.kept()
        known = len(engine.package.card.get("labels", ()))
        if self._areas is not None and int(self._areas.labels.max()) >= known:
            raise CorruptFile(f"the file holds label {self._areas.labels.max()} and its model knows {known}; {AGAIN}")
        if reader.refined is not None and self.header.fingerprint == engine.package.plain:
            raise CorruptFile(f"the file has a REFN chunk and is of a model without a refinement; {AGAIN}")

    def steps(self, blocks: Box) -> NDArray[np.int64]:
        """q of every block of a box of blocks."""
        return self.reader.qmap[blocks.y0 : blocks.y1, blocks.x0 : blocks.x1].astype(np.int64) + self.header.q

    def _decode(self, i: int) -> NDArray[np.float32]:
        payload = self.reader.tile(i)
        try:
            tile = self.layout.tile(i)
            return self._coder.decode(payload, self.steps(tile.outwards(BLOCK)), self._part(tile.outwards(CELL)))
        except CorruptFile as error:
            raise CorruptFile(f"tile {i}: {error}") from None

    def _part(self, latents: Box) -> NDArray[np.bool_] | None:
        """Which latents of a box of them are coded; None for all."""
        return None if self._kept is None else self._kept[latents.y0 : latents.y1, latents.x0 : latents.x1]

    def image(self, i: int, part: Box, realism: float, film: float | None = None) -> Image.Image:
        """Pixels of `part`, which lies in tile i, as an L or RGB image. film: the deviation of an even film grain in
        place of the file's own; None for the file's."""
        on = self.reader.refined
        if on is None:
            rgb = self._synthesise(i, part, realism)
        else:
            around = self._synthesise(i, part.grown(refine.REACH, self.layout.picture), realism)
            rgb = refine.corrected(self.engine, around, part, self.layout.picture, self.steps, on, realism)
        if film is not None:
            rgb = grain.film(rgb, film, part.x0, part.y0, self.reader.seed) if film else rgb
        elif realism and self._deviations is not None:
            rgb = grain.mapped(rgb, realism, self._deviations, part, self.reader.seed, self.reader.soft)
        elif strength := realism * grain.UNIT * self.header.grain:
            rgb = grain.printed(rgb, strength, part.x0, part.y0, self.reader.seed)
        return self.shown(rgb)

    def both(self, i: int, part: Box, realism: float) -> tuple[Image.Image, Image.Image]:
        """`part`, which lies in tile i, without the refinement and with it in all blocks; both without grain."""
        picture = self.layout.picture
        around = part.grown(refine.REACH, picture)
        rgb = self._synthesise(i, around, realism)
        y0, x0 = part.y0 - around.y0, part.x0 - around.x0
        everywhere = np.broadcast_to(np.True_, self.header.blocks)
        return (self.shown(rgb[y0 : y0 + part.height, x0 : x0 + part.width]),
                self.shown(refine.corrected(self.engine, rgb, part, picture, self.steps, everywhere, realism)))

    def shown(self, rgb: NDArray[np.uint8]) -> Image.Image:
        """RGB pixels (h, w, 3) in the file's mode, without its alpha."""
        if self.header.mode in ("L", "LA"):
            return Image.fromarray(refine.grey(rgb).astype(np.uint8))
        return Image.fromarray(np.ascontiguousarray(rgb))

    def _synthesise(self, i: int, part: Box, realism: float) -> NDArray[np.uint8]:
        """RGB pixels (h, w, 3) of `part`, which lies in tile i or a few pixels beyond, as the synthesis gives them."""
        halo = self.engine.package.card["halo"]["synthesis"]
        if halo == WHOLE and self._whole is not None and self._whole[0] == realism:
            return self._whole[1][part.y0 : part.y1, part.x0 : part.x1]
        window = self.layout.window(part.outwards(CELL).times(CELL), halo).outwards(CELL)
        blocks = window.outwards(BLOCK // CELL)
        t = np.repeat(np.repeat(self.steps(blocks), 4, 0), 4, 1)
        y0, x0 = window.y0 - 4 * blocks.y0, window.x0 - 4 * blocks.x0
        t = (t[y0 : y0 + window.height, x0 : x0 + window.width] / np.float32(MAX_Q)).astype(np.float32)
        corner = (CELL * window.x0, CELL * window.y0)
        labels = None if self._areas is None else self._areas.window(window.times(CELL))
        y = self._latents.window(i, window)
        rgb = self.engine.synthesis(y, t[None, None], realism, corner, self._part(window), labels, self.reader.seed)[0]
        if halo == WHOLE:
            self._whole = realism, rgb
        y0, x0 = part.y0 - CELL * window.y0, part.x0 - CELL * window.x0
        return rgb[y0 : y0 + part.height, x0 : x0 + part.width]
