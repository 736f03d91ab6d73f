"""A second decoder of label maps, written from docs/format.md: slow, plain, and sharing no code with the first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

T = [1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785, 3901,
     3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094]  # fmt: skip


def squash(d: int) -> int:
    d = max(-2047, min(2047, d))
    j, f = (d >> 7) + 16, d % 128
    return (T[j] * (128 - f) + T[j + 1] * f + 64) >> 7


STRETCH = [next((d for d in range(-2047, 2048) if squash(d) >= i), 2047) for i in range(4096)]


class Decisions:
    """The decisions of a code, in their order."""

    def __init__(self, code: bytes):
        self.code, self.at = code, 0
        self.range, self.number = 2**32 - 1, 0
        for _ in range(4):
            self.number = 256 * self.number + self.byte()
        self.chance: dict[tuple[int, int], int] = defaultdict(lambda: 32768)
        self.age: dict[tuple[int, int], int] = defaultdict(int)
        self.weight: dict[int, list[int]] = defaultdict(lambda: [22938] * 4)

    def byte(self) -> int:
        self.at += 1
        return self.code[self.at - 1] if self.at <= len(self.code) else 0

    def ask(self, mixer: int, contexts: Sequence[int]) -> int:
        slots = [(i, (c * 0x9E3779B1 % 2**32) >> 16) for i, c in enumerate(contexts)]
        x = [STRETCH[self.chance[s] >> 4] for s in slots]
        weight = self.weight[mixer]
        p = squash(sum(w * v for w, v in zip(weight, x, strict=False)) >> 16)
        bound = (self.range >> 12) * p
        b = int(self.number < bound)
        if b:
            self.range = bound
        else:
            self.number, self.range = self.number - bound, self.range - bound
        while self.range < 2**24:
            self.range *= 256
            self.number = (256 * self.number + self.byte()) % 2**32
        for i, s in enumerate(slots):
            weight[i] += (x[i] * 64 * (4096 * b - p) + 32768) >> 16
            self.chance[s] += (65535 * b - self.chance[s]) * (131072 // (2 * self.age[s] + 3)) >> 16
            self.age[s] = min(self.age[s] + 1, 250)
        return b


def decode(data: bytes, rows: int, columns: int) -> list[list[int]]:
    """The map of `data`, without its leading side."""
    coding, last, decisions = data[0], data[1], Decisions(data[2:])
    if last == 0:
        return [[0] * columns for _ in range(rows)]
    result = (scan if coding == 0 else outlines)(decisions, last, rows, columns)
    assert decisions.at >= len(data) - 2
    return result


def scan(decisions: Decisions, last: int, rows: int, columns: int) -> list[list[int]]:
    n = last + 1
    found: dict[tuple[int, int], int] = {}
    for y in range(rows):
        for x in range(columns):
            w, north, ne, nw, ww, nn, nee, nne, nww = (
                found.get((y + dy, x + dx), n)
                for dy, dx in ((0, -1), (-1, 0), (-1, 1), (-1, -1), (0, -2), (-2, 0), (-1, 2), (-2, 1), (-1, -2))
            )
            near = (w == north) + 2 * (north == nw) + 4 * (north == ne) + 8 * (w == nw)
            far = near + 16 * (w == ww) + 32 * (north == nn) + 64 * (ne == nee) + 128 * (w == ne)
            farther = far + 256 * (nn == nne) + 512 * (nw == nww)
            for k, g in enumerate(g for g in dict.fromkeys((w, north, ne, nw)) if g != n):
                h = north if k == 0 else w
                if decisions.ask(2 * k + (near == 15), (k + 4 * far, k + 4 * farther,
                                                        k + 4 * (near + 16 * (g + 256 * h)), k + 4 * (far + 256 * g))):
                    found[y, x] = g
                    break
            else:
                d, v = last.bit_length(), 1
                for i in range(d - 1, -1, -1):
                    c = (v, 512 * v + w, 512 * v + north, 512 * v + nw)
                    v = 2 * v + decisions.ask(64 + i, [64 + 65536 * e for e in c])
                found[y, x] = v - 2**d
                assert found[y, x] <= last
    return [[found[y, x] for x in range(columns)] for y in range(rows)]


def outlines(decisions: Decisions, last: int, rows: int, columns: int) -> list[list[int]]:
    painted: dict[tuple[int, int], int] = {}
    owned: set[tuple[int, int]] = set()
    grid = [(y, x) for y in range(rows) for x in range(columns)]

    def ask(kind: int, *c: int) -> int:
        return decisions.ask(kind, [kind + 8 * (i + 4 * e) for i, e in enumerate(c)])

    def number() -> int:
        s = 0
        while ask(4, s):
            s += 1
        m = 1
        for i in range(s - 1, -1, -1):
            m = 2 * m + ask(5, 32 * s + i)
        return m - 1

    def area(first: tuple[int, int]) -> None:
        y, x = first
        e = painted.get(first, painted.get((y - 1, x), -1))
        d, v = last.bit_length(), 1
        for _ in range(d):
            v = 2 * v + ask(0, v, 512 * v + e + 1)
        label, history = v - 2**d, 0
        known = {first: 1}
        right_sides: list[tuple[int, int]] = []  # (row, column) of vertical sides

        def belongs(entry: tuple[int, int], kind: int) -> int:
            if not (0 <= entry[0] < rows and 0 <= entry[1] < columns) or entry < first:
                return 0
            if entry not in known:
                if entry in owned:
                    return 0
                known[entry] = ask(kind, history % 16, history % 256, history % 4096, 16 * label + history % 16)
            return known[entry]

        heading = (0, 1)
        while True:
            if heading[0] == 1:
                right_sides.append((y, x))
            elif heading[0] == -1:
                right_sides.append((y - 1, x))
            y, x = y + heading[0], x + heading[1]
            if (y, x) == first:
                break
            # the entries around the corner, by the side of the walk that they lie on
            ahead = {(0, 1): ((y, x), (y - 1, x)), (1, 0): ((y, x - 1), (y, x)),
                     (0, -1): ((y - 1, x - 1), (y, x - 1)), (-1, 0): ((y - 1, x), (y - 1, x - 1))}
            right, left = ahead[heading]
            if not belongs(right, 1):
                turn, heading = 1, (heading[1], -heading[0])
            elif belongs(left, 2):
                turn, heading = 3, (-heading[1], heading[0])
            else:
                turn = 0
            history = 4 * history + turn
        for row, column in grid:
            if (row, column) not in owned and sum(r == row and c <= column for r, c in right_sides) % 2:
                painted[row, column] = label
        for entry, yes in known.items():
            if yes:
                owned.add(entry)

    for entry in grid:
        if entry not in painted:
            area(entry)
    begin = (0, 0)
    while ask(3, 0):
        free = [entry for entry in grid if entry >= begin and entry not in owned]
        begin = free[number()]
        area(begin)
    return [[painted[y, x] for x in range(columns)] for y in range(rows)]
