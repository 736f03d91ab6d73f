"""What each choice of the released recipes is worth, at a small equal budget of steps: one table.

    python -m intaglio.train.ablate PHOTOS PICTURES --warm MODEL.itgm --steps 300 --out FOLDER [--rows realism,patch]

After the ablation of the high-fidelity paper (normalisation, architectures, training strategy). Rows of `ROWS` train
one after another from the same start and seed. PICTURES are held out. Columns: L = (bits per pixel + lambda MSE) /
sqrt(lambda / 0.0067), mean over q 8, 24, 40, at realism 0 and 1; KID-768 (x1000) at realism 1; the discriminator's
accuracy over the last fifth; CPU seconds of one step. FOLDER/table.md and table.json; rows that are there already are
not trained again, and rows of another budget are refused.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from .. import pictures
from ..errors import BadInput, IntaglioError
from ..metrics.distribution import PATCH, Paired, features, patches
from ..nn.backbones.inception import Inception
from ..nn.codec import Codec, rate_weight
from ..nn.discriminators.global_local import GlobalLocal
from ..nn.discriminators.multiscale import MultiScale
from ..nn.discriminators.patch import Patch
from ..nn.discriminators.projected import Projected
from ..nn.discriminators.unet import UNet
from ..nn.transforms import Shape
from ..recipes import intaglio1, realism1
from ..told import ended
from ..writing import write_bytes
from . import numbers
from .data import Photographs
from .loop import Options, Trainer
from .packs import prepare

QS = (8.0, 24.0, 40.0)


@dataclasses.dataclass(frozen=True)
class RandomStart(intaglio1.Intaglio1):
    """Stage 1 without the KLT."""

    def start(self, network: Codec, photographs: Photographs, seed: int) -> None:
        """Torch's own initial weights."""


REALISM = dataclasses.replace(realism1.small, head_start=50, warm_up=50)
FIDELITY = dataclasses.replace(intaglio1.small, warm_up=50)


def _judged_by(kind: Callable[..., torch.nn.Module], **options: object) -> realism1.Realism1:
    return dataclasses.replace(REALISM, critic=lambda latents: kind(latents=latents, **options))


# name: (group, recipe)
ROWS: dict[str, tuple[str, intaglio1.Intaglio1]] = {
    "realism": ("released", REALISM),  # heads on MobileNetV2, spectral normalisation, a dial on all of it
    "fidelity": ("released", FIDELITY),  # the KLT start, two blocks each, the filter
    "patch": ("discriminator", _judged_by(Patch, width=32)),
    "patch-pixels": ("discriminator", _judged_by(Patch, width=32, detail=False)),
    "multi-scale": ("discriminator", _judged_by(MultiScale, width=32)),
    "global-local": ("discriminator", _judged_by(GlobalLocal, width=32)),
    "u-net": ("discriminator", _judged_by(UNet, width=16)),
    "none": ("discriminator", dataclasses.replace(REALISM, fooling=0.0)),
    "no-norm": ("normalisation", _judged_by(Projected, norm="none")),
    **{f"patch-{norm}": ("normalisation", _judged_by(Patch, width=32, norm=norm))
       for norm in ("batch", "instance", "channel", "layer", "none")},
    "hinge": ("strategy", dataclasses.replace(REALISM, kind="hinge")),
    "lsgan": ("strategy", dataclasses.replace(REALISM, kind="lsgan")),
    "no-head-start": ("strategy", dataclasses.replace(REALISM, head_start=0)),
    "filter-dial": ("strategy", dataclasses.replace(REALISM, dialled="filter")),
    "no-perceptual": ("strategy", dataclasses.replace(REALISM, vgg=0.0, mobilenet=0.0)),
    "no-speckle": ("strategy", dataclasses.replace(REALISM, speckle=0.0)),
    "random-start": ("generator", RandomStart(**{**vars(FIDELITY), "name": "random-start"})),
    "fewer-blocks": ("generator", dataclasses.replace(
        FIDELITY, shape=Shape(analysis_blocks=(2, 1), synthesis_blocks=(1, 1)))),
    "no-filter": ("generator", dataclasses.replace(FIDELITY, shape=Shape(synthesis_blocks=(3, 2), filter=0))),
    "wider": ("generator", dataclasses.replace(FIDELITY, shape=Shape(width=256))),
}


