"""What Huffman coding would cost in the place of arithmetic coding: the lesser of CompressGAN's choices (3.2 C).

    python -m intaglio.bench.huffman PHOTO... [--model PACKAGE] [--quality 50]

The same residuals under the same tables. A Huffman code gives every symbol a whole number of bits, at least one: where
a latent is nearly always zero, which most latents are, it pays a bit for what carries a fraction of one.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codec import quality_to_q
from ..container import BLOCK
from ..encoder import Encoder
from ..entropy import Tables
from ..errors import IntaglioError
from ..latents import TileCoder
from ..package import resolve
from ..pictures import load
from ..runtime import runtime
from ..told import ended


def lengths(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Lengths in bits of the codewords of a Huffman code (Huffman 1952) for symbols of these counts, at least two."""
    heap: list[tuple[int, int, list[int]]] = [(int(n), i, [i]) for i, n in enumerate(counts)]
    heapq.heapify(heap)
    result = np.zeros(len(counts), np.int64)
    while len(heap) > 1:
        (a, first, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        result[left + right] += 1
        heapq.heappush(heap, (a + b, first, left + right))
    return result


def huffman_bits(tables: Tables, symbols: NDArray[Any], index: NDArray[Any]) -> int:
    """Bits of residuals (1-D) under the Huffman codes of the tables that `index` names; escapes cost what they cost in
    the format, a sign and an Exp-Golomb code."""
    total = 0
    for s in np.unique(index):
        reach, mine = int(tables.reach[s]), symbols[index == s]
        outside = np.abs(mine) > reach
        excess = np.abs(mine[outside]) - reach
        total += int(lengths(tables.counts(int(s)))[np.where(outside, 2 * reach + 1, mine + reach)].sum())
        total += int(2 * np.frexp(excess)[1].sum())
    return total


@dataclass
class Cost:
    """Bits of all residuals of a picture: their information, and what Huffman's codes take."""

    ideal: float
    huffman: int
    pixels: int


def cost(image: Any, q: int, model: Any = None) -> Cost:
    """Of a picture at step q, with channels cut as in a file."""
    engine = runtime(resolve(model))
    picture = load(image)
    encoder, coder = Encoder(picture, engine, 0.0, False, lambda share: None), TileCoder(engine)
    found = Cost(0.0, 0, picture.image.width * picture.image.height)
    for i in range(len(encoder.layout)):
        t = encoder.layout.tile(i).outwards(BLOCK)
        groups = list(coder.residuals(encoder._analyse(i), np.full((t.height, t.width), q)))
        used = [first + np.flatnonzero(r.any(1)) + 1 for first, r, _ in groups if first >= 0]
        active = int(np.concatenate(used).max(initial=0))
        for first, r, index in groups:
            n = len(r) if first < 0 else max(0, active - first)
            symbols, tables = r[:n].ravel(), index[:n].ravel()
            found.ideal += engine.tables.bits(symbols, tables)
            found.huffman += huffman_bits(engine.tables, symbols, tables)
    return found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photos", nargs="+")
    p.add_argument("--model")
    p.add_argument("--quality", type=float, default=50)
    a = p.parse_args()
    try:
        print("| picture | arithmetic, bits a pixel | Huffman, bits a pixel | more |\n|---|---|---|---|")
        for photo in a.photos:
            c = cost(photo, quality_to_q(a.quality), a.model)
            bpp = c.ideal / c.pixels, c.huffman / c.pixels
            print(f"| {photo} | {bpp[0]:.4f} | {bpp[1]:.4f} | {bpp[1] / bpp[0] - 1:.0%} |")
    except IntaglioError as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    ended(main)
