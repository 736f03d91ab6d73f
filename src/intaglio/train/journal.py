"""The log of a training: JSON lines, TensorBoard, and a line of progress on a terminal."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from ..writing import write_bytes
from .recipe import Outputs

BANDS = ((0, 16), (16, 32), (32, 48), (48, 64))  # of q, for networks that have one


class Journal:
    """Gathers what steps report and writes a row now and then. `pixels` and `step` are those that a resumed run goes on
    from: it appends to its log, from which rows go that are younger than the checkpoint, as of a run that was killed.

    A row: step, share, minutes, gpixel, mpixel_s, loss, norm, bpp (of rounded codes, where a recipe tells it), psnr,
    explained (the share of the originals' variance, each picture's own, that the decoded pictures show, where they are
    not synthesised: 1 for a perfect copy, at most 0 for pictures that have nothing of them);
    `terms`: of each loss its value and its share of the weighted whole; `games`: of each discriminator its accuracy,
    logits and loss; `bands`: (bpp, PSNR) by quarter of the quality scale, where there is one.
    """

    def __init__(self, out: Path, pixels: int, step: int = 0):
        from torch.utils.tensorboard import SummaryWriter

        log = out / "log.jsonl"
        if pixels and log.exists():
            write_bytes(log, b"".join(line for line in log.read_bytes().splitlines(True) if _step(line) <= step))
        self.file = log.open("a" if pixels else "w")
        self.board = SummaryWriter(str(out / "tensorboard"))
        self.console = Console(file=sys.stderr)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"), TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"), console=self.console, disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("training", total=1.0, said="")
        self.bar.start()
        self._clear()
        self.last_time, self.last_pixels = time.monotonic(), pixels

    def _clear(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.seen: list[tuple[Tensor, Tensor, Tensor | None]] = []
        self.missed: list[Tensor] = []  # (squared error, squared deviation from each picture's mean), where it is kept

    def add(self, out: Outputs, logs: dict[str, Tensor]) -> None:
        """Keep a step's figures, on the device: nothing waits for them until a row is written."""
        for key, value in logs.items():
            self.sums[key] = self.sums.get(key, 0) + value.float()
            self.counts[key] = self.counts.get(key, 0) + 1
        squared = (out.x_hat.detach().float() - out.x).square()
        error = squared.mean((1, 2, 3))
        deviation = (out.x - out.x.mean((2, 3), keepdim=True)).square()
        kept = out.extra.get("kept")
        if kept is not None:
            kept = F.interpolate(kept, out.x.shape[2:], mode="nearest")
            squared, deviation = squared * kept, deviation * kept
        self.missed.append(torch.stack([squared.sum(), deviation.sum()]))
        bpp = out.extra.get("written", out.bpp).detach()  # held against a target, where a recipe has one
        self.seen.append((bpp, error, None if out.q is None else out.q.detach()))

    def progress(self, share: float, step: int) -> None:
        self.bar.update(self.task, completed=min(1.0, share), description=f"step {step}")

    def row(self, step: int, share: float, pixels: int, seconds: float) -> dict[str, Any]:
        """Write and return the row of everything since the last one."""
        means = {k: (v / self.counts[k]).item() for k, v in self.sums.items()}
        bpp, error = torch.cat([s[0] for s in self.seen]).cpu(), torch.cat([s[1] for s in self.seen]).cpu()
        missed, whole = torch.stack(self.missed).sum(0).tolist()
        now = time.monotonic()
        fresh = pixels - self.last_pixels
        row: dict[str, Any] = {
            "step": step, "share": round(share, 4), "minutes": round(seconds / 60, 2), "gpixel": round(pixels / 1e9, 4),
            "mpixel_s": round(fresh / (now - self.last_time) / 1e6, 3),
            "bpp": round(bpp.mean().item(), 4), "psnr": round(_psnr(error), 2),
            "explained": round(1 - missed / max(whole, 1e-9), 4),
        }
        self.last_time, self.last_pixels = now, pixels
        row |= {k: round(v, 4) for k, v in means.items() if "/" not in k}
        weighted = {k.split("/", 1)[1]: v for k, v in means.items() if k.startswith("weighted/")}
        total = sum(abs(v) for v in weighted.values()) or 1
        row["terms"] = {k: [round(means[f"term/{k}"], 5), round(v / total, 3)] for k, v in weighted.items()}
        games: dict[str, dict[str, float]] = {}
        for key, value in means.items():
            if key.startswith("game/"):
                _, name, what = key.split("/", 2)
                games.setdefault(name, {})[what] = round(value, 4)
        if games:
            row["games"] = games
        if self.seen[0][2] is not None:
            q = torch.cat([s[2] for s in self.seen if s[2] is not None]).cpu()
            inside = [(q >= lo) & (q < hi) for lo, hi in BANDS]
            row["bands"] = [[round(bpp[m].mean().item(), 4), round(_psnr(error[m]), 2)] for m in inside if m.any()]
        self._clear()
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        for key in ("bpp", "psnr", "mpixel_s", *means):
            self.board.add_scalar(key, row.get(key, means.get(key)), step)
        shares = " ".join(f"{k} {v[1]:.0%}" for k, v in row["terms"].items())
        said = f"{row['mpixel_s']:.2f} Mpixel/s, {row['bpp']:.3f} bpp, {row['psnr']:.2f} dB, {shares}"
        self.bar.update(self.task, said=said)
        if not self.console.is_terminal:
            print(json.dumps(row), file=sys.stderr, flush=True)
        return row

    def close(self) -> None:
        self.bar.stop()
        self.board.close()
        self.file.close()


def _step(line: bytes) -> float:
    """The step of a row of the log; infinite where it is none, as when its writing was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf


def _psnr(error: Tensor) -> float:
    """Decibels of a mean of squared errors on the 0..255 scale."""
    return 10 * math.log10(255**2 / max(error.mean().item(), 1e-9))
