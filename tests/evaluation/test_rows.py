"""Rows say the same numbers everywhere: in JSON, in a spreadsheet and in a paper."""

import csv
import html
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from partreid.evaluation.rows import Arm, as_score, escaped, latex, plain, rows
from partreid.evaluation.rows import csv as as_csv
from partreid.evaluation.run import print_scores
from partreid.evaluation.score import Described, score
from partreid.evaluation.setting import Setting
from partreid.metrics import MARKET
from partreid.metrics.protocols import SINGLE_SHOT
from partreid.report.content import Report, Score
from partreid.report.pages import render
from tests.evaluate.made_up import BENCHMARK, DISTANCE, arms, described, scored


@pytest.fixture(scope="module")
def made():
    return rows(arms())


def test_one_row_for_every_method_rule_and_query_set(made):
    assert [(r.queries, r.method, r.visibility, r.seeds) for r in made] == [
        (queries, *of)
        for queries in ("holistic", "occluded")
        for of in (("plain_one", None, (1, 2)), ("parts", True, (1,)), ("parts", "re-ranked", (1,)))
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
    ranked = [r for r in made if r.visibility == "re-ranked"]
    assert len(ranked) == 2
    for row in ranked:
        assert set(row.scores) == {"mAP", "mINP", "R1", "R5", "R10", "R20"} == set(row.intervals)
        assert not {"EER", "TPR@1e-3", "AUROC", "DIR@1%", "FNIR@10%"} & set(plain(row)["scores"])


def test_csv_parses_back_to_the_same_numbers(made):
    table = list(csv.DictReader(io.StringIO(as_csv(made))))
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
    text = latex(made)
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
    row = plain(made[1])
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
    assert plain(made[0])["visibility"] is False and row["visibility"] is True
    assert row["rank1"] == row["scores"]["R1"] == made[1].scores["R1"]
    odd = made[1].__class__(**{**vars(made[1]), "scores": {**made[1].scores, "AUROC": math.nan}})
    assert json.loads(json.dumps(plain(odd), allow_nan=False))["scores"]["AUROC"] is None


def test_the_first_table_gets_the_same(made):
    score = as_score(made[0])
    assert isinstance(score, Score) and (score.method, score.seeds, score.setting.scored) == (
        "plain_one",
        2,
        36,
    )
    assert score.mAP == made[0].scores["mAP"] and score.mAP_interval == made[0].intervals["mAP"]


def test_a_label_says_the_rule_only_where_it_is_not_the_usual_one():
    runs = (scored(3, 0.8),)
    assert Arm("a", True, (1,), runs).label == "a"
    assert Arm("a", "re-ranked", (1,), runs, plain=False).label == "a, re-ranked"


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
        return score(DISTANCE, Described(d.queries, d.gallery.rows(where)), benchmark, protocol)

    return {
        p: rows((Arm("=parts\udce9", True, (1,), (of(p),), seconds=(7.0,)),))
        for p in (MARKET, SINGLE_SHOT)
    }


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
    print_scores([as_score(row) for row in made], "title")
    screen = capsys.readouterr().out
    line = next(csv.DictReader(io.StringIO(as_csv(made))))
    said = {
        "terminal": screen,
        "html": html.unescape(render(Report("t", scores=tuple(map(as_score, made))))),
        "latex": latex(made),
        "csv": " ".join(f"{k}={v}" for k, v in line.items()),
        "json": json.dumps([plain(row) for row in made]),
    }
    for where, text in said.items():
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
            assert words in said[where], (where, words)
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
    assert json.loads(said["json"])[0]["setting"]["left_out"] == 3
    assert made[0].scored == 33  # once, however many draws
