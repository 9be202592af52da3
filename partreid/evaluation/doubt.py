"""What a calibration decides about crops, and about which it decides nothing:
:mod:`partreid.runtime.doubt` on tensors, and on the crops of a data set.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from partreid.distance import PartDistance
from partreid.evaluation.decision import people_of, shown_by_both
from partreid.metrics.calibration import Calibration
from partreid.runtime.doubt import Doubt as Doubt
from partreid.runtime.doubt import Spread, chosen, doubted, scored, spread
from partreid.runtime.likeness import Crops
from partreid.types import JUNK, Benchmark, Embeddings, Sample
from partreid.utils.arguments import Count, door
from partreid.utils.images import read_resized, size_of
from partreid.utils.looks import LOOKS, looks

CROPS = 4000  # of which statistics are kept; of larger slices an even share


@door
def matches(
    calibration: Calibration,
    distance: PartDistance,
    query: Embeddings,
    gallery: Embeddings,
    doubt: Doubt,
) -> list[int | None]:
    """How many crops of the whole gallery are called the same person as each query; None for a
    query about which nothing is decided. Crops that are unlike the calibration's do not count.
    """
    if doubt.every is not None:
        return [None] * len(query)
    counts = np.zeros(len(query), np.int64)
    for rows, columns, tile in distance.tiles(query, gallery):
        shared = shown_by_both(query.rows(rows), gallery.rows(columns))
        called = calibration.same(tile.cpu().numpy(), shared) & ~doubt.gallery[columns]
        counts[rows] += called.sum(1)
    return [None if odd else many for odd, many in zip(doubt.query, counts.tolist())]


@door
def as_crops(e: Embeddings, looks: Any = None, people: Any = None) -> Crops:
    """Embeddings, and how their crops look, as a calibration takes them."""
    return Crops(e.vectors.cpu().numpy(), e.visibility.cpu().numpy(), looks, people)


@door
def looks_of(samples: Sequence[Sample], size: tuple[int, int]) -> Any:
    """How crops look at a model's size (H, W), float64 [n, F]; see
    :func:`partreid.utils.looks.looks`.
    """
    values = np.empty((len(samples), len(LOOKS)))
    for row, sample in zip(values, samples):
        width, height = size_of(sample.path)
        row[:] = looks(read_resized(sample.path, size), height, width)
    return values


@door
def labelled_crops(
    queries: Mapping[str, Embeddings],
    gallery: Embeddings,
    benchmark: Benchmark,
    size: tuple[int, int],
) -> Crops:
    """The crops of a data set, or ``CROPS`` of them, with the people as :func:`known_pairs` numbers
    them. Junk is left out.
    """
    query_samples = [s for samples in benchmark.queries.values() for s in samples]
    samples = [*query_samples, *benchmark.gallery]
    people, _ = people_of(query_samples, benchmark.gallery)
    known = np.flatnonzero([s.identity != JUNK for s in samples])
    if len(known) > CROPS:
        known = known[np.linspace(0, len(known) - 1, CROPS).astype(np.int64)]
    e = Embeddings.stack([*queries.values(), gallery]).rows(known.tolist())
    return as_crops(e, looks_of([samples[i] for i in known], size), people[known])


@door
def doubt_about(
    calibration: Calibration,
    distance: PartDistance,
    query: Embeddings,
    gallery: Embeddings,
    query_looks: Any = None,
    gallery_looks: Any = None,
    run: str = "RUN",
) -> Doubt:
    """Which of these crops look like those that a calibration was made of.

    query_looks, gallery_looks: float64 [n, F] of :func:`looks_of`; without them vectors count
    alone. run: what the remedy calls the model's folder.
    """
    origin = calibration.origin
    scores = [
        scored(origin, as_crops(e, crop_looks))
        for e, crop_looks in ((query, query_looks), (gallery, gallery_looks))
    ]
    return weighed(calibration, lambda: unlike(calibration, distance, query, gallery), scores, run)


@door
def weighed(
    calibration: Calibration,
    apart: Callable[[], str | None],
    scores: Sequence[Any],
    run: str = "RUN",
) -> Doubt:
    """The same of crops whose scores of likeness are known.

    apart: says whether the distances between them are unlike, see :func:`unlike`; asked last.
    scores: float64 [Nq] and [Ng], of the queries and of the whole gallery.
    """
    query, gallery = scores
    return doubted(
        calibration.origin,
        query,
        gallery,
        apart,
        "calibrate on labelled crops of this place: "
        f"partreid calibrate {run} --data FOLDER --dataset folders",
        f"partreid calibrate {run} --data FOLDER",
    )


def unlike(calibration: Calibration, distance: PartDistance, *crops: Embeddings) -> str | None:
    """A sentence if crops of whoever lie otherwise than the people of the calibration did, None if
    all looks well; see :meth:`partreid.runtime.doubt.Origin.apart`.

    crops: one group or several, such as queries and gallery; no more than 1,000 of all of them are
    looked at. With few it says nothing.
    """
    picks = chosen([len(group) for group in crops])
    if picks is None:
        return None
    some = Embeddings.stack([group.rows(rows.tolist()) for group, rows in zip(crops, picks)])
    return calibration.origin.apart(_pairs(distance, some).cpu().numpy(), len(some))


class Crowd:
    """Crops among which queries are looked at again and again: what :func:`unlike` says of queries
    and these, with the distances between these computed once.

    calibration, distance: as there. crops: all of a gallery, or an even share of it. queries: how
    many come at a time.
    """

    @door
    def __init__(
        self, calibration: Calibration, distance: PartDistance, crops: Embeddings, queries: Count
    ) -> None:
        self.calibration, self._distance = calibration, distance
        self._picks = chosen([queries, len(crops)])
        if self._picks is not None:
            some = crops.rows(self._picks[1].tolist())
            self._crops = distance.prepare(some)
            self._inside = self._spread(_pairs(distance, some))

    @door
    def unlike(self, query: Embeddings) -> str | None:
        """A sentence if the distances between these queries and the crops are unlike the
        calibration's, None if all looks well.
        """
        if self._picks is None:
            return None
        some = query.rows(self._picks[0].tolist())
        every = (
            self._inside
            + self._spread(self._crops(some))
            + self._spread(_pairs(self._distance, some))
        )
        return self.calibration.origin.apart(every, len(some) + len(self._crops))

    def _spread(self, distances: torch.Tensor) -> Spread:
        return spread(self.calibration.impostors, distances.cpu().numpy())


def _pairs(distance: PartDistance, e: Embeddings) -> torch.Tensor:
    """Distances of all pairs of some crops, [n (n - 1) / 2]."""
    return distance(e, e)[tuple(torch.triu_indices(len(e), len(e), 1))]
