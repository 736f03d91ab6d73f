"""Hazard: a damaged or hostile file that crashes, hangs or, worst of all, decodes into something else in silence.

Every damage must end in a named error, or in a warning that says what was left out beside the right pixels.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from golden_pictures import alpha, exif, landscape
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import intaglio
from intaglio.container import Header, pack
from intaglio.package import Package
from intaglio.reader import Reader
from intaglio.varint import put_varint


@pytest.fixture(scope="module")
def file(tiny: Package) -> bytes:
    """Small, with every chunk that a file of one tile can have, and escapes."""
    source = Image.fromarray(np.dstack([landscape(70, 90, 1), alpha(70, 90)]))
    source.info |= {"icc_profile": b"profile" * 3, "exif": exif(6), "xmp": b"<x:xmpmeta/>"}
    return intaglio.encode(source, model=tiny, roi=np.array([[0, 255]], np.uint8), quality=30, realism=0.5)


def look(data: bytes, tiny: Package, region: Any = None) -> tuple[bytes, dict, list[str]]:
    """Pixels, metadata and warnings of a decode."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = intaglio.decode(data, model=tiny, region=region, threads=1)
    assert all(w.category is intaglio.IntaglioWarning for w in caught)
    return image.tobytes(), image.info, [str(w.message) for w in caught]


def assert_safe(data: bytes, whole: tuple[bytes, dict, list[str]], tiny: Package) -> str:
    """How it ended: "refused", "warned" (the right pixels; what is missing was named) or "same"."""
    start = time.perf_counter()
    try:
        pixels, info, told = look(data, tiny)
    except intaglio.IntaglioError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
        return "refused"
    finally:
        assert time.perf_counter() - start < 5
    assert pixels == whole[0]
    assert info.items() <= whole[1].items()
    assert told or info == whole[1]  # one warning may stand for two: a chunk whose length grew swallows the next
    return "warned" if told else "same"


