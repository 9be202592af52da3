"""Queries worth a look and what methods answer to them, drawn with their reasons."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partreid.data.loader import image_batches
from partreid.evaluation.result import QuerySetResult, RunResult
from partreid.explain.evidence import explain_pairs
from partreid.explain.overlays import Shown
from partreid.explain.sheets import PAPER, Match, ranking_sheet
from partreid.inference import Hit, Model
from partreid.report.content import Example
from partreid.report.rows import query_set_name
from partreid.types import Sample

_MOST_RIVALS = 3  # whose answers are drawn beside the reference's


def part_maps(model: Model, samples: Sequence[Sample]) -> list[Shown]:
    """Samples with the model's part maps and visibilities."""
    shown: list[Shown] = []
    with torch.inference_mode():
        for images in image_batches(samples, model.recipe.size):
            out = model.method(images.to(model.device))
            first = len(shown)
            shown += [
                Shown.of(samples[first + row], out.parts, out.groups.get("parts"), row)
                for row in range(len(images))
            ]
    return shown


def answers_picture(
    model: Model, queries: Sequence[Path], answers: Sequence[Sequence[Hit]]
) -> Image.Image:
    """Queries with their answers, one sheet below the other; ticked where a calibration calls
    them the same person, and where it decides nothing about any, its title says so.
    """
    sheets = []
    for path, hits in zip(queries, answers, strict=True):
        crops = [Sample.of_nobody(p) for p in (path, *(h.file for h in hits))]
        query, *shown = part_maps(model, crops)
        matches = [Match(s, h.same or None, h.evidence) for s, h in zip(shown, hits, strict=True)]
        title = path.name
        if model.calibration is not None:
            none = hits and all(h.same is None for h in hits)
            title += ": nothing is decided" if none else ": ticked if called the same person"
        sheets.append(ranking_sheet(query, {title: matches}, len(matches)))
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), PAPER)
    for i, one in enumerate(sheets):
        whole.paste(one, (0, sum(s.height for s in sheets[:i])))
    return whole


def answers(result: RunResult, queries: str, row: int, top: int = 10) -> tuple[Match, ...]:
    """What a model answers to one query, nearest first, with evidence."""
    nearest = [int(i) for i in result.of(queries).ranking.top[row][:top] if i >= 0]
    evidence = explain_pairs(
        result.distance,
        result.described.queries[queries],
        result.described.gallery,
        [row] * len(nearest),
        nearest,
    )
    query = result.benchmark.queries[queries][row]
    samples = [result.benchmark.gallery[i] for i in nearest]
    return tuple(
        Match(s, sample.identity == query.identity, e)
        for s, sample, e in zip(part_maps(result.model, samples), samples, evidence, strict=True)
    )


def example(
    title: str, story: str, results: Sequence[RunResult], queries: str, row: int
) -> Example:
    """A query and what every model answers; beside the photograph it is shown as the last model
    with maps sees it.
    """
    sample = results[0].benchmark.queries[queries][row]
    seen = {r.name: part_maps(r.model, [sample])[0] for r in results}
    query = next(
        (s for s in reversed(seen.values()) if s.probs is not None), seen[results[-1].name]
    )
    return Example(title, story, query, {r.name: answers(r, queries, row) for r in results}, seen)


def examples(results: Sequence[RunResult]) -> tuple[Example, ...]:
    """Of one method its best and worst query of each set; of several the queries that tell them
    from the first. Of every method one result, with its embeddings.
    """
    reference, *rivals = results
    if not rivals:
        return _best_and_worst(reference)
    rivals = rivals[:_MOST_RIVALS]
    made = []
    for rival in rivals:
        each = 2 if len(rivals) == 1 else 1
        for queries, row, gain in largest_differences(reference, rival, each):
            winner, loser = (rival, reference) if gain > 0 else (reference, rival)
            place = loser.of(queries).ranking.first[row]
            made.append(
                example(
                    f"{winner.name} right, {loser.name} wrong",
                    f"From the {query_set_name(queries)}. The average precision is "
                    f"{100 * abs(gain):.0f} points higher with {winner.name}; {loser.name}'s "
                    f"first right answer comes at place {place}.",
                    (reference, rival),
                    queries,
                    row,
                )
            )
    return tuple(made)


def _best_and_worst(result: RunResult) -> tuple[Example, ...]:
    made = []
    for s in result.query_sets:
        best, worst = (
            int(extreme(s.ranking.ap_of_query)) for extreme in (np.nanargmax, np.nanargmin)
        )
        for row in dict.fromkeys((best, worst)):
            word = "Found" if s.ranking.first[row] == 1 else "Missed"
            title = f"{word}: {query_set_name(s.queries)}"
            made.append(example(title, "", (result,), s.queries, row))
    return tuple(made)


def largest_differences(
    reference: RunResult, rival: RunResult, each: int
) -> list[tuple[str, int, float]]:
    """(query set, row, gain in AP) of the queries where one is right at once and the other is not.

    The ``each`` greatest gains of the rival, then its ``each`` greatest losses, one query of a
    person.
    """
    candidates: list[tuple[float, str, int, int]] = []
    for a, b in zip(reference.query_sets, rival.query_sets, strict=True):
        n = len(a.ranking.top)
        first, other = a.ranking.first[:n], b.ranking.first[:n]  # the first draw's come first
        gain = b.ranking.ap_of_query - a.ranking.ap_of_query
        for row in np.flatnonzero((first > 0) & ((first == 1) != (other == 1))).tolist():
            if (other[row] == 1) == (gain[row] > 0):
                candidates.append(
                    (float(gain[row]), a.queries, row, int(a.ranking.identities[row]))
                )
    chosen: list[tuple[str, int, float]] = []
    people: set[int] = set()
    for order in (
        sorted(c for c in candidates if c[0] > 0)[::-1],
        sorted(c for c in candidates if c[0] < 0),
    ):
        left = each
        for gained, queries, row, person in order:
            if left and person not in people:
                chosen.append((queries, row, gained))
                people.add(person)
                left -= 1
    return chosen


def rescued_and_failed(
    rival: QuerySetResult, result: QuerySetResult, rescued: int = 3, failed: int = 2
) -> tuple[list[int], list[int]]:
    """Queries that ``result`` answers right at once and ``rival`` does not, by greatest gain in AP,
    one per identity; and the ones where ``result`` does worst against the rival.
    """
    gain = np.nan_to_num(result.ranking.ap_of_query - rival.ranking.ap_of_query)
    first, other = result.ranking.first, rival.ranking.first  # the first draw's come first

    def pick(order: NDArray[np.int64], wanted: NDArray[np.bool_], n: int) -> list[int]:
        picked: dict[int, int] = {}
        for i in order:
            if wanted[i] and int(result.ranking.identities[i]) not in picked and len(picked) < n:
                picked[int(result.ranking.identities[i])] = int(i)
        return list(picked.values())

    return (
        pick(np.argsort(-gain, kind="stable"), (first == 1) & (other > 1), rescued),
        pick(np.argsort(gain, kind="stable"), (first > 1) & (other >= 1), failed),
    )
