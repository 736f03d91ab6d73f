"""Hazard: a model package that is damaged, or made by somebody who means harm, ends in a traceback or takes the memory.

Whatever is wrong must end in WrongModel and one sentence that names the package, before a network decodes anything.
"""

from __future__ import annotations

import io
import json
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_pictures import landscape
from hypothesis import given, settings
from hypothesis import strategies as st

import intaglio
from intaglio.errors import WrongModel
from intaglio.package import Package, resolve


@pytest.fixture(scope="module")
def data(tiny_model: Path) -> bytes:
    return tiny_model.read_bytes()


@pytest.fixture(scope="module")
def tiny(data: bytes) -> Package:
    return Package.from_bytes(data, "tiny.itgm")


def refused(data: bytes, match: str | None = None) -> None:
    start = time.perf_counter()
    with pytest.raises(WrongModel, match=match) as caught:
        Package.from_bytes(data, "odd.itgm")
    text = str(caught.value)
    assert text.startswith("odd.itgm: ") and "\n" not in text and len(text) < 300
    assert time.perf_counter() - start < 2


def remade(
    tiny: Package, card: dict[str, Any] | None = None, members: dict[str, bytes | None] | None = None
) -> Package:
    """A package whose hashes and fingerprint are right, with other numbers or members (None leaves one out)."""
    parts = {**tiny.members, **(members or {})}
    graphs = {n.removesuffix(".onnx"): d for n, d in parts.items() if n.endswith(".onnx") and d is not None}
    return Package.assemble({**tiny.card, **(card or {})}, graphs, tiny.tables, tiny.arrays("prior"))


