"""What two tracklets say about being one person, as log odds: from all pairs of their crops, or
from a summary of each.

The calibration is made on pairs of crops. Under the rule ``pairs`` it is asked about nothing else,
and the mean of what it says is taken. A summary is less noisy than a crop, so two summaries lie
nearer to each other than two crops, of one person and of different people alike, and the log odds
of their distance are too high.
"""

from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from partreid.distance import PartDistance
from partreid.errors import ShapeError
from partreid.evaluation.decision import shown_by_both
from partreid.metrics.arrays import as_floats
from partreid.metrics.calibration import Calibration
from partreid.types import Embeddings
from partreid.utils.arguments import Count, door, require

Doubles = NDArray[np.float64]
Summary = Literal["mean", "best"]
Rule = Literal["pairs", "mean", "best"]
RULES: Final[tuple[str, ...]] = get_args(Rule)
BEST: Final = 3  # crops that the rule "best" takes for each part
_LEAST_PRIOR: Final = 1e-4
_ROUNDS: Final = 200


@door
def summarize(
    embeddings: Embeddings,
    crop_of: Any,
    many: Count,
    distance: PartDistance,
    rule: Summary = "mean",
) -> Embeddings:
    """One embedding for each tracklet, part by part.

    ``mean``: the mean of the crops' vectors, weighed by how visible the part is in each. ``best``:
    the mean of the three crops that show the part best; of equally good ones those that show more
    parts, then the earlier. Under both a part is as visible as in the crop that shows it best, so
    what any crop shows counts, and what none shows does not. Vectors are scaled to length 1 first,
    unless the distance is plainly Euclidean.

    Args:
        embeddings: Of the crops, [N, M, D].
        crop_of: integers [N] in 0..many-1, the tracklet of each crop.
        many: T tracklets, each with a crop at least.
        distance: How the model compares.
        rule: mean or best.

    Returns:
        Embeddings [T, M, D].

    Raises:
        ShapeError: There are not as many tracklets as crops, or one has no crop.

    Examples:
        >>> e = Embeddings.of(torch.eye(3)[:, None], torch.tensor([[1.0], [1.0], [0.0]]))
        >>> summarize(e, [0, 0, 0], 1, PartDistance("cosine")).vectors
        tensor([[[0.5000, 0.5000, 0.0000]]])
    """
    owners = _owners(crop_of, many, len(embeddings))
    x, v = embeddings.vectors.float(), embeddings.visibility.float()
    if distance.metric != "euclidean":
        x = torch.nn.functional.normalize(x, dim=-1, eps=1e-12)
    if rule == "best":
        v = v * _best(v, owners)
    sums = torch.zeros(many, *x.shape[1:]).index_add_(0, owners, x * v[..., None])
    weight = torch.zeros(many, x.shape[1]).index_add_(0, owners, v)
    seen = np.zeros((many, x.shape[1]), np.float32)
    np.maximum.at(seen, owners.numpy(), v.numpy())
    vectors = sums / weight.masked_fill(weight == 0, 1)[..., None]
    return Embeddings(vectors, torch.from_numpy(seen), embeddings.names)


def _best(v: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
    """1 for the three crops of its tracklet that show a part best, else 0: [N, M]."""
    every = v.sum(1).numpy()
    out = torch.zeros_like(v)
    for part in range(v.shape[1]):
        order = np.lexsort((np.arange(len(v)), -every, -v[:, part].numpy(), owners.numpy()))
        owner = owners.numpy()[order]
        first = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
        place = np.arange(len(v)) - np.repeat(first, np.diff(np.r_[first, len(v)]))
        out[order[place < BEST], part] = 1.0
    return out


@door
def pair_ratios(
    calibration: Calibration,
    distance: PartDistance,
    embeddings: Embeddings,
    crop_of: Any,
    many: Count,
) -> Doubles:
    """The mean log ratio of all pairs of two tracklets' crops that share a part.

    Memory is that of the result and of a tile of distances.

    Args:
        calibration: Of the model that made the embeddings.
        distance: Of that model.
        embeddings: Of the crops, [N, M, D].
        crop_of: integers [N] in 0..many-1, the tracklet of each crop.
        many: T tracklets, each with a crop at least.

    Returns:
        float64 [T, T], symmetric, natural logarithms; 0, which says nothing, where no two crops
        share a part and on the diagonal.

    Raises:
        ShapeError: There are not as many tracklets as crops, or one has no crop.
    """
    owners = _owners(crop_of, many, len(embeddings)).numpy()
    order = np.argsort(owners, kind="stable")
    owner, sorted_ = owners[order], embeddings.rows(order.tolist())
    sums, counts = np.zeros((many, many)), np.zeros((many, many))
    for rows, columns, tile in distance.tiles(sorted_, sorted_):
        far = tile.double().cpu().numpy()
        shared = shown_by_both(sorted_.rows(rows), sorted_.rows(columns))
        odds = calibration.logit(np.where(np.isfinite(far), far, 0.0), shared)
        known = np.isfinite(far) & np.isfinite(odds)
        for total, values in (
            (sums, np.where(known, odds, 0.0)),
            (counts, known.astype(np.float64)),
        ):
            i, j = (_starts(owner[part]) for part in (rows, columns))
            grouped = np.add.reduceat(np.add.reduceat(values, i, 0), j, 1)
            total[np.ix_(owner[rows][i], owner[columns][j])] += grouped
    return _symmetric(sums / np.maximum(counts, 1))


def _starts(owner: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])


