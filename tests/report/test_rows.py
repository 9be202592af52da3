"""Rows say the same numbers everywhere: in JSON, in a spreadsheet and in a paper."""

import csv
import html
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from partreid.evaluation.result import Embedded, Matching, Setting
from partreid.evaluation.score import score
from partreid.metrics import MARKET
from partreid.metrics.protocols import SINGLE_SHOT
from partreid.report.content import Report
from partreid.report.pages import render
from partreid.report.rows import (
    csv_table,
    escaped,
    latex_rows,
    print_rows,
    row_to_json,
    rows,
)
from tests.evaluation.made_up import BENCHMARK, DISTANCE, described, result, results, scored


@pytest.fixture(scope="module")
def made():
    return rows(results())


def test_one_row_for_every_method_rule_and_query_set(made):
    assert [(r.queries, r.method, r.matching.words, r.seeds) for r in made] == [
        (queries, *of)
        for queries in ("holistic", "occluded")
        for of in (
            ("plain_one", "", (1, 2)),
            ("parts", "visible parts", (1,)),
            ("parts", "re-ranked", (1,)),
        )
    ]
    assert {r.scored for r in made} == {36}


def test_several_seeds_are_a_mean_and_one_is_itself(made):
    several, one, _ = made[:3]
    for name, values in several.by_seed.items():
        assert len(values) == 2 and several.scores[name] == pytest.approx(np.mean(values))
    assert several.spread("mAP") == pytest.approx(
        abs(np.subtract(*several.by_seed["mAP"])) / math.sqrt(2)
    )
    assert math.isnan(one.spread("mAP")) and several.seconds == 10 and one.seconds is None
    alone = scored(3, 0.8)[0]
    assert one.scores == alone.scores
    assert one.intervals["mAP"] == (alone.intervals["mAP"].low, alone.intervals["mAP"].high)
    low, high = several.intervals["mAP"]
    assert low < min(several.by_seed["mAP"]) and max(several.by_seed["mAP"]) < high
    # nobody knows how seeds move a threshold
    assert "EER" in several.scores and "EER" not in several.intervals


def test_re_ranked_rows_carry_no_threshold_metric(made):
    ranked = [r for r in made if r.matching.after == "re-ranked"]
    assert len(ranked) == 2
    for row in ranked:
        assert set(row.scores) == {"mAP", "mINP", "R1", "R5", "R10", "R20"} == set(row.intervals)
        assert not {"EER", "TPR@1e-3", "AUROC", "DIR@1%", "FNIR@10%"} & set(
            row_to_json(row)["scores"]
        )


def test_csv_parses_back_to_the_same_numbers(made):
    table = list(csv.DictReader(io.StringIO(csv_table(made))))
    assert len(table) == len(made)
    for line, row in zip(table, made, strict=True):
        assert (line["method"], line["queries"]) == (row.method, row.queries)
        assert line["seeds"] == " ".join(map(str, row.seeds))
        assert int(line["queries_scored"]) == row.scored
        for name in ("mAP", "R1", "TPR@1e-3", "EER", "AUROC"):
            if name in row.scores:
                assert float(line[name]) == row.scores[name]
            else:
                assert line[name] == ""
            if name in row.intervals:
                assert (float(line[f"{name}_low"]), float(line[f"{name}_high"])) == row.intervals[
                    name
                ]
            else:
                assert line[f"{name}_low"] == line[f"{name}_high"] == ""


def test_latex_has_as_many_columns_in_every_row(made):
    text = latex_rows(made)
    assert text.count(r"\begin{tabular}{lrrrr}") == text.count(r"\end{tabular}") == 1
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    full = [line for line in lines if "multicolumn" not in line]
    assert len(full) == 1 + len(made) and {line.count(" & ") for line in full} == {4}
    assert [line for line in lines if "multicolumn" in line] == [
        rf"\multicolumn{{5}}{{l}}{{{words}}} \\"
        for q in ("holistic", "occluded")
        for words in (
            f"{q} queries of made-up: 36 of 36 scored, 72 gallery images",
            "protocol market1501, multi-shot",
        )
    ]
    assert r"plain\_one" in text and "plain_one" not in text and r"parts (re-ranked)" in text
    assert "toprule" not in text  # no package is needed
    several, one = made[:2]
    assert f"{100 * several.scores['mAP']:.1f} $\\pm$ {100 * several.spread('mAP'):.1f}" in text
    low, high = one.intervals["mAP"]
    assert f"{100 * one.scores['mAP']:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in text
    assert "standard deviation over 2 seeds" in text


def test_hostile_names_are_text_to_latex():
    assert escaped(r"a_b%c&d#e$f{g}h\i~j^k") == (
        r"a\_b\%c\&d\#e\$f\{g\}h\textbackslash{}i\textasciitilde{}j\textasciicircum{}k"
    )


