"""Hazards: a backbone computes something else than the network that its weights belong to; weights are taken for what
their file's name says; a download leaves half a file; a frozen network is trained, or saved, along with the rest."""

import hashlib
import os
import pickle

import numpy as np
import pytest
import reference_networks as reference
import torch
from safetensors.torch import save_file
from torch import nn

from intaglio.errors import BadInput
from intaglio.nn.backbones import weights
from intaglio.nn.backbones.mobilenet import MobileNetV2
from intaglio.nn.backbones.vgg import NAMES, VGG
from intaglio.nn.backbones.weights import MissingWeights, Weights, WrongWeights, fetch, find, load

trained = pytest.mark.skipif(
    not os.environ.get("INTAGLIO_WEIGHTS"), reason="the folder INTAGLIO_WEIGHTS with trained weights is not set"
)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No weights in the environment and an empty cache."""
    monkeypatch.delenv("INTAGLIO_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return tmp_path


def make(tmp_path, monkeypatch, name="thing.safetensors", digits=64, content=None):
    """A file of weights in a folder of its own, known under the name "thing" and served by its file: address."""
    source = tmp_path / "server"
    source.mkdir()
    path = source / name
    if content is not None:
        path.write_bytes(content)
    else:
        save_file({"a": torch.arange(3.0)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:digits]
    monkeypatch.setitem(weights.KNOWN, "thing", Weights("thing", name, digest, path.as_uri(), "a test"))
    return path


def patch(h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, h, w)).astype(np.float32)


def close(ours, theirs, tolerance=1e-5):
    """Equal up to a share of the largest value."""
    assert ours.shape[1:] == theirs.shape
    assert np.abs(ours[0].numpy() - theirs).max() < tolerance * np.abs(theirs).max()


@pytest.mark.parametrize(("source", "convolutions"), [("keras", 7), ("torchvision", 13)])
def test_vgg_is_the_network_by_its_definition(source, convolutions):
    state = reference.random_vgg(source, convolutions)
    x = patch(19, 37)
    ours = VGG(convolutions, NAMES[:convolutions], source=source, state=state)(torch.from_numpy(x)[None])
    theirs = reference.vgg(x, state, source, convolutions)
    assert list(ours) == list(NAMES[:convolutions])
    for a, b in zip(ours.values(), theirs, strict=True):
        close(a, b)


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_mobilenet_is_the_network_by_its_definition(size):
    state = reference.random_mobilenet()
    x = patch(*size)
    taps = (*(f"block_{i}" for i in range(17)), "head")
    ours = MobileNetV2(taps, state=state)(torch.from_numpy(x)[None])
    for a, b in zip(ours.values(), reference.mobilenet(x, state), strict=True):
        close(a, b, 1e-4)
    assert [ours[f"block_{i}"].shape[2] for i in (0, 2, 5, 12, 16)] == [-(-size[0] // s) for s in (2, 4, 8, 16, 32)]


@trained
def test_trained_networks_by_their_definition():
    x = patch(16, 16)
    names = ("conv1_1", "conv1_2", "conv2_2", "conv3_3")
    state = load("vgg16-keras")
    theirs = dict(zip(NAMES, reference.vgg(x, state, "keras", 7), strict=False))
    for name, a in VGG(7, names)(torch.from_numpy(x)[None]).items():
        close(a, theirs[name])
    state = load("mobilenet-v2-keras")
    blocks = reference.mobilenet(x, state)
    for name, a in MobileNetV2()(torch.from_numpy(x)[None]).items():
        close(a, blocks[int(name[6:])], 1e-4)


@trained
def test_trained_networks_see_colours_and_objects():
    """An object seen otherwise stands out from other objects, which it would not where pictures are fed wrongly."""
    from skimage import data

    def crop(a):
        side = min(a.shape[:2])
        a = torch.from_numpy(a[:side, (a.shape[1] - side) // 2 :][:, :side].copy()).permute(2, 0, 1)[None].float()
        return nn.functional.interpolate(a, (224, 224), mode="area")

    pictures = torch.cat([crop(a) for a in (data.chelsea(), data.astronaut(), data.coffee(), data.rocket())])
    network = MobileNetV2(("head",))

    def look(x):
        return nn.functional.normalize(network(x)["head"].mean((2, 3)))

    seen = look(pictures)
    mirrored_and_darker = look(0.7 * pictures.flip(3))
    likeness = seen @ mirrored_and_darker.T
    others = likeness - 2 * torch.eye(4)
    assert (likeness.diagonal() > others.amax(1) + 0.2).all()
    assert ((seen * look(pictures.flip(1))).sum(1) < likeness.diagonal()).all()  # exchanged colours hurt more


def test_trunk_ends_at_its_deepest_tap():
    """Weights behind the deepest tap are neither asked for nor multiplied."""
    state = reference.random_vgg("torchvision", 2)
    assert list(VGG(13, ("conv1_2",), source="torchvision", state=state)(torch.zeros(1, 3, 8, 8))) == ["conv1_2"]
    with pytest.raises(WrongWeights, match="features.5.weight"):
        VGG(13, ("conv2_1",), source="torchvision", state=state)
    with pytest.raises(WrongWeights, match="shape"):
        VGG(7, ("conv1_2",), state={**reference.random_vgg("keras", 2), "conv1_2.weight": torch.zeros(64, 3, 3, 3)})


@pytest.mark.parametrize(
    ("make_it", "match"),
    [
        (lambda: VGG(0), "1 to 13"),
        (lambda: VGG(14), "1 to 13"),
        (lambda: VGG(7, ("conv4_1",)), "conv4_1"),
        (lambda: VGG(7, ()), "taps"),
        (lambda: VGG(13, ("conv5_1",), source="keras"), "conv3_3"),
        (lambda: VGG(7, source="caffe"), "caffe"),
        (lambda: MobileNetV2(("block_17",)), "block_17"),
    ],
)
def test_impossible_backbones_are_refused(make_it, match):
    with pytest.raises(BadInput, match=match):
        make_it()


def test_frozen_networks_thaw():
    parent = nn.Sequential(VGG(1, ("conv1_1",), state=reference.random_vgg("keras", 1)), nn.Conv2d(1, 1, 1))
    parent.train()
    vgg = parent[0]
    assert not vgg.training and parent[1].training
    assert [n for n, _ in parent.named_parameters()] == ["1.weight", "1.bias"] == list(parent.state_dict())
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    vgg(x)["conv1_1"].sum().backward()
    assert x.grad.abs().sum() > 0 and not vgg.conv1_1_weight.requires_grad
    assert vgg.double()(x.double())["conv1_1"].dtype == torch.float64  # the weights follow .to


def test_every_known_file_is_pinned():
    for name, w in weights.KNOWN.items():
        assert w.name == name and w.about and set(w.sha256) <= set("0123456789abcdef")
        if len(w.sha256) != 64:  # a published prefix, which is part of the published name
            assert len(w.sha256) == 8 and w.file.endswith(f"-{w.sha256}.pth") and w.url.endswith("/" + w.file)
    assert len({w.file for w in weights.KNOWN.values()}) == len(weights.KNOWN)


@trained
def test_files_at_hand_are_the_pinned_ones():
    for name in ("vgg16-keras", "mobilenet-v2-keras", "lpips-alex", "lpips-squeeze", "lpips-vgg"):
        assert load(name)


def test_missing_weights_say_where_and_how(nowhere):
    with pytest.raises(MissingWeights) as error:
        load("vgg16-torchvision", nowhere)
    said = str(error.value)
    assert "vgg16-397923af.pth" in said and str(nowhere) in said and "https://" in said and "\n" not in said
    with pytest.raises(MissingWeights, match="INTAGLIO_WEIGHTS"):
        VGG()
    with pytest.raises(BadInput, match="vgg16-keras"):
        load("vgg19")


def test_the_nearest_folder_wins(nowhere, monkeypatch):
    path = make(nowhere, monkeypatch)
    places = [nowhere / "given", nowhere / "variable", weights.cache()]
    monkeypatch.setenv("INTAGLIO_WEIGHTS", str(places[1]))
    for place in reversed(places):
        place.mkdir(parents=True)
        (place / path.name).write_bytes(path.read_bytes())
        assert find("thing", places[0]) == place / path.name
    assert find("thing", path) == path  # a file stands for itself
    assert torch.equal(load("thing", path)["a"], torch.arange(3.0))


@pytest.mark.parametrize("digits", [64, 8])
def test_another_file_under_the_name_is_refused(nowhere, monkeypatch, digits):
    path = make(nowhere, monkeypatch, digits=digits)
    assert load("thing", path.parent)
    save_file({"a": torch.arange(3.0) + 1}, path)
    with pytest.raises(WrongWeights, match="SHA-256"):
        load("thing", path.parent)


def test_unreadable_weights_are_told_in_a_sentence(nowhere, monkeypatch):
    path = make(nowhere, monkeypatch, content=b"not safetensors")
    with pytest.raises(WrongWeights, match="cannot be read"):
        load("thing", path)


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_pickled_code_does_not_run(nowhere, monkeypatch):
    mark = nowhere / "ran"
    content = pickle.dumps({"a": Trap(mark)}, 2)
    path = make(nowhere, monkeypatch, "thing.pth", content=content)
    with pytest.raises(WrongWeights):
        load("thing", path)
    torch.save({"a": Trap(mark)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(weights.KNOWN, "thing", Weights("thing", path.name, digest, "", "a test"))
    with pytest.raises(WrongWeights):
        load("thing", path)
    assert not mark.exists()


def test_official_files_are_read(nowhere, monkeypatch):
    path = make(nowhere, monkeypatch, "thing.pth", content=b"")
    torch.save({"features.0.weight": torch.ones(2)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(weights.KNOWN, "thing", Weights("thing", path.name, digest, "", "a test"))
    assert torch.equal(load("thing", path)["features.0.weight"], torch.ones(2))


def test_downloads_leave_half_a_file(nowhere, monkeypatch):
    source = make(nowhere, monkeypatch)
    folder = nowhere / "deep" / "folder"
    path = fetch("thing", folder)
    assert path.read_bytes() == source.read_bytes() and [p.name for p in folder.iterdir()] == [source.name]
    source.unlink()
    assert fetch("thing", folder) == path  # the right file is there: nothing is downloaded
    assert torch.equal(load("thing", folder)["a"], torch.arange(3.0))
    path.unlink()
    with pytest.raises(MissingWeights, match="cannot download"):
        fetch("thing", folder)
    source.write_bytes(b"something else")
    with pytest.raises(WrongWeights, match="SHA-256"):
        fetch("thing", folder)
    assert list(folder.iterdir()) == []
    with pytest.raises(MissingWeights, match="no public address"):
        fetch("vgg16-keras", folder)


def test_downloads_go_to_the_cache(nowhere, monkeypatch):
    make(nowhere, monkeypatch)
    assert fetch("thing").parent == weights.cache()
    assert find("thing").parent == weights.cache()
