"""People, embeddings and scores made up of noise, small enough to evaluate in no time."""

from pathlib import Path

import numpy as np
import torch

from partreid.distance import PartDistance
from partreid.evaluation.rows import Arm
from partreid.evaluation.score import Described, Scored, score
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
) -> Described:
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

    return Described(
        {name: of(images) for name, images in BENCHMARK.queries.items()}, of(BENCHMARK.gallery)
    )


def scored(seed: int, noise: float, rerank: bool = False, **how: object) -> tuple[Scored, ...]:
    return score(
        DISTANCE,
        described(seed, noise, **how),
        BENCHMARK,
        MARKET,  # type: ignore[arg-type]
        KReciprocal(5, 2) if rerank else None,
    )


def arms() -> tuple[Arm, ...]:
    """A method of two seeds and one vector, one of one seed with parts, and that re-ranked."""
    one = {"names": ("global",), "hidden": 0.0}
    return (
        Arm(
            "plain_one",
            None,
            (1, 2),
            (scored(1, 1.5, **one), scored(2, 1.6, **one)),
            seconds=(10.0, None),
        ),
        Arm("parts", True, (1,), (scored(3, 0.8),)),
        Arm("parts", "re-ranked", (1,), (scored(3, 0.8, rerank=True),), plain=False),
    )
