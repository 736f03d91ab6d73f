"""Hazards: an interrupted run begins again, or goes on to other figures than an uninterrupted one; a damaged line of
the journal is believed; a codec that failed on one picture is averaged over the others; a wrong command leaves a
half-written report; figures are not those of the files beside them."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intaglio.bench import codecs, measure, options, plots, results, run, summary
from intaglio.bench.journal import Journal
from intaglio.bench.options import Options
from intaglio.errors import BadInput, IntaglioError
from intaglio.metrics.fidelity import psnr

PHOTO = Path(__file__).parent.parent / "examples" / "dog.webp"


@dataclass(frozen=True)
class Metric:
    """What metrics.catalogue lists."""

    name: str
    better: str
    kind: str
    compute: object
    unit: str = ""
    needs: tuple = ()
    about: str = "for tests"


def small(a, b):
    if min(a.shape[:2]) < 60:
        raise ValueError("too small")
    return float(np.abs(a.astype(float) - b).mean())


def sets(originals, decoded):
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in zip(originals, decoded, strict=True)]))


METRICS = [Metric("psnr", "higher", "pair", psnr, "dB"), Metric("mae", "lower", "pair", small),
           Metric("darkness", "lower", "single", lambda a: float(255 - a.mean())),
           Metric("apart", "lower", "set", sets), Metric("lpips-vgg", "lower", "pair", None, needs=("vgg",))]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """A small catalogue, fresh codecs for each test, and no time spent on curves, which have tests of their own."""
    monkeypatch.setattr(plots, "write", lambda results, folder: None)
    monkeypatch.setattr(plots, "drawable", lambda results: [])
    measure.codec_of.cache_clear()
    measure.load.cache_clear()
    monkeypatch.setattr(measure, "catalogue", lambda: METRICS)
    monkeypatch.setattr(measure, "unavailable", lambda m: "get the weights vgg at example.org" if m.needs else None)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.open(PHOTO).convert("RGB")
    for i, box in enumerate(((200, 150, 296, 222), (300, 300, 372, 396), (100, 80, 180, 130))):
        photo.crop(box).save(folder / f"p{i}.png")
    return folder


def wanted(photos, out, **more):
    given = {"codecs": ("jpeg", "webp", "png"), "bpp": (1.0, 2.0, 3.0), "jobs": 1, "repeats": 0} | more
    return Options(photos=(str(photos),), out=str(out), **given)


def counted(monkeypatch):
    """The (codec, setting) of every encoding from here on."""
    calls = []
    at = codecs.Search.at
    monkeypatch.setattr(codecs.Search, "at", lambda self, s: calls.append((self.codec.name, s)) or at(self, s))
    return calls


def figures(out):
    results = json.loads((out / "results.json").read_text())
    results["made"].pop("seconds")
    return results


def test_figures_are_those_of_the_files(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run.bench(wanted(photos, out)) == 0
    results = figures(out)
    assert len(results["rows"]) == 3 * (2 * 3 + 1)
    for row in results["rows"]:
        data, original = (out / row["file"]).read_bytes(), Image.open(photos / f"{row['picture']}.png")
        assert row["bytes"] == len(data)
        assert row["bpp"] == pytest.approx(8 * len(data) / (original.width * original.height), rel=1e-5)
        assert row["ratio"] == pytest.approx(24 / row["bpp"], rel=1e-5)
        decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert summary.number(row["metrics"]["psnr"]) == pytest.approx(psnr(np.asarray(original), decoded), rel=1e-5)
        assert row["metrics"]["darkness"] == pytest.approx(255 - decoded.mean(), rel=1e-5)
        assert (row["metrics"]["mae"] is None) == (row["picture"] == "p2")  # where the metric does not apply
        assert row["met"] == (row["target"] is None or row["bpp"] <= row["target"])
        assert (row["target"] is None) == (row["codec"] == "png")
    for mean in results["means"]:
        rows = [r for r in results["rows"] if (r["codec"], r["target"]) == (mean["codec"], mean["target"])]
        assert len(rows) == mean["pictures"] == 3
        assert mean["bpp"] == pytest.approx(np.mean([r["bpp"] for r in rows]), rel=1e-5)
        if mean["codec"] != "png":
            assert mean["metrics"]["psnr"] == pytest.approx(np.mean([r["metrics"]["psnr"] for r in rows]), rel=1e-5)
        mae = [r["metrics"]["mae"] for r in rows if r["metrics"]["mae"] is not None]
        assert mean["metrics"]["mae"] == pytest.approx(np.mean(mae), rel=1e-5)
        everything = [np.abs(np.asarray(Image.open(photos / f"{r['picture']}.png"), float)
                             - np.asarray(Image.open(out / r["file"]).convert("RGB"))).mean() for r in rows]
        assert mean["metrics"]["apart"] == pytest.approx(np.mean(everything), rel=1e-5, abs=1e-9)
    assert results["unavailable"] == [{"name": "lpips-vgg", "why": "get the weights vgg at example.org"}]
    assert results["anchor"] == "jpeg" and set(results["bd_rate"]["psnr"]) == {"webp"}
    assert all(m["counts"] == {"psnr": 3, "mae": 2, "darkness": 3} for m in results["means"])
    assert "Mae: means over 2 of 3 pictures" in capsys.readouterr().out
    assert "Mae: means over 2 of 3 pictures" in (out / "report.html").read_text()
    assert (out / "means.csv").read_text().startswith("codec,target,pictures,met,bytes,bpp,ratio,psnr,mae,")
    text = (out / "results.csv").read_text()
    table = list(csv.DictReader(io.StringIO(text)))
    assert len(table) == 21 and table[0]["psnr"] == str(results["rows"][0]["metrics"]["psnr"])
    assert {t["psnr"] for t in table if t["codec"] == "png"} == {"inf"}
    assert "Infinity" not in (out / "results.json").read_text()


def test_a_second_run_computes_nothing_and_says_the_same(photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run.bench(wanted(photos, out))
    first = figures(out)
    calls = counted(monkeypatch)
    assert run.bench(wanted(photos, out)) == 0
    assert calls == [] and figures(out) == first


def test_an_interrupted_run_goes_on_to_the_same_figures(photos, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    calls = counted(monkeypatch)
    run.bench(wanted(photos, whole))
    effort = len(calls)
    append, left = Journal.append, [9]

    def failing(self, name, record):
        append(self, name, record)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "append", failing)
    with pytest.raises(KeyboardInterrupt):
        run.bench(wanted(photos, broken))
    assert not (broken / "report.html").exists() and not (broken / "results.json").exists()
    monkeypatch.setattr(Journal, "append", append)
    calls.clear()
    assert run.bench(wanted(photos, broken)) == 0
    assert 0 < len(calls) < effort
    assert figures(broken) == figures(whole)
    for file in (whole / "files").rglob("*.*"):
        assert (broken / file.relative_to(whole)).read_bytes() == file.read_bytes()


def test_damaged_lines_and_files_are_not_believed(photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run.bench(wanted(photos, out))
    first, journal = figures(out), out / "journal.jsonl"
    lines = [line for line in journal.read_text().split("\n") if line]
    picked = next(i for i, line in enumerate(lines) if '"psnr": 2' in line or '"psnr": 3' in line)
    lines[picked] = lines[picked].replace('"psnr": 2', '"psnr": 9').replace('"psnr": 3', '"psnr": 9')
    journal.write_text("\n".join([*lines[:-2], "no line of ours", lines[-1][:40]]))  # one cut short, one gone
    rows = first["rows"]
    (out / rows[0]["file"]).write_bytes(b"another file")
    (out / rows[8]["file"]).unlink()
    calls = counted(monkeypatch)
    assert run.bench(wanted(photos, out)) == 0
    assert calls and figures(out) == first
    calls.clear()
    run.bench(wanted(photos, out))
    assert calls == []


@pytest.mark.slow
def test_several_processes_give_the_same_figures(photos, tmp_path, monkeypatch):
    monkeypatch.undo()  # worker processes know the real catalogue only
    measure.codec_of.cache_clear()
    found = []
    for jobs in (1, 2):
        run.bench(wanted(photos, tmp_path / str(jobs), jobs=jobs, metrics=("psnr", "ssim")))
        found.append(figures(tmp_path / str(jobs)))
        found[-1]["made"].pop("jobs")
    assert found[0] == found[1]


def test_what_changes_a_result_changes_its_key(photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run.bench(wanted(photos, out, codecs=("jpeg",)))
    calls = counted(monkeypatch)
    run.bench(wanted(photos, out, codecs=("jpeg",), bpp=(1.0,)))
    assert calls == []  # fewer targets are there already
    Image.open(photos / "p1.png").rotate(90).save(photos / "p1.png")
    run.bench(wanted(photos, out, codecs=("jpeg",), bpp=(1.0,)))
    assert calls  # the same name, another picture
    calls.clear()
    monkeypatch.setattr(codecs.PillowCodec, "version", lambda self: "another library")
    measure.codec_of.cache_clear()
    run.bench(wanted(photos, out, codecs=("jpeg",), bpp=(1.0,)))
    assert calls


def test_sizes_in_bytes(photos, tmp_path):
    out = tmp_path / "out"
    assert run.bench(wanted(photos, out, codecs=("jpeg",), bpp=(), sizes=(900, 1500, 10))) == 0
    rows = figures(out)["rows"]
    assert [r["target"] for r in rows[:3]] == [10, 900, 1500]
    assert all(r["bytes"] <= r["target"] for r in rows if r["target"] >= 900)
    assert not any(r["met"] for r in rows if r["target"] == 10)


def test_targets_of_a_million_bytes_keep_files_apart(photos, tmp_path):
    sizes = (1_000_000, 1_000_001)
    given = wanted(photos, tmp_path / "out", codecs=("jpeg",), bpp=(), sizes=sizes)
    assert "--bytes 1000000,1000001" in given.command()
    assert run.bench(given) == 0
    found = figures(tmp_path / "out")
    assert len({r["file"] for r in found["rows"]}) == 6
    assert all(f"-{r['target']}B." in r["file"] for r in found["rows"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'value="1000000"' in page and '"1000001": {"jpeg"' in page
    assert "1000001 bytes" in results.page(json.dumps(found | {"made": found["made"] | {"seconds": 1.0}}).encode())


def test_a_codec_that_fails_is_told_and_left_out(photos, tmp_path, monkeypatch, capsys):
    encode = codecs.PillowCodec.encode

    def failing(self, image, setting):
        if self.name == "webp" and image.size == (72, 96):
            raise OSError("encoder error -2")
        return encode(self, image, setting)

    monkeypatch.setattr(codecs.PillowCodec, "encode", failing)
    out = tmp_path / "out"
    assert run.bench(wanted(photos, out, codecs=("jpeg", "webp"))) == 1
    results = figures(out)
    assert {m["codec"] for m in results["means"]} == {"jpeg"}
    assert results["failures"] == ["webp on p1: OSError: encoder error -2"]
    assert "error: webp on p1: OSError: encoder error -2" in capsys.readouterr().err
    monkeypatch.setattr(codecs.PillowCodec, "encode", encode)
    assert run.bench(wanted(photos, out, codecs=("jpeg", "webp"))) == 0  # and tried again
    monkeypatch.setattr(codecs.PillowCodec, "encode", failing)
    with pytest.raises(IntaglioError, match="no codec got through: webp on p1"):
        run.bench(wanted(photos, tmp_path / "none", codecs=("webp",)))


def test_a_missing_codec_is_skipped_with_its_sentence(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    out = tmp_path / "out"
    assert run.bench(wanted(photos, out, codecs=("jpeg", "bpg"), bpp=(1.0,))) == 0
    assert figures(out)["skipped"][0]["name"] == "bpg"
    assert "codec bpg unavailable: bpg needs bpgenc" in capsys.readouterr().out
    with pytest.raises(BadInput, match="bpg needs bpgenc"):
        run.bench(wanted(photos, tmp_path / "none", codecs=("bpg",)))


@pytest.mark.parametrize(("change", "says"), [
    ({"codecs": ("jepg",)}, "no codec is called 'jepg'"),
    ({"codecs": ()}, "no codec to run"),
    ({"bpp": (0.0,)}, "sizes above 0"),
    ({"sizes": (5,)}, "exclude each other"),
    ({"metrics": ("beauty",)}, "no metric is called 'beauty'"),
    ({"metrics": ("lpips-vgg",)}, "get the weights vgg"),
    ({"anchor": "avif"}, "not among the codecs"),
    ({"jobs": 0}, "jobs is 0"),
    ({"repeats": -1}, "repeats is -1"),
    ({"dataset": "kodak"}, "not both"),
    ({"photos": ("nowhere",)}, "no such file"),
    ({"photos": (), "dataset": "kodak"}, "go together"),
    ({"photos": (), "dataset": "kodak", "data": "."}, "get it at r0k.us"),
])
def test_bad_input_is_one_sentence_and_writes_nothing(photos, tmp_path, change, says):
    out = tmp_path / "out"
    given = wanted(photos, out)
    with pytest.raises(IntaglioError, match=says) as told:
        run.bench(options.replace(given, **change))
    assert "\n" not in str(told.value)
    assert not out.exists()


def test_a_bad_picture_or_folder_writes_nothing(photos, tmp_path):
    (photos / "p9.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"p9\.png"):
        run.bench(wanted(photos, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(BadInput, match="holds other things"):
        run.bench(wanted(photos / "p0.png", photos))
    with pytest.raises(BadInput, match="is a file"):
        run.bench(wanted(photos / "p0.png", photos / "p1.png"))


def test_quick_is_few_pictures_cropped(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "QUICK_PICTURES", 2)
    monkeypatch.setattr(options, "QUICK_CROP", (64, 70))
    out = tmp_path / "out"
    assert run.bench(wanted(photos, out, bpp=(), quick=True, codecs=("jpeg",))) == 0
    results = figures(out)
    assert [(p["name"], p["width"], p["height"]) for p in results["pictures"]] == [("p0", 64, 70), ("p2", 64, 50)]
    assert results["targets"] == list(options.QUICK_BPP)
    assert {u["name"] for u in results["unavailable"]} == {"apart", "lpips-vgg"}


def test_times_are_kept_too(photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert run.bench(wanted(photos / "p0.png", out, codecs=("jpeg",), repeats=2)) == 0
    first = figures(out)["cost"]
    assert first[0]["codec"] == "jpeg" and first[0]["encode"]["calls"] == 2 and first[0]["decode"]["peak_mib"] > 5
    monkeypatch.setattr(run.cost, "cost", None)
    run.bench(wanted(photos / "p0.png", out, codecs=("jpeg",), repeats=2))
    assert figures(out)["cost"] == first


def test_quality_scales_grow_with_quality():
    assert summary.quality("psnr", "higher", 31.0) == 31.0
    assert summary.quality("ms-ssim", "higher", 0.99) == pytest.approx(20)
    assert summary.quality("lpips-vgg", "lower", 0.1) > summary.quality("lpips-vgg", "lower", 0.2)
    assert summary.shown(0.01234567) == "0.01235" and summary.shown(27.1234) == "27.12" and summary.shown("inf") == "∞"
    assert summary.shown(None) == "–" and summary.shown(12345.6) == "12346"
