"""Embeddings of a data set to scores: rankings, intervals, seconds."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partreid.distance import PartDistance
from partreid.evaluation.result import Embedded, QuerySetResult, Setting
from partreid.metrics import (
    MARKET,
    OpenSetAccumulator,
    PairAccumulator,
    Protocol,
    Ranking,
    bootstrap_ranking,
    bootstrap_roc,
    bootstrap_searches,
    evaluate_embeddings,
    rank,
)
from partreid.metrics.official import TrapezoidRanking
from partreid.retrieval import Expansion, KReciprocal
from partreid.types import DISTRACTOR, JUNK, Benchmark, Embeddings, Sample
from partreid.utils.arguments import door


@dataclass(frozen=True)
class Official:
    """How a released code scored: its distances (query, gallery) -> [Nq, Ng], None for the method's
    own, and whether its AP is by trapezoids.
    """

    distances: Callable[[Embeddings, Embeddings], Tensor] | None
    trapezoid: bool

    def ranking(
        self, distance: PartDistance, q: Embeddings, g: Embeddings, **known: Any
    ) -> Ranking:
        """The lists of all queries; ``known`` as :func:`partreid.metrics.rank` takes it."""
        far = (self.distances or distance)(q, g)
        ranking = rank([(slice(0, len(far)), far)], **known)
        return TrapezoidRanking.of(ranking) if self.trapezoid else ranking


@door
def embed_benchmark(
    benchmark: Benchmark, extract: Callable[[Sequence[Sample]], Embeddings]
) -> Embedded:
    """Embed the gallery once and every query set."""
    return Embedded(
        {name: extract(samples) for name, samples in benchmark.queries.items()},
        extract(benchmark.gallery),
    )


@door
def score(
    distance: PartDistance,
    described: Embedded,
    benchmark: Benchmark,
    protocol: Protocol = MARKET,
    after: KReciprocal | Expansion | Official | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[QuerySetResult, ...]:
    """Rank the gallery for every query set, with 95 % intervals by bootstrap over identities.

    after: what is done to the distances first, if anything: re-ranking, expansion over other
    cameras, or a released code's rule. progress: told how far re-ranking is.
    """
    results = []
    gallery, gallery_ids, gallery_cameras = (
        described.gallery,
        identities(benchmark.gallery),
        cameras(benchmark.gallery),
    )
    for name, samples in benchmark.queries.items():
        began = time.perf_counter()
        query, query_ids, query_cameras = (
            described.queries[name],
            identities(samples),
            cameras(samples),
        )
        known: dict[str, Any] = {
            "q_ids": query_ids,
            "g_ids": gallery_ids,
            "q_cams": query_cameras,
            "g_cams": gallery_cameras,
            "protocol": protocol,
            "distractor": DISTRACTOR,
            "junk": JUNK,
        }
        if after is None:
            pairs = PairAccumulator()
            open_set = OpenSetAccumulator(
                q_ids=query_ids, g_ids=gallery_ids, distractor=DISTRACTOR, junk=JUNK
            )
            ranking = evaluate_embeddings(
                distance, query, gallery, **known, accumulators=(pairs, open_set)
            )
            roc, searches = pairs.result(), open_set.result()
            intervals = {
                **bootstrap_ranking(ranking),
                **bootstrap_roc(roc, q_ids=query_ids),
                **bootstrap_searches(searches, q_ids=query_ids),
            }
            results.append(
                QuerySetResult(
                    name,
                    ranking,
                    intervals,
                    time.perf_counter() - began,
                    Setting.of(benchmark.name, protocol, ranking, benchmark.gallery),
                    roc,
                    searches,
                )
            )
            continue
        if isinstance(after, Official):
            ranking = after.ranking(distance, query, gallery, **known)
        elif isinstance(after, KReciprocal):
            ranking = rank(after(distance, query, gallery, progress=progress), **known)
        else:
            order = np.argsort(query_cameras, kind="stable")  # one gallery for each camera
            ids, by = np.array(query_ids)[order], np.array(query_cameras)[order]
            blocks = after.blocks(
                distance,
                query.rows(torch.from_numpy(order)),
                gallery,
                q_cams=by,
                g_cams=gallery_cameras,
            )
            ranking = rank(blocks, **{**known, "q_ids": ids, "q_cams": by}).reordered(
                np.argsort(order)
            )
        results.append(
            QuerySetResult(
                name,
                ranking,
                bootstrap_ranking(ranking),
                time.perf_counter() - began,
                Setting.of(benchmark.name, protocol, ranking, benchmark.gallery),
            )
        )
    return tuple(results)


@door
def identities(samples: Sequence[Sample]) -> list[int]:
    return [sample.identity for sample in samples]


@door
def cameras(samples: Sequence[Sample]) -> list[int]:
    return [sample.camera for sample in samples]
