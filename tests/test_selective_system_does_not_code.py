"""Hazard: the selective system trains and then codes no picture; its bytes are not what its prior says; its
architecture is not its paper's; what it is trained on is not what was kept."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_scenes import folders
from PIL import Image
from running import call

import intaglio
from intaglio.areas import unpack
from intaglio.errors import BadInput
from intaglio.latents import TileCoder
from intaglio.nn.systems.selective import one_hot
from intaglio.package import Package
from intaglio.reader import Reader
from intaglio.recipes.extreme_sc import CELLS, TOLD, ExtremeSC, areas, boxes, recipe, stored
from intaglio.runtime import runtime
from intaglio.selection import select
from intaglio.tiles import CELL, Layout, pixels
from intaglio.train.data import Photographs
from intaglio.train.draws import Draws
from intaglio.train.loop import Options, Trainer
from intaglio.train.packs import pack

SMALL = replace(recipe, width=8, blocks=1, crop=64, batch=2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[Path, Path]]]:
    return folders(tmp_path_factory.mktemp("scenes"), 3, 1)


@pytest.fixture(scope="module")
def scenes(
    pictures: tuple[Path, list[tuple[Path, Path]]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Photographs, list[tuple[Path, Path]]]:
    out = tmp_path_factory.mktemp("pack") / "pack"
    pack(pictures[0], out)
    return Photographs(out), pictures[1]


@pytest.fixture(scope="module")
def model(pictures: tuple[Path, list], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SMALL, as the command line trains it."""
    folder = tmp_path_factory.mktemp("run")
    numbers = ("--width", 8, "--crop", 64, "--batch", 2, "--set", "blocks=1")
    assert call("train", "extreme-sc", "--data", pictures[0], "--out", folder, "--steps", 20, "--threads", 1,
                "--pictures", 2, *numbers) == 0  # fmt: skip
    return folder / "extreme-sc.itgm"


