"""Claims: an order holds, fails or stays open by its interval; trained variants are used again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partreid import build
from partreid.errors import ArgumentError, DataError
from partreid.evaluation import evaluate_run
from partreid.evaluation.variant import variant_of
from partreid.experiments import claims
from partreid.experiments.claims import Outcome, check
from partreid.inference import load
from partreid.recipes import PAPERS, RECIPES, Claim, find, papers
from partreid.types import Benchmark

CLAIM = Claim("a", "b", "2 > 1", "Table 0")


def outcome(ap: np.ndarray, people: int = 50) -> Outcome:
    identities = np.arange(len(ap)) % people
    return Outcome(
        {"holistic": ap}, {"holistic": (ap > 0.5).astype(float)}, {"holistic": identities}
    )


def pairs(gain: float, spread: float, seeds: int = 3) -> list[tuple[Outcome, Outcome]]:
    random = np.random.default_rng(0)
    outcomes = []
    for _ in range(seeds):
        worse = random.uniform(0.2, 0.6, 200)
        outcomes.append((outcome(worse + gain + random.normal(0, spread, 200)), outcome(worse)))
    return outcomes


@pytest.mark.parametrize(
    ("gain", "spread", "verdict"),
    [(0.1, 0.05, "holds"), (-0.1, 0.05, "fails"), (0.0, 0.2, "undecided")],
)
def test_the_interval_decides(gain: float, spread: float, verdict: str) -> None:
    some = pairs(gain, spread)
    checked = check(CLAIM, some)
    by_hand = [float((b.ap["holistic"] - w.ap["holistic"]).mean()) for b, w in some]
    assert checked.by_seed == pytest.approx(by_hand) and checked.gain.value == pytest.approx(
        np.mean(by_hand)
    )
    assert checked.gain.low < checked.gain.value < checked.gain.high and checked.verdict == verdict


def test_different_queries_cannot_be_compared() -> None:
    one, other = outcome(np.full(10, 0.5)), outcome(np.full(10, 0.5), people=3)
    with pytest.raises(DataError, match="a and b answered different queries"):
        check(CLAIM, [(one, other)])


def test_every_claim_is_of_rows_that_exist_and_differ_at_small_size() -> None:
    for paper in papers():
        for claim in paper.claims:
            better, worse = find(f"{claim.better}@demo"), find(f"{claim.worse}@demo")
            assert better.digest != worse.digest, claim
            assert sum(s.epochs for s in better.stages) == sum(s.epochs for s in worse.stages)
            assert claim.better.startswith(f"{paper.name}/")
            assert claim.queries in ("holistic", "occluded")
            numbers = [RECIPES[name].expect for name in (claim.better, claim.worse)]
            if ">" in claim.published and None not in numbers:
                assert claim.published == " > ".join(str(e.mAP) for e in numbers if e is not None)
        for rows in paper.studies.values():
            assert all(name.startswith(paper.name) and find(f"{name}@demo") for name in rows)
    assert sum(len(paper.claims) for paper in papers()) > 30


@pytest.mark.slow  # trains two small models
def test_variants_are_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = Claim("dsa/table3/baseline-re", "dsa/table3/baseline", "78.6 > 76.4", "DSA Table 3")
    twin = Claim(
        "dsa/table3/baseline-re-ls", "dsa/table4/baseline-re-ls", "", "one row in two tables"
    )
    for paper in papers():
        chosen = (claim, twin) if paper.name == "dsa" else ()
        studies = {"Erasing": (claim.worse, claim.better)} if chosen else {}
        changed = replace(paper, claims=chosen, studies=studies)
        monkeypatch.setitem(PAPERS, paper.name, changed)
    numbers = claims.run(("dsa",), (1,), tmp_path / "out", "tiny", tmp_path / "claims.json")
    output = capsys.readouterr().out
    assert json.loads((tmp_path / "claims.json").read_text()) == numbers
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 3
    assert numbers["claims"][0]["by_seed"] == [pytest.approx(numbers["claims"][0]["gain"])]
    assert numbers["claims"][1]["gain"] == 0 and numbers["claims"][1]["verdict"] == "undecided"
    score = numbers["variants"][claim.better]["holistic"]["mAP"]
    assert (
        len(score) == 1
        and f"{100 * score[0]:.1f}  " in output
        and "±" not in output
        and "Erasing" in output
        and "78.6 > 76.4" in output
    )
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.safetensors")}
    assert claims.run((), (1,), tmp_path / "out", "tiny") == numbers
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    only = claims.run((), (1,), tmp_path / "out", "tiny", where=("two tables",))
    assert [c["where"] for c in only["claims"]] == ["one row in two tables"]
    with pytest.raises(DataError, match="there are no claims of 'nobody'; choose of"):
        claims.run(("nobody",), (1,), tmp_path / "out", "tiny")
    with pytest.raises(
        DataError, match="no claim of dsa has 'Table 99' in its source or its rows; leave it out"
    ):
        claims.run(("dsa",), (1,), tmp_path / "out", "tiny", where=("Table", "Table 99"))
    with pytest.raises(ArgumentError, match="where must be a list of words, got 'Table 2'"):
        claims.run(("dsa",), (1,), tmp_path / "out", "tiny", where="Table 2")


@pytest.mark.slow  # trains a small model
def test_rows_that_only_score_another_train_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows whose trainings are one are trained once, and scored each in its own way."""
    rows = ("bpbreid/table2/full", "bpbreid/table2/no-visibility")
    claim = Claim(*rows, "54.1 > 45.3", "BPBReID Table 2", "occluded")
    for paper in papers():
        chosen = (claim,) if paper.name == "bpbreid" else ()
        monkeypatch.setitem(PAPERS, paper.name, replace(paper, claims=chosen, studies={}))
    numbers = claims.run((), (1,), tmp_path, "tiny")
    assert len(list((tmp_path / "runs").glob("*/seed1/model.safetensors"))) == 1
    benchmark = build.benchmark("synthetic-tiny", tmp_path / "world-tiny")
    folder = tmp_path / "runs" / "bpbreid.table2.full@tiny" / "seed1"
    for row in rows:
        model = variant_of(load(folder, "cpu"), folder, row=f"{row}@tiny")
        for scored in evaluate_run(model, benchmark).query_sets:
            assert numbers["variants"][row][scored.queries]["mAP"] == [
                pytest.approx(float(scored.ranking.ap[scored.ranking.scored].mean()))
            ]


@pytest.mark.parametrize(
    "queries",
    [
        None,
        [],
        {},
        {"q": 3},
        {"q": {"ap": [0.5]}},
        {"q": {"ap": [0.5], "first": [1], "identities": ["a"]}},
        {"q": {"ap": ["x"], "first": [1], "identities": [1]}},
        {"q": {"ap": [7], "first": [1], "identities": [1]}},
        {"q": {"ap": [0.5, 0.5], "first": [1], "identities": [1]}},
        {"q": {"ap": [], "first": [], "identities": []}},
    ],
)
def test_scores_that_were_changed_are_refused(
    queries: Any, benchmark: Benchmark, tmp_path: Path
) -> None:
    recipe = find("synthetic/tiny/bot")
    folder = tmp_path / recipe.name.replace("/", ".") / f"seed{recipe.seed}"
    folder.mkdir(parents=True)
    (folder / "claims.json").write_text(json.dumps({"digest": recipe.digest, "queries": queries}))
    with pytest.raises(DataError, match=r"claims\.json was changed or is damaged; delete it"):
        claims._outcome(recipe, benchmark, tmp_path, "cpu")
