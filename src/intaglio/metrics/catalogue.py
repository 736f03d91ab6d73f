"""All metrics in one list: what the benchmark computes, and what it says of one whose weights are not at hand."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import BadInput
from ..losses.lpips import LPIPS
from ..nn.backbones.inception import Inception
from ..nn.backbones.inception_full import InceptionFull
from ..nn.backbones.weights import KNOWN, MissingWeights, find
from . import compressgan, distribution, fidelity
from .dists import DISTS
from .inception_score import inception_score
from .niqe import NIQE
from .perceptual import VGGDistance

Picture = NDArray[np.uint8]  # (h, w, 3), RGB

# Repacked files that do for the published ones, which can be fetched.
_REPACKED = {f"{name}-official": name for name in ("dists", "lpips-alex", "lpips-vgg", "lpips-squeeze")}


@dataclass(frozen=True)
class Metric:
    """One metric, as the benchmark sees it.

    kind: what `compute` takes, "pair" an original and the same picture decoded, "single" a decoded picture, "set" the
    list of all originals and that of all decoded ones. needs: names of weights (`nn.backbones.weights.KNOWN`), all of
    which must be at hand. smallest: pixels that the shorter side of a picture must have.
    """

    name: str
    better: Literal["higher", "lower"]
    unit: str
    kind: Literal["pair", "single", "set"]
    function: Callable[..., float]
    needs: tuple[str, ...]
    about: str
    smallest: int = 1

    def compute(self, *pictures: Any) -> float:
        """The figure; infinite for the PSNR of equal pictures. Pictures are (h, w, 3) of RGB, uint8.

        Raises MissingWeights and WrongWeights where `needs` are not met, and ValueError for pictures that the metric
        does not apply to: too small, of two sizes, too few. A set's pictures below `smallest` are left out of it.
        """
        if self.kind == "set":
            return self.function(*pictures)
        shapes = [picture.shape for picture in pictures]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f"pictures of shapes {shapes[0]} and {shapes[1]} cannot be compared by {self.name}")
        if min(shapes[0][:2]) < self.smallest:
            h, w = shapes[0][:2]
            raise ValueError(f"{w} x {h} pixels are too few for {self.name}: sides of {self.smallest} are needed")
        return self.function(*pictures)


def _place(name: str) -> None:
    """Raise MissingWeights unless these weights, or the same ones repacked, are at hand."""
    try:
        find(name)
    except MissingWeights:
        if name not in _REPACKED:
            raise
        try:
            find(_REPACKED[name])
        except MissingWeights:
            pass
        else:
            return
        raise


def missing(metric: Metric) -> list[str]:
    """The names of those weights that the metric needs and that are not at hand: what there is to fetch."""
    names = []
    for name in metric.needs:
        try:
            _place(name)
        except MissingWeights:
            names.append(name)
    return names


def available(metric: Metric) -> str | None:
    """None where the metric can be computed, else a sentence: "unavailable: what is missing, and how to get it"."""
    for name in metric.needs:
        try:
            _place(name)
        except MissingWeights as error:
            fetch = "; or run intaglio bench --fetch-weights" if KNOWN[name].url else ""
            return f"unavailable: {error}{fetch}"
    return None


def by_name(name: str) -> Metric:
    """The metric of that name. BadInput, with the names there are, where there is none."""
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise BadInput(f"there is no metric {name!r}; there are {', '.join(metric.name for metric in METRICS)}")


def _tensor(picture: Picture) -> Tensor:
    return torch.tensor(picture).permute(2, 0, 1)[None].float()


@functools.cache
def _lpips(net: str) -> LPIPS:
    return LPIPS(net)


def _lpips_distance(net: str, a: Picture, b: Picture) -> float:
    metric = _lpips(net)  # before inference mode: buffers made in it could not be used outside
    with torch.inference_mode():
        return float(metric(_tensor(b), _tensor(a)))


@functools.cache
def _dists() -> DISTS:
    return DISTS()


def _dists_distance(a: Picture, b: Picture) -> float:
    metric = _dists()
    with torch.inference_mode():
        return float(metric(_tensor(a), _tensor(b)))


@functools.cache
def _niqe() -> NIQE:
    return NIQE()


def _digest(picture: Picture) -> tuple[tuple[int, ...], bytes]:
    return picture.shape, hashlib.blake2b(np.ascontiguousarray(picture).tobytes(), digest_size=16).digest()


@functools.cache
def _vgg() -> VGGDistance:
    return VGGDistance()


class _Last:
    """The features of the last original: a picture is mostly compared with several decoded ones in a row."""

    key: tuple[tuple[int, ...], bytes] | None = None
    features: dict[str, Tensor]

    def __call__(self, picture: Picture) -> dict[str, Tensor]:
        key = _digest(picture)
        if key != self.key:
            self.key, self.features = None, {}  # two lots at once would be hundreds of megabytes
            self.features = _vgg().features(picture)
            self.key = key
        return self.features


_original = _Last()


def _vgg_distance(a: Picture, b: Picture) -> float:
    return _vgg().between(_original(a), _vgg().features(b))


@functools.cache
def _inception(full: bool) -> Any:
    return InceptionFull() if full else Inception()


_FEATURES: dict[tuple[bool, tuple[tuple[int, ...], bytes]], NDArray[np.float32]] = {}


def _patch_features(full: bool, pictures: Sequence[Picture]) -> NDArray[np.float32]:
    """Inception's features of all 256-pixel patches: (patches, 768 or 2048). Pictures that hold none are passed over.

    Those of a picture are kept, as FID and KID of every codec ask for the same originals': 64 kB or less for each of
    768 x 512 pixels."""
    parts = []
    for picture in pictures:
        if min(picture.shape[:2]) < distribution.PATCH:
            continue
        key = (full, _digest(picture))
        if key not in _FEATURES:
            if len(_FEATURES) >= 10_000:
                _FEATURES.pop(next(iter(_FEATURES)))
            _FEATURES[key] = distribution.features(_inception(full), distribution.patches(picture))
        parts.append(_FEATURES[key])
    if not parts:
        raise ValueError(f"no picture has sides of {distribution.PATCH} pixels or more")
    return np.concatenate(parts)


def _fid(full: bool, a: Sequence[Picture], b: Sequence[Picture]) -> float:
    return distribution.frechet(_patch_features(full, a), _patch_features(full, b))


def _kid(full: bool, a: Sequence[Picture], b: Sequence[Picture]) -> float:
    return distribution.kid(_patch_features(full, a), _patch_features(full, b))


def _inception_score(a: Sequence[Picture], b: Sequence[Picture]) -> float:
    features = torch.from_numpy(_patch_features(True, b))
    return inception_score(_inception(True).logits(features, bias=False).numpy())[0]


def _lpips_metric(net: str, trunk: str, weights: str, smallest: int, note: str) -> Metric:
    about = f"learned perceptual image patch similarity 0.1 on {trunk}{note} (Zhang et al. 2018); 0 is best"
    compute = functools.partial(_lpips_distance, net)
    needs = (f"{weights}-torchvision", f"lpips-{net}-official")
    return Metric(f"lpips-{net}", "lower", "", "pair", compute, needs, about, smallest)


_OWN = "by this project's definition, since the CompressGAN paper tabulates it without one; 100 is best"
_FEW = "smaller for more patches, so compare only figures over the same pictures"
_KID = (
    "MMD^2 over all patches, with the unbiased estimator of independent sets; a codec's patches lie beside their own "
    "originals, which makes it smaller, and ratios of small ones more so than `bench.realism`'s, of different pictures"
)

METRICS: tuple[Metric, ...] = (
    Metric("mse", "lower", "", "pair", fidelity.mse, (), "mean squared error over R, G and B, of 255^2"),
    Metric("psnr", "higher", "dB", "pair", fidelity.psnr, (), "peak signal to noise ratio over R, G and B"),
    Metric("psnr-y", "higher", "dB", "pair", fidelity.psnr_y, (), "peak signal to noise ratio of BT.601 luma"),
    Metric(
        "ssim", "higher", "", "pair", fidelity.ssim, (), "structural similarity, mean over R, G and B; 1 is best", 11
    ),
    Metric(
        "ms-ssim", "higher", "", "pair", fidelity.ms_ssim, (),
        "multi-scale structural similarity, mean over R, G and B; 1 is best", 176,
    ),
    _lpips_metric("alex", "AlexNet", "alexnet", 31, ", the usual one"),
    _lpips_metric("vgg", "VGG-16", "vgg16", 16, ""),
    _lpips_metric("squeeze", "SqueezeNet", "squeezenet", 17, ""),
    Metric(
        "dists", "lower", "", "pair", _dists_distance, ("vgg16-torchvision", "dists-official"),
        "deep image structure and texture similarity at the pictures' own size (Ding et al. 2020); 0 is best",
    ),
    Metric(
        "vgg-distance", "lower", "", "pair", _vgg_distance, ("vgg16-keras",),
        "squared distance of unit features of VGG-16 at conv1_2, conv2_2 and conv3_3, the CompressGAN paper's taps; "
        "0..2, 0 is best", 4,
    ),
    Metric(
        "edge-preservation", "higher", "of 100", "pair", compressgan.edge_preservation, (),
        f"similarity of colour gradients, {_OWN}", compressgan.SMALLEST,
    ),
    Metric(
        "colour-accuracy", "higher", "%", "pair", compressgan.colour_accuracy, (),
        f"share of pixels with CIEDE2000 below 2.3, {_OWN}", compressgan.SMALLEST,
    ),
    Metric(
        "texture-realism", "higher", "of 100", "pair", compressgan.texture_realism, (),
        f"overlap of the distributions of colours and grain in windows, {_OWN}", compressgan.SMALLEST,
    ),
    Metric(
        "niqe", "lower", "", "single", lambda picture: _niqe()(picture), ("niqe",),
        "distance of local statistics from pristine photographs' (Mittal et al. 2013); photographs have 2 to 5", 96,
    ),
    Metric(
        "fid-2048", "lower", "", "set", functools.partial(_fid, True), ("inception-v3-fid-full",),
        "Frechet Inception distance over 256-pixel patches in two shifted passes, HiFiC's protocol; 0 is best; "
        f"{_FEW}", 256,
    ),
    Metric(
        "kid-2048", "lower", "", "set", functools.partial(_kid, True), ("inception-v3-fid-full",),
        f"kernel Inception distance over the same patches, {_KID}; about 0 is best", 256,
    ),
    Metric(
        "fid-768", "lower", "", "set", functools.partial(_fid, False), ("inception-v3-fid",),
        f"as fid-2048 on the 768 channels of mixed_7: not comparable with FID; {_FEW}", 256,
    ),
    Metric(
        "kid-768", "lower", "", "set", functools.partial(_kid, False), ("inception-v3-fid",),
        f"as kid-2048 on the 768 channels of mixed_7: not comparable with KID; {_KID}", 256,
    ),
    Metric(
        "inception-score", "higher", "", "set", _inception_score, ("inception-v3-fid-full",),
        "Inception Score of the decoded patches in one split (Salimans et al. 2016); larger for more patches; it asks "
        "only whether they can be recognised", 256,
    ),
)  # fmt: skip
