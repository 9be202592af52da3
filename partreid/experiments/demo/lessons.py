"""Pictures of what only training sees: surfaces unwrapped, regions hidden."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from partreid import build
from partreid.explain.regions import hidden_regions
from partreid.explain.surfaces import tiles_picture
from partreid.inference import Model
from partreid.labels.densepose import read_iuv, surfaces_of
from partreid.recipes import PAPERS
from partreid.report.content import Lesson
from partreid.types import Benchmark, Sample
from partreid.utils.images import read_resized

PEOPLE, DRAWS = 2, 4


def lessons(models: Mapping[str, Model], benchmark: Benchmark) -> tuple[Lesson, ...]:
    """One for each method that has something to show; a few people of the training images,
    always the same.
    """
    step = max(1, len(benchmark.train) // (PEOPLE + 1))
    samples = benchmark.train[step::step][:PEOPLE]
    shown = ((PAPERS[name].lesson, model) for name, model in models.items())
    return tuple(LESSONS[what](model, benchmark, samples) for what, model in shown if what)


def _unwrapped(model: Model, benchmark: Benchmark, samples: Sequence[Sample]) -> Lesson:
    spec = model.recipe.cues["uv_tiles"].but(cache=False)
    tiles = build.cue(spec, benchmark, samples=samples)
    paths = surfaces_of(benchmark.root, samples)
    pictures = [
        (
            f"identity {s.identity}, camera {s.camera}",
            tiles_picture(
                s.path, read_iuv(path, order="iuv").labels, np.asarray(tiles[i], np.uint8)
            ),
        )
        for i, (s, path) in enumerate(zip(samples, paths, strict=True))
        if path is not None
    ]
    return Lesson(
        f"{PAPERS[model.recipe.method.name].title}: the surface unwrapped",
        "Every pixel of a body is copied to its place on one of 24 surfaces, so that the same "
        "place means the same spot on everybody. A second network that sees only these guides the "
        "one that sees the picture; at test time it is gone.",
        tuple(pictures),
    )


def _hidden(model: Model, benchmark: Benchmark, samples: Sequence[Sample]) -> Lesson:
    assert model.scheme is not None
    labels = build.cue(model.recipe.cues["parts"], benchmark, samples=samples)
    regions = model.scheme.K + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(model.recipe.seed)
        method: Any = model.method  # only the one whose record asks for this lesson can hide
        drawn = method.hide.draw(DRAWS, regions)
    draws = [row.nonzero().flatten().tolist() for row in drawn]
    pictures = [
        (
            f"identity {s.identity}, camera {s.camera}: what four steps of training left over",
            hidden_regions(
                read_resized(s.path, (256, 128)),
                np.asarray(labels[i], np.uint8),
                model.scheme.names,
                draws,
            ),
        )
        for i, s in enumerate(samples)
    ]
    return Lesson(
        f"{PAPERS[model.recipe.method.name].title}: regions hidden on purpose",
        "In every step one branch sees only some regions of all people in the batch, so that it "
        "has to learn from each of them. At test time it sees the whole body. The regions are "
        "drawn here by the labels that teach the network to find them.",
        tuple(pictures),
    )


LESSONS = {"surfaces": _unwrapped, "regions": _hidden}  # by what a paper's record says
