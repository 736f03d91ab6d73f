"""Hazards: the report needs a network, or shows other figures than the data; its slider is stuck, or its pictures do
not load; the published page was edited by hand, or made from other data; a paper's table is set beside a rate that is
not there."""

import html
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_bench_runs_wrong import METRICS

from intaglio.bench import measure, plots, report, results, run, scenes, summary, tables
from intaglio.bench.options import Options
from intaglio.errors import BadInput

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_model):
    """A small benchmark with a model of ours in it: (its folder, its results)."""
    folder = tmp_path_factory.mktemp("report")
    photo = Image.open(ROOT / "examples" / "dog.webp").convert("RGB")
    for i, x in enumerate((100, 220)):
        photo.crop((x, 150, x + 110, 240)).save(folder / f"kodim0{i + 1}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "catalogue", lambda: METRICS)
        patch.setattr(measure, "unavailable", lambda m: "get the <weights>" if m.needs else None)
        measure.codec_of.cache_clear()
        measure.load.cache_clear()
        given = Options(dataset="kodak", data=str(folder), codecs=("jpeg", "webp", "png", "bpg", str(tiny_model)),
                        bpp=(0.25, 1.0, 2.0), out=str(folder / "out"), jobs=1, repeats=1, anchor="jpeg")
        path = os.environ["PATH"]
        os.environ["PATH"] = ""  # no bpgenc
        try:
            assert run.bench(given) == 0
        finally:
            os.environ["PATH"] = path
    return folder / "out", json.loads((folder / "out" / "results.json").read_text())


class Page(HTMLParser):
    """What a document asks for, and its tables' cells."""

    def __init__(self, text):
        super().__init__()
        self.asked, self.open, self.cells, self.ids = [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.asked += [given[k] for k in ("src", "href", "xlink:href", "srcset", "data") if k in given]
        self.ids.add(given.get("id"))
        if tag not in ("meta", "link", "img", "input", "br", "use", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in ("meta", "link", "img", "input", "br", "use", "path"):
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in ("path", "use"):
            return
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, text):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(text.strip())


def test_the_report_is_one_file_that_asks_for_nothing(finished):
    text = (finished[0] / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert all(a.startswith(("data:", "#")) for a in page.asked), [a for a in page.asked if a[:1] not in "d#"]
    assert all(a[1:] in page.ids for a in page.asked if a.startswith("#"))
    style = re.findall(r"<style>(.*?)</style>", text, re.S)[0]
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\s*\(", text)


def test_the_report_shows_the_figures(finished):
    out, found = finished
    cells = Page((out / "report.html").read_text()).cells
    for mean in found["means"]:
        assert summary.shown(mean["bpp"], 3) in cells
        assert summary.shown(mean["metrics"]["psnr"]) in cells
    text = (out / "report.html").read_text()
    assert "bpg needs bpgenc" in text and "get the &lt;weights&gt;" in text and found["made"]["command"] in text
    for name, value in found["bd_rate"]["psnr"].items():
        if isinstance(value, float):
            assert f"{'−' if value < 0 else '+'}{abs(value):.1f}" in cells, name


def test_crops_are_the_same_window_of_every_codec(finished):
    out, _ = finished
    data = json.loads(re.findall(r'id="scenes-data">(.*?)</script>', (out / "report.html").read_text(), re.S)[0])
    assert [d["picture"] for d in data] == ["kodim01", "kodim02"]
    for scene in data:
        original = np.asarray(Image.open(out.parent / f"{scene['picture']}.png"))
        assert np.array_equal(pixels(scene["original"]["src"]), original)  # smaller than the window: all of it
        assert list(scene["rates"]) == ["0.25", "1"]
        for shots in scene["rates"].values():
            assert set(shots) == {"jpeg", "webp", "tiny"}
            assert all(pixels(s["src"]).shape == original.shape for s in shots.values())
        assert "smallest file" in scene["rates"]["0.25"]["jpeg"]["warn"]


def pixels(uri):
    import base64
    import io

    head, _, body = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))


def test_the_window_is_where_codecs_lose_most():
    original = np.zeros((400, 700, 3), np.uint8)
    bad, all_over = original.copy(), original + 1
    bad[330:350, 600:640] = 90
    x, y, w, h = scenes.window(original, [bad, all_over])
    assert (w, h) == scenes.WINDOW and x <= 600 and x + w >= 640 and y <= 330 and y + h >= 350


def test_curves_are_the_data_and_the_same_each_time(finished):
    out, found = finished
    metric = found["metrics"][0]
    assert (out / "curves" / "psnr.svg").read_text() == plots.svg(found, metric)
    assert Image.open(out / "curves" / "psnr.png").size[0] > 900
    assert not (out / "curves" / "lpips-vgg.svg").exists()
    for line in plots.figure(found, metric).axes[0].lines:
        if not line.get_label().startswith("_"):
            xy = [tuple(p) for p in zip(*line.get_data(), strict=True)]
            assert xy == summary.curve(found["means"], line.get_label(), "psnr")
    colours = [s["color"] for s in plots.styles(found).values()]
    assert len(set(colours)) == len(colours) == 3


def test_names_of_strangers_stay_text(finished):
    """What TeX or a browser would take for its own: in a package's name, and in a picture's."""
    _, found = finished
    name, results_ = "$a_{$.b<!--<script>", json.loads(json.dumps(found))
    for entry in (*results_["codecs"], *results_["means"]):
        for key in ("name", "codec"):
            entry[key] = name if entry.get(key) == "tiny" else entry.get(key)
    assert name in html.unescape(plots.svg(results_, results_["metrics"][0]))
    shot = {"src": "data:,", "facts": [], "warn": ""}
    scene = {"picture": name, "width": 8, "height": 8, "thumb": "data:,", "box": [0, 0, 1, 1], "original": shot,
             "rates": {t: dict.fromkeys(("jpeg", "webp", name), shot) for t in ("0.25", "1")}}
    page = report._slider(results_, [scene])
    payload = re.findall(r'id="scenes-data">(.*?)</script>', page, re.S)[0]
    assert "<" not in payload and json.loads(payload)[0]["picture"] == name


def test_memory_that_is_not_known_is_a_dash(finished):
    """Windows tells no process's peak."""
    _, found = finished
    assert "Python's own" in report._cost(found)
    unknown = json.loads(json.dumps(found))
    for entry in unknown["cost"]:
        for action in ("encode", "decode"):
            entry[action] |= {"peak_mib": None, "before_mib": None}
    text = report._cost(unknown)
    assert "not known on this system" in text and "<td>–</td>" in text


def test_names_at_the_ends_do_not_lie_on_each_other():
    heights = plots._spread([0.5, 0.51, 0.505, 0.9], 0.06)
    gaps = np.diff(sorted(heights))
    assert gaps.min() > 0.0599 and np.argsort(heights).tolist() == [0, 2, 1, 3] and heights[3] == 0.9


def test_the_page_is_made_of_the_data_and_of_nothing_else(finished, tmp_path):
    out, found = finished
    results.write(out / "results.json", tmp_path)
    data = (tmp_path / "results.json").read_bytes()
    assert json.loads(data) == found
    page = (tmp_path / "results.md").read_text()
    assert page == results.page(data)
    assert results.page(data.replace(b'"psnr": 2', b'"psnr": 3')) != page
    for name in re.findall(r"\((images/[^)]+)\)", page):
        assert (tmp_path / name).read_text().startswith("<?xml")
    assert f"| jpeg | {summary.shown(found['means'][0]['metrics']['psnr'])} † |" in page
    (tmp_path / "bad.json").write_text('{"means": 3}')
    with pytest.raises(BadInput, match=r"bad\.json is no results\.json"):
        results.write(tmp_path / "bad.json", tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def test_codecs_that_were_not_measured_again_come_whole_from_an_earlier_run(finished, tmp_path):
    out, found = finished
    new = json.loads(json.dumps(found))
    for part, key in (("codecs", "name"), ("means", "codec"), ("cost", "codec"), ("rows", "codec")):
        new[part] = [row for row in new[part] if row[key] == "tiny"]
    for row in (*new["means"], *new["rows"]):
        row["metrics"]["psnr"] += 1
    (tmp_path / "new.json").write_text(json.dumps(new))
    results.write(tmp_path / "new.json", tmp_path, out / "results.json")
    both = json.loads((tmp_path / "results.json").read_bytes())
    assert [c["name"] for c in both["codecs"]] == [c["name"] for c in found["codecs"]]
    for part in ("means", "rows"):
        assert len(both[part]) == len(found[part])
        ordered = [sorted(r[part], key=lambda x: (x["codec"], str(x.get("picture")), str(x["target"])))
                   for r in (both, found)]  # fmt: skip
        for a, b in zip(*ordered, strict=True):
            assert a["codec"] == b["codec"]
            if a["codec"] == "tiny":
                assert a["metrics"]["psnr"] == pytest.approx(b["metrics"]["psnr"] + 1, abs=1e-3)
            else:
                assert a == b
    assert both["bd_rate"] != found["bd_rate"] and "jpeg, webp, png are of an earlier run" in both["notes"][-1]
    assert "results.json --peers docs/results.json --docs" in (tmp_path / "results.md").read_text()
    (tmp_path / "new.json").write_text(json.dumps(new | {"targets": [1, 2, 3]}))
    with pytest.raises(BadInput, match="different targets"):
        results.write(tmp_path / "new.json", tmp_path, out / "results.json")


def test_means_that_are_not_those_of_the_rows_are_not_published(finished, tmp_path):
    _, found = finished
    for part in ("rows", "means"):
        spoilt = json.loads(json.dumps(found))
        spoilt[part][0]["metrics"]["psnr"] += 0.01
        (tmp_path / "spoilt.json").write_text(json.dumps(spoilt))
        with pytest.raises(BadInput, match="psnr is .* among the means"):
            results.write(tmp_path / "spoilt.json", tmp_path)


@pytest.mark.skipif(not (DOCS / "results.json").exists() and "docs/results.md" not in (ROOT / "README.md").read_text(),
                    reason="no results are published: the README names no docs/results.md")
def test_the_published_page_was_made_from_the_committed_data():
    data = (DOCS / "results.json").read_bytes()
    assert (DOCS / "results.md").read_text() == results.page(data)
    assert results.condensed(json.loads(data)) == data
    results.consistent(json.loads(data))
    for metric in results.curves(json.loads(data)):
        assert (DOCS / "images" / f"results-{metric['name']}.svg").exists()


def test_tables_state_the_rate_and_the_papers_lack_of_one(finished):
    _, found = finished
    text = tables.text([found], ["2", "4"], {"CompressGAN": "tiny"})
    two, four = text.split("\n\n\n")
    assert "the paper states no bitrate" in two and "at 0.25 bpp" in four
    rows = [line.split() for line in two.split("\n")]
    assert ["JPEG,", "the", "paper", "not", "stated", "29.1", "0.842", "0.31"] in rows
    jpeg = [m for m in found["means"] if m["codec"] == "jpeg"]
    for mean in jpeg:
        assert any(f"{mean['bpp']:.3f}" in r and summary.shown(mean["metrics"]["psnr"]) in r for r in rows)
    assert "tiny reaches 36.7 dB at" in two and "no model of it at hand (--row VAE=CODEC)" in two
    assert "bpg, not measured: bpg needs bpgenc" in two and "ssim: it was not in the run" in two
    assert four.count("jpeg, measured") == 1
    hifi = tables.hifi(found)
    assert "not measured at 0.14 bpp" in hifi and "prints its figures as images" in hifi
    five = tables.text([found], ["5"], {})
    assert "Urban100: CompressGAN, the paper" in five and "not measured; get it at" in five


def test_tables_and_headlines_name_metrics_that_there_are(monkeypatch):
    monkeypatch.undo()
    names = {m.name for m in measure.catalogue()}
    columns = {m for t in tables.TABLES.values() for _, m in t.columns} | {m for _, m in tables.FIDELITY}
    assert columns | set(summary.HEADLINE) | set(plots.FIDELITY) | set(plots.LABELS) <= names


def test_a_readers_folders_are_not_published(finished):
    _, found = finished
    why = "the weights x are missing: there is no x.pth in /home/me/w, /home/me/.cache; put https://e.org/x.pth there"
    data = results.condensed(found | {"unavailable": [{"name": "x", "why": why}]})
    assert b"/home" not in data and b"there is no x.pth; put https://e.org/x.pth there" in data


def test_the_rate_at_which_a_figure_is_reached():
    means = [{"codec": "a", "target": t, "bpp": t, "metrics": {"psnr": p}} for t, p in ((0.25, 30.0), (1.0, 34.0))]
    found = {"means": means, "metrics": [{"name": "psnr", "better": "higher"}]}
    assert tables.reaches(found, "a", "psnr", 32.0) == "0.50"  # half way in log-rate
    assert tables.reaches(found, "a", "psnr", 29.0) == "below 0.25"
    assert tables.reaches(found, "a", "psnr", 35.0) == "above 1.00"
    assert tables.reaches(found, "b", "psnr", 35.0) == "–"


def browser():
    """A headless Chromium, or a skip with the reason."""
    api = pytest.importorskip("playwright.sync_api", reason="the report is tried in a browser: pip install playwright")
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("the report is tried in a browser, and there is none: apt install chromium")
    return api, path


@pytest.mark.slow
def test_the_report_works_in_a_browser(finished):
    api, path = browser()
    with api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1200, "height": 900})
        said, asked = [], []
        page.on("console", lambda m: said.append(m.text))
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.goto((finished[0] / "report.html").resolve().as_uri())
        loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
        page.wait_for_function(loaded)
        cut = "getComputedStyle(document.getElementById('over')).clipPath"
        line = "document.querySelector('.line').getBoundingClientRect().x"
        middle, clip = page.evaluate(line), page.evaluate(cut)
        page.focus("#divider")
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        assert page.evaluate(line) > middle and page.evaluate(cut) != clip  # by the keyboard
        box = page.locator("#stage").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20, steps=4)
        page.mouse.up()
        assert abs(page.evaluate(line) - box["x"] - 0.2 * box["width"]) < 0.02 * box["width"]  # by the mouse
        for side, image in (("#pick-l", "over"), ("#pick-r", "under")):
            before = page.evaluate(f"document.getElementById('{image}').src")
            page.select_option(side, "webp")
            assert page.evaluate(f"document.getElementById('{image}').src") != before
        before = page.evaluate("document.getElementById('over').src")
        page.check('input[name="rate"][value="1"]')
        assert page.evaluate("document.getElementById('over').src") != before
        page.locator(".scenes button").nth(1).click()
        assert page.locator(".scenes button").nth(1).get_attribute("aria-pressed") == "true"
        page.wait_for_function(loaded)
        assert "kodim02" in page.get_attribute("#over", "alt")
        paper = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(paper)
        page.click("#theme")
        assert page.evaluate(paper) != light
        page.set_viewport_size({"width": 380, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        chromium.close()
    assert said == []
    assert {u.split(":")[0] for u in asked} <= {"file", "data"}
