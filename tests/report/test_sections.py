"""What the page shows of scores is what the scores are."""

import numpy as np
import pytest

from partreid.evaluation.rows import Arm, rows
from partreid.metrics import bootstrap_difference, difference_over_seeds
from partreid.report.content import Forest, Plot, Table
from partreid.report.sections import (
    compared,
    differences,
    found,
    headline,
    searched,
    slots,
    title,
    verified,
)
from tests.evaluate.made_up import arms, scored


@pytest.fixture(scope="module")
def all_arms():
    return arms()


def items(section, kind):
    return [item for block in section.blocks for item in block.items if isinstance(item, kind)]


def test_methods_get_their_colours_before_their_rules(all_arms):
    assert slots(all_arms) == {"plain_one": 0, "parts": 1, "parts, re-ranked": 2}
    many = [Arm(f"m{i}", None, (1,), all_arms[1].runs) for i in range(8)]
    assert list(slots(many).values()) == [0, 1, 2, 3, 4, 5] and "m7" not in slots(many)


def test_the_cmc_starts_at_rank_1_and_is_the_mean_over_seeds(all_arms):
    holistic, occluded = items(found(all_arms, slots(all_arms)), Plot)
    assert (holistic.title, occluded.title) == ("Holistic queries", "Occluded queries")
    assert [s.name for s in holistic.series] == ["plain_one", "parts", "parts, re-ranked"]
    for series, arm in zip(holistic.series, all_arms, strict=True):
        means = {k: np.mean([s.ranking.cmc[k] for s in arm.on("holistic")]) for k in (1, 5, 10, 20)}
        assert {k: series.y[k - 1] for k in means} == pytest.approx(means)
        assert list(series.y) == sorted(series.y) and series.x == tuple(range(1, 21))


def test_threshold_metrics_leave_re_ranked_rows_out(all_arms):
    of, colours = rows(all_arms), slots(all_arms)
    for section in (verified(all_arms, of, colours), searched(all_arms, of, colours)):
        assert {s.name for plot in items(section, Plot) for s in plot.series} == {
            "plain_one",
            "parts",
        }
        assert {name for table in items(section, Table) for name, _, _ in table.rows} == {
            "plain_one",
            "parts",
        }
        assert all(
            words != "re-ranked" for table in items(section, Table) for _, words, _ in table.rows
        )
    assert (
        verified(all_arms[2:], of, colours) is None and searched(all_arms[2:], of, colours) is None
    )


def test_the_roc_goes_through_its_scores(all_arms):
    roc = all_arms[1].runs[0][0].roc
    series = items(verified(all_arms, rows(all_arms), slots(all_arms)), Plot)[0].series[1]
    assert (
        list(series.x) == sorted(series.x)
        and list(series.y) == sorted(series.y)
        and series.y[-1] == 1
    )
    for x, y in zip(series.x[::20], series.y[::20]):
        assert y == pytest.approx(roc.tpr_at(x))
    marks = {m.x: m.y for m in series.marks[:-1]}
    assert marks == pytest.approx({f: roc.tpr_at(f) for f in (1e-4, 1e-3, 1e-2)})
    assert (series.marks[-1].x, series.marks[-1].y) == pytest.approx((roc.eer, 1 - roc.eer))


def test_the_open_set_line_goes_through_its_scores(all_arms):
    searches = all_arms[1].runs[0][0].searches
    series = items(searched(all_arms, rows(all_arms), slots(all_arms)), Plot)[0].series[1]
    assert list(series.y) == pytest.approx([searches.dir_at(x) for x in series.x])
    assert {m.x: m.y for m in series.marks} == {f: searches.dir_at(f) for f in (0.01, 0.1)}


def test_tables_mark_the_best_and_less_is_better_where_it_is(all_arms):
    of = rows(all_arms)
    table = items(verified(all_arms, of, slots(all_arms)), Table)[0]
    assert table.columns == ("at 0.01 %", "at 0.1 %", "at 1 %", "EER")
    eers = {name: cells[3] for name, _, cells in table.rows}
    least = min(eers, key=lambda name: eers[name].value)
    assert {name: c.best for name, c in eers.items()} == {name: name == least for name in eers}
    assert eers["parts"].interval == of[1].intervals["EER"] and eers["plain_one"].interval is None


def test_differences_are_those_of_the_statistics(all_arms):
    reference, parts, ranked = all_arms
    gains = differences(reference, (parts, ranked))
    assert list(gains) == [
        (n, q) for n in ("parts", "parts, re-ranked") for q in ("holistic", "occluded")
    ]
    over = difference_over_seeds(
        [parts.runs[0][0].ranking], [s.ranking for s in reference.on("holistic")]
    )
    assert gains["parts", "holistic"] == over and over["mAP"].value > 0
    alone = differences(parts, (ranked,))["parts, re-ranked", "occluded"]
    assert alone == bootstrap_difference(ranked.runs[0][1].ranking, parts.runs[0][1].ranking)
    forest = items(compared(reference, gains, slots(all_arms)), Forest)[0]
    assert [(g.of, g.name) for g in forest.gains] == [
        (s, n) for s in ("Rank-1", "mAP", "mINP") for n in ("parts", "parts, re-ranked")
    ]
    mean = forest.gains[2]
    assert (mean.value, mean.low, mean.high, mean.p, mean.slot) == (*vars(over["mAP"]).values(), 1)


def test_the_headline_says_what_chance_could_explain(all_arms):
    reference, parts, _ = all_arms
    said = headline(reference, differences(reference, (parts,)))
    assert (
        said.startswith("parts is on holistic queries ")
        and "points of mAP ahead of plain_one" in said
    )
    same = Arm("twin", True, (4,), (scored(4, 0.8),))
    assert "which chance could explain" in headline(parts, differences(parts, (same,)))
    assert headline(parts, {}).startswith("parts is right for ")


def test_a_query_set_without_a_name_is_just_queries():
    assert title("query") == "Queries" and title("occluded") == "Occluded queries"
