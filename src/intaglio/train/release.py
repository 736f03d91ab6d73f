"""From a checkpoint to the package that ships: calibrated tables, the card, and later the measured figures.

    python -m intaglio.train.release package CHECKPOINT --pack out/train --sources CSV --out NAME.itgm
    python -m intaglio.train.release figures NAME.itgm KODAK.json
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
from pathlib import Path

import torch

from ..nn.codec import LAMBDA_MAX, LAMBDA_MIN, Codec
from ..nn.transforms import Shape
from ..package import Package
from ..writing import write_bytes
from . import calibrate, export, macs
from .data import Crops

LIMITS = (
    "Distortion-trained: it invents no detail, and its realism dial is inert (every value decodes alike). "
    "Trained on photographs: text, line art and screenshots cost more bytes than they should. "
    "Not for medical diagnosis or evidence."
)


def load(checkpoint: Path) -> tuple[Codec, dict]:
    """The network of a checkpoint, and the rest of what it holds."""
    state = torch.load(checkpoint, weights_only=True)
    codec = Codec(Shape(**state["shape"]))
    codec.load_state_dict(state["codec"])
    return codec.eval(), state


def package(codec: Codec, name: str, crops: Crops, pictures: int, training: dict, licences: dict[str, int]) -> Package:
    """Export with tables calibrated on `pictures` crops, and complete the card."""
    tables = calibrate.tables(calibrate.counts(codec, crops, pictures))
    card = {
        "name": name, "licence": "Apache-2.0", "realism": 0.0,
        "recipe": {"module": "intaglio.recipes.intaglio1", "lambda": [LAMBDA_MIN, LAMBDA_MAX]},
        "training": training, "data": {"photographs": sum(licences.values()), "licences": licences}, "limits": LIMITS,
    }
    result = export.export(codec, card, tables)
    graphs = {key[:-5]: value for key, value in result.members.items() if key.endswith(".onnx")}
    shape = codec.shape
    seen = codec.prior.seen
    result.card["kmac_per_pixel"] = macs.per_pixel(graphs, shape.latents, shape.hyper, shape.prior_width, seen)
    return result


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = p.add_subparsers(dest="command", required=True)
    make = commands.add_parser("package")
    make.add_argument("checkpoint", type=Path)
    make.add_argument("--pack", type=Path, required=True, help="photographs packed by intaglio.train.data.pack")
    make.add_argument("--sources", type=Path, help="CSV with a column `licence`, a row a photograph")
    make.add_argument("--name", default="intaglio1-small")
    make.add_argument("--note", default="", help="how it was trained, for the card")
    make.add_argument("--pictures", type=int, default=640, help="crops that the tables are calibrated on")
    make.add_argument("--out", type=Path, required=True)
    figures = commands.add_parser("figures")
    figures.add_argument("package", type=Path)
    figures.add_argument("json", type=Path, help="what `python -m intaglio.bench.kodak --json` wrote")
    a = p.parse_args()
    if a.command == "figures":
        old = Package.read(a.package)
        measured = json.loads(a.json.read_text())
        rows = [{k: round(v, 4) for k, v in row.items()} for row in measured["curves"]["intaglio"]]
        card = {**old.card, "figures": {"pictures": measured["pictures"], "rows": rows, "bd_rate": measured["bd_rate"]}}
        write_bytes(a.package, Package(card, old.members).to_bytes())
        return
    codec, state = load(a.checkpoint)
    licences: dict[str, int] = {}
    if a.sources:
        with a.sources.open(newline="") as file:
            licences = dict(collections.Counter(row["licence"] for row in csv.DictReader(file)))
    training = {"pixels": state["pixels"], "steps": state["step"], "note": a.note}
    result = package(codec, a.name, Crops(a.pack, 256, 7), a.pictures, training, licences)
    write_bytes(a.out, result.to_bytes())
    print(f"{a.out}: {len(result.to_bytes()) / 1e6:.2f} MB, fingerprint {result.card['fingerprint']}")


if __name__ == "__main__":
    main()
