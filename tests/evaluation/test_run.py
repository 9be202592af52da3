"""What `partreid eval` makes of runs: one, several, seeds of one method, and what it refuses."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.evaluation import Options, evaluate_run, evaluate_runs
from partreid.evaluation.ledger import entries
from partreid.evaluation.result import RunResult, differences
from partreid.evaluation.run import ignoring_visibility, shrunken
from partreid.inference import load
from partreid.recipes import Recipe
from partreid.report.evaluation import (
    print_results,
    results_page,
    results_to_json,
    write_results,
)
from partreid.report.facts import facts_of_results
from partreid.report.rows import row_to_json, rows
from partreid.train.checkpoint import load_tensors, save_tensors
from partreid.train.loop import train
from partreid.types import Benchmark
from tests.evaluation.made_up import described

Trained = Callable[[str], Path]


def changed(
    run: Path, to: Path, seed: int | None = None, test: str | None = None, noise: float = 0.0
) -> Path:
    """A copy of a run whose recipe says another seed or data set, and whose weights are shaken."""
    tensors, meta = load_tensors(run / "model.safetensors")
    if noise:
        draw = torch.Generator().manual_seed(3)
        tensors = {
            name: t + noise * t.abs().mean() * torch.randn(t.shape, generator=draw)
            if t.ndim > 1
            else t
            for name, t in tensors.items()
        }
    meta["recipe"] |= ({} if seed is None else {"seed": seed}) | (
        {} if test is None else {"test": [test]}
    )
    save_tensors(to / "model.safetensors", tensors, meta)
    return to


def rows_of(results: Sequence[RunResult]) -> list[dict]:
    return [row_to_json(row) for row in rows(results)]


def methods_of(results: Sequence[RunResult]) -> list[str]:
    return list(dict.fromkeys(result.name for result in results))


def as_json(results: Sequence[RunResult]) -> dict:
    return results_to_json(results, rows(results), differences(results))


def test_a_model_with_given_part_maps_is_scored_with_the_labels_of_the_test_images(
    world: Path, benchmark: Benchmark, toy: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = toy(
        "bpbreid",
        "method.attention=given",
        'stages.weights={"id_global": 1.0, "triplet_parts": 1.0}',
    )
    train(recipe, benchmark, tmp_path / "run")
    table = rows_of(
        evaluate_runs([tmp_path / "run"], world, options=Options(multi_query=True, device="cpu"))
    )
    assert [(row["queries"], row["compares"]) for row in table] == [
        (queries, rule)
        for queries in ("holistic", "occluded")
        for rule in ("visible parts", "multi-query")
    ]
    assert all(0 < row["mAP"] <= 1 and row["queries_scored"] == 16 for row in table)


def test_further_rows_stand_beside_the_plain_ones(world: Path, trained: Trained) -> None:
    results = evaluate_runs(
        [trained("bpbreid")], world, options=Options(rerank=True, shrink=1.5, device="cpu")
    )
    table = rows_of(results)
    assert [(row["queries"], row["visibility"]) for row in table] == [
        (queries, rule)
        for queries in ("holistic", "occluded")
        for rule in (True, "re-ranked", "evidence shrunk by 1.5")
    ]
    assert any(a["mAP"] != b["mAP"] for a, b in zip(table[::3], table[1::3]))
    for row in table:
        assert (
            ("EER" in row["scores"])
            == ("AUROC" in row["scores"])
            == (row["visibility"] != "re-ranked")
        )
    assert {d["method"] for d in as_json(results)["differences"]} == {
        "bpbreid, re-ranked",
        "bpbreid, evidence shrunk by 1.5",
    }
    # no shrunk scores in the ledger
    assert [e.reranked for e in entries(results)] == [False, False, True, True]


def test_expansion_is_over_cameras_and_has_no_threshold_scores(
    world: Path, trained: Trained
) -> None:
    results = evaluate_runs([trained("pcb")], world, options=Options(expand=True, device="cpu"))
    table = rows_of(results)
    assert [row["visibility"] for row in table] == [False, "expanded"] * 2
    assert all(("EER" in row["scores"]) == (row["visibility"] is False) for row in table)
    assert table[0]["mAP"] != table[1]["mAP"]
    assert "expansion" in facts_of_results(results)["other rules"] and len(entries(results)) == 2


def test_runs_of_different_parts_are_compared(
    world: Path, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(details=True, embeddings=True, device="cpu")
    results = evaluate_runs(
        [trained("bot"), trained("pcb"), trained("bpbreid")], world, options=options
    )
    assert methods_of(results) == ["bot", "pcb", "bpbreid"]
    record = as_json(results)
    assert record["reference"] == "bot" and {d["method"] for d in record["differences"]} == {
        "pcb",
        "bpbreid",
    }
    mean = {(r["method"], r["queries"]): r["mAP"] for r in record["results"]}
    for d in record["differences"]:
        if d["score"] == "mAP":
            assert d["value"] == pytest.approx(
                mean[d["method"], d["queries"]] - mean["bot", d["queries"]]
            )
            assert d["low"] <= d["value"] <= d["high"] and 0 < d["p"] <= 1
    assert {(b["method"], b["queries"]) for b in record["breakdowns"]} == set(mean)
    assert set(record["trust"]) == {"bot", "pcb", "bpbreid"}

    page = results_page(results, rows(results), differences(results))
    assert [s.id for s in page.sections] == [
        "differences",
        "cmc",
        "verification",
        "open-set",
        "breakdowns",
        "trust",
    ]
    assert 1 <= len(page.examples) <= 4 and all(
        len(e.rankings) == 2 and "bot" in e.rankings for e in page.examples
    )
    for fact in ("data", "protocol", "device", "bot", "pcb", "bpbreid", "other rules", "time"):
        assert fact in page.facts
    assert (
        load(trained("pcb"), "cpu").recipe.digest in page.facts["pcb"]
        and "64 x 32 pixels" in page.facts["pcb"]
    )
    assert "no pretraining" in page.facts["pcb"] and "seed 1" in page.facts["pcb"]

    files = {kind: tmp_path / kind for kind in ("report", "json", "csv", "latex")}
    of = results, rows(results), differences(results)
    assert sorted(write_results(*of, **files).values()) == sorted(files.values())
    html = files["report"].read_text()
    assert len(html) < 6e6 and all(
        f'<section id="{name}"' in html
        for name in (
            "results",
            "differences",
            "cmc",
            "verification",
            "open-set",
            "breakdowns",
            "trust",
            "examples",
            "limits",
            "facts",
        )
    )
    assert json.loads(files["json"].read_text())["results"] == json.loads(
        json.dumps(record["results"])
    )
    print_results(*of)
    out = capsys.readouterr().out
    assert "Pairs and open set" in out and "Against bot" in out and "TPR@1e-3" in out


def test_seeds_of_one_recipe_are_one_method(world: Path, trained: Trained, tmp_path: Path) -> None:
    twin = changed(trained("bot"), tmp_path / "twin", seed=2, noise=0.5)
    results = evaluate_runs(
        [trained("bot"), trained("pcb"), twin], world, options=Options(device="cpu")
    )
    table = rows_of(results)
    assert [(r["method"], r["seeds"]) for r in table[:2]] == [("bot", [1, 2]), ("pcb", [1])]
    each = [
        rows_of(evaluate_runs([run], world, options=Options(device="cpu")))[0]
        for run in (trained("bot"), twin)
    ]
    assert table[0]["mAP"] == pytest.approx(np.mean([e["mAP"] for e in each]))
    assert (
        table[0]["by_seed"]["mAP"] == [e["mAP"] for e in each] and each[0]["mAP"] != each[1]["mAP"]
    )
    assert {d["method"] for d in as_json(results)["differences"]} == {"pcb"}
    assert (
        "seed 1" in facts_of_results(results)["bot"]
        and "seed 2" in facts_of_results(results)["bot"]
    )


def test_other_weights_of_the_same_seed_are_another_method(
    world: Path, trained: Trained, tmp_path: Path
) -> None:
    again = changed(trained("bot"), tmp_path / "again", noise=0.5)
    results = evaluate_runs([trained("bot"), again], world, options=Options(device="cpu"))
    assert methods_of(results) == ["run-bot", "again"]


def test_one_run_twice_is_refused(world: Path, trained: Trained, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained("bot"), tmp_path / "copy"))
    for other in (trained("bot"), trained("bot") / "model.safetensors", copy):
        with pytest.raises(DataError, match=r"hold the same model.*name each run once"):
            evaluate_runs(
                [trained("bot"), trained("pcb"), other], world, options=Options(device="cpu")
            )


def test_runs_for_different_data_are_refused_unless_the_data_are_named(
    world: Path, trained: Trained, tmp_path: Path
) -> None:
    other = changed(trained("pcb"), tmp_path / "other", test="market1501")
    with pytest.raises(
        DataError, match=r"synthetic-tiny and .*market1501.*do not compare.*--dataset"
    ):
        evaluate_runs([trained("bot"), other], world, options=Options(device="cpu"))
    results = evaluate_runs([trained("bot"), other], world, "synthetic-tiny", Options(device="cpu"))
    assert methods_of(results) == ["bot", "pcb"]


def test_a_calibration_belongs_to_one_run(world: Path, trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"belongs to one model, and there are 2 runs"):
        evaluate_runs(
            [trained("bot"), trained("pcb")],
            world,
            options=Options(calibration=tmp_path / "c.json"),
        )


@pytest.mark.parametrize("shrink", [-1.0, float("nan"), float("inf")])
def test_a_shrink_that_means_nothing_is_refused(shrink: float) -> None:
    with pytest.raises(DataError, match=r"--shrink is a number of parts"):
        Options(shrink=shrink)


def test_missing_evidence_is_as_far_as_strangers_where_the_metric_does_not_say() -> None:
    made = described(1, 0.8)
    assert shrunken(PartDistance("cosine"), made, 2.0) == PartDistance("cosine", shrink=2.0)
    euclid = shrunken(PartDistance("euclidean"), made, 2.0)
    far = PartDistance("euclidean")(made.gallery, made.gallery)
    assert euclid.shrink == 2 and euclid.far == pytest.approx(float(far[far > 0].median()), rel=0.1)
    kept = PartDistance("euclidean", far=3.0)
    assert shrunken(kept, made, 1.0) == replace(kept, shrink=1.0)


def test_shrinking_where_everything_is_seen_is_told_to_change_nothing(
    world: Path, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    results = evaluate_runs([trained("pcb")], world, options=Options(shrink=1.0, device="cpu"))
    assert "pcb: every image shows every part" in capsys.readouterr().err
    table = rows_of(results)
    assert [r["mAP"] for r in table[::2]] == pytest.approx(
        [r["mAP"] for r in table[1::2]], abs=1e-3
    )


def test_several_looks_at_a_person_are_pooled_if_the_data_have_them(
    world: Path,
    benchmark: Benchmark,
    trained: Trained,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from partreid import build

    options = Options(multi_query=True, device="cpu")
    evaluate_runs([trained("bot")], world, options=options)
    assert "no query has a further image" in capsys.readouterr().err
    more = tuple(
        replace(s, identity=q.identity, camera=q.camera)
        for q, s in zip(benchmark.query, benchmark.gallery)
    )
    monkeypatch.setattr(build, "benchmark", lambda name, root: replace(benchmark, multi_query=more))
    table = rows_of(evaluate_runs([trained("bot")], world, options=options))
    assert "further image" not in capsys.readouterr().err
    assert table[0]["mAP"] != table[1]["mAP"] and table[1]["visibility"] == "multi-query"


def test_embeddings_are_let_go_where_nothing_is_drawn(world: Path, trained: Trained) -> None:
    (result, _) = evaluate_runs([trained("bot")], world, options=Options(rerank=True, device="cpu"))
    assert len(result.described.gallery) == 0 and not result.described.queries


def test_one_model_is_scored_under_what_it_can_tell_of_parts(
    world: Path, benchmark: Benchmark, trained: Trained
) -> None:
    model = load(trained("bpbreid"), "cpu")
    seen: list[int] = []
    plain = evaluate_run(
        model, benchmark, watch=lambda samples: lambda span, out: seen.append(len(out.parts.logits))
    )
    assert (plain.name, plain.matching.words, plain.data) == (
        "bpbreid",
        "visible parts",
        benchmark.name,
    )
    assert sum(seen) == 16 + 16 + 28 and len(plain.described.gallery) == 28
    blind = evaluate_run(model, benchmark, name="blind", visibility=False)
    assert (blind.name, blind.matching.words) == ("blind", "all parts")
    again = ignoring_visibility(plain)
    assert again.matching == blind.matching
    for a, b in zip(again.query_sets, blind.query_sets, strict=True):
        assert a.scores == b.scores
    assert plain.of("occluded").scores != blind.of("occluded").scores
    for method in ("bot", "pcb"):
        other = evaluate_run(load(trained(method), "cpu"), benchmark, visibility=False)
        assert other.matching.words == ""
