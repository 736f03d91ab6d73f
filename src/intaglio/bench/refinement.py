"""What a refinement is worth: how many blocks switch it on, and what is left of the gain after the switches' bits.

    python -m intaglio.bench.refinement PACKAGE.itgm [MORE.itgm] --data DIR [--bpp 0.14,0.3,0.45] [--pictures N]

For every package and rate: the bytes of the plain file, the share of 64x64 blocks that are refined, the bytes that this
costs, the mean MSE, PSNR and SSIM without and with it, and the mean net gain: the decibels won, less those that as many
more bytes would have brought anyway (3 dB for twice the bytes, as intaglio.refine.choose counts them). All of it
before grain, which a decoder adds to what it has refined. The pictures must not be those of the training.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .. import codec as itg
from .. import search
from ..container import MAX_Q
from ..errors import BadInput, IntaglioError
from ..metrics import fidelity
from ..package import Package, resolve
from ..pictures import load
from ..reader import Reader
from ..runtime import runtime
from ..told import ended
from . import data, summary

BPP = (0.14, 0.3, 0.45)  # low, medium and high
LEAST = 11  # pixels of a side that SSIM needs


@dataclass(frozen=True)
class Gain:
    """Means over pictures. size and bpp: of the plain file; bytes: that the switches add; share: of blocks that are
    refined."""

    package: str
    size: float  # bytes
    bpp: float
    share: float
    bytes: float
    mse: float
    mse_refined: float
    psnr: float
    psnr_refined: float
    ssim: float
    ssim_refined: float
    net: float  # decibels


def _psnr(mse: float) -> float:
    return 10 * math.log10(255**2 / max(mse, 1e-9))


class Sheet:
    """Pictures that several refinements of one model are measured on; each is coded once a rate."""

    def __init__(self, pictures: Iterable[Image.Image], threads: int | None = None):
        self._pictures, self._threads = list(pictures), threads
        self._plain: dict[tuple[bytes, float, int], bytes] = {}
        if not self._pictures:
            raise BadInput("there is no picture to measure a refinement on")
        for image in self._pictures:
            if min(image.size) < LEAST:
                raise BadInput(f"a picture of {image.width} x {image.height} pixels is too small for SSIM; leave out "
                               f"those with a side below {LEAST}")

    def gain(self, package: Package, bpp: float) -> Gain:
        """The mean over the pictures, each at the largest file of at most `bpp`. BadInput without a refinement."""
        if not package.refined:
            raise BadInput(f"{package.name} has no refinement; give it one with intaglio train hific-xgb --warm")
        package = package.grainless()
        engine, realism = runtime(package, "cpu", self._threads), float(package.card.get("realism", 0.0))
        rows = []
        for i, image in enumerate(self._pictures):
            key, pixels = (package.plain, bpp, i), image.width * image.height
            encoder = itg.Encoder(load(image), engine, realism, key not in self._plain, lambda share: None)
            if key not in self._plain:
                self._plain[key] = search.largest(encoder.at, int(bpp * pixels / 8), 0, MAX_Q)
            plain = self._plain[key]
            refined = encoder.refined(plain)
            (before, ssim), (after, ssim_refined) = (self._fidelity(f, package, image) for f in (plain, refined))
            with Reader(refined) as reader:
                on = 0.0 if reader.refined is None else float(np.mean(reader.refined))
            paid = 10 * math.log10(len(refined) / len(plain))
            rows.append((len(plain), 8 * len(plain) / pixels, on, len(refined) - len(plain), before, after,
                         _psnr(before), _psnr(after), ssim, ssim_refined, _psnr(after) - _psnr(before) - paid))
        return Gain(package.name, *np.mean(rows, 0).tolist())

    def _fidelity(self, file: bytes, package: Package, image: Image.Image) -> tuple[float, float]:
        """MSE and SSIM."""
        a, b = np.asarray(image), np.asarray(itg.decode(file, model=package, threads=self._threads))
        return fidelity.mse(a, b), fidelity.ssim(a, b)


HEAD = ("package", "bytes", "bpp", "blocks on", "bytes more", "MSE", "refined", "PSNR", "refined", "SSIM", "refined",
        "net gain")


def row(g: Gain) -> str:
    """A row of the table under HEAD, as Markdown."""
    cells = [g.package, f"{g.size:.0f}", f"{g.bpp:.3f}", f"{g.share:.1%}", f"{g.bytes:.1f}", summary.shown(g.mse),
             summary.shown(g.mse_refined), f"{g.psnr:.2f}", f"{g.psnr_refined:.2f}", f"{g.ssim:.4f}",
             f"{g.ssim_refined:.4f}", f"{g.net:+.3f} dB"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("packages", nargs="+", metavar="PACKAGE")
    p.add_argument("--data", required=True, help="folder of pictures")
    p.add_argument("--bpp", default=",".join(map(str, BPP)), help="rates, separated by commas")
    p.add_argument("--pictures", type=int, default=None, help="only so many, evenly chosen")
    p.add_argument("--threads", type=int, default=None)
    a = p.parse_args()
    try:
        rates = [float(word) for word in a.bpp.split(",")]
    except ValueError:
        p.exit(1, f"{p.prog}: --bpp {a.bpp}: give bits per pixel, separated by commas\n")
    if a.pictures is not None and a.pictures < 1:
        p.exit(1, f"{p.prog}: --pictures {a.pictures}: give 1 or more\n")
    try:
        found = data.chosen([a.data])
        step = max(1, len(found) // (a.pictures or len(found) or 1))
        sheet = Sheet([data.load(picture) for picture in found[::step][: a.pictures]], a.threads)
        packages = [resolve(name) for name in a.packages]
        print("| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|", sep="\n", flush=True)
        for bpp in rates:
            for package in packages:
                print(row(sheet.gain(package, bpp)), flush=True)
    except IntaglioError as error:
        p.exit(1, f"{p.prog}: {error}\n")


if __name__ == "__main__":
    ended(main)
