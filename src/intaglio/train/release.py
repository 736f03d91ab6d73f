"""From a trained network to the package that ships: counted tables and a card; later what was measured, for the card.

    python -m intaglio.train.release PACKAGE.itgm [--sources CSV] [--figures JSON] [--realism 0.8] [--note TEXT]
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
from pathlib import Path

from ..errors import BadInput, IntaglioError
from ..nn.codec import LAMBDA_MAX, LAMBDA_MIN, Codec
from ..package import Package
from ..told import ended
from ..writing import write_bytes
from . import calibrate, export, macs
from .data import Photographs

FIDELITY_LIMITS = (
    "Distortion-trained: it invents no detail, and its realism dial is inert (every value decodes alike). "
    "Trained on photographs: text, line art and screenshots cost more bytes than they should. "
    "Not for medical diagnosis or evidence."
)
REALISM_LIMITS = (
    "Not for medical diagnosis or evidence: realism above 0 invents detail, and the less so the more bytes a file has. "
    "Trained on photographs: text, line art and screenshots cost more bytes than they should."
)

ADAPTIVE = 2.0  # steps finer for each halving of a block's variance: docs/decisions/0009-adaptive.md
GRAIN = [16.0, 2.6]  # grey levels: the root of the mean squared error at q 0 and q 63, below which noise is lost


def package(
    codec: Codec, name: str, photographs: Photographs, pictures: int, training: dict, limits: str | None = None,
    recipe: dict | None = None,
) -> Package:
    """Export with tables calibrated on `pictures` crops, and complete the card. limits: None for those of a released
    model, whose dial was trained or not. recipe: what the card says of it, None for the released ones."""
    if limits is None:
        dials = (p for name, p in codec.synthesis.named_parameters() if "dial_" in name)
        limits = REALISM_LIMITS if any(bool(p.any()) for p in dials) else FIDELITY_LIMITS
    tables = calibrate.tables(calibrate.counts(codec, photographs, pictures), codec.levels)
    card = {
        "name": name, "licence": "Apache-2.0", "realism": 0.0,
        # systems of papers are to be measured as they are
        **({} if recipe else {"adaptive": ADAPTIVE, "grain": GRAIN}),
        "recipe": recipe or {"module": "intaglio.recipes", "lambda": [LAMBDA_MIN, LAMBDA_MAX]},
        "training": training, "data": {"photographs": len(photographs.index["entries"])}, "limits": limits,
    }
    result = export.export(codec, card, tables)
    graphs = {key[:-5]: value for key, value in result.members.items() if key.endswith(".onnx")}
    shape = codec.shape
    seen = codec.prior.seen
    result.card["kmac_per_pixel"] = macs.per_pixel(graphs, shape.latents, shape.hyper, shape.prior_width, seen,
                                                  len(shape.hyper_groups))
    return result


def licences(sources: Path) -> dict[str, int]:
    """How many photographs have which licence, from a CSV with a column `licence`, a row a photograph."""
    with sources.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or "licence" not in rows[0]:
        raise BadInput(f"{sources}: has no column `licence`; give a CSV with a row for each photograph")
    return dict(collections.Counter(row["licence"] for row in rows))


def complete(
    old: Package, sources: Path | None, figures: list[Path], realism: float | None, note: str
) -> Package:
    """The same model with more on its card; the fingerprint is of the graphs and tables, so it stays."""
    card = dict(old.card)
    if sources is not None:
        found = licences(sources)
        card["data"] = {"photographs": sum(found.values()), "licences": found}
    for path in figures:
        figures_of = json.loads(path.read_text())
        if not isinstance(figures_of, dict):
            raise BadInput(f"{path}: is no JSON object; give figures by name")
        card["figures"] = {**card.get("figures", {}), **figures_of}
    if realism is not None:
        if not 0 <= realism <= 1:
            raise BadInput(f"--realism {realism}: the dial goes from 0 to 1")
        card["realism"] = realism
    if note:
        card["training"] = {**card.get("training", {}), "note": note}
    return Package(card, old.members)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("package", type=Path)
    p.add_argument("--sources", type=Path, help="CSV with a column `licence`, a row a photograph")
    p.add_argument("--figures", type=Path, action="append", default=[], help="JSON object of measured figures")
    p.add_argument("--realism", type=float, help="the default of the dial, 0 to 1")
    p.add_argument("--note", default="", help="how it was trained")
    a = p.parse_args()
    try:
        result = complete(Package.read(a.package), a.sources, a.figures, a.realism, a.note)
        data = result.to_bytes()
        Package.from_bytes(data, str(a.package))  # a card that nothing would read again is not written
        write_bytes(a.package, data)
    except (IntaglioError, OSError, ValueError) as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    ended(main)
