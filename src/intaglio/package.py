"""A trained model on disk: one file, NAME.itgm, an uncompressed zip of

    card.json       name, numbers that the runtime needs, data, licences, figures, limits; a sha256 for every member
    *.onnx          analysis, hyper (h_a), prior_start, prior_0.., synthesis
    tables.npz      gains (64, M) float32; hyper_index (64, N) uint8; counts, sizes: the CDF tables (see entropy.py)
    prior.npz       the integer prior's weights, biases and shifts (the normative form; the graphs are compiled from it)

The fingerprint names everything that decoding depends on: the first 8 bytes of a SHA-256 over the members that a
decoder uses. A file written with one fingerprint is refused by every other model, so a better *encoder* (analysis and
h_a) may replace the old one under the same fingerprint, a changed decoder never.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from .errors import WrongModel

DEFAULT = "intaglio1-small"
LIMIT = 256 * 2**20  # bytes of one package, far above any released one
ENCODER_ONLY = ("analysis.onnx", "hyper.onnx")
DECODING = ("latents", "hyper", "steps", "passes", "seen", "halo")  # the card's numbers that decoding depends on


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # np.savez stamps the time; equal input, equal bytes
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return sink.getvalue()


@dataclass(frozen=True, eq=False)
class Package:
    """A model in memory: its card and its members' bytes by name."""

    card: dict
    members: dict[str, bytes]

    @classmethod
    def assemble(cls, card: dict, graphs: Mapping[str, bytes], tables: Mapping[str, np.ndarray],
                 prior: Mapping[str, np.ndarray]) -> Package:
        """Build a package from its parts and complete the card with hashes and the fingerprint."""
        members = {f"{name}.onnx": data for name, data in sorted(graphs.items())}
        members["tables.npz"] = _npz(tables)
        members["prior.npz"] = _npz(prior)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
        return cls({**card, "sha256": hashes, "fingerprint": _fingerprint(card, hashes).hex()}, members)

    @classmethod
    def read(cls, path: str | os.PathLike) -> Package:
        """Read and verify a package. Raises WrongModel with a sentence for anything that is not a sound one."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                data = file.read(LIMIT + 1)
        except OSError as error:
            raise WrongModel(f"{path}: the model package cannot be read ({error.strerror}); check the path") from None
        return cls.from_bytes(data, str(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Package:
        """Parse a package held in memory; `where` names it in errors."""
        if len(data) > LIMIT:
            raise WrongModel(f"{where}: larger than {LIMIT >> 20} MiB, which no intaglio model package is")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                # stored, not deflated: a member can be no larger than the file, so nothing can blow up
                if any(i.compress_type != zipfile.ZIP_STORED for i in archive.infolist()):
                    raise WrongModel(f"{where}: a model package stores its members uncompressed; export it again")
                members = {i.filename: archive.read(i) for i in archive.infolist()}
            card = json.loads(members.pop("card.json"))
            hashes = {name: hashlib.sha256(member).hexdigest() for name, member in members.items()}
            sound = card["sha256"] == hashes and card["fingerprint"] == _fingerprint(card, hashes).hex()
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, NotImplementedError, RecursionError, EOFError) as error:
            raise WrongModel(f"{where}: not an intaglio model package ({type(error).__name__}: {error})") from None
        if not sound:
            raise WrongModel(f"{where}: the model package is damaged (a checksum differs); fetch or export it again")
        return cls(card, members)

    def to_bytes(self) -> bytes:
        """The file's bytes; equal packages give equal bytes."""
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            text = json.dumps(self.card, indent=1, ensure_ascii=False)
            for name, data in [("card.json", text.encode()), *sorted(self.members.items())]:
                archive.writestr(zipfile.ZipInfo(name), data)
        return sink.getvalue()

    @property
    def name(self) -> str:
        return str(self.card.get("name", "unnamed"))

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that a file carries to name the model that decodes it."""
        return bytes.fromhex(self.card["fingerprint"])

    def arrays(self, member: str) -> dict[str, np.ndarray]:
        """The arrays of `tables` or `prior`."""
        with np.load(io.BytesIO(self.members[f"{member}.npz"]), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        return self.arrays("tables")


def _fingerprint(card: Mapping, hashes: Mapping[str, str]) -> bytes:
    named = {name: digest for name, digest in hashes.items() if name not in ENCODER_ONLY}
    text = json.dumps([named, {key: card[key] for key in DECODING}], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()[:8]


@lru_cache(maxsize=4)
def released(name: str = DEFAULT) -> Package:
    """A model of the wheel, by name."""
    file = resources.files(__package__) / "models" / f"{name}.itgm"
    if not file.is_file():
        raise WrongModel(f"no released model is called {name!r}; there are: {', '.join(released_names())}")
    return Package.from_bytes(file.read_bytes(), name)


def released_names() -> list[str]:
    """Names of the models in the wheel, the default first."""
    found = sorted(f.name[:-5] for f in (resources.files(__package__) / "models").iterdir() if f.name.endswith(".itgm"))
    return sorted(found, key=lambda name: name != DEFAULT)


@lru_cache(maxsize=4)
def _read_cached(path: str, stamp: tuple[int, int]) -> Package:
    return Package.read(path)


def resolve(model: Package | str | os.PathLike | None) -> Package:
    """A package from what a caller gives: a Package, a path, a released model's name, or None for the default."""
    if model is None:
        return released()
    if isinstance(model, Package):
        return model
    if str(model) in released_names():
        return released(str(model))
    try:
        status = os.stat(model)
    except OSError:
        names = ", ".join(released_names())
        raise WrongModel(f"{model}: no such model package, nor a released model's name ({names})") from None
    return _read_cached(os.fspath(model), (status.st_mtime_ns, status.st_size))


def for_fingerprint(fingerprint: bytes, model: Package | str | os.PathLike | None) -> Package:
    """The package that decodes a file: `model` if its fingerprint fits, else (model None) the released one that does."""
    candidates = [resolve(model)] if model is not None else [released(name) for name in released_names()]
    for package in candidates:
        if package.fingerprint == fingerprint:
            return package
    have = ", ".join(f"{p.name} ({p.fingerprint.hex()})" for p in candidates)
    raise WrongModel(f"the file was made with model {fingerprint.hex()}, at hand is {have}; give its package with model=/--model")
