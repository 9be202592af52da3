"""A query whose own file answers it says nothing of a model: it is left out of the scores, and
said.
"""

from pathlib import Path

import pytest

from partreid.build import benchmark, protocol
from partreid.data.cuhk01 import load
from partreid.errors import DataError
from partreid.evaluation.copies import without_copies
from partreid.types import Benchmark
from tests.data.trees import pictures


def world(root: Path, *names: str) -> Benchmark:
    return benchmark(
        "folders",
        pictures(
            root,
            "query/anna/1_c1.png",
            "query/ben/1_c1.png",
            "gallery/anna/1_c2.png",
            "gallery/ben/1_c2.png",
            *names,
        ),
    )


@pytest.mark.parametrize(
    "copy, left",
    [
        # the protocol hides the query's own camera
        ("gallery/anna/copy_c2.png", 1),
        ("gallery/anna/copy_c1.png", 2),
        ("gallery/ben/wrong_c1.png", 1),
        ("gallery/distractor/wrong_c1.png", 1),
    ],
)
def test_copies_that_the_query_would_see_are_left_out(tmp_path: Path, copy: str, left: int) -> None:
    data = world(tmp_path, copy)
    (tmp_path / copy).write_bytes((tmp_path / "query" / "anna" / "1_c1.png").read_bytes())
    scored, sentence = without_copies(data, protocol(data))
    assert len(scored.query) == left and scored.gallery == data.gallery
    assert (sentence is None) == (left == 2)
    assert sentence is None or (
        sentence.startswith("1 of 2 queries lie in the gallery") and Path(copy).name in sentence
    )


def test_without_cameras_every_copy_counts_and_none_may_be_left(tmp_path: Path) -> None:
    pictures(tmp_path, "query/anna/1.png", "gallery/anna/1.png", "gallery/ben/1.png")
    (tmp_path / "gallery" / "anna" / "1.png").write_bytes(
        (tmp_path / "query" / "anna" / "1.png").read_bytes()
    )
    data = benchmark("folders", tmp_path)
    with pytest.raises(
        DataError,
        match="1 of 1 queries lie in the gallery as the same file.*nothing is left to score",
    ):
        without_copies(data, protocol(data))


def test_crops_that_ask_and_answer_are_hidden_from_themselves(tmp_path: Path) -> None:
    data = load(
        pictures(
            tmp_path,
            *(f"campus/{person:04d}00{n}.png" for person in (1, 2, 3) for n in (1, 2, 3, 4)),
        )
    )
    assert without_copies(data, protocol(data)) == (data, None)
