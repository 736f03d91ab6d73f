"""Hazards: the network behind FID, KID and Inception Score is another than the published file's; other weights are
taken for it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from intaglio.nn.backbones.inception import Inception
from intaglio.nn.backbones.inception_full import CLASSES, InceptionFull, shapes
from intaglio.nn.backbones.weights import MissingWeights, WrongWeights, find

A = (("branch1x1", 64, 1), ("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5), ("branch3x3dbl_1", 64, 1),
     ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3))  # fmt: skip
E = (("branch1x1", 320, 1), ("branch3x3_1", 384, 1), ("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1)),
     ("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3), ("branch3x3dbl_3a", 384, (1, 3)),
     ("branch3x3dbl_3b", 384, (3, 1)), ("branch_pool", 192, 1))  # fmt: skip


def c(n):
    return (("branch1x1", 192, 1), ("branch7x7_1", n, 1), ("branch7x7_2", n, (1, 7)), ("branch7x7_3", 192, (7, 1)),
            ("branch7x7dbl_1", n, 1), ("branch7x7dbl_2", n, (7, 1)), ("branch7x7dbl_3", n, (1, 7)),
            ("branch7x7dbl_4", n, (7, 1)), ("branch7x7dbl_5", 192, (1, 7)), ("branch_pool", 192, 1))  # fmt: skip


TABLE = {  # of the torchvision project's class, with the pooled branch of FID's: name, channels, kernel
    "Mixed_5b": (*A, ("branch_pool", 32, 1)),
    "Mixed_5c": (*A, ("branch_pool", 64, 1)),
    "Mixed_5d": (*A, ("branch_pool", 64, 1)),
    "Mixed_6a": (("branch3x3", 384, 3), *A[3:]),
    "Mixed_6b": c(128),
    "Mixed_6c": c(160),
    "Mixed_6d": c(160),
    "Mixed_6e": c(192),
    "Mixed_7a": (("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3), ("branch7x7x3_1", 192, 1),
                 ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)), ("branch7x7x3_4", 192, 3)),
    "Mixed_7b": E,
    "Mixed_7c": E,
}  # fmt: skip


class Net(nn.Module):
    """The network as a graph of convolutions and batch norms, made as it runs: the first run draws the weights."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)
        self.state = {}

    def conv(self, x, name, channels, kernel, stride=1, padding=0):
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        if f"{name}.conv.weight" not in self.state:
            fan = x.shape[1] * kernel[0] * kernel[1]

            def draw(*shape):
                return torch.rand(*shape, generator=self.generator, dtype=torch.float64)

            self.state[f"{name}.conv.weight"] = (draw(channels, x.shape[1], *kernel) - 0.47) * (12 / fan) ** 0.5
            self.state[f"{name}.bn.weight"] = 0.5 + draw(channels)
            self.state[f"{name}.bn.bias"] = draw(channels) - 0.3
            self.state[f"{name}.bn.running_mean"] = draw(channels) - 0.5
            self.state[f"{name}.bn.running_var"] = 0.5 + draw(channels)
            self.state[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)
        x = F.conv2d(x, self.state[f"{name}.conv.weight"], None, stride, padding)
        norm = (self.state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(x, *norm, eps=0.001))

    def forward(self, x):
        """(batch, 3, h, w) in -1..1 to (batch, 2048) and (batch, 1008)."""
        x = self.conv(x, "Conv2d_1a_3x3", 32, 3, 2)
        x = self.conv(x, "Conv2d_2a_3x3", 32, 3)
        x = F.max_pool2d(self.conv(x, "Conv2d_2b_3x3", 64, 3, padding=1), 3, 2)
        x = self.conv(x, "Conv2d_3b_1x1", 80, 1)
        x = F.max_pool2d(self.conv(x, "Conv2d_4a_3x3", 192, 3), 3, 2)
        for block, layers in TABLE.items():
            halves = block in ("Mixed_6a", "Mixed_7a")
            out, ends = {}, []
            for name, channels, kernel in layers:
                stem, _, step = name.rpartition("_")
                if name == "branch_pool":
                    inside = F.max_pool2d(x, 3, 1, 1) if block == "Mixed_7c" else F.avg_pool2d(
                        x, 3, 1, 1, count_include_pad=False
                    )  # fmt: skip
                elif step[:1].isdigit() and step[0] != "1":
                    inside = out[f"{stem}_{int(step[0]) - 1}"]
                else:
                    inside = x
                last = name in ("branch3x3", "branch3x3dbl_3", "branch3x3_2", "branch7x7x3_4")
                if halves and last:
                    out[name] = self.conv(inside, f"{block}.{name}", channels, kernel, 2)
                else:
                    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
                    padding = (rows // 2, columns // 2)
                    out[name] = self.conv(inside, f"{block}.{name}", channels, kernel, 1, padding)
            for name in out:  # what no other convolution of the block takes up, in order
                stem, _, step = name.rpartition("_")
                follows = step[:1].isdigit() and any(other.startswith(f"{stem}_{int(step[0]) + 1}") for other in out)
                if not follows:
                    ends.append(out[name])
            x = torch.cat([*ends, F.max_pool2d(x, 3, 2)] if halves else ends, 1)
        x = x.mean((2, 3))
        if "fc.weight" not in self.state:
            self.state["fc.weight"] = torch.randn(1008, 2048, generator=self.generator, dtype=torch.float64) / 45
            self.state["fc.bias"] = torch.randn(1008, generator=self.generator, dtype=torch.float64)
        return x, F.linear(x, self.state["fc.weight"], self.state["fc.bias"])


@pytest.fixture(scope="module")
def drawn():
    """A picture in -1..1, the features and logits it should give, and the weights they were made with."""
    net = Net()
    x = torch.rand(1, 3, 107, 91, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        features, logits = net(x)
    return x, features, logits, net.state


def test_it_is_the_network_by_its_table(drawn):
    x, features, logits, state = drawn
    network = InceptionFull(state=state)
    with torch.no_grad():
        ours = network.pooled(x.float())
        assert ours.shape == (1, 2048) and features.std() > 0.1
        assert (ours - features).abs().max() < 1e-4 * features.abs().max()
        assert (network.logits(ours) - logits).abs().max() < 1e-3 * logits.abs().max()
        without = network.logits(ours, bias=False) + state["fc.bias"]
        assert (without - logits).abs().max() < 1e-3 * logits.abs().max()


def test_the_file_is_described_as_published(drawn):
    """The published file has 566 entries and the torchvision project's class 23 850 960 parameters with 1008 classes:
    its documented 27 161 264, less 3 326 696 of the auxiliary classifier, with 8 * 2049 for the additional classes."""
    state, found = drawn[3], shapes()
    assert len(state) == 566 and len(found) == 94
    assert {f"{name}.conv.weight" for name in found} == {name for name in state if name.endswith("conv.weight")}
    assert all(state[f"{name}.conv.weight"].shape == shape for name, shape in found.items())
    parameters = sum(out * into * rows * columns + 2 * out for out, into, rows, columns in found.values())
    assert parameters + CLASSES * 2049 == 27_161_264 - 3_326_696 + 8 * 2049


def test_pictures_are_fed_as_pytorch_fid_feeds_them(drawn):
    network = InceptionFull(state=drawn[3])
    fed = []
    network.pooled = lambda x: fed.append(x) or x.mean((2, 3))
    x = torch.rand(2, 3, 40, 56) * 255
    network(x)
    expected = 2 * F.interpolate(x / 255, size=(299, 299), mode="bilinear", align_corners=False) - 1
    assert torch.allclose(fed[0], expected, atol=1e-5)


def test_other_weights_are_refused(drawn, tmp_path, monkeypatch):
    state = drawn[3]
    for name in ("Mixed_7c.branch3x3dbl_3b.bn.running_var", "Conv2d_1a_3x3.conv.weight", "fc.bias"):
        with pytest.raises(WrongWeights, match=name):
            InceptionFull(state={k: v for k, v in state.items() if k != name})
    for name, bad in (("Mixed_7b.branch_pool.conv.weight", (192, 1280, 3, 3)), ("fc.weight", (1000, 2048))):
        with pytest.raises(WrongWeights, match="shape"):
            InceptionFull(state={**state, name: torch.zeros(bad)})
    for variable in ("HOME", "USERPROFILE", "INTAGLIO_WEIGHTS"):
        monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(MissingWeights, match=r"mseitzer/pytorch-fid/releases.*6726825d\.pth"):
        InceptionFull()
    (tmp_path / "pt_inception-2015-12-05-6726825d.pth").write_bytes(b"something else")
    with pytest.raises(WrongWeights, match="SHA-256"):
        InceptionFull()


def test_the_published_file_has_the_trunk_at_hand():
    """Where both files are at hand: one network, from two conversions of TensorFlow's graph."""
    try:
        find("inception-v3-fid-full"), find("inception-v3-fid")
    except MissingWeights as missing:
        pytest.skip(str(missing))
    x = torch.rand(1, 3, 75, 75) * 2 - 1
    with torch.no_grad():
        ours, theirs = InceptionFull().trunk.mixed_7(x), Inception().mixed_7(x)
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()


def test_it_is_never_trained(drawn):
    network = nn.Sequential(InceptionFull(state=drawn[3])).train()
    assert not network[0].training and not list(network.parameters()) and not network.state_dict()
