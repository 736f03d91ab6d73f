"""Hazards: an adapter reports another size than its file has, or cannot read its own file; a search misses the largest
file that fits, or returns one that does not; a missing codec is a crash instead of a sentence; a codec's memory is
measured with PyTorch in the same process."""

import io
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intaglio.bench import codecs, cost, external, plugins
from intaglio.errors import BadInput, WrongModel
from intaglio.metrics.fidelity import psnr

PHOTO = Path(__file__).parent.parent / "examples" / "dog.webp"
SLOW = ("hevc", "vvc")


@pytest.fixture(scope="module")
def photo():
    return Image.open(PHOTO).convert("RGB").crop((200, 150, 297, 221))  # both sides odd


def at_hand(name):
    codec = codecs.named(name)
    if why := codec.available():
        pytest.skip(why)
    return codec


@pytest.mark.parametrize("name", [n for n in codecs.NAMES if n not in (*SLOW, "bpg", "intaglio")])
def test_files_are_real_and_come_back(name, photo):
    round_trip(at_hand(name), photo)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SLOW, "bpg", "intaglio"])
def test_files_of_programs_and_of_the_released_model_come_back(name, photo):
    round_trip(at_hand(name), photo)


def round_trip(codec, photo):
    settings = codec.settings
    some = [settings[len(settings) * share // 10] for share in (0, 3, 6, 9)] if len(settings) > 1 else settings
    files = [codec.encode(photo, s) for s in dict.fromkeys(some)]
    assert all(isinstance(f, bytes) for f in files)
    assert sorted(files, key=len) == files and (len(files) == 1 or len(files[-1]) > 2 * len(files[0]))
    decoded = [codec.decode(f) for f in files]
    assert all(d.size == photo.size and d.mode == "RGB" for d in decoded)
    qualities = [psnr(np.asarray(photo), np.asarray(d)) for d in decoded]
    assert sorted(qualities) == qualities and qualities[-1] > 28
    assert codec.lossless == (qualities[0] == np.inf)
    assert codec.version() and codec.about
    if codec.name not in ("hevc", "vvc", "bpg", "jxl", "intaglio"):  # a file that others open, not a private blob
        assert Image.open(io.BytesIO(files[0])).size == photo.size


def test_a_model_is_a_codec_with_realism(photo, tiny_model):
    plain, real = codecs.named(str(tiny_model)), codecs.named(f"{tiny_model}@0.75")
    assert (plain.name, real.name) == ("tiny", "tiny@0.75")
    a, b = plain.encode(photo, 20), real.encode(photo, 20)
    assert len(a) == len(b)
    assert plain.decode(a).size == real.decode(b).size == photo.size
    assert a[:3] == b[:3] and a != b  # the realism that it is decoded with is written into the file
    trials = plain.encoder(photo)
    assert trials(20) == a and len(trials(63)) > len(trials(0))


@pytest.mark.parametrize("name", ["jpeg", "jpeg2000", "webp", "jxl"])
def test_the_search_is_as_good_as_trying_everything(name, photo):
    codec = at_hand(name)
    steps, sizes = [], []
    for setting in codec.settings[:: len(codec.settings) // 64 or 1]:
        size = len(codec.encode(photo, setting))
        if size > max(sizes, default=0):  # sizes dip by some bytes here and there, which is the next test's matter
            steps.append(setting)
            sizes.append(size)
    assert len(steps) > 20
    codec.settings = tuple(steps)
    search = codecs.Search(codec, photo)
    for target in [*range(sizes[0] - 2, sizes[-1], (sizes[-1] - sizes[0]) // 23), sizes[-1], 10**6, *sizes[:4]]:
        setting, data = search.within(target)
        best = max([s for s in sizes if s <= target], default=sizes[0])
        assert len(data) == best and len(codec.encode(photo, setting)) == best
        assert codecs.find(codec, photo, target) == (setting, data)


class Dipping(codecs.Codec):
    """Sizes that do not always grow with the setting."""

    name, suffix, about = "dipping", ".x", ""
    settings = tuple(range(40))
    sizes = np.maximum.accumulate(np.arange(40) * 10) + np.random.default_rng(3).integers(0, 25, 40) + 1

    def encoder(self, image):
        self.calls = []

        def encode(setting):
            self.calls.append(setting)
            return bytes(int(self.sizes[setting]))

        return encode


def test_dips_never_break_the_limit_and_nothing_is_encoded_twice(photo):
    codec = Dipping()
    search = codecs.Search(codec, photo)
    for target in range(1, 450):
        setting, data = search.within(target)
        assert len(data) == codec.sizes[setting]
        assert len(data) <= target or (setting == 0 and codec.sizes[0] > target)
        fresh = codecs.Search(Dipping(), photo).within(target)
        assert fresh == (setting, data), "what is found depends on what was searched before"
    assert len(codec.calls) <= 40  # `calls` is the first search's: at most once a setting


def test_unknown_codecs_are_sentences(tmp_path):
    for word, says in (("jepg", "no codec is called"), ("jpeg@0.5", "only intaglio models"),
                       ("intaglio@much", "no realism"), ("intaglio@2", "from 0 to 1"),
                       (str(PHOTO), "no model package")):
        with pytest.raises(BadInput, match=says):
            codecs.named(word)
    with pytest.raises(WrongModel, match=r"none\.itgm"):
        codecs.named(str(tmp_path / "none.itgm"))


def test_missing_programs_are_sentences(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "bpgenc and bpgdec on PATH" in codecs.named("bpg").available()
    external.ffmpeg.cache_clear()
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    try:
        for name in SLOW:
            assert "imageio-ffmpeg" in codecs.named(name).available()
    finally:
        external.ffmpeg.cache_clear()


def test_missing_packages_are_sentences(monkeypatch):
    for module in ("pillow_heif", "imagecodecs"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "pillow_jxl", types.ModuleType("pillow_jxl"))  # it would ignore the distance
    assert "pip install pillow-heif" in plugins.Heic().available()
    assert "pip install imagecodecs" in plugins.JpegXL().available()
    bare = types.SimpleNamespace(JPEGXL=types.SimpleNamespace(available=False))
    monkeypatch.setitem(sys.modules, "imagecodecs", bare)
    assert "built with libjxl" in plugins.JpegXL().available()
    monkeypatch.setattr(codecs.features, "check", lambda name: False)
    assert "pillow" in codecs.named("avif").available()


def test_an_ffmpeg_without_the_encoder_is_a_sentence(monkeypatch, tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho ' V....D libx265 H.265'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    external.ffmpeg.cache_clear()
    external._coders.cache_clear()
    try:
        assert "no libvvenc" in codecs.named("vvc").available()
        assert "no hevc (to decode)" in codecs.named("hevc").available()
    finally:
        external.ffmpeg.cache_clear()
        external._coders.cache_clear()


def test_bpg_speaks_to_its_programs(monkeypatch, tmp_path, photo):
    """Programs that take bpgenc's arguments and write something that can be read back; q is checked."""
    script = f"#!{sys.executable}\nimport sys, shutil\na = sys.argv[1:]\n"
    encode = "assert a[0] == '-q' and a[2] == '-o' and 0 <= int(a[1]) <= 51\nshutil.copy(a[4], a[3])\n"
    for name, body in (("bpgenc", encode), ("bpgdec", "assert a[0] == '-o'\nshutil.copy(a[2], a[1])\n")):
        (tmp_path / name).write_text(script + body)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    codec = codecs.named("bpg")
    assert codec.available() is None
    assert np.array_equal(np.asarray(codec.decode(codec.encode(photo, 30))), np.asarray(photo))
    (tmp_path / "bpgdec").write_text("#!/bin/sh\necho it is no bpg file >&2\nexit 3\n")
    with pytest.raises(external.ProgramFailed, match="bpgdec failed with code 3: it is no bpg file"):
        codec.decode(b"x")


def test_times_and_memory_are_a_process_of_their_own(tmp_path, photo):
    picture, file = tmp_path / "p.png", tmp_path / "p.jpg"
    photo.save(picture)
    file.write_bytes(codecs.named("jpeg").encode(photo, 50))
    found = cost.cost("jpeg", picture, file, 50, 3, 1)
    for action in ("encode", "decode"):
        part = found[action]
        assert part["calls"] == 3 and 0 < part["median_s"] <= 60 and part["first_s"] > 0
        assert 5 < part["before_mib"] <= part["peak_mib"] < 400
    file.write_bytes(b"no jpeg")
    with pytest.raises(cost.CostFailed, match="jpeg: measuring the time to decode failed"):
        cost.cost("jpeg", picture, file, 50, 3, 1)
    code = "import sys, intaglio.bench.cost, intaglio.bench.codecs as c; c.named('intaglio')"
    code += "; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_calls_are_counted_and_the_first_is_apart():
    ticks = []
    found = cost.timed(lambda: ticks.append(1), 4)
    assert len(ticks) == 5 and found["calls"] == 4
    assert json.dumps(found)
