"""Hazards: the in-loop filter looks beyond its halo, so that strips show; spoils the network that it joins; or cannot
do what it is there for."""

import dataclasses

import torch
from tiny_recipe import TINY

from intaglio.nn.codec import Codec
from intaglio.nn.transforms import HINTS, Filter, Synthesis, halo
from intaglio.package import Package
from intaglio.train import warm


def restless(filter: Filter) -> Filter:
    """One whose every weight acts."""
    with torch.no_grad():
        for parameter in filter.parameters():
            parameter.normal_(0, 0.2)
    return filter


@torch.no_grad()
def test_a_pixel_depends_on_no_more_than_the_reach():
    torch.manual_seed(0)
    filter, r = restless(Filter(4)), torch.ones(1)
    x = torch.rand(1, 3 + HINTS, 64, 64) - 0.5
    reaches = []
    for at in (30, 31):  # both columns of a pair
        y = x.clone()
        y[:, :, at, at] += 0.3
        reaches.append(int(((filter(x, r) != filter(y, r)).any(1)[0].nonzero() - at).abs().max()))
    assert max(reaches) == Filter.REACH


@torch.no_grad()
def test_the_synthesis_has_a_halo_for_it():
    """Latents beyond the halo change nothing, whatever the filter."""
    torch.manual_seed(0)
    shape = dataclasses.replace(TINY, synthesis_blocks=(2, 1))
    synthesis = Synthesis(shape).eval()
    restless(synthesis.filter)
    for module in synthesis.modules():
        if hasattr(module, "project"):
            module.project.weight.normal_(0, 0.3)
    n = halo(shape)[1] // 16
    y, t, r = torch.randn(1, shape.latents, 4 * n, 4 * n), torch.full((1, 1, 1, 1), 0.5), torch.ones(1)
    inside = slice(16 * (n + 1), -16 * (n + 1))  # of which the first latents and the last are a halo and one away
    whole = synthesis(y, t, r)[:, :, inside, inside]
    other = y.clone()
    other[:, :, 0] += 5
    other[:, :, :, -1] += 5
    assert n == 3 and torch.equal(synthesis(other, t, r)[:, :, inside, inside], whole)
    other[:, :, n] += 5
    assert (synthesis(other, t, r)[:, :, inside, inside] - whole).abs().max() > 0.1


@torch.no_grad()
def test_it_begins_as_nothing():
    torch.manual_seed(0)
    x = torch.rand(2, 3 + HINTS, 32, 48) - 0.5
    for r in (0.0, 1.0):
        assert torch.equal(Filter(16)(x, torch.full((1,), r)), x[:, :3])


def test_packages_older_than_the_filter_warm_networks_without_one(tiny_model):
    package = Package.read(tiny_model)
    assert "filter" not in package.card["network"]
    assert warm.shape_of(package).filter == 0 and warm.codec(package).synthesis.filter is None
    assert Codec(TINY).synthesis.filter is not None


def test_it_learns_to_take_squares_away():
    """Flat pictures with another error in every 8x8 square, its borders told by a hint: the filter is to guess the
    mean of its surroundings. Without training the error is 1."""
    torch.manual_seed(0)
    filter, r = Filter(8), torch.zeros(1)
    column = (torch.arange(64) % 8 - 3.5) / 8
    hints = torch.stack([column.expand(64, 64), column[:, None].expand(64, 64)])[None].expand(8, -1, -1, -1)
    optimiser = torch.optim.Adam(filter.parameters(), 0.01)
    for _ in range(150):
        error = torch.randn(8, 1, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3).expand(-1, 3, -1, -1) / 16
        loss = (16 * filter(torch.cat([error, hints], 1), r)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.6
