"""A label map as vector outlines: every connected area by the turns of its border. Lossless.

An *area* is a set of positions with one label that hang together by their sides. Areas are told in the order of their
first positions, row by row; one that surrounds others therefore comes before them. Each is its label and its outer
border, walked clockwise from the upper left corner of its first position: at every corner the two positions ahead, to
the right and to the left, decide where it goes on. Both are only asked for where what was told before leaves them open,
so a border between two areas is paid for once. What the border encloses is painted; areas inside it paint over it.

The first position that nobody has painted begins an area; after the last of those come the areas inside others, each
with the number of positions passed over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .adaptive import Coder
from .errors import CorruptFile

SETS = 4  # of contexts
MOST_WORK = 1 << 16  # corners walked, and what else takes as long: some seconds, far above any map worth this coding
_HEADINGS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # (row, column): east, south, west, north; clockwise
_LABEL, _RIGHT, _LEFT, _INSIDE, _SIZE, _DIGIT = range(6)  # kinds of decisions, one mixer each


def code(coder: Coder, labels: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Write `labels` (rows, columns), 0..count - 1, or read a map of that shape; returns the map.

    Raises CorruptFile for what is no map, or takes more work than MOST_WORK (in writing, too).
    """
    return _Walk(coder, labels, count).run()


class _Walk:
    def __init__(self, coder: Coder, labels: NDArray[np.uint8], count: int):
        self.coder, self.count = coder, count
        self.height, self.width = labels.shape
        self.wanted = labels.tolist()  # what a writer writes; a reader does not look at it
        self.canvas = np.full(labels.shape, -1, np.int16)
        self.owner = np.zeros(labels.shape, np.int32)  # the area that a position is known to belong to; 0: not known
        self.writing = not hasattr(coder, "_code")
        self.work = 0

    def run(self) -> NDArray[np.uint8]:
        flat, owner, area = self.canvas.ravel(), self.owner.ravel(), 0
        at = 0
        while at < len(flat):  # areas that no other encloses
            open_ = flat[at : at + 256] < 0
            if open_.any():
                at += int(open_.argmax())
                area += 1
                self._area(area, at)
            else:
                at += 256
        at, wanted = 0, np.asarray(self.wanted).ravel()
        while True:  # areas inside others
            self._worked(len(flat) // 1024)
            starts = np.flatnonzero(owner[at:] == 0) + at  # where another may begin
            found = np.flatnonzero(wanted[starts] != flat[starts]) if self.writing else starts[:0]
            more = self._bit(int(len(found) > 0), _INSIDE, 0)
            if not more:
                break
            skip = self._number(int(found[0]) if len(found) else 0)
            if skip >= len(starts):
                raise CorruptFile(f"an outline begins {skip} positions on and {len(starts)} are left")
            area += 1
            at = int(starts[skip])
            self._area(area, at)
        return self.canvas.astype(np.uint8)

    def _bit(self, value: int, kind: int, *contexts: int) -> int:
        return self.coder.bit(value, [kind + 8 * (k + 4 * c) for k, c in enumerate(contexts)], kind)

    def _number(self, n: int) -> int:
        """n >= 0: how many binary digits n + 1 has, one decision each, then the digits below the first."""
        size = 0
        while self._bit(int((n + 1).bit_length() - 1 > size), _SIZE, size):
            size += 1
            if size > 24:
                raise CorruptFile("a number in its outlines has more than 24 digits")
        result = 1
        for i in reversed(range(size)):
            result = 2 * result + self._bit((n + 1) >> i & 1, _DIGIT, size * 32 + i)
        return result - 1

    def _label(self, label: int, near: int) -> int:
        node = 1
        for i in reversed(range((self.count - 1).bit_length())):
            node = 2 * node + self._bit(label >> i & 1, _LABEL, node, node * 512 + near + 1)
        label = node - (1 << (self.count - 1).bit_length())
        if label >= self.count:
            raise CorruptFile(f"label {label} of {self.count}")
        return label

    def _worked(self, steps: int) -> None:
        self.work += steps
        if self.work > MOST_WORK:
            raise CorruptFile(f"its outlines take more than {MOST_WORK} steps")

    def _area(self, area: int, start: int) -> None:
        """One area from its first position on, painted on the canvas."""
        y0, x0 = divmod(start, self.width)
        before = int(self.canvas[y0, x0])
        near = before if before >= 0 else int(self.canvas[y0 - 1, x0]) if y0 else -1
        label = self._label(self.wanted[y0][x0], near)
        inside = {(y0, x0)}  # what the walk has found out
        outside: set[tuple[int, int]] = set()
        crossed: list[tuple[int, int]] = []  # vertical sides walked along, as (row, column of the corner)
        history = 0

        def belongs(y: int, x: int, kind: int) -> int:
            nonlocal history
            if not (0 <= y < self.height and 0 <= x < self.width) or (y, x) < (y0, x0):
                return 0
            if (y, x) in inside:
                return 1
            if (y, x) in outside or self.owner[y, x]:
                return 0
            truth = int(self.wanted[y][x] == label) if self.writing else 0
            found = self._bit(truth, kind, history & 15, history & 255, history & 4095, label * 16 + (history & 15))
            (inside if found else outside).add((y, x))
            return found

        y, x, heading = y0, x0, 0  # the corner at the upper left of position (y, x)
        while True:
            dy, dx = _HEADINGS[heading]
            if dy:
                crossed.append((y + (dy < 0) * -1, x))
            y, x = y + dy, x + dx
            self._worked(1)
            if (y, x) == (y0, x0):
                break
            ry, rx = _HEADINGS[(heading + 1) % 4]
            # the positions ahead of a corner: half a step on, half a step to the side
            right = y + (dy + ry - 1) // 2, x + (dx + rx - 1) // 2
            left = y + (dy - ry - 1) // 2, x + (dx - rx - 1) // 2
            if not belongs(*right, _RIGHT):
                turn = 1
            elif belongs(*left, _LEFT):
                turn = 3
            else:
                turn = 0
            history = history * 4 + turn
            heading = (heading + turn) % 4
        self._paint(area, label, inside, crossed)

    def _paint(self, area: int, label: int, inside: set, crossed: list[tuple[int, int]]) -> None:
        rows = [y for y, _ in crossed]
        columns = [x for _, x in crossed]
        top, bottom, left, right = min(rows), max(rows) + 1, min(columns), max(columns)
        self._worked((bottom - top) * (right - left) // 1024)
        sides = np.zeros((bottom - top, right - left + 1), np.uint8)
        np.add.at(sides, (np.array(rows) - top, np.array(columns) - left), 1)
        enclosed = np.cumsum(sides, 1)[:, :-1] % 2 == 1
        part = self.canvas[top:bottom, left:right]
        part[enclosed & (self.owner[top:bottom, left:right] == 0)] = label
        for y, x in inside:
            self.canvas[y, x] = label
            self.owner[y, x] = area
