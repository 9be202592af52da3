"""A trained method on the query sets of a data set: rankings, intervals, seconds."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from partreid.distance import PartDistance
from partreid.match import MARKET, Interval, KReciprocal, Protocol, Ranking, bootstrap, evaluate, rank
from partreid.types import Benchmark, Embeddings, Sample


@dataclass(frozen=True, eq=False)
class Scored:
    """How one set of queries fared. seconds: of matching and scoring, not of embedding."""

    queries: str
    ranking: Ranking
    intervals: Mapping[str, Interval]
    seconds: float


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
          rerank: KReciprocal | None = None) -> tuple[Scored, ...]:
    """Rank the gallery for every query set, with 95 % intervals by bootstrap over identities.

    rerank: k-reciprocal re-ranking of the distances first, if wanted.
    """
    found = []
    gallery_ids, gallery_cameras = identities(benchmark.gallery), cameras(benchmark.gallery)
    for name, samples in benchmark.queries.items():
        began = time.perf_counter()
        asked = (identities(samples), cameras(samples), gallery_ids, gallery_cameras, protocol)
        if rerank is None:
            ranking = evaluate(distance, described.queries[name], described.gallery, *asked)
        else:
            ranking = rank(rerank(distance, described.queries[name], described.gallery), *asked)
        found.append(Scored(name, ranking, bootstrap(ranking), time.perf_counter() - began))
    return tuple(found)


def identities(samples: Sequence[Sample]) -> list[int]:
    return [sample.identity for sample in samples]


def cameras(samples: Sequence[Sample]) -> list[int]:
    return [sample.camera for sample in samples]
