"""Tracklets to identities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.inference import SavedEmbeddings
from partreid.link.constraints import CameraPairs, conflicts, violations
from partreid.link.evidence import Doubles, Rule, estimate_prior, log_ratios, pair_ratios, summarize
from partreid.link.solve import agglomerate
from partreid.link.tracklets import Tracklets
from partreid.metrics.calibration import Calibration, require_prior
from partreid.types import Embeddings
from partreid.utils.arguments import check_fields, door

NO_CALIBRATION = (
    "link needs a calibration, which says how sure a distance is: partreid calibrate RUN --data "
    "FOLDER"
)


@dataclass(frozen=True)
class Join:
    """Two groups of tracklets that were made one identity, or nearly.

    Args:
        a: Rows of the one group's tracklets.
        b: Rows of the other's.
        probability: That they are one person: the mean log odds of their pairs as a probability.
        made: Whether they were joined.
    """

    a: tuple[int, ...]
    b: tuple[int, ...]
    probability: float
    made: bool

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, eq=False)
class Linked:
    """Which tracklets are one person.

    Args:
        identity: int64 [T], from 1 in the order of first appearance.
        probability: float64 [T] in [0, 1], that a tracklet belongs where it is: with others, from
            its mean log odds with them; alone, that it is not of the identity it is likest.
        joins: The least sure first: those made, and for each identity the likest other that it was
            not joined with.
        ratios: float64 [T, T], log ratios of all pairs.
        conflict: bool [T, T], the pairs that cannot be one person.
        prior: How likely two tracklets were one person beforehand.

    Examples:
        >>> Linked.alone(2).identity
        array([1, 2])
    """

    identity: NDArray[np.int64]
    probability: Doubles
    joins: tuple[Join, ...]
    ratios: Doubles
    conflict: NDArray[np.bool_]
    prior: float

    def __len__(self) -> int:
        return len(self.identity)

    @property
    def people(self) -> int:
        """How many identities there are."""
        return len(np.unique(self.identity))

    @property
    def violated(self) -> int:
        """Pairs of one identity that cannot be one person; always 0."""
        return violations(self.identity, self.conflict)

    @classmethod
    def alone(cls, many: int) -> "Linked":
        """Nobody is linked: T identities."""
        nothing = np.zeros((many, many))
        return cls(
            np.arange(1, many + 1), np.ones(many), (), nothing, nothing.astype(np.bool_), 0.5
        )


@door
def link(
    tracklets: Tracklets,
    embeddings: Embeddings | SavedEmbeddings,
    calibration: Calibration | None,
    distance: PartDistance | None = None,
    *,
    pairs: CameraPairs | None = None,
    rule: Rule = "pairs",
    prior: float | None = 0.5,
    usable: Any = None,
) -> Linked:
    """Tell which tracklets show one person.

    Args:
        tracklets: T of them, with N crops.
        embeddings: Of the crops, in the order of ``tracklets.paths``, as ``Model.index`` gives
            them.
        calibration: Of the same model.
        distance: How it compares; None for what ``Model.index`` gave, which knows.
        pairs: Of cameras; None: nothing is known of any two.
        rule: ``pairs``: the mean over all pairs of crops, see
            :func:`partreid.link.evidence.pair_ratios`; ``mean`` or ``best``: of a summary of each
            tracklet, see :func:`partreid.link.evidence.summarize`.
        prior: In (0, 1), how likely two tracklets were one person beforehand; None: estimated from
            all pairs, see :func:`partreid.link.evidence.estimate_prior`, which was worse than one
            half where it was measured (docs/link.md).
        usable: bool [N], the crops that count as evidence; None: all. A tracklet with none of them
            stays alone.

    Returns:
        Identities, none of which breaks a constraint.

    Raises:
        DataError: There is no calibration, or scipy is missing.
        ShapeError: There are not as many embeddings as crops, or a plain embedding has no distance.

    Examples:
        >>> from partreid.inference import load
        >>> from partreid.link import TrackedCrop
        >>> two = Tracklets.of([TrackedCrop("a.jpg", "1", "c1"), TrackedCrop("b.jpg", "1", "c2")])
        >>> link(two, load("runs/bpbreid", device="cpu").index(two.paths), None)
        Traceback (most recent call last):
            ...
        partreid.errors.DataError: link needs a calibration, which says how sure a distance is:
        partreid calibrate RUN --data FOLDER
    """
    if calibration is None:
        raise DataError(NO_CALIBRATION)
    if isinstance(embeddings, SavedEmbeddings):
        distance = embeddings.distance if distance is None else distance
        embeddings = embeddings.embeddings
    if distance is None:
        raise ShapeError("embeddings alone do not say how they are compared; give the distance")
    if len(embeddings) != len(tracklets.paths):
        raise ShapeError(
            f"{len(embeddings)} embeddings do not fit the {len(tracklets.paths)} crops of the "
            "tracklets; embed tracklets.paths"
        )
    if prior is not None:
        require_prior(prior)
    if usable is not None:
        kept = embeddings.visibility.new_tensor(np.asarray(usable, np.bool_).tolist())
        if kept.shape != (len(embeddings),):
            raise ShapeError(f"usable must be [{len(embeddings)}], got {list(kept.shape)}")
        embeddings = Embeddings(
            embeddings.vectors, embeddings.visibility * kept[:, None], embeddings.names
        )
    conflict = conflicts(tracklets, pairs)
    of, many = tracklets.crop_of, len(tracklets)
    if rule == "pairs":
        ratios = pair_ratios(calibration, distance, embeddings, of, many)
    else:
        summaries = summarize(embeddings, of, many, distance, rule)
        ratios = log_ratios(calibration, distance, summaries)
    prior = estimate_prior(ratios, conflict) if prior is None else prior
    odds = ratios + np.log(prior / (1 - prior))
    np.fill_diagonal(odds, 0.0)
    label, steps = agglomerate(odds, conflict)
    identity = _by_time(label, tracklets)
    means = _means(odds, label)
    allowed = ~_between(conflict, label)
    joins = [Join(a, b, _chance(mean), True) for a, b, mean in steps]
    joins += _near_misses(means, allowed, label)
    joins.sort(key=lambda join: (abs(join.probability - 0.5), join.a, join.b))
    probability = _belonging(odds, label, means, allowed)
    return Linked(identity, probability, tuple(joins), ratios, conflict, prior)


def _chance(odds: Any) -> Any:
    out = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
    return float(out) if np.ndim(out) == 0 else out


def _by_time(label: NDArray[np.int64], tracklets: Tracklets) -> NDArray[np.int64]:
    """Numbers from 1 in the order in which the groups begin; those without times come last."""
    groups = int(label.max(initial=-1)) + 1
    first = np.full(groups, np.inf)
    np.minimum.at(first, label, np.where(np.isnan(tracklets.start), np.inf, tracklets.start))
    place = np.empty(groups, np.int64)
    place[np.lexsort((np.arange(groups), first))] = np.arange(1, groups + 1)
    return place[label]


def _means(odds: Doubles, label: NDArray[np.int64]) -> Doubles:
    """Mean log odds of each tracklet with each group, itself left out: [T, groups]."""
    of = np.eye(int(label.max(initial=-1)) + 1)[label]
    count = of.sum(0)[None] - of  # without oneself
    sums = (odds - np.diag(np.diag(odds))) @ of
    out: Doubles = sums / np.maximum(count, 1)
    return out


def _between(conflict: NDArray[np.bool_], label: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a tracklet has a conflict with any member of a group: [T, groups]."""
    of = np.eye(int(label.max(initial=-1)) + 1, dtype=np.int64)[label]
    out: NDArray[np.bool_] = (conflict.astype(np.int64) @ of) > 0
    return out


