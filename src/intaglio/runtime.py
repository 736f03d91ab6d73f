"""onnxruntime sessions of a model package: arrays in, arrays out. No torch, no order of steps.

All arrays are C-contiguous NumPy arrays with a leading batch axis of 1. The prior's graphs compute with integers in
float32 and give the same integers on every provider; the other graphs may differ in the last bits between machines.
"""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from operator import index
from typing import SupportsIndex

import numpy as np
import onnxruntime as ort

from . import grain
from .entropy import Tables
from .errors import BadInput, TooLarge, WrongModel
from .package import Package

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}

ROWS = 8192  # pixels that a refinement is asked for at a time: it may need memory for each
MAX_THREADS = 256  # onnxruntime starts as many as it is told to, also where that takes for ever

# In a graph: the name of a file with its weights (the key of onnx's external_data, however its tag and length are
# spelled). onnxruntime would open that file, in the folder at hand, on the word of a stranger's package.
ELSEWHERE = re.compile(rb"(\x0a|\x8a\x80*\x00)(\x08|\x88\x80*\x00)location")

Output = tuple[type, tuple[int | None, ...]]  # an array's dtype and shape, None for any size


def provider(device: str) -> str:
    """The onnxruntime provider of a device name. Raises BadInput where this onnxruntime lacks it."""
    if device not in PROVIDERS:
        raise BadInput(f"device {device!r} is not known; choose one of {', '.join(PROVIDERS)}")
    if PROVIDERS[device] not in ort.get_available_providers():
        usable = ", ".join(d for d, p in PROVIDERS.items() if p in ort.get_available_providers())
        raise BadInput(f"device {device!r}: this onnxruntime has no {PROVIDERS[device]}; usable here: {usable}")
    return PROVIDERS[device]


