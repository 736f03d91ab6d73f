"""Pipes, a full disk, Ctrl-C, kill: no traceback, no half-written file under its final name, no rubbish in a stream."""

import contextlib
import io
import os
import pty
import resource
import signal
import time

import pytest
from PIL import Image
from running import call, noise, one_sentence, start, wait_for

from intaglio.reader import Reader

SIDE = 200  # pixels: enough for a picture to take some milliseconds


@pytest.fixture
def many(tmp_path):
    """A folder of pictures that keeps a batch busy for a second or more."""
    first = noise(tmp_path / "in" / "000.png", SIDE, SIDE)
    for i in range(1, 60):
        os.link(first, tmp_path / "in" / f"{i:03d}.png")
    return tmp_path


def visible(folder) -> list[str]:
    return sorted(n for n in os.listdir(folder) if not n.startswith(".")) if folder.exists() else []


def check_whole(folder) -> None:
    """Every visible file is complete; what is not visible is ours."""
    for name in os.listdir(folder):
        if name.startswith("."):
            assert name.startswith(".intaglio-") and name.endswith(".part")
        elif name.endswith(".itg"):
            with Reader(folder / name) as reader:
                reader.check_tail()
                reader.tile(0)
        else:
            with Image.open(folder / name) as image:
                image.load()


def test_through_pipes(tmp_path, tiny_model):
    picture = noise(tmp_path / "a.png").read_bytes()
    coding = start("encode", "-", "--model", tiny_model, stdin=-1)
    coded, err = coding.communicate(picture)
    assert coding.returncode == 0 and coded.startswith(b"\x8aITG")
    assert err.decode().startswith("standard input -> standard output")
    decoding = start("decode", "-", "-f", "jpg", "--model", tiny_model, stdin=-1)
    decoded, _ = decoding.communicate(coded)
    assert decoding.returncode == 0
    assert (Image.open(io.BytesIO(decoded)).format, Image.open(io.BytesIO(decoded)).size) == ("JPEG", (64, 48))
    telling = start("info", "-", "--json", stdin=-1)
    assert b'"width": 64' in telling.communicate(coded)[0]


def test_rubbish_from_a_pipe(tmp_path, tiny_model):
    for command, target in (("encode", "a.itg"), ("decode", "a.png")):
        run = start(command, "-", "-o", tmp_path / target, "--model", tiny_model, stdin=-1)
        _, err = run.communicate(b"rubbish" * 100)
        assert run.returncode == 1 and not visible(tmp_path)
        one_sentence(err)


def test_the_reader_goes_away(tmp_path, tiny_model):
    coded = tmp_path / "a.itg"
    call("encode", noise(tmp_path / "a.png"), "--model", tiny_model)
    for i in range(300):  # more than a pipe holds
        os.link(coded, tmp_path / f"a{i}.itg")
    run = start("info", tmp_path)
    assert run.stdout is not None and run.stderr is not None
    run.stdout.read(10)
    run.stdout.close()
    assert run.stderr.read() == b""
    assert run.wait() == 141


def test_a_full_disk(tmp_path, tiny_model):
    picture = noise(tmp_path / "a.png", SIDE, SIDE)
    full = start("encode", picture, "-o", "/dev/full", "--model", tiny_model)
    assert b"/dev/full: No space left" in one_sentence(full.communicate()[1]).encode() and full.returncode == 1
    with open("/dev/full", "wb") as sink:
        full = start("encode", picture, "-o", "-", "--model", tiny_model, stdout=sink)
        assert "No space left" in one_sentence(full.communicate()[1]) and full.returncode == 1
        full = start("encode", picture, "-o", tmp_path / "b.itg", "--model", tiny_model, stdout=sink)
        assert "No space left" in one_sentence(full.communicate()[1]) and full.returncode == 1
    limit = start("encode", picture, "-o", tmp_path / "c.itg", "--model", tiny_model,
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))
    assert "c.itg: File too large" in one_sentence(limit.communicate()[1]) and limit.returncode == 1
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.itg"]  # b is whole: only the line about it was lost


