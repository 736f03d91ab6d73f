"""A training must fail on the CPU where it would on a GPU: with tensors of two devices in one operation."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import environment


def trained(kind: str, folder: Path) -> None:
    """Three steps, a strip and a checkpoint on a pretended GPU, resumed for three more; run in a process of its own."""
    import torch
    from pretended_gpu import Far, lent
    from tiny_recipe import TINY, Tiny, start

    from intaglio.recipes import perceptual1, realism1
    from intaglio.train.data import Photographs
    from intaglio.train.loop import Options, Trainer

    small = {"adversarial": Tiny(), "perceptual": perceptual1.small, "realism": realism1.small}[kind]
    recipe = dataclasses.replace(small, shape=TINY, crop=64, batch=2, mixed=0.5)
    _, _, source = start(folder)
    with lent() as gpu:
        near, far = torch.zeros(2), torch.zeros(2, device=gpu)
        for mixed in (lambda: far + near, lambda: torch.stack([far.sum(), near.sum()]),
                      lambda: near.sum().add_(far.sum()), lambda: far.index_put_((torch.tensor([0]),), near[:1])):
            with pytest.raises(RuntimeError, match="two devices"):
                mixed()
        with pytest.raises(RuntimeError, match="another device"):
            torch.rand(2, device=gpu, generator=torch.Generator("cpu"))
        assert (far + near.sum())[torch.tensor([0])].device.type == gpu
        photographs = Photographs(folder / "pack", gpu)
        for resume in (False, True):
            options = Options(folder / "run", steps=6 if resume else 3, device=gpu, resume=resume,
                              warm=source if kind == "realism" else None)
            trainer = Trainer(recipe, photographs, options)
            trainer.run()
            assert all(isinstance(p, Far) for p in trainer.network.parameters())
    assert (folder / "run" / "strip-0000006.png").is_file()


@pytest.mark.parametrize("kind", [
    "adversarial",
    *(pytest.param(kind, marks=pytest.mark.skipif("INTAGLIO_WEIGHTS" not in os.environ,
                                                  reason="frozen backbones: set INTAGLIO_WEIGHTS"))
      for kind in ("perceptual", "realism")),
])
def test_every_stage_keeps_to_its_device(kind: str, tmp_path: Path) -> None:
    code = f"import pathlib, {__name__} as t; t.trained({kind!r}, pathlib.Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment(),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
