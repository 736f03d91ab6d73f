"""Hazard: a file decoded with another model than the one it was made for, which prints noise, or almost the picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from golden_pictures import landscape

import intaglio
from intaglio import package as packages
from intaglio.container import pack
from intaglio.package import Package
from intaglio.reader import Reader


@pytest.fixture(scope="module")
def file(tiny: Package) -> bytes:
    return intaglio.encode(landscape(80, 60, 1), model=tiny)


def changed(tiny: Package, card: dict[str, Any] | None = None, graph: str = "", tables: Any = None, prior: Any = None,
            ) -> Package:
    """The tiny model with other numbers, a graph with other bytes, other tables or another prior."""
    graphs = {n.removesuffix(".onnx"): d for n, d in tiny.members.items() if n.endswith(".onnx")}
    if graph:
        graphs[graph] += b"\x32\0"  # an empty name of the producer: the graph does what it did
    return Package.assemble({**tiny.card, **(card or {})}, graphs, {**tiny.tables, **(tables or {})},
                            {**tiny.arrays("prior"), **(prior or {})})


def other(tiny: Package, name: str) -> Package:
    gains = tiny.tables["gains"].copy()
    gains[3, 3] = np.nextafter(gains[3, 3], 2)
    index = tiny.tables["hyper_index"].copy()
    index[0, 0] ^= 1
    counts = tiny.tables["counts"].copy()
    counts[counts.argmax()] -= 1
    counts[counts.argmax() + 1] += 1
    weight = next(iter(tiny.arrays("prior")))
    return {
        "one gain, by its last bit": lambda: changed(tiny, tables={"gains": gains}),
        "one scale index": lambda: changed(tiny, tables={"hyper_index": index}),
        "one count": lambda: changed(tiny, tables={"counts": counts}),
        "one weight of the prior": lambda: changed(tiny, prior={weight: tiny.arrays("prior")[weight] ^ 1}),
        "the synthesis": lambda: changed(tiny, graph="synthesis"),
        "the halo": lambda: changed(tiny, {"halo": {"analysis": 32, "synthesis": 48}}),
        "the order of the passes": lambda: changed(tiny, {"passes": tiny.card["passes"][::-1]}),
        "what a pass sees": lambda: changed(tiny, {"seen": [0] * len(tiny.card["seen"])}),
    }[name]()


OTHER = ["one gain, by its last bit", "one scale index", "one count", "one weight of the prior", "the synthesis",
         "the halo", "the order of the passes", "what a pass sees"]


@pytest.mark.parametrize("name", OTHER)
def test_another_decoder_is_refused_by_name(tiny: Package, file: bytes, name: str) -> None:
    model = other(tiny, name)
    with pytest.raises(intaglio.WrongModel) as caught:
        intaglio.decode(file, model=model)
    text = str(caught.value)
    assert tiny.fingerprint.hex() in text and model.fingerprint.hex() in text and "tiny" in text and "\n" not in text


@pytest.mark.parametrize("graph", ["analysis", "hyper"])
def test_another_encoder_of_the_same_decoder_is_welcome(tiny: Package, file: bytes, graph: str) -> None:
    model = changed(tiny, {"name": "better", "figures": 7}, graph)
    assert model.fingerprint == tiny.fingerprint
    assert intaglio.decode(file, model=model).tobytes() == intaglio.decode(file, model=tiny).tobytes()


def test_without_a_model_the_released_one_that_fits_is_taken(
    tiny: Package, file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = {"one": other(tiny, "one count"), "two": tiny}
    monkeypatch.setattr(packages, "released_names", lambda: list(wheel))
    monkeypatch.setattr(packages, "released", lambda name="one": wheel[name])
    assert intaglio.decode(file).tobytes() == intaglio.decode(file, model=tiny).tobytes()
    del wheel["two"]
    with pytest.raises(intaglio.WrongModel) as caught:
        intaglio.decode(file)
    assert tiny.fingerprint.hex() in str(caught.value) and wheel["one"].fingerprint.hex() in str(caught.value)
    wheel.clear()
    with pytest.raises(intaglio.WrongModel, match=f"{tiny.fingerprint.hex()}, at hand is none"):
        intaglio.decode(file)


def test_info_needs_no_model(tiny: Package, file: bytes) -> None:
    shown = intaglio.info(file)
    assert shown["fingerprint"] == tiny.fingerprint.hex() and shown["model"] is None


def test_a_forged_fingerprint_does_not_get_far(tiny: Package, file: bytes) -> None:
    """Tiles under another model's header: the checksum of the residuals finds it, not the eye."""
    model = changed(tiny, tables={"hyper_index": tiny.tables["hyper_index"] ^ 1})
    with Reader(file) as reader:
        forged = pack(replace(reader.header, fingerprint=model.fingerprint), [reader.tile(0)])
    with pytest.raises(intaglio.CorruptFile, match="another model"):
        intaglio.decode(forged, model=model)
