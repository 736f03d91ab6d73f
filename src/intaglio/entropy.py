"""Residuals <-> bytes: stored integer tables, symbols grouped by table, constriction's ANS coder; no networks.

A *residual* is an integer in -2^20..2^20. The prior names, for every residual, one of at most 256 tables. Table s holds
2 K_s + 2 integer counts which sum to 2^24: for the residuals -K_s..K_s in order, then one for the *escape*, which
announces a residual beyond +-K_s whose sign and excess follow in a separate string of bits.

A coded tile is   LEB128 length of the escape bits | escape bits | 32-bit little-endian words of the ANS stack.
Decoding starts from the end of the words and must end in a state that equals the CRC-32 of all residuals, so a tile
that was damaged, or decoded with other tables than it was written with, is found out. docs/format.md has the details.

What holds it together:
- The probabilities are the stored integers, exactly. constriction takes floats and scales them onto 2^24 - n with at
  least one count each; given the integers minus one as float64, its scale factor is 1.0 and its sums are exact.
- Within a group (one `put`, one `get`) residuals are stably sorted by table: one i.i.d. call of constriction a table.
- Nothing here is shared between readers and writers but `Tables`, which only ever caches: threads may share it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from .errors import BadInput, CorruptFile, IntaglioError
from .varint import get_varint, put_varint

AnsCoder = constriction.stream.stack.AnsCoder
Categorical = constriction.stream.model.Categorical

PRECISION = 24  # constriction's: a table's counts sum to 2^24
TOTAL = 1 << PRECISION
LIMIT = 1 << 20  # the largest |residual| that can be coded
MAX_TABLES = 256  # table indices are uint8
MAX_REACH = 2047  # the largest K_s that gaussian_tables makes
MAX_ZEROS = 20  # of an escape code: with its sign and 21 bits more it fits 57 bits, eight bytes at any bit offset


class Tables:
    """The integer distributions of a model: immutable, and safe to share between threads.

    `reach` (int32, one a table) is K_s; `len(tables)` is how many there are.
    """

    def __init__(self, pmf: Sequence[NDArray[Any]]) -> None:
        """pmf: 1..256 integer arrays of 2 K_s + 2 counts >= 1 that sum to 2^24, the escape's last. Else: BadInput."""
        if not 1 <= len(pmf) <= MAX_TABLES:
            raise BadInput(f"A model holds 1 to {MAX_TABLES} entropy tables, not {len(pmf)}.")
        for s, counts in enumerate(pmf):
            counts = np.asarray(counts)
            if counts.ndim != 1 or counts.dtype.kind not in "iu":
                raise BadInput(f"Entropy table {s} must be 1-D and of integers, not {counts.ndim}-D {counts.dtype}.")
            if counts.size % 2 or not 2 <= counts.size < 1 << 16:
                raise BadInput(f"Entropy table {s} must have 2 K + 2 counts, 2 to 65534 of them, not {counts.size}.")
            if counts.min() < 1 or counts.max() > TOTAL or counts.sum(dtype=np.int64) != TOTAL:
                raise BadInput(f"Entropy table {s} must hold counts of at least 1 that sum to {TOTAL}.")
        self._sizes = np.array([len(counts) for counts in pmf], np.uint16)
        self._counts = np.concatenate([np.asarray(counts).astype(np.uint32) for counts in pmf])
        self._starts = np.cumsum(self._sizes, dtype=np.int64) - self._sizes
        self.reach = ((self._sizes.astype(np.int32) - 2) // 2).astype(np.int32)
        for array in (self._sizes, self._counts, self._starts, self.reach):
            array.setflags(write=False)
        self._models: list[Any] = [None] * len(pmf)
        self._costs: NDArray[np.float64] | None = None

    @classmethod
    def from_arrays(cls, counts: NDArray[Any], sizes: NDArray[Any]) -> Tables:
        """The inverse of `arrays`: counts, all tables end to end, and sizes, one a table. Malformed: BadInput."""
        counts, sizes = np.asarray(counts), np.asarray(sizes)
        if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or counts.ndim != 1:
            raise BadInput("A model's entropy tables are two 1-D integer arrays, counts and sizes; rebuild the model.")
        if not 1 <= sizes.size <= MAX_TABLES or int(sizes.min()) < 2 or int(sizes.max()) >= 1 << 16:
            raise BadInput(f"A model holds 1 to {MAX_TABLES} entropy tables of 2 to 65534 counts; rebuild the model.")
        ends = np.cumsum(sizes.astype(np.int64))
        if ends[-1] != counts.size:
            raise BadInput(f"The model's entropy tables have {counts.size} counts but their sizes say {ends[-1]}.")
        return cls(np.split(counts, ends[:-1]))

    def arrays(self) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """(counts uint32, all tables end to end; sizes uint16, 2 K_s + 2 each), as a package stores them; read-only."""
        return self._counts, self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def counts(self, s: int) -> NDArray[np.uint32]:
        """The 2 K_s + 2 counts of table s; read-only."""
        return self._counts[self._starts[s] : self._starts[s] + self._sizes[s]]

    def bits(self, symbols: NDArray[Any], index: NDArray[Any]) -> float:
        """The ideal length in bits of `symbols` under the tables named by `index`, escapes included; both 1-D."""
        symbols, index = _group(symbols, index, self)
        if self._costs is None:
            self._costs = PRECISION - np.log2(self._counts)
        reach = self.reach[index]
        entries = _entries(symbols, reach)
        escaped = np.flatnonzero(entries > 2 * reach)
        excess = np.abs(symbols[escaped]) - reach[escaped]
        # frexp's exponent is the bit length n of the excess + 1; a sign and an Exp-Golomb code take 1 + 2 n - 1 bits
        return float(self._costs[self._starts[index] + entries].sum()) + 2.0 * float(np.frexp(excess)[1].sum())

    def model(self, s: int) -> Any:
        """constriction's model of table s, made when first asked for; two threads may both make it, to no harm."""
        model = self._models[s]
        if model is None:
            counts = self.counts(s)
            model = Categorical(counts.astype(np.float64) - 1.0, perfect=False)
            probe = AnsCoder()
            probe.encode_reverse(len(counts) - 1, model)  # onto an empty coder: its state becomes the entry's left sum
            if probe.pos() != (0, TOTAL - int(counts[-1])):
                raise IntaglioError("This constriction rounds probabilities differently; install constriction 0.5.0.")
            self._models[s] = model
        return model


class TileWriter:
    """Collects the groups of one tile in the order in which they will be decoded, then codes them all."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._runs: list[tuple[int, NDArray[np.int32]]] = []  # (table, entries), in decoding order
        self._escapes: list[str] = []  # one string of 0s and 1s an escaped residual
        self._crc = 0

    def put(self, symbols: NDArray[Any], index: NDArray[Any]) -> None:
        """Appends a group: symbols, 1-D integers in -2^20..2^20, and as many indices of tables. Else: BadInput."""
        symbols, index = _group(symbols, index, self._tables)
        self._crc = _checksum(symbols, self._crc)
        order = np.argsort(index, kind="stable")
        symbols = symbols[order]
        reach = self._tables.reach[index[order]]
        entries = _entries(symbols, reach)
        for i in np.flatnonzero(entries > 2 * reach):
            self._escapes.append(_escape(int(symbols[i]), int(reach[i])))
        start = 0
        for s, length in _lengths(index):
            self._runs.append((s, entries[start : start + length]))
            start += length

    def finish(self) -> bytes:
        """The coded tile. The writer is not changed: more groups may follow, and another `finish`."""
        coder = AnsCoder(np.array([self._crc], np.uint32)) if self._crc else AnsCoder()
        for s, entries in reversed(self._runs):  # a stack: what is decoded first goes on last
            coder.encode_reverse(entries, self._tables.model(s))
        bits = np.frombuffer("".join(self._escapes).encode("ascii"), np.uint8) & 1
        escapes = np.packbits(bits).tobytes()
        words: bytes = coder.get_compressed().astype("<u4").tobytes()
        return put_varint(len(escapes)) + escapes + words


class TileReader:
    """Takes a coded tile apart, group by group. Whatever the bytes, time and memory are O(bytes + symbols asked)."""

    def __init__(self, tables: Tables, data: bytes | bytearray | memoryview) -> None:
        """data: one whole coded tile. CorruptFile where its parts do not fit."""
        view = memoryview(data).cast("B")
        size, start = get_varint(view, 0, where="the length of a tile's escape bits")
        if size > len(view) - start:
            raise _corrupt(f"its escape bits need {size} bytes and {len(view) - start} are left")
        words = view[start + size :]
        if len(words) % 4:
            raise _corrupt(f"its last {len(words)} bytes are no whole number of 32-bit words")
        if len(words) and not any(words[-4:]):
            raise _corrupt("its last word is zero")
        self._tables = tables
        self._coder = AnsCoder(np.frombuffer(words, "<u4").astype(np.uint32))
        self._escapes = view[start : start + size]
        self._bit = 0  # how many escape bits are consumed
        self._crc = 0

    def get(self, index: NDArray[Any]) -> NDArray[np.int32]:
        """The next group: index, 1-D integers naming tables (else: BadInput) -> int32 residuals of the same length.

        A damaged tile gives arbitrary residuals in -2^20..2^20, or CorruptFile; only `finish` tells that all is well.
        """
        index = _indices(index, self._tables)
        order = np.argsort(index, kind="stable")
        symbols = np.empty(len(index), np.int32)
        start = 0
        for s, length in _lengths(index):
            symbols[start : start + length] = self._coder.decode(self._tables.model(s), length)
            start += length
        reach = self._tables.reach[index[order]]
        symbols -= reach
        for i in np.flatnonzero(symbols > reach):
            symbols[i] = self._escaped(int(reach[i]))
        group = np.empty_like(symbols)
        group[order] = symbols
        self._crc = _checksum(group, self._crc)
        return group

    def finish(self) -> None:
        """CorruptFile unless everything was consumed exactly and the residuals have the checksum of those written."""
        if (self._bit + 7) // 8 != len(self._escapes):
            raise _corrupt(f"{len(self._escapes)} bytes of escape bits were given and {(self._bit + 7) // 8} used")
        if self._bit % 8 and self._escapes[-1] & (0xFF >> self._bit % 8):
            raise _corrupt("the padding after its escape bits is not zero")
        # while words are left the state is at least 2^32, so this finds them too
        if self._coder.pos()[1] != self._crc:
            raise _corrupt("its residuals do not have the checksum they were written with")

    def _escaped(self, reach: int) -> int:
        """The next escape code: sign, then Exp-Golomb of |r| - reach - 1. At most 42 bits, so eight bytes hold it."""
        start = self._bit >> 3
        window = int.from_bytes(bytes(self._escapes[start : start + 8]).ljust(8, b"\0"), "big")
        window = (window << (self._bit & 7)) & (2**64 - 1)
        negative = window >> 63
        zeros = 63 - (window & (2**63 - 1)).bit_length()
        length = 2 + 2 * zeros
        if zeros > MAX_ZEROS or self._bit + length > 8 * len(self._escapes):
            raise _corrupt("its escape bits are cut short or are no escape code")
        magnitude = reach + (window >> (64 - length) & ((1 << zeros + 1) - 1))
        if magnitude > LIMIT:
            raise _corrupt(f"an escaped residual is {magnitude}, beyond {LIMIT}")
        self._bit += length
        return -magnitude if negative else magnitude


def gaussian_tables(scales: Sequence[float], tail: float = 2.0**-14) -> Tables:
    """One table a scale: the zero-mean Gaussian of that standard deviation (> 0), integrated over [r - 1/2, r + 1/2].

    K_s is the least K >= 1 (at most 2047) beyond which less than `tail` of the mass lies, both sides together; the
    escape gets that mass, and at least 2^-20, because real residuals have heavier tails. The counts are differences of
    rounded tail sums, so they sum to 2^24 by themselves; what the lifting of empty entries to 1 adds is taken from the
    largest. Call it when a model is made, never when one is used: erfc may differ in its last bit between machines.
    """
    if not 0 < tail < 1:
        raise BadInput(f"The tail of a table is a probability between 0 and 1, not {tail}.")
    return Tables([_gaussian(float(scale), tail) for scale in scales])


def _gaussian(scale: float, tail: float) -> NDArray[np.uint32]:
    if not (math.isfinite(scale) and scale > 0):
        raise BadInput(f"A table's scale must be finite and above zero, not {scale}.")

    def above(k: int) -> float:  # the mass above k + 1/2
        return 0.5 * math.erfc((k + 0.5) / scale * math.sqrt(0.5))

    reach = 1
    while reach < MAX_REACH and 2 * above(reach) >= tail:
        reach += 1
    sums = [round(above(k) * TOTAL) for k in range(reach + 1)]
    side = [sums[k - 1] - sums[k] for k in range(1, reach + 1)]
    counts = np.array([*reversed(side), TOTAL - 2 * sums[0], *side, 2 * sums[-1]], np.int64)
    np.maximum(counts, 1, out=counts)
    counts[-1] = max(counts[-1], TOTAL >> 20)
    counts[counts.argmax()] -= counts.sum() - TOTAL
    return counts.astype(np.uint32)


def _entries(symbols: NDArray[np.int32], reach: NDArray[np.int32]) -> NDArray[np.int32]:
    """Residuals -> positions in their tables, 0..2 K_s, or 2 K_s + 1 for an escape."""
    entries = symbols + reach
    return np.where((entries < 0) | (entries > 2 * reach), 2 * reach + 1, entries)


def _lengths(index: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """(table, how many) for every table that occurs, ascending."""
    lengths = np.bincount(index)
    return [(int(s), int(lengths[s])) for s in np.flatnonzero(lengths)]


def _checksum(symbols: NDArray[np.int32], crc: int) -> int:
    return zlib.crc32(symbols.astype("<i4", copy=False).data, crc)


def _escape(symbol: int, reach: int) -> str:
    """The escape code as 0s and 1s: sign (1 is negative), then n - 1 zeros and the n bits of |symbol| - reach >= 1."""
    digits = f"{abs(symbol) - reach:b}"
    return ("1" if symbol < 0 else "0") + "0" * (len(digits) - 1) + digits


def _corrupt(what: str) -> CorruptFile:
    return CorruptFile(f"An entropy-coded tile is damaged, or was written with another model: {what}.")


def _checked(array: NDArray[Any], name: str, low: int, high: int) -> NDArray[Any]:
    """A 1-D array of integers within low..high, of whatever integer type; else: BadInput."""
    array = np.asarray(array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise BadInput(f"{name} must be a 1-D array of integers, not {array.ndim}-D {array.dtype}.")
    if array.size and (int(array.min()) < low or int(array.max()) > high):
        raise BadInput(f"{name} must lie in {low}..{high}, not {array.min()}..{array.max()}.")
    return array


def _indices(index: NDArray[Any], tables: Tables) -> NDArray[np.uint8]:
    return _checked(index, "Table indices", 0, len(tables) - 1).astype(np.uint8, copy=False)


def _group(symbols: NDArray[Any], index: NDArray[Any], tables: Tables) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    symbols = _checked(symbols, "Residuals", -LIMIT, LIMIT)
    index = _indices(index, tables)
    if len(symbols) != len(index):
        raise BadInput(f"There must be one table index a residual, not {len(index)} for {len(symbols)}.")
    return np.ascontiguousarray(symbols, np.int32), index
