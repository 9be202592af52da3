"""The page is whole, needs nothing else, shows the numbers it was given and no more than it was
given.
"""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.evaluation.result import Matching, Setting
from partreid.explain.evidence import Evidence, explain_pair
from partreid.explain.overlays import Shown
from partreid.explain.sheets import Match
from partreid.report.charts import curve, nice_above, ticks
from partreid.report.content import (
    Block,
    Cell,
    Example,
    Forest,
    Gain,
    Heat,
    LabelStory,
    Lesson,
    Mark,
    Plot,
    Report,
    Section,
    Series,
    Table,
)
from partreid.report.pages import fine, p_value, percent, render, signed, write
from partreid.report.rows import Interval, Row
from partreid.types import Embeddings

PARTS = ("head", "torso", "legs")
NAMES = ("foreground", *PARTS)
SETTING = Setting(
    "made-up", "market1501", "images of the query's own camera are left out", 0, 80, 77, 500, 20, 9
)
MEASURES = ("R1", "R5", "mAP", "mINP")
VOID = {"meta", "img", "br", "hr", "link", "input"}


def row(
    method: str,
    queries: str,
    parts: str,
    *scores: float,
    intervals: dict[str, Interval] | None = None,
    seconds: float | None = None,
) -> Row:
    """A row of one seed; scores: Rank-1, Rank-5, mAP, mINP."""
    of = dict(zip(MEASURES, scores, strict=True))
    by_seed = {name: (value,) for name, value in of.items()}
    return Row(
        method, Matching(parts), queries, (1,), SETTING, of, intervals or {}, by_seed, seconds
    )