def test_every_flipped_bit_is_found(file: bytes, tiny: Package) -> None:
    whole = look(file, tiny)
    assert not whole[2] and set(whole[1]) == {"icc_profile", "exif", "xmp"}
    ends = {"refused": 0, "warned": 0, "same": 0}
    for at in range(len(file)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            damaged = bytearray(file)
            damaged[at] ^= mask
            ends[assert_safe(bytes(damaged), whole, tiny)] += 1
    assert ends["same"] == 0, "every byte is under a checksum"
    assert ends["warned"] > 9 * 50 and ends["refused"] > 9 * 400


def test_every_truncation_is_found(file: bytes, tiny: Package) -> None:
    for length in range(len(file)):
        with pytest.raises(intaglio.CorruptFile):
            look(file[:length], tiny)
        with pytest.raises(intaglio.CorruptFile):
            intaglio.info(file[:length])


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_damage_is_found_or_harmless(file: bytes, tiny: Package, data: st.DataObject) -> None:
    """Pieces cut out, put in, moved, overwritten."""
    whole = look(file, tiny)
    damaged = bytearray(file)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        n = data.draw(st.integers(0, 40))
        piece = data.draw(st.binary(max_size=40) | st.just(bytes(damaged[at : at + n])) | st.just(bytes(n)))
        where = data.draw(st.integers(0, len(damaged)))
        damaged[where : where + data.draw(st.sampled_from([0, n]))] = piece
    assert_safe(bytes(damaged), whole, tiny)


def test_a_file_of_many_tiles_is_as_safe(tiny: Package) -> None:
    source = Image.fromarray(np.dstack([np.tile(landscape(206, 70, 2), (1, 5, 1)), np.tile(alpha(206, 70), (1, 5))]))
    file = intaglio.encode(source, model=tiny, quality=10)
    whole = look(file, tiny)
    rng = np.random.default_rng(0)
    with Reader(file) as reader:
        frames = [at + k for _, at, n in reader.chunks for k in (*range(12), n + 8)]
    for at in [*frames, *rng.integers(0, len(file), 150)]:
        damaged = bytearray(file)
        damaged[int(at)] ^= 1 << int(rng.integers(8))
        assert assert_safe(bytes(damaged), whole, tiny) == "refused"
    for length in rng.integers(0, len(file), 100):
        with pytest.raises(intaglio.CorruptFile):
            look(file[:length], tiny)


def test_damage_says_which_tile(tiny: Package) -> None:
    file = bytearray(intaglio.encode(np.tile(landscape(206, 70, 2), (1, 5, 1)), model=tiny, quality=10))
    with Reader(bytes(file)) as reader:
        _, at, n = reader.chunks[-1]
    file[at + n // 2] ^= 1
    with pytest.raises(intaglio.CorruptFile, match=rf"^the TILE chunk of tile 1 at byte {at} fails its checksum"):
        look(bytes(file), tiny)
    look(bytes(file), tiny, (0, 0, 900, 70))  # the other tile is as good as ever


def test_bytes_after_the_end_are_told(file: bytes, tiny: Package) -> None:
    pixels, info, told = look(file + b"more", tiny)
    assert (pixels, info) == look(file, tiny)[:2]
    assert len(told) == 1 and "4 bytes" in told[0]


# From here on the checksums of the container hold: whoever wrote these files meant it.


def hostile(tiny: Package, payload: bytes, width: int = 100, height: int = 80, q: int = 30, **parts: Any) -> bytes:
    return pack(Header(width, height, parts.pop("mode", "RGB"), q, 0.0, tiny.fingerprint), [payload], **parts)


PAYLOADS = {
    "nothing": b"",
    "zeros": bytes(400),
    "a channel count alone": b"\x18",
    "too many channels": b"\x19\0" + bytes(range(1, 9)),
    "channels without end": b"\xff" * 40,
    "no words": b"\x18\0",
    "no channels and no words": b"\0\0",
    "escapes longer than the tile": b"\x18\x7f" + bytes(8),
    "escapes of 4 GB": b"\x18\xff\xff\xff\xff\x0f" + bytes(8),
    "all escapes": b"\x18" + put_varint(5000) + b"\xff" * 5000 + b"\xff" * 4000,
    "escapes that are zero": b"\x18" + put_varint(5000) + bytes(5000) + b"\xff" * 4000,
    "half a word": b"\x18\0\1\2\3",
    "one word": b"\x18\0\1\2\3\4",
    "megabytes": b"\x18\0" + np.random.default_rng(1).bytes(4 * 10**6),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_hostile_tile_is_refused(tiny: Package, name: str) -> None:
    start = time.perf_counter()
    with pytest.raises(intaglio.CorruptFile, match="^tile 0: "):
        look(hostile(tiny, PAYLOADS[name]), tiny)
    assert time.perf_counter() - start < 2


@given(payload=st.binary(max_size=300), q=st.integers(0, 63), size=st.tuples(st.integers(1, 130), st.integers(1, 130)))
@settings(max_examples=200, deadline=None)
def test_random_tiles_are_refused(tiny: Package, payload: bytes, q: int, size: tuple[int, int]) -> None:
    """A checksum of 32 bits over the residuals: none of these will ever pass."""
    with pytest.raises(intaglio.CorruptFile):
        look(hostile(tiny, payload, *size, q=q), tiny)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_tile_changed_under_a_right_checksum_is_refused(file: bytes, tiny: Package, data: st.DataObject) -> None:
    """Nearly right is worse than garbage: most symbols decode, escapes and the end do not fit."""
    with Reader(file) as reader:
        header, payload, qmap, record = reader.header, bytearray(reader.tile(0)), reader.qmap, reader.alpha(0)
    assert record is not None
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))
    with Reader(file) as reader:
        if bytes(payload) == reader.tile(0):
            return
    with pytest.raises(intaglio.CorruptFile):
        look(pack(header, [bytes(payload)], qmap=qmap, alpha=[record]), tiny)


@pytest.mark.parametrize("change", [{"q": 31}, {"width": 71}, {"width": 65, "height": 65}, {"width": 7}])
def test_a_tile_under_another_header_is_refused(tiny: Package, change: dict[str, int]) -> None:
    """Unless it has the same blocks, as a crop does."""
    with Reader(intaglio.encode(landscape(70, 90, 1), model=tiny, quality=30)) as reader:
        old, payload = reader.header, reader.tile(0)
    new = replace(old, **change)
    data = pack(new, [payload])
    if new.q == old.q and new.blocks == old.blocks:
        assert len(look(data, tiny)[0]) == 3 * new.width * new.height
        return
    with pytest.raises(intaglio.CorruptFile, match="^tile 0: "):
        look(data, tiny)


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@pytest.mark.parametrize(
    "tail",
    [b"", b"\x08\0\0\0\0", b"\x08\0\0\0\0" + bytes(100), b"\x08\0\0\0\1" + np.random.default_rng(0).bytes(300),
     b"\x08\0\0\0\0\0\0\0\0\0\0\0\4acTL\0\0\0\0"],
)
def test_a_hostile_alpha_record_is_refused(tiny: Package, tail: bytes) -> None:
    """Whatever Pillow makes of it: the start of a PNG of the right size, then anything."""
    with Reader(intaglio.encode(np.zeros((80, 100, 2), np.uint8), model=tiny)) as reader:
        header, tile = reader.header, reader.tile(0)
    record = b"\1" + PNG + (100).to_bytes(4, "big") + (80).to_bytes(4, "big") + tail
    with pytest.raises(intaglio.IntaglioError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        intaglio.decode(pack(header, [tile], alpha=[record.ljust(30, b"\0")]), model=tiny)


def test_no_damage_survives_a_region(file: bytes, tiny: Package) -> None:
    """Regions check as much as whole decodes, of what they read."""
    want = look(file, tiny, (3, 4, 5, 6))[0]
    for at in range(0, len(file), 7):
        damaged = bytearray(file)
        damaged[at] ^= 64
        try:
            assert look(bytes(damaged), tiny, (3, 4, 5, 6))[0] == want
        except intaglio.IntaglioError:
            continue