class Judge:
    """Held-out pictures, and what is measured on a network over them."""

    def __init__(self, folder: Path, most: int):
        inside = folder.iterdir() if folder.is_dir() else ()
        files = sorted(p for p in inside if p.suffix.lower() in (".png", ".webp", ".jpg", ".avif"))
        opened = [np.asarray(pictures.load(p).image.convert("RGB")) for p in files[:most]]
        whole = [p[: p.shape[0] // 64 * 64, : p.shape[1] // 64 * 64] for p in opened]
        self.pictures = [p for p in whole if min(p.shape[:2]) >= PATCH]
        if len(self.pictures) < 2:
            raise BadInput(f"{folder}: holds no two pictures of at least {PATCH} x {PATCH} pixels; give photographs")

    @cached_property
    def inception(self) -> Inception:
        return Inception()

    @cached_property
    def real(self) -> list[np.ndarray]:
        return [features(self.inception, patches(p)) for p in self.pictures]

    @torch.no_grad()
    def loss(self, network: Codec, realism: float) -> float:
        """L at this realism."""
        values = []
        for picture in self.pictures:
            x = torch.tensor(picture).permute(2, 0, 1)[None].float()
            for q in QS:
                at = torch.full((1, 1, 1), q)
                x_hat, bits, _ = network(x, at, torch.tensor([realism]))
                weight = rate_weight(torch.tensor(q))
                error = (x_hat.clamp(0, 255) - x).square().mean()
                value = bits[0] / x[0, 0].numel() + weight * error
                values.append((value * (weight / intaglio1.SLOPE).rsqrt()).item())
        return float(np.mean(values))

    @torch.no_grad()
    def kid(self, network: Codec) -> float:
        """KID-768 x 1000 at realism 1 and the middle of QS."""
        fake = []
        for picture in self.pictures:
            x = torch.tensor(picture).permute(2, 0, 1)[None].float()
            x_hat = network(x, torch.full((1, 1, 1), QS[1]), torch.ones(1))[0]
            pixels = torch.floor(x_hat + 0.5).clamp(0, 255)[0].permute(1, 2, 0).byte().numpy()
            fake.append(features(self.inception, patches(pixels)))
        return 1000 * Paired(self.real, fake).kid()


def train(
    recipe: intaglio1.Intaglio1, photographs: Photographs, warm: Path, steps: int, out: Path
) -> tuple[Codec, dict]:
    """The network after `steps`, and (accuracy, CPU seconds of one step)."""
    stage2 = isinstance(recipe, realism1.Realism1)
    trainer = Trainer(recipe, photographs, Options(out, steps=steps, warm=warm if stage2 else None))
    accuracy, seconds = [], []
    for n in range(steps):
        start = time.process_time()  # of this process alone: other work on the machine does not count
        _, logs = trainer.step(n / steps)
        seconds.append(time.process_time() - start)
        if "game/critic/accuracy" in logs:
            accuracy.append(logs["game/critic/accuracy"].item())
    said = {"accuracy": float(np.mean(accuracy[-max(1, steps // 5) :])) if accuracy else None,
            "seconds": float(np.median(seconds[steps // 2 :]))}
    network = trainer.averaged()
    assert isinstance(network, Codec)
    return network, said


def shared_budget(steps: int, warm: Path, photographs: Photographs, judge: Judge) -> dict[str, object]:
    """What figures of all rows depend on, beside their recipes. Raises BadInput."""
    try:
        start = hashlib.sha256(warm.read_bytes())
    except OSError as error:
        raise BadInput(f"{warm}: cannot be read ({error.strerror}); give a package or a checkpoint") from None
    held_out = hashlib.sha256()
    for picture in judge.pictures:
        held_out.update(f"{picture.shape}".encode() + picture.tobytes())
    index = json.dumps([photographs.index[key] for key in ("names", "entries")]).encode()
    return {"steps": steps, "held_out": len(judge.pictures), "pictures": held_out.hexdigest()[:16],
            "warm": start.hexdigest()[:16], "photographs": hashlib.sha256(index).hexdigest()[:16]}


def budget(name: str, shared: dict[str, object], batch: int | None) -> dict[str, object]:
    """All that the figures of one row depend on; of a row that there is no more, what it shares with the others."""
    if name not in ROWS:
        return shared
    recipe = ROWS[name][1]
    own = {number: getattr(recipe, number) for number in numbers.kinds(recipe)}
    of_recipe = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]
    return {**shared, "batch": batch or recipe.batch, "recipe": of_recipe}


def read(found: Path) -> dict[str, dict]:
    """The rows of an earlier table; none where there is no file. Raises BadInput."""
    try:
        rows = json.loads(found.read_text()) if found.exists() else {}
        if not all(isinstance(row, dict) for row in rows.values()):
            raise ValueError("a row is no object")
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{found}: is no table of ablations ({error}); choose another --out") from None
    return rows


def table(rows: dict[str, dict]) -> str:
    lines = ["| group | row | L, realism 0 | L, realism 1 | KID-768 x1000 | accuracy | CPU s a step |",
             "|---|---|---|---|---|---|---|"]
    for name, r in rows.items():
        right = "" if r["accuracy"] is None else f"{r['accuracy']:.2f}"
        figures = f"{r['l0']:.4f} | {r['l1']:.4f} | {r['kid']:.3f} | {right} | {r['seconds']:.2f}"
        lines.append(f"| {r['group']} | {name} | {figures} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photos", type=Path)
    p.add_argument("pictures", type=Path)
    p.add_argument("--warm", type=Path, required=True, help="stage 1's package or checkpoint, for the realism rows")
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--held-out", type=int, default=12, help="how many of the pictures are used")
    p.add_argument("--rows", default=",".join(ROWS))
    p.add_argument("--batch", type=int, help="crops a step, where the recipes' own number is too many")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    try:
        names = a.rows.split(",")
        if unknown := [name for name in names if name not in ROWS]:
            raise BadInput(f"there are no rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
        if a.steps < 1 or (a.batch is not None and a.batch < 1):
            raise BadInput("--steps and --batch: give 1 or more")
        judge, found = Judge(a.pictures, a.held_out), a.out / "table.json"
        a.out.mkdir(parents=True, exist_ok=True)
        photographs = Photographs(prepare(a.photos, a.out))
        shared, rows = shared_budget(a.steps, a.warm, photographs, judge), read(found)
        for name, row in rows.items():  # older tables say less of their budget
            for key, value in budget(name, shared, a.batch).items():
                if row.get(key, value) != value:
                    raise BadInput(f"{found}: the row {name} was made with {key} {row[key]}, and this would be "
                                   f"{value}, which does not compare; choose another --out")
        for name in names:
            group, recipe = ROWS[name]
            if name in rows:
                continue
            if a.batch:
                recipe = dataclasses.replace(recipe, batch=a.batch)
            network, said = train(recipe, photographs, a.warm, a.steps, a.out / name)
            rows[name] = {"group": group, "l0": judge.loss(network, 0.0), "l1": judge.loss(network, 1.0),
                          "kid": judge.kid(network), **said, **budget(name, shared, a.batch)}
            write_bytes(found, json.dumps(rows, indent=1).encode())
            write_bytes(a.out / "table.md", table(rows).encode())
            print(table({name: rows[name]}).splitlines()[-1], flush=True)
    except IntaglioError as e:
        p.exit(1, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    ended(main)
