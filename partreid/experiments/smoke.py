"""``partreid train ROW --smoke``: does a row build at its full size and learn at a small one?
Seconds, no data set.

With the row's own data it learns from a few of their images and of their labels, which shows that
both are found.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from partreid import build
from partreid.data.registry import BENCHMARKS
from partreid.data.synthetic import PRESETS, write
from partreid.errors import DataError
from partreid.labels.base import example
from partreid.recipes import Frozen, Recipe, Spec, made_small
from partreid.recipes.costs import TRAINING
from partreid.recipes.papers import label_sources
from partreid.train.journal import read
from partreid.train.loop import train
from partreid.types import Benchmark, Embeddings, Sample

WORLD = "synthetic-tiny"
MADE_UP = "world.json"  # what tells a synthetic world from other data
# of each person, so that an epoch of batches of two people with two images has two steps
PEOPLE, IMAGES = 2, 4
SIZE = (64, 32)
TRUNK = Spec("small", width=4)
UNLISTED = 100  # people of a data set that nobody has counted


@dataclass(frozen=True)
class Built:
    """A row at its full size. described: (M, D) of what a gallery stores of an image."""

    parameters: int
    size: tuple[int, int]
    described: tuple[int, int]


@dataclass(frozen=True)
class Smoked:
    """A row at full size, and the loss terms of its last step at small size, after ``steps`` in
    ``stages``. on: a few images of which data set, "" for made-up people.
    """

    name: str
    built: Built
    stages: int
    steps: int
    terms: Mapping[str, float]
    on: str = ""

    def __str__(self) -> str:
        b = self.built
        stages = "" if self.stages == 1 else f" of {self.stages} stages"
        stages += f" on {PEOPLE * IMAGES} images of {self.on}" if self.on else ""
        terms = ", ".join(f"{name} {value:.3f}" for name, value in self.terms.items())
        return (
            f"{self.name}: {b.parameters / 1e6:.1f} M parameters at {b.size[0]} x {b.size[1]} "
            f"build and describe an image by {b.described[0]} x {b.described[1]} numbers; after "
            f"{self.steps} small steps{stages}: {terms}"
        )


def smoke(recipe: Recipe, world: Path, folder: Path) -> Smoked:
    """Build ``recipe`` at full size without memory, then train it small in ``folder``: two steps of
    every stage.

    world: a tiny synthetic world with IUV pictures; its exact surfaces stand for any parser's
    labels. RecipeError, DataError or ShapeError say what does not fit.
    """
    benchmark = build.benchmark(WORLD, world)
    return _learn(recipe, shrunk(recipe), replace(benchmark, train=few(benchmark)), folder)


def smoke_on(recipe: Recipe, root: Path, folder: Path) -> Smoked:
    """The same with a few training images of the row's own data below ``root``, and with their own
    labels.

    DataError if no two people have images enough, or if a label is missing that the method needs.
    """
    benchmark = build.benchmark(recipe.train, root)
    build.cues(recipe, build.empty(recipe.train))  # names that nobody knows are refused here
    small = shrunk(recipe)
    sources = label_sources()
    lie_in_files = {  # which only real data have, and here they are
        name for name in recipe.cues if sources[recipe.cues[name].name].stand_in is not None
    }
    cues = {
        name: recipe.cues[name] if name in lie_in_files else small.cues[name] for name in small.cues
    }
    small = replace(small, train=recipe.train, test=recipe.test, cues=Frozen(cues))
    return _learn(recipe, small, replace(benchmark, train=few(benchmark)), folder, recipe.train)


def _learn(
    recipe: Recipe, small: Recipe, benchmark: Benchmark, folder: Path, on: str = ""
) -> Smoked:
    full = built(recipe)
    train(small, benchmark, folder)
    last = [entry for entry in read(folder / "journal.jsonl") if "loss" in entry][-1]
    return Smoked(
        recipe.name,
        full,
        len(small.stages),
        last["step"],
        {term: last[term] for term in small.terms},
        on,
    )


def smoked(recipe: Recipe, data: Path | None, folder: Path | None) -> Smoked:
    """:func:`smoke` in a synthetic world, :func:`smoke_on` any other data; without data people are
    drawn, without a folder the run goes into a temporary one.
    """
    with TemporaryDirectory() as rest:
        if data is None:
            data = write(PRESETS["tiny"], Path(rest) / "world", iuv=True, workers=1)
        run = folder or Path(rest) / "run"
        made_up = _is_made_up(recipe) or (data / MADE_UP).is_file()
        return smoke(recipe, data, run) if made_up else smoke_on(recipe, data, run)


def built(recipe: Recipe) -> Built:
    """The method with its trunk and heads on the meta device, where a batch of two leaves shapes
    and no numbers.
    """
    cues = build.cues(recipe, build.empty(recipe.train))
    made = {name: example(cue, 2, recipe.size) for name, cue in cues.items()}
    people = TRAINING[recipe.train].identities if recipe.train in TRAINING else UNLISTED
    scheme = cues["parts"].scheme if "parts" in cues else None
    with torch.device("meta"), torch.no_grad():
        method = build.method(
            replace(recipe, backbone=build.unfetched(recipe.backbone)), people, scheme
        ).train()
        for module in method.modules():
            # it keeps the shape, and takes longer than all else on this device; mypy dislikes a
            # method changed
            if isinstance(module, nn.BatchNorm2d):
                module.forward = same  # type: ignore[method-assign]
        given = {name: torch.empty_like(items, device="meta") for name, items in made.items()}
        e: Embeddings = method.embed(method(torch.zeros(2, 3, *recipe.size), given))
    return Built(
        sum(p.numel() for p in method.parameters()),
        recipe.size,
        (e.vectors.shape[1], e.vectors.shape[2]),
    )


def same(input: Tensor) -> Tensor:
    return input


def shrunk(recipe: Recipe) -> Recipe:
    """The row at the size of the tiny world, and smaller: every stage is one epoch of two steps
    at full rate.
    """
    if not _is_made_up(recipe):
        recipe = made_small(recipe, "tiny")
    stages = tuple(
        replace(stage, epochs=1, batch=(PEOPLE, IMAGES // 2), warmup=0, accumulate=1)
        for stage in recipe.stages
    )
    return replace(recipe, train=WORLD, test=(WORLD,), backbone=TRUNK, size=SIZE, stages=stages)


def _is_made_up(recipe: Recipe) -> bool:
    """Whether the row trains on people who are drawn."""
    return recipe.train in BENCHMARKS and BENCHMARKS[recipe.train].preset is not None


def few(benchmark: Benchmark) -> tuple[Sample, ...]:
    """Some images of the first people who have enough. DataError if there are too few of those."""
    of: dict[int, list[Sample]] = {}
    for sample in benchmark.train:
        of.setdefault(sample.identity, []).append(sample)
    rich = [identity for identity in sorted(of) if len(of[identity]) >= IMAGES]
    if len(rich) < PEOPLE:
        raise DataError(
            f"{benchmark.name} has {len(rich)} people with {IMAGES} training images or more, and a "
            f"smoke test needs {PEOPLE}; leave --data out to smoke on made-up people"
        )
    return tuple(sample for identity in rich[:PEOPLE] for sample in of[identity][:IMAGES])
