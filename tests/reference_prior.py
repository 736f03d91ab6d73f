"""The integer prior and a tile's layout in NumPy int64, written from docs/format.md: no torch, onnxruntime or intaglio.

With reference_ans.py and reference_file.py it makes a second decoder of a file's latents. Every number is an integer.
Arrays are (channels, rows, columns), int64.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import reference_ans
import reference_file

MAX_MEAN = 2**20
SCALES = 64
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
MAX_HYPER_MEAN, MAX_OFFSET, DONE = 2047, 63, 64


class Model:
    """What a second decoder reads of a package: prior.npz, tables.npz and a few numbers of card.json."""

    def __init__(self, package: str | Path):
        with zipfile.ZipFile(package) as archive:
            card = json.loads(archive.read("card.json"))
            prior = np.load(io.BytesIO(archive.read("prior.npz")))
            tables = np.load(io.BytesIO(archive.read("tables.npz")))
        self.fingerprint = bytes.fromhex(card["fingerprint"])
        self.arrays = {name: prior[name].astype(np.int64) for name in prior.files}
        self.passes: list[tuple[int, int, int]] = [tuple(p) for p in card["passes"]]
        self.seen: list[int] = card["seen"]
        self.latents: int = card["latents"]
        self.steps: int = card["steps"]
        self.hyper_index = tables["hyper_index"]
        self.hyper_groups: list[int] = card.get("hyper_groups", [])
        bits = card.get("activations", 8)
        self.unsigned, self.signed = (0, 2**bits - 1), (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        ends = np.cumsum(tables["sizes"].astype(np.int64))
        self.counts = [part.tolist() for part in np.split(tables["counts"].astype(np.int64), ends[:-1])]


def requantise(s: np.ndarray, shift: np.ndarray, low: int, high: int) -> np.ndarray:
    """clamp(floor((s + 2^(k-1)) / 2^k)), one k a channel: round half up. k = 0 has no half to add."""
    k = shift[:, None, None]
    half = (1 << k) >> 1
    return np.clip((s + half) >> k, low, high)  # >> of a negative int64 is the floor


def sums(model: Model, name: str, a: np.ndarray) -> np.ndarray:
    """Sums of a 1x1 or, where the weight has 3x3 taps, a depthwise convolution with zero padding; bias included."""
    weight = model.arrays[f"{name}.weight"]
    bias = model.arrays[f"{name}.bias"][:, None, None]
    if weight.shape[2:] == (1, 1):
        return np.einsum("oi,ihw->ohw", weight[:, :, 0, 0], a) + bias
    h, w = a.shape[1:]
    padded = np.pad(a, ((0, 0), (1, 1), (1, 1)))
    s = np.zeros_like(a)
    for row in range(3):
        for column in range(3):
            s += weight[:, 0, row, column][:, None, None] * padded[:, row : row + h, column : column + w]
    return s + bias


def layer(model: Model, name: str, a: np.ndarray, low: int, high: int, trunk: np.ndarray | None = None) -> np.ndarray:
    """A convolution, requantised; `trunk` (integers) joins the sum, shifted, before the rounding."""
    s, shift = sums(model, name, a), model.arrays[f"{name}.shift"]
    if trunk is not None:
        s = s + (trunk << shift[:, None, None])
    assert (np.abs(s) + (1 << shift[:, None, None])).max() < 2**24, "a sum that float32 might not hold"
    return requantise(s, shift, low, high)


def block(model: Model, name: str, x: np.ndarray) -> np.ndarray:
    """Residual block on unsigned values."""
    h = layer(model, f"{name}.spatial", x, *model.signed)
    h = layer(model, f"{name}.expand", h, *model.unsigned)
    return layer(model, f"{name}.project", h, *model.unsigned, trunk=x)


def pixel_shuffle(x: np.ndarray, r: int) -> np.ndarray:
    """(c r r, h, w) to (c, h r, w r): channel c r r + i r + j goes to row offset i, column offset j."""
    c, h, w = x.shape[0] // (r * r), *x.shape[1:]
    return x.reshape(c, r, r, h, w).transpose(0, 3, 1, 4, 2).reshape(c, h * r, w * r)


def features(model: Model, z16: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Hyper-latents in sixteenths (N, h/4, w/4), of any size, and q (h/4, w/4) in 0..63 to features (width, h, w),
    unsigned."""
    condition = 2 * q.astype(np.int64) - (model.steps - 1)
    enter = np.concatenate([np.clip(z16.astype(np.int64), -2048, 2032), 16 * condition[None]])
    s, shift = sums(model, "start.enter", enter), model.arrays["start.enter.shift"]
    s += 15 * model.arrays["start.enter.bias"][:, None, None]  # everything in sixteenths
    most = (np.abs(s) + (16 << shift[:, None, None])).max()
    assert model.hyper_groups == [] or most < 2**24, "a sum that float32 might not hold"
    x = block(model, "start.block", requantise(s, shift + 4, *model.unsigned))
    x = pixel_shuffle(layer(model, "start.rise", x, *model.unsigned), 4)
    return block(model, "start.after", x)


