"""Grain by blocks, written from docs/format.md: in real numbers, pixel by pixel. No intaglio."""

from __future__ import annotations

import math

import numpy as np

M32 = 0xFFFFFFFF


def noise(x: int, y: int, seed: int) -> float:
    v = (x * 0x9E3779B1 ^ y * 0x85EBCA77 ^ seed) & M32
    v ^= v >> 16
    v = v * 0x7FEB352D & M32
    v ^= v >> 15
    v = v * 0x846CA68B & M32
    v ^= v >> 16
    return (sum(v.to_bytes(4, "big")) - 510) / math.sqrt(4 * (256**2 - 1) / 12)


def soft(x: int, y: int, seed: int) -> float:
    near = [(i, j, (1, 6, 1)[i] * (1, 6, 1)[j]) for i in range(3) for j in range(3)]
    return sum(weight * noise(x + i, y + j, seed) for i, j, weight in near) / 38


def deviation(levels: np.ndarray, x: int, y: int) -> float:
    """Between the middles of the blocks around the pixel."""
    rows, columns = levels.shape
    of = np.where(levels == 0, 0, 0.3 * 2 ** ((levels - 1) / 2))
    u = min(max((x + 0.5 - 32) / 64, 0), columns - 1)
    v = min(max((y + 0.5 - 32) / 64, 0), rows - 1)
    i, j = int(u), int(v)
    right, below = min(i + 1, columns - 1), min(j + 1, rows - 1)
    upper = of[j, i] * (1 - (u - i)) + of[j, right] * (u - i)
    lower = of[below, i] * (1 - (u - i)) + of[below, right] * (u - i)
    return float(upper * (1 - (v - j)) + lower * (v - j))


def shown(colour: int, x: int, y: int, levels: np.ndarray, seed: int, realism: float, kind: int) -> int:
    """What a colour 0..255 of the pixel in column x and row y becomes. kind: the first byte of BMAP."""
    drawn = soft(x, y, seed) if kind & 8 else noise(x, y, seed)
    return min(max(math.floor(colour + realism * deviation(levels, x, y) * drawn + 0.5), 0), 255)
