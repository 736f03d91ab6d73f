"""Every option reaches the codec, and what is printed is what is in the file."""

import json
import os
import zlib

import numpy as np
import pytest
from PIL import Image
from running import call, noise

import intaglio
from intaglio.cli.work import psnr


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise(tmp_path / "a.png", 200, 130)
    return tmp_path


@pytest.fixture
def encoded(here, tiny_model, capsys):
    """Encodes a.png with the given options; returns the file's bytes and the record printed of it."""

    def run(*options: str) -> tuple[bytes, dict]:
        assert call("encode", "a.png", "--model", tiny_model, "--json", "--overwrite", *options) == 0
        return (here / "a.itg").read_bytes(), json.loads(capsys.readouterr().out)

    return run


def test_rates(encoded, here):
    low, high = encoded("-q", "0"), encoded("-q", "100")
    assert (low[1]["q"], high[1]["q"]) == (0, 63) and len(low[0]) < len(high[0])
    middle = (len(low[0]) + len(high[0])) // 2
    data, record = encoded("--target-bytes", str(middle))
    assert len(low[0]) < len(data) <= middle and record["bytes"] == len(data) == os.path.getsize("a.itg")
    bpp = 8 * middle / (200 * 130)
    data, record = encoded("--target-bpp", str(bpp))
    assert low[1]["bpp"] < record["bpp"] <= bpp
    assert record["bpp"] == pytest.approx(8 * len(data) / (200 * 130), abs=1e-4)


def test_unreachable_target(here, tiny_model, capsys):
    assert call("encode", "a.png", "--model", tiny_model, "--target-bytes", "20") == 1
    assert "at least" in capsys.readouterr().err and not (here / "a.itg").exists()


def test_realism_and_roi(encoded, here):
    assert intaglio.info(encoded("--realism", "0.25")[0])["realism"] == 0.25
    mask = np.zeros((13, 20), np.uint8)
    mask[:, :10] = 255
    Image.fromarray(mask).save("mask.png")
    assert intaglio.info(encoded("--roi", "mask.png")[0])["gain_map"] is not None


def test_grain_of_the_viewers_own(encoded, here, tiny_model, capsys):
    data = encoded()[0]
    for given in ("0", "4"):
        assert call("decode", "a.itg", "--model", tiny_model, "-o", f"{given}.png", "--grain", given) == 0
        expected = intaglio.decode(data, model=tiny_model, grain=float(given))
        assert np.array_equal(np.asarray(Image.open(f"{given}.png")), np.asarray(expected))
    assert np.asarray(Image.open("0.png")).tobytes() != np.asarray(Image.open("4.png")).tobytes()
    for wrong in ("-1", "21", "nan"):
        assert call("decode", "a.itg", "--model", tiny_model, "-o", "no.png", "--grain", wrong) != 0
        assert "--grain" in capsys.readouterr().err and not (here / "no.png").exists()


def test_region(encoded, here, tiny_model):
    encoded()
    assert call("decode", "a.itg", "-o", "whole.png", "--model", tiny_model) == 0
    assert call("decode", "a.itg", "-o", "part.png", "--region", "30,40,50,60", "--model", tiny_model) == 0
    whole, part = (np.asarray(Image.open(n)).astype(int) for n in ("whole.png", "part.png"))
    assert part.shape == (60, 50, 3) and abs(whole[40:100, 30:80] - part).max() <= 1


def test_region_outside(encoded, here, tiny_model, capsys):
    encoded()
    assert call("decode", "a.itg", "--region", "190,0,20,5", "--model", tiny_model, "-o", "b.png") == 1
    assert "not inside the picture of 200 x 130" in capsys.readouterr().err


def test_max_pixels(encoded, here, tiny_model, capsys):
    encoded()
    for line in ("encode a.png -o b.itg", "decode a.itg -o b.png", "info a.itg"):
        model = [] if line.startswith("info") else ["--model", tiny_model]
        assert call(*line.split(), "--max-pixels", "25999", *model) == 1
        assert "25999" in capsys.readouterr().err
    assert not {"b.itg", "b.png"} & set(os.listdir())


def test_format(encoded, here, tiny_model):
    encoded()
    assert call("decode", "a.itg", "-f", "tiff", "-o", "plain", "--model", tiny_model) == 0
    assert Image.open("plain").format == "TIFF"
    assert call("decode", "a.itg", "-f", "JPG", "--model", tiny_model) == 0
    assert Image.open("a.jpg").format == "JPEG"


def test_threads_and_jobs(encoded, here, tiny_model):
    assert encoded("--threads", "1")[0] == encoded("--threads", "2", "--jobs", "2")[0]


def test_wrong_model_is_refused_by_name(encoded, here, tiny_model, capsys):
    data = bytearray(encoded()[0])
    end = 16 + int.from_bytes(data[12:16], "big")  # of HEAD's payload, after the signature, its type and length
    data[20] ^= 1  # the fingerprint's first byte
    data[end : end + 4] = zlib.crc32(b"HEAD" + data[16:end]).to_bytes(4, "big")
    (here / "b.itg").write_bytes(data)
    assert call("decode", "b.itg", "--model", tiny_model) == 1
    assert "made with model" in capsys.readouterr().err


def test_info_reads_the_header_only(encoded, here, capsys):
    data, record = encoded("-q", "30")
    (here / "bad.itg").write_bytes(data[:-20] + bytes(20))  # no tile of it can be decoded
    assert call("info", "a.itg", "bad.itg", "--json") == 0
    whole, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert (whole["width"], whole["height"], whole["mode"], whole["q"]) == (200, 130, "RGB", record["q"])
    assert whole["bytes"] == len(data) and bad["chunks"] == whole["chunks"]
    assert call("info", "a.itg") == 0
    text = capsys.readouterr().out
    assert f"{len(data):,}" in text and "TILE" in text and whole["fingerprint"] in text


def test_roundtrip(here, tiny_model, capsys):
    assert call("roundtrip", "a.png", "--model", tiny_model, "-o", "out/back.png", "--keep-itg", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["bytes"] == os.path.getsize("out/back.itg")
    a, b = Image.open("a.png"), Image.open("out/back.png")
    mse = np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)
    assert record["psnr"] == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-3)
    assert psnr(a, a) == float("inf")
    assert call("roundtrip", "a.png", "--model", tiny_model, "-q", "90") == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("bytes", "bits per pixel", "PSNR", "dB", "encode", "decode", "tiny"))
    assert sorted(os.listdir()) == ["a.png", "out"]


def test_metadata_survives_the_command_line(here, tiny_model):
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(here / "m.png", mode="RGBA", exif=exif, icc_profile=b"a profile")
    assert call("encode", "m.png", "--model", tiny_model) == 0
    assert call("decode", "m.itg", "-o", "n.png", "--model", tiny_model) == 0
    a, b = Image.open("m.png"), Image.open("n.png")
    assert b.info["icc_profile"] == b"a profile" and b.info["exif"] == a.info["exif"]
    assert b.size == a.size and b.mode == "RGBA"
    assert np.array_equal(np.asarray(a)[..., 3], np.asarray(b)[..., 3])
