"""The queries that are drawn are those where two methods differ most, one of a person, both ways
round.
"""

import numpy as np
import pytest

from partreid.evaluation.outcome import regrets
from partreid.evaluation.run import Judged
from partreid.evaluation.score import Scored
from partreid.metrics import Ranking


def judged(name: str, **ranks: list[list[int]]) -> Judged:
    """By query set, the ranks of each query's right answers; persons 1, 1, 2, 2, ..."""
    scored = []
    for queries, each in ranks.items():
        ranking = Ranking(
            "market1501",
            tuple(np.array(r, np.int64) for r in each),
            np.zeros((len(each), 10), np.int64),
            np.arange(2, len(each) + 2) // 2,
        )
        scored.append(Scored(queries, ranking, {}, 0.0))
    return Judged(name, None, None, None, tuple(scored))  # type: ignore[arg-type]


def test_the_largest_regrets_both_ways() -> None:
    reference = judged("a", easy=[[1], [1], [9], [4]], hard=[[1], [20], [1], [50]])
    rival = judged("b", easy=[[1], [3], [1], [1]], hard=[[30], [1], [2], [1]])
    found = regrets(reference, rival, 2)
    # gains: hard 3 (1 - 1/50, person 2), hard 1 (1 - 1/20, person 1); easy 2 and 3 are person 2
    # again losses: persons 1 and 2 are taken, one query of a person on the whole page
    assert [(q, row) for q, row, _ in found] == [("hard", 3), ("hard", 1)]
    assert [gain for _, _, gain in found] == pytest.approx([1 - 1 / 50, 1 - 1 / 20])
    turned = regrets(rival, reference, 1)
    assert [(q, row) for q, row, _ in turned] == [("hard", 0), ("hard", 3)]
    assert turned[0][2] == pytest.approx(1 - 1 / 30)


def test_queries_that_both_or_neither_answer_at_once_are_no_regret() -> None:
    same = judged("a", only=[[1], [5], []])
    assert regrets(same, judged("b", only=[[1], [2], []]), 2) == []
