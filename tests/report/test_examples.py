"""The queries that are drawn are those where two methods differ most, one of a person, both ways
round.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partreid.evaluation import evaluate_run
from partreid.evaluation.result import QuerySetResult, RunResult
from partreid.inference import load
from partreid.metrics import Ranking
from partreid.report.examples import example, largest_differences, rescued_and_failed
from partreid.types import Benchmark
from tests.evaluation.made_up import result

MADE = result("made")
SETTING = MADE.query_sets[0].setting


def of_ranks(name: str, **ranks: list[list[int]]) -> RunResult:
    """By query set, the ranks of each query's right answers; persons 1, 1, 2, 2, ..."""
    query_sets = []
    for queries, each in ranks.items():
        ranking = Ranking(
            "market1501",
            tuple(np.array(r, np.int64) for r in each),
            np.zeros((len(each), 10), np.int64),
            np.arange(2, len(each) + 2) // 2,
        )
        query_sets.append(QuerySetResult(queries, ranking, {}, 0.0, SETTING))
    return replace(MADE, name=name, query_sets=tuple(query_sets))


def test_the_largest_regrets_both_ways() -> None:
    reference = of_ranks("a", easy=[[1], [1], [9], [4]], hard=[[1], [20], [1], [50]])
    rival = of_ranks("b", easy=[[1], [3], [1], [1]], hard=[[30], [1], [2], [1]])
    largest = largest_differences(reference, rival, 2)
    # gains: hard 3 (1 - 1/50, person 2), hard 1 (1 - 1/20, person 1); easy 2 and 3 are person 2
    # again losses: persons 1 and 2 are taken, one query of a person on the whole page
    assert [(q, row) for q, row, _ in largest] == [("hard", 3), ("hard", 1)]
    assert [gain for _, _, gain in largest] == pytest.approx([1 - 1 / 50, 1 - 1 / 20])
    turned = largest_differences(rival, reference, 1)
    assert [(q, row) for q, row, _ in turned] == [("hard", 0), ("hard", 3)]
    assert turned[0][2] == pytest.approx(1 - 1 / 30)


def test_queries_that_both_or_neither_answer_at_once_are_no_regret() -> None:
    same = of_ranks("a", only=[[1], [5], []])
    assert largest_differences(same, of_ranks("b", only=[[1], [2], []]), 2) == []


def test_a_query_is_shown_as_each_method_sees_it(
    world: Path, benchmark: Benchmark, trained: Callable[[str], Path]
) -> None:
    parts, plain = (
        evaluate_run(load(trained(name), "cpu"), benchmark) for name in ("bpbreid", "bot")
    )
    assert (parts.matching.words, plain.matching.words) == ("visible parts", "")
    made = example("t", "s", (parts, plain), "occluded", 3)
    assert list(made.rankings) == list(made.views) == ["bpbreid", "bot"]
    assert made.views["bpbreid"].probs is not None and made.views["bot"].probs is None
    assert made.query.probs is not None  # beside the photograph stands the last one that has maps
    for matches in made.rankings.values():
        distances = [m.distance for m in matches]
        assert len(matches) == 10 and distances == sorted(distances)

    rescued, failed = rescued_and_failed(plain.of("occluded"), parts.of("occluded"), 3, 2)
    ours, rival = parts.of("occluded").ranking, plain.of("occluded").ranking
    assert all(ours.first[i] == 1 < rival.first[i] for i in rescued) and all(
        ours.first[i] > 1 for i in failed
    )
    assert len(np.unique(ours.identities[rescued])) == len(rescued)
