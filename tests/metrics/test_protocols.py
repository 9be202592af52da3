"""Who takes part and who is right, one image at a time."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import DataError
from partreid.metrics.protocols import (
    ANY_CAMERA,
    MARKET,
    NO_CAMERA,
    PROTOCOLS,
    SINGLE_SHOT,
    Lists,
    Protocol,
    require_matches,
)

IMAGES = st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 3)), min_size=1, max_size=15)


def columns(images: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(images, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def required(query: list[tuple[int, int]], gallery: list[tuple[int, int]]) -> None:
    (q_ids, q_cams), (g_ids, g_cams) = columns(query), columns(gallery)
    require_matches(
        MARKET, q_ids=q_ids, g_ids=g_ids, q_cams=q_cams, g_cams=g_cams, distractor=0, junk=-1
    )


@settings(max_examples=300, deadline=None)
@given(IMAGES, st.integers(-1, 3), st.integers(1, 3))
def test_masks(images: list[tuple[int, int]], identity: int, camera: int) -> None:
    for protocol in PROTOCOLS.values():
        relevant, valid = protocol.masks(identity, camera, *columns(images), distractor=0, junk=-1)
        for (other, seen_by), right, listed in zip(images, relevant, valid):
            left_out = {
                "market1501": (other, seen_by) == (identity, camera),
                "single_shot": seen_by == camera,
            }.get(protocol.name, False)
            assert listed == (other != -1 and not left_out)
            assert right == (listed and other == identity and identity > 0)


def test_names_lead_to_protocols() -> None:
    assert PROTOCOLS == {
        "market1501": MARKET,
        "any_camera": ANY_CAMERA,
        "no_camera": NO_CAMERA,
        "single_shot": SINGLE_SHOT,
    }
    assert all(name == protocol.name and protocol.sentence for name, protocol in PROTOCOLS.items())


def test_a_protocol_cannot_change() -> None:
    with pytest.raises(FrozenInstanceError):
        MARKET.name = "mine"  # type: ignore[misc]


def test_only_single_shot_draws_its_gallery() -> None:
    assert {name: protocol.draws for name, protocol in PROTOCOLS.items() if protocol.draws} == {
        "single_shot": 10
    }


def test_no_camera_and_any_camera_rank_alike_but_tell_what_they_are() -> None:
    assert NO_CAMERA.removed is ANY_CAMERA.removed and NO_CAMERA.name != ANY_CAMERA.name
    assert "nobody knows which camera" in NO_CAMERA.sentence


@settings(max_examples=300, deadline=None)
@given(IMAGES, IMAGES)
def test_only_hopeless_sets_are_refused(
    query: list[tuple[int, int]], gallery: list[tuple[int, int]]
) -> None:
    hope = any(i > 0 and i == j and c != d for i, c in query for j, d in gallery)
    if hope:
        required(query, gallery)
    else:
        with pytest.raises(DataError):
            required(query, gallery)


@pytest.mark.parametrize(
    "query, gallery, message",
    [
        (
            [(1, 1), (2, 1)],
            [(7, 1), (8, 2)],
            r"share no identity \(query: 1, 2; gallery: 7, 8\).*same data set",
        ),
        ([(0, 1)], [(0, 2), (-1, 2)], "share no identity"),
        (
            [(1, 4), (2, 4)],
            [(1, 4), (3, 4)],
            r"one camera \(4\).*'market1501'.*use protocol 'any_camera'",
        ),
        ([(1, 1)], [(1, 1), (2, 2)], "every right answer comes from its query's own camera"),
        ([], [(1, 1)], "query set is empty"),
        ([(1, 1)], [], "gallery set is empty"),
    ],
)
def test_the_reason_and_the_remedy(
    query: list[tuple[int, int]], gallery: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        required(query, gallery)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 3)), max_size=15),
    st.integers(-1, 3),
    st.integers(1, 3),
)
def test_lists_agree_with_masks(gallery: list[tuple[int, int]], identity: int, camera: int) -> None:
    ids, cameras = (np.array([entry[side] for entry in gallery], np.int64) for side in (0, 1))
    other_camera = Protocol(
        "other", "images of the query's camera are left out", lambda i, c, ids, cams: cams == c
    )
    for protocol in (*PROTOCOLS.values(), other_camera):
        special = {"distractor": 0, "junk": -1}
        lists = Lists(protocol, g_ids=ids, g_cams=cameras, **special)
        right, removed = lists.of(identity, camera)
        relevant, valid = protocol.masks(identity, camera, ids, cameras, **special)
        assert right.tolist() == np.flatnonzero(relevant).tolist()
        assert sorted([*removed.tolist(), *lists.junk.tolist()]) == np.flatnonzero(~valid).tolist()
