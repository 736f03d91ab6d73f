"""Weights of frozen networks: found on this disk, checked by SHA-256, read; downloaded only when `fetch` is called.

A file is never taken for what its name says: `load` compares its SHA-256 with the one written below. For the files of
the `torchvision` project only the first eight hexadecimal digits are public (its release names carry them, as in
vgg16-397923af.pth), so of those the first eight digits are compared: proof against accidents, not against malice.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...errors import BadInput, IntaglioError

VARIABLE = "INTAGLIO_WEIGHTS"


class MissingWeights(IntaglioError):
    """A file of weights that is nowhere to be found, or could not be downloaded."""


class WrongWeights(IntaglioError):
    """A file of weights that is not the one its name says: another SHA-256, or unreadable."""


@dataclass(frozen=True)
class Weights:
    """One file of weights. `sha256` is 64 hexadecimal digits, or the 8 that the publisher gives; `url` may be empty."""

    name: str
    file: str
    sha256: str
    url: str
    about: str


_TORCHVISION = "https://download.pytorch.org/models/"
_LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"


def _lpips(net: str, trunk: str, repacked: str, official: str) -> tuple[Weights, Weights]:
    """The heads of LPIPS twice: as safetensors, and as published (SHA-256 of the files in lpips 0.1.4 on PyPI)."""
    about = f"the trained heads of LPIPS 0.1 on {trunk}"
    return (
        Weights(f"lpips-{net}", f"lpips_heads_{net}.safetensors", repacked, "", f"{about}, repacked"),
        Weights(f"lpips-{net}-official", f"lpips_v0.1_{net}.pth", official, f"{_LPIPS}{net}.pth", about),
    )


KNOWN = {
    w.name: w
    for w in (
        Weights(
            "vgg16-keras",
            "vgg16_conv1_1-conv3_3.safetensors",
            "00e837dbc9ad6d3bc1e816f959f22373baa24702d04614497c985dd7b231ba98",
            "",
            "the first 7 convolutions of VGG-16 (ImageNet) as Keras ships them, repacked: conv1_1.weight, ...",
        ),
        Weights(
            "mobilenet-v2-keras",
            "mobilenet_v2_keras.safetensors",
            "d74ee105f9bb9755990f431650f93722a20f9516d779bc48b461bbe6d7a51b50",
            "",
            "MobileNetV2 1.0/224 (ImageNet) without its classifier as Keras ships it, repacked in torch's layout",
        ),
        Weights(
            "inception-v3-fid",
            "inception_v3_2015_to_mixed_7.safetensors",
            "704fc1b6ad3c566c4ad5322d70d825e6c0e55a9521882ed96df7554ce2e5501b",
            "",
            "TensorFlow's Inception-v3 of 2015-12-05 up to mixed_7, batch norm folded; for evaluation only",
        ),
        Weights(
            "dists",
            "dists_alpha_beta.safetensors",
            "50980d68bc38b2fcc738b1a8c3ae77a87cb73883b230951c2c57190855bdb52f",
            "",
            "the trained weights alpha and beta of DISTS, repacked",
        ),
        Weights(  # SHA-256 of the file in dists-pytorch 0.1 on PyPI
            "dists-official",
            "dists_weights.pt",
            "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
            "https://raw.githubusercontent.com/dingkeyan93/DISTS/master/DISTS_pytorch/weights.pt",
            "the trained weights alpha and beta of DISTS",
        ),
        Weights(  # the SHA-256 is published by many who use the file; its publisher gives the first eight digits
            "inception-v3-fid-full",
            "pt_inception-2015-12-05-6726825d.pth",
            "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
            "TensorFlow's Inception-v3 of 2015-12-05 as pytorch-fid ships it, 96 MB; for evaluation only",
        ),
        Weights(
            "niqe",
            "niqe_pristine.safetensors",
            "e2126a24904bd5c80a9f41f4e202f9374c1c6518505d59351ff7b2e19ddad8e3",
            "",
            "NIQE's statistics of pristine pictures",
        ),
        *_lpips(
            "vgg",
            "VGG-16",
            "4fbb0122b8b7c419838e12f9d9414a590916757773a1dc835cef7adef85e8933",
            "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        ),
        *_lpips(
            "alex",
            "AlexNet",
            "255d6454292d155a069f693a111769acec003d588617b250f24775369c816e04",
            "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        ),
        *_lpips(
            "squeeze",
            "SqueezeNet",
            "7b35c219aaf55e4be5486ee08f40bb7b92b7bba3130e7d90425b3d5a87de2097",
            "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        ),
        Weights(
            "espnet-camvid",
            "espnet_camvid.safetensors",
            "86b07eb475c0a438920c4e582033ce5067a47662387683a2b03bbd12a8c784ac",
            "",
            "ESPNet (p = 2, q = 8) trained on CamVid",
        ),
        Weights(
            "espnet-cityscapes",
            "espnet_cityscapes.safetensors",
            "76e64119ffd044422a35608a50d3d154f212e2c8316572d34dd03a61f88988df",
            "",
            "ESPNet (p = 2, q = 8) trained on Cityscapes",
        ),
        Weights(
            "vgg16-torchvision",
            "vgg16-397923af.pth",
            "397923af",
            _TORCHVISION + "vgg16-397923af.pth",
            "VGG-16 (ImageNet) of the torchvision project, 528 MB: features.0.weight, ...",
        ),
        Weights(
            "alexnet-torchvision",
            "alexnet-owt-7be5be79.pth",
            "7be5be79",
            _TORCHVISION + "alexnet-owt-7be5be79.pth",
            "AlexNet (ImageNet) of the torchvision project, 233 MB",
        ),
        Weights(
            "squeezenet-torchvision",
            "squeezenet1_1-b8a52dc0.pth",
            "b8a52dc0",
            _TORCHVISION + "squeezenet1_1-b8a52dc0.pth",
            "SqueezeNet 1.1 (ImageNet) of the torchvision project, 5 MB",
        ),
    )
}


def known(name: str) -> Weights:
    """The entry of KNOWN. Raises BadInput, with the names there are."""
    if name not in KNOWN:
        raise BadInput(f"there are no weights {name!r}; there are {', '.join(KNOWN)}")
    return KNOWN[name]


def cache() -> Path:
    """The folder that `fetch` writes to and `find` looks in last."""
    return Path.home() / ".cache" / "intaglio" / "weights"


def find(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """The file of these weights: in `folder` (or `folder` itself, if it is a file), $INTAGLIO_WEIGHTS or the cache.

    Raises MissingWeights: what is missing, where it was looked for, how to get it.
    """
    weights = known(name)
    if folder is not None and Path(folder).is_file():
        return Path(folder)
    folders = [Path(f) for f in (folder, os.environ.get(VARIABLE)) if f] + [cache()]
    for place in folders:
        if (place / weights.file).is_file():
            return place / weights.file
    if weights.url:
        how = f"put {weights.url} there, or call intaglio.nn.backbones.weights.fetch({name!r})"
    else:
        how = f"put the file into one of them, or name its folder in {VARIABLE}"
    raise MissingWeights(
        f"the weights {name} ({weights.about}) are missing: there is no {weights.file} in "
        f"{', '.join(map(str, folders))}; {how}"
    )


def check(path: Path, weights: Weights) -> None:
    """Raise WrongWeights unless the SHA-256 of the file begins with the digits of `weights`."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(weights.sha256):
        raise WrongWeights(
            f"{path} is not {weights.file}: its SHA-256 begins with {digest.hexdigest()[:16]} instead of "
            f"{weights.sha256[:16]}, so get a fresh copy"
        )


