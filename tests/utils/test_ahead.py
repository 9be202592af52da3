"""One batch is made while another is used: in order, no further ahead, and errors in their
place.
"""

import threading

import pytest

from partreid.utils.ahead import ahead


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch", [1, 2, 7, 20])
def test_all_come_in_order(batch: int, workers: int) -> None:
    got = list(ahead(range(7), str, batch, workers))
    assert [x for some, _ in got for x in some] == list(range(7))
    assert [y for _, made in got for y in made] == list("0123456")
    assert max(len(some) for some, _ in got) <= batch


def test_the_next_batch_is_made_meanwhile_and_no_more() -> None:
    made: list[int] = []
    third = threading.Event()

    def make(x: int) -> int:
        made.append(x)
        if x == 3:
            third.set()
        return x

    batches = ahead(range(8), make, 2)
    next(batches)
    assert third.wait(10) and made == [0, 1, 2, 3]
    batches.close()
    assert made == [0, 1, 2, 3]


def test_an_error_comes_with_its_batch() -> None:
    batches = ahead([1, 0, 2], lambda x: 1 / x, 1)
    assert next(batches) == ([1], [1.0])
    with pytest.raises(ZeroDivisionError):
        next(batches)


def test_nothing_gives_nothing() -> None:
    assert list(ahead([], str, 4)) == []
