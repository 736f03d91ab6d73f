"""onnxruntime sessions of a model package: arrays in, arrays out. No torch, no order of steps.

All arrays are C-contiguous NumPy arrays with a leading batch axis of 1. The prior's graphs compute with integers in
float32 and give the same integers on every provider; the other graphs may differ in the last bits between machines.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
import onnxruntime as ort

from .entropy import Tables
from .errors import BadInput, WrongModel
from .package import Package

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}


def provider(device: str) -> str:
    """The onnxruntime provider of a device name. Raises BadInput where this onnxruntime lacks it."""
    if device not in PROVIDERS:
        raise BadInput(f"device {device!r} is not known; choose one of {', '.join(PROVIDERS)}")
    if PROVIDERS[device] not in ort.get_available_providers():
        usable = ", ".join(d for d, p in PROVIDERS.items() if p in ort.get_available_providers())
        raise BadInput(f"device {device!r}: the installed onnxruntime has no {PROVIDERS[device]}; usable here: {usable}")
    return PROVIDERS[device]


class Runtime:
    """A package ready to run on one device. Sessions are made when first needed; calls from several threads are safe."""

    def __init__(self, package: Package, device: str = "cpu", threads: int | None = None):
        if threads is not None and threads < 1:
            raise BadInput(f"threads is {threads}; give 1 or more, or leave it out for all cores")
        self.package = package
        self.provider = provider(device)
        self.threads = threads
        self.tables = Tables.from_arrays(package.tables["counts"], package.tables["sizes"])
        self.pixels_computed = 0  # pixels that synthesis has produced, halos included
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._lock = threading.Lock()

    def session(self, name: str) -> ort.InferenceSession:
        """The session of one graph."""
        with self._lock:
            if name not in self._sessions:
                options = ort.SessionOptions()
                options.log_severity_level = 3
                if self.threads:
                    options.intra_op_num_threads = self.threads
                # strips come in a few shapes; an arena would keep the largest of each for good
                options.enable_cpu_mem_arena = False
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                try:
                    self._sessions[name] = ort.InferenceSession(
                        self.package.members[f"{name}.onnx"], options, providers=[self.provider]
                    )
                except KeyError:
                    raise WrongModel(f"model {self.package.name}: the package has no graph {name}.onnx") from None
            return self._sessions[name]

    def analysis(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (1, h, w, 3), sides multiples of 16, to latents float32 (1, M, h/16, w/16)."""
        return self.session("analysis").run(None, {"pixels": pixels})[0]

    def hyper(self, latents: np.ndarray, t: np.ndarray) -> np.ndarray:
        """h_a: gained latents (1, M, h, w) and t = q/63 (1, 1, h/4, w/4) to z float32 (1, N, h/4, w/4), not rounded."""
        return self.session("hyper").run(None, {"latents": latents, "t": t})[0]

    def features(self, z: np.ndarray, q: np.ndarray) -> np.ndarray:
        """z clamped to 8 bits and 2q - 63, integers in float32 at (h/4, w/4), to the prior's features at (h, w)."""
        return self.session("prior_start").run(None, {"z": z, "q": q})[0]

    def prior(self, k: int, features: np.ndarray, y16: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Pass k: (mean in sixteenths as integers in float32, scale index uint8), each (1, channels, h, w)."""
        feed = {"features": features} if y16 is None else {"features": features, "y16": y16}
        mean, index = self.session(f"prior_{k}").run(None, feed)
        return mean, index

    def synthesis(self, latents: np.ndarray, t: np.ndarray, realism: float) -> np.ndarray:
        """Latents without gain (1, M, h, w), t (1, 1, h, w), realism 0..1 to uint8 pixels (1, 16h, 16w, 3)."""
        with self._lock:
            self.pixels_computed += 256 * latents.shape[2] * latents.shape[3]
        feed = {"latents": latents, "t": t, "realism": np.full((1, 1, 1, 1), realism, np.float32)}
        return self.session("synthesis").run(None, feed)[0]


@lru_cache(maxsize=8)
def runtime(package: Package, device: str = "cpu", threads: int | None = None) -> Runtime:
    """The shared Runtime of a package on a device; sessions are loaded once a process."""
    return Runtime(package, device, threads)
