"""A tiny world, rendered and written once for all tests of this folder."""

from pathlib import Path

import pytest

from partreid.data.synthetic import PRESETS, Rendered, Shot, plan, render, write
from partreid.data.synthetic.world import FIRST_TEST


@pytest.fixture(scope="session")
def pictures() -> list[tuple[Shot, Rendered]]:
    """72 images of the tiny world: 12 people, every camera, free and occluded."""
    world = PRESETS["tiny"]
    people = [*range(1, 7), *range(FIRST_TEST, FIRST_TEST + 6)]
    shots = [
        Shot("any", i, c, 300, occluded)
        for i in people
        for c in (1, 2, 3)
        for occluded in (False, True)
    ]
    return [(s, render(world, s.identity, s.camera, s.index, s.occluded)) for s in shots]


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world on disk with IUV maps, written by this process alone. Tests must not change
    it.
    """
    return write(
        PRESETS["tiny"], tmp_path_factory.mktemp("synthetic") / "tiny", iuv=True, workers=1
    )


@pytest.fixture(scope="session")
def tiny_plan() -> list[Shot]:
    return list(plan(PRESETS["tiny"]))
