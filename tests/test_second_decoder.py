"""Hazard: docs/format.md is not enough to write a decoder from, or says something else than the product does.

reference_file, reference_prior and reference_ans were written from that page, in plain Python and NumPy integers. They
find the residuals and latents of every golden file with no help from intaglio, onnxruntime, torch or constriction.
"""

import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import reference_file
import reference_grain
import reference_prior
from golden_pictures import model_of

import intaglio
from intaglio.container import pack
from intaglio.package import Package
from intaglio.reader import Reader

GOLDEN = Path(__file__).parent / "golden"
RECORDS = json.loads((GOLDEN / "golden.json").read_text())


def crc(values):
    return zlib.crc32(values.astype("<i4").tobytes())


@pytest.fixture(scope="module")
def models():
    return {name: reference_prior.Model(GOLDEN / f"{name}.itgm") for name in ("tiny", "grouped", "wide")}


@pytest.mark.parametrize("name", RECORDS)
def test_the_second_decoder_finds_the_recorded_residuals(models, name):
    model = models[model_of(name)]
    file = reference_file.parse((GOLDEN / f"{name}.itg").read_bytes())
    assert file.fingerprint == model.fingerprint
    assert len(file.tiles) == len(RECORDS[name]["tiles"])
    for i, record in enumerate(RECORDS[name]["tiles"]):
        groups, y16 = reference_prior.decode_tile(model, file.tiles[i], file.tile_steps(i))
        assert crc(np.concatenate(groups)) == record["residuals"]
        assert crc(y16) == record["latents"]


@pytest.mark.parametrize("name", ["blocks", "soft"])
def test_the_second_decoder_draws_the_same_grain(name):
    """On top of the picture that the first one decodes where the file has no grain; edges and every seventh."""
    data, tiny = (GOLDEN / f"{name}.itg").read_bytes(), Package.read(GOLDEN / "tiny.itgm")
    at = data.index(b"BMAP")
    payload = data[at + 8 : at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")]
    offsets, levels = reference_file.block_numbers(payload, (4, 5))
    with Reader(data) as reader:
        assert np.array_equal(reader.qmap, offsets) and np.array_equal(reader.grain, levels)
        assert reader.soft == (name == "soft") == bool(payload[0] & 8)
        bare = pack(reader.header, [reader.tile(0)], qmap=reader.qmap, seed=reader.seed)
        seed = reader.seed
    plain, grained = (np.asarray(intaglio.decode(file, model=tiny, realism=0.7)) for file in (bare, data))
    height, width = plain.shape[:2]
    rows, columns = sorted({0, height - 1, *range(3, height, 7)}), sorted({0, width - 1, *range(5, width, 7)})
    told = levels, seed, 0.7, payload[0]
    expected = [[reference_grain.shown(int(plain[y, x, 1]), x, y, *told) for x in columns] for y in rows]
    found = grained[np.ix_(rows, columns)][:, :, 1]
    assert np.array_equal(found, expected)
    assert (found != plain[np.ix_(rows, columns)][:, :, 1]).mean() > 0.02, "there is grain to compare"


def test_it_needs_nothing_of_the_first_one():
    program = (
        "import sys; import reference_prior as p, reference_file as f; m = p.Model('golden/tiny.itgm');"
        "file = f.parse(open('golden/grey.itg', 'rb').read()); p.decode_tile(m, file.tiles[0], file.tile_steps(0));"
        "print([n for n in ('intaglio', 'torch', 'onnxruntime', 'constriction', 'onnx', 'PIL') if n in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", program], cwd=GOLDEN.parent, capture_output=True, text=True)
    assert child.stdout.strip() == "[]", child.stderr
