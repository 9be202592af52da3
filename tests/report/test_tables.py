"""The papers' tables beside our numbers, on the terminal and as a page of the documentation."""

import json
from pathlib import Path

import pytest

from partreid.cli.base import app
from partreid.errors import RecipeError
from partreid.evaluation.ledger import Entry, append, read
from partreid.recipes import PAPERS, ROWS, SYNTHETIC, find, papers
from partreid.recipes.costs import hours
from partreid.report.tables import (
    AGAIN,
    PAGE,
    chosen,
    cost,
    lines,
    page,
    paper_of,
    table_of,
    total,
)
from tests.evaluation.test_ledger import entry

ROOT = Path(__file__).resolve().parents[2]


def recipes(*arguments: str | Path) -> None:
    app(["recipes", *map(str, arguments)], result_action="return_value")


def cells(text: str, name: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def three(name: str = "isp/table1/dukemtmc") -> list[Entry]:
    return [entry(name, seed=s, mAP=m) for s, m in ((1, 0.79), (2, 0.80), (3, 0.82))]


def test_the_page_in_the_repository_is_what_recipes_and_ledger_give() -> None:
    expected = page(ROWS, read(ROOT / "results" / "ledger.jsonl"))
    stored = (ROOT / PAGE).read_text(encoding="utf-8")
    assert stored == expected, (
        f"{PAGE} is not what the recipes and results/ledger.jsonl say; write it anew: {AGAIN}"
    )


def test_every_row_stands_on_the_page_once_and_made_up_people_last() -> None:
    text = page(ROWS, [])
    assert all(text.count(f"| `{r.name}` ") == 1 for r in ROWS)
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert titles == [*(paper.title for paper in papers()), "The synthetic benchmark"]
    assert {paper_of(r) for r in ROWS} == {*PAPERS, SYNTHETIC}
    assert text.count("not run") == len(ROWS) + 1  # and in the explanation


def test_a_row_has_the_paper_s_numbers_ours_the_difference_and_where_they_come_from() -> None:
    text = page(ROWS, three())
    row = cells(text, "isp/table1/dukemtmc")
    assert row[1:] == [
        "dukemtmc¹",
        "89.6, 95.5, 80.0",
        "90.0 ± 0.0, 95.0 ± 0.0, 80.3 ± 1.5",
        "+0.3",
        "1, 2, 3",
        "0123456789ab",
        "0.9",
    ]
    assert cells(text, "isp/table4/dukemtmc/k7")[3] == row[3]  # the same settings in another table
    assert cells(text, "isp/table1/market1501")[3] == "not run"


def test_what_the_text_does_not_show_is_a_dash_and_no_difference() -> None:
    name = "bpbreid/table2/no-learnable-attention"
    row = cells(page(ROWS, [entry(name, mAP=0.40)]), name)
    assert row[2:5] == ["–, 39.2", "90.0, 40.0", "+0.8"]
    name = "hcga/table3/occluded_reid"  # no mAP, so the difference is in Rank-1
    assert cells(page(ROWS, [entry(name)]), name)[2:5] == [
        "88.0, 96.0, –",
        "90.0, 95.0, 80.0",
        "+2.0",
    ]
    name = "bpbreid/table4/everything"
    assert cells(page(ROWS, [entry(name)]), name)[2:5] == ["–", "90.0, 80.0", ""]


def test_query_sets_have_lines_of_their_own() -> None:
    name = "synthetic/demo/bot"
    some = [entry(name, queries="holistic", mAP=0.5), entry(name, queries="occluded", mAP=0.2)]
    assert [(x.queries, x.ours("mAP")) for x in lines([find(name)], some)] == [
        ("holistic", (50.0, 0.0)),
        ("occluded", (20.0, 0.0)),
    ]
    text = page(ROWS, some)
    assert [line.split("|")[3].strip() for line in text.splitlines() if f"`{name}`" in line] == [
        "holistic",
        "occluded",
    ]


def test_the_withdrawn_family_is_marked_everywhere() -> None:
    for line in page(ROWS, []).splitlines():
        if line.startswith("| `"):
            data = line.split("|")[2]
            assert ("duke" in data) == ("¹" in data), line


def test_titles_are_those_of_the_papers() -> None:
    text = page(ROWS, [])
    for title in (
        "### Table 2\n",
        "### Figure 5\n",
        "### Section 4.2\n",
        "### BPBreID Table 1\n",
        "### Released\n",
    ):
        assert title in text


def test_rows_are_chosen_by_paper_table_and_data_set() -> None:
    assert {paper_of(r) for r in chosen(paper="dsa")} == {"dsa"}
    assert {(paper_of(r), table_of(r)) for r in chosen(paper="isp", where="table5")} == {
        ("isp", "table5")
    }
    to_test = chosen(data_set="occluded_reid")
    assert to_test and all("occluded_reid" in (r.train, *r.test) for r in to_test)
    assert any(r.train == "market1501" for r in to_test)
    assert chosen("nowhere") == [] and chosen() == list(ROWS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"paper": "ips"}, "unknown paper: 'ips'. Did you mean 'isp'"),
        ({"where": "tabel5"}, "unknown table: 'tabel5'. Did you mean 'table5'"),
        (
            {"data_set": "market"},
            "unknown data set of a recipe: 'market'. Did you mean 'market1501'",
        ),
    ],
)
def test_a_choice_that_no_row_has(words: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        chosen(**words)


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = ("--ledger", tmp_path / "results" / "ledger.jsonl")
    append(ours[1], three())
    recipes("--paper", "isp", "--where", "table1", "--dataset", "dukemtmc", *ours)
    output = capsys.readouterr()
    (line,) = (line for line in output.out.splitlines() if line.startswith("isp/table1/dukemtmc"))
    assert line.split()[-9:] == ["89.6", "80.0", "90.0", "±", "0.0", "80.3", "±", "1.5", "0.9"]
    assert (
        "market1501" not in output.out and "30 TFLOP/s" in output.err and "withdrawn" in output.err
    )
    recipes("--paper", "isp", "--json")
    assert {r["name"].split("/")[0] for r in json.loads(capsys.readouterr().out)} == {"isp"}
    recipes("--table", "--paper", "isp", *ours)
    shown = capsys.readouterr().out
    assert "80.3 ± 1.5" in shown and "## BPBreID" not in shown
    recipes("--table", "--paper", "isp", "--out", tmp_path / "new" / "page.md", *ours)
    assert (tmp_path / "new" / "page.md").read_text() == shown
    recipes("--table", "--paper", "isp")  # a ledger that nobody names is not looked for
    assert "80.3" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        recipes("--paper", "isp", "--ledger", tmp_path / "none.jsonl")
    assert "there is no ledger" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        recipes("--out", "page.md")
    assert "ask for it with --table" in capsys.readouterr().err


def test_a_training_costs_once() -> None:
    rows = [
        find(name)
        for name in (
            "bpbreid/table1/resnet50/occluded_duke",
            "bpbreid/table2/full",
            "bpbreid/table2/no-visibility",
        )
    ]
    once = hours(rows[0])
    assert once is not None and total(rows) == f"3 rows are 1 trainings, {once:.0f} hours in all"
    # the training is needed all the same
    assert total(rows[1:]) == total(rows).replace("3 rows", "2 rows")
    assert [cost(r) for r in rows] == [f"{once:.1f}", "shared", "shared"]
    assert (
        cells(page(ROWS, []), "bpbreid/table2/full")[-1]
        == "as `bpbreid/table1/resnet50/occluded_duke`"
    )
    everything = sum(hours(r) or 0.0 for r in ROWS if r.scores is None)
    assert total(ROWS).endswith(f" trainings, {everything:.0f} hours in all")