def test_it_codes_a_picture_with_labels(model: Path, scenes: tuple[Photographs, list], tmp_path: Path) -> None:
    """Through the command line, and its bytes are those that its prior says, within 1% and a constant."""
    photo, labels = scenes[1][0]
    file, shown = tmp_path / "x.itg", tmp_path / "x.png"
    keep = ["--keep-classes", "building,3", "--keep-box", "8,8,100,60"]
    assert call("encode", photo, "-o", file, "--model", model, "--labels", labels, *keep) == 0
    assert call("decode", file, "-o", shown, "--model", model) == 0
    source = Image.open(photo).convert("RGB")
    assert Image.open(shown).size == source.size
    package = Package.read(model)
    assert package.card["labels"][3] == "road" and package.card["levels"] == 5
    with Reader(file) as reader:
        layout = Layout(*source.size)
        kept = unpack(*reader.areas, layout).kept()
        assert 0 < kept.sum() < kept.size
        engine = runtime(package, "cpu", 1)
        steps = np.full((layout.padded.height // 64, layout.padded.width // 64), reader.header.q)
        y = engine.analysis(pixels(source, layout.padded))
        bits = sum(engine.tables.bits(r.ravel(), i.ravel()) for _, r, i in TileCoder(engine).residuals(y, steps, kept))
        size = len(reader.tile(0))
    bound = kept.sum() * package.card["latents"] * math.log2(5) / 8 + 16
    assert size <= bound
    assert size <= 1.01 * bits / 8 + 16 and (size > bound - 32 or bits / 8 <= size + 16)


def test_training_sees_what_the_coder_writes(model: Path, scenes: tuple[Photographs, list]) -> None:
    """The torch side with a mask gives the latents of the coder's groups: what is not kept is nowhere."""
    torch.manual_seed(1)
    network = SMALL.network().eval()
    x = scenes[0].crops(Draws(3, 0, 2), 128)
    kept = (torch.rand(2, 1, 8, 8) < 0.4).float()
    q = torch.zeros(2, 1, 1)
    with torch.no_grad():
        latent, _, bits = network.code(x, q, None, False, kept)
        whole, _, all_bits = network.code(x, q)
        y = network.analysis(x)
        other, _, other_bits = network.code_latents(torch.where(kept > 0, y, 9 * torch.randn_like(y)), q, kept=kept)
        _, _, none = network.code(x, q, None, False, torch.zeros_like(kept))
    assert torch.equal(latent, whole * kept)  # of a finite alphabet, whatever is beside them
    assert torch.equal(latent, other) and torch.equal(bits, other_bits)
    assert (bits < all_bits).all() and not none.any()


def test_the_discriminator_sees_the_labels(scenes: tuple[Photographs, list]) -> None:
    torch.manual_seed(0)
    draws = Draws(0, 0, 2)
    out = SMALL.outputs(SMALL.network(), SMALL.crops(scenes[0], draws), draws)
    game = SMALL.opponents()["critic"].game
    real, _, told = SMALL.seen(out)
    assert told.shape == (2, 12, 64 // TOLD, 64 // TOLD) and (told.sum(1) == 1).all()
    with torch.no_grad():
        said, other = (game.discriminator(real, t).logits for t in (told, told.roll(1, 1)))
    assert len(said) == 3 and all(not torch.equal(a, b) for a, b in zip(said, other, strict=True))


@pytest.mark.parametrize("side", [2, 4, 8])
def test_labels_in_training_are_those_that_a_file_holds(side: int, scenes: tuple[Photographs, list]) -> None:
    photo, labels = scenes[1][0]
    layout = Layout(*Image.open(photo).size)
    held = select(labels, None, layout, recipe.classes, cell=side).window(layout.padded)
    ids = torch.from_numpy(np.array(Image.open(labels))).float()[None, None]
    assert torch.equal(stored(ids, side, 12)[0, 0], torch.from_numpy(held[: ids.shape[2], : ids.shape[3]]).float())
    nowhere = torch.full((1, 1, 8, 8), 255.0)
    assert one_hot(stored(nowhere, side, 12), 12).sum() == 0


def test_generator_and_discriminator_are_told_stored_labels(scenes: tuple[Photographs, list]) -> None:
    network, sides = SMALL.network(), set()
    for step in range(8):
        draws = Draws(0, step, 2)
        x = SMALL.crops(scenes[0], draws)
        given: list[torch.Tensor] = []
        with network.synthesis.register_forward_pre_hook(lambda _, a, given=given: given.append(a[5])), torch.no_grad():
            out = SMALL.outputs(network, x, draws)
        fits = {side for side in CELLS if torch.equal(given[0], stored(x[:, 3:], side, 12))}
        assert fits and torch.equal(out.extra["labels"], given[0])
        sides |= fits
    assert sides == set(CELLS)


def test_only_what_is_kept_is_compared_with_the_original(scenes: tuple[Photographs, list]) -> None:
    draws = Draws(0, 0, 2)
    out = SMALL.outputs(SMALL.network(), SMALL.crops(scenes[0], draws), draws)
    kept = torch.zeros_like(out.extra["kept"])
    kept[0, :, 1:, 1:] = 1  # the picture's own border is none: but one row and one column are beside what is not kept
    out.extra["kept"] = kept
    error = SMALL.kept_error(out)
    square = ((out.x_hat - out.x)[0] / 127.5).square().sum(0) / (3 * 64 * 64)
    own = SMALL.edge * square[16:, 16:].sum() - (SMALL.edge - 1) * square[32:, 32:].sum()
    assert error[0].item() == pytest.approx(own.item(), rel=1e-4) and error[1] == 0


def test_labels_of_what_is_kept_do_not_reach_the_picture() -> None:
    torch.manual_seed(0)
    generator = SMALL.network().eval().synthesis
    y, kept = torch.randn(1, SMALL.latents, 4, 4), torch.zeros(1, 1, 4, 4)
    kept[:, :, :, :2] = 1
    labels = torch.randint(0, 12, (1, 1, 64, 64))
    within, beyond = labels.clone(), labels.clone()
    within[:, :, :, :32] = 3
    beyond[:, :, :, 32:] = 3
    with torch.no_grad():
        shown = [generator(y, y, y, None, kept, which) for which in (labels, within, beyond)]
    assert torch.equal(shown[0], shown[1]) and not torch.equal(shown[0], shown[2])


def test_everything_kept_is_the_global_mode() -> None:
    torch.manual_seed(0)
    generator = SMALL.network().eval().synthesis
    y = torch.randn(1, SMALL.latents, 4, 4)
    with torch.no_grad():
        given = generator(y, y, y, None, torch.ones(1, 1, 4, 4), torch.randint(0, 12, (1, 1, 64, 64)))
        assert torch.equal(given, generator(y, y, y))


def test_what_is_kept_is_drawn_as_boxes_classes_and_all() -> None:
    ids = torch.zeros(200, 1, 64, 64)
    ids[:, :, :, 32:] = 5
    kept = recipe.draw_kept(Draws(0, 1, 200), ids)
    share = kept.mean((1, 2, 3))
    assert 0.2 < (share == 1).float().mean() < 0.45  # and both classes, by chance
    assert 0.15 < (share == 0).float().mean() < 0.4  # neither class
    assert ((share > 0) & (share < 1)).float().mean() > 0.3
    assert torch.equal(recipe.draw_kept(Draws(0, 1, 200), ids), kept)
    assert replace(recipe, masked=False).draw_kept(Draws(0, 1, 200), ids).all()


def test_boxes_and_areas_are_where_they_should_be() -> None:
    box = boxes(torch.tensor([[0.9, 0.3, 0.5, 0.1]]), 10, 20)[0, 0]
    assert box.sum() == 7 * 9 and box[3:10, 2:11].all()
    ids = torch.full((1, 1, 64, 64), 255.0)
    ids[0, 0, 17, 40] = 2
    chosen = torch.zeros(1, 12)
    assert areas(ids, chosen).sum() == 0
    chosen[0, 2] = 1
    assert areas(ids, chosen).nonzero().tolist() == [[0, 0, 1, 2]]
    assert one_hot(ids, 12).sum() == 1  # 255 is no class


@pytest.mark.parametrize("norm", ["channel", "instance"])
def test_a_region_is_cut_out_of_the_whole_whatever_the_normalisation(
    norm: str, scenes: tuple[Photographs, list]
) -> None:
    """Instance norm takes statistics of the whole picture, so it has to be computed whole."""
    torch.manual_seed(0)
    changed = replace(SMALL, norm=norm)
    package = changed.package(changed.network().eval(), scenes[0], {}, 2)
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (256, 1536, 3), dtype=np.uint8))
    labels = Image.fromarray(rng.integers(0, 12, (256, 1536), dtype=np.uint8))
    file = intaglio.encode(picture, model=package, labels=labels, keep=(700, 0, 400, 200))
    whole = np.asarray(intaglio.decode(file, model=package))
    for x, y, w, h in ((0, 0, 128, 128), (1000, 100, 200, 150)):
        part = np.asarray(intaglio.decode(file, model=package, region=(x, y, w, h)))
        assert (part == whole[y : y + h, x : x + w]).all()


def test_all_its_steps_are_trained(scenes: tuple[Photographs, list]) -> None:
    ranged, draws = replace(SMALL, delta=(4.0, 0.5)), Draws(0, 0, 8)
    x = ranged.crops(scenes[0], draws, 64)
    assert len(set(ranged.outputs(ranged.network(), x, draws).q.tolist())) > 3
    assert not SMALL.outputs(SMALL.network(), x, draws).q.any()


def test_the_architecture_is_the_papers() -> None:
    """At full width, without memory for it: the ladder from 60 to 960 channels, nine residual blocks of 960."""
    with torch.device("meta"):
        network = recipe.network()
    widths = [60, 120, 240, 480, 960]
    convs = [m for m in network.analysis.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convs] == [*widths, recipe.latents]
    generator = network.synthesis
    assert len(generator.blocks) == 9
    assert all(m.in_channels == m.out_channels == 960 for m in generator.blocks.modules()
               if isinstance(m, torch.nn.Conv2d))
    assert sum(p.numel() for p in generator.blocks.parameters()) == 9 * 2 * (9 * 960 * 960 + 960 + 2 * 960)
    labels = [m for m in generator.semantics.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in labels] == widths and labels[0].in_channels == len(recipe.classes) == 12
    assert generator.enter[0].in_channels == recipe.latents + 1 + 960
    assert network.levels == 5 and recipe.latents * math.log2(5) / CELL**2 < 0.146  # bits per pixel, at most


def test_pictures_without_labels_are_told(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    pack(tmp_path, tmp_path / "out" / "pack")
    photographs = Photographs(tmp_path / "out" / "pack")
    with pytest.raises(BadInput, match="needs label maps: beside"):
        Trainer(ExtremeSC(width=8), photographs, Options(tmp_path, steps=1))
