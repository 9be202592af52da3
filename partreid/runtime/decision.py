"""Which distance means the same person: the rule that a calibration decides by, and a calibration
as an exported model carries it. About which crops it decides nothing says
:mod:`partreid.runtime.doubt`.

The rule is one for the whole package: :mod:`partreid.metrics.calibration` makes calibrations and
decides by the functions below, an exported model only decides. So both say the same.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf, isnan
from typing import Any, get_origin

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ArgumentError, DataError
from partreid.runtime.doubt import Origin
from partreid.runtime.likeness import Likeness
from partreid.utils.arguments import check_fields, door, fits, number, quoted, require

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

# of a calibration's file: 1 had no digest; 2 said strangers for impostors; 3 kept no statistics
FORMAT = 4
NOTHING_SHARED = (
    "unknown: the two show no part in common, so nothing says whether they are one person"
)
_AGAIN = "make it again with partreid calibrate"
_UNSAID = {"kind": "unknown", "people": 0, "cameras": 0}


@dataclass(frozen=True)
class Curve:
    """Log odds that fall from knot to knot, straight between them and flat outside."""

    distances: tuple[float, ...]
    logits: tuple[float, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        knots = (
            np.array([self.distances, self.logits])
            if len(self.distances) == len(self.logits) > 0
            else None
        )
        require(
            knots is not None
            and bool(np.isfinite(knots).all())
            and bool((np.diff(knots[0]) > 0).all())
            and bool((np.diff(knots[1]) <= 0).all())
            and self.distances[0] >= 0,
            "a curve",
            "finite log odds that do not rise, one for each of some ascending distances >= 0",
            self.logits,
        )

    def __call__(self, distance: Any) -> Doubles:
        return np.interp(distance, self.distances, self.logits)

    def reach(self, logit: float) -> float | None:
        """The largest distance with at least these log odds; None if there is none."""
        if self.logits[0] < logit:
            return None
        return float(np.interp(-logit, [-x for x in self.logits], self.distances))


Curves = tuple[Curve, ...]  # one for every number of shared parts from 1, or one for all


@door
def logits(curves: Curves, distance: Any, shared: Any) -> Doubles:
    """Log odds of pairs, float64 like ``distance``; NaN where no part is shared."""
    far, count = np.broadcast_arrays(np.asarray(distance, np.float64), np.asarray(shared, np.int64))
    odds = np.full(far.shape, np.nan)
    index = np.minimum(count, len(curves)) - 1
    known = np.isfinite(far) & (count > 0)
    for i, curve in enumerate(curves):
        here = known & (index == i)
        odds[here] = curve(far[here])
    return odds


def probability(curves: Curves, distance: Any, shared: Any, prior: float = 0.5) -> Doubles:
    """Probability that pairs are one person, float64 like ``distance``; NaN where no part is
    shared: then nothing is known.

    prior: in (0, 1), how likely one person was before anybody looked, e.g. 1 / N for a gallery of N
    people.
    """
    require_prior(prior)
    odds = logits(curves, distance, shared) + np.log(prior / (1 - prior))
    return chance(odds)


def chance(odds: Any) -> Any:
    """The probability of log odds; 0 or 1 where float64 has none nearer."""
    with np.errstate(over="ignore"):  # 1 / inf is the right 0
        return 1 / (1 + np.exp(-odds))


def called_same(curves: Curves, threshold: float, distance: Any, shared: Any) -> Mask:
    """Bool like ``distance``: called one person, for their log odds reach ``threshold``. Never
    where no part is shared.
    """
    called: Mask = logits(curves, distance, shared) >= threshold  # NaN is not
    return called


def require_prior(prior: float) -> None:
    """ArgumentError unless ``prior`` can be a probability beforehand."""
    require(
        fits(prior, float) and 0 < prior < 1,
        "a prior",
        "a probability between 0 and 1, both excluded",
        prior,
    )


def bound_model(weights: str, distance: str, names: tuple[str, ...], recipe: str) -> str:
    """SHA-256 of all that a calibration is bound to: the hash of the weights, the distance in
    words, the names of the embeddings and the recipe's digest.
    """
    return hashlib.sha256("\n".join((weights, distance, *names, recipe)).encode()).hexdigest()


def seal(values: Mapping[str, Any]) -> str:
    """SHA-256 of a table as JSON, by which a change to it shows."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Range:
    """A rate in [0, 1] with its 95 % range."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        check_fields(self)
        for end in (self.value, self.low, self.high):
            number("a rate", end, 0, 1 + 1e-9)


@dataclass(frozen=True)
class Decision:
    """What an exported model decides by: the part of a calibration that decisions need.

    Args:
        curves: Log odds of one person over the distance; one for every number of shared parts, or
            one for all.
        threshold: Log odds from which on a pair is called one person.
        rate: The false-match rate that was asked for.
        true_rate: The one on the people that the threshold comes from.
        people: How many these were.
        data: Name of the data set that they are of.
        origin: The crops that it was made of; others that are unlike them are not decided about.
        model: SHA-256 of the model that the calibration was made for.
        weights: SHA-256 of that model's weights.
        verified: Whether it was made for this very file; not so for a quantised file that carries
            the calibration of the model it comes from.
    """

    curves: Curves
    threshold: float
    rate: float
    true_rate: Range
    people: int
    data: str
    origin: Origin
    model: str
    weights: str
    verified: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        require(len(self.curves) > 0, "the curves of a calibration", "one at least", self.curves)
        number("the rate of a calibration", self.rate, 0, 1, open_=True)
        number("the threshold of a calibration", self.threshold, -1e9)

    @classmethod
    def of(cls, values: Any, source: object, verified: bool = True) -> "Decision":
        """Of what ``partreid calibrate`` wrote, as JSON has it.

        Args:
            values: The table.
            source: What an error calls it.
            verified: See above.

        Raises:
            DataError: It is no calibration of this version, was changed since, or is damaged.
        """
        table = dict(values) if isinstance(values, dict) else {}
        if table.pop("partreid_calibration", None) not in (3, FORMAT):
            raise DataError(
                f"{source} is no calibration of this version; make one with partreid calibrate"
            )
        if table.pop("sha256", None) != seal(table):
            raise DataError(
                f"{source} was changed after partreid calibrate had written it, so what it decides "
                f"cannot be trusted; {_AGAIN}"
            )
        try:
            return cls(
                tuple(
                    Curve(tuple(curve["distances"]), tuple(curve["logits"]))
                    for curve in table["curves"]
                ),
                table["threshold"],
                table["rate"],
                Range(**table["true_rate"]),
                table["fitted"]["people"],
                table["source"]["data"],
                _origin(table),
                table["source"]["model"],
                table["source"]["weights"],
                verified,
            )
        except (KeyError, TypeError, ArgumentError) as error:
            message = error if isinstance(error, ArgumentError) else quoted(str(error))
            raise DataError(f"{source} is damaged ({message}); {_AGAIN}") from None

    def same(self, distance: Any, shared: Any) -> Mask:
        """Bool like ``distance``: called one person."""
        return called_same(self.curves, self.threshold, distance, shared)

    @door
    def __call__(
        self, distance: float, shared: int, prior: float = 0.5
    ) -> tuple[float | None, bool]:
        """(probability, same) of a pair with this distance and number of shared parts; no
        probability where none is shared.
        """
        p = float(probability(self.curves, distance, shared, prior))
        return None if isnan(p) else p, bool(self.same(distance, shared))


def made_of(data: str, kind: str, people: int, cameras: int) -> str:
    """What a calibration was made of, e.g. 150 drawn people of synthetic-demo, seen by 6 cameras.

    Args:
        data: Name of the data set.
        kind: "drawn", "real" or "unknown".
        people: How many; 0 where nobody counted.
        cameras: The same.
    """
    many = f"{people} " if people else ""
    whose = "" if kind == "unknown" else f"{kind} "
    seen = f", seen by {cameras} camera{'' if cameras == 1 else 's'}" if cameras else ""
    return f"{many}{whose}people of {data}{seen}"


def _origin(table: dict[str, Any]) -> Origin:
    source, likeness = table["source"], table.get("likeness")
    if likeness is not None:
        lists = {f.name for f in fields(Likeness) if get_origin(f.type) is tuple}
        values: Any = {k: tuple(v) if k in lists else v for k, v in likeness.items()}
        likeness = Likeness(**values)
    return Origin(
        # calibrations of earlier versions do not say
        made_of(source["data"], *(source.get(k, d) for k, d in _UNSAID.items())),
        likeness,
        tuple(inf if x is None else x for x in table["impostors"]),
        table["usual_shift"],
        table["fitted"]["people"] + table["checked"]["slice"]["people"],
    )