class Runtime:
    """A package ready to run on one device. Sessions are made when first needed; threads may share it."""

    def __init__(self, package: Package, device: str = "cpu", threads: int | None = None):
        if threads is not None and not (isinstance(threads, SupportsIndex) and 1 <= index(threads) <= MAX_THREADS):
            raise BadInput(f"threads is {threads}; give 1 to {MAX_THREADS}, or leave it out for all cores")
        self.package = package
        self.provider = provider(device)
        self.threads = threads
        try:
            self.tables = Tables.from_arrays(package.tables["counts"], package.tables["sizes"])
        except BadInput as error:
            raise WrongModel(f"model {package.name}: {error}") from None
        self.pixels_computed = 0  # pixels that synthesis has produced, halos included
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._lock = threading.Lock()

    def session(self, name: str) -> ort.InferenceSession:
        """The session of one graph."""
        with self._lock:
            if name not in self._sessions:
                options = ort.SessionOptions()
                options.log_severity_level = 4  # what fails is raised, and told in our words
                if self.threads:
                    options.intra_op_num_threads = self.threads
                # strips come in a few shapes; an arena would keep the largest of each for good
                options.enable_cpu_mem_arena = False
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                graph = self.package.members.get(f"{name}.onnx")
                if graph is None:
                    raise self._failed(name, "is missing", ValueError("the package is not whole"))
                if ELSEWHERE.search(graph):
                    raise self._failed(name, "cannot be loaded", ValueError("it keeps weights in another file"))
                try:
                    self._sessions[name] = ort.InferenceSession(graph, options, providers=[self.provider])
                except Exception as error:  # onnxruntime has a dozen kinds
                    raise self._failed(name, "cannot be loaded", error) from None
            return self._sessions[name]

    def _failed(self, name: str, how: str, error: Exception) -> WrongModel | TooLarge:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, MemoryError) or "allocat" in reason.lower() or "unavailable" in reason.lower():
            return TooLarge(f"model {self.package.name}: too little memory, or threads, for {name}.onnx ({reason})")
        return WrongModel(f"model {self.package.name}: its graph {name}.onnx {how} ({reason}); export it again")

    def _run(self, name: str, feed: dict[str, np.ndarray], *outputs: Output) -> list[np.ndarray]:
        """Runs a graph and checks what it gives. Raises WrongModel or TooLarge."""
        session = self.session(name)
        try:
            arrays = session.run(None, feed)
            _check(arrays, outputs)
        except Exception as error:  # as above
            raise self._failed(name, "does not do its work", error) from None
        return arrays

    def analysis(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (1, h, w, 3), sides multiples of 16, to latents float32 (1, M, h/16, w/16)."""
        shape = (1, self.package.card["latents"], pixels.shape[1] // 16, pixels.shape[2] // 16)
        return self._run("analysis", {"pixels": pixels}, (np.float32, shape))[0]

    def hyper(self, latents: np.ndarray, t: np.ndarray) -> np.ndarray:
        """h_a: gained latents (1, M, h, w) and t = q/63 (1, 1, h/4, w/4) to z float32 (1, N, h/4, w/4), not rounded."""
        shape = (1, self.package.card["hyper"], *t.shape[2:])
        return self._run("hyper", {"latents": latents, "t": t}, (np.float32, shape))[0]

    def hyper_prior(self, k: int, z16: np.ndarray, q: np.ndarray, done: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Group k of the hyper-latents' prior: z16 (1, N, h, w), decoded so far, 2q - 63 and where the group is decoded
        (64, else 0), both (1, 1, h, w), to (mean in sixteenths, offset of the scale index), each (1, channels, h, w);
        all integers in float32."""
        ends = [0, *self.package.card["hyper_groups"]]
        shape = (1, ends[k + 1] - ends[k], *z16.shape[2:])
        feed = {"z16": z16, "q": q, "done": done}
        mean, offset = self._run(f"prior_hyper_{k}", feed, (np.float32, shape), (np.float32, shape))
        return mean, offset

    def features(self, z: np.ndarray, q: np.ndarray) -> np.ndarray:
        """z, clamped to 8 bits, in whole sixteenths, and 2q - 63, in float32 at (h/4, w/4), to the prior's features at
        (h, w)."""
        shape = (1, None, 4 * z.shape[2], 4 * z.shape[3])
        return self._run("prior_start", {"z": z, "q": q}, (np.float32, shape))[0]

    def prior(self, k: int, features: np.ndarray, y16: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Pass k: (mean in sixteenths as integers in float32, scale index uint8), each (1, channels, h, w)."""
        feed = {"features": features} if y16 is None else {"features": features, "y16": y16}
        first, end, _ = self.package.card["passes"][k]
        shape = (1, end - first, *features.shape[2:])
        mean, index = self._run(f"prior_{k}", feed, (np.float32, shape), (np.uint8, shape))
        if int(index.max()) >= len(self.tables):
            raise self._failed(f"prior_{k}", "does not fit", ValueError(f"it names table {index.max()}"))
        return mean, index

    def synthesis(
        self, latents: np.ndarray, t: np.ndarray, realism: float, corner: tuple[int, int] = (0, 0),
        kept: np.ndarray | None = None, labels: np.ndarray | None = None, seed: int = 0,
    ) -> np.ndarray:
        """Latents without gain (1, M, h, w), t (1, 1, h, w), realism 0..1 to uint8 pixels (1, 16h, 16w, 3).

        corner: column and row of the first pixel in the picture, on which the noise of models that take some depends.
        kept (h, w) bool, which latents were coded, and labels (16h, 16w) uint8, for models that synthesise from labels.
        seed: of the noise, for models that take some.
        """
        h, w = latents.shape[2:]
        with self._lock:
            self.pixels_computed += 256 * h * w
        feed = {"latents": latents, "t": t, "realism": np.full((1, 1, 1, 1), realism, np.float32)}
        if self.noisy():
            shown = realism > 0  # else zeros, as docs/format.md says: some models do not scale it by the realism
            noise = grain.noise(*corner, 16 * w, 16 * h, seed) if shown else np.zeros((16 * h, 16 * w), np.float32)
            feed["noise"] = noise[None, None]
        if "labels" in self.package.card:
            feed["kept"] = (np.ones((h, w), bool) if kept is None else kept).astype(np.float32)[None, None]
            feed["labels"] = (np.zeros((16 * h, 16 * w), np.uint8) if labels is None else labels)[None, None]
        return self._run("synthesis", feed, (np.uint8, (1, 16 * h, 16 * w, 3)))[0]

    def noisy(self) -> bool:
        """Whether the model's synthesis takes noise."""
        return any(i.name == "noise" for i in self.session("synthesis").get_inputs())

    def refinement(self, features: np.ndarray) -> np.ndarray:
        """What refine.py tells of n pixels, float32 (n, 54), to their corrections in grey levels (n,)."""
        out = np.empty(len(features), np.float32)
        for at in range(0, len(features), ROWS):
            part = features[at : at + ROWS]
            out[at : at + ROWS] = self._run("refine", {"features": part}, (np.float32, (len(part), 1)))[0][:, 0]
        return out


def _check(arrays: list[np.ndarray], outputs: tuple[Output, ...]) -> None:
    """ValueError unless the arrays are what `outputs` say, and finite."""
    if len(arrays) != len(outputs):
        raise ValueError(f"it gives {len(arrays)} arrays, not {len(outputs)}")
    for array, (dtype, shape) in zip(arrays, outputs, strict=True):
        sides = zip(shape, array.shape, strict=False)
        if array.dtype != dtype or array.ndim != len(shape) or any(want not in (None, have) for want, have in sides):
            raise ValueError(f"it gives {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")
        if dtype is np.float32 and not np.isfinite(array).all():
            raise ValueError("it gives infinities or NaN")


@lru_cache(maxsize=8)
def runtime(package: Package, device: str = "cpu", threads: int | None = None) -> Runtime:
    """The shared Runtime of a package on a device; sessions are loaded once a process."""
    return Runtime(package, device, threads)
