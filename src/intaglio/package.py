"""A trained model on disk: one file, NAME.itgm, a zip of

    card.json       name, numbers that the runtime needs, data, licences, figures, limits; a sha256 for every member
    *.onnx          analysis, hyper (h_a), prior_hyper_0.., prior_start, prior_0.., synthesis
    tables.npz      gains (64, M) float32; hyper_index (64, N) uint8; counts, sizes: the CDF tables (see entropy.py)
    prior.npz       the integer prior's weights, biases and shifts (the normative form; the graphs are compiled from it)
    refine.onnx     optional: a correction of decoded pixels, which files switch on block by block (refine.py)

The fingerprint names everything that decoding depends on: the first 8 bytes of a SHA-256 over the members that define a
decoder. A file written with one fingerprint is refused by every other model. So a better *encoder* (analysis, h_a), or
the prior compiled for another runtime, may replace the old one under the same fingerprint, a changed decoder never. A
package with a refinement has two: its own, and `plain`, which it has without it, for files that switch nothing on.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from .errors import WrongModel

DEFAULT = "intaglio1-small"
LIMIT = 256 * 2**20  # bytes of one package, far above any released one
DECODER = ("prior.npz", "synthesis.onnx", "tables.npz")  # the members that define what a file decodes to
REFINEMENT = "refine.onnx"
DECODING = ("latents", "hyper", "steps", "passes", "seen")  # the card's numbers that decoding depends on
STEPS = 64  # a file's q is 0..63
MAX_CHANNELS = 4096  # of latents and hyper-latents; one tile of so many takes 64 MiB
MAX_HALO = 1024  # pixels; every tile is computed with so many around it
WHOLE = "whole"  # the halo of a network that has to see all of a picture at once
MAX_LEVELS = 255  # of a finite alphabet


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # np.savez would stamp the time
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return sink.getvalue()


@dataclass(frozen=True, eq=False, repr=False)
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

    def grainless(self) -> Package:
        """The same model, whose encoder tells of no grain: files of it are decoded to what the networks printed."""
        return replace(self, card={name: value for name, value in self.card.items() if name != "grain"})

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
            members = _unzip(data)
            card = json.loads(members.pop("card.json"))
            hashes = {name: hashlib.sha256(member).hexdigest() for name, member in members.items()}
            sound = card["sha256"] == hashes and card["fingerprint"] == _fingerprint(card, hashes).hex()
        except Exception as error:  # a stranger's bytes: zipfile, json and the rest raise nearly anything
            raise WrongModel(f"{where}: not an intaglio model package ({type(error).__name__}: {error})") from None
        if not sound:
            raise WrongModel(f"{where}: the model package is damaged (a checksum differs); fetch or export it again")
        package = cls(card, members)
        try:
            _check(card, package.tables)
            if package.refined:
                _check_refinement(card)
        except Exception as error:
            raise WrongModel(f"{where}: the model package cannot be used ({error}); export it again") from None
        return package

    def to_bytes(self) -> bytes:
        """The file's bytes; equal packages give equal bytes."""
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            text = json.dumps(self.card, indent=1, ensure_ascii=False)
            for name, data in [("card.json", text.encode()), *sorted(self.members.items())]:
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 9)
        return sink.getvalue()

    def __repr__(self) -> str:
        return f"<Package {self.name} {self.card['fingerprint']}>"

    @property
    def name(self) -> str:
        return str(self.card.get("name", "unnamed"))

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that a file carries to name the model that decodes it."""
        return bytes.fromhex(self.card["fingerprint"])

    @cached_property
    def plain(self) -> bytes:
        """The fingerprint without the refinement: that of files which switch none on. The same where there is none."""
        if not self.refined:
            return self.fingerprint
        hashes = {name: value for name, value in self.card["sha256"].items() if name != REFINEMENT}
        return _fingerprint(self.card, hashes)

    def decodes(self, fingerprint: bytes) -> bool:
        """Whether a file of that fingerprint is this model's."""
        return fingerprint in (self.fingerprint, self.plain)

    @property
    def refined(self) -> bool:
        """Whether the package has a refinement."""
        return REFINEMENT in self.members

    def with_refinement(self, graph: bytes, refinement: Mapping) -> Package:
        """This model with a refinement in place of any it had. refinement: its entry of the card (docs/format.md)."""
        members = {**self.members, REFINEMENT: graph}
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
        card = {**self.card, "refinement": dict(refinement), "sha256": hashes}
        return Package({**card, "fingerprint": _fingerprint(card, hashes).hex()}, members)

    def arrays(self, member: str) -> dict[str, np.ndarray]:
        """The arrays of `tables` or `prior`. ValueError where they cannot be read."""
        return {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
            for name, data in _unzip(self.members[f"{member}.npz"]).items()
        }

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        return self.arrays("tables")


