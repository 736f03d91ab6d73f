"""Hazard: readers and writers in several threads disturb one another through the tables they share."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from intaglio.entropy import TileReader, TileWriter, gaussian_tables


def test_concurrent_tiles_on_fresh_tables_agree():
    threads = 8
    for _ in range(5):
        tables = gaussian_tables(np.geomspace(0.1, 200, 64))  # fresh: every thread finds no model made yet
        start = Barrier(threads)

        def tile(seed, tables=tables, start=start):
            rng = np.random.default_rng(seed)
            index = rng.integers(0, 64, 5000).astype(np.uint8)
            symbols = rng.laplace(0, 30, 5000).astype(np.int32)
            start.wait()
            writer = TileWriter(tables)
            writer.put(symbols, index)
            data = writer.finish()
            reader = TileReader(tables, data)
            assert np.array_equal(reader.get(index), symbols)
            reader.finish()
            return data, tables.bits(symbols, index)

        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(tile, [1, 2] * (threads // 2)))
        assert set(results) == set(results[:2])
