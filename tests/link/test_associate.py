"""From tracklets to identities and probabilities, on vectors whose answer is plain."""

import numpy as np
import pytest
import torch

from partreid.distance import PartDistance
from partreid.errors import ArgumentError, DataError, ShapeError
from partreid.link import CameraPairs, Linked, link
from partreid.link.tracklets import Tracklets
from partreid.metrics.calibration import Calibration
from partreid.types import Embeddings
from tests.link.made_up import angles, made

D = PartDistance("cosine")


def seen(tracklets: Tracklets, *degrees: float) -> Embeddings:
    """Every crop of tracklet t looks in direction t."""
    return Embeddings.of(torch.from_numpy(angles(*degrees)[tracklets.crop_of]))


def chance(odds: float) -> float:
    return float(1 / (1 + np.exp(-odds)))


def odds(a: float, b: float) -> float:
    """Of two directions, with the calibration of the tests."""
    return float(4 - 8 * (1 - np.cos(np.radians(a - b))))


def test_people_are_told_apart_and_numbered_by_time(calibration: Calibration) -> None:
    t = made("abab", [30.0, 20.0, 0.0, 10.0])
    linked = link(t, seen(t, 0, 90, 85, 5), calibration, D, prior=0.5)
    assert linked.identity.tolist() == [2, 1, 1, 2] and linked.people == 2 and linked.violated == 0
    assert linked.probability[0] == pytest.approx(chance(odds(0, 5)), abs=1e-5)
    made_ = [join for join in linked.joins if join.made]
    assert {join.a + join.b for join in made_} == {(0, 3), (1, 2)}
    nearly = [join for join in linked.joins if not join.made]
    assert len(nearly) == 1 and nearly[0].probability == pytest.approx(
        chance(np.mean([odds(a, b) for a in (0, 5) for b in (90, 85)])), abs=1e-5
    )
    doubts = [abs(join.probability - 0.5) for join in linked.joins]
    assert doubts == sorted(doubts)


def test_one_alone_is_as_sure_as_its_likest_identity_is_unlike(calibration: Calibration) -> None:
    t = made("abc", [0.0, 1.0, 2.0])
    linked = link(t, seen(t, 0, 10, 75), calibration, D, prior=0.5)
    assert linked.identity.tolist() == [1, 1, 2]
    mean = (odds(0, 75) + odds(10, 75)) / 2
    assert linked.probability[2] == pytest.approx(1 - chance(mean), abs=1e-5)


def test_what_is_impossible_is_not_joined_and_no_rival(calibration: Calibration) -> None:
    t = made("aab", [0.0, 0.0, 50.0])
    linked = link(t, seen(t, 0, 0, 0), calibration, D, prior=0.5)
    assert linked.identity[0] != linked.identity[1] and linked.people == 2
    far = CameraPairs.of({("a", "b"): 60.0})
    apart = link(t, seen(t, 0, 0, 0), calibration, D, prior=0.5, pairs=far)
    assert apart.people == 3 and apart.probability.tolist() == [1.0, 1.0, 1.0] and not apart.joins


def test_the_prior_moves_the_probability_and_the_joins(calibration: Calibration) -> None:
    t = made("ab", [0.0, 9.0])
    e = seen(t, 0, 55)
    likely, rare = (link(t, e, calibration, D, prior=p) for p in (0.5, 0.01))
    assert (likely.people, rare.people) == (1, 2)
    assert likely.prior == 0.5
    linked = link(t, seen(t, 0, 90), calibration, D, prior=None)
    # no pair looks like one person
    assert linked.prior == pytest.approx(1e-4) and linked.people == 2


def test_crops_that_are_not_usable_are_no_evidence(calibration: Calibration) -> None:
    t = made("ab", [0.0, 9.0])
    # one crop of each looks alike, the other does not
    e = Embeddings.of(torch.from_numpy(angles(0, 170, 0, -80)))
    assert link(t, e, calibration, D, prior=0.5, rule="mean").people == 2
    assert link(t, e, calibration, D, prior=0.5, usable=[True, False, True, False]).people == 1
    nothing = link(t, e, calibration, D, prior=0.4, usable=[False] * 4)
    assert nothing.people == 2 and nothing.probability[0] == pytest.approx(0.6)


def test_the_rules_differ_as_they_say(calibration: Calibration) -> None:
    t = made("ab", [0.0, 9.0])
    e = Embeddings.of(torch.from_numpy(angles(0, 80, 0, 80)))
    every = [odds(a, b) for a in (0, 80) for b in (0, 80)]
    by_pairs, by_mean = (link(t, e, calibration, D, rule=rule) for rule in ("pairs", "mean"))
    assert by_pairs.ratios[0, 1] == pytest.approx(np.mean(every), abs=1e-5)
    assert by_mean.ratios[0, 1] == pytest.approx(4.0, abs=1e-5)  # both point to 40 degrees


def test_what_does_not_fit_is_refused(calibration: Calibration) -> None:
    t = made("ab", [0.0, 9.0])
    e = seen(t, 0, 0)
    with pytest.raises(DataError, match="link needs a calibration"):
        link(t, e, None, D)
    with pytest.raises(ShapeError, match="give the distance"):
        link(t, e, calibration)
    with pytest.raises(ShapeError, match="3 embeddings do not fit the 4 crops"):
        link(t, e.rows([0, 1, 2]), calibration, D)
    with pytest.raises(ShapeError, match=r"usable must be \[4\]"):
        link(t, e, calibration, D, usable=[True])
    with pytest.raises(ArgumentError, match="a prior must be a probability"):
        link(t, e, calibration, D, prior=1.0)


def test_nobody_linked_is_each_alone() -> None:
    assert Linked.alone(3).people == 3 and Linked.alone(0).people == 0