def context(model: Model, y16: np.ndarray) -> np.ndarray:
    """Decoded latents in sixteenths (seen, h, w), zero where undecoded, to signed integers (seen + low, h, w)."""
    low = model.passes[0][1]
    fine = np.clip((y16 + 1) >> 1, *model.signed)
    coarse = np.clip((y16[:low] + 64) >> 7, *model.signed)
    return np.concatenate([fine, coarse])


def run_pass(model: Model, k: int, x: np.ndarray, y16: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Pass k: features (width, h, w) and what it sees to (mean in sixteenths, scale index), each (channels, h, w)."""
    name = f"steps.{k}"
    if y16 is not None:
        x = layer(model, f"{name}.enter", context(model, y16), *model.unsigned, trunk=x)
    n = 0
    while f"{name}.blocks.{n}.spatial.weight" in model.arrays:
        x = block(model, f"{name}.blocks.{n}", x)
        n += 1
    mean = layer(model, f"{name}.mean", x, -MAX_MEAN, MAX_MEAN)
    return mean, layer(model, f"{name}.scale", x, 0, SCALES - 1)


def hyper_group(
    model: Model, k: int, z16: np.ndarray, q: np.ndarray, done: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Group k: decoded hyper-latents in sixteenths (N, h/4, w/4), q, and where the group is decoded (0 or 1), both
    (h/4, w/4), to (mean in sixteenths, offset of the scale index), each (channels, h/4, w/4)."""
    name = f"hyper.groups.{k}"
    seen = np.clip((z16 + 2) >> 2, *model.signed)
    condition = 2 * q.astype(np.int64) - (model.steps - 1)
    x = layer(model, f"{name}.enter", np.concatenate([seen, condition[None], DONE * done[None]]), *model.unsigned)
    n = 0
    while f"{name}.blocks.{n}.spatial.weight" in model.arrays:
        x = block(model, f"{name}.blocks.{n}", x)
        n += 1
    mean = layer(model, f"{name}.mean", x, -MAX_HYPER_MEAN, MAX_HYPER_MEAN)
    return mean, layer(model, f"{name}.scale", x, -MAX_OFFSET, MAX_OFFSET)


def hyper_latents(model: Model, stream: reference_ans.Stream, q: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """(residuals, group by group and phase by phase, hyper-latents in sixteenths (N, h/4, w/4))."""
    base = model.hyper_index[q].transpose(2, 0, 1).astype(np.int64)
    if not model.hyper_groups:
        z = np.array(stream.group(base.ravel().tolist()), np.int64)
        return [z], 16 * z.reshape(base.shape)
    groups, z16 = [], np.zeros(base.shape, np.int64)
    for k, (first, end) in enumerate(zip([0, *model.hyper_groups], model.hyper_groups, strict=False)):
        done = np.zeros(q.shape, np.int64)
        for row, column in PHASES:
            mean, offset = hyper_group(model, k, z16, q, done)
            phase = np.zeros(q.shape, bool)
            phase[row::2, column::2] = True
            index = np.clip(base[first:end] + offset, 0, SCALES - 1)[:, phase]
            r = np.array(stream.group(index.ravel().tolist()), np.int64)
            z16[first:end, phase] = 16 * r.reshape(index.shape) + mean[:, phase]
            done[phase] = 1
            groups.append(r)
    return groups, z16


def decode_tile(model: Model, payload: bytes, q: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """One tile from its payload and its q map (h/4, w/4): its coded residuals, group by group in coding order, and its
    latents in sixteenths (M, h, w)."""
    active, at = reference_file.leb128(payload, 0)
    assert active <= model.latents
    data, (rows, columns) = payload[at:], q.shape
    h, w = 4 * rows, 4 * columns
    colour = np.add.outer(np.arange(h), np.arange(w)) % 2
    stream = reference_ans.Stream(model.counts, data)
    groups, z16 = hyper_latents(model, stream, q)
    x = features(model, z16, q)
    y16 = np.zeros((model.latents, h, w), np.int64)
    for k, ((first, end, parity), seen) in enumerate(zip(model.passes, model.seen, strict=True)):
        mean, index = run_pass(model, k, x, y16[:seen] if seen else None)
        mask = colour == parity
        count = max(0, min(end, active) - first)
        coded = np.array(stream.group(index[:count, mask].ravel().tolist()), np.int64)
        r = np.zeros((end - first, np.count_nonzero(mask)), np.int64)
        r[:count] = coded.reshape(count, r.shape[1])
        y16[first:end, mask] = 16 * r + mean[:, mask]
        groups.append(coded)
    stream.finish()
    return groups, y16
