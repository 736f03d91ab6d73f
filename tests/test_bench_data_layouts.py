"""Hazards: a data set is read from the wrong split, with its label maps, or resized by no published rule; a set that is
not there is a crash, or an empty run; a picture is compressed on its side."""

import re

import numpy as np
import pytest
from PIL import Image
from running import noise

from intaglio.bench import data
from intaglio.errors import BadInput

LAYOUTS = {  # files that are the split, and files beside them that are not
    "kodak": (["kodak/kodim01.png", "kodak/kodim24.png"], ["kodak/notes.txt", "kodak/cover.png"]),
    "clic": (["clic2020/test/professional/a.png", "clic2020/test/mobile/b.png"], ["clic2020/train/x.png"]),
    "div2k": (["DIV2K/DIV2K_valid_HR/0801.png", "DIV2K/DIV2K_valid_HR/0802.png"], ["DIV2K/DIV2K_train_HR/0001.png"]),
    "urban100": (["Urban100/image_SRF_4/img_001_SRF_4_HR.png"], ["Urban100/image_SRF_4/img_001_SRF_4_LR.png"]),
    "cityscapes": (["cityscapes/leftImg8bit/val/bonn/bonn_000_leftImg8bit.png"],
                   ["cityscapes/leftImg8bit/train/ulm/ulm_000_leftImg8bit.png",
                    "cityscapes/gtFine/val/bonn/bonn_000_gtFine_color.png"]),
    "ade20k": (["ADEChallengeData2016/images/validation/ADE_val_1.jpg"],
               ["ADEChallengeData2016/images/training/ADE_train_1.jpg",
                "ADEChallengeData2016/annotations/validation/ADE_val_1.png"]),
    "camvid": (["camvid/test/Seq05VD_1.webp"], ["camvid/test/Seq05VD_1.labels.png", "camvid/train/x.webp"]),
}


@pytest.mark.parametrize("name", data.DATASETS)
def test_the_split_is_found_in_its_layout_and_nothing_else(name, tmp_path):
    with pytest.raises(BadInput, match="get it at " + re.escape(data.DATASETS[name].where)):
        data.find(name, tmp_path)
    split, others = LAYOUTS[name]
    for file in split + others:
        if file.endswith(".txt"):
            (tmp_path / file).write_text("")
        else:
            noise(tmp_path / file, 8, 8)
    found = data.find(name, tmp_path)
    assert [p.path.relative_to(tmp_path).as_posix() for p in found] == sorted(split)
    inside = tmp_path / split[0].split("/")[0]
    assert [p.path for p in data.find(name, inside)] == [p.path for p in found]
    assert f"{len(split)} of the {data.DATASETS[name].count}" in data.shortfall(name, len(found))
    assert data.shortfall(name, data.DATASETS[name].count) is None


def test_the_rules_are_kept(tmp_path):
    noise(tmp_path / "leftImg8bit/val/bonn/a_leftImg8bit.png", 200, 100)
    noise(tmp_path / "images/validation/a.jpg", 300, 200)
    noise(tmp_path / "kodim01.png", 30, 20)
    assert data.load(data.find("cityscapes", tmp_path)[0]).size == (1024, 512)
    assert data.load(data.find("ade20k", tmp_path)[0]).size == (512, 341)
    assert data.load(data.find("kodak", tmp_path)[0]).size == (30, 20)
    assert data.load(data.Picture(tmp_path / "kodim01.png", "k", crop=(10, 64))).size == (10, 20)


def test_a_missing_folder_and_an_unknown_set_are_sentences(tmp_path):
    with pytest.raises(BadInput, match="there is no such folder"):
        data.find("kodak", tmp_path / "nowhere")
    with pytest.raises(BadInput, match="there are kodak, clic"):
        data.find("kodac", tmp_path)


def test_pictures_of_ones_own(tmp_path):
    a, b = noise(tmp_path / "a.png"), noise(tmp_path / "more" / "a.png", seed=1)
    (tmp_path / ".hidden.png").write_bytes(a.read_bytes())
    assert [p.name for p in data.chosen([tmp_path, b, a])] == ["a", "a (2)"]
    for sources, says in (([], "nothing to compress"), ([tmp_path / "no"], "no such file"),
                          ([tmp_path / "empty"], "no pictures are there")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(BadInput, match=says):
            data.chosen(sources)


def test_pictures_are_upright_and_without_transparency(tmp_path):
    image = Image.open(noise(tmp_path / "a.png", 12, 8))
    tags = Image.Exif()
    tags[0x0112] = 6  # the camera was turned
    image.save(tmp_path / "turned.png", exif=tags)
    turned = data.load(data.chosen([tmp_path / "turned.png"])[0])
    assert turned.size == (8, 12) and np.array_equal(np.rot90(np.asarray(image), -1), np.asarray(turned))
    Image.new("RGBA", (4, 4), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    clear = data.load(data.chosen([tmp_path / "clear.png"])[0])
    assert clear.mode == "RGB" and clear.getpixel((0, 0)) == (255, 255, 255) and not clear.info
