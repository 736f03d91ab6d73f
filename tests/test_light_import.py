"""`import intaglio` stays quick and light: no torch, no matplotlib, nothing of the command line."""

import subprocess
import sys

from running import environment

HEAVY = ("torch", "matplotlib", "onnx", "onnxscript", "scipy", "skimage", "pandas", "typer", "rich", "pillow_heif",
         "tensorboard", "ray", "intaglio.nn", "intaglio.train", "intaglio.bench", "intaglio.cli", "intaglio.pillow")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    return done.stdout


def test_nothing_heavy_is_imported():
    for module in ("intaglio", "intaglio.pillow"):
        loaded = set(run(f"import {module}, sys; print(*sys.modules)").split())
        assert "intaglio.codec" in loaded
        assert not {name for name in HEAVY if name in loaded} - {module}


def test_the_command_line_needs_no_torch():
    loaded = set(run("import intaglio.cli, sys; print(*sys.modules)").split())
    assert not {"torch", "matplotlib", "onnx", "intaglio.train", "intaglio.bench"} & loaded


def test_import_takes_under_half_a_second():
    took = []
    for _ in range(3):  # seconds of this process, for the machine may be busy with others; the first may compile
        clock = "time.process_time()"
        took.append(float(run(f"import time; t = {clock}; import intaglio; print({clock} - t)")))
    assert min(took) < 0.5, took
