"""What `partreid eval` makes of runs: one, several, seeds of one method, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.evaluation import Options, evaluate_runs
from partreid.evaluation.runs import shrunken
from partreid.evaluation.score import Described
from partreid.inference import load
from partreid.recipes import Recipe
from partreid.train.checkpoint import load_tensors, save_tensors
from partreid.train.loop import train
from partreid.types import Benchmark, Embeddings
from tests.evaluate.made_up import described

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


def rows_of(found: object) -> list[dict]:
    assert found is not None
    return found.plain()["results"]


def test_a_model_with_given_part_maps_is_scored_with_the_labels_of_the_test_images(
    world: Path, benchmark: Benchmark, toy: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = toy(
        "bpbreid",
        "method.attention=given",
        'stages.weights={"id_global": 1.0, "triplet_parts": 1.0}',
    )
    train(recipe, benchmark, tmp_path / "run")
    rows = rows_of(
        evaluate_runs([tmp_path / "run"], world, options=Options(multi_query=True, device="cpu"))
    )
    assert [(row["queries"], row["compares"]) for row in rows] == [
        (queries, rule)
        for queries in ("holistic", "occluded")
        for rule in ("visible parts", "multi-query")
    ]
    assert all(0 < row["mAP"] <= 1 and row["queries_scored"] == 16 for row in rows)


def test_further_rows_stand_beside_the_plain_ones(world: Path, trained: Trained) -> None:
    found = evaluate_runs(
        [trained("bpbreid")], world, options=Options(rerank=True, shrink=1.5, device="cpu")
    )
    rows = rows_of(found)
    assert [(row["queries"], row["visibility"]) for row in rows] == [
        (queries, rule)
        for queries in ("holistic", "occluded")
        for rule in (True, "re-ranked", "evidence shrunk by 1.5")
    ]
    assert any(a["mAP"] != b["mAP"] for a, b in zip(rows[::3], rows[1::3]))
    for row in rows:
        assert (
            ("EER" in row["scores"])
            == ("AUROC" in row["scores"])
            == (row["visibility"] != "re-ranked")
        )
    assert {d["method"] for d in found.plain()["differences"]} == {
        "bpbreid, re-ranked",
        "bpbreid, evidence shrunk by 1.5",
    }
    # no shrunk scores in the ledger
    assert [e.reranked for e in found.entries()] == [False, False, True, True]


def test_expansion_is_over_cameras_and_has_no_threshold_scores(
    world: Path, trained: Trained
) -> None:
    found = evaluate_runs([trained("pcb")], world, options=Options(expand=True, device="cpu"))
    rows = rows_of(found)
    assert [row["visibility"] for row in rows] == [False, "expanded"] * 2
    assert all(("EER" in row["scores"]) == (row["visibility"] is False) for row in rows)
    assert rows[0]["mAP"] != rows[1]["mAP"]
    assert (
        found is not None
        and "expansion" in found.facts()["other rules"]
        and len(found.entries()) == 2
    )


def test_runs_of_different_parts_are_compared(
    world: Path, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(details=True, pictures=True, device="cpu")
    found = evaluate_runs(
        [trained("bot"), trained("pcb"), trained("bpbreid")], world, options=options
    )
    assert found is not None and list(found.methods) == ["bot", "pcb", "bpbreid"]
    said = found.plain()
    assert said["reference"] == "bot" and {d["method"] for d in said["differences"]} == {
        "pcb",
        "bpbreid",
    }
    mean = {(r["method"], r["queries"]): r["mAP"] for r in said["results"]}
    for d in said["differences"]:
        if d["score"] == "mAP":
            assert d["value"] == pytest.approx(
                mean[d["method"], d["queries"]] - mean["bot", d["queries"]]
            )
            assert d["low"] <= d["value"] <= d["high"] and 0 < d["p"] <= 1
    assert {(b["method"], b["queries"]) for b in said["breakdowns"]} == set(mean)
    assert set(said["trust"]) == {"bot", "pcb", "bpbreid"}

    page = found.page()
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
    assert sorted(found.write(**files).values()) == sorted(files.values())
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
        json.dumps(said["results"])
    )
    found.show()
    out = capsys.readouterr().out
    assert "Pairs and open set" in out and "Against bot" in out and "TPR@1e-3" in out


def test_seeds_of_one_recipe_are_one_method(world: Path, trained: Trained, tmp_path: Path) -> None:
    twin = changed(trained("bot"), tmp_path / "twin", seed=2, noise=0.5)
    found = evaluate_runs(
        [trained("bot"), trained("pcb"), twin], world, options=Options(device="cpu")
    )
    rows = rows_of(found)
    assert [(r["method"], r["seeds"]) for r in rows[:2]] == [("bot", [1, 2]), ("pcb", [1])]
    each = [
        rows_of(evaluate_runs([run], world, options=Options(device="cpu")))[0]
        for run in (trained("bot"), twin)
    ]
    assert rows[0]["mAP"] == pytest.approx(np.mean([e["mAP"] for e in each]))
    assert (
        rows[0]["by_seed"]["mAP"] == [e["mAP"] for e in each] and each[0]["mAP"] != each[1]["mAP"]
    )
    assert {d["method"] for d in found.plain()["differences"]} == {"pcb"}
    assert "seed 1" in found.facts()["bot"] and "seed 2" in found.facts()["bot"]


def test_other_weights_of_the_same_seed_are_another_method(
    world: Path, trained: Trained, tmp_path: Path
) -> None:
    again = changed(trained("bot"), tmp_path / "again", noise=0.5)
    found = evaluate_runs([trained("bot"), again], world, options=Options(device="cpu"))
    assert found is not None and list(found.methods) == ["run-bot", "again"]


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
    with pytest.raises(DataError, match=r"synthetic-tiny and .*market1501.*do not compare.*--name"):
        evaluate_runs([trained("bot"), other], world, options=Options(device="cpu"))
    found = evaluate_runs([trained("bot"), other], world, "synthetic-tiny", Options(device="cpu"))
    assert found is not None and list(found.methods) == ["bot", "pcb"]


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
    found = evaluate_runs([trained("pcb")], world, options=Options(shrink=1.0, device="cpu"))
    assert "pcb: every image shows every part" in capsys.readouterr().err
    rows = rows_of(found)
    assert [r["mAP"] for r in rows[::2]] == pytest.approx([r["mAP"] for r in rows[1::2]], abs=1e-3)


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
    rows = rows_of(evaluate_runs([trained("bot")], world, options=options))
    assert "further image" not in capsys.readouterr().err
    assert rows[0]["mAP"] != rows[1]["mAP"] and rows[1]["visibility"] == "multi-query"


def test_embeddings_are_let_go_where_nothing_is_drawn(world: Path, trained: Trained) -> None:
    found = evaluate_runs([trained("bot")], world, options=Options(device="cpu"))
    assert found is not None
    kept = found.methods["bot"][0].judged[0].described
    assert (
        isinstance(kept, Described)
        and isinstance(kept.gallery, Embeddings)
        and len(kept.gallery) == 0
    )
