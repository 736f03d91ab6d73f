"""Hazards: a dead training burns its hours, a wrong checkpoint is trained on, cut checkpoints are joined wrong."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from test_training_starts_wrong import EXAMPLES
from tiny_recipe import TINY, Tiny

from intaglio.errors import BadInput, CorruptFile
from intaglio.nn.codec import Codec
from intaglio.train import checkpoint, pieces
from intaglio.train.alarms import Alarms, Stopped
from intaglio.train.data import Photographs
from intaglio.train.draws import Draws
from intaglio.train.journal import Journal
from intaglio.train.loop import Options, Trainer
from intaglio.train.packs import pack
from intaglio.train.recipe import Outputs


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_spoils_the_weights(tmp_path):
    pack(EXAMPLES, tmp_path / "photos")
    trainer = Trainer(Tiny(fooling=0), Photographs(tmp_path / "photos"), Options(tmp_path, steps=5))
    trainer.step(0.0)
    trainer.terms.append(type(trainer.terms[0])("poison", lambda out: out.x_hat.mean((1, 2, 3)) * float("nan")))
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    with pytest.raises(Stopped, match="not finite"):
        trainer.step(0.5)
    assert all(torch.equal(v, before[k]) for k, v in trainer.network.state_dict().items())


@pytest.mark.parametrize(("row", "sentence"), [
    ({"bpp": 1e-6}, "dead"),
    ({"explained": 0.01}, "dead"),
    ({"games": {"patch": {"accuracy": 0.999}}}, "discriminator patch"),
    ({"bpp": 0.5}, "target"),
])
def test_alarms_ring_when_it_stays_bad_and_not_before(row, sentence):
    good = {"step": 0, "share": 0.9, "bpp": 0.14, "explained": 0.9, "games": {"patch": {"accuracy": 0.8}}}
    alarms = Alarms(patience=4, target_bpp=0.14)
    for _ in range(3):
        alarms.watch(good | row)
    alarms.watch(good)
    for _ in range(3):
        alarms.watch(good | row)
    with pytest.raises(Stopped, match=sentence):
        alarms.watch(good | row)


def test_a_latent_that_is_dead_stops_the_run_whatever_its_zeros_cost(tmp_path):
    """A network whose analysis says nothing, from its first step on: of the pictures nothing comes through."""
    pack(EXAMPLES, tmp_path / "pack")
    trainer = Trainer(Tiny(fooling=0.0), Photographs(tmp_path / "pack"), Options(tmp_path, steps=60, log_seconds=0))
    for p in trainer.network.analysis.parameters():
        p.data.zero_()
        p.requires_grad_(False)
    with pytest.raises(Stopped, match="latent is dead"):
        trainer.run()
    row = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert row["explained"] < 0.02 and row["bpp"] > 1e-3


def test_what_is_synthesised_need_not_resemble_its_original(tmp_path):
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    kept = torch.zeros(2, 1, 4, 4)
    kept[:, :, :, :2] = 1
    x_hat = x.clone()
    x_hat[:, :, :, 32:] = 255 - x[:, :, :, 32:]
    found = []
    for extra in ({"kept": kept}, {"kept": 1 - kept}, {}):
        journal = Journal(tmp_path, 0)
        journal.add(Outputs(x, x_hat, torch.ones(2), extra=extra), {})
        found.append(journal.row(0, 0.9, 1, 1.0)["explained"])
        journal.close()
    assert found[0] == 1 and found[1] == pytest.approx(-3, abs=0.1) and found[2] == pytest.approx(-1, abs=0.1)


def test_a_wasserstein_critic_that_tells_all_apart_still_teaches():
    row = {"step": 0, "share": 0.9, "bpp": 0.14, "explained": 0.9, "games": {"critic": {"accuracy": 1.0}}}
    alarms = Alarms(patience=2, unbounded={"critic"})
    for _ in range(4):
        alarms.watch(row)


def test_a_rate_far_off_its_target_is_forgiven_in_the_first_half():
    alarms = Alarms(patience=2, target_bpp=0.14)
    for _ in range(5):
        alarms.watch({"step": 1, "share": 0.4, "bpp": 0.9, "explained": 0.9})


def test_a_log_repeats_no_step_after_a_run_was_killed(tmp_path):
    rows = [json.dumps({"step": step, "bpp": 0.1}) for step in (10, 20, 30)]
    (tmp_path / "log.jsonl").write_text("\n".join([*rows, '{"step": 4']))
    x = torch.zeros(2, 3, 64, 64)
    journal = Journal(tmp_path, 5, 20)
    journal.add(Outputs(x, x, torch.ones(2)), {})
    journal.row(25, 0.5, 6, 1.0)
    journal.close()
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [10, 20, 25]


def test_a_target_of_rounded_codes_is_not_watched_by_the_bits_of_noisy_ones(tmp_path):
    """Noise costs a good deal at low rates: a run on its target must not be stopped for it."""
    x = torch.zeros(2, 3, 64, 64)
    written = torch.full((2,), 0.14)
    journal, alarms = Journal(tmp_path, 0), Alarms(patience=2, target_bpp=0.14)
    for step in range(2):
        journal.add(Outputs(x, x, 2 * written * 64 * 64, extra={"written": written}), {})
        row = journal.row(step, 0.9, 1, 1.0)
        assert row["bpp"] == 0.14
        alarms.watch(row)
    journal.close()


def test_checkpoints_are_cut_and_joined(tmp_path):
    source = tmp_path / "last.pt"
    source.write_bytes(np.random.default_rng(0).bytes(300_000))
    written = pieces.cut(source, tmp_path / "cut", mib=0.1)
    assert len(written) == 4 and all(p.stat().st_size <= 0.1 * 2**20 for p in written)
    pieces.join(tmp_path / "cut", tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == source.read_bytes()
    damaged = bytearray(written[1].read_bytes())
    damaged[7] ^= 1
    written[1].write_bytes(bytes(damaged))
    with pytest.raises(CorruptFile, match="copy the folder again"):
        pieces.join(tmp_path / "cut", tmp_path / "again.pt")
    written[1].unlink()
    with pytest.raises(BadInput, match=r"last.pt.001 of 3 pieces are missing"):
        pieces.join(tmp_path / "cut", tmp_path / "again.pt")


def test_a_smaller_checkpoint_cut_into_the_same_folder_leaves_no_old_pieces(tmp_path):
    source = tmp_path / "last.pt"
    for size in (300_000, 1000):
        source.write_bytes(bytes(size))
        pieces.cut(source, tmp_path / "cut", mib=0.1)
    pieces.join(tmp_path / "cut", tmp_path / "again.pt")
    assert (tmp_path / "again.pt").stat().st_size == 1000
    assert len(list((tmp_path / "cut").iterdir())) == 2


def test_another_networks_weights_are_refused(tmp_path):
    network = Codec(TINY)
    weights = network.state_dict()
    wrong = dict(weights, log_gain=torch.zeros(3, 3))
    with pytest.raises(BadInput, match="another network"):
        checkpoint.fill(Codec(TINY), wrong, tmp_path / "x.pt")
    grown = {k: v for k, v in weights.items() if not k.startswith("synthesis.stage8.0")}
    assert all(k.startswith("synthesis.stage8.0") for k in checkpoint.fill(Codec(TINY), grown, tmp_path / "x.pt"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "last.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match="checkpoint"):
        checkpoint.load(path)


def test_a_pack_that_is_damaged_is_refused(tmp_path):
    pack(EXAMPLES, tmp_path / "photos")
    (tmp_path / "photos.u8").write_bytes(b"short")
    with pytest.raises(BadInput, match="pack"):
        Photographs(tmp_path / "photos")


def test_crops_show_pictures_as_they_are(tmp_path):
    """Every crop is a piece of the picture or its mirror image, and both occur."""
    picture = np.random.default_rng(1).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / "a.png")
    pack(tmp_path / "in", tmp_path / "p")
    crops = Photographs(tmp_path / "p").crops(Draws(0, 0, 16), 64).byte().permute(0, 2, 3, 1).numpy()
    windows = {picture[y : y + 64, x : x + 64].tobytes(): False for y in range(17) for x in range(37)}
    windows |= {picture[y : y + 64, x : x + 64][:, ::-1].tobytes(): True for y in range(17) for x in range(37)}
    assert {windows[c.tobytes()] for c in crops} == {False, True}


def test_packs_hold_what_the_codec_would_be_given(tmp_path):
    """16-bit greys are no white squares, and hidden colours of transparent pixels do not show; strangers are counted.
    """
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.full((64, 64), 257 * 90, np.uint16)).save(folder / "a.png")
    Image.new("RGBA", (64, 64), (200, 0, 0, 0)).save(folder / "b.png")
    Image.new("L", (64, 80), 7).save(folder / "c.jpg", exif=turned_right())
    (folder / "d.txt").write_text("no picture")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = pack(folder, tmp_path / "p")
    assert index["names"] == ["a.png", "b.png", "c.jpg"] and index["skipped"] == 1
    photographs = Photographs(tmp_path / "p")
    assert photographs.index["entries"][2][1:] == [64, 80]
    starts = [offset for offset, _, _ in photographs.index["entries"]]
    assert [photographs.flat[start : start + 3].tolist() for start in starts] == [[90] * 3, [255] * 3, [7] * 3]


def test_phones_photographs_are_packed(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="needs intaglio[heic]")
    (tmp_path / "in").mkdir()
    heif.from_pillow(Image.new("RGB", (64, 96), (10, 200, 30))).save(tmp_path / "in" / "a.heic")
    assert pack(tmp_path / "in", tmp_path / "p")["skipped"] == 0


def turned_right():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_zoomed_crops_are_shrunk_and_stay_in_range(tmp_path):
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(1).integers(0, 2, (200, 200, 3), dtype=np.uint8) * 255
    Image.fromarray(noise).save(tmp_path / "in" / "a.png")
    pack(tmp_path / "in", tmp_path / "p")
    photographs = Photographs(tmp_path / "p")
    plain = photographs.crops(Draws(0, 3, 8), 64)
    small = photographs.crops(Draws(0, 3, 8), 64, zoom=3.0, colour=0.1)
    assert small.shape == plain.shape and small.min() >= 0 and small.max() <= 255
    assert small.std() < 0.8 * plain.std(), "shrinking averages neighbours"
    assert photographs.crops(Draws(0, 4, 2), 192, zoom=3.0).shape == (2, 3, 192, 192), "no photograph is that large"
    with pytest.raises(BadInput, match="crop of 256"):
        photographs.crops(Draws(0, 0, 1), 256)
