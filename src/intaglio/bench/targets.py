"""How a target is written: in file names, commands and pages alike."""

from __future__ import annotations


def written(target: float) -> str:
    """Bytes with all their digits (1000001, which :g would call 1e+06), bpp as short as can be."""
    return str(target) if isinstance(target, int) else f"{target:g}"
