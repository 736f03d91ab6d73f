"""One bad file in a batch fails alone, in one sentence; the exit code and the list at the end tell of it."""

import json
import os

import pytest
from PIL import Image
from running import call, noise, one_sentence

from intaglio import codec


@pytest.fixture
def batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "in" / "empty.png").touch()
    noise(tmp_path / "in" / "z.png", mode="L")
    return tmp_path


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_others_are_done(batch, tiny_model, capsys, jobs):
    assert call("encode", "in", "-o", "out", "--model", tiny_model, "--jobs", jobs) == 1
    assert sorted(os.listdir("out")) == ["a.itg", "z.itg"]
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    *errors, count, first, second = err.splitlines()
    assert sorted(errors) == [
        "error: cannot read in/bad.jpg: it is damaged, or of a kind that Pillow does not know",
        "error: cannot read in/empty.png: it is empty"]
    assert count == "2 of 4 files failed:"
    assert sorted([first, second]) == ["  in/bad.jpg", "  in/empty.png"]


def test_json_tells_of_failures_too(batch, tiny_model, capsys):
    assert call("encode", "in", "-o", "out", "--model", tiny_model, "--json") == 1
    records = {r["source"]: r for r in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(records) == {"in/a.png", "in/bad.jpg", "in/empty.png", "in/z.png"}
    assert "cannot read" in records["in/bad.jpg"]["error"]
    assert records["in/z.png"]["mode"] == "L" and records["in/z.png"]["target"] == "out/z.itg"
    assert records["in/a.png"]["bytes"] == os.path.getsize("out/a.itg")


def test_damaged_files_do_not_stop_a_decode(batch, tiny_model, capsys):
    assert call("encode", "in/a.png", "in/z.png", "-o", "out", "--model", tiny_model) == 0
    damaged = bytearray((batch / "out" / "a.itg").read_bytes())
    damaged[-20] ^= 1
    (batch / "out" / "a.itg").write_bytes(damaged)
    capsys.readouterr()
    assert call("decode", "out", "--model", tiny_model) == 1
    assert sorted(os.listdir("out")) == ["a.itg", "z.itg", "z.png"]
    assert capsys.readouterr().err.startswith("error: out/a.itg: the TILE chunk of tile 0")


@pytest.mark.parametrize(("fault", "sentence"), [
    (MemoryError(), "a.png: there is not enough memory for this picture; try --jobs 1"),
    (ValueError("two\nlines"), "a.png: internal error, please report it (ValueError: two lines)"),
    (OSError(28, "No space left on device"), "a.png: input or output: No space left on device"),
])
def test_faults_are_sentences(batch, tiny_model, capsys, monkeypatch, fault, sentence):
    def fail(*_, **__):
        raise fault

    monkeypatch.setattr(codec, "encode", fail)
    assert call("encode", "in/a.png", "--model", tiny_model) == 1
    assert one_sentence(capsys.readouterr().err) == f"error: in/{sentence}\n"


def test_nothing_to_do_is_a_failure(batch, capsys):
    (batch / "none").mkdir()
    assert call("info", "none") == 1
    assert one_sentence(capsys.readouterr().err) == "error: the folder none holds no .itg files\n"
    assert call("info", "missing.itg") == 1
    assert "missing.itg" in one_sentence(capsys.readouterr().err)


def test_warnings_are_one_line_and_name_the_file(batch, tiny_model, capsys):
    Image.open("in/a.png").convert("P").save("p.png")
    assert call("encode", "p.png", "--model", tiny_model) == 0
    out, err = capsys.readouterr()
    assert err == "warning: p.png: mode P becomes RGB\n" and "p.png -> p.itg" in out
    (batch / "p.itg").write_bytes((batch / "p.itg").read_bytes() + b"tail")
    assert call("decode", "p.itg", "-o", "q.png", "--model", tiny_model) == 0
    err = capsys.readouterr().err
    assert err.startswith("warning: p.itg: 4 bytes after the last tile") and err.count("\n") == 1
    assert call("encode", "p.png", "--model", tiny_model, "--strict", "--overwrite") == 1


def test_a_file_name_cannot_drive_the_terminal(batch, capsys):
    assert call("info", "evil\n\x1b[2Jname.itg") == 1
    assert "evil\\n\\x1b[2Jname.itg" in one_sentence(capsys.readouterr().err)


@pytest.mark.skipif(os.name == "nt", reason="no such names")
def test_a_name_with_a_line_break_prints_one_line(batch, tiny_model, capsys):
    noise(batch / "x.png")
    os.rename(batch / "x.png", batch / "ev\nil.png")
    for command in ("encode", "roundtrip"):
        assert call(command, "ev\nil.png", "--model", tiny_model, "--overwrite") == 0
        out = capsys.readouterr().out
        assert "ev\\nil.png" in out.split("\n")[0] and "\nil" not in out


@pytest.mark.parametrize("words", [("--threads", "100000"), ("--strip-minutes", "nan"), ("--strip-minutes", "-3")])
def test_numbers_of_a_training_that_make_no_sense(batch, capsys, words):
    assert call("train", "vae", "--data", batch / "in", "--steps", 1, *words) == 2
    assert words[0] in one_sentence(capsys.readouterr().err)


def test_the_size_that_is_wrong_is_named(batch, capsys):
    noise(batch / "x.png")
    for words, told in ((("--bpp", "0.1,inf"), "a target is inf"), (("--bytes", "1.5"), "whole numbers")):
        assert call("bench", "x.png", *words) == 2
        assert told in one_sentence(capsys.readouterr().err)
