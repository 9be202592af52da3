"""What `partreid eval` makes of runs that need more than pixels."""

from collections.abc import Callable
from pathlib import Path

from partreid.recipes import Recipe
from partreid.reporting import evaluate_run
from partreid.train.loop import train
from partreid.types import Benchmark


def test_a_model_with_given_part_maps_is_scored_with_the_labels_of_the_test_images(
    world: Path, benchmark: Benchmark, toy: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = toy("bpbreid", "method.attention=given", 'stages.weights={"id_global": 1.0, "triplet_parts": 1.0}')
    train(recipe, benchmark, tmp_path / "run")
    rows = evaluate_run(tmp_path / "run", world, None, None, True, "cpu", 1)
    assert [row["queries"] for row in rows] == ["holistic", "occluded"]
    assert all(0 < row["mAP"] <= 1 and row["queries_scored"] == 16 for row in rows)


def test_re_ranked_scores_stand_beside_the_plain_ones(world: Path, trained: Callable[[str], Path]) -> None:
    rows = evaluate_run(trained("bot"), world, None, None, True, "cpu", 1, rerank=True)
    assert [(row["queries"], row["visibility"]) for row in rows] == [
        ("holistic", False), ("occluded", False), ("holistic", "re-ranked"), ("occluded", "re-ranked")]
    assert any(a["mAP"] != b["mAP"] for a, b in zip(rows[:2], rows[2:]))
