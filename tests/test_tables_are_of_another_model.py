"""Hazard: entropy tables that are taken over from another package do not fit the model."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_recipe import TINY

import intaglio
from intaglio import entropy
from intaglio.errors import BadInput
from intaglio.nn.codec import Codec
from intaglio.package import Package
from intaglio.train.export import export
from intaglio.train.run import with_tables


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    return Codec(TINY).eval()


@pytest.fixture(scope="module")
def counted(codec: Codec) -> Package:
    return export(codec, {"name": "counted"}, entropy.gaussian_tables([0.3 + 0.5 * s for s in range(64)]))


def test_a_new_decoder_has_the_tables_of_the_old_one(codec: Codec, counted: Package) -> None:
    trained = copy.deepcopy(codec)
    with torch.no_grad():
        trained.synthesis.out.bias += 0.1
    package = with_tables(export(trained, {"name": "trained"}), counted)
    assert package.name == "trained" and package.fingerprint != counted.fingerprint
    assert all(np.array_equal(package.tables[name], counted.tables[name]) for name in counted.tables)
    image = Image.effect_noise((70, 50), 60)
    files = [intaglio.encode(image, model=model) for model in (package, counted)]
    assert len(files[0]) == len(files[1]), "the same bytes, but for the fingerprint"
    again = Package.from_bytes(package.to_bytes(), "here")
    shown = [np.asarray(intaglio.decode(f, model=m)).astype(int) for f, m in zip(files, (again, counted), strict=True)]
    assert np.abs(shown[0] - shown[1]).max() > 5


@pytest.mark.parametrize(("part", "told"), [("analysis.enter.weight", "analysis"), ("log_gain", "gains")])
def test_tables_of_another_encoder_are_refused(codec: Codec, counted: Package, part: str, told: str) -> None:
    other = copy.deepcopy(codec)
    with torch.no_grad():
        dict(other.named_parameters())[part].mul_(1.5)
    with pytest.raises(BadInput, match=f"{told}.*--tables"):
        with_tables(export(other, {"name": "other"}), counted)
