"""What the page shows of scores is what the scores are."""

from dataclasses import replace

import numpy as np
import pytest

from partreid.evaluation.result import by_method, differences
from partreid.metrics import bootstrap_difference, difference_over_seeds
from partreid.report.content import Forest, Plot, Table
from partreid.report.rows import rows
from partreid.report.sections import (
    cmc_section,
    color_slots,
    differences_section,
    headline,
    open_set_section,
    title,
    verification_section,
)
from tests.evaluation.made_up import result, results


@pytest.fixture(scope="module")
def every():
    return results()


def items(section, kind):
    return [item for block in section.blocks for item in block.items if isinstance(item, kind)]


def test_methods_get_their_colors_before_their_rules(every):
    assert color_slots(every) == {"plain_one": 0, "parts": 1, "parts, re-ranked": 2}
    many = [replace(every[2], name=f"m{i}") for i in range(8)]
    assert list(color_slots(many).values()) == [0, 1, 2, 3, 4, 5]
    assert "m7" not in color_slots(many)


def test_the_cmc_starts_at_rank_1_and_is_the_mean_over_seeds(every):
    holistic, occluded = items(cmc_section(every, color_slots(every)), Plot)
    assert (holistic.title, occluded.title) == ("Holistic queries", "Occluded queries")
    assert [s.name for s in holistic.series] == ["plain_one", "parts", "parts, re-ranked"]
    for series, seeds in zip(holistic.series, by_method(every), strict=True):
        cmc = [result.of("holistic").ranking.cmc for result in seeds]
        means = {k: np.mean([each[k] for each in cmc]) for k in (1, 5, 10, 20)}
        assert {k: series.y[k - 1] for k in means} == pytest.approx(means)
        assert list(series.y) == sorted(series.y) and series.x == tuple(range(1, 21))


def test_threshold_metrics_leave_re_ranked_rows_out(every):
    of, colors = rows(every), color_slots(every)
    for section in (verification_section(every, of, colors), open_set_section(every, of, colors)):
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
        verification_section(every[3:], of, colors) is None
        and open_set_section(every[3:], of, colors) is None
    )


def test_the_roc_goes_through_its_scores(every):
    roc = every[2].query_sets[0].roc
    series = items(verification_section(every, rows(every), color_slots(every)), Plot)[0].series[1]
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


def test_the_open_set_line_goes_through_its_scores(every):
    searches = every[2].query_sets[0].searches
    series = items(open_set_section(every, rows(every), color_slots(every)), Plot)[0].series[1]
    assert list(series.y) == pytest.approx([searches.dir_at(x) for x in series.x])
    assert {m.x: m.y for m in series.marks} == {f: searches.dir_at(f) for f in (0.01, 0.1)}


def test_tables_mark_the_best_and_less_is_better_where_it_is(every):
    of = rows(every)
    table = items(verification_section(every, of, color_slots(every)), Table)[0]
    assert table.columns == ("at 0.01 %", "at 0.1 %", "at 1 %", "EER")
    eers = {name: cells[3] for name, _, cells in table.rows}
    least = min(eers, key=lambda name: eers[name].value)
    assert {name: c.best for name, c in eers.items()} == {name: name == least for name in eers}
    assert eers["parts"].interval == of[1].intervals["EER"] and eers["plain_one"].interval is None


def test_differences_are_those_of_the_statistics(every):
    first, second, parts, ranked = every
    gains = differences(every)
    assert list(gains) == [
        (n, q) for n in ("parts", "parts, re-ranked") for q in ("holistic", "occluded")
    ]
    over = difference_over_seeds(
        [parts.of("holistic").ranking], [r.of("holistic").ranking for r in (first, second)]
    )
    assert gains["parts", "holistic"] == over and over["mAP"].value > 0
    alone = differences((parts, ranked))["parts, re-ranked", "occluded"]
    assert alone == bootstrap_difference(
        ranked.of("occluded").ranking, parts.of("occluded").ranking
    )
    assert differences((parts,)) == {}
    forest = items(differences_section(first, gains, color_slots(every)), Forest)[0]
    assert [(g.of, g.name) for g in forest.gains] == [
        (s, n) for s in ("Rank-1", "mAP", "mINP") for n in ("parts", "parts, re-ranked")
    ]
    mean = forest.gains[2]
    assert (mean.value, mean.low, mean.high, mean.p, mean.slot) == (*vars(over["mAP"]).values(), 1)


def test_the_headline_says_what_chance_could_explain(every):
    first, second, parts, _ = every
    words = headline((first, second), differences((first, second, parts)))
    assert words.startswith("parts is on holistic queries ")
    assert "points of mAP ahead of plain_one" in words
    twin = result("twin", seed=4, trained_as=4)
    assert "which chance could explain" in headline((parts,), differences((parts, twin)))
    assert headline((parts,), {}).startswith("parts is right for ")


def test_a_query_set_without_a_name_is_just_queries():
    assert title("query") == "Queries" and title("occluded") == "Occluded queries"
