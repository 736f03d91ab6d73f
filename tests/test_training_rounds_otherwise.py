"""Hazard: what the decoder and the entropy tables learn of is rounded otherwise than what files hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_training_starts_wrong import EXAMPLES

from intaglio import pictures
from intaglio.latents import TileCoder, positions
from intaglio.nn.prior import SCALES, Prior, sigma
from intaglio.package import resolve
from intaglio.recipes import NAMES, recipe
from intaglio.runtime import Runtime
from intaglio.train import warm


@pytest.mark.parametrize("q", [10, 40])
def test_latents_in_training_are_those_of_files(q: int) -> None:
    package = resolve(None)
    codec = warm.codec(package)
    picture = np.array(pictures.load(next(EXAMPLES.glob("*.webp"))).image.convert("RGB"))[:256, :256]
    with torch.no_grad():
        y = codec.analysis(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        gained = y * codec.gain(torch.full((1, 1, 1), float(q)))
        z = codec.hyper(gained, torch.full((1, 1, 1, 1), q / 63))
        kinds = []
        for thresholds in (codec.prior.thresholds, None):
            codec.prior.thresholds = thresholds
            symbols = codec.symbols(gained, z, torch.full((1, 1, 1), float(q)))
            kinds.append((symbols.y_hat - symbols.mean).numpy()[0])
    coder = TileCoder(Runtime(package, threads=1))
    groups = [group for group in coder.residuals(y.numpy(), np.full((4, 4), q)) if group[0] >= 0]
    written = np.zeros_like(kinds[0])
    for (first, end, parity), (_, residuals, _) in zip(coder.passes, groups, strict=True):
        written[first:end].reshape(end - first, -1)[:, positions(16, 16, parity)] = residuals
    optimised, nearest = (np.sum(written != other) / np.sum(written != 0) for other in kinds)
    assert nearest > 0.1, "there is something to tell apart"
    # thresholds follow Gaussians in training and counted tables in files: a fifth to a third is left of it
    assert optimised < 0.4 * nearest


def test_residuals_go_up_only_where_it_is_worth_their_bits() -> None:
    prior = Prior(8, 4, 8, 4, optimised=True)
    index = torch.tensor([8.0, 8.0, 8.0, SCALES - 1, SCALES - 1])
    values = torch.tensor([0.55, -0.65, 0.65, 3.49, -3.51])
    assert sigma(index[0]) < 0.4 and prior._rounded(values, index).tolist() == [0, -1, 1, 3, -4]
    assert Prior(8, 4, 8, 4)._rounded(values, index).tolist() == [1, -1, 1, 3, -4]


@pytest.mark.parametrize("name", NAMES)
def test_papers_round_to_the_nearest_and_ours_where_it_is_worth_the_bits(name: str) -> None:
    ours = name.startswith("intaglio1")
    with torch.device("cpu" if ours else "meta"):  # the papers' widths would take gigabytes
        network = recipe(name).network()
    assert network.rounding == ("optimised" if ours else "nearest")
    assert (network.prior.thresholds is not None) == ours
