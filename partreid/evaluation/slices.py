"""Where the scores of a run come from: its slices by cameras, parts, people and gallery."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from partreid.evaluation.result import RunResult
from partreid.evaluation.score import cameras, identities
from partreid.metrics import Ranking
from partreid.metrics.slices import (
    Slice,
    by_camera_pair,
    by_gallery_size,
    by_identity_size,
    by_occlusion,
    by_part,
    by_shared_parts,
    parts,
)
from partreid.types import DISTRACTOR, JUNK


@dataclass(frozen=True, eq=False)
class Breakdown:
    """Slices of one run on one query set, by kind; a kind that makes no sense for it is not there.

    visibility: of the body parts of its queries, float [Nq, parts]; None if it sees every part in
    all of them.
    """

    ranking: Ranking
    slices: Mapping[str, tuple[Slice, ...]]
    visibility: Tensor | None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            kind: [
                {
                    "name": s.name,
                    "key": list(s.key),
                    "queries": s.queries,
                    "pairs": s.pairs,
                    "weight": s.weight,
                    "scores": dict(s.scores),
                    "intervals": {n: [i.low, i.high] for n, i in s.intervals.items()},
                }
                for s in slices
            ]
            for kind, slices in self.slices.items()
        }


def break_down(result: RunResult) -> dict[str, Breakdown]:
    """Every query set's slices of one result, all but those by occlusion."""
    breakdowns = {}
    benchmark, gallery = result.benchmark, result.described.gallery
    for s in result.query_sets:
        query_samples, query = benchmark.queries[s.queries], result.described.queries[s.queries]
        part_names = parts(query.names)
        seen = query.select(*part_names).visibility if len(part_names) > 1 else None
        varies = seen is not None and bool((seen != 1).any())
        slices = {
            "cameras": by_camera_pair(
                s.ranking, q_cams=cameras(query_samples), g_cams=cameras(benchmark.gallery)
            )
        }
        if len(part_names) > 1 and (
            varies or bool((gallery.select(*part_names).visibility != 1).any())
        ):
            slices["shared"] = by_shared_parts(
                s.ranking, query.select(*part_names), gallery.select(*part_names)
            )
        if len(query.names) > 1:
            slices["alone"] = by_part(
                result.distance,
                query,
                gallery,
                q_ids=identities(query_samples),
                g_ids=identities(benchmark.gallery),
                q_cams=cameras(query_samples),
                g_cams=cameras(benchmark.gallery),
                protocol=result.protocol,
                distractor=DISTRACTOR,
                junk=JUNK,
            )
        slices["size"] = by_identity_size(s.ranking)
        slices["gallery"] = by_gallery_size(s.ranking, _sizes(s.ranking))
        breakdowns[s.queries] = Breakdown(s.ranking, slices, seen if varies else None)
    return breakdowns


def by_occlusion_of(
    all_of: Mapping[str, Mapping[str, Breakdown]],
) -> tuple[str, dict[str, dict[str, Breakdown]]]:
    """The same with every method's slices by occlusion, as the last method that sees hidden parts
    sees it; its name.

    So all methods are judged on the same queries; nothing is added if no method sees any.
    """
    reference = next(
        (
            name
            for name, sets in reversed(list(all_of.items()))
            if any(b.visibility is not None for b in sets.values())
        ),
        "",
    )
    if not reference:
        return "", {name: dict(sets) for name, sets in all_of.items()}
    seen = {queries: b.visibility for queries, b in all_of[reference].items()}

    def with_it(queries: str, b: Breakdown) -> Breakdown:
        shown = seen[queries]
        return (
            b
            if shown is None
            else replace(b, slices={**b.slices, "occlusion": by_occlusion(b.ranking, shown)})
        )

    return reference, {
        name: {q: with_it(q, b) for q, b in sets.items()} for name, sets in all_of.items()
    }


def _sizes(ranking: Ranking) -> list[int]:
    """Eight numbers of wrong images, up to as many as there are, each the same factor more than
    the one before.
    """
    wrong = max(
        int(size) - len(ranks) for size, ranks in zip(ranking.size, ranking.ranks, strict=True)
    )
    least = min(max(wrong // 100, 10), max(wrong, 1))
    sizes: list[int] = np.unique(
        np.geomspace(least, max(wrong, 1), 8).round().astype(np.int64)
    ).tolist()
    return sizes
