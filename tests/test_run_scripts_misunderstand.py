"""Hazards: a script of runs/ passes on other options than it was given, resumes a leg that never began, or rehearses on
something that is no picture. Stubs stand in for the programs and record their arguments."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

RUNS = Path(__file__).parent.parent / "runs"
STUB = """#!/usr/bin/env bash
echo "$*" >> "$RECORD"
[[ $1 == -c ]] && echo the-model.itgm
[[ $2 == intaglio.train.packs ]] && echo PACK
case $* in train\\ * | *intaglio.train.ablate*) ;; *intaglio\\ export*) touch "${@: -1}"; exit ;; *) exit 0 ;; esac
while (($#)); do [[ $1 == --out ]] && out=$2; shift; done
mkdir -p "$out"
touch "$out/last.pt" "$out/leg.itgm"
echo "| a table |" > "$out/table.md"
"""
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the scripts of runs/ need bash")


@pytest.fixture
def script(tmp_path):
    """Runs a script with words; returns (its end, the calls of the stubs)."""
    stub, record = tmp_path / "stub", tmp_path / "record"
    stub.write_text(STUB)
    stub.chmod(0o755)

    def run(name, *words):
        record.write_text("")
        given = os.environ | {"INTAGLIO": str(stub), "PYTHON": str(stub), "RECORD": str(record)}
        done = subprocess.run(["bash", RUNS / name, *map(str, words)], env=given, cwd=tmp_path, capture_output=True,
                              text=True)
        return done, record.read_text().splitlines()

    return run


def test_priors_learn_where_the_rest_does(script, tmp_path):
    for options, ends in (((), "--minutes 3"), (("--", "--device", "cuda"), "--minutes 3 --device cuda"),
                          (("--", "--device=cpu", "--compile"), "--minutes 3 --device cpu")):
        done, calls = script("release.sh", "PHOTOS", tmp_path / "o", *options)
        assert done.returncode == 0, done.stderr
        assert next(call for call in calls if "train.priors" in call).endswith(f"--crops 400 {ends}")


def test_the_legs_in_their_order(script, tmp_path):
    done, calls = script("release.sh", "--minutes", "3", "--size", "full", "PHOTOS", tmp_path / "o", "--", "--compile")
    assert done.returncode == 0, done.stderr
    assert calls[:8] == [
        f"-m intaglio.train.packs PHOTOS {tmp_path}/o",
        f"train intaglio1 --data PACK --out {tmp_path}/o/fidelity --minutes 3 --compile",
        f"train intaglio1-decoder --data PACK --out {tmp_path}/o/decoder --minutes 3"
        f" --warm {tmp_path}/o/fidelity/last.pt --compile",
        f"train intaglio1-perceptual --data PACK --out {tmp_path}/o/perceptual --minutes 1.95"
        f" --warm {tmp_path}/o/decoder/last.pt --compile",
        f"-m intaglio.train.scale {tmp_path}/o/perceptual/last.pt --data PACK",
        f"-m intaglio.train.priors {tmp_path}/o/perceptual/last.pt --data PACK --crops 400 --minutes 0.375",
        f"-m intaglio export {tmp_path}/o/perceptual/last.pt --data PACK"
        f" -o {tmp_path}/o/perceptual/intaglio1-perceptual.itgm",
        f"train intaglio1-realism --data PACK --out {tmp_path}/o/realism --minutes 3"
        f" --warm {tmp_path}/o/perceptual/last.pt --compile",
    ]
    assert calls[8].startswith(f"-m intaglio.train.release {tmp_path}/o/intaglio1.itgm --note")
    assert done.stdout.splitlines()[-1] == f"{tmp_path}/o/intaglio1.itgm" and len(calls) == 9


def test_one_leg_from_a_warm_start_cut_into_pieces(script, tmp_path):
    options = ("--leg", "realism", "--warm", "W", "--pieces", "P", "--sources", "S")
    done, calls = script("release.sh", *options, "PHOTOS", "o")
    assert done.returncode == 0, done.stderr
    assert calls[1] == "train intaglio1-small-realism --data PACK --out o/realism --minutes 24 --warm W"
    assert calls[2] == "-m intaglio.train.pieces cut o/realism/last.pt P/realism"
    assert calls[3].startswith("-m intaglio.train.release o/intaglio1-small.itgm --sources S --note")


STEADY = "--rate 2.5e-4 --set floor=1 --set recent=2 --set ema=0.9999"


def test_runs_at_once_become_one_model(script):
    """Each with a seed and a folder of its own, and the package that of their mean, not of one of them."""
    done, calls = script("release.sh", "--leg", "realism", "--warm", "W", "--steady", "--runs", "2", "PHOTOS", "o")
    assert done.returncode == 0, done.stderr
    assert sorted(calls[1:3]) == [
        f"train intaglio1-small-realism --data PACK --out o/realism/run{i} --minutes 22 --warm W {STEADY} --seed {i}"
        for i in range(2)
    ]
    assert calls[3] == "-m intaglio.train.average o/realism/last.pt o/realism/run0/last.pt o/realism/run1/last.pt"
    assert calls[4] == "-m intaglio export o/realism/last.pt --data PACK -o o/realism/intaglio1-small-realism.itgm"
    assert calls[5].startswith("-m intaglio.train.release o/intaglio1-small.itgm --note")
    assert calls[5].endswith("24 minutes, at a constant rate, the mean of 2 runs")


def test_a_mean_is_of_its_own_runs(script, tmp_path):
    """Not of those that another call left beside them, and never in the place of a single run."""
    (tmp_path / "o/realism/run2").mkdir(parents=True)
    (tmp_path / "o/realism/run2/last.pt").touch()
    options = ("--leg", "realism", "--warm", "W", "--runs", "2", "PHOTOS", "o")
    _, calls = script("release.sh", *options)
    assert calls[3] == "-m intaglio.train.average o/realism/last.pt o/realism/run0/last.pt o/realism/run1/last.pt"
    (tmp_path / "o/realism/log.jsonl").touch()
    done, calls = script("release.sh", *options)
    assert done.returncode == 2 and "single run" in done.stderr and len(calls) == 1


LOOPING = """#!/usr/bin/env bash
while (($#)); do [[ $1 == --out ]] && out=$2; shift; done
mkdir -p "$out"
trap 'touch "$out/stopped"; exit 1' TERM
touch "$out/begun"
[[ $out == *$FAILING ]] && exit 3
while :; do sleep 0.05; done
"""


def runs(tmp_path, failing):
    """The script with two runs that never end; those whose folder's name ends so fail at once."""
    stub = tmp_path / "stub"
    stub.write_text(LOOPING)
    stub.chmod(0o755)
    words = ["bash", str(RUNS / "release.sh"), "--leg", "realism", "--warm", "W", "--runs", "2", "PHOTOS", "o"]
    given = os.environ | {"INTAGLIO": str(stub), "PYTHON": "true", "FAILING": failing}
    return subprocess.Popen(words, env=given, cwd=tmp_path, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("failing", ["run0", "run1"])
def test_a_run_that_fails_stops_the_others_and_makes_no_mean(tmp_path, failing):
    """At once: not when the others have had their hours."""
    with runs(tmp_path, failing) as process:
        assert process.wait(30) == 3
        assert "a run of intaglio1-small-realism failed" in process.stderr.read()
    other = "run1" if failing == "run0" else "run0"
    assert (tmp_path / "o/realism" / other / "stopped").exists()
    assert not (tmp_path / "o/realism/last.pt").exists()


def test_an_interruption_reaches_every_run(tmp_path):
    with runs(tmp_path, "none") as process:
        folders = [tmp_path / f"o/realism/run{i}" for i in range(2)]
        deadline = time.monotonic() + 30
        while not all((run / "begun").exists() for run in folders) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert all((run / "stopped").exists() for run in folders)


def test_resuming_begins_the_leg_that_has_not_begun(script, tmp_path):
    (tmp_path / "o/fidelity").mkdir(parents=True)
    (tmp_path / "o/fidelity/last.pt").touch()
    done, calls = script("release.sh", "PHOTOS", "o", "--", "--device", "cpu", "--resume")
    assert done.returncode == 0, done.stderr
    assert calls[0] == "-m intaglio.train.packs PHOTOS o --resume"  # of the photographs that it began with
    assert calls[1].endswith("--device cpu --resume") and calls[2].endswith("--device cpu")
    _, calls = script("release.sh", "PHOTOS", "o", "--", "--resume")
    assert calls[1].endswith("--resume") and calls[2].endswith("--resume")


@pytest.mark.parametrize("photos", ["a pack", "a folder"])
def test_a_rehearsal_needs_no_picture_among_the_photographs(script, tmp_path, photos):
    """A pack is no folder; a folder may begin with a table or a label map, and hold more names than a pipe takes."""
    if photos == "a folder":
        (tmp_path / photos).mkdir()
        (tmp_path / photos / "a.csv").touch()
        for i in range(3000):
            (tmp_path / photos / f"{'long' * 20}{i}.labels.png").touch()
    done, calls = script("release.sh", "--rehearse", photos, "o")
    assert done.returncode == 0, done.stderr
    assert calls[1].endswith("--steps 20 --batch 2 --device cpu --pictures 32")
    assert calls[-1].startswith("-m intaglio roundtrip ")
    picture = tmp_path / calls[-1].split("roundtrip ")[1].split(" --model")[0]
    assert picture.is_file() and picture.samefile(RUNS.parent / "examples/dog.webp")


@pytest.mark.parametrize("words", [[], ["PHOTOS"], ["--size", "huge", "PHOTOS", "o"], ["--leg", "third", "PHOTOS", "o"],
                                   ["--fast", "PHOTOS", "o"], ["--runs", "0", "PHOTOS", "o"],
                                   ["--runs", "2", "--leg", "fidelity", "PHOTOS", "o"],
                                   ["--steady", "--leg", "decoder", "PHOTOS", "o"],
                                   ["--runs", "2", "PHOTOS", "o", "--", "--seed", "3"]])
def test_what_is_not_understood_starts_nothing(script, words):
    done, calls = script("release.sh", *words)
    assert done.returncode == 2 and calls == [] and "release.sh" in done.stderr


def test_help_tells_every_option(script):
    done, calls = script("release.sh", "--help")
    assert done.returncode == 0 and calls == []
    for option in ("--size", "--leg", "--minutes", "--warm", "--sources", "--pieces", "--rehearse", "-- OPTIONS",
                   "--steady", "--runs"):
        assert option in done.stdout
    assert "set -euo" not in done.stdout and "several GPUs" in done.stdout


def test_ablations_start_from_the_released_model(script, tmp_path):
    done, calls = script("ablate.sh", "PHOTOS", "PICTURES", "o", "--steps", "5")
    assert done.returncode == 0, done.stderr
    assert calls[1] == "-m intaglio.train.ablate PHOTOS PICTURES --warm the-model.itgm --out o --steps 5"
    assert "a table" in done.stdout
    done, calls = script("ablate.sh", "PHOTOS", "PICTURES")
    assert done.returncode == 2 and calls == [] and "runs/ablate.sh PHOTOS PICTURES OUT" in done.stderr
