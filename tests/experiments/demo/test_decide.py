"""The demo's threshold, on people placed by hand: kept beside the model, taken up by it, and
told of.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partreid.evaluation.result import Embedded, Matching, RunResult
from partreid.evaluation.score import score
from partreid.experiments.demo import decide
from partreid.inference import load
from partreid.metrics import MARKET
from partreid.types import Benchmark, Embeddings, Sample

PEOPLE, EACH = 60, 6


@pytest.fixture()
def placed(
    benchmark: Benchmark, trained: Callable[[str], Path], tmp_path: Path
) -> tuple[RunResult, Path]:
    """Sixty people around centers, by two cameras, in a world that has pictures of eight."""
    run = Path(shutil.copytree(trained("bpbreid"), tmp_path / "run"))
    model = load(run, "cpu")
    draw = torch.Generator().manual_seed(0)
    centers = torch.randn(PEOPLE, len(model.names), 16, generator=draw)

    def images(camera: int) -> tuple[tuple[Sample, ...], Embeddings]:
        paths = [s.path for s in benchmark.gallery]
        samples = tuple(
            Sample(paths[i % len(paths)], 1 + i // EACH, camera) for i in range(PEOPLE * EACH)
        )
        vectors = centers.repeat_interleave(EACH, 0) + torch.randn(
            len(samples), len(model.names), 16, generator=draw
        )
        return samples, Embeddings.visible(vectors, model.names)

    (queries, query), (there, gallery) = images(1), images(2)
    made_up = replace(benchmark, queries={"holistic": queries}, gallery=there)
    described = Embedded({"holistic": query}, gallery)
    matching = Matching("visible parts")
    scores = score(model.method.distance, described, made_up)
    name = made_up.name
    return RunResult("BPBreID", matching, model, made_up, name, MARKET, described, scores), run


def test_the_threshold_lies_beside_the_model_and_is_told_of(
    placed: tuple[RunResult, Path],
) -> None:
    of, run = placed
    made = decide.decided(of, run)
    assert made is not None and load(run, "cpu").calibration == made
    assert made.expected.low <= made.checked.fmr.value <= made.expected.high
    numbers = decide.plain(made)
    assert (
        numbers["fitted"]["people"] == numbers["checked"]["people"] == 30
        and numbers["rate"] == decide.RATE
    )
    sentence = decide.sentence("BPBreID", made)
    assert f"makes {1000 * numbers['fmr']['value']:.1f} [" in sentence and "30 others" in sentence
    section = decide.section(of, made)
    assert [b.title for b in section.blocks if b.title] == [
        "If only the surest answers are given",
        "Is a probability what it says?",
    ]


def test_a_world_of_few_people_gets_none(
    placed: tuple[RunResult, Path], benchmark: Benchmark
) -> None:
    of, run = placed
    assert decide.decided(replace(of, benchmark=benchmark), run) is None
    assert load(run, "cpu").calibration is None
