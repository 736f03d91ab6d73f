"""Hazard: the README shows commands and code that do not run. Each example is run here, on the demo photograph."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
SHELL = [line.split(" #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("intaglio ")]
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("readme")
    shutil.copy(ROOT / "examples" / "dog.webp", path / "photo.webp")
    return path


def environment():
    """The interpreter's own folder first on PATH, so that `intaglio` is the one under test."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_the_shell_examples_run_in_order(folder):
    assert len(SHELL) >= 7, "the README lost its examples"
    for line in SHELL:
        done = subprocess.run(line, shell=True, cwd=folder, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (folder / "exact.itg").stat().st_size <= 12000
    assert (folder / "piped.png").read_bytes().startswith(b"\x89PNG")


def test_the_python_examples_run(folder):
    assert len(PYTHON) >= 2, "the README lost its examples"
    (folder / "photo.itg").unlink(missing_ok=True)
    for code in PYTHON:
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{code}\n{done.stderr}"


def linked(text):
    """Files of this project that a page links or shows, be it at a heading of theirs, with a title or as HTML."""
    found = re.findall(r"\]\(\s*<?([^)>\s]+)", text) + re.findall(r"""(?:src|href)=["']([^"']+)""", text)
    found += re.findall(r"^\[[^]]+\]:\s*(\S+)", text, re.M)
    return [t.split("#")[0] for t in found if not re.match(r"[a-z]+:|#", t)]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_files_that_the_pages_name_exist(page):
    for target in linked((ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_links_of_every_form_are_looked_at():
    text = '[a](b.md) [c](d.md#e) ![f](g.png "h") <img src="i.png"> [j](#k) [l](https://m.org/n.md)\n[o]: p.md\n'
    assert linked(text) == ["b.md", "d.md", "g.png", "i.png", "p.md"]


def test_make_targets_that_the_readme_names_exist():
    targets = set(re.findall(r"^make ([a-z-]+)", TEXT, re.M))
    assert targets >= {"demo", "test"}
    rules = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{t}:", rules, re.M) for t in targets)
