"""What is kept of the crops in memory follows every change, whoever makes it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partreid.errors import ArgumentError, DataError
from partreid.gallery import Gallery, open_gallery
from partreid.inference import SavedEmbeddings
from tests.gallery.drawn import DISTANCES, saved

CROPS = saved(DISTANCES[0], 20)


class Asked:
    """Scores crops by one of their numbers, and counts how often it was asked about how many."""

    def __init__(self, times: float = 1.0) -> None:
        self.times, self.many = times, list[int]()

    def __call__(self, crops: SavedEmbeddings) -> Any:
        self.many.append(len(crops))
        return self.times * crops.embeddings.vectors[:, 0, 0].double().numpy()


def truth(gallery: Gallery, times: float = 1.0) -> tuple[list[int], list[float]]:
    ids = [row[0] for row in gallery._connection.execute("SELECT id FROM crops ORDER BY id")]
    return ids, Asked(times)(gallery.saved(ids)).tolist()


def test_a_memo_is_made_anew_when_crops_come_or_go(anywhere: Path | str) -> None:
    made = list[int]()

    def make() -> int:
        made.append(len(one))
        return made[-1]

    with open_gallery(anywhere, CROPS) as one, open_gallery(anywhere) as other:
        assert one.memo("many", make) == one.memo("many", make) == 0
        other.add(CROPS)
        assert one.memo("many", make) == one.memo("many", make) == 20
        assert one.memo("roughly", make, 0.1) == 20
        other.add(saved(DISTANCES[0], 2))
        assert one.memo("many", make) == 22 and one.memo("roughly", make, 0.1) == 20
        other.add(saved(DISTANCES[0], 1))
        assert one.memo("roughly", make, 0.1) == 23  # more than a tenth has come
        other.remove([3])
        assert one.memo("roughly", make, 0.1) == 22  # nobody who is gone stays in what is kept
        other.remove([4])
        other.purge()  # what was removed is not listed any more
        assert one.memo("roughly", make, 0.1) == 21
        assert made == [0, 20, 20, 22, 23, 22, 21]
        for number in range(20):
            one.memo(number, make)
        assert one.memo("roughly", make, 0.1) == 21 and len(made) == 28  # only so many are kept
        with pytest.raises(ArgumentError, match="growth"):
            one.memo("many", make, -1.0)


def test_scores_are_asked_once_and_follow_what_others_change(anywhere: Path | str) -> None:
    scorer = Asked()
    with open_gallery(anywhere, CROPS) as one, open_gallery(anywhere) as other:

        def both() -> None:
            for gallery in (one, other):
                ids, scores = gallery.likeness("mark", scorer)
                assert (ids.tolist(), scores.tolist()) == truth(gallery)

        both()
        one.add(CROPS)
        both()
        assert scorer.many == [20]
        for _ in range(3):
            other.add(saved(DISTANCES[0], 2, 5))
            both()
        assert scorer.many == [20, 2, 2, 2]
        other.remove([2, 21])
        both()
        other.purge()
        both()
        one.remove([26])  # the last one, whose number is not given again
        one.add(CROPS)
        both()
        assert scorer.many == [20, 2, 2, 2, 20]


def test_two_calibrations_never_get_the_scores_of_each_other(anywhere: Path | str) -> None:
    single, double = Asked(), Asked(2.0)
    with open_gallery(anywhere, CROPS) as one, open_gallery(anywhere) as other:
        one.add(CROPS)
        for turn in range(3):
            ids, scores = one.likeness("single", single)
            assert (ids.tolist(), scores.tolist()) == truth(one)
            ids, scores = other.likeness("double", double)
            assert (ids.tolist(), scores.tolist()) == truth(one, 2.0)
            other.add(saved(DISTANCES[0], 1, turn))
        assert np.sum(single.many) == 22  # what is in memory is not asked for again
        ids, scores = one.likeness("double", double)
        assert (ids.tolist(), scores.tolist()) == truth(one, 2.0)


def test_an_import_with_numbers_given_before_is_read_anew(empty: Path, tmp_path: Path) -> None:
    scorer = Asked()
    with open_gallery(empty, CROPS) as one, open_gallery(empty) as other:
        one.add(CROPS)
        one.export(tmp_path / "out")
        one.likeness("mark", scorer)
        other.remove(list(range(1, 21)))
        other.import_(tmp_path / "out")
        ids, scores = one.likeness("mark", scorer)
        assert (ids.tolist(), scores.tolist()) == truth(one)


def test_a_snapshot_sees_one_version_and_changes_nothing(anywhere: Path | str) -> None:
    with open_gallery(anywhere, CROPS) as one, open_gallery(anywhere) as other:
        one.add(CROPS)
        with one.snapshot():
            first = one.search(CROPS, 1)
            other.remove([1])
            assert len(one) == 20 == one.count() and one.search(CROPS, 1) == first
            assert one.get(1).id == 1 and one.memo("many", lambda: len(one)) == 20
            with pytest.raises(DataError, match="a snapshot of a gallery is for reading"):
                one.add(CROPS)
        assert len(one) == 19 == one.memo("many", lambda: len(one))
        with one.snapshot(), pytest.raises(DataError, match="score new crops, before or after"):
            one.likeness("mark", Asked())
        assert len(one.add(CROPS)) == 20 and len(one.likeness("mark", Asked())[0]) == 39
        with one.snapshot():
            assert len(one.likeness("mark", Asked())[0]) == 39
