"""People, embeddings and scores made up of noise, small enough to evaluate in no time."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from partreid.distance import PartDistance
from partreid.evaluation.result import (
    RERANKED,
    Embedded,
    Matching,
    QuerySetResult,
    RunResult,
)
from partreid.evaluation.score import score
from partreid.metrics import MARKET
from partreid.retrieval import KReciprocal
from partreid.types import Benchmark, Embeddings, Sample

PEOPLE, CAMERAS = 12, 3
DISTANCE = PartDistance("cosine")


def samples(each: int) -> tuple[Sample, ...]:
    """``each`` images of every person by every camera."""
    return tuple(
        Sample(Path(f"{p}_{c}_{i}.jpg"), p, c)
        for p in range(1, PEOPLE + 1)
        for c in range(1, CAMERAS + 1)
        for i in range(each)
    )


BENCHMARK = Benchmark(
    "made-up", Path("."), (), {"holistic": samples(1), "occluded": samples(1)}, samples(2)
)


def described(
    seed: int,
    noise: float,
    names: tuple[str, ...] = ("foreground", "head", "legs"),
    hidden: float = 0.3,
) -> Embedded:
    """Every person is a direction in each part; ``hidden`` is the share of parts that no one
    sees.
    """
    draw = np.random.default_rng([seed, len(names)])
    people = np.random.default_rng(7).normal(size=(PEOPLE + 1, len(names), 6))

    def of(images: tuple[Sample, ...]) -> Embeddings:
        vectors = people[[s.identity for s in images]] + noise * draw.normal(
            size=(len(images), len(names), 6)
        )
        seen = (draw.uniform(size=(len(images), len(names))) >= hidden).astype(np.float32)
        seen[:, 0] = 1
        return Embeddings(
            torch.from_numpy(vectors.astype(np.float32)), torch.from_numpy(seen), names
        )

    return Embedded(
        {name: of(images) for name, images in BENCHMARK.queries.items()}, of(BENCHMARK.gallery)
    )


def scored(
    seed: int, noise: float, rerank: bool = False, **how: object
) -> tuple[QuerySetResult, ...]:
    return score(
        DISTANCE,
        described(seed, noise, **how),
        BENCHMARK,
        MARKET,  # type: ignore[arg-type]
        KReciprocal(5, 2) if rerank else None,
    )


def result(
    name: str,
    parts: str = "visible parts",
    seed: int = 3,
    noise: float = 0.8,
    *,
    trained_as: int = 1,
    after: str = "",
    training_seconds: float | None = None,
    **how: object,
) -> RunResult:
    """What a method scores on the made-up people. seed, noise: of its embeddings; trained_as: the
    seed that its recipe names.
    """
    model = SimpleNamespace(
        method=SimpleNamespace(distance=DISTANCE),
        recipe=SimpleNamespace(name=f"made/{name}", digest="0123456789ab", seed=trained_as),
        device="cpu",
    )
    return RunResult(
        name,
        Matching(parts, after),  # type: ignore[arg-type]
        model,  # type: ignore[arg-type]
        BENCHMARK,
        BENCHMARK.name,
        MARKET,
        described(seed, noise, **how),  # type: ignore[arg-type]
        scored(seed, noise, after == RERANKED, **how),
        training_seconds=training_seconds,
    )


def results() -> tuple[RunResult, ...]:
    """A method of two seeds and one vector, one of one seed with parts, and that re-ranked."""
    one = {"names": ("global",), "hidden": 0.0}
    return (
        result("plain_one", "", 1, 1.5, training_seconds=10.0, **one),
        result("plain_one", "", 2, 1.6, trained_as=2, **one),
        result("parts"),
        result("parts", after=RERANKED),
    )
