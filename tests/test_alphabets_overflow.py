"""Hazard: a finite alphabet costs more than log2 L bits a latent, or a symbol leaves it, or damage goes unseen."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from test_systems_do_not_code import EXAMPLES, packed, photos, small, trained  # noqa: F401  (fixtures)

import intaglio
from intaglio import plain
from intaglio.entropy import Tables, gaussian_tables
from intaglio.errors import CorruptFile
from intaglio.latents import TileCoder
from intaglio.nn.finite import bounded_bits, soft_to_hard
from intaglio.train.export import finite_tables
from intaglio.varint import get_varint

LEVELS, CHANNELS = 5, 8


def symbols(n, levels=LEVELS, seed=0):
    return np.random.default_rng(seed).integers(-(levels // 2), levels // 2 + 1, n).astype(np.int32)


class Stub:
    """A runtime whose prior is sure of one scale index everywhere, and wrong about the means."""

    def __init__(self, index, tables):
        card = {"latents": CHANNELS, "hyper": 2, "passes": [[0, 4, 0], [0, 4, 1], [4, 8, 0], [4, 8, 1]],
                "seen": [0, 4, 4, 8], "steps": 64, "levels": LEVELS}  # fmt: skip
        arrays = {"gains": np.ones((64, CHANNELS), np.float32), "hyper_index": np.full((64, 2), 3, np.uint8)}
        self.package, self.tables, self.index = SimpleNamespace(card=card, tables=arrays), tables, index

    def hyper(self, y, t):
        return np.zeros((1, 2, *t.shape[2:]), np.float32)

    def features(self, z, q):
        return np.zeros((1, 1, 4 * q.shape[2], 4 * q.shape[3]), np.float32)

    def prior(self, k, features, y16):
        shape = (1, 4, *features.shape[2:])
        return np.full(shape, 7, np.float32), np.full(shape, self.index, np.uint8)


@pytest.fixture(scope="module")
def tables():
    return finite_tables(gaussian_tables([0.11, 0.5, 1.0, 3.0]), LEVELS)


@pytest.mark.parametrize("levels", [3, 5, 7, 255])
@pytest.mark.parametrize("n", [0, 1, 26, 27, 28, 5000])
def test_plain_symbols_come_back_within_the_bound(levels, n):
    for given in (symbols(n, levels), np.full(n, levels // 2, np.int32), np.full(n, -(levels // 2), np.int32)):
        data = plain.encode(given, levels)
        assert np.array_equal(plain.decode(data, n, levels), given)
        assert len(data) + 2 <= n * math.log2(levels) / 8 + plain.OVERHEAD


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("scale", [0.2, 1.0, 50.0])
def test_no_tile_exceeds_the_bound_whatever_the_prior_says(tables, index, scale):
    coder = TileCoder(Stub(index, tables))
    y = (scale * np.random.default_rng(1).standard_normal((1, CHANNELS, 64, 48))).astype(np.float32)
    q = np.full((16, 12), 20)
    data = coder.encode(y, q)
    assert len(data) <= y.size * math.log2(LEVELS) / 8 + plain.OVERHEAD
    expected = np.clip(np.floor(y + 0.5), -2, 2)
    assert np.array_equal(coder.decode(data, q), expected), "clipped to the alphabet, and nothing else lost"
    if index == 0 or scale == 0.2:
        plainly = get_varint(data, 0)[0] == CHANNELS + 1
        assert plainly == (scale > 0.5), "plain where the prior is too sure, and there alone"


def test_a_kept_area_is_written_plainly_too(tables):
    coder = TileCoder(Stub(0, tables))
    y, q = symbols(CHANNELS * 16 * 16).reshape(1, CHANNELS, 16, 16).astype(np.float32), np.full((4, 4), 3)
    kept = np.zeros((16, 16), bool)
    kept[4:9, 3:16] = True
    data = coder.encode(y, q, kept)
    assert get_varint(data, 0)[0] == CHANNELS + 1
    assert len(data) <= CHANNELS * kept.sum() * math.log2(LEVELS) / 8 + plain.OVERHEAD
    assert np.array_equal(coder.decode(data, q, kept), y * kept)


def test_every_damage_to_a_plain_tile_is_found():
    given = symbols(100)
    data = plain.encode(given, LEVELS)
    for i in range(len(data)):
        for bit in range(8):
            broken = bytes(b ^ (1 << bit if i == j else 0) for j, b in enumerate(data))
            with pytest.raises(CorruptFile):
                plain.decode(broken, len(given), LEVELS)
    for broken in (b"", data[:-1], data[8:], data + b"\1", data + bytes(8), 40 * data):
        with pytest.raises(CorruptFile):
            plain.decode(broken, len(given), LEVELS)
    with pytest.raises(CorruptFile):
        plain.decode(data, len(given) - 1, LEVELS)


def test_a_symbol_beyond_the_alphabet_is_refused():
    wide = gaussian_tables([0.11, 0.5, 1.0, 3.0])
    writer, reader = Stub(3, wide), Stub(3, wide)
    del writer.package.card["levels"]
    writer.prior = lambda k, features, y16: (np.zeros((1, 4, 4, 4), np.float32), np.full((1, 4, 4, 4), 3, np.uint8))
    y, q = np.full((1, CHANNELS, 4, 4), 3, np.float32), np.full((1, 1), 3)
    data = TileCoder(writer).encode(y, q)
    with pytest.raises(CorruptFile, match="alphabet"):
        TileCoder(reader).decode(data, q)


def test_tables_of_the_alphabet_waste_nothing_beyond_it(tables):
    assert isinstance(tables, Tables) and len(tables) == 8
    for s in range(4):
        counts = tables.counts(s)
        assert len(counts) == LEVELS + 1 and counts[-1] == 1
        assert np.array_equal(counts[:-1], counts[:-1][::-1]) or np.ptp(counts[:-1] - counts[:-1][::-1]) < 8
    assert tables.reach[7] > 2, "hyper-latents are not bounded"


def test_quantisation_is_hard_forward_and_soft_backward():
    y = torch.linspace(-6, 6, 241, requires_grad=True)
    hard = soft_to_hard(y, LEVELS)
    assert torch.equal(hard.detach(), torch.floor(y.detach() + 0.5).clamp(-2, 2))
    (slope,) = torch.autograd.grad(hard.sum(), y)
    inside, outside = slope[(y.abs() < 2)], slope[(y.abs() > 4)]
    assert (inside > 0.3).all(), "a centre pulls at what is between"
    assert (outside.abs() < 0.1).all(), "beyond the last centre nothing is gained"


@pytest.mark.parametrize("sigma", [0.11, 0.7, 3.0, 100.0])
def test_the_alphabets_probabilities_sum_to_one(sigma):
    bits = bounded_bits(torch.arange(-2.0, 3.0), torch.full((5,), sigma), LEVELS)
    assert abs(float((2**-bits).sum()) - 1) < 1e-3


@pytest.fixture(scope="module")
def wild(photos, tmp_path_factory):  # noqa: F811
    """A package of extreme-gc whose prior has learnt nothing, of codes that fill the alphabet."""
    trainer = trained(small("extreme-gc", blocks=1), photos, tmp_path_factory.mktemp("run"), 1)
    network = trainer.averaged()
    with torch.no_grad():
        for parameter in network.analysis.out.parameters():
            parameter *= 20
    return trainer.recipe.package(network, photos, trainer.training(), 2)


@pytest.mark.parametrize("size", [(576, 576), (480, 360), (513, 385)])
def test_a_whole_file_of_extreme_compression_is_at_most_a_tenth_of_a_bit_per_pixel(wild, size):
    """With its container, whatever the prior says, and where padding to multiples of 64 adds most."""
    file = intaglio.encode(Image.open(EXAMPLES / "dog.webp").convert("RGB").crop((0, 0, *size)), model=wild, threads=1)
    blocks = math.prod(-(-side // 64) for side in size)
    bound = blocks * 16 * CHANNELS * math.log2(LEVELS) / 8
    assert 0.9 * bound < len(file) <= bound + plain.OVERHEAD + 64, "it is the bound that holds it"
    assert 8 * len(file) / math.prod(size) <= 0.1