def stored(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return sink.getvalue()


def test_a_sound_package_comes_back(tiny: Package, data: bytes) -> None:
    again = remade(tiny)
    assert again.fingerprint == tiny.fingerprint
    assert Package.from_bytes(again.to_bytes(), "again").members == tiny.members
    assert tiny.to_bytes() == again.to_bytes()
    assert Package.from_bytes(data, "as stored").members == tiny.members, "golden: members stored, not deflated"


def test_every_truncation_is_refused(data: bytes) -> None:
    for length in [*range(200), *range(200, len(data), 1999), *range(len(data) - 600, len(data))]:
        refused(data[:length])


@given(at=st.integers(0, 2**30), mask=st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_flipped_bytes_are_refused_or_harmless(data: bytes, tiny: Package, at: int, mask: int) -> None:
    """Some bytes of a zip and of the card's prose mean nothing to a decoder."""
    damaged = bytearray(data)
    damaged[at % len(data)] ^= mask
    try:
        package = Package.from_bytes(bytes(damaged), "odd.itgm")
    except WrongModel:
        return
    assert package.members == tiny.members and package.fingerprint == tiny.fingerprint


@given(data=st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    refused(data)
    refused(b"PK\3\4" + data)
    refused(data + b"PK\5\6" + bytes(18))


def test_members_that_expand_without_end_are_refused() -> None:
    """Three hundred kilobytes that expand to three hundred megabytes; and ones that say they are small."""
    bomb = stored({"card.json": b"{}", "bomb.onnx": bytes(300 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 2**20
    refused(bomb, "256 MiB")
    at = bomb.rindex(b"PK\1\2") + 24  # the size that the directory states for the last member
    tracemalloc.start()
    refused(bomb[:at] + struct.pack("<L", 1000) + bomb[at + 4 :])
    assert tracemalloc.get_traced_memory()[1] < 10 * len(bomb)
    tracemalloc.stop()


def test_other_compressions_are_refused() -> None:
    refused(stored({"card.json": b"{}"}, zipfile.ZIP_BZIP2), "deflate")


def test_members_that_share_their_bytes_are_refused() -> None:
    """A thousand entries of one megabyte each, in a file of one megabyte."""
    archive = stored({"card.json": bytes(10**6)})
    entry = archive.index(b"PK\1\2")
    end = archive.index(b"PK\5\6", entry)
    entries = archive[entry:end] * 1000
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1000, 1000, len(entries), entry, 0)
    refused(archive[:entry] + entries + tail, "256 MiB")


def test_encrypted_members_are_refused(data: bytes) -> None:
    damaged = bytearray(data)
    at = damaged.index(b"PK\1\2")
    damaged[at + 8] |= 1
    refused(bytes(damaged))


@pytest.mark.parametrize(
    "card", [b"", b"[]", b"null", b"7", b'"card"', b"{}", b"{", b"\xff\xfe", b"[" * 100_000, b'{"sha256": {}}',
             b'{"sha256": {}, "fingerprint": ""}', b'{"sha256": [], "fingerprint": null, "halo": 1}'],
)
def test_a_card_that_is_none_is_refused(card: bytes) -> None:
    refused(stored({"card.json": card}))
    refused(stored({"other.json": card}), "not an intaglio model package")


DECODING = ["latents", "hyper", "steps", "passes", "seen", "halo"]


@pytest.mark.parametrize("key", [*DECODING, "sha256", "fingerprint"])
def test_a_card_without_a_number_is_refused(tiny: Package, key: str) -> None:
    card = {k: v for k, v in tiny.card.items() if k != key}
    refused(Package(card, tiny.members).to_bytes(), key)


@pytest.mark.parametrize("key", DECODING)
@pytest.mark.parametrize("value", [None, -1, 0, 1, 2**40, 1.5, float("nan"), "24", True, [], [[]], {}, [[0, 24, 0]]])
def test_a_card_with_a_senseless_number_is_refused(tiny: Package, key: str, value: Any) -> None:
    """With right hashes and a fitting fingerprint: nobody checked but us."""
    try:
        package = remade(tiny, {key: value})
    except (TypeError, KeyError):
        assert key == "halo"  # of which the fingerprint takes a part
        package = Package({**tiny.card, key: value}, tiny.members)
    refused(package.to_bytes())


@pytest.mark.parametrize(
    ("card", "match"),
    [
        ({"latents": 10**6}, "latents is 1000000"),
        ({"latents": 25}, "pass"),
        ({"hyper": 9}, "hyper_index"),
        ({"steps": 128}, "steps is 128"),
        ({"passes": [[0, 24, 0]], "seen": [0]}, "parity 1"),
        ({"passes": [[0, 24, 0], [0, 23, 1]], "seen": [0, 24]}, "parity 1"),
        ({"passes": [[0, 24, 0], [0, 24, 1], [0, 24, 1]], "seen": [0, 24, 24]}, "parity 1"),
        ({"passes": [[0, 8, 0], [12, 24, 0], [0, 24, 1]], "seen": [0, 24, 24]}, "parity 0"),
        ({"passes": [[0, 24, 0], [0, 24, 2]], "seen": [0, 24]}, "parity"),
        ({"passes": [[24, 0, 0], [0, 24, 1]], "seen": [0, 24]}, "first channel"),
        ({"passes": [[0, 24, 0], [0, 24, 1]], "seen": [0, 25]}, "seen"),
        ({"passes": [[0, 24, 0], [0, 24, 1]], "seen": [0]}, "one length"),
        ({"halo": {"analysis": 32, "synthesis": 10**6}}, "halo"),
        ({"halo": {"analysis": 32, "synthesis": 24}}, "multiples of 16"),
        ({"halo": {"analysis": -16, "synthesis": 32}}, "halo"),
        ({"halo": {"synthesis": 32}}, "halo"),
        ({"realism": 2}, "realism"),
        ({"realism": "much"}, "realism"),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(tiny: Package, card: dict[str, Any], match: str) -> None:
    refused(remade(tiny, card).to_bytes(), match)


def with_tables(tiny: Package, **changed: Any) -> bytes:
    tables = {k: v for k, v in {**tiny.tables, **changed}.items() if v is not None}
    graphs = {n.removesuffix(".onnx"): d for n, d in tiny.members.items() if n.endswith(".onnx")}
    return Package.assemble(tiny.card, graphs, tables, tiny.arrays("prior")).to_bytes()


@pytest.mark.parametrize("name", ["gains", "hyper_index", "counts", "sizes"])
@pytest.mark.parametrize("how", ["missing", "short", "empty", "float64", "negative", "flat", "text"])
def test_tables_that_do_not_fit_are_refused(tiny: Package, name: str, how: str) -> None:
    old = tiny.tables[name]
    new: np.ndarray | None = {
        "missing": None, "short": old[:-1], "empty": old[:0], "float64": old.astype(float),
        "negative": -old.astype(np.int64), "flat": old.ravel() * 0, "text": np.array(["a"] * 3),
    }[how]
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(WrongModel):
        intaglio.encode(picture, model=Package.from_bytes(with_tables(tiny, **{name: new}), "odd.itgm"))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_gain_that_is_no_gain_is_refused(tiny: Package, value: float) -> None:
    gains = tiny.tables["gains"].copy()
    gains[30, 3] = value
    refused(with_tables(tiny, gains=gains), "gains")


def array_member(header: str, body: bytes = bytes(100)) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    "member",
    [
        array_member("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 64)}"),
        array_member("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        array_member("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n(S'true'\ntR."),
        array_member("__import__('os').abort()"),
        array_member("{"),
        b"",
        b"\x93NUMPY\x09\0",
    ],
)
def test_hostile_arrays_are_refused(tiny: Package, member: bytes) -> None:
    """Arrays that claim terabytes, or that would run code when unpickled."""
    package = remade(tiny)
    members = {**package.members, "tables.npz": stored({"gains.npy": member})}
    refused(rehashed(package, members))
    members["tables.npz"] = stored({"gains.npy": bytes(300 * 2**20)}, zipfile.ZIP_DEFLATED)
    refused(rehashed(package, members), "256 MiB")


def rehashed(package: Package, members: dict[str, bytes]) -> bytes:
    """The bytes of a package of any members whatever, its hashes and fingerprint right."""
    import hashlib

    from intaglio.package import _fingerprint

    hashes = {name: hashlib.sha256(member).hexdigest() for name, member in members.items()}
    card = {**package.card, "sha256": hashes, "fingerprint": _fingerprint(package.card, hashes).hex()}
    return Package(card, members).to_bytes()


GRAPHS = ["analysis", "hyper", "prior_start", "prior_0", "prior_3", "synthesis"]


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("how", ["missing", "empty", "noise", "text", "cut", "exchanged"])
def test_graphs_that_are_none_are_named(tiny: Package, graph: str, how: str) -> None:
    name = f"{graph}.onnx"
    old = tiny.members[name]
    new = {
        "missing": None if graph != "synthesis" else b"",  # of which the fingerprint is made
        "empty": b"", "noise": np.random.default_rng(0).bytes(5000), "text": b"import os\n" * 50,
        "cut": old[: len(old) // 2], "exchanged": tiny.members[f"{GRAPHS[GRAPHS.index(graph) - 1]}.onnx"],
    }[how]
    package = Package.from_bytes(remade(tiny, None, {name: new}).to_bytes(), "odd.itgm")
    source = np.random.default_rng(0).integers(0, 256, (70, 70, 3), np.uint8)
    with pytest.raises(WrongModel) as caught:
        intaglio.decode(intaglio.encode(source, model=package), model=package)
    assert str(caught.value).startswith("model tiny: ") and name in str(caught.value) and "\n" not in str(caught.value)


def graph_of(inputs: dict[str, int], outputs: dict[str, tuple[int, list[Any]]]) -> bytes:
    """A graph of the given inputs (their element types) whose outputs are zeros, of (element type, shape)."""
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    nodes = [
        make.make_node("ConstantOfShape", [f"{name}.shape"], [name], value=make.make_tensor("v", kind, [1], [0]))
        for name, (kind, _) in outputs.items()
    ]
    shapes = [make.make_tensor(f"{name}.shape", 7, [len(shape)], shape) for name, (_, shape) in outputs.items()]
    values = [make.make_tensor_value_info(name, kind, None) for name, kind in inputs.items()]
    results = [make.make_tensor_value_info(name, kind, None) for name, (kind, _) in outputs.items()]
    graph = make.make_graph(nodes, "g", values, results, shapes)
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=9).SerializeToString()


UINT8, FLOAT, DOUBLE = 2, 1, 11
LATENTS = {"features": FLOAT, "y16": FLOAT}


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("analysis", {"pixels": UINT8}, {"latents": (FLOAT, [1, 24, 8, 7])}),
        ("analysis", {"pixels": UINT8}, {"latents": (DOUBLE, [1, 24, 8, 8])}),
        ("analysis", {"pixels": UINT8}, {"latents": (FLOAT, [24, 8, 8])}),
        ("hyper", {"latents": FLOAT, "t": FLOAT}, {"z": (FLOAT, [1, 8, 8, 8])}),
        ("prior_start", {"z": FLOAT, "q": FLOAT}, {"features": (FLOAT, [1, 16, 2, 2])}),
        ("prior_0", {"features": FLOAT}, {"mean": (FLOAT, [1, 8, 8, 8])}),
        ("prior_3", LATENTS, {"mean": (FLOAT, [1, 16, 8, 8]), "index": (UINT8, [1, 15, 8, 8])}),
        ("prior_3", LATENTS, {"mean": (FLOAT, [1, 16, 8, 8]), "index": (FLOAT, [1, 16, 8, 8])}),
        ("synthesis", {"latents": FLOAT, "t": FLOAT, "realism": FLOAT}, {"pixels": (UINT8, [1, 3, 128, 128])}),
    ],
)
def test_graphs_of_other_shapes_are_named(
    tiny: Package, name: str, inputs: dict[str, int], outputs: dict[str, tuple[int, list[Any]]]
) -> None:
    package = remade(tiny, None, {f"{name}.onnx": graph_of(inputs, outputs)})
    with pytest.raises(WrongModel, match=rf"{name}\.onnx does not do its work \(it gives "):
        intaglio.decode(intaglio.encode(np.zeros((70, 70, 3), np.uint8), model=package), model=package)


@pytest.mark.parametrize("name", ["analysis", "hyper", "prior_0"])
def test_a_network_that_diverged_in_training_is_named(tiny: Package, name: str) -> None:
    """Weights that are no numbers."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(tiny.members[f"{name}.onnx"])
    for tensor in [t for t in model.graph.initializer if t.data_type == FLOAT and t.name.endswith("bias")]:
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(tensor.dims, np.nan, np.float32), tensor.name))
    package = remade(tiny, None, {f"{name}.onnx": model.SerializeToString()})
    with pytest.raises(WrongModel, match=rf"{name}\.onnx does not do its work \(it gives infinities or NaN\)"):
        intaglio.encode(landscape(70, 70, 1), model=package)


@pytest.mark.parametrize("place", ["secret.bin", "/etc/hostname", "../secret.bin"])
def test_weights_in_other_files_are_refused(
    tiny: Package, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph may name a file that holds its weights: a package would read what lies about on the machine."""
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    model = onnx.load_from_string(tiny.members["synthesis.onnx"])
    tensor = next(t for t in model.graph.initializer if t.data_type == FLOAT and t.name.endswith("bias"))
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in (("location", place), ("offset", "0"), ("length", str(4 * tensor.dims[0]))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    package = remade(tiny, None, {"synthesis.onnx": model.SerializeToString()})
    with pytest.raises(WrongModel, match=r"synthesis\.onnx cannot be loaded \(it keeps weights in another file"):
        intaglio.decode(intaglio.encode(landscape(70, 70, 1), model=package), model=package)


def test_a_scale_index_beyond_the_tables_is_named(tiny: Package) -> None:
    counts, sizes = tiny.tables["counts"], tiny.tables["sizes"]
    few = {"counts": counts[: sizes[:3].sum()], "sizes": sizes[:3], "hyper_index": tiny.tables["hyper_index"] % 3}
    package = Package.from_bytes(with_tables(tiny, **few), "odd.itgm")
    with pytest.raises(WrongModel, match=r"prior_0\.onnx does not fit \(it names table"):
        intaglio.encode(landscape(70, 70, 1), model=package)


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    picture = np.zeros((8, 8), np.uint8)
    with pytest.raises(WrongModel, match="nowhere.itgm: no such model package"):
        intaglio.encode(picture, model=tmp_path / "nowhere.itgm")
    with pytest.raises(WrongModel, match="cannot be read"):
        intaglio.encode(picture, model=tmp_path)
    with pytest.raises(WrongModel, match="no such model package"):
        intaglio.encode(picture, model="no\0name")


def test_a_replaced_package_is_read_again(tiny: Package, tmp_path: Path) -> None:
    path = tmp_path / "model.itgm"
    path.write_bytes(tiny.to_bytes())
    assert resolve(path).card["purpose"] == tiny.card["purpose"]
    path.write_bytes(remade(tiny, {"purpose": "another, longer than before" + tiny.card["purpose"]}).to_bytes())
    assert resolve(str(path)).card["purpose"].startswith("another")
    path.write_bytes(json.dumps({}).encode())
    with pytest.raises(WrongModel):
        resolve(path)
