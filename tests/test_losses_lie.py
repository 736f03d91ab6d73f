"""Hazards: a loss computes something else than its docstring says; its gradient is not finite where pictures are equal
or where they have nothing in common; autocast or torch.compile change it; a rate misses its target."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import reference_networks as reference
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from intaglio.errors import BadInput
from intaglio.losses.charbonnier import Charbonnier
from intaglio.losses.features import FeatureDistance, distance
from intaglio.losses.l1 import L1
from intaglio.losses.lpips import LPIPS, _unit
from intaglio.losses.mobilenet import MobileNetDistance
from intaglio.losses.ms_ssim import MSSSIM, WEIGHTS, scales
from intaglio.losses.mse import MSE
from intaglio.losses.rate import bits_per_pixel
from intaglio.losses.rate_target import RateTarget
from intaglio.losses.vgg import VGGDistance
from intaglio.losses.wasserstein import WassersteinDistortion, halve, level, statistics
from intaglio.metrics import fidelity
from intaglio.nn.backbones.weights import MissingWeights

PHOTO = Path(__file__).parent.parent / "examples" / "dog.webp"


@pytest.fixture(scope="module")
def photo():
    return np.asarray(Image.open(PHOTO).convert("RGB"))[100:292, 100:300]


def jpeg(a, quality):
    file = io.BytesIO()
    Image.fromarray(a).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def batch(*pictures):
    return torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1).float() for p in pictures])


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 255


class Edges(nn.Module):
    """A backbone of two taps that can be done by hand; it notes whether it was asked for a graph."""

    def __init__(self):
        super().__init__()
        self.graphs = []

    def forward(self, x):
        self.graphs.append(torch.is_grad_enabled())
        return {"fine": x[..., 1:] - x[..., :-1], "coarse": F.avg_pool2d(x, 2)}


def pictures_losses():
    """Every picture loss, on small random networks where it needs one."""
    vgg = VGGDistance(("conv1_1", "conv2_1"), state=reference.random_vgg("keras", 3))
    heads = reference.random_heads((64, 128, 256, 384, 384, 512, 512))
    return {
        "l1": L1(),
        "mse": MSE(),
        "charbonnier": Charbonnier(),
        "ms-ssim": MSSSIM(),
        "vgg": vgg,
        "mobilenet": MobileNetDistance(("block_0", "block_2"), state=reference.random_mobilenet()),
        "lpips": LPIPS("squeeze", trunk=reference.random_squeezenet(), heads=heads),
        "wasserstein": WassersteinDistortion(vgg.backbone),
    }


LOSSES = pictures_losses()


@pytest.mark.parametrize("name", LOSSES)
def test_equal_pictures_are_the_best_and_have_a_gradient(name):
    """Also where they are flat, which is where roots and ratios go wrong."""
    loss = LOSSES[name]
    x = torch.cat([noise(1, 3, 40, 48), torch.zeros(1, 3, 40, 48), torch.full((1, 3, 40, 48), 255.0)])
    x_hat = x.clone().requires_grad_()
    value = loss(x_hat, x)
    assert value.shape == (3,) and value.dtype == torch.float32
    best = 0.255 if name == "charbonnier" else 0.0
    assert value.detach().numpy() == pytest.approx(best, abs=1e-6)
    value.sum().backward()
    assert torch.isfinite(x_hat.grad).all()
    other = loss(x + 20 * torch.sign(noise(3, 3, 40, 48, seed=1) - 128), x)
    assert (other > best + 1e-3).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_against_the_gradient_helps_every_picture(name):
    x = noise(2, 3, 40, 48, seed=2)
    x_hat = x + torch.tensor([10.0, 60.0]).view(2, 1, 1, 1) * torch.sign(noise(2, 3, 40, 48, seed=3) - 128)
    x_hat.requires_grad_()
    before = LOSSES[name](x_hat, x)
    (slope,) = torch.autograd.grad(before.sum(), x_hat)
    step = slope / slope.square().mean((1, 2, 3), keepdim=True).sqrt()
    with torch.no_grad():
        assert (LOSSES[name](x_hat - 0.5 * step, x) < before).all()
        alone = LOSSES[name](x_hat[1:], x[1:])  # no picture sees another
    assert alone.item() == pytest.approx(before[1].item(), rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_changes_a_loss(name):
    x = noise(2, 3, 40, 48, seed=4)
    x_hat = (x + 20 * torch.sign(noise(2, 3, 40, 48, seed=5) - 128)).requires_grad_()
    plain = LOSSES[name](x_hat, x)
    with torch.autocast("cpu", torch.bfloat16):
        cast = LOSSES[name](x_hat, x)
    assert cast.dtype == torch.float32
    exact = name in ("l1", "mse", "charbonnier", "ms-ssim")  # the others go through a network in bfloat16
    assert cast.detach().numpy() == pytest.approx(plain.detach().numpy(), rel=1e-6 if exact else 0.03)
    cast.sum().backward()
    assert torch.isfinite(x_hat.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_breaks_the_compiled_graph(name):
    x, x_hat = noise(2, 3, 40, 48, seed=6), noise(2, 3, 40, 48, seed=7)
    torch.compiler.reset()
    compiled = torch.compile(LOSSES[name], backend="eager", fullgraph=True)
    assert compiled(x_hat, x).numpy() == pytest.approx(LOSSES[name](x_hat, x).numpy(), rel=1e-5)


def test_pixel_losses_are_the_closed_forms(photo):
    x = noise(2, 3, 4, 6)
    error = torch.tensor([3.0, -4.0]).view(2, 1, 1, 1)
    assert L1()(x + error, x).numpy() == pytest.approx([3, 4], rel=1e-4)
    assert MSE()(x + error, x).numpy() == pytest.approx([9, 16], rel=1e-4)
    assert Charbonnier(4.0)(x + error, x).numpy() == pytest.approx([5, math.sqrt(32)], rel=1e-4)
    other = jpeg(photo, 20)
    assert MSE()(batch(other), batch(photo)).item() == pytest.approx(fidelity.mse(other, photo), rel=1e-5)
    for epsilon in (0, -1, math.nan):
        with pytest.raises(BadInput, match="epsilon"):
            Charbonnier(epsilon)


def test_ms_ssim_is_the_metric(photo):
    others = [jpeg(photo, q) for q in (95, 50, 5)] + [photo // 4 + 90]
    ours = 1 - MSSSIM()(batch(*others), batch(*[photo] * len(others)))
    theirs = [fidelity.ms_ssim(o, photo) for o in others]
    assert ours.numpy() == pytest.approx(theirs, abs=1e-4)
    assert np.ptp(theirs) > 0.2


def test_ms_ssim_of_small_pictures(photo):
    """One scale is SSIM, as scikit-image has it; between one and five, the first weights over their sum."""
    from skimage.metrics import structural_similarity

    assert [scales(s) for s in (10, 11, 21, 22, 43, 44, 87, 88, 175, 176, 4000)] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    a, b = jpeg(photo, 10)[:20, :40], photo[:20, :40]
    options = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = np.mean([structural_similarity(a[:, :, c], b[:, :, c], **options) for c in range(3)])
    assert 1 - MSSSIM()(batch(a), batch(b)).item() == pytest.approx(theirs, abs=1e-5)
    a, b = jpeg(photo, 10)[:40, :60], photo[:40, :60]
    score = np.ones(3)
    x, y = fidelity._planes(a), fidelity._planes(b)
    for weight in (WEIGHTS[0], WEIGHTS[1]):
        terms = fidelity._terms(x, y)[0 if weight == WEIGHTS[0] else 1]
        score *= terms.numpy() ** (weight / (WEIGHTS[0] + WEIGHTS[1]))
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    assert 1 - MSSSIM()(batch(a), batch(b)).item() == pytest.approx(score.mean(), abs=1e-5)
    with pytest.raises(BadInput, match="11"):
        MSSSIM()(torch.zeros(1, 3, 10, 40), torch.zeros(1, 3, 10, 40))


def test_ms_ssim_teaches_nothing_about_a_negative(photo):
    """The metric clips negative structure to 0 there; the loss must still lead out."""
    x = batch(photo)
    x_hat = (255 - x).requires_grad_()
    before = MSSSIM()(x_hat, x)
    before.backward()
    assert fidelity.ms_ssim(255 - photo, photo) == 0 and 0.5 < before.item() < 1
    assert torch.isfinite(x_hat.grad).all()
    for _ in range(60):  # two grey levels a step
        with torch.no_grad():
            x_hat -= 2 * x_hat.grad.sign()
        x_hat.grad = None
        after = MSSSIM()(x_hat, x)
        after.backward()
    assert after < before - 0.1


def test_feature_distances_are_the_closed_forms():
    """Features that differ by known amounts: 2 everywhere at one tap, -3 in half of the values at the other."""
    one, two = torch.full((2, 4, 5, 6), 10.0), torch.full((2, 2, 3, 4), 6.0)
    reference_, hat = {"one": one, "two": two}, {"one": one + 2, "two": two.clone()}
    hat["two"][:, 0] -= 3
    for kind, first, second in (("squared", 4, 4.5), ("absolute", 2, 1.5), ("relative", 4 / 100, 4.5 / 36)):
        assert distance(kind, hat, reference_).tolist() == pytest.approx([first + second] * 2)
        weighted = distance(kind, hat, reference_, {"two": 10.0})
        assert weighted.tolist() == pytest.approx([first + 10 * second] * 2)
    with pytest.raises(BadInput, match="three"):
        distance("squared", hat, reference_, {"three": 1.0})
    with pytest.raises(BadInput, match="cubed"):
        distance("cubed", hat, reference_)


def test_vgg_distance_is_the_papers():
    """Means over the taps of squared differences, each weighted; features from the NumPy network."""
    state = reference.random_vgg("keras", 7)
    a, b = noise(1, 3, 16, 20), noise(1, 3, 16, 20, seed=1)
    theirs = [reference.vgg(p[0].numpy(), state, "keras", 7) for p in (a, b)]
    squared = [((theirs[0][i] - theirs[1][i]) ** 2).mean() for i in (1, 3, 6)]
    assert VGGDistance(state=state)(a, b).item() == pytest.approx(sum(squared), rel=1e-4)
    weighted = VGGDistance(state=state, weights={"conv1_2": 0.5, "conv2_2": 2, "conv3_3": 0})(a, b).item()
    assert weighted == pytest.approx(0.5 * squared[0] + 2 * squared[1], rel=1e-4)
    with pytest.raises(BadInput, match="conv5_3"):
        VGGDistance(("conv5_3",), state=state)  # behind the twelfth convolution
    state, energies = reference.random_mobilenet(), []
    theirs = [reference.mobilenet(p[0].numpy(), state) for p in (a, b)]
    for i in (0, 2, 5, 12, 16):
        energies.append(((theirs[0][i] - theirs[1][i]) ** 2).mean() / (theirs[1][i] ** 2).mean())
    assert MobileNetDistance(state=state)(a, b).item() == pytest.approx(sum(energies), rel=1e-3)


@pytest.mark.parametrize(
    "make", [WassersteinDistortion, lambda b: FeatureDistance(b, "squared")], ids=["wasserstein", "features"]
)
def test_the_originals_graph_is_paid_for(make):
    backbone = Edges()
    x_hat, x = noise(1, 3, 8, 8).requires_grad_(), noise(1, 3, 8, 8, seed=1).requires_grad_()
    make(backbone)(x_hat, x).backward()
    assert backbone.graphs == [False, True]
    assert x.grad is None and x_hat.grad.abs().sum() > 0


@pytest.mark.parametrize("net", ["alex", "squeeze", "vgg"])
def test_lpips_is_the_papers(net):
    """The arithmetic on random weights, against NumPy."""
    channels = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
    heads = reference.random_heads(channels.get(net, (64, 128, 256, 384, 384, 512, 512)))
    a, b = noise(1, 3, 39, 47), noise(1, 3, 39, 47, seed=1)
    if net == "vgg":
        a, b, trunk = a[..., :20, :32], b[..., :20, :32], reference.random_vgg("torchvision", 13)
        features = [
            [reference.vgg(p[0].numpy(), trunk, "torchvision", 13)[i] for i in (1, 3, 6, 9, 12)] for p in (a, b)
        ]
    else:
        trunk = getattr(reference, {"alex": "random_alexnet", "squeeze": "random_squeezenet"}[net])()
        network = getattr(reference, f"{net}net" if net == "alex" else "squeezenet")
        features = [network(p[0].numpy(), trunk) for p in (a, b)]
    ours = LPIPS(net, trunk=trunk, heads=heads)(a, b).item()
    assert ours == pytest.approx(reference.lpips(*features, heads), rel=1e-4)
    assert ours > 0.1


def test_lpips_where_a_network_sees_nothing():
    """Features that are all 0 at a place have no direction; nor may they have a gradient that is not a number."""
    features = torch.tensor([[0.0, 3.0], [0.0, -4.0]]).view(1, 2, 1, 2).requires_grad_()
    unit = _unit(features)
    assert unit.flatten().tolist() == pytest.approx([0, 0.6, 0, -0.8])
    unit[:, 0].sum().backward()
    assert torch.isfinite(features.grad).all()


def test_lpips_without_its_networks_is_no_lpips(tmp_path, monkeypatch):
    monkeypatch.delenv("INTAGLIO_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for net, file in (("alex", "alexnet-owt"), ("squeeze", "squeezenet1_1"), ("vgg", "vgg16-397923af")):
        with pytest.raises(MissingWeights, match=file):
            LPIPS(net)
    with pytest.raises(MissingWeights, match="lpips_v0.1_alex"):
        LPIPS("alex", trunk=reference.random_alexnet())
    with pytest.raises(BadInput, match="resnet"):
        LPIPS("resnet")


def test_wasserstein_windows_have_their_size():
    """The response to one bright place has the variance that the docstring gives, and `level` inverts it."""
    for n, side in ((1, 64), (2, 64), (3, 128)):
        moment, total = 0.0, 0.0
        for at in range(side // 2, side // 2 + 2**n):  # over all phases, since every level is decimated
            x = torch.zeros(1, 1, side, 1)
            x[0, 0, at] = 1
            mean = statistics(x, n)[-1][0][0, 0, :, 0]
            places = (torch.arange(len(mean)) + 0.5) * 2**n - 0.5
            moment += float((mean * (places - at).square()).sum())
            total += float(mean.sum())
        assert moment / total == pytest.approx((4**n - 1) / 4)
        assert level(math.sqrt((4**n - 1) / 4)) == pytest.approx(n)
        assert level(8 * math.sqrt((4**n - 1) / 4), stride=8) == pytest.approx(n)
    for side in (1, 2, 3, 7, 8):
        assert halve(torch.ones(2, 3, side, side)).tolist() == torch.ones(2, 3, -(-side // 2), -(-side // 2)).tolist()


def test_wasserstein_statistics_are_those_of_gaussians():
    """A checkerboard has mean 0 and its amplitude as standard deviation, whichever squares are the bright ones."""
    board = torch.ones(1, 1, 32, 32)
    board[..., ::2] *= -1
    board[..., ::2, :] *= -1
    for factor, shift in ((3.0, 0.0), (-3.0, 5.0)):
        for mean, variance in statistics(factor * board + shift, 3)[:2]:
            inner = (..., slice(2, -2), slice(2, -2))
            assert torch.allclose(mean[inner], torch.tensor(shift), atol=1e-5)
            assert torch.allclose(variance[inner], torch.tensor(9.0), atol=1e-4)


def test_wasserstein_goes_from_fidelity_to_realism():
    a, b = noise(1, 4, 64, 64), noise(1, 4, 64, 64, seed=1)
    other_texture = 127.5 + 0.5 * (noise(1, 4, 64, 64, seed=2) - 127.5)

    def d(x, y, *sigmas):
        return WassersteinDistortion(sigmas=sigmas).on({"a": x}, {"a": y}, 64).item()

    assert d(a, b, 0.0) == pytest.approx((a - b).square().mean().item(), rel=1e-5)  # squared error
    for sigma in (0.0, 1.0, 3.0, 1e6):
        assert d(a + 7, a, sigma) == pytest.approx(49, rel=1e-3)  # a shift in the mean is one at every sigma
    assert d(a, b, 8.0) < d(a, b, 2.0) < d(a, b, 0.0) / 4  # the same texture elsewhere: alike from afar
    spread = 255 / math.sqrt(12)
    assert d(other_texture, a, 8.0) == pytest.approx((spread / 2) ** 2, rel=0.1)  # another spread: never alike
    assert d(other_texture, a, 8.0) > 5 * d(a, b, 8.0)
    assert d(a, b, 0.0, 2.0, 8.0) == pytest.approx((d(a, b, 0.0) + d(a, b, 2.0) + d(a, b, 8.0)) / 3, rel=1e-5)


def test_wasserstein_sigma_maps():
    a, b = noise(2, 4, 32, 32), noise(2, 4, 32, 32, seed=1)
    features = ({"a": a, "b": halve(a)}, {"a": b, "b": halve(b)})
    for sigma in (0.0, 0.5, 2.0, 5.0):
        flat = WassersteinDistortion(sigmas=(sigma,)).on(*features, 32)
        mapped = WassersteinDistortion().on(*features, 32, torch.full((1, 1, 32, 32), sigma))
        assert mapped.tolist() == pytest.approx(flat.tolist(), rel=1e-4)
    sigma = torch.zeros(1, 1, 32, 32)
    sigma[..., 16:] = 1e3  # fidelity left, realism right: an exchange of texture on the right is cheap
    mixed, loss = a.clone(), WassersteinDistortion()
    mixed[..., 20:] = b[..., 20:]
    right = loss.on({"a": mixed}, {"a": a}, 32, sigma)
    left = loss.on({"a": mixed.flip(3)}, {"a": a.flip(3)}, 32, sigma)
    assert (right < left / 10).all()


def test_wasserstein_statistics_lose_digits_to_autocast():
    """A small spread around a large mean, which bfloat16 would round away."""
    a, b = (200 + noise(1, 2, 32, 32, seed=s) / 100 for s in (0, 1))
    loss = WassersteinDistortion(sigmas=(4.0,))
    with torch.autocast("cpu", torch.bfloat16):
        cast = loss.on({"a": a}, {"a": b}, 32)
    assert cast.item() == loss.on({"a": a}, {"a": b}, 32).item()
    spread = torch.sqrt(statistics(a, 3)[2][1])[..., 1:-1, 1:-1]
    assert spread.numpy() == pytest.approx(2.55 / math.sqrt(12), rel=0.4)


def test_wasserstein_arguments():
    one = {"a": torch.ones(1, 2, 1, 1)}
    assert WassersteinDistortion().on({"a": 3 * one["a"]}, one, 16).item() == pytest.approx(4)  # a single place
    with pytest.raises(BadInput, match="sigmas"):
        WassersteinDistortion(sigmas=())
    with pytest.raises(BadInput, match="sigmas"):
        WassersteinDistortion(sigmas=(-1.0,))
    with pytest.raises(BadInput, match="floor"):
        WassersteinDistortion(floor=0)
    with pytest.raises(BadInput, match="backbone"):
        WassersteinDistortion()(noise(1, 3, 8, 8), noise(1, 3, 8, 8))
    with pytest.raises(BadInput, match="b"):
        WassersteinDistortion(weights={"b": 1.0}).on(one, one, 16)


def test_bits_per_pixel():
    assert bits_per_pixel(torch.tensor([512.0, 64.0]), 8 * 16).tolist() == [4.0, 0.5]
    with pytest.raises(BadInput, match="pixels"):
        bits_per_pixel(torch.ones(1), 0)


def test_rate_target_switches_at_the_target():
    control = RateTarget(0.3, above=8.0, below=0.125)
    for rates, weight in (([0.2, 0.3], 0.125), ([0.3, 0.3], 0.125), ([0.3, 0.32], 8.0), ([0.1, 0.6], 8.0)):
        bpp = torch.tensor(rates, requires_grad=True)
        said = control(bpp)
        assert said.item() == weight and said.shape == () and not said.requires_grad
    control.target = 0.4  # a schedule
    assert control(torch.tensor([0.39])).item() == 0.125
    for wrong in ((0, 1, 0), (0.3, 1, 2), (0.3, 1, -1), (0.3, math.nan, 0), (math.nan, 1, 0)):
        with pytest.raises(BadInput, match="rate target"):
            RateTarget(*wrong)


@pytest.mark.parametrize("distortion", [0.3, 3.0])
def test_rate_target_is_missed(distortion):
    """Distortion d / r against weight * r, by gradient steps on log r, from far above and far below the target."""
    for start in (2.0, 0.05):
        control = RateTarget(0.5, above=100.0, below=0.01)
        log_rate = torch.tensor(math.log(start), requires_grad=True)
        seen = []
        for _ in range(400):
            rate = log_rate.exp()
            loss = control(rate[None]) * rate + distortion / rate
            (slope,) = torch.autograd.grad(loss, log_rate)
            with torch.no_grad():
                log_rate -= 0.02 * slope.clamp(-1, 1)
            seen.append(rate.item())
        assert np.mean(seen[200:]) == pytest.approx(0.5, rel=0.05)
        assert max(seen[200:]) < 0.6 and min(seen[200:]) > 0.4
