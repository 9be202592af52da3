"""Pasting: what comes in front, how much it hides, and what the labels say afterwards."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from partreid.data.pasting import paste
from partreid.data.transforms import Random, View
from partreid.errors import ArgumentError, RecipeError
from partreid.types import UNKNOWN

H, W = 64, 32
PERSON = np.zeros((H, W), np.bool_)
PERSON[8:60, 10:22] = True
MINE, OTHERS, BEHIND = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def drawn(color: tuple[int, int, int], cues: Mapping[str, NDArray[np.generic]]) -> View:
    """A person of one color before a blue wall; the labels number its rows."""
    image = np.full((H, W, 3), BEHIND, np.uint8)
    image[PERSON] = color
    return View(image, cues, {}, frozenset(cues))


def view() -> View:
    rows = (np.arange(H) * 5 // H + 1).astype(np.uint8)[:, None].repeat(W, 1)
    labels = np.where(PERSON, rows, 0).astype(np.uint8)
    cues = {"parts": labels}
    mine = drawn(MINE, cues)
    return View(mine.image, cues, {}, mine.spatial, lambda random: drawn(OTHERS, cues))


def random(seed: int) -> Random:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize("people", [0.0, 1.0])
@pytest.mark.parametrize("hidden", [(0.2, 0.7), (0.3, 0.4)])
def test_labels_keep_what_is_still_seen(people: float, hidden: tuple[float, float]) -> None:
    pasted = 0
    for seed in range(60):
        before = view()
        after = paste(1.0, people, hidden)(before, random(seed))
        gone = (after.cues["parts"] == 0) & PERSON
        kept = PERSON & ~gone
        assert np.array_equal(after.cues["parts"][kept], before.cues["parts"][kept])
        assert np.array_equal(after.image[kept], before.image[kept])
        share = gone.sum() / PERSON.sum()
        if share == 0:  # no place was found
            assert np.array_equal(after.image, before.image)
            continue
        pasted += 1
        assert hidden[0] <= share <= hidden[1]
        assert (after.cues["parts"][~PERSON] == 0).all()
        if people == 1.0:  # whoever walks past brings pixels of their own, not what was behind them
            assert (after.image[gone] == OTHERS).all(1).mean() > 0.5
    assert pasted > 20


def test_the_image_that_came_is_left_alone() -> None:
    before = view()
    image, labels = before.image.copy(), before.cues["parts"].copy()
    for seed in range(10):
        paste(1.0)(before, random(seed))
    assert np.array_equal(before.image, image) and np.array_equal(before.cues["parts"], labels)


def test_how_often_and_of_what() -> None:
    changed = [
        not np.array_equal(paste(0.3)(view(), random(seed)).image, view().image)
        for seed in range(400)
    ]
    assert 0.2 < np.mean(changed) < 0.36
    assert not any(
        (paste(0.0)(view(), random(seed)).image != view().image).any() for seed in range(20)
    )


def test_draws_are_repeated() -> None:
    a, b = (paste(1.0)(view(), random(7)) for _ in range(2))
    assert np.array_equal(a.image, b.image) and np.array_equal(a.cues["parts"], b.cues["parts"])


def test_where_nobody_is_known_nothing_is_pasted() -> None:
    for fill in (0, UNKNOWN):
        nobody = {"parts": np.full((H, W), fill, np.uint8)}
        before = drawn(MINE, nobody)
        before = View(before.image, nobody, {}, before.spatial, lambda r: view())
        assert paste(1.0)(before, random(1)) is before
    alone = drawn(MINE, view().cues)  # no other people in the training set
    assert paste(1.0)(alone, random(1)) is alone


def test_soft_masks_say_where_people_are_too() -> None:
    soft = np.stack([np.where(PERSON, 10, 240), np.where(PERSON, 240, 10)], 2).astype(np.uint8)
    cues = {"parts": soft}
    mine = drawn(MINE, cues)
    before = View(mine.image, cues, {}, mine.spatial, lambda r: drawn(OTHERS, cues))
    after = paste(1.0, 0.0)(before, random(3))
    gone = (after.cues["parts"] == 0).all(2)
    assert 0.2 <= (gone & PERSON).sum() / PERSON.sum() <= 0.7


def test_it_needs_labels() -> None:
    bare = View(view().image, {}, {}, frozenset(), lambda r: view())
    with pytest.raises(RecipeError, match="paste needs the part labels 'parts'.*none"):
        paste(1.0)(bare, random(0))


@pytest.mark.parametrize(
    ("wrong", "names"),
    [({"p": 1.5}, "p"), ({"people": -0.1}, "people"), ({"hidden": (0.5, 0.2)}, "hidden")],
)
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, float], names: str) -> None:
    with pytest.raises(ArgumentError, match=names):
        paste(**wrong)  # type: ignore[arg-type] # what a recipe may hold
