"""How well identities fit the truth.

Crops are the unit: IDF1 (Ristani et al. 2016) with crops for boxes, B-cubed per crop. Pairs are
pairs of tracklets.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.data.folders import needed
from partreid.errors import DataError, ShapeError
from partreid.link.associate import Linked
from partreid.link.tracklets import Tracklets
from partreid.metrics.bootstrap import SAMPLES, Interval, bootstrap_values
from partreid.utils.arguments import Count, check_fields, door


@dataclass(frozen=True)
class LinkScores:
    """What was found, held against the truth. All but the counts lie in 0..1.

    Args:
        idf1: Share of the crops that carry the identity that stands for their person, with the one
            identity per person, and one person per identity, that suit best; with its 95 % interval
            over people. No crop is missing or too many, so IDP and IDR are the same number.
        precision: Of the pairs of tracklets with one identity, the share that is one person; 1 if
            there is no such pair.
        recall: Of the pairs of tracklets of one person, the share with one identity; 1 if there is
            none.
        bcubed_precision: Mean over crops: share of its identity's crops that show its person.
        bcubed_recall: Mean over crops: share of its person's crops that carry its identity.
        people: True ones.
        identities: Found ones.
        tracklets: Of which the truth is known.
        left_out: Crops of which nobody says who they are.
    """

    idf1: Interval
    precision: float
    recall: float
    bcubed_precision: float
    bcubed_recall: float
    people: int
    identities: int
    tracklets: int
    left_out: int = 0

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def f1(self) -> float:
        """Of pairs."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    @property
    def bcubed(self) -> float:
        """F1 of B-cubed."""
        both = self.bcubed_precision + self.bcubed_recall
        return 2 * self.bcubed_precision * self.bcubed_recall / both if both else 0.0


@door
def score(
    tracklets: Tracklets, linked: Linked | Any, samples: Count = SAMPLES, seed: int = 0
) -> LinkScores:
    """Hold identities against the people that the tracklets' crops truly show.

    A tracklet's own person, for pairs, is the one that most of its crops show; of equally many the
    first by name.

    Args:
        tracklets: With ``people``.
        linked: What was found, or integers [T].
        samples: Draws of people for the interval.
        seed: Of the draws.

    Returns:
        The scores.

    Raises:
        DataError: Nobody says who the crops show, or scipy is missing.
        ShapeError: There are not as many identities as tracklets.

    Examples:
        >>> from partreid.link import TrackedCrop
        >>> crops = [TrackedCrop(f"{i}.jpg", str(i), "c1", i, who) for i, who in enumerate("aab")]
        >>> scores = score(Tracklets.of(crops), [1, 1, 1])
        >>> round(scores.idf1.value, 2), round(scores.precision, 2), scores.recall
        (0.67, 0.33, 1.0)
    """
    who = np.asarray(linked.identity if isinstance(linked, Linked) else linked)
    known, true, identity = _labels(tracklets, who)
    of = tracklets.crop_of[known]
    counts = _counts(true, identity)
    right = (_assigned(counts)[true] == identity).astype(np.float64)
    interval = bootstrap_values({"idf1": right}, true, samples, seed)["idf1"]
    size_true, size_identity = counts.sum(1), counts.sum(0)
    both = counts[true, identity]
    person, rows = _majority(true, of, len(counts), len(tracklets))
    precision, recall = _pairs(person, who[rows])
    return LinkScores(
        interval,
        precision,
        recall,
        float((both / size_identity[identity]).mean()),
        float((both / size_true[true]).mean()),
        len(counts),
        counts.shape[1],
        len(rows),
        int((~known).sum()),
    )


@door
def right_crops(tracklets: Tracklets, linked: Linked | Any) -> NDArray[np.bool_]:
    """The crops that IDF1 counts: whose identity is the one that stands for their person.

    Args:
        tracklets: With ``people``.
        linked: What was found, or integers [T].

    Returns:
        bool [N]; False too for crops of which nobody says who they are.

    Raises:
        DataError: As of :func:`score`.
        ShapeError: As of :func:`score`.

    Examples:
        >>> from partreid.link import TrackedCrop
        >>> crops = [TrackedCrop(f"{i}.jpg", str(i), "c1", i, who) for i, who in enumerate("aab")]
        >>> right_crops(Tracklets.of(crops), [1, 1, 1])
        array([ True,  True, False])
    """
    who = np.asarray(linked.identity if isinstance(linked, Linked) else linked)
    known, true, identity = _labels(tracklets, who)
    out = np.zeros(len(known), np.bool_)
    out[known] = _assigned(_counts(true, identity))[true] == identity
    return out


def _labels(
    tracklets: Tracklets, who: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Which crops' people are known; of these the person and the identity found, from 0."""
    if who.shape != (len(tracklets),):
        raise ShapeError(f"identities must be [{len(tracklets)}], got {list(who.shape)}")
    if tracklets.people is None:
        raise DataError("nobody says who the crops show; give a table with a column identity")
    known = np.array([bool(name) for name in tracklets.people])
    true = np.unique(np.array(tracklets.people)[known], return_inverse=True)[1]
    identity = np.unique(who[tracklets.crop_of[known]], return_inverse=True)[1]
    return known, true, identity


def _counts(true: NDArray[np.int64], identity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Crops of each person with each identity."""
    out = np.zeros((int(true.max()) + 1, int(identity.max()) + 1), np.int64)
    np.add.at(out, (true, identity), 1)
    return out


def _assigned(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The identity that stands for each person, -1 for none: the assignment with most crops."""
    needed("scipy", "link", "scoring identities")
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(counts, maximize=True)
    out = np.full(len(counts), -1, np.int64)
    out[rows] = columns
    return out


def _majority(
    true: NDArray[np.int64], of: NDArray[np.int64], people: int, many: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The person of each tracklet of which any is known, and the rows of these tracklets."""
    votes = np.zeros((many, people), np.int64)
    np.add.at(votes, (of, true), 1)
    rows = np.flatnonzero(votes.sum(1) > 0)
    return votes[rows].argmax(1), rows


def _pairs(person: NDArray[np.int64], identity: NDArray[Any]) -> tuple[float, float]:
    upper = np.triu_indices(len(person), 1)
    same = (person[:, None] == person[None])[upper]
    joined = (identity[:, None] == identity[None])[upper]
    hits = int((same & joined).sum())
    return (
        hits / int(joined.sum()) if joined.any() else 1.0,
        hits / int(same.sum()) if same.any() else 1.0,
    )
