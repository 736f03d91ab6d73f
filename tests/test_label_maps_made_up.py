"""Hazard: a label map that the segmentation network makes is not the network's, not of the picture's size, or wrong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from running import call, one_sentence

from intaglio.nn.backbones import espnet
from intaglio.recipes.extreme_sc import CAMVID


def test_the_network_is_the_papers() -> None:
    """0.36 million parameters (the paper's table 1c, for Cityscapes' 20 classes), and logits of the picture's size."""
    network = espnet.ESPNet(20).eval()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(0.364e6, rel=0.02)
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 20, 64, 96)


@pytest.mark.parametrize("size", [(1, 1), (50, 37), (360, 480), (500, 700)])
def test_every_pixel_gets_a_label(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ids = espnet.label_map(espnet.ESPNet().eval(), torch.rand(1, 3, *size) * 255)
    assert ids.shape == (1, *size) and ids.dtype == torch.uint8 and int(ids.max()) < len(espnet.CLASSES) - 1


def test_the_classes_are_those_of_the_recipe() -> None:
    assert espnet.CLASSES == CAMVID


def test_without_weights_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    espnet.trained.cache_clear()
    monkeypatch.setenv("INTAGLIO_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    assert call("labels", tmp_path / "a.png") == 1
    assert "the weights espnet-camvid" in one_sentence(capsys.readouterr().err.splitlines()[0] + "\n")
    assert not (tmp_path / "a.labels.png").exists()


@pytest.mark.skipif("INTAGLIO_WEIGHTS" not in os.environ, reason="needs ESPNet's weights: set INTAGLIO_WEIGHTS")
@pytest.mark.skipif("INTAGLIO_CAMVID" not in os.environ, reason="needs CamVid: set INTAGLIO_CAMVID")
def test_streets_are_recognised(tmp_path: Path) -> None:
    """Through the command line: more than 85% of the labelled pixels, as the authors report."""
    pictures = sorted((Path(os.environ["INTAGLIO_CAMVID"]) / "test").glob("*.webp"))[::12]
    assert call("labels", *pictures, "-o", f"{tmp_path}/") == 0
    right = labelled = 0
    for picture in pictures:
        made, drawn = (np.asarray(Image.open(p)) for p in
                       (tmp_path / f"{picture.stem}.labels.png", picture.with_suffix(".labels.png")))
        labelled += int((drawn < 11).sum())
        right += int(((made == drawn) & (drawn < 11)).sum())
    assert right > 0.85 * labelled
