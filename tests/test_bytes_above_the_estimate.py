"""Hazard: the file is larger than the prior says it has to be, so that training optimises something else than size."""

import numpy as np
import pytest
from golden_pictures import landscape, photograph
from PIL import Image

import intaglio
from intaglio.codec import quality_to_q
from intaglio.container import BLOCK
from intaglio.encoder import Encoder
from intaglio.latents import TileCoder
from intaglio.package import Package, released, released_names
from intaglio.pictures import load
from intaglio.reader import Reader
from intaglio.runtime import runtime

PICTURES = {
    "photograph": lambda: photograph(0, 0, 576, 576),
    "small photograph": lambda: photograph(200, 150, 131, 77),
    "landscape of two tiles": lambda: landscape(1090, 300, 5),
}


@pytest.mark.parametrize("model", ["tiny", *released_names()])
@pytest.mark.parametrize("quality", [0, 30, 60, 100])
@pytest.mark.parametrize("name", PICTURES)
def test_a_file_is_within_a_percent_of_the_estimate(tiny_model, model, quality, name):
    package = Package.read(tiny_model) if model == "tiny" else released(model)
    image = Image.fromarray(PICTURES[name]())
    data = intaglio.encode(image, quality=quality, tune="psnr", model=package)  # one step: no map
    bits, tiles = estimate(image, quality_to_q(quality), package)
    with Reader(data) as reader:
        assert reader.header.tiles == tiles
        fixed = len(data) - sum(len(reader.tile(i)) for i in range(tiles))
    # a tile has its channel count, the length of its escapes, the checksum, and up to a word and a byte of rounding
    assert fixed + 16 <= 64 + 32 * (tiles - 1)
    assert bits / 8 <= len(data) <= 1.01 * bits / 8 + 64 + 32 * (tiles - 1)


def estimate(image, q, package):
    """(ideal bits of all residuals that are coded, tiles)."""
    engine = runtime(package)
    encoder = Encoder(load(image), engine, 0.0, False, lambda share: None)
    coder, bits = TileCoder(engine), 0.0
    for i in range(len(encoder.layout)):
        t = encoder.layout.tile(i).outwards(BLOCK)
        groups = list(coder.residuals(encoder._analyse(i), np.full((t.height, t.width), q)))
        used = [first + np.flatnonzero(r.any(1)) + 1 for first, r, _ in groups if first >= 0]
        active = np.concatenate(used).max(initial=0)
        for first, r, index in groups:
            n = len(r) if first < 0 else max(0, active - first)
            bits += engine.tables.bits(r[:n].ravel(), index[:n].ravel())
    return bits, len(encoder.layout)
