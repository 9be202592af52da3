"""Whose pixels labels keep, when several people are in a crop."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from partreid.labels.target import components, only_target


@settings(max_examples=40)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_components_match_a_flood(mask: np.ndarray) -> None:
    expected, number = np.zeros(mask.shape, int), 0
    for y, x in zip(*np.nonzero(mask), strict=True):
        if expected[y, x]:
            continue
        number += 1
        todo = [(int(y), int(x))]
        while todo:
            a, b = todo.pop()
            if (
                0 <= a < mask.shape[0]
                and 0 <= b < mask.shape[1]
                and mask[a, b]
                and not expected[a, b]
            ):
                expected[a, b] = number
                todo += [(a + i, b + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    np.testing.assert_array_equal(components(mask), expected)


def crowd() -> np.ndarray:
    """A person in the middle, cut in two by a car, with a neighbour at the edge who is larger
    than each piece.
    """
    labels = np.zeros((32, 16), np.uint8)
    labels[2:12, 6:11], labels[20:30, 6:9] = 4, 6  # clothes above the car, trousers below
    labels[22:30, 10] = 6  # the other leg
    labels[0:32, 0:3] = 7  # somebody at the left edge
    labels[14, 13] = 9  # a speck at the side
    return labels


def test_the_person_in_the_middle_is_kept_whole() -> None:
    labels = crowd()
    kept = only_target(labels)
    assert (kept[:, 5:11] == labels[:, 5:11]).all()
    assert not kept[:, :5].any() and not kept[:, 11:].any()
    np.testing.assert_array_equal(only_target(labels[:, ::-1]), kept[:, ::-1])
    assert labels[0, 0] == 7  # not changed in place


def test_a_lone_person_stays_wherever() -> None:
    for labels in (np.zeros((6, 4), np.uint8), np.eye(6, 4, dtype=np.uint8)):
        np.testing.assert_array_equal(only_target(labels), labels)


def test_a_speck_in_the_center_is_nobody() -> None:
    labels = np.zeros((32, 16), np.uint8)
    labels[16, 8], labels[4:28, 1:6] = 3, 2
    assert (only_target(labels) > 0).sum() == 24 * 5