def _symmetric(odds: Doubles) -> Doubles:
    """Products round a little differently either way; a tracklet says nothing about itself."""
    out: Doubles = (odds + odds.T) / 2
    np.fill_diagonal(out, 0.0)
    return out


def _owners(crop_of: Any, many: int, crops: int) -> torch.Tensor:
    """int64 [N]. ShapeError unless each tracklet has a crop."""
    owners = torch.as_tensor(np.asarray(crop_of, np.int64))
    if owners.shape != (crops,):
        raise ShapeError(f"crop_of must be [{crops}], got {list(owners.shape)}")
    if set(owners.tolist()) != set(range(many)):
        raise ShapeError(f"crop_of must name each of the {many} tracklets, from 0, at least once")
    return owners


@door
def log_ratios(calibration: Calibration, distance: PartDistance, summaries: Embeddings) -> Doubles:
    """How much more likely each two tracklets look if they are one person, as the calibration has
    it of two crops at this distance.

    Args:
        calibration: Of the model that made the embeddings.
        distance: Of that model.
        summaries: Embeddings [T, M, D], see :func:`summarize`.

    Returns:
        float64 [T, T], symmetric, natural logarithms; 0, which says nothing, where no part is
        shared and on the diagonal.

    Raises:
        ShapeError: The summaries are not of that model.
    """
    far = distance(summaries, summaries).double().numpy()
    odds = calibration.logit(
        np.where(np.isfinite(far), far, 0.0), shown_by_both(summaries, summaries)
    )
    return _symmetric(np.where(np.isfinite(far) & np.isfinite(odds), odds, 0.0))


@door
def estimate_prior(ratios: Any, conflict: Any) -> float:
    """The share of pairs of tracklets that are one person, told from the pairs themselves: the
    prior under which the mean probability is the prior (Saerens et al. 2002, by expectation and
    maximisation).

    Args:
        ratios: float64 [T, T], see :func:`log_ratios`.
        conflict: bool [T, T]; pairs that cannot be one person do not take part.

    Returns:
        In [0.0001, 0.5]; 0.5 if there is no pair that could be one.

    Raises:
        ShapeError: They are not of one square shape.

    Examples:
        >>> ratios = np.array([[0.0, 9.0, -9.0], [9.0, 0.0, -9.0], [-9.0, -9.0, 0.0]])
        >>> round(estimate_prior(ratios, np.zeros((3, 3), bool)), 2)
        0.33
    """
    odds, apart = as_floats("ratios", ratios).astype(np.float64), _mask(conflict)
    if odds.ndim != 2 or odds.shape != odds.T.shape or odds.shape != apart.shape:
        raise ShapeError(
            f"ratios {list(odds.shape)} and conflicts {list(apart.shape)} must be [T, T]"
        )
    pairs = odds[np.triu(~apart, 1)]
    if not len(pairs):
        return 0.5
    prior = 0.5
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(pairs + np.log(prior / (1 - prior)), -700, 700)))
        mean = float(np.clip(chance.mean(), _LEAST_PRIOR, 0.5))
        if abs(mean - prior) < 1e-9:
            break
        prior = mean
    return prior


@door
def require_ratios(ratios: Any, conflict: Any) -> tuple[Doubles, NDArray[np.bool_]]:
    """Both as arrays. ShapeError unless they are [T, T], ArgumentError unless finite and
    symmetric.
    """
    odds, apart = as_floats("log ratios", ratios).astype(np.float64), _mask(conflict)
    if odds.ndim != 2 or odds.shape[0] != odds.shape[1] or odds.shape != apart.shape:
        raise ShapeError(
            f"ratios {list(odds.shape)} and conflicts {list(apart.shape)} must be [T, T]"
        )
    require(
        bool(np.isfinite(odds).all()) and bool(np.array_equal(odds, odds.T)),
        "log ratios",
        "finite and symmetric",
        odds,
    )
    require(bool(np.array_equal(apart, apart.T)), "conflicts", "symmetric", apart)
    return odds, apart


def _mask(given: Any) -> NDArray[np.bool_]:
    """ArgumentError unless it is an array of truths."""
    try:
        mask: Any = np.asarray(given)
    except ValueError:  # a ragged list
        mask = np.zeros(0)
    require(mask.dtype == np.bool_, "conflicts", "truths, bool [T, T]", given)
    return np.asarray(mask, np.bool_)
