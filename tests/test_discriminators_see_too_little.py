"""Hazards: a discriminator fails on odd sizes, ignores its latent, or judges other patches than it says."""

import pytest
import torch
from running_discriminators import ALL, M, latent_of
from textures import Eyes, blurred, textures

from intaglio.errors import BadInput
from intaglio.nn.discriminators.global_local import GlobalLocal, starts
from intaglio.nn.discriminators.multiscale import MultiScale
from intaglio.nn.discriminators.patch import Patch, contrast, receptive_field
from intaglio.nn.discriminators.projected import Projected
from intaglio.nn.discriminators.unet import UNet
from intaglio.nn.normalise import KINDS


@ALL
@pytest.mark.parametrize("size", [(64, 64), (65, 97), (80, 130)])
def test_any_size_gives_finite_maps_and_slopes(make, size):
    torch.manual_seed(0)
    d = make(M)
    for x in (torch.rand(2, 3, *size) * 255, torch.full((2, 3, *size), 255.0)):
        x.requires_grad_()
        judged = d(x, latent_of(x))
        assert all(v.shape[:2] == (2, 1) for v in judged.logits) and all(len(f) == 2 for f in judged.features)
        sum(v.mean() for v in judged.logits).backward()
        assert torch.isfinite(x.grad).all() and x.grad.abs().amax(0).amax(0).amin() > 0  # every pixel is looked at
    assert len({f.data_ptr() for f in judged.features}) == len(judged.features) >= 2


@ALL
def test_the_latent_decides_too(make):
    torch.manual_seed(0)
    d = make(M).eval()
    x = torch.rand(1, 3, 64, 64) * 255
    one, other = d(x, latent_of(x)), d(x, latent_of(x, 1))
    assert all((a - b).abs().max() > 1e-6 for a, b in zip(one.logits, other.logits, strict=True))
    for wrong in (None, torch.zeros(1, M + 1, 4, 4)):
        with pytest.raises(BadInput, match=f"latent of {M} channels"):
            d(x, wrong)
    free = make(0).eval()
    assert all(map(torch.equal, free(x).logits, free(x, latent_of(x)).logits))


def test_a_latent_lies_on_its_own_pixels():
    torch.manual_seed(0)
    entry = Patch(M, 8, 1).eval().entry
    x = torch.rand(1, 3, 70, 90) * 255
    a, b = latent_of(x), latent_of(x)
    b[:, :, 0, 5] += 1
    moved = (entry(x, a) - entry(x, b)).abs().amax((0, 1)) > 0
    rows, columns = moved.any(1).nonzero()[:, 0], moved.any(0).nonzero()[:, 0]
    # through the 3x3 convolution: the latent's own 16 pixels and its neighbours', up to the border
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 31, 64, 89)
    with pytest.raises(BadInput, match="covers no picture"):
        entry(x, a[:, :, :4])


@pytest.mark.parametrize("layers, side", [(1, 16), (2, 34), (3, 70)])
def test_a_logit_judges_the_patch_that_it_says(layers, side):
    torch.manual_seed(0)
    assert receptive_field(layers) == side
    for detail, reach in ((False, 0), (True, 12)):  # contrast looks 2 + 4 pixels further each way
        x = torch.rand(1, 3, 128, 128).mul(255).requires_grad_()
        v = Patch(0, 4, layers, norm="none", detail=detail)(x).logits[0]
        assert v.shape[2:] == (128 >> layers, 128 >> layers)
        v[0, 0, v.shape[2] // 2, v.shape[3] // 2].backward()
        seen = x.grad.abs().amax((0, 1)) > 0
        assert int(seen.any(1).sum()) == int(seen.any(0).sum()) == side + reach


@pytest.mark.parametrize("norm", KINDS)
def test_every_normalisation_can_be_asked_for(norm):
    x = torch.rand(2, 3, 64, 64) * 255
    for d in (Patch(M, 4, 2, norm), MultiScale(M, 4, 1, 2, norm), GlobalLocal(M, 4, norm=norm), UNet(M, 4, 2, norm)):
        sum(v.square().mean() for v in d(x, latent_of(x)).logits).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in d.parameters())
        kinds = {type(m).__name__ for m in d.modules()}
        expected = {"batch": "BatchNorm2d", "instance": "GroupNorm", "layer": "GroupNorm", "channel": "ChannelNorm"}
        assert expected.get(norm, "Conv2d" if norm == "none" else "ParametrizedConv2d") in kinds


