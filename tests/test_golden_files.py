"""Hazard: a change to the codec, or another machine, decodes yesterday's files to something else.

The files of tests/golden are of format version 1 and stay decodable for ever. Where a test here fails, the change is a
new version of the format, not a reason to make new golden files.
"""

import importlib
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from golden_pictures import XMP, alpha, error, exif, model_of, sources

import intaglio
from intaglio.package import Package

GOLDEN = Path(__file__).parent / "golden"
RECORDS = json.loads((GOLDEN / "golden.json").read_text())
SOURCES = sources()
sys.path.append(str(Path(__file__).parents[1] / "tools"))
exactness = importlib.import_module("exactness")


@pytest.fixture(scope="module")
def models():
    return {name: Package.read(GOLDEN / f"{name}.itgm") for name in ("tiny", "grouped", "wide")}


def golden(name):
    return (GOLDEN / f"{name}.itg").read_bytes()


def test_the_files_are_those_that_were_recorded():
    assert {path.stem for path in GOLDEN.glob("*.itg")} == set(RECORDS)
    for name, record in RECORDS.items():
        assert zlib.crc32(golden(name)) == record["crc"], f"{name}.itg was changed, by a text-mode copy perhaps"
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 600_000


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", RECORDS)
def test_residuals_and_latents_by_onnxruntime(models, name, threads):
    runtime = exactness.OrtRuntime(models[model_of(name)], threads, "ENABLE_ALL")
    check(exactness.decode(runtime, golden(name)), RECORDS[name]["tiles"], name)


@pytest.mark.parametrize("name", [name for name in RECORDS if model_of(name) == "wide"])
def test_residuals_and_latents_by_torch(models, name):
    """Its layers have ten bits; older models', of eight, are run by onnxruntime and the second decoder."""
    runtime = exactness.TorchRuntime(models[model_of(name)], threads=2)
    check(exactness.decode(runtime, golden(name)), RECORDS[name]["tiles"], name)


def check(tiles, records, name):
    for (residuals, latents), record in zip(exactness.checksums(tiles), records, strict=True):
        assert residuals == record["residuals"]
        if name != "limits":  # there float32 cannot hold the latents: 16 * 2^20 sixteenths and a mean
            assert latents == record["latents"]


@pytest.mark.parametrize("name", SOURCES)
def test_the_picture_is_the_one_that_was_encoded(models, name):
    image, source = intaglio.decode(golden(name), model=models[model_of(name)]), SOURCES[name][0]
    assert (image.size, image.mode) == (source.size, source.mode)
    assert error(image, source) == pytest.approx(RECORDS[name]["error"], rel=0.01, abs=0.1)


def test_residuals_beyond_any_picture_still_make_a_picture(tiny):
    assert intaglio.decode(golden("limits"), model=tiny).size == (190, 100)


def test_alpha_and_metadata(tiny):
    image = intaglio.decode(golden("rgba"), model=tiny)
    assert np.array_equal(np.asarray(image)[:, :, 3], alpha(90, 70))
    assert (image.info["exif"], image.info["xmp"]) == (exif(6), XMP)
    assert image.info["icc_profile"] == bytes(range(256)) * 2
    assert (np.asarray(intaglio.decode(golden("la"), model=tiny))[:, :, 1] == 128).all()


def test_a_region_is_part_of_the_whole(tiny):
    whole = np.asarray(intaglio.decode(golden("tiles"), model=tiny)).astype(int)
    part = np.asarray(intaglio.decode(golden("tiles"), model=tiny, region=(990, 1000, 80, 30))).astype(int)
    assert np.abs(part - whole[1000:1030, 990:1070]).max() <= 1


def test_what_the_headers_say():
    info = {name: intaglio.info(golden(name)) for name in RECORDS}
    for name, q in {"photo": 32, "photo_q0": 0, "photo_q63": 63, "grey": 25, "rgba": 38, "limits": 20}.items():
        assert info[name]["q"] == q
    assert info["rgba"]["realism"] == 0.25 and info["rgba"]["orientation"] == 6
    assert info["tiles"]["tiles"] == 4 and info["gain"]["gain_map"] is not None
