"""Results must land where the user expects them, and never on top of anything."""

import os
from pathlib import Path

import pytest
from PIL import Image
from running import call, noise

from intaglio.cli.paths import Job, picture_suffixes, plan
from intaglio.errors import BadInput

PICTURES = frozenset({".jpg", ".png", ".webp"})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def pairs(inputs: list[str], output: str | None = None, new: str = ".itg") -> list[tuple[str, str | None]]:
    jobs = plan(inputs, output, PICTURES, new)
    assert not [j.problem for j in jobs if j.problem]
    return [(j.source, j.target) for j in jobs]


def test_beside_the_source(here):
    touch("sub/a.jpg")
    assert pairs(["sub/a.jpg"]) == [("sub/a.jpg", "sub/a.itg")]
    assert pairs(["sub"]) == [("sub/a.jpg", "sub/a.itg")]


def test_into_a_file_or_a_folder(here):
    touch("a.jpg", "b.png", "there/x")
    assert pairs(["a.jpg"], "b.itg") == [("a.jpg", "b.itg")]
    assert pairs(["a.jpg"], "there") == [("a.jpg", "there/a.itg")]
    assert pairs(["a.jpg"], "new/") == [("a.jpg", "new/a.itg")]
    assert pairs(["a.jpg", "b.png"], "new") == [("a.jpg", "new/a.itg"), ("b.png", "new/b.itg")]
    with pytest.raises(BadInput, match="a.jpg is a file"):
        plan(["a.jpg", "b.png"], "a.jpg", PICTURES, ".itg")


def test_folders_are_mirrored(here):
    touch("in/a.jpg", "in/deep/er/b.PNG", "in/notes.txt", "in/.hidden.jpg", "in/.git/c.jpg", "in/out/old.png")
    assert pairs(["in"], "in/out") == [("in/a.jpg", "in/out/a.itg"), ("in/deep/er/b.PNG", "in/out/deep/er/b.itg")]


def test_only_a_pictures_suffix_is_taken_off(here):
    touch("holiday.v2", "b.tar.png", "noname")
    assert pairs(["holiday.v2", "b.tar.png", "noname"]) == [
        ("holiday.v2", "holiday.v2.itg"), ("b.tar.png", "b.tar.itg"), ("noname", "noname.itg")]


def test_one_file_named_twice_is_done_once(here):
    touch("in/a.jpg")
    assert pairs(["in", "in/a.jpg", "./in/a.jpg"]) == [("in/a.jpg", "in/a.itg")]


def test_two_sources_of_one_result_do_not_overwrite_each_other(here):
    touch("a.jpg", "a.png")
    first, second = plan(["a.jpg", "a.png"], None, PICTURES, ".itg")
    assert first == Job("a.jpg", "a.itg")
    assert "a.itg is the result of a.jpg already" in second.problem


def test_pipes_have_no_name(here):
    assert plan(["-"], None, PICTURES, ".itg") == [Job("-", "-")]
    assert plan(["-"], "a.itg", PICTURES, ".itg") == [Job("-", "a.itg")]
    touch("a.jpg", "b.jpg")
    assert plan(["a.jpg"], "-", PICTURES, ".itg") == [Job("a.jpg", "-")]
    for inputs, output in ((["a.jpg", "b.jpg"], "-"), (["-"], "folder/"), (["-", "a.jpg"], "folder")):
        with pytest.raises(BadInput):
            plan(inputs, output, PICTURES, ".itg")


def test_folders_hold_pictures_of_every_usual_format():
    assert {".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".bmp", ".gif", ".heic", ".jp2"} <= picture_suffixes()
    assert not {".itg", ".pdf", ".mpg", ".h5", ".txt", ".eps"} & picture_suffixes()


def test_existing_files_are_kept_unless_told_otherwise(here, tiny_model, capsys):
    noise(here / "a.png")
    Path("a.itg").write_bytes(b"precious")
    assert call("encode", "a.png", "--model", tiny_model) == 1
    assert capsys.readouterr().err == "error: a.png: a.itg exists already; give --overwrite to replace it\n"
    assert Path("a.itg").read_bytes() == b"precious"
    assert call("encode", "a.png", "--model", tiny_model, "--overwrite") == 0
    assert Path("a.itg").read_bytes() != b"precious"


@pytest.mark.parametrize("command", ["encode", "roundtrip"])
def test_a_source_is_never_replaced(here, tiny_model, capsys, command):
    before = noise(here / "a.png").read_bytes()
    assert call(command, "a.png", "-o", "./a.png", "--overwrite", "--model", tiny_model) == 1
    assert "would replace its own source" in capsys.readouterr().err
    assert (here / "a.png").read_bytes() == before


def test_a_folder_there_and_back(here, tiny_model):
    noise(here / "in" / "a.png", 40, 30)
    noise(here / "in" / "deep" / "b.jpg", 65, 17)
    assert call("encode", "in", "-o", "coded", "--model", tiny_model) == 0
    assert call("decode", "coded", "-o", "back", "--model", tiny_model) == 0
    assert sorted(str(p) for p in Path("back").rglob("*.*")) == ["back/a.png", "back/deep/b.png"]
    assert Image.open("back/deep/b.png").size == (65, 17)
    assert call("decode", "coded", "-o", "webp", "-f", "webp", "--model", tiny_model, "-j", "1") == 0
    assert Image.open("webp/a.webp").size == (40, 30)


def test_links_in_circles_end(here):
    touch("in/a.jpg")
    Path("in/loop").symlink_to(here / "in")
    assert pairs(["in"]) == [("in/a.jpg", "in/a.itg")]


def test_files_that_could_wait_for_ever_are_left_out_of_folders(here):
    touch("in/a.jpg")
    os.mkfifo("in/b.jpg")
    Path("in/c.jpg").symlink_to("nowhere")
    assert pairs(["in"]) == [("in/a.jpg", "in/a.itg"), ("in/c.jpg", "in/c.itg")]


def test_encode_does_not_write_under_a_pictures_name(here, tiny_model, capsys):
    noise(here / "a.png")
    before = noise(here / "b.jpg", seed=1).read_bytes()
    assert call("encode", "a.png", "-o", "b.jpg", "--overwrite", "--model", tiny_model) == 2
    assert "end it in .itg" in capsys.readouterr().err
    assert Path("b.jpg").read_bytes() == before
    assert call("encode", "a.png", "-o", "", "--model", tiny_model) == 2
    assert "-o is empty" in capsys.readouterr().err
