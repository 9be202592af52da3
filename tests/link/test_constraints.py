"""What cannot be one person, and that nothing found ever is."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import ArgumentError, DataError, ShapeError
from partreid.link import CameraPairs, agglomerate, conflicts, read_cameras, violations
from tests.link.made_up import made

NAN = float("nan")
PAIRS = CameraPairs.of({("a", "b"): None, ("a", "c"): 5.0, ("c", "b"): 0.0})


@pytest.mark.parametrize(
    ("cameras", "one", "other", "wanted"),
    [
        ("aa", (0, 4), (5, 9), False),
        ("aa", (0, 4), (4, 9), True),  # at one moment at two places
        ("aa", (0, 9), (3, 4), True),
        ("aa", (2, 2), (2, 2), True),
        ("aa", (4, 0), (9, 5), False),  # reversed within each
        ("aa", (NAN, NAN), (0, 9), False),  # nobody knows
        ("ab", (0, 9), (3, 4), False),  # they see one place
        ("ac", (0, 4), (9, 12), False),
        ("ac", (0, 4), (8.9, 12), True),  # too fast
        ("ac", (9, 12), (0, 4), False),  # the other way round
        ("ac", (0, 9), (3, 4), True),
        ("bc", (0, 4), (4, 5), True),  # no time at all for the way is too little
        ("bc", (0, 4), (4.1, 5), False),
    ],
)
def test_two_tracklets(
    cameras: str, one: tuple[float, float], other: tuple[float, float], wanted: bool
) -> None:
    mask = conflicts(made(cameras, [one[0], other[0]], [one[1], other[1]]), PAIRS)
    assert mask.tolist() == [[False, wanted], [wanted, False]]


def test_without_pairs_only_one_camera_counts_and_apart_forbids_two() -> None:
    t = made("ab", [0.0, 3.0], [9.0, 4.0])
    assert not conflicts(t).any()
    assert conflicts(t, CameraPairs.apart(["a", "b"]))[0, 1]
    with pytest.raises(DataError, match="nothing is said of the cameras a and b"):
        conflicts(t, CameraPairs.of({("a", "z"): 1.0}))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[str, list[float], list[float], np.ndarray]:  # type: ignore[type-arg]
    """Hostile times: few different ones, equal, reversed, overlapping, missing; odds of any
    size.
    """
    many = draw(st.integers(2, 14))
    moments = st.sampled_from([0.0, 0.0, 1.0, 1.0 + 1e-12, 2.0, 5.0, 1e9, -3.0, NAN])
    cameras = draw(st.text("abc", min_size=many, max_size=many))
    start, end = (draw(st.lists(moments, min_size=many, max_size=many)) for _ in range(2))
    values = [-700.0, -3.0, -1e-9, 0.0, 1e-9, 0.5, 3.0, 700.0]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    square = np.triu(random.choice(values, (many, many)), 1)
    return cameras, start, end, square + square.T


@settings(max_examples=100)
@given(scenes(), st.sampled_from([PAIRS, None]))
def test_constraints_are_never_violated(
    scene: tuple[str, list[float], list[float], np.ndarray],  # type: ignore[type-arg]
    pairs: CameraPairs | None,
) -> None:
    """Held against the crops themselves, by loops: nobody is at two places of a camera at one time,
    nor faster than the way between two.
    """
    cameras, start, end, odds = scene
    tracklets = made(cameras, start, end)
    conflict = conflicts(tracklets, pairs)
    label, _ = agglomerate(odds, conflict)
    assert violations(label, conflict) == 0
    for a in range(len(label)):
        for b in range(a):
            if label[a] != label[b]:
                continue
            times = [[t for t in (start[k], end[k]) if t == t] for k in (a, b)]
            if not all(times):
                continue
            one, other = sorted(times, key=min)
            gap = min(other) - max(one)
            if cameras[a] == cameras[b]:
                assert gap > 0
            elif pairs is not None and (least := pairs.least(cameras[a], cameras[b])) is not None:
                assert gap > 0 and gap >= least


def test_violations_are_counted_once_a_pair() -> None:
    conflict = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]], bool)
    assert [violations(who, conflict) for who in ([1, 1, 1], [1, 1, 2], [1, 2, 2])] == [2, 1, 0]
    with pytest.raises(ShapeError, match=r"\[2\] identities do not fit conflicts \[3, 3\]"):
        violations([1, 2], conflict)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,3\n", "must begin with the line first,second,seconds"),
        ("first,second,seconds\na,b\n", "line 2: three fields are expected, got 2"),
        ("first,second,seconds\na,a,3\n", "line 2: name two different cameras"),
        ("first,second,seconds\na,b,3\nb,a,4\n", "line 3: b and a are there already"),
        ("first,second,seconds\na,b,soon\n", "line 2: seconds is 'soon'; give a number from 0 on"),
        ("first,second,seconds\na,b,-1\n", "line 2: seconds is '-1'"),
        ("first,second,seconds\na,b,nan\n", "line 2: seconds is 'nan'"),
        ("first,second,seconds\na,c,1\n", "says nothing of a and b; add the line a,b,SECONDS"),
    ],
)
def test_a_bad_table_of_cameras_is_one_clear_sentence(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "cameras.csv").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_cameras(tmp_path / "cameras.csv", ["a", "b"])
    assert "\n" not in str(error.value)


def test_pairs_are_told_in_any_order_and_once(tmp_path: Path) -> None:
    (tmp_path / "cameras.csv").write_text(
        "First, second, Seconds\nb, a, 2.5\n\nb,c,Overlap\na,c,0\n"
    )
    pairs = read_cameras(tmp_path / "cameras.csv", ["c", "b", "a"])
    assert [pairs.least(*p) for p in ("ab", "ba", "cb", "ac")] == [2.5, 2.5, None, 0.0]
    with pytest.raises(DataError, match="a and b are paired twice"):
        CameraPairs.of({("b", "a"): 1.0, ("a", "b"): 1.0})
    with pytest.raises(DataError, match="camera a is paired with itself"):
        CameraPairs.of({("a", "a"): 1.0})
    with pytest.raises((DataError, ArgumentError), match="the time between a and b"):
        CameraPairs.of({("a", "b"): -1.0})
