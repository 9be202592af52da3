"""What the service says, as JSON: the words are those of the Python API and of the commands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from partreid.explain.evidence import Evidence
from partreid.gallery import Found
from partreid.inference import Hit
from partreid.metrics.calibration import Calibration
from partreid.serve.desk import Answer, Compared, Desk, Ranked, State, WhyNot


@dataclass(frozen=True)
class Problem:
    """Why there is no answer, in one sentence."""

    error: str


@dataclass(frozen=True)
class PartTerm:
    """A part of two crops: its distance, what it adds to the whole, and how visible it is in both.

    distance is null where the two do not both show the part, share where that is infinite.
    """

    name: str
    distance: float | None
    share: float | None
    query_visibility: float
    match_visibility: float


@dataclass(frozen=True)
class Pair:
    """What is known of two crops.

    distance is null if they share no part. probability and same are null where nothing is decided;
    then reason says why.
    """

    distance: float | None
    shared_evidence: int
    probability: float | None
    same: bool | None
    reason: str | None
    verdict: str
    sentence: str
    parts: list[PartTerm]


@dataclass(frozen=True)
class Crop:
    """A crop of the gallery. thumbnail: whether a picture of it is kept."""

    id: int
    camera: int | None
    time: datetime | None
    person: str | None
    source: str | None
    thumbnail: bool


@dataclass(frozen=True)
class RankedCrop:
    """A crop of the gallery at its place, from 1, and the pair that it makes with the query."""

    place: int
    crop: Crop
    pair: Pair


@dataclass(frozen=True)
class Decides:
    """By what is decided.

    rate: false matches in impostor pairs that the threshold allows. least: the probability that it
    asks for, at the prior of the request. made_of: the crops of the calibration.
    """

    rate: float
    least: float
    made_of: str


@dataclass(frozen=True)
class Searched:
    """The nearest crops of a query.

    crops: how many the gallery has. called_same: how many of all of them are called the same
    person, null where nothing is decided; withheld says why. expected_false_matches: among all
    crops of the gallery, were nobody the person of the query.
    """

    crops: int
    called_same: int | None
    withheld: str | None
    expected_false_matches: float | None
    decides: Decides | None
    hits: list[RankedCrop]


@dataclass(frozen=True)
class Verified:
    """Whether a crop shows the person it is said to: the nearest of this person's crops."""

    person: str
    nearest: RankedCrop
    decides: Decides | None


@dataclass(frozen=True)
class Explained:
    """Why a crop is not the first answer.

    rank: its place among all that the search looks at, null if that is beyond 10,000 or it is not
    looked at; excluded says why it is not. sentence: which parts tell it and the first answer
    apart.
    """

    rank: int | None
    excluded: str | None
    expected: RankedCrop
    first: RankedCrop | None
    sentence: str


@dataclass(frozen=True)
class Enrolment:
    """Ids of crops that are kept."""

    ids: list[int]


@dataclass(frozen=True)
class Forgotten:
    """Who was removed, how many crops that were, and what is not in the gallery's power."""

    person: str
    crops: int
    notes: list[str]


@dataclass(frozen=True)
class Person:
    """A person and the number of crops."""

    person: str
    crops: int


@dataclass(frozen=True)
class Camera:
    """A camera and the number of crops."""

    camera: int
    crops: int


@dataclass(frozen=True)
class Listed:
    """What the gallery holds and what decides."""

    crops: int
    recipe: str
    parts: list[str]
    keeps_crops: bool
    decides: Decides | None
    people: list[Person]
    cameras: list[Camera]


@dataclass(frozen=True)
class Health:
    """Whether the service answers."""

    status: str


@dataclass(frozen=True)
class Checked:
    """What a check of the whole gallery found: a sentence for each fault."""

    crops: int
    faults: list[str]


def decides(calibration: Calibration | None, prior: float = 0.5) -> Decides | None:
    """By what is decided; None without a calibration."""
    if calibration is None:
        return None
    return Decides(calibration.rate, calibration.least(prior), calibration.source.made_of)


def pair(desk: Desk, hit: Hit, prior: float, sentence: str) -> Pair:
    """Evidence and decision of two crops."""
    plain: dict[str, Any] = hit.evidence.to_dict()
    return Pair(
        plain["distance"],
        hit.shared_evidence,
        hit.probability,
        hit.same,
        hit.reason,
        desk.verdict(hit, prior),
        sentence,
        [PartTerm(**term) for term in plain["parts"]],
    )


def crop(entry: Found, thumbnail: bytes | None) -> Crop:
    """A crop of the gallery."""
    known, source = entry.enrolled, entry.source
    return Crop(
        entry.id,
        known.camera,
        known.time,
        known.person,
        None if source is None else str(source),
        thumbnail is not None,
    )


def ranked_crop(
    desk: Desk, answer: Answer, prior: float, other: Evidence | None = None, other_is: str = ""
) -> RankedCrop:
    """An answer; ``other``: evidence of the one that its sentence is to tell it from."""
    e = answer.hit.evidence
    return RankedCrop(
        answer.hit.place,
        crop(answer.crop, answer.thumbnail),
        pair(desk, answer.hit, prior, e.sentence(other, other_is, ("the query", "this crop"))),
    )


def searched(desk: Desk, ranked: Ranked, prior: float) -> Searched:
    """A search. Each hit's sentence tells it from the next."""
    evidence = [answer.hit.evidence for answer in ranked.answers]
    following = [*evidence[1:], None] if evidence else []
    return Searched(
        ranked.crops,
        ranked.called,
        ranked.withheld,
        None if desk.calibration is None else ranked.crops * desk.calibration.rate,
        decides(desk.calibration, prior),
        [
            ranked_crop(desk, answer, prior, after, "the next")
            for answer, after in zip(ranked.answers, following, strict=True)
        ],
    )


def verified(desk: Desk, ranked: Ranked, person: str, prior: float) -> Verified:
    """A claim that was looked at."""
    return Verified(
        person, ranked_crop(desk, ranked.answers[0], prior), decides(desk.calibration, prior)
    )


def compared(desk: Desk, comparison: Compared, prior: float) -> Pair:
    """Two crops."""
    sentence = comparison.hit.evidence.sentence(hidden_in=("the first crop", "the second crop"))
    return pair(desk, comparison.hit, prior, sentence)


def explained(desk: Desk, why: WhyNot, prior: float) -> Explained:
    """A crop that was expected."""
    expected = ranked_crop(desk, why.expected, prior)
    first = None if why.first is None else ranked_crop(desk, why.first, prior)
    return Explained(
        why.expected.hit.place or None, why.excluded, expected, first, why_sentence(why)
    )


def why_sentence(why: WhyNot) -> str:
    """What sets the first answer before the crop that was expected, in words."""
    if why.first is None:
        return "The search found nothing."
    if why.first.crop.id == why.expected.crop.id:
        return "It is the first answer."
    first, mine = why.first.hit.evidence, why.expected.hit.evidence
    return first.sentence(mine, "the crop expected", ("the query", "the first answer"))


def listed(desk: Desk, state: State) -> Listed:
    """All people and cameras."""
    return Listed(
        state.crops,
        desk.model.recipe.name,
        list(desk.model.names),
        desk.keeps_crops,
        decides(desk.calibration),
        [Person(person, many) for person, many in sorted(state.people.items())],
        [Camera(camera, many) for camera, many in sorted(state.cameras.items())],
    )