def load(name: str, folder: str | os.PathLike[str] | None = None) -> dict[str, Tensor]:
    """The tensors of these weights by name, on the CPU, in the file's own layout.

    Raises MissingWeights as `find` does, and WrongWeights where the file's SHA-256 is another or it cannot be read.
    """
    weights, path = known(name), find(name, folder)
    try:
        check(path, weights)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # only here: whoever reads no such file needs no safetensors

            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))  # no code out of a downloaded pickle
    except (IntaglioError, ImportError):
        raise
    except Exception as error:  # torch and safetensors raise many kinds on files they cannot read
        raise WrongWeights(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def fetch(name: str, folder: str | os.PathLike[str] | None = None, timeout: float = 60) -> Path:
    """Download these weights into `folder` (the cache, if None) unless the right file is there; the path of the file.

    Written beside, checked, then renamed: no half file, and no wrong one, ever bears the name. `timeout` is in seconds
    without a byte. Raises MissingWeights where there is no address or the download fails, WrongWeights where what came
    is something else.
    """
    weights = known(name)
    place = cache() if folder is None else Path(folder)
    path = place / weights.file
    if path.is_file():
        check(path, weights)
        return path
    if not weights.url:
        raise MissingWeights(
            f"the weights {name} ({weights.about}) have no public address; put {weights.file} in {place}"
        )
    part = place / f".{weights.file}.{secrets.token_hex(4)}.part"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(weights.url, timeout=timeout) as source, open(part, "xb") as sink:
            while block := source.read(1 << 20):
                sink.write(block)
        check(part, weights)
        os.replace(part, path)
    except OSError as error:  # URLError and timeouts are OSErrors too
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MissingWeights(f"cannot download {weights.url} to {path}: {reason}") from error
    finally:
        part.unlink(missing_ok=True)
    return path
