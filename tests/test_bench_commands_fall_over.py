"""Hazard: a benchmark's own command (`python -m intaglio.bench...`) answers bad arguments, a full disk, a closed pipe
or Ctrl-C with a traceback, or finds what is wrong only after the work."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from running import environment, one_sentence

from intaglio.bench import cost, huffman, kodak, realism, speed, tables
from intaglio.bench.cache import Cache
from intaglio.errors import BadInput, IntaglioError
from intaglio.told import ended


def test_ends_are_told_by_code_and_sentence(capsys):
    def fails(error):
        def main():
            raise error

        return main

    missing = FileNotFoundError(2, "No such file or directory", "x.png")
    for error, code, said in ((BadInput("no"), 1, "error: no\n"), (KeyboardInterrupt(), 130, "error: interrupted\n"),
                              (missing, 1, "error: x.png: No such file or directory\n"), (BrokenPipeError(), 141, "")):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
            patch.setattr("os.dup2", lambda *a: None)  # this process prints on
            patch.setattr("sys.stdout", SimpleNamespace(flush=lambda: None, fileno=lambda: 1))
            ended(fails(error))
        assert (left.value.code, capsys.readouterr().err) == (code, said)
    with pytest.raises(SystemExit) as left:
        ended(lambda: None)
    assert left.value.code == 0


@pytest.mark.parametrize("words", [
    "missing.png", "a.png --sizes abc", "a.png --sizes 0x64", "a.png --repeat 0", "a.png --model nosuch",
    "a.png --threads 0",
])  # fmt: skip
def test_speed_finds_it_before_the_first_process(words, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["speed", *words.split()])
    monkeypatch.setattr("subprocess.run", lambda *a, **k: pytest.fail("a process was started"))
    with pytest.raises(IntaglioError):
        speed.main()


@pytest.mark.parametrize("words", ["nosuch encode a.png", "jpeg encode a.png --setting nan"])
def test_cost_is_told(words, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["cost", *words.split()])
    with pytest.raises(IntaglioError):
        cost.main()


@pytest.mark.parametrize("module", [kodak, realism])
def test_a_folder_in_the_results_place_is_found_at_once(module, tmp_path, monkeypatch, capsys):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (256, 256)).save(tmp_path / name)
    (tmp_path / "d").mkdir()
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path), "--json", str(tmp_path / "d")])
    with pytest.raises(SystemExit) as left:
        module.main()
    assert "it is a folder" in str(left.value.code) and not capsys.readouterr().out


def test_results_without_what_tables_read_are_told(tmp_path):
    (tmp_path / "r.json").write_text('{"means": [], "unit": "bpp"}')
    with pytest.raises(BadInput, match=r"is no results\.json"):
        tables._read(tmp_path / "r.json")


def test_a_reader_that_goes_away_and_a_full_disk_are_told():
    code = "from intaglio.told import ended; ended(lambda: print('x' * 10**6))"
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=-1, env=environment())
        assert done.returncode == 1 and "No space left" in one_sentence(done.stderr)
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, env=environment()) as running:
        running.stdout.close()
        assert running.stderr.read() == b"" and running.wait() == 141


def test_a_cache_that_cannot_be_written_any_more_is_told(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")
    cache._db.execute("pragma max_page_count = 4")
    with pytest.raises(BadInput, match=r"c\.sqlite cannot be used as a cache any more"):
        cache.bytes("k", lambda: bytes(10**6))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or os.cpu_count() == 1, reason="there is but one core")
def test_avifs_files_do_not_depend_on_the_cores(tmp_path):
    code = """
import hashlib, os, sys
from PIL import Image
from intaglio.bench import avif
if sys.argv[1] == "one":
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
picture = Image.open(sys.argv[2]).convert("RGB")
print([hashlib.sha256(avif.encode(picture, q)).hexdigest() for q in (30, 60)])
"""
    photo = Path(__file__).parents[1] / "examples/dog.webp"
    one, all_ = (
        subprocess.run([sys.executable, "-c", code, cores, photo], capture_output=True, env=environment()).stdout
        for cores in ("one", "all")
    )
    assert one == all_ and one.startswith(b"[")


def test_huffmans_figures_in_the_documents_are_of_the_released_model():
    root = Path(__file__).parents[1]
    text = " ".join((root / "docs/systems.md").read_text().split())
    times = []
    for quality in (20, 50, 80):
        found = huffman.cost(root / "examples/dog.webp", huffman.quality_to_q(quality), None)
        times.append(f"{found.huffman / found.ideal:.1f}")
    told = "Huffman's codes take {} times the bits at quality 20, {} times at 50 and {} times at 80".format(*times)
    assert told in text, told
