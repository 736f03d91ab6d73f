"""A training from the command line's words: pack the photographs, train, export. Also the export alone."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import BadInput
from ..package import Package
from ..recipes import recipe as named
from ..writing import write_bytes
from . import checkpoint, parallel
from .data import Photographs
from .loop import Options, Trainer
from .numbers import buildable, change, going_on, kept, resumed, stated
from .packs import PACK, is_current, is_pack, prepare
from .recipe import Recipe

RESERVE_SHARE, RESERVE_MINUTES = 0.15, 2.0  # of a time box so much, but no more, is left for the export
PICTURES = 640  # crops that a package's tables are counted on


def device_of(name: str) -> str:
    """"cpu" or "cuda", whichever `name` ("auto", "cpu", "cuda") means here. Raises BadInput where there is no GPU."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no CUDA device here; use --device cpu")
    return name


def train(
    name: str, data: Path, options: Options, threads: int | None = None, words: Sequence[str] = (),
    pictures: int = PICTURES, **numbers: Any,
) -> None:
    """Train the recipe `name`; leaves last.pt, log.jsonl, strips and the package NAME.itgm in options.out.

    words: NAME=VALUE of further numbers of the recipe. pictures: crops that the package's tables are counted on.

    All of it happens inside the time box, from packing the photographs on; a part of it is kept back for the package.
    Under torchrun, the first process writes.
    """
    began = time.monotonic()
    last = options.out / "last.pt"
    if last.exists() and not options.resume:
        raise BadInput(f"{options.out}: holds a run already; go on with it (--resume) or choose another --out")
    if options.resume and not last.exists():
        raise BadInput(f"{options.out}: holds no run to resume (no last.pt); leave --resume out to start one")
    recipe = named(name)
    if options.resume:
        numbers = going_on(recipe, numbers, last)
    recipe = change(recipe, **numbers)
    given = stated(recipe, words)
    device = device_of(options.device)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32: its 11 bits carry the integers of the prior exactly
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    if options.resume:
        given = resumed(recipe, given, last)
    recipe = dataclasses.replace(recipe, **given)
    if given:
        buildable(recipe, given)
    changed = *given, *(name for name, value in numbers.items() if value is not None)
    options = dataclasses.replace(options, device=device, stated=tuple(given), changed=changed)
    rank, local, world = parallel.join()
    try:
        if device == "cuda":  # its own, for whatever names none
            torch.cuda.set_device(local)
        if rank == 0:
            options.out.mkdir(parents=True, exist_ok=True)
            source = prepare(data, options.out, options.resume)
        parallel.wait(world)
        if rank:
            source = data if is_pack(data) else options.out / PACK
        photographs = Photographs(source, f"cuda:{local}" if device == "cuda" else device)
        minutes = options.minutes - min(RESERVE_MINUTES, RESERVE_SHARE * options.minutes)
        trainer = Trainer(recipe, photographs, dataclasses.replace(options, minutes=minutes), began)
        trainer.run()
        if rank == 0:
            target = options.out / f"{recipe.name}.itgm"
            write(recipe, trainer.averaged(), photographs, trainer.training(), target, pictures)
    finally:
        parallel.leave()


def write(
    recipe: Recipe, network: torch.nn.Module, photographs: Photographs, training: dict, target: Path,
    pictures: int = PICTURES, counted: Package | None = None,
) -> None:
    """Export a trained network to the package `target`, and say so. counted: the package whose tables it takes over."""
    package = recipe.package(network, photographs, training, 0 if counted else pictures)
    if counted:
        package = with_tables(package, counted)
    data = package.to_bytes()
    write_bytes(target, data)
    print(f"{target}: {len(data) / 1e6:.2f} MB, fingerprint {package.card['fingerprint']}")


def with_tables(package: Package, counted: Package) -> Package:
    """The package with the entropy tables of another one of the same encoder and prior. Raises BadInput for others."""
    differ = [name for name in ("analysis.onnx", "hyper.onnx", "prior.npz")
              if package.members[name] != counted.members.get(name)]
    differ += [name for name in ("gains", "hyper_index")
               if not np.array_equal(package.tables[name], counted.tables[name])]
    if differ:
        raise BadInput(f"model {counted.name}: its entropy tables were counted with another {' and '.join(differ)}; "
                       "leave --tables out, so that they are counted anew")
    graphs = {name.removesuffix(".onnx"): data for name, data in package.members.items() if name.endswith(".onnx")}
    return Package.assemble(dict(package.card), graphs, counted.tables, package.arrays("prior"))


def export(
    run: Path, data: Path | None, target: Path | None, pictures: int = PICTURES, tables: Path | None = None
) -> None:
    """Export the last checkpoint of the run in the folder `run` (or a checkpoint file). Raises BadInput.

    data: the photographs that its tables are counted on; None for the run's own pack.
    tables: a package whose entropy tables are taken over, where a run has changed nothing that they were counted of.
    """
    source = run / "last.pt" if run.is_dir() else run
    state = checkpoint.load(source)
    recipe = named(checkpoint.recipe_of(state, source))
    recipe = dataclasses.replace(recipe, **kept(recipe, state.get("numbers", {})))
    network = recipe.network()
    checkpoint.fill(network, state["ema"], source)
    own = source.parent / PACK  # the run's, which it may yet be resumed on
    if data is None:
        if not is_pack(own):
            raise BadInput(f"{source.parent}: holds no photographs of its own to count the entropy tables on; give "
                           "some with --data DIR")
        data = own
    name = "counted" if is_pack(own) and not is_current(own, data) else own.name
    photographs = Photographs(prepare(data, source.parent, name=name))
    target = target or source.parent / f"{recipe.name}.itgm"
    counted = Package.read(tables) if tables else None
    write(recipe, network.eval(), photographs, state["training"], target, pictures, counted)
