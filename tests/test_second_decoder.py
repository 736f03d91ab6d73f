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
import reference_prior
from golden_pictures import model_of

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


def test_it_needs_nothing_of_the_first_one():
    program = (
        "import sys; import reference_prior as p, reference_file as f; m = p.Model('golden/tiny.itgm');"
        "file = f.parse(open('golden/grey.itg', 'rb').read()); p.decode_tile(m, file.tiles[0], file.tile_steps(0));"
        "print([n for n in ('intaglio', 'torch', 'onnxruntime', 'constriction', 'onnx', 'PIL') if n in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", program], cwd=GOLDEN.parent, capture_output=True, text=True)
    assert child.stdout.strip() == "[]", child.stderr
