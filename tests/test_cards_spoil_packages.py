"""Hazard: completing a model's card makes its package one that nothing reads again, or loses what the card said."""

import json
import sys

import pytest

from intaglio.package import Package
from intaglio.train import release


@pytest.fixture
def package(tmp_path, tiny_model, monkeypatch):
    """A copy of the tiny model's package, and the command on it."""
    path = tmp_path / "model.itgm"
    path.write_bytes(tiny_model.read_bytes())

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["release", str(path), *map(str, words)])
        release.main()

    return path, run


def test_a_completed_card_says_more_and_the_model_stays(package, tmp_path):
    path, run = package
    before = Package.read(path)
    (tmp_path / "figures.json").write_text('{"kodak": {"pictures": 24}}')
    (tmp_path / "sources.csv").write_text("name,licence\na,CC0\nb,CC0\nc,CC-BY\n")
    figures, sources = tmp_path / "figures.json", tmp_path / "sources.csv"
    run("--realism", 0.5, "--figures", figures, "--sources", sources, "--note", "how")
    run("--note", "again")
    after = Package.read(path)
    assert after.fingerprint == before.fingerprint
    assert after.card["realism"] == 0.5 and after.card["figures"] == {"kodak": {"pictures": 24}}
    assert after.card["data"] == {"photographs": 3, "licences": {"CC0": 2, "CC-BY": 1}}
    assert after.card["training"]["note"] == "again"


@pytest.mark.parametrize(("words", "says"), [
    (("--realism", 7), "from 0 to 1"), (("--realism", "nan"), "from 0 to 1"),
    (("--figures", "list.json"), "no JSON object"), (("--figures", "nowhere.json"), "nowhere.json"),
    (("--sources", "sources.csv"), "no column `licence`"),
])
def test_what_makes_no_card_leaves_the_package(package, tmp_path, monkeypatch, capsys, words, says):
    path, run = package
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text(json.dumps([1]))
    (tmp_path / "sources.csv").write_text("name,rights\na,CC0\n")
    with pytest.raises(SystemExit) as left:
        run(*words)
    told = capsys.readouterr().err
    assert left.value.code == 1 and says in told and told.count("\n") == 1
    assert path.read_bytes() == before
