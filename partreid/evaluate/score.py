"""A trained method on the query sets of a data set: rankings, intervals, seconds."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from partreid.distance import PartDistance
from partreid.match import (
    MARKET,
    Interval,
    KReciprocal,
    Pairs,
    Protocol,
    Ranking,
    Roc,
    Searches,
    Watchlist,
    bootstrap,
    bootstrap_roc,
    bootstrap_searches,
    evaluate,
    rank,
)
from partreid.types import Benchmark, Embeddings, Sample


@dataclass(frozen=True, eq=False)
class Scored:
    """How one set of queries fared. seconds: of matching and scoring, not of embedding.

    intervals: of all scores, by name. roc, searches: verification of pairs, and search for people half of whom are in
    no gallery; None after re-ranking, whose distances do not compare between queries.
    """

    queries: str
    ranking: Ranking
    intervals: Mapping[str, Interval]
    seconds: float
    roc: Roc | None = None
    searches: Searches | None = None

    @property
    def scores(self) -> dict[str, float]:
        """All scores by name, in [0, 1]; NaN where one has no meaning."""
        return {**self.ranking.scores, **(self.roc.scores if self.roc else {}),
                **(self.searches.scores if self.searches else {})}


@dataclass(frozen=True, eq=False)
class Described:
    """The embeddings of every query set and of the gallery that they share."""

    queries: Mapping[str, Embeddings]
    gallery: Embeddings

    def change(self, function: Callable[[Embeddings], Embeddings]) -> "Described":
        """The same with every set of embeddings passed through ``function``, e.g. to ignore visibility."""
        return Described({name: function(e) for name, e in self.queries.items()}, function(self.gallery))


def describe(benchmark: Benchmark, extract: Callable[[Sequence[Sample]], Embeddings]) -> Described:
    """Embed the gallery once and every query set."""
    return Described({name: extract(samples) for name, samples in benchmark.queries.items()},
                     extract(benchmark.gallery))


def score(distance: PartDistance, described: Described, benchmark: Benchmark, protocol: Protocol = MARKET,
          rerank: KReciprocal | None = None, progress: Callable[[int, int], None] | None = None) -> tuple[Scored, ...]:
    """Rank the gallery for every query set, with 95 % intervals by bootstrap over identities.

    rerank: k-reciprocal re-ranking of the distances first, if wanted; progress: told how far that is.
    """
    found = []
    gallery_ids, gallery_cameras = identities(benchmark.gallery), cameras(benchmark.gallery)
    for name, samples in benchmark.queries.items():
        began = time.perf_counter()
        query_ids = identities(samples)
        asked = (query_ids, cameras(samples), gallery_ids, gallery_cameras, protocol)
        if rerank is None:
            pairs, watchlist = Pairs(), Watchlist(np.array(query_ids), np.array(gallery_ids))
            ranking = evaluate(distance, described.queries[name], described.gallery, *asked,
                               watchers=(pairs, watchlist))
            roc, searches, people = pairs.result(), watchlist.result(), np.array(query_ids)
            intervals = {**bootstrap(ranking), **bootstrap_roc(roc, people), **bootstrap_searches(searches, people)}
            found.append(Scored(name, ranking, intervals, time.perf_counter() - began, roc, searches))
        else:
            ranking = rank(rerank(distance, described.queries[name], described.gallery, progress=progress), *asked)
            found.append(Scored(name, ranking, bootstrap(ranking), time.perf_counter() - began))
    return tuple(found)


def identities(samples: Sequence[Sample]) -> list[int]:
    return [sample.identity for sample in samples]


def cameras(samples: Sequence[Sample]) -> list[int]:
    return [sample.camera for sample in samples]
