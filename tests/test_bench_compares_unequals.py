"""Hazards: a benchmark takes another model's results for this one's, or forgets results that stand; codecs are averaged
over different pictures; two targets write into one file."""

import hashlib

from intaglio.bench import codecs, measure, plots, summary
from intaglio.bench.data import Picture
from intaglio.package import Package


def test_another_encoder_under_the_same_fingerprint_is_measured_again(tiny, tmp_path):
    """A package may get a better analysis, and its decoder's fingerprint stays."""
    found = []
    for name, extra, adaptive in (("old", b"", 0.0), ("graph", b" ", 0.0), ("card", b"", 1.0)):
        members = tiny.members | {"analysis.onnx": tiny.members["analysis.onnx"] + extra}
        hashes = {n: hashlib.sha256(data).hexdigest() for n, data in members.items()}
        (tmp_path / name).mkdir()
        path = tmp_path / name / "m.itgm"
        path.write_bytes(Package({**tiny.card, "sha256": hashes, "adaptive": adaptive}, members).to_bytes())
        found.append(codecs.named(str(path)))
    assert len({codec.about for codec in found}) == 1
    assert len({tuple(measure.identity(codec)) for codec in found}) == 3


def test_other_codecs_keep_their_journals():
    for name in codecs.NAMES:
        codec = codecs.named(name)
        if name != "intaglio" and codec.available() is None:
            assert measure.identity(codec) == [codec.name, codec.version(), codec.about]


def test_codecs_are_averaged_over_the_same_pictures():
    """A metric that one codec has no figure of is left out of the others' means too, at that target."""
    figures = {"a": (1.0, 2.0, 30.0), "b": (1.5, None, 40.0)}
    rows = [{"codec": codec, "target": target, "picture": f"p{i}", "met": True, "bytes": 1, "bpp": 0.5, "ratio": 2.0,
             "metrics": {"mae": None if target == 2.0 and i == 0 else value, "psnr": 30.0 + i}}
            for codec, values in figures.items() for target in (1.0, 2.0) for i, value in enumerate(values)]
    found = {(m["codec"], m["target"]): m for m in summary.means(rows)}
    assert [m["metrics"]["mae"] for m in found.values()] == [15.5, 30.0, 20.75, 40.0]
    assert [m["counts"] for m in found.values()] == [{"mae": 2, "psnr": 3}, {"mae": 1, "psnr": 3}] * 2
    assert all(m["metrics"]["psnr"] == 31.0 and m["pictures"] == 3 for m in found.values())
    results = {"means": list(found.values()), "pictures": [{}] * 3}
    assert plots.fewer(results, "mae") == ("Mae: means over 1 to 2 of 3 pictures, those of which every codec has a "
                                           "figure.")
    assert plots.fewer(results, "psnr") == "" == plots.fewer(results, "of whole sets")
    older = {"means": [{"pictures": 3, "metrics": {"mae": 1.0}}], "pictures": [{}] * 3}
    assert plots.fewer(older, "mae") == ""  # results.json of before counts were kept


def test_rates_keep_their_file_names(tmp_path):
    unit = measure.Unit(Picture(tmp_path / "p0.png", "p0"), "0123456789", "jpeg", None, (), False, (), tmp_path)
    for target, says in ((0.15, "0.15bpp"), (1.0, "1bpp"), (1, "1bpp"), (0.1234567, "0.123457bpp")):
        assert str(measure.file_of(unit, codecs.named("jpeg"), target)) == f"files/jpeg/p0-012345-{says}.jpg"
