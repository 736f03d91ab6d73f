"""A command line that makes no sense: exit code 2, one sentence, and no file touched."""

import os

import pytest
from running import call, noise, one_sentence


@pytest.mark.parametrize("line", [
    "encode",
    "encode a.png -q 101",
    "encode a.png -q nan",
    "encode a.png -q high",
    "encode a.png -q 5 --target-bpp 1",
    "encode a.png --target-bpp 0",
    "encode a.png --target-bpp nan",
    "encode a.png --target-bytes 0",
    "encode a.png --target-bytes 1.5",
    "encode a.png --realism 1.01",
    "encode a.png --device abacus",
    "encode a.png --model missing.itgm",
    "encode a.png --model a.png",
    "encode a.png --roi missing.png",
    "encode a.png --threads 0",
    "encode a.png --jobs 0",
    "encode a.png --frobnicate",
    "encode a.png b.png -o a.png",
    "encode a.png -o - --json",
    "decode a.itg --region 1,2,3",
    "decode a.itg --region 1,2,3,four",
    "decode a.itg -o a.xyz",
    "decode a.itg -o a",
    "decode a.itg -f xyz",
    "decode a.itg --device abacus",
    "decode a.itg --realism nan",
    "roundtrip a.png --keep-itg",
    "train vae --data . --steps 1 --seed 100000000000000000000",
    "frobnicate a.png",
])
def test_usage(line, tmp_path, monkeypatch, capsys, tiny_model):
    monkeypatch.chdir(tmp_path)
    noise(tmp_path / "a.png")
    (tmp_path / "a.itg").touch()
    if "--model" not in line and line.startswith(("encode a", "roundtrip")):
        line += f" --model {tiny_model}"
    assert call(*line.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in one_sentence(err)
    assert sorted(os.listdir()) == ["a.itg", "a.png"] and (tmp_path / "a.itg").read_bytes() == b""


def test_a_missing_source_is_what_is_told_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("decode", "missing", "-o", "out") == 1
    assert one_sentence(capsys.readouterr().err) == "error: missing: there is no such file or folder\n"


def test_help_and_version(capsys):
    assert call() == 2
    assert "roundtrip" in capsys.readouterr().out
    assert call("--help") == 0
    assert call("encode", "--help") == 0
    assert "--target-bytes" in capsys.readouterr().out
    assert call("--version") == 0
    assert capsys.readouterr().out.startswith("intaglio ")
