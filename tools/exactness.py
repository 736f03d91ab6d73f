"""Does the same file decode to the same latents everywhere? Encodes pictures here, decodes them in every way at hand.

    python tools/exactness.py photos/ [--model NAME.itgm] [--count 4] [--crop 250] [--qemu-crop 128] [--threads 2]

Centre crops of the pictures in the folder are encoded with the default path (onnxruntime on this processor). Each file
is then decoded in a process of its own: by onnxruntime at 1 and more threads and at every level of graph optimisation;
by torch on 1 and more threads, oneDNN on and off and held to older instruction sets; by the NumPy int64 reference of
tests/; by the real decoder on emulated older processors (qemu-user, where `qemu-x86_64` is installed; on smaller crops,
since it is a hundred times slower); and on a GPU, with TF32 on and off, where torch finds one. What is compared is the
CRC-32 of all residuals and of all latents in sixteenths, tile by tile. Needs torch. Exit code 1 on any difference.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402

from intaglio import codec, container, latents, reader  # noqa: E402
from intaglio.package import Package, resolve  # noqa: E402
from intaglio.runtime import Runtime  # noqa: E402
from intaglio.tiles import Layout  # noqa: E402

EMULATED = ("Haswell", "SandyBridge", "Nehalem")  # AVX2 and FMA; AVX alone; none of them, plain x86-64-v2
QUALITIES = (10, 40, 90)
Latents = tuple[list[np.ndarray], np.ndarray]


class OrtRuntime(Runtime):
    """The product's runtime with a level of graph optimisation of its own."""

    def __init__(self, package: Package, threads: int, level: str, device: str = "cpu"):
        super().__init__(package, device, threads)
        self.level = level

    def session(self, name: str) -> ort.InferenceSession:
        if name not in self._sessions:
            options = ort.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = self.threads or 0
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{self.level}")
            graph = self.package.members[f"{name}.onnx"]
            self._sessions[name] = ort.InferenceSession(graph, options, providers=[self.provider])
        return self._sessions[name]


