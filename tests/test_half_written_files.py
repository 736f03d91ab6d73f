"""Whatever happens while a file is written, its place holds the old bytes or the new, and nothing lies beside it."""

import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from running import environment

from intaglio import pictures, writing
from intaglio.errors import BadInput

SUFFIXES = [".png", ".jpg", ".webp", ".tiff", ".avif", ".heic", ".jp2", ".bmp", ".ppm", ".tga"]


def picture(mode="RGB"):
    values = np.random.default_rng(2).integers(0, 256, (20, 30, len(mode)), np.uint8)
    return Image.fromarray(values if len(mode) > 1 else values[:, :, 0])


@pytest.mark.parametrize("mode", pictures.MODES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_holds_each_mode_or_says_so(tmp_path, suffix, mode):
    image, path = picture(mode), tmp_path / f"x{suffix}"
    if mode.endswith("A") and suffix in (".jpg", ".bmp", ".ppm"):
        with pytest.raises(BadInput, match="cannot hold an alpha channel"):
            writing.save(image, path)
        assert os.listdir(tmp_path) == []
        return
    writing.save(image, path)
    assert os.listdir(tmp_path) == [f"x{suffix}"]
    again = pictures.load(path).image
    assert again.size == image.size and (again.mode[-1] == "A") == (mode[-1] == "A")
    if suffix in (".png", ".tiff", ".webp", ".jp2", ".bmp", ".ppm", ".tga"):
        assert again.convert(mode).tobytes() == image.tobytes()
    elif mode[-1] == "A":
        assert again.getchannel("A").tobytes() == image.getchannel("A").tobytes() or suffix in (".avif", ".heic")


def test_colours_under_transparent_pixels_survive(tmp_path):
    image = Image.new("RGBA", (8, 8), (12, 34, 56, 0))
    for suffix in (".png", ".webp", ".tiff"):
        writing.save(image, tmp_path / f"x{suffix}")
        assert pictures.load(tmp_path / f"x{suffix}").image.getpixel((3, 3)) == (12, 34, 56, 0)


def test_unknown_formats_list_the_known_ones(tmp_path):
    for target in (tmp_path / "x.docx", tmp_path / "x", io.BytesIO()):
        with pytest.raises(BadInput, match=r"\.png \.jpg .*\.tiff"):
            writing.save(picture(), target)
    with pytest.raises(BadInput, match="mode CMYK"):
        writing.save(picture().convert("CMYK"), tmp_path / "x.jpg")
    assert os.listdir(tmp_path) == []


def test_a_failing_encoder_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(b"old")

    def fails(im, fp, filename):
        fp.write(b"half")
        raise RuntimeError("the disk\nis tired")

    monkeypatch.setitem(Image.SAVE, "PNG", fails)
    with pytest.raises(BadInput, match=r"cannot write .*x\.png: the disk is tired"):
        writing.save(picture(), tmp_path / "x.png")
    assert os.listdir(tmp_path) == ["x.png"] and (tmp_path / "x.png").read_bytes() == b"old"


def test_a_picture_too_large_for_its_format_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"cannot write .*x\.webp"):
        writing.save(Image.new("L", (20000, 1)), tmp_path / "x.webp")
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(im, fp, filename):
        raise KeyboardInterrupt

    monkeypatch.setitem(Image.SAVE, "PNG", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writing.save(picture(), tmp_path / "x.png")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_process_leaves_the_old_bytes(tmp_path):
    target = tmp_path / "x.itg"
    target.write_bytes(b"old")
    script = "import os, signal, sys\nfrom intaglio import writing\n"
    script += "with writing._replacing(sys.argv[1]) as f:\n f.write(b'new' * 9999)\n f.flush()\n"
    script += " os.kill(os.getpid(), signal.SIGKILL)\n"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script, str(target)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    assert all(name.startswith(".intaglio-") for name in os.listdir(tmp_path) if name != "x.itg")


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has files without names")
def test_a_file_in_the_making_has_no_name(tmp_path):
    """So even a process that is killed leaves nothing behind, hidden or not."""
    (tmp_path / "old.itg").write_bytes(b"old")
    with writing._replacing(str(tmp_path / "old.itg")) as file:
        file.write(b"new")
        assert os.listdir(tmp_path) == ["old.itg"]
    assert (tmp_path / "old.itg").read_bytes() == b"new" and os.listdir(tmp_path) == ["old.itg"]


def test_without_nameless_files_the_old_way_works(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_unlisted", lambda folder: None)
    writing.write_bytes(tmp_path / "a.itg", b"first")
    writing.write_bytes(tmp_path / "a.itg", b"second")
    assert (tmp_path / "a.itg").read_bytes() == b"second" and os.listdir(tmp_path) == ["a.itg"]


def test_write_bytes_replaces_keeps_permissions_and_follows_links(tmp_path):
    target, link = tmp_path / "x.itg", tmp_path / "link.itg"
    writing.write_bytes(target, b"one")
    with open(tmp_path / "plain", "wb"):
        pass
    if os.name == "posix":
        assert (
            target.stat().st_mode == (tmp_path / "plain").stat().st_mode
        )  # as open() would make it, not mkstemp's 0600
        target.chmod(0o600)
        link.symlink_to(target)
        writing.write_bytes(link, memoryview(b"two"))
        assert link.is_symlink() and target.stat().st_mode & 0o777 == 0o600
        assert target.read_bytes() == b"two"
    writing.write_bytes(str(target), b"three")
    assert target.read_bytes() == b"three"
    long = tmp_path / ("n" * 250 + ".itg")
    writing.write_bytes(long, b"")
    assert long.exists()


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(BadInput, match="there is no folder"):
        writing.write_bytes(tmp_path / "none" / "x.itg", b"")
    with pytest.raises(BadInput, match="it is a folder"):
        writing.write_bytes(tmp_path, b"")
    with pytest.raises(BadInput, match="cannot write"):
        writing.write_bytes(tmp_path / ("n" * 300), b"")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="no such devices")
def test_devices_and_pipes_are_written_to_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    writing.save(picture(), pipe, format="png")
    assert pictures.load(io.BytesIO(reader.communicate()[0])).image.tobytes() == picture().tobytes()
    assert pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]


@pytest.mark.skipif(os.name == "nt", reason="no such pipes")
def test_a_pipe_and_a_folder_in_this_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE)
    writing.write_bytes("pipe", b"all of it")
    assert reader.communicate()[0] == b"all of it"
    os.mkdir("folder")
    with pytest.raises(BadInput, match="it is a folder"):
        writing.write_bytes("folder", b"")


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no such device")
def test_standard_output_by_its_path_is_a_pipe(tmp_path):
    code = "import sys; from intaglio import writing; writing.write_bytes('/dev/stdout', b'all of it')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"all of it", b"")


def test_streams_get_whole_files():
    class Pipe(io.RawIOBase):
        data = b""

        def writable(self):
            return True

        def write(self, buffer):
            self.data += bytes(buffer)
            return len(buffer)

    for suffix in SUFFIXES:
        pipe, file = Pipe(), io.BytesIO()
        writing.save(picture(), pipe, format=suffix[1:])
        writing.save(picture(), file, format=suffix.upper())
        assert pictures.load(io.BytesIO(pipe.data)).image.size == pictures.load(file).image.size == (30, 20)
    with pytest.raises(BadInput, match="cannot write"), open(os.devnull, "rb") as unwritable:
        writing.save(picture(), unwritable, format="png")