class Page(HTMLParser):
    """Checks nesting and gathers what a test wants to know."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.alts: list[str | None] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.links += [
            v for k, v in attrs if k in ("src", "href", "srcset", "data", "action", "xlink:href")
        ]
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "img":
            self.alts.append(values.get("alt"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def evidence(seed, hidden=(), names=NAMES):
    rng = np.random.default_rng(seed)
    far, seen = rng.uniform(0.2, 1.4, len(names)), np.array([float(n not in hidden) for n in names])
    share = far * seen / seen.sum() if seen.any() else np.full(len(names), np.inf)
    return Evidence(
        names, float(share.sum()), np.where(seen > 0, far, np.nan), share, seen, np.ones(len(names))
    )


@pytest.fixture
def crops(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for i in range(4):
        paths.append(tmp_path / f"{i:04d}_c{i + 1}.jpg")
        Image.fromarray(rng.integers(0, 255, (64, 32, 3), np.uint8)).save(paths[-1])
    return paths


def shown(path, i, maps=True):
    if not maps:
        return Shown(path, i, i + 1)
    probs = np.random.default_rng(i).uniform(0, 1, (len(PARTS) + 1, 8, 4))
    return Shown(path, i, i + 1, probs / probs.sum(0), PARTS, np.array([1.0, 0.0, 1.0]))


@pytest.fixture
def report(crops):
    bot = tuple(
        Match(shown(p, i, False), i == 2, evidence(i, names=("global",)))
        for i, p in enumerate(crops)
    )
    bpb = tuple(
        Match(shown(p, i), i == 0, evidence(10 + i, ("torso",))) for i, p in enumerate(crops)
    )
    rng = np.random.default_rng(1)
    scores = tuple(
        row(
            method,
            queries,
            parts,
            *rng.uniform(0.1, 0.9, 4),
            intervals={"R1": (0.1, 0.3), "mAP": (0.2, 0.4)},
            seconds=12.3,
        )
        for queries in ("holistic", "occluded")
        for method, parts in (
            ("BoT", ""),
            ("BPBreID", "visible parts"),
            ("BPBreID", "all parts"),
            ("BPBreID", "exact masks"),
        )
    )
    rows = [
        {
            "step": i,
            "stage": 0,
            "epoch": i // 5,
            "lr": 1e-3,
            "loss": 9 - 0.2 * i,
            "id_global": 5 - 0.1 * i,
        }
        for i in range(30)
    ]
    return Report(
        "A title",
        "A subtitle",
        "The headline.",
        scores,
        (Example("Rescued", "A story.", shown(crops[0], 0), {"BoT": bot, "BPBreID": bpb}),),
        {"BoT": rows, "BPBreID": rows},
        {"head": 0.512, "torso": 0.623, "legs": 0.734, "mean": 0.623},
        {"head": 0.911, "torso": 0.922, "legs": 0.933, "mean": 0.922},
        {"holistic": 0.021, "occluded": 0.034, "chance": 0.019},
        {"device": "cpu"},
        ("A limit.",),
    )


def test_page_is_well_formed_and_needs_nothing_else(report):
    html = render(report)
    page = Page(html)
    assert page.links and all(
        link.startswith(("data:image/jpeg;base64,", "data:image/png;base64,"))
        for link in page.links
    )
    without_pictures = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", without_pictures)
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert None not in page.alts
    assert len(html) < 6e6


def test_every_score_is_shown(report):
    text = Page(render(report)).text
    for s in report.scores:
        for value in s.scores.values():
            assert percent(value) in text
    assert text.count("10.0–30.0") == text.count("20.0–40.0") == len(report.scores)
    assert "12.3" in text and "77" in text
    for value in (
        *report.part_iou.values(),
        *report.visibility_accuracy.values(),
        *report.leak.values(),
    ):
        assert percent(value) in text
    for words in (
        "A title",
        "A subtitle",
        "The headline.",
        "A story.",
        "A limit.",
        "device",
        "visible parts only",
        "all parts",
        "exact masks (oracle)",
        "first right answer at rank 3",
        "right at once",
    ):
        assert words in text


def test_every_distance_is_shown_and_its_parts_add_up_on_paper(report):
    html = render(report)
    text = Page(html).text
    ranking = report.examples[0].rankings["BPBreID"]
    for match in ranking:
        assert f"{match.distance:.3f}" in text
    e = ranking[0].evidence
    for m in np.nonzero(e.shared)[0]:
        assert f"{e.parts[m]:.2f}" in text
    sums = re.findall(r"((?:\d+\.\d{3} \+ )+\d+\.\d{3}) = (\d+\.\d{3})", text)
    assert len(sums) == 2  # the first answer and its rival
    for addends, total in sums:
        assert round(sum(map(float, addends.split(" + "))), 6) == float(total)
    assert sums[0][1] == f"{e.distance:.3f}" and len(sums[0][0].split("+")) == 3
    widths = [
        [float(w) for w in re.findall(r"width:([\d.]+)%", stack)]
        for stack in re.findall(r'<div class="stack".*?</div>', html, re.S)
    ]
    both = [ranking[0].distance, ranking[1].distance]
    for bars, distance in zip(widths, both, strict=True):
        assert sum(bars) == pytest.approx(100 * distance / max(both), abs=0.05)


def test_reason_is_told_in_words_and_marked_in_the_table(report):
    top, rival = report.examples[0].rankings["BPBreID"][:2]
    # the fixture's numbers are random; the nearest must come first
    if top.distance > rival.distance:
        top, rival = rival, top
    example = replace(
        report.examples[0],
        rankings={"BPBreID": (replace(top, right=True), replace(rival, right=False))},
    )
    html = render(replace(report, examples=(example,)))
    text = Page(html).text
    assert top.evidence.deciding(rival.evidence)
    assert top.evidence.sentence(rival.evidence, "the nearest wrong person (rank 2)") in text
    assert html.count('class="decides"') == len(top.evidence.deciding(rival.evidence))
    assert "Torso is hidden in the query and is not compared." in text and "not compared" in text


SECTIONS = {
    "scores": ((), "results"),
    "examples": ((), "examples"),
    "curves": ({}, "training"),
    "leak": (None, "leak"),
    "facts": ({}, "facts"),
    "notes": ((), "limits"),
}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_without_data_disappears_alone(report, name):
    everything = set(id_ for _, id_ in SECTIONS.values()) | {"parts"}
    nothing, id_ = SECTIONS[name]
    assert Page(render(report)).ids == everything
    assert Page(render(replace(report, **{name: nothing}))).ids == everything - {id_}


def test_part_section_shows_what_there_is(report):
    assert "parts" not in Page(render(replace(report, part_iou=None, visibility_accuracy=None))).ids
    only = Page(render(replace(report, part_iou=None))).text
    assert "Visibility, %" in only and "Overlap, %" not in only


def test_a_title_alone_is_a_page():
    page = Page(render(Report("Nothing yet")))
    assert page.ids == set() and "Nothing yet" in page.text and "None" not in page.text


def test_one_model_without_intervals_has_no_winner_and_no_whiskers(report):
    html = render(Report("One", scores=(row("bot", "all", "", 0.5, 0.6, 0.4, 0.3),)))
    text = Page(html).text
    assert (
        "50.0" in text and "95 %" not in text and "oracle" not in text and "Training, s" not in text
    )
    assert 'num best"' not in html


def test_best_fair_row_is_bold_and_the_oracle_never_is(report):
    rows = tuple(
        row(m, "holistic", parts, r, r, r, r)
        for m, parts, r in (("A", "", 0.3), ("B", "visible parts", 0.5), ("C", "exact masks", 0.9))
    )
    html = render(Report("x", scores=rows))
    assert re.findall(r'class="num best">([\d.]+)<', html) == ["50.0", "50.0"]


def test_hostile_names_are_only_text(report):
    evil = '<script>alert(1)</script>"><img src=x onerror=y>'
    example = replace(
        report.examples[0],
        title=evil,
        story=evil,
        rankings={evil: report.examples[0].rankings["BPBreID"]},
    )
    page = Page(
        render(
            replace(
                report,
                title=evil,
                subtitle=evil,
                headline=evil,
                examples=(example,),
                notes=(evil,),
                facts={evil: evil},
                curves={evil: report.curves["BoT"]},
                part_iou={evil: 0.5},
                leak={evil: 0.1},
                scores=(
                    replace(
                        report.scores[0], method=evil, queries=evil, matching=Matching("", evil)
                    ),
                ),
            )
        )
    )
    assert "script" not in page.tags and "x" not in page.links
    assert "<script>alert(1)</script>" in page.text


def test_pair_without_a_shared_part_is_shown_as_such(report, crops):
    lost = Match(shown(crops[1], 1), False, evidence(5, NAMES))
    html = render(
        replace(report, examples=(replace(report.examples[0], rankings={"BPBreID": (lost,)}),))
    )
    assert "no part in common" in Page(html).text and "inf" not in Page(html).text.split()


def test_soft_visibility_is_told(report, crops):
    far, query, match = (
        np.array(v) for v in ([0.5, 0.6, 0.7, 0.8], [1, 0.37, 1, 1], [1, 1, 0.62, 1])
    )
    share = far * query * match / (query * match).sum()
    soft = Match(
        shown(crops[1], 1), True, Evidence(NAMES, float(share.sum()), far, share, query, match)
    )
    text = Page(
        render(replace(report, examples=(replace(report.examples[0], rankings={"B": (soft,)}),)))
    ).text
    assert "37 % visible" in text and "62 % visible" in text
    assert "weighed by how visible" in text


def test_shrunk_distances_add_up_with_what_hidden_parts_bring(report, crops):
    q, g = (
        Embeddings(torch.randn(1, 3, 5), torch.tensor([[1.0, s, 1.0]]), PARTS) for s in (1.0, 0.0)
    )
    shrunk = explain_pair(PartDistance("cosine", shrink=1.0), q, g)
    example = replace(
        report.examples[0], rankings={"B": (Match(shown(crops[1], 1), True, shrunk),)}
    )
    text = Page(render(replace(report, examples=(example,)))).text
    ((addends, total),) = re.findall(r"((?:\d+\.\d{3} \+ )+\d+\.\d{3}) = (\d+\.\d{3})", text)
    assert len(addends.split(" + ")) == 3 and total == f"{shrunk.distance:.3f}"
    assert round(sum(map(float, addends.split(" + "))), 6) == float(total)
    assert "evidence that is missing" in text and "not compared" in text


def test_part_based_method_without_maps_gets_a_panel_too(report, crops):
    match = Match(shown(crops[1], 1, False), True, evidence(5, names=("stripe1", "stripe2")))
    example = replace(
        report.examples[0], query=shown(crops[0], 0, False), rankings={"PCB": (match,)}
    )
    assert "stripe 2" in Page(render(replace(report, examples=(example,)))).text


def test_write_is_atomic_and_explains_itself(report, tmp_path, monkeypatch):
    path = write(report, tmp_path / "new" / "report.html")
    first = path.read_bytes()
    assert first.startswith(b"<!doctype html>") and list(path.parent.iterdir()) == [path]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("partreid.utils.files.os.replace", full)
    with pytest.raises(DataError, match=r"disk is full.*free some space"):
        write(replace(report, title="Another"), path)
    assert path.read_bytes() == first and list(path.parent.iterdir()) == [path]


def test_labels_over_the_rounds_are_shown_beside_the_truth(report):
    query = report.examples[0].query
    html = render(
        replace(
            report,
            labels=(LabelStory("ISP", (("round one", query), ("the exact labels", query))),),
            label_quality={"ISP": {"foreground": 0.517, "bags": 0.219}},
            label_rounds={
                "ISP": [
                    {
                        "epoch": 0,
                        "foreground_share": 0.268,
                        "agreement": None,
                        "parts_per_image": 4.6,
                        "seconds": 9.0,
                        "fallbacks": 0,
                    },
                    {
                        "epoch": 2,
                        "foreground_share": 0.423,
                        "agreement": 0.607,
                        "parts_per_image": 4.7,
                        "seconds": 13.0,
                        "fallbacks": 49,
                    },
                ]
            },
        )
    )
    page = Page(html)
    assert "labels" in page.ids and "51.7" in page.text and "21.9" in page.text
    assert all(
        number in page.text for number in ("26.8", "42.3", "60.7", "fallbacks for 49 people")
    )
    assert page.text.index("round one") < page.text.index("the exact labels")
    assert "labels" not in Page(render(report)).ids


def test_what_only_training_sees_is_drawn(report):
    picture = Image.new("RGB", (40, 20), "#336699")
    page = Page(
        html := render(
            replace(
                report,
                lessons=(
                    Lesson(
                        "Tiles of a person",
                        "Why they are there.",
                        (("identity 7", picture), ("identity 8", picture)),
                    ),
                ),
            )
        )
    )
    assert "lessons" in page.ids and "Tiles of a person" in page.text and "identity 8" in page.text
    assert html.count('alt="identity') == 2
    assert "lessons" not in Page(render(report)).ids


def section(name="the method"):
    """One of everything, with values that stand nowhere else on the page."""
    return Section(
        "everything",
        "A heading",
        "A story of it.",
        (
            Block(
                "Lines",
                "How to read lines.",
                (
                    Plot(
                        "Holistic queries",
                        "answers",
                        "found, %",
                        (
                            Series(
                                name,
                                (1, 2, 3),
                                (0.1, 0.5, 0.9),
                                0,
                                (Mark(2, 0.5, "a dot"), Mark(3, 0.9, "equal error rate")),
                            ),
                            Series("another", (1, 3), (0.2, 0.4), 4),
                        ),
                    ),
                ),
            ),
            Block(
                "",
                "How to read numbers.",
                (
                    Table(
                        "A table",
                        "Method",
                        ("first", "second"),
                        (
                            (
                                name,
                                "small words",
                                (Cell(0.4711, (0.0312, 0.5713), True), Cell(None)),
                            ),
                        ),
                    ),
                ),
            ),
            Block(
                "",
                "How to read shades.",
                (
                    Heat(
                        "A map",
                        "query",
                        ("1", "2"),
                        (("1", (None, 0.321)), ("2", (0.654, 0.5))),
                        ((0, 17), (18, 19)),
                    ),
                ),
            ),
            Block(
                "",
                "How to read bars.",
                (Forest("A forest", (Gain(name, "mAP", 0.123, -0.045, 0.234, 0.0004, 3),)),),
            ),
            Block(
                "",
                "Never read.",
                (Plot("Nothing", "x", "y", ()), Table("Empty", "x", (), ()), Forest("None", ())),
            ),
        ),
        "At its foot.",
    )


def test_a_section_shows_every_kind_of_item(report):
    report = replace(report, examples=())
    html = render(replace(report, sections=(section(),)))
    page = Page(html)
    assert "everything" in page.ids
    for words in (
        "A heading",
        "A story of it.",
        "At its foot.",
        "How to read lines.",
        "How to read numbers.",
        "How to read shades.",
        "How to read bars.",
        "Holistic queries",
        "found, %",
        "answers",
        "a dot",
        "47.1",
        "3.1–57.1",
        "small words",
        "32.1",
        "65.4",
        "17",
        "+12.3",
        "−4.5",
        "+23.4",
        "< 0.001",
    ):
        assert words in page.text, words
    assert "Never read" not in page.text and "Nothing" not in page.text and "None" not in page.text
    # in the plot and in its legend
    assert html.count('class="line s0"') == html.count('class="line s4"') == 2
    assert html.count('class="point s0"') == html.count('class="ring s0"') == 1
    assert 'class="best">47.1<' in html and "reach s3" in html


def test_sections_stand_between_the_scores_and_the_answers(report):
    ids = re.findall(r'<section id="([\w-]+)"', render(replace(report, sections=(section(),))))
    assert ids.index("results") + 1 == ids.index("everything") == ids.index("examples") - 1
    assert "everything" not in render(report)


def test_one_line_alone_needs_no_legend(report):
    report = replace(report, examples=())
    alone = section().blocks[0].items[0]
    one = Section("s", "h", "", (Block("", "r", (replace(alone, series=alone.series[:1]),)),))
    assert 'class="legend"' not in render(replace(report, sections=(one,)))
    assert 'class="legend"' in render(replace(report, sections=(section(),)))


def test_hostile_names_in_sections_are_only_text(report):
    evil = '<script>alert(1)</script>"><img src=x onerror=y>'
    page = Page(render(replace(report, examples=(), sections=(section(evil),))))
    assert (
        "script" not in page.tags
        and "x" not in page.links
        and "<script>alert(1)</script>" in page.text
    )


def test_numbers_are_written_as_readers_expect():
    assert signed(0.0423) == "+4.2" and signed(-0.0423) == "−4.2" and signed(0) == "+0.0"
    assert p_value(0.0004) == "< 0.001" and p_value(0.0123) == "0.012"
    assert fine(0.4711) == "47.1" and fine(0.000834) == "0.083" and fine(0.0) == "0.0"


def test_every_method_with_parts_gets_its_panel_on_the_query_as_it_sees_it(report, crops):
    stripes = Match(shown(crops[1], 1, False), True, evidence(5, names=("stripe1", "stripe2")))
    example = replace(
        report.examples[0],
        rankings={"PCB": (stripes,), **report.examples[0].rankings},
        views={"PCB": shown(crops[0], 0, False)},
    )
    html = render(replace(report, examples=(example,)))
    methods = re.findall(r"<summary>Why (\w+) ranks", html)
    assert methods == ["BPBreID", "PCB"]  # the one with maps first, and open; BoT has no parts
    assert html.count('<details class="evidence" open>') == 1
    of_pcb = html[html.index("Why PCB ranks") :]
    assert "Part maps over the query" in html and "Part maps over the query" not in of_pcb


def test_several_seeds_are_said(report):
    report = replace(report, examples=())
    html = render(replace(report, scores=(replace(report.scores[0], seeds=(1, 2, 3)),)))
    assert "3 seeds" in Page(html).text and "and seeds where there are several" in Page(html).text
    assert "seeds" not in Page(render(report)).text


def test_missing_crop_is_named(report, tmp_path):
    gone = Shown(tmp_path / "gone.jpg", 1, 1)
    with pytest.raises(DataError, match=r"gone\.jpg"):
        render(replace(report, examples=(replace(report.examples[0], query=gone),)))


def test_curve_runs_from_the_first_to_the_last_row():
    rows = [
        {"step": i, "epoch": i // 10, "loss": 8 - 0.01 * i, "id": 2.0, "lr": 1e-3}
        for i in range(600)
    ]
    rows.insert(3, {"step": 3, "event": "note"})  # entries that are no training step
    drawn = curve("m", rows)
    assert drawn.unit == "epoch" and [t.label for t in drawn.x] == ["0", "20", "40", "60"]
    assert [t.label for t in drawn.y] == ["0", "2", "4", "6", "8"] or drawn.y[0].label == "0"
    assert drawn.loss.first == pytest.approx(8, abs=0.03) and drawn.loss.last == pytest.approx(
        2, abs=0.05
    )
    xs = [float(p.split()[0]) for p in drawn.loss.path[1:].split("L")]
    assert xs == sorted(xs) and len(xs) == 120 and (xs[0], xs[-1]) == (34, 332)
    assert [t.name for t in drawn.terms] == ["id"]
    assert (
        curve("m", rows[:1]) is None and curve("m", [{"step": 1, "loss": float("nan")}] * 5) is None
    )


def test_ticks_are_round():
    assert ticks(0, 12) == [0, 5, 10] and ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert ticks(3, 3) == [3]
    assert (
        nice_above(7.2) == 8 and nice_above(0.0102) == pytest.approx(0.015) and nice_above(0) == 1
    )