def test_json_keeps_its_keys_and_knows_no_nan(made):
    row = row_to_json(made[1])
    assert {
        "method",
        "queries",
        "visibility",
        "rank1",
        "rank5",
        "mAP",
        "mINP",
        "rank1_interval",
        "mAP_interval",
        "queries_scored",
    } <= set(row)
    assert row_to_json(made[0])["visibility"] is False and row["visibility"] is True
    assert row["rank1"] == row["scores"]["R1"] == made[1].scores["R1"]
    odd = made[1].__class__(**{**vars(made[1]), "scores": {**made[1].scores, "AUROC": math.nan}})
    assert json.loads(json.dumps(row_to_json(odd), allow_nan=False))["scores"]["AUROC"] is None


@pytest.mark.parametrize(("matching", "words", "visibility"), [
    (Matching("visible parts"), "visible parts", True),
    (Matching("all parts"), "all parts", False),
    (Matching("exact masks"), "exact masks", "oracle"),
    (Matching(""), "", False),
    (Matching("visible parts", "re-ranked"), "re-ranked", "re-ranked"),
    (Matching("", "expanded"), "expanded", "expanded"),
])  # fmt: skip
def test_a_matching_is_words_to_readers_and_a_flag_or_words_to_json(
    matching, words, visibility, made
):
    row = row_to_json(replace(made[1], matching=matching))
    assert (matching.words, row["compares"], row["visibility"]) == (words, words, visibility)


def test_rows_are_printed_in_percent_with_their_seeds(made, capsys):
    print_rows(made[:2], "A title")
    title, head, several, one, setting = capsys.readouterr().out.splitlines()
    assert title == "A title" and "Rank-1 [95 %]" in head and "36 of 36 queries scored" in setting
    assert "plain_one (2 seeds)" in several and several.endswith(" 10") and "seeds" not in one
    low, high = made[1].intervals["mAP"]
    cell = f"{100 * made[1].scores['mAP']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert cell in one and "visible parts" in one


def test_a_label_says_the_rule_only_where_it_is_not_the_usual_one():
    first, *_, ranked = results()
    assert (first.label, ranked.label) == ("plain_one", "parts, re-ranked")


@pytest.fixture(scope="module")
def few():
    """Rows over 33 of 36 queries: one person is in no gallery; of it two images are distractors
    and three junk.
    """
    gallery = [s for s in BENCHMARK.gallery if s.identity != 1]
    changed = [
        *(replace(s, identity=0) for s in gallery[:2]),
        *(replace(s, identity=-1) for s in gallery[6:9]),
        *gallery[2:6],
        *gallery[9:],
    ]
    benchmark = replace(BENCHMARK, name="made-up-3", gallery=tuple(changed))
    where = [
        BENCHMARK.gallery.index(s)
        for s in [*gallery[:2], *gallery[6:9], *gallery[2:6], *gallery[9:]]
    ]

    def of(protocol):
        d = described(3, 0.8)
        return score(DISTANCE, Embedded(d.queries, d.gallery.rows(where)), benchmark, protocol)

    made = result("=parts\udce9", training_seconds=7.0)
    return {p: rows((replace(made, query_sets=of(p)),)) for p in (MARKET, SINGLE_SHOT)}


@pytest.mark.parametrize("protocol", [MARKET, SINGLE_SHOT])
def test_every_output_says_over_what_a_score_was_taken(few, protocol, capsys):
    made = few[protocol]
    s = made[0].setting
    assert s == Setting(
        "made-up-3", protocol.name, protocol.sentence, protocol.draws, 36, 33, 66, 2, 3
    )
    assert s.left_out == 3 and s.shots == (
        "single-shot, mean of 10 draws" if protocol.draws else "multi-shot"
    )
    print_rows(made, "title")
    screen = capsys.readouterr().out
    line = next(csv.DictReader(io.StringIO(csv_table(made))))
    outputs = {
        "terminal": screen,
        "html": html.unescape(render(Report("t", scores=made))),
        "latex": latex_rows(made),
        "csv": " ".join(f"{k}={v}" for k, v in line.items()),
        "json": json.dumps([row_to_json(row) for row in made]),
    }
    for where, text in outputs.items():
        text.encode()
        for words in ("made-up-3", protocol.name, s.shots, protocol.sentence):
            assert words in text.replace(r"\_", "_"), (where, words)
    for where in ("terminal", "html", "latex"):
        for words in (
            "33 of 36",
            "3 left out for want of a right answer",
            "66 gallery images",
            "2 of them distractors",
            "3 junk",
        ):
            assert words in outputs[where], (where, words)
    assert [
        line[k]
        for k in (
            "query_images",
            "queries_scored",
            "queries_left_out",
            "gallery_images",
            "distractors",
            "junk",
        )
    ] == ["36", "33", "3", "66", "2", "3"]
    assert line["method"] == "'=parts\\xe9" and "training, s" in screen and "seconds" not in screen
    assert json.loads(outputs["json"])[0]["setting"]["left_out"] == 3
    assert made[0].scored == 33  # once, however many draws