def _belonging(
    odds: Doubles, label: NDArray[np.int64], means: Doubles, allowed: NDArray[np.bool_]
) -> Doubles:
    many = len(label)
    if not many:
        return np.zeros(0)
    size = np.bincount(label)[label]
    own_mean = means[np.arange(many), label]
    others = np.where(allowed, means, -np.inf)
    others[np.arange(many), label] = -np.inf
    likest = others.max(1, initial=-np.inf)
    out: Doubles = np.where(size > 1, _chance(own_mean), 1 - _chance(likest))
    return out


def _near_misses(
    means: Doubles, allowed: NDArray[np.bool_], label: NDArray[np.int64]
) -> Sequence[Join]:
    """For each group the likest other group that no constraint keeps apart; each pair once."""
    groups = means.shape[1]
    of = np.eye(groups)[label]
    between = (of.T @ means) / np.maximum(of.sum(0), 1)[:, None]
    apart = (of.T @ ~allowed) > 0
    np.fill_diagonal(apart, True)
    between = np.where(apart, -np.inf, between)
    joins: dict[tuple[int, int], Join] = {}
    for g in range(groups):
        h = int(between[g].argmax())
        if np.isfinite(between[g, h]):
            one, other = min(g, h), max(g, h)
            sides = [tuple(np.flatnonzero(label == k).tolist()) for k in (one, other)]
            joins[one, other] = Join(sides[0], sides[1], _chance(between[one, other]), False)
    return list(joins.values())
