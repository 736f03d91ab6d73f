"""Train the released shape for fidelity, at every rate at once, inside a time box.

    python -m intaglio.train.plain --photos DIR --pack out/train --out out/small --minutes 60

The loss of a crop is (bits per pixel + lambda(q) * MSE) / sqrt(lambda(q)): both terms of the bracket grow about as
sqrt(lambda), so every rate weighs alike. q is drawn evenly from 0..63. Adam, a cosine to zero at the end of the box,
gradient norm clipped. The checkpoint (weights, optimiser, step) is written beside and renamed, every few minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

import torch

from ..nn.codec import Codec, rate_weight
from ..package import Package
from ..recipes.intaglio1 import Intaglio1, full, small
from . import klt, warm
from .data import Crops, pack


def draw_q(recipe: Intaglio1, generator: torch.Generator) -> torch.Tensor:
    """q for a batch: mostly one step a picture (batch, 1, 1); in some batches it varies by 64x64 block."""
    q = torch.randint(0, 64, (recipe.batch, 1, 1), generator=generator).float()
    if torch.rand((), generator=generator) > recipe.mixed:
        return q
    n = recipe.crop // 64
    other = torch.randint(0, 64, (recipe.batch, 1, 1), generator=generator).float()
    mask = torch.rand((recipe.batch, n, n), generator=generator) < 0.5
    return torch.where(mask, q, other)


def loss_of(codec: Codec, x: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(loss, bits per pixel (batch,), mean squared error (batch,))."""
    x_hat, bits = codec(x, q)
    pixels = x.shape[2] * x.shape[3]
    error = (x_hat - x).square().mean(1)
    weight = rate_weight(q)
    if weight.shape[-1] > 1:
        weight = weight.repeat_interleave(64, 1).repeat_interleave(64, 2)
    bpp = bits / pixels
    scale = (rate_weight(q).mean((1, 2)) / 0.0067).rsqrt()
    return (scale * (bpp + (weight * error).mean((1, 2)))).mean(), bpp, error.mean((1, 2))


def begin(recipe: Intaglio1, source: Path | None, photos: Path, seed: int) -> tuple[Codec, dict]:
    """The network to train, from a package or a checkpoint, else the KLT; and what goes on: `step` and `pixels` of all
    the training so far, and from a checkpoint of the same shape the `optimiser`."""
    if source is None:
        codec = Codec(recipe.shape)
        klt.start(codec, Crops(photos, 64, seed))
        return codec, {"step": 0, "pixels": 0}
    if source.suffix == ".itgm":
        package = Package.read(source)
        before = package.card.get("training", {})
        return warm.codec(package), {"step": before.get("steps", 0), "pixels": before.get("pixels", 0)}
    state = torch.load(source, weights_only=True)
    codec = Codec(recipe.shape)
    codec.load_state_dict(state["codec"], strict=False)  # blocks that the checkpoint lacks start at zero
    kept = ("step", "pixels", "optimiser") if state["shape"] == vars(recipe.shape) else ("step", "pixels")
    return codec, {key: state[key] for key in kept}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--photos", type=Path, help="folder of photographs, packed into --pack if that does not exist yet")
    p.add_argument("--pack", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--size", choices=("small", "full"), default="small")
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--steps", type=int, default=0, help="stop after this many steps (0: the time box alone)")
    p.add_argument("--warm", type=Path, help="a checkpoint or a model package to start from")
    p.add_argument("--compile", action="store_true", help="a quarter faster on two cores, after minutes of compiling")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    recipe = {"small": small, "full": full}[a.size]
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    generator = torch.Generator().manual_seed(a.seed)
    a.out.mkdir(parents=True, exist_ok=True)
    if not a.pack.with_suffix(".json").exists():
        if a.photos is None:
            p.error(f"{a.pack} does not exist; give --photos, the folder to pack")
        index = pack(a.photos, a.pack)
        gpixel = index["pixels"] / 1e9
        print(f"{len(index['entries'])} photographs, {gpixel:.2f} Gpixel, {index['skipped']} files skipped")
    crops = Crops(a.pack, recipe.crop, a.seed)
    codec, before = begin(recipe, a.warm, a.pack, a.seed)
    codec.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    if a.compile:
        codec.compile()
    optimiser = torch.optim.Adam(codec.parameters(), lr=recipe.rate, betas=recipe.betas)
    if "optimiser" in before:
        optimiser.load_state_dict(before["optimiser"])
    start = last = saved = time.monotonic()
    step = pixels = 0
    sums = torch.zeros(3)
    log = (a.out / "log.jsonl").open("a")
    seen_bpp: list[tuple[float, float, float]] = []
    while True:
        share = max((time.monotonic() - start) / (60 * a.minutes), step / a.steps if a.steps else 0)
        if share >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * min(1, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * share))
        x = torch.from_numpy(crops.batch(recipe.batch)).float().contiguous(memory_format=torch.channels_last)
        q = draw_q(recipe, generator)
        loss, bpp, error = loss_of(codec, x, q)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(codec.parameters(), recipe.clip)
        if not torch.isfinite(norm):
            hint = f"start again with --warm {a.out}/last.pt and a lower rate in the recipe"
            raise SystemExit(f"step {step}: the gradient is not finite; {hint}")
        optimiser.step()
        step += 1
        pixels += x.shape[0] * recipe.crop**2
        sums += torch.tensor([loss.item(), norm.item(), 1])
        triples = zip(q.mean((1, 2)).tolist(), bpp.tolist(), error.tolist(), strict=True)
        seen_bpp += list(triples)
        now = time.monotonic()
        if now - last > 60:
            bands = []
            for lo in (0, 16, 32, 48):
                band = [(b, e) for v, b, e in seen_bpp if lo <= v < lo + 16]
                mean = [sum(v) / max(1, len(band)) for v in zip(*band, strict=True)] or [0, 1]
                bands.append(f"{mean[0]:.3f}bpp {10 * math.log10(65025 / mean[1]):.2f}dB")
            loss_mean, norm_mean = (sums[:2] / sums[2]).tolist()
            row = {"step": step, "minutes": round((now - start) / 60, 2), "loss": round(loss_mean, 4),
                   "norm": round(norm_mean, 3), "gpixel": round(pixels / 1e9, 4), "bands": bands}
            log.write(json.dumps(row) + "\n")
            log.flush()
            print(row, flush=True)
            sums.zero_()
            seen_bpp.clear()
            last = now
        if now - saved > 240:
            save(a.out / "last.pt", codec, optimiser, before["step"] + step, before["pixels"] + pixels)
            saved = now
    save(a.out / "last.pt", codec, optimiser, before["step"] + step, before["pixels"] + pixels)


def save(path: Path, codec: Codec, optimiser: torch.optim.Optimizer, step: int, pixels: int) -> None:
    part = path.with_suffix(".part")
    torch.save({"codec": codec.state_dict(), "shape": vars(codec.shape), "optimiser": optimiser.state_dict(),
                "step": step, "pixels": pixels}, part)
    part.rename(path)


if __name__ == "__main__":
    main()
