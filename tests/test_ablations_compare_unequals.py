"""Hazards: rows of different budgets stand in one table, a row is trained twice, a folder that is not there is a
traceback. Nothing is trained here."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from intaglio.train import ablate

PHOTO = Path(__file__).parent.parent / "examples" / "dog.webp"


@pytest.fixture
def ablation(tmp_path, monkeypatch, tiny_model):
    """Runs the command on two rows with the words given; returns the rows that were trained. Training is a stub."""
    photo = Image.open(PHOTO).convert("RGB")
    for folder in ("photos", "others", "pictures"):
        (tmp_path / folder).mkdir()
        for i in range(2):
            side = 300 + 30 * (folder == "others")
            photo.crop((20 * i, 0, 20 * i + side, 270)).save(tmp_path / folder / f"{i}.png")
    (tmp_path / "model.itgm").write_bytes(tiny_model.read_bytes())
    trained = []

    def train(recipe, photographs, warm, steps, out):
        trained.append(out.name)
        return None, {"accuracy": None, "seconds": 1.0}

    monkeypatch.setattr(ablate, "train", train)
    monkeypatch.setattr(ablate.Judge, "loss", lambda self, network, realism: 1.0)
    monkeypatch.setattr(ablate.Judge, "kid", lambda self, network: 2.0)

    def run(*words, photos="photos", pictures="pictures", rows="fidelity,wider"):
        trained.clear()
        folders = [str(tmp_path / photos), str(tmp_path / pictures)]
        monkeypatch.setattr(sys, "argv", ["ablate", *folders, "--warm", str(tmp_path / "model.itgm"), "--rows", rows,
                                          "--out", str(tmp_path / "out"), *words])
        ablate.main()
        return list(trained)

    return run


def test_rows_of_one_budget_are_trained_once(ablation, tmp_path):
    assert ablation("--steps", "7", rows="wider") == ["wider"]
    assert ablation("--steps", "7") == ["fidelity"]
    assert ablation("--steps", "7") == []
    assert "CPU s a step" in (tmp_path / "out/table.md").read_text()


@pytest.mark.parametrize(("words", "says"), [
    (("--steps", "8"), "steps 7"), (("--steps", "7", "--batch", "3"), "batch"),
    (("--steps", "7", "--warm", str(PHOTO)), "warm"),
])
def test_another_budget_is_refused(ablation, tmp_path, capsys, words, says):
    ablation("--steps", "7")
    before = (tmp_path / "out/table.json").read_bytes()
    refused(ablation, capsys, says, *words)
    assert (tmp_path / "out/table.json").read_bytes() == before


def refused(ablation, capsys, says, *words, **more):
    with pytest.raises(SystemExit) as left:
        ablation(*words, **more)
    told = capsys.readouterr().err
    assert left.value.code == 1 and says in told and told.count("\n") == 1


def test_other_pictures_and_photographs_are_refused(ablation, tmp_path, capsys):
    ablation("--steps", "7")
    refused(ablation, capsys, "pictures", "--steps", "7", pictures="others")
    for file in (tmp_path / "out").glob("photographs.*"):
        file.unlink()
    refused(ablation, capsys, "photographs", "--steps", "7", photos="others")


def test_a_row_of_other_numbers_of_its_recipe_is_refused(ablation, tmp_path, capsys, monkeypatch):
    """As after a change of the released recipe's defaults."""
    ablation("--steps", "7")
    name = next(iter(json.loads((tmp_path / "out/table.json").read_text())))
    group, recipe = ablate.ROWS[name]
    monkeypatch.setitem(ablate.ROWS, name, (group, dataclasses.replace(recipe, clip=0.5)))
    refused(ablation, capsys, f"the row {name} was made with recipe", "--steps", "7")


def test_older_tables_match_in_what_they_say(ablation, tmp_path, capsys):
    ablation("--steps", "7")
    found = tmp_path / "out/table.json"
    rows = {name: {k: v for k, v in row.items() if k not in ("warm", "photographs", "pictures", "batch", "recipe")}
            for name, row in json.loads(found.read_text()).items()}
    found.write_text(json.dumps(rows))
    assert ablation("--steps", "7", "--batch", "3") == []
    refused(ablation, capsys, "steps 7", "--steps", "9")


def test_held_out_pictures_that_cannot_be_read_are_a_sentence(ablation, tmp_path, capsys):
    refused(ablation, capsys, "no two pictures", "--steps", "7", pictures="nowhere")
    (tmp_path / "pictures/0.png").write_bytes(b"no picture")
    refused(ablation, capsys, "0.png", "--steps", "7")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/table.json").write_text("[]")
    refused(ablation, capsys, "no table", "--steps", "7", pictures="others")
