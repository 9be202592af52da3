"""Queries whose own file lies in the gallery: found at distance 0, they would say nothing of a
model.
"""

from dataclasses import replace

import numpy as np

from partreid.data.copies import same_files
from partreid.errors import DataError
from partreid.metrics import Protocol
from partreid.types import JUNK, Benchmark, Sample
from partreid.utils.text import brief

Pair = tuple[Sample, Sample]


def without_copies(benchmark: Benchmark, protocol: Protocol) -> tuple[Benchmark, str | None]:
    """The benchmark without queries that a copy of their own file answers, and a sentence about
    them, or None.

    A copy counts where the protocol lets the query see it: under another camera, or where cameras
    do not matter. Copies under another identity do too, for one of the two names is wrong.
    DataError if no query is left.
    """
    pairs: list[Pair] = []
    queries = {}
    for name, samples in benchmark.queries.items():
        copies = [pair for pair in same_files(samples, benchmark.gallery) if _seen(pair, protocol)]
        gone = {id(query) for query, _ in copies}
        queries[name] = tuple(s for s in samples if id(s) not in gone)
        pairs += copies
    if not pairs:
        return benchmark, None
    total = sum(map(len, benchmark.queries.values()))
    left = sum(map(len, queries.values()))
    query, copy = pairs[0]
    what = (
        f"{total - left} of {total} queries lie in the gallery as the same file, first "
        f"{brief(query.path, 300)} = {brief(copy.path, 300)}"
    )
    if not left:
        raise DataError(f"{what}; nothing is left to score. Take the copies out of the gallery")
    kept = {name: samples for name, samples in queries.items() if samples}
    return replace(benchmark, queries=kept), (
        f"{what}; they are left out of every score, for a copy is found by any model. Take the "
        "copies out of the gallery"
    )


def _seen(pair: Pair, protocol: Protocol) -> bool:
    query, copy = pair
    _, valid = protocol.masks(
        query.identity, query.camera, np.array([copy.identity]), np.array([copy.camera]), junk=JUNK
    )
    return bool(valid[0])
