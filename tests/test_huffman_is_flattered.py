"""Hazard: the comparison with Huffman coding is not with Huffman's codes, or leaves out a part of what they cost."""

import numpy as np
import pytest
from golden_pictures import photograph

from intaglio.bench.huffman import cost, huffman_bits, lengths
from intaglio.entropy import gaussian_tables


def test_lengths_are_those_of_the_textbook():
    assert lengths(np.array([45, 13, 12, 16, 9, 5])).tolist() == [1, 3, 3, 3, 4, 4]
    assert lengths(np.array([1, 1])).tolist() == [1, 1]


@pytest.mark.parametrize("scale", [0.11, 0.7, 3.0, 60.0])
def test_codes_are_complete_and_within_a_bit_of_the_entropy(scale):
    counts = gaussian_tables([scale]).counts(0).astype(float)
    code, p = lengths(counts), counts / counts.sum()
    assert (2.0**-code).sum() == 1
    entropy = -(p * np.log2(p)).sum()
    assert entropy <= (p * code).sum() < entropy + 1


def test_what_is_nearly_always_zero_costs_a_bit_each():
    tables = gaussian_tables([0.11])
    zeros = np.zeros(1000, np.int32)
    assert huffman_bits(tables, zeros, np.zeros(1000, np.uint8)) == 1000 > 50 * tables.bits(zeros, np.zeros(1000, int))


def test_escapes_are_paid_for():
    tables, index = gaussian_tables([0.11]), np.zeros(1, np.uint8)
    wide = np.array([100], np.int32)
    assert huffman_bits(tables, wide, index) >= lengths(tables.counts(0))[-1] + 2 * 6 + 1


def test_a_photograph_takes_more_bits_by_huffman(tiny):
    found = cost(photograph(0, 0, 256, 256), 20, tiny)
    assert found.pixels == 256 * 256 and found.huffman > found.ideal > 0