def _unzip(data: bytes) -> dict[str, bytes]:
    """Members of a zip by name. Whatever the bytes are, they are together no larger than LIMIT, and no more of a member
    is ever expanded than the size that the directory states."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
            raise ValueError("a member is compressed by something else than deflate")
        if sum(entry.file_size for entry in entries) > LIMIT:
            raise ValueError(f"its members are together larger than {LIMIT >> 20} MiB")
        members = {}
        for entry in entries:
            with archive.open(entry) as member:
                members[entry.filename] = member.read(entry.file_size)  # read() without a size expands all there is
        return members


def _check(card: Mapping, tables: Mapping[str, np.ndarray]) -> None:
    """ValueError where a number on the card, or an array beside it, would fail only later, inside a decoder."""

    def need(sound: bool, what: str) -> None:
        if not sound:
            raise ValueError(what)

    def whole(value: object, low: int, high: int) -> bool:
        return type(value) is int and low <= value <= high

    m, n, passes, seen, halo = card["latents"], card["hyper"], card["passes"], card["seen"], card["halo"]
    need(whole(m, 1, MAX_CHANNELS), f"latents is {m!r}, not a number of channels")
    need(whole(n, 1, MAX_CHANNELS), f"hyper is {n!r}, not a number of channels")
    need(card["steps"] == STEPS, f"steps is {card['steps']!r}, not {STEPS}")
    need(isinstance(passes, list) and isinstance(seen, list) and len(passes) == len(seen) <= 64,
         "passes and seen are not two lists of one length")
    for p in passes:
        triple = isinstance(p, list) and len(p) == 3
        need(triple and whole(p[2], 0, 1) and whole(p[1], 1, m) and whole(p[0], 0, p[1] - 1),
             f"the pass {p!r} is not a first channel, an end and a parity")
    for parity in (0, 1):
        spans = sorted(p[:2] for p in passes if p[2] == parity)
        ends = [0, *(end for _, end in spans)]
        need([first for first, _ in spans] == ends[:-1] and ends[-1] == m,
             f"the passes of parity {parity} do not decode each of {m} channels once")
    need(all(whole(s, 0, m) for s in seen), f"seen is {seen!r}, not numbers of channels")
    need(isinstance(halo, dict) and all(halo.get(k) == WHOLE or whole(halo.get(k), 0, MAX_HALO) and halo[k] % 16 == 0
                                        for k in ("analysis", "synthesis")),
         f'halo is {halo!r}, not two multiples of 16 pixels up to {MAX_HALO} (or "{WHOLE}")')
    if "levels" in card:
        need(whole(card["levels"], 3, MAX_LEVELS) and card["levels"] % 2 == 1,
             f"levels is {card['levels']!r}, not an odd number up to {MAX_LEVELS}")
        need("hyper_groups" not in card, "levels and hyper_groups are two kinds of model")
    if "hyper_groups" in card:
        ends = card["hyper_groups"]
        sound = isinstance(ends, list) and 1 <= len(ends) <= 64 and all(whole(e, 1, n) for e in ends)
        need(sound and ends == sorted(set(ends)) and ends[-1] == n and tables["sizes"].size >= 64,
             f"hyper_groups is {ends!r}, not rising ends of groups of {n} channels")
    if "activations" in card:
        need(whole(card["activations"], 8, 11), f"activations is {card['activations']!r}, not 8 to 11 bits")
    if "labels" in card:
        names = card["labels"]
        need(isinstance(names, list) and 1 <= len(names) <= 256 and all(isinstance(n, str) for n in names),
             "labels is not a list of 1 to 256 names")
    realism = card.get("realism", 0.0)
    need(type(realism) in (int, float) and 0 <= realism <= 1, f"realism is {realism!r}, not within 0..1")
    adaptive = card.get("adaptive", 0.0)
    need(type(adaptive) in (int, float) and 0 <= adaptive <= 8, f"adaptive is {adaptive!r}, not within 0..8")
    grain = card.get("grain", [1, 1])
    need(isinstance(grain, list) and len(grain) == 2 and all(type(g) in (int, float) and 0 < g <= 255 for g in grain),
         f"grain is {grain!r}, not two deviations above 0")
    gains, index, _, sizes = (tables[name] for name in ("gains", "hyper_index", "counts", "sizes"))
    need(gains.shape == (STEPS, m) and gains.dtype == np.float32, "the gains are not float32, one a step and channel")
    need(bool(np.isfinite(gains).all() and gains.min() > 0), "the gains are not all positive")
    need(index.shape == (STEPS, n) and index.dtype == np.uint8 and int(index.max()) < sizes.size,
         "hyper_index does not name a table for each step and channel")


def _check_refinement(card: Mapping) -> None:
    percent = card["refinement"]["percent"]
    if type(percent) is not int or not 0 <= percent <= 100:
        raise ValueError(f"the refinement's realism is {percent!r}, not a whole percent")
    if card["halo"]["synthesis"] == MAX_HALO:
        raise ValueError(f"a refinement looks further than its picture's halo of {MAX_HALO} pixels allows")


def _fingerprint(card: Mapping, hashes: Mapping[str, str]) -> bytes:
    named = {name: hashes[name] for name in DECODER}
    numbers = {"halo": card["halo"]["synthesis"], **{key: card[key] for key in DECODING}}
    numbers |= {key: card[key] for key in ("activations", "hyper_groups", "levels") if key in card}
    if REFINEMENT in hashes:
        named[REFINEMENT] = hashes[REFINEMENT]
        numbers["refinement"] = card["refinement"]["percent"]
    text = json.dumps([named, numbers], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()[:8]


def released(name: str = DEFAULT) -> Package:
    """A model of the wheel, by name: the same object each time, so that its sessions are made once a process."""
    return _released(name)


@lru_cache(maxsize=4)
def _released(name: str) -> Package:
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
    except (OSError, ValueError):
        names = ", ".join(released_names())
        raise WrongModel(f"{model}: no such model package, nor a released model's name ({names})") from None
    return _read_cached(os.fspath(model), (status.st_mtime_ns, status.st_size))


def for_fingerprint(fingerprint: bytes, model: Package | str | os.PathLike | None) -> Package:
    """The package that decodes a file: `model` if its fingerprint fits; where model is None, a released one."""
    candidates = [resolve(model)] if model is not None else [released(name) for name in released_names()]
    for package in candidates:
        if package.decodes(fingerprint):
            return package
    have = ", ".join(f"{p.name} ({p.fingerprint.hex()})" for p in candidates) or "none"
    raise WrongModel(f"the file was made with model {fingerprint.hex()}, at hand is {have}; give its own with model=")
