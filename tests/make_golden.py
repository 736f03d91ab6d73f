"""Makes tests/golden: the tiny frozen model, files written with it, and the checksums of their residuals.

    python tests/make_golden.py model --pack out/train    # trains tiny.itgm on a pack of intaglio.train.data
    python tests/make_golden.py wide                      # wide.itgm, of grouped.itgm's weights
    python tests/make_golden.py files                     # writes the *.itg that are not there, and golden.json

Run it only when the format's version changes. Until then what lies in tests/golden must decode to the recorded
checksums for ever: a run that changes them hides the break that they are there to show. tiny.itgm has a static prior of
hyper-latents, and grouped.itgm, tiny.itgm with groups of them, activations of eight bits: neither can be made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / "src"), str(Path(__file__).parent)]

GOLDEN = Path(__file__).parent / "golden"
REACH = 40  # of the tiny model's tables: short ones keep it small, and let escapes happen


def short_tables():
    """The released Gaussian tables, cut to at most REACH; the escape gets what lies beyond."""
    import torch

    from intaglio.entropy import Tables, gaussian_tables
    from intaglio.nn.prior import SCALES, sigma

    full = gaussian_tables(sigma(torch.arange(SCALES, dtype=torch.float64)).tolist())
    pmf = []
    for s in range(len(full)):
        counts, reach = full.counts(s), int(full.reach[s])
        cut = max(0, reach - REACH)
        kept = counts[cut : 2 * reach + 1 - cut]
        pmf.append(np.append(kept, (1 << 24) - kept.sum(dtype=np.int64)))
    return Tables(pmf)


def train(pack: Path, steps: int):
    """A network small enough to be committed, trained long enough for its probabilities to mean something."""
    import tempfile
    from dataclasses import dataclass

    from intaglio.nn.transforms import Shape
    from intaglio.recipes.intaglio1 import Intaglio1
    from intaglio.train.data import Photographs
    from intaglio.train.loop import Options, Trainer

    shape = Shape(width=16, latents=24, hyper=8, hyper_groups=(), hyper_width=12, prior_width=16, prior_low=8,
                  prior_blocks=1, analysis_blocks=(1, 1), synthesis_blocks=(1, 1))

    @dataclass(frozen=True)
    class Golden(Intaglio1):
        def start(self, network, photographs, seed):
            """Random weights: the KLT needs a width of 192."""

    recipe = Golden("golden", shape=shape, crop=128, rate=5e-3, warm_up=steps // 10)
    with tempfile.TemporaryDirectory() as run:
        trainer = Trainer(recipe, Photographs(pack), Options(Path(run), steps=steps, seed=1))
        trainer.run()
        return trainer.averaged()


def make_model(pack: Path, steps: int) -> None:
    """Train and write tiny.itgm."""
    from intaglio.train.export import export

    card = {
        "name": "tiny",
        "purpose": "tests only: frozen with the format's version 1, so that golden files stay decodable",
        "data": f"{steps} steps of 8 crops of 128 x 128 from the training photographs",
    }
    package = export(train(pack, steps), card, short_tables())
    data = package.to_bytes()
    (GOLDEN / "tiny.itgm").write_bytes(data)
    print({name: len(member) for name, member in package.members.items()}, len(data), package.fingerprint.hex())


def make_wide() -> None:
    """Write wide.itgm: grouped.itgm, the activations of its prior of as many bits as are trained with now."""
    from intaglio.nn.codec import Codec
    from intaglio.nn.quantised import BITS
    from intaglio.package import Package
    from intaglio.train import warm
    from intaglio.train.export import halves, integers
    from intaglio.train.prior_graphs import compiled

    package = Package.read(GOLDEN / "grouped.itgm")
    prior = Codec(warm.shape_of(package)).prior
    prior.load_state_dict(warm.prior_state(package, prior))
    graphs = {name.removesuffix(".onnx"): d for name, d in package.members.items() if name.endswith(".onnx")}
    graphs |= {name: halves(model) for name, model in compiled(prior).items()}
    card = {**package.card, "name": "wide", "activations": BITS,
            "purpose": f"tests only: grouped.itgm, its prior's activations of {BITS} bits"}
    made = Package.assemble(card, graphs, package.tables, integers(prior))
    (GOLDEN / "wide.itgm").write_bytes(made.to_bytes())


def limits(package: Any) -> bytes:
    """A file whose residuals reach +-2^20: such latents come from no picture, but a file may hold them."""
    from intaglio.container import Header, pack
    from intaglio.latents import TileCoder
    from intaglio.runtime import Runtime

    rng = np.random.default_rng(5)
    coder = TileCoder(Runtime(package))
    size = (1, coder.latents, 8, 12)
    y = rng.normal(0, 1, size) * 10.0 ** rng.uniform(-3, 7, size)
    header = Header(190, 100, "RGB", 20, 0.0, package.fingerprint)
    return pack(header, [coder.encode(y.astype(np.float32), np.full((2, 3), header.q))])


def record(data: bytes, name: str) -> dict:
    """What is written down of a file: for every tile, CRC-32 of its coded residuals (int32, little-endian, in coding
    order) and of its latents in sixteenths (int32, little-endian; channel by channel, row by row). `crc` is that of the
    whole file; `error` the mean squared error of the decoded picture, which may differ a little between machines.
    name: of the model."""
    import reference_file
    import reference_prior

    file, model = reference_file.parse(data), reference_prior.Model(GOLDEN / f"{name}.itgm")
    tiles = []
    for i, payload in enumerate(file.tiles):
        groups, y16 = reference_prior.decode_tile(model, payload, file.tile_steps(i))
        tiles.append({"residuals": crc(np.concatenate(groups)), "latents": crc(y16)})
    return {"crc": zlib.crc32(data), "tiles": tiles}


def crc(values: np.ndarray) -> int:
    return zlib.crc32(values.astype("<i4").tobytes())


def make_files() -> None:
    """Write the golden files that golden.json does not know yet, with records, and see that intaglio decodes them."""
    import golden_pictures
    from golden_pictures import model_of

    import intaglio
    from intaglio.package import Package

    packages = {name: Package.read(GOLDEN / f"{name}.itgm") for name in ("tiny", "grouped", "wide")}
    path = GOLDEN / "golden.json"
    records = json.loads(path.read_text()) if path.exists() else {}
    pictures = {name: made for name, made in golden_pictures.sources().items() if name not in records}
    files = {}
    for name, (image, arguments) in pictures.items():
        model = packages[model_of(name)]
        if name in ("blocks", "soft"):  # the ones that tell of grain; blocks is white, which is no longer written
            model = replace(model, card={**model.card, "grain": [20.0, 2.0]})
        files[name] = intaglio.encode(image, model=model, **arguments)
    if "limits" not in records:
        files["limits"] = limits(packages["tiny"])
    for name, data in files.items():
        (GOLDEN / f"{name}.itg").write_bytes(data)
        records[name] = record(data, model_of(name))
        image = intaglio.decode(data, model=packages[model_of(name)])
        print(f"{name:12s} {len(data):7d} bytes  {image.mode} {image.size}")
        if name in pictures:
            records[name]["error"] = round(golden_pictures.error(image, pictures[name][0]), 3)
    path.write_text(json.dumps(records, indent=1) + "\n")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["model", "wide", "files"])
    p.add_argument("--pack", type=Path, default=Path("out/train"))
    p.add_argument("--steps", type=int, default=700)
    a = p.parse_args()
    GOLDEN.mkdir(exist_ok=True)
    if a.what == "model":
        make_model(a.pack, a.steps)
    elif a.what == "wide":
        make_wide()
    else:
        make_files()


if __name__ == "__main__":
    main()
