"""Hazards: a discriminator cannot tell a sharp picture from a decoded one; learning moves what is frozen."""

import os

import pytest
import torch
from running_discriminators import ALL, MAKERS, SEEN, M, learned, pictures
from textures import Eyes

from intaglio.nn.discriminators.projected import Projected
from intaglio.nn.discriminators.unet import UNet
from intaglio.train.game import Game


@ALL
def test_it_learns_to_tell_an_original_from_what_a_codec_left(make):
    torch.manual_seed(0)
    before, after = learned(Game(make(M)), "decoded")
    assert before < 0.7 and after > 0.8


@pytest.mark.parametrize("name", ["patch", "multi-scale", "global and local", "projected"])
def test_it_learns_to_tell_the_sharp_from_the_blurred(name):
    torch.manual_seed(0)
    before, after = learned(Game(MAKERS[name](M)), "blurred")
    assert before < 0.7 and after > 0.8


def test_pixels_are_judged_where_they_are():
    torch.manual_seed(0)
    d = UNet(M, 6, 2)
    assert learned(Game(d), "blurred")[1] > 0.8
    x, fakes, latent = pictures()
    half = torch.cat([fakes["blurred"][SEEN:, :, :, :32], x[SEEN:, :, :, 32:]], 3)
    whole, pixels = d(half, latent[SEEN:]).logits
    assert whole.shape == (16, 1, 1, 1) and pixels.shape == (16, 1, 64, 64)
    assert pixels[..., 36:].mean() > 0 > pixels[..., :28].mean()


def test_the_backbone_stays_as_it_was():
    torch.manual_seed(0)
    d = Projected([Eyes()], M, 12)
    before = {k: v.clone() for k, v in d.backbones[0].named_buffers()}
    assert before and not list(d.backbones.parameters())
    heads = {k: p.clone() for k, p in d.heads.named_parameters() if "weight" in k}
    game = Game(d)
    learned(game, "blurred", steps=2)
    assert all((p != heads[k]).any() for k, p in d.heads.named_parameters() if k in heads)
    assert all(torch.equal(v, before[k]) and not v.requires_grad for k, v in d.backbones[0].named_buffers())
    assert not d.train().backbones[0].training
    fake = pictures()[0][:2].clone().requires_grad_()
    game.fool(fake, pictures()[2][:2]).sum().backward()
    assert fake.grad.abs().max() > 0  # yet what it sees reaches the generator


@pytest.mark.skipif("INTAGLIO_WEIGHTS" not in os.environ, reason="needs MobileNetV2's weights: set INTAGLIO_WEIGHTS")
def test_it_learns_through_a_trained_network():
    torch.manual_seed(0)
    d = Projected(latents=M, width=16)
    # strides 4 to 32, a decision every 16 pixels or at the features' own stride
    assert [v.shape[2] for v in d(pictures()[0][:1], pictures()[2][:1]).logits] == [4, 4, 4, 2]
    assert learned(Game(d), "decoded")[1] > 0.8
