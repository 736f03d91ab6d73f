"""Hazard: docs/format.md is what second decoders are written from, and says something else than the code does."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from intaglio import adaptive, container, entropy, labels, latents, outlines, reader
from intaglio.nn import hyper_prior
from intaglio.package import Package

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")


def test_every_link_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]+)\)", PAGE))
    assert links <= anchors
    assert "to be written" not in PAGE.lower()


def test_the_fingerprint_is_computed_as_the_page_says() -> None:
    card = {"name": "any", "latents": 5, "hyper": 3, "steps": 64, "passes": [[0, 2, 0], [0, 2, 1]], "seen": [0, 2],
            "halo": {"synthesis": 48, "analysis": 16}}
    graphs = {"analysis": b"a", "hyper": b"h", "synthesis": b"s", "prior_start": b"p", "prior_0": b"0"}
    package = Package.assemble(card, graphs, {"gains": np.ones((64, 5), np.float32)}, {"x": np.zeros(1, np.int8)})
    template = re.search(r"^    (\[\{\"prior.*\})\]$", PAGE, re.MULTILINE)
    assert template
    card_hashes = package.card["sha256"]
    text = template[1] + "]"
    for word, value in {
        **{f'"{name}":"HASH"': f'"{name}":"{card_hashes[name]}"'
           for name in ("prior.npz", "synthesis.onnx", "tables.npz")},
        '"halo":S': '"halo":48',
        '"hyper":N': '"hyper":3', '"latents":M': '"latents":5',
        "[[F,E,P], ...]": "[[0,2,0],[0,2,1]]", "[ ... ]": "[0,2]",
    }.items():
        assert text.count(word) == 1
        text = text.replace(word, value)
    assert json.loads(text)[1]["steps"] == 64
    assert hashlib.sha256(text.encode("ascii")).hexdigest()[:16] == package.card["fingerprint"]


@pytest.mark.parametrize(
    ("sentence", "true"),
    [
        ("| width, height | 1..2^24 |", container.MAX_SIDE == 2**24),
        ("2^28 unless told otherwise", container.MAX_PIXELS == 2**28),
        ("more than 256 chunks before its first TILE", reader.MAX_CHUNKS == 256),
        ("| TILE payload | 64 MiB |", container.MAX_TILE_BYTES == 64 * 2**20),
        ("at most 64 MiB when expanded", container.MAX_METADATA == 64 * 2**20),
        ("**tiles** of 1024x1024 pixels", container.TILE == 1024),
        ("**blocks** of 64x64 pixels", container.BLOCK == 64),
        ("| KEEP, LABL | 2^20 bytes; 2^18 entries of the map; scans of 2^20 decisions, outlines of 2^16 steps |",
         (container.MAX_MAP_BYTES, labels.MOST, outlines.MOST_WORK) == (2**20, 2**18, 2**16)),
        ("a scan that takes more than 2^20 decisions", labels.MOST_DECISIONS == 2**20),
        ("weights, at first 22938", adaptive.WEIGHT == 22938),
        ("(0, 0), then (1, 1), then (0, 1), then (1, 0)", latents.PHASES == ((0, 0), (1, 1), (0, 1), (1, 0))),
        ("one channel 64 at the places", latents.DONE == 64),
        ("hyper.groups.g.mean of x, clamped to -2047..2047", hyper_prior.MAX_MEAN == 2047),
        ("hyper.groups.g.scale of x, clamped to -63..63", hyper_prior.MAX_OFFSET == 63),
        ("-2^20 <= r <= 2^20", entropy.LIMIT == 2**20),
        ("1 to 256 *tables*", entropy.MAX_TABLES == 256),
        ("integers of at least 1 that sum to exactly 2^24", entropy.TOTAL == 2**24),
    ],
)
def test_the_numbers_are_those_of_the_code(sentence: str, true: bool) -> None:
    assert true
    assert sentence in " ".join(PAGE.split())