def test_an_unwritable_folder(tmp_path, tiny_model, capsys):
    picture = noise(tmp_path / "a.png")
    assert call("encode", picture, "-o", picture / "sub" / "a.itg", "--model", tiny_model) == 1
    assert str(picture) in one_sentence(capsys.readouterr().err)


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_kill_9_leaves_only_whole_files(many, tiny_model, command, capsys):
    source, out = many / "in", many / "out"
    if command == "decode":
        assert call("encode", source, "-o", many / "coded", "--model", tiny_model) == 0
        source = many / "coded"
    for done in (2, 15):
        run = start(command, source, "-o", out, "--model", tiny_model, "--overwrite", "--jobs", "2")
        wait_for(lambda done=done: len(visible(out)) >= done, run)  # type: ignore[misc]
        time.sleep(0.003 * done)  # somewhere in the middle of a file
        run.kill()
        run.communicate()
        check_whole(out)
    assert 15 <= len(visible(out)) < 60
    capsys.readouterr()
    assert call(command, source, "-o", out, "--model", tiny_model, "--overwrite") == 0
    assert len(visible(out)) == 60
    check_whole(out)


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_batch_clears_up(many, tiny_model, jobs, number, code):
    out = many / "out"
    run = start("encode", many / "in", "-o", out, "--model", tiny_model, "--jobs", jobs)
    wait_for(lambda: len(visible(out)) >= 2, run)
    run.send_signal(number)
    _, err = run.communicate()
    assert run.returncode == code
    assert code == 143 or "interrupted" in one_sentence(err)
    assert code == 130 or err == b""
    assert len(visible(out)) == len(os.listdir(out)) < 60
    check_whole(out)


def test_a_progress_bar_keeps_to_the_terminal(many, tiny_model):
    ours, theirs = pty.openpty()
    few = sorted((many / "in").iterdir())[:8]
    run = start("encode", *few, "-o", many / "out", "--model", tiny_model, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal's end is told
        while piece := os.read(ours, 65536):
            shown += piece
    out = run.communicate()[0].decode()
    os.close(ours)
    assert run.returncode == 0
    assert b"\x1b[" in shown and b"/8" in shown
    assert "\x1b" not in out and len(out.splitlines()) == 8
    plain = start("encode", *few, "-o", many / "out", "--model", tiny_model, "--overwrite")
    out, err = plain.communicate()
    assert b"\x1b" not in out + err and err == b"" and len(out.splitlines()) == 8


def test_pictures_are_not_written_to_a_terminal(tmp_path, tiny_model):
    ours, theirs = pty.openpty()
    run = start("encode", noise(tmp_path / "a.png"), "-o", "-", "--model", tiny_model, stdout=theirs)
    assert "would go to the terminal" in one_sentence(run.communicate()[1]) and run.returncode == 2
    run = start("encode", "-", "-o", tmp_path / "b.itg", "--model", tiny_model, stdin=theirs)
    assert "is the terminal" in one_sentence(run.communicate()[1]) and run.returncode == 2
    os.close(ours)
    os.close(theirs)


def test_streams_that_the_caller_closed(tmp_path, tiny_model):
    """Their descriptors must not go to the next file opened, nor their text into the picture."""
    picture = noise(tmp_path / "a.png", SIDE, SIDE)

    def closed(*numbers):
        return {"preexec_fn": lambda: [os.close(n) for n in numbers]}

    run = start("encode", picture, "--model", tiny_model, **closed(0, 1))
    assert run.communicate()[1] == b"" and run.returncode == 0
    expected = (tmp_path / "a.itg").read_bytes()
    run = start("encode", picture, "-o", "-", "--model", tiny_model, **closed(2))
    assert run.communicate()[0] == expected and run.returncode == 0
    run = start("encode", picture, "-o", "-", "--model", tiny_model, **closed(1))
    assert "standard output, which is closed" in one_sentence(run.communicate()[1]) and run.returncode == 2
    for command in ("encode", "info"):
        run = start(command, "-", **closed(0))
        assert "standard input, which is closed" in one_sentence(run.communicate()[1]) and run.returncode == 2
