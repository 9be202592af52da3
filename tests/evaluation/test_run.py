"""What demo and eval share: rows on a terminal, queries that tell two methods apart, a query as
each method sees it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partreid.evaluation.run import example, judge, print_scores, telling_queries
from partreid.inference import load
from partreid.report.content import Score
from partreid.types import Benchmark


def test_rows_are_printed_in_percent_with_their_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(
        [
            Score("a", "all", None, 0.5, 0.6, 0.4, 0.3),
            Score("b", "all", True, 0.51, 0.6, 0.4, 0.3, (0.4, 0.62), (0.3, 0.5), 12.4, seeds=3),
        ],
        "A title",
    )
    title, head, one, three = capsys.readouterr().out.splitlines()
    assert title == "A title" and "Rank-1 [95 %]" in head
    assert "50.0" in one and "seeds" not in one
    assert (
        "b (3 seeds)" in three
        and "51.0 [40.0, 62.0]" in three
        and "visible parts" in three
        and "12" in three
    )


def test_a_query_is_shown_as_each_method_sees_it(
    world: Path, benchmark: Benchmark, trained: Callable[[str], Path]
) -> None:
    judged = [
        judge(name, load(trained(name), "cpu"), benchmark, sees)
        for name, sees in (("bpbreid", True), ("bot", None))
    ]
    made = example("t", "s", judged, benchmark, "occluded", 3)
    assert list(made.rankings) == list(made.seen) == ["bpbreid", "bot"]
    assert made.seen["bpbreid"].probs is not None and made.seen["bot"].probs is None
    assert made.query.probs is not None  # beside the photograph stands the last one that has maps
    for matches in made.rankings.values():
        distances = [m.distance for m in matches]
        assert len(matches) == 10 and distances == sorted(distances)

    rescued, failed = telling_queries(judged[1].scored[1], judged[0].scored[1], 3, 2)
    own, rival = judged[0].scored[1].ranking, judged[1].scored[1].ranking
    assert all(own.first[i] == 1 < rival.first[i] for i in rescued) and all(
        own.first[i] > 1 for i in failed
    )
    assert len(np.unique(own.identities[rescued])) == len(rescued)
