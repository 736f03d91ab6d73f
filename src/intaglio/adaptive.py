"""Yes-or-no decisions <-> bytes: an adaptive model that mixes several contexts, and a binary arithmetic coder.

Integers only, so that every machine finds the same probabilities. For small things with much structure, such as label
maps of a few hundred bytes; a decision takes a few microseconds. docs/format.md has the arithmetic in full.

The model is that of the PAQ family (Mahoney, "Adaptive weighing of context models for lossless data compression", 2005,
section 3): each context predicts the chance of a yes from what it has seen; the predictions are added in the logistic
domain with weights that learn which context is right.
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import CorruptFile

SLOTS = 1 << 16  # of a set of contexts; a context's number is hashed onto them
OLDEST = 250  # a slot learns no slower than after so many decisions
WEIGHT = 22938  # 0.35 in units of 2^-16: what each context's opinion weighs at first
RATE = 64  # of the weights' learning

# The logistic function in steps of half a unit, -8..8: 4096 / (1 + exp(-x)) to whole numbers.
_KNOTS = (1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785, 3901,
          3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094)


def squash(d: int) -> int:
    """The logistic function: d in units of 1/256 (clamped to -2047..2047) to a chance 1..4094 in units of 1/4096."""
    d = -2047 if d < -2047 else 2047 if d > 2047 else d
    low, part = (d >> 7) + 16, d & 127
    return (_KNOTS[low] * (128 - part) + _KNOTS[low + 1] * part + 64) >> 7


def _inverse() -> list[int]:
    table, filled = [2047] * 4096, 0
    for d in range(-2047, 2048):
        chance = squash(d)
        for i in range(filled, chance + 1):
            table[i] = d
        filled = max(filled, chance + 1)
    return table


STRETCH = _inverse()  # the least d with squash(d) >= i
_STEP = [131072 // (2 * n + 3) for n in range(OLDEST + 1)]


class _Model:
    """What is known so far of `sets` sets of contexts."""

    def __init__(self, sets: int):
        # a slot is 256 * (the chance of a yes in 1/65536) + how many decisions it has seen, up to OLDEST
        self._slots = [[32768 << 8] * SLOTS for _ in range(sets)]
        self._weights: dict[int, list[int]] = {}

    def predict(self, contexts: Sequence[int], mixer: int) -> int:
        """The chance of a yes, 1..4094 in units of 1/4096. contexts: a number for each set, 0..2^32 - 1, of which the
        first ones may be all that is given; mixer: which weights to use."""
        weights = self._weights.get(mixer)
        if weights is None:
            weights = self._weights[mixer] = [WEIGHT] * len(self._slots)
        total, used = 0, []
        for slots, context, weight in zip(self._slots, contexts, weights):  # noqa: B905 (the first ones; and speed)
            at = (context * 0x9E3779B1 & 0xFFFFFFFF) >> 16
            slot = slots[at]
            value = STRETCH[slot >> 12]
            total += weight * value
            used.append((slots, at, slot, value))
        self._used, self._mixed = used, weights
        self._said = squash(total >> 16)
        return self._said

    def learn(self, bit: int) -> None:
        """What came of the last prediction."""
        error = ((bit << 12) - self._said) * RATE
        target, weights = 65535 * bit, self._mixed
        for i, (slots, at, slot, value) in enumerate(self._used):
            weights[i] += (value * error + 0x8000) >> 16
            n, chance = slot & 255, slot >> 8
            chance += (target - chance) * _STEP[n] >> 16
            slots[at] = chance << 8 | (n + 1 if n < OLDEST else n)


class BitWriter(_Model):
    """Collects decisions; `finish` gives their bytes."""

    def __init__(self, sets: int):
        super().__init__(sets)
        self._low, self._range = 0, 0xFFFFFFFF
        self._bytes = bytearray()

    def bit(self, value: int, contexts: Sequence[int], mixer: int) -> int:
        """Code `value`, 0 or 1, and return it."""
        bound = (self._range >> 12) * self.predict(contexts, mixer)
        if value:
            self._range = bound
        else:
            self._low += bound
            self._range -= bound
        while self._range < 1 << 24:
            self._shift()
            self._range <<= 8
        self.learn(value)
        return value

    def _shift(self) -> None:
        """The top byte of `low` is done, but for a carry, which is then added to what was written."""
        if self._low >> 32:
            at = len(self._bytes) - 1
            while self._bytes[at] == 255:
                self._bytes[at] = 0
                at -= 1
            self._bytes[at] += 1
            self._low &= 0xFFFFFFFF
        self._bytes.append(self._low >> 24)
        self._low = (self._low & 0xFFFFFF) << 8

    def finish(self) -> bytes:
        """The bytes, without the zeros at their end, which a reader supplies; no more decisions may follow."""
        # of the numbers that mean the same, low .. low + range - 1, the one with the most zeros at its end
        for kept in (0xFF000000, 0xFFFF0000, 0xFFFFFF00, 0xFFFFFFFF):
            number = (self._low + (0xFFFFFFFF ^ kept)) & (kept | ~0xFFFFFFFF)
            if number < self._low + self._range:
                break
        self._low = number
        for _ in range(4):
            self._shift()
        return bytes(self._bytes).rstrip(b"\0")


class BitReader(_Model):
    """Gives the decisions back, in their order, to whoever asks with the same contexts."""

    def __init__(self, sets: int, data: bytes):
        super().__init__(sets)
        self._data = data
        self._range = 0xFFFFFFFF
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self._next = 4

    def bit(self, value: int, contexts: Sequence[int], mixer: int) -> int:
        """The next decision; `value` is not looked at."""
        bound = (self._range >> 12) * self.predict(contexts, mixer)
        if self._code < bound:
            self._range, value = bound, 1
        else:
            self._code -= bound
            self._range -= bound
            value = 0
        while self._range < 1 << 24:
            byte = self._data[self._next] if self._next < len(self._data) else 0
            self._next += 1
            self._code = (self._code << 8 | byte) & 0xFFFFFFFF
            self._range <<= 8
        self.learn(value)
        return value

    def finish(self) -> None:
        """CorruptFile unless all bytes were needed, but for those that a writer would have left out."""
        if self._next < len(self._data) or self._data[-1:] == b"\0":
            raise CorruptFile(f"its code of {len(self._data)} bytes goes on after {self._next}")


Coder = BitWriter | BitReader
