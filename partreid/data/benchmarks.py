"""Data sets: files to samples. ``BENCHMARKS`` names them; status and licence are said in plain words."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from partreid.data import dukemtmc, market1501, occluded_duke, occluded_reid, p_dukemtmc
from partreid.data.folders import count_note, counts
from partreid.types import Benchmark

WITHDRAWN = ("withdrawn in 2019 by its authors' institution because the people recorded had not agreed; this loader "
             "is for those who hold the data already. Prefer another data set for new work.")
FREE = "made-up people drawn by this package; nobody's picture, no licence needed."
ACADEMIC = "academic use only, by the terms of its authors; shows real people, most of whom do not know of it."


@dataclass(frozen=True)
class DataSet:
    """How to read a data set, what it should hold and what one may do with it. counts: (identities, images)."""

    load: Callable[[Path], Benchmark]
    counts: dict[str, tuple[int, int]]
    status: str


def load_synthetic(root: Path) -> Benchmark:
    """A world written by :mod:`partreid.data.synthetic`; its query sets are called holistic and occluded."""
    found = market1501.load(root, "synthetic")
    return replace(found, queries={{"query": "holistic"}.get(name, name): samples
                                   for name, samples in found.queries.items()})


BENCHMARKS: dict[str, DataSet] = {
    "market1501": DataSet(market1501.load, market1501.COUNTS, ACADEMIC),
    "dukemtmc": DataSet(dukemtmc.load, dukemtmc.COUNTS, WITHDRAWN),
    "occluded_duke": DataSet(occluded_duke.load, occluded_duke.COUNTS, WITHDRAWN),
    "occluded_reid": DataSet(occluded_reid.load, occluded_reid.COUNTS, ACADEMIC),
    "p_dukemtmc": DataSet(p_dukemtmc.load, p_dukemtmc.COUNTS, WITHDRAWN),
    **{f"synthetic-{preset}": DataSet(load_synthetic, {}, FREE) for preset in ("tiny", "demo", "full")},
}


def check(name: str, benchmark: Benchmark) -> list[str]:
    """Everything about a loaded data set that does not look right, a sentence each; empty if all is well."""
    found = {"gallery": counts(benchmark.gallery)}
    if benchmark.train:
        found["train"] = counts(benchmark.train)
    if "query" in benchmark.queries:
        found["query"] = counts(benchmark.queries["query"])
    notes = count_note(name, found, BENCHMARKS[name].counts) if name in BENCHMARKS else []
    gallery = {s.identity for s in benchmark.gallery}
    for kind, query in benchmark.queries.items():
        if not gallery & {s.identity for s in query}:
            notes.append(f"{kind}: no identity of the query is in the gallery, so nothing can be found; check that "
                         f"both are of one release and that identities were not renumbered apart")
        elif len({s.camera for s in (*query, *benchmark.gallery)}) == 1:
            notes.append(f"{kind}: all crops are of one camera, and matches of the query's own camera do not count; "
                         f"give the crops their camera numbers (_c1, _c2, ...)")
    return notes