def test_contrast_measures_detail_and_not_its_amount():
    x = textures(2, 64, torch.Generator().manual_seed(1))
    assert torch.allclose(contrast(x, 0.01), contrast(100 + 3 * x, 0.01), atol=2e-2)
    assert contrast(torch.full((1, 3, 20, 20), 77.0)).abs().max() < 1e-4
    # what is lost between neighbours shows, although the contrast as a whole is made up for
    steps = [contrast(p).diff(dim=3).square().mean() for p in (x, blurred(x))]
    assert steps[0] > 2 * steps[1]
    flat = torch.full((1, 3, 20, 20), 77.0).requires_grad_()
    contrast(flat)[0, 0, 10, 10].backward()
    assert flat.grad.abs().max() <= 1  # one grey level moves it by 1/floor at most


def test_scales_see_ever_larger_patches():
    torch.manual_seed(0)
    d = MultiScale(0, 4, 2, 3, norm="none", detail=False)
    sides = []
    for i in range(3):
        x = torch.rand(1, 3, 256, 256).mul(255).requires_grad_()
        v = d(x).logits[i]
        assert v.shape[2:] == (64 >> i, 64 >> i)
        v[0, 0, v.shape[2] // 2, v.shape[3] // 2].backward()
        sides.append(int((x.grad.abs().amax((0, 1, 2)) > 0).sum()))
    assert sides[0] == 34 and sides[1] == 34 * 2 + 1 and sides[2] == 34 * 4 + 3
    with pytest.raises(BadInput, match="less than a pixel"):
        MultiScale(0, 4, scales=6)


def test_global_sees_the_whole_and_local_its_window_only():
    torch.manual_seed(0)
    d = GlobalLocal(0, 8, side=64, window=32, norm="none", detail=False)
    x = (torch.rand(1, 3, 128, 160) * 200 + 20).requires_grad_()
    whole, local = d(x).logits
    assert whole.shape == (1, 1, 1, 1) and local.shape == (1, 1, 4, 5)
    (slope,) = torch.autograd.grad(whole.sum(), x, retain_graph=True)
    assert (slope.abs().amax((0, 1)) > 0).all()
    (slope,) = torch.autograd.grad(local[0, 0, 1, 3], x)
    seen = (slope.abs().amax((0, 1)) > 0).nonzero()
    assert seen.amin(0).tolist() == [32, 96] and seen.amax(0).tolist() == [63, 127]
    # a checkerboard is gone from the shrunk picture; only the windows tell it
    board = (torch.arange(128)[:, None] + torch.arange(128)) % 2 * 40.0 - 20
    x = torch.rand(1, 3, 128, 128) * 100 + 60
    a, b = d(x), d(x + board)
    assert torch.allclose(a.logits[0], b.logits[0], atol=1e-5) and (a.logits[1] - b.logits[1]).abs().min() > 1e-4
    for length in (64, 65, 96, 127, 200):
        begins = starts(length, 64)
        covered = {p for s in begins for p in range(s, s + 64)}
        assert covered == set(range(length)) and len(begins) == -(-length // 64)
    with pytest.raises(BadInput, match="powers of two"):
        GlobalLocal(0, 8, window=48)


def test_what_was_measured_or_drawn_is_kept_with_the_heads():
    torch.manual_seed(0)
    a, b = (Projected([Eyes()], 0, 8, mix=True) for _ in range(2))
    x = torch.rand(1, 3, 64, 64) * 255
    assert not torch.allclose(a.eval()(x).logits[0], b.eval()(x).logits[0])
    b.load_state_dict(a.state_dict())
    assert all(map(torch.equal, a(x).logits, b(x).logits))