class TorchRuntime(Runtime):
    """The prior by torch, built from the integers of prior.npz."""

    def __init__(self, package: Package, threads: int, device: str = "cpu", onednn: bool = True, tf32: bool = False):
        import torch

        super().__init__(package)
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = onednn
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        self.device = device
        self.network = torch_prior(package).to(device)

    def features(self, z: np.ndarray, q: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            z_there, q_there = (torch.from_numpy(a).to(self.device) for a in (z, q))
            return self.network.start(z_there, q_there).cpu().numpy()

    def hyper_prior(self, k: int, z16: np.ndarray, q: np.ndarray, done: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        from intaglio.nn.hyper_prior import context

        with torch.no_grad():
            seen = context(*(torch.from_numpy(a).to(self.device) for a in (z16, q, done)))
            mean, offset = self.network.hyper.groups[k](seen)
            return mean.cpu().numpy(), offset.cpu().numpy()

    def prior(self, k: int, features: np.ndarray, y16: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        import torch

        from intaglio.nn.prior import context

        net = self.network
        with torch.no_grad():
            seen = None
            if y16 is not None:
                seen = context(torch.from_numpy(y16).to(self.device), net.seen[k], net.low)
            mean, index = net.steps[k](torch.from_numpy(features).to(self.device), seen)
            return mean.cpu().numpy(), index.to(torch.uint8).cpu().numpy()


def in_torch(package: Package) -> bool:
    """Whether torch's layers have as many bits as the package's."""
    from intaglio.nn.quantised import BITS

    return package.card.get("activations", 8) == BITS


def torch_prior(package: Package) -> Any:
    """The prior of a package in torch, its convolutions holding the exact dyadic weights."""
    from torch import nn

    from intaglio.nn.prior import Pass, Prior
    from intaglio.train.export import fixed, integers
    from intaglio.train.warm import prior_state

    card, arrays = package.card, package.arrays("prior")
    assert in_torch(package)
    width, low = len(arrays["start.enter.weight"]), card["passes"][0][1]
    blocks = len([name for name in arrays if name.startswith("steps.0.blocks.") and name.endswith(".spatial.weight")])
    groups = tuple(card.get("hyper_groups", ()))
    prior = Prior(card["latents"], card["hyper"], width, low, blocks, hyper_groups=groups)
    prior.steps = nn.ModuleList(
        Pass(width, n + low if n else 0, end - first, blocks)
        for n, (first, end, _) in zip(card["seen"], card["passes"], strict=True)
    )
    prior.load_state_dict(prior_state(package, prior))
    again = integers(prior)
    for name in {key.rsplit(".", 1)[0] for key in arrays}:  # w and 2 w at a shift of one more are one number
        for kind in ("weight", "bias"):
            was, now = (np.moveaxis(found[f"{name}.{kind}"], 0, -1) * 0.5 ** found[f"{name}.shift"]
                        for found in (arrays, again))
            assert np.array_equal(was, now), "the integers did not survive"
    return fixed(prior)


def decode(runtime: Runtime, data: bytes) -> list[Latents]:
    """(coded residuals group by group, latents in sixteenths) of every tile, by the product's TileCoder."""
    coder, result = latents.TileCoder(runtime), []
    taken: list[np.ndarray] = []

    class Spy(latents.TileReader):
        def get(self, index: np.ndarray) -> np.ndarray:
            taken.append(super().get(index))
            return taken[-1]

    original, latents.TileReader = latents.TileReader, Spy  # type: ignore[misc]
    try:
        with reader.Reader(data) as file:
            layout = Layout(file.header.width, file.header.height)
            steps = np.asarray(file.qmap, np.int64) + file.header.q
            for i in range(len(layout)):
                t = layout.tile(i).outwards(container.BLOCK)
                q = steps[t.y0 : t.y1, t.x0 : t.x1]
                y = coder.decode(file.tile(i), q)
                y16 = np.rint(y[0].astype(np.float64) * (16.0 * coder.gain(q)[0]))
                result.append((list(taken), y16))
                taken.clear()
    finally:
        latents.TileReader = original  # type: ignore[misc]
    return result


def decode_reference(package: Path, data: bytes) -> list[Latents]:
    """The same by the second decoder of tests/: NumPy int64 and plain Python."""
    import reference_file
    import reference_prior

    file, model = reference_file.parse(data), reference_prior.Model(package)
    return [reference_prior.decode_tile(model, tile, file.tile_steps(i)) for i, tile in enumerate(file.tiles)]


def checksums(tiles: list[Latents]) -> list[list[int]]:
    """(CRC-32 of the residuals, CRC-32 of the latents) of every tile, values as int32, little-endian."""

    def crc(values: np.ndarray) -> int:
        return zlib.crc32(np.ascontiguousarray(values).astype("<i4").tobytes())

    return [[crc(np.concatenate(groups)), crc(y16)] for groups, y16 in tiles]


def worker(engine: dict, package: Path, files: list[Path]) -> dict:
    """Decode `files` one way; what a child process prints as JSON."""
    model = Package.read(package)
    kind, arguments = engine["kind"], {k: v for k, v in engine.items() if k != "kind"}
    way: Callable[[bytes], list[Latents]]
    if kind == "reference":
        way = lambda data: decode_reference(package, data)  # noqa: E731
    else:
        runtime = (OrtRuntime if kind == "onnxruntime" else TorchRuntime)(model, **arguments)
        way = lambda data: decode(runtime, data)  # noqa: E731
    found: dict[str, Any] = {}
    for file in files:
        try:
            found[file.name] = checksums(way(file.read_bytes()))
        except Exception as error:  # a wrong symbol surfaces as any error at all; it is a difference to report
            found[file.name] = f"{type(error).__name__}: {error}"
    features = getattr(sys.modules["numpy._core._multiarray_umath"], "__cpu_features__", {})
    simd = [name for name in ("SSE42", "AVX", "FMA3", "AVX2", "AVX512F", "AVX512_SPR") if features.get(name)]
    return {"files": found, "simd": simd[-1] if simd else "?"}


def run(engine: dict, package: Path, files: list[Path], environment: dict, launcher: list[str], limit: int) -> dict:
    """`worker` in a process of its own. {"failed": why} where it did not get as far as an answer."""
    command = [*launcher, sys.executable, __file__, "--worker", json.dumps(engine), "--model", str(package)]
    try:
        child = subprocess.run([*command, *map(str, files)], env={**os.environ, **environment}, capture_output=True,
                               text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {limit} s"}
    if child.returncode:
        lines = [line for line in child.stderr.splitlines() if "TCG doesn't support" not in line]
        return {"failed": f"exit {child.returncode}: {(lines or ['no message'])[-1][:200]}"}
    return json.loads(child.stdout.splitlines()[-1])


def ways(threads: int, package: Package) -> list[tuple[str, dict, dict]]:
    """(name, engine, environment) of everything that runs this package on this machine's own processor."""
    levels = ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")
    counts = (1, threads)
    result: list[tuple[str, dict, dict]] = [
        (f"onnxruntime, {n} threads, {level}", {"kind": "onnxruntime", "threads": n, "level": level}, {})
        for n in counts for level in levels
    ]
    if "CUDAExecutionProvider" in ort.get_available_providers():
        engine = {"kind": "onnxruntime", "threads": 1, "level": "ENABLE_ALL", "device": "cuda"}
        result += [("onnxruntime, CUDA", engine, {"NVIDIA_TF32_OVERRIDE": tf32}) for tf32 in "01"]
    result.append(("NumPy int64 reference", {"kind": "reference"}, {}))
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: its runs are left out.")
        return result
    if not in_torch(package):
        print("torch has no layers for activations of so many bits: its runs are left out.")
        return result
    for n in counts:
        for onednn in (True, False):
            engine = {"kind": "torch", "threads": n, "onednn": onednn}
            result.append((f"torch, {n} threads, oneDNN {'on' if onednn else 'off'}", engine, {}))
    for isa in ("SSE41", "AVX2", "AVX512_CORE"):
        environment = {"ONEDNN_MAX_CPU_ISA": isa, "DNNL_MAX_CPU_ISA": isa, "ATEN_CPU_CAPABILITY": "default"}
        if isa == "AVX2":
            environment["ATEN_CPU_CAPABILITY"] = "avx2"
        result.append((f"torch, oneDNN held to {isa}", {"kind": "torch", "threads": threads}, environment))
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        for tf32 in (False, True):
            engine = {"kind": "torch", "threads": threads, "device": "cuda", "tf32": tf32}
            result.append((f"torch, {name}, TF32 {'on' if tf32 else 'off'}", engine, {}))
    else:
        print("torch finds no GPU: its runs are left out.")
    return result


def crops(folder: Path, count: int, size: int) -> dict[str, np.ndarray]:
    """Centre crops of odd sizes of the first pictures of a folder."""
    from PIL import Image

    found: dict[str, np.ndarray] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if len(found) == count:
            break
        try:
            with Image.open(path) as image:
                w, h = min(size, image.width), min(size - 7, image.height)
                x, y = (image.width - w) // 2, (image.height - h) // 2
                found[path.stem] = np.asarray(image.convert("RGB").crop((x, y, x + w, y + h)))
        except OSError:  # no picture
            continue
    if not found:
        raise SystemExit(f"{folder}: no picture there that Pillow can read; give a folder of photographs")
    return found


def compare(name: str, answer: dict, truth: dict, seconds: float) -> int:
    """One row of the table; the number of files that differ, all of them where the run failed."""
    if "failed" in answer:
        print(f"{name:44s} {len(truth):5d} {'-':>6s}  {seconds:6.1f} s  DID NOT RUN: {answer['failed']}", flush=True)
        return len(truth)
    different = [file for file in truth if answer["files"].get(file) != truth[file]]
    print(f"{name:44s} {len(truth):5d} {len(different):6d}  {seconds:6.1f} s  {answer['simd']}", flush=True)
    for file in different[:3]:
        print(f"    {file}: {answer['files'].get(file)} instead of {truth[file]}")
    return len(different)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, nargs="+", help="a folder of pictures")
    p.add_argument("--model", default=None, help="a model package or a released model's name")
    p.add_argument("--count", type=int, default=4)
    p.add_argument("--crop", type=int, default=250)
    p.add_argument("--qemu-crop", type=int, default=128, help="0: no emulation")
    p.add_argument("--qemu-count", type=int, default=2)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--limit", type=int, default=3600, help="seconds for one run")
    p.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.worker:
        print(json.dumps(worker(a.worker, Path(a.model), a.folder)))
        return 0
    package = resolve(a.model)
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.itgm"
        model.write_bytes(package.to_bytes())
        assert Package.read(model).fingerprint == package.fingerprint

        def encode(count: int, size: int) -> tuple[list[Path], dict]:
            files = []
            for name, picture in crops(a.folder[0], count, size).items():
                for quality in QUALITIES:
                    files.append(Path(scratch) / f"{name}_{size}_{quality}.itg")
                    files[-1].write_bytes(codec.encode(picture, quality=quality, model=package))
            return files, worker({"kind": "onnxruntime", "threads": a.threads, "level": "ENABLE_ALL"}, model, files)

        def table(runs: list[tuple[str, dict, dict, list[str]]], files: list[Path], truth: dict) -> None:
            nonlocal bad
            for name, engine, environment, launcher in runs:
                start = time.monotonic()
                answer = run(engine, model, files, environment, launcher, a.limit)
                bad += compare(name, answer, truth, time.monotonic() - start)

        files, here = encode(a.count, a.crop)
        broken = [file for file, found in here["files"].items() if isinstance(found, str)]
        if broken:
            print(f"the machine that wrote them cannot decode {', '.join(broken)}: {here['files'][broken[0]]}")
            return 1
        print(f"model {package.name} {package.fingerprint.hex()}, encoded here with {here['simd']}")
        print(f"{'decoded by':44s} files differ       time  instructions (as NumPy sees them)")
        table([(*way, []) for way in ways(a.threads, package)], files, here["files"])
        emulator = shutil.which("qemu-x86_64")
        if emulator is None or not a.qemu_crop:
            print("qemu-x86_64 is not installed, or --qemu-crop is 0: no older processor is emulated.")
        else:
            files, here = encode(a.qemu_count, a.qemu_crop)
            engine = {"kind": "onnxruntime", "threads": 1, "level": "ENABLE_ALL"}
            runs = [(f"onnxruntime on an emulated {cpu}", engine, {}, [emulator, "-cpu", cpu]) for cpu in EMULATED]
            table(runs, files, here["files"])
    print("no difference" if not bad else f"{bad} differences", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
