"""What a report holds: values alone, which :mod:`partreid.evaluate.report` lays out on a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from partreid.explain.overlays import Shown
from partreid.explain.sheets import Match

Interval = tuple[float, float]


@dataclass(frozen=True)
class Score:
    """Scores of one method on one query set, all in 0..1; intervals are (low, high) at 95 %.

    queries: "holistic", "occluded" or any other name. visibility: True if only mutually visible parts are
    compared, False if all are, "oracle" if the exact masks are used, any other words, None where it has no meaning.
    seconds: of training. valid: number of queries that have a right answer.
    """

    method: str
    queries: str
    visibility: bool | str | None
    rank1: float
    rank5: float
    mAP: float
    mINP: float
    rank1_interval: Interval | None = None
    mAP_interval: Interval | None = None
    seconds: float | None = None
    valid: int | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """One query and what each method answers, nearest first."""

    title: str
    story: str
    query: Shown
    rankings: Mapping[str, tuple[Match, ...]]


@dataclass(frozen=True, eq=False)
class LabelStory:
    """How a method's own labels of one training image changed: (caption, labels as part maps), oldest first."""

    method: str
    rounds: tuple[tuple[str, Shown], ...]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a method is shown in training and never at test time: pictures with a caption each."""

    title: str
    story: str
    pictures: tuple[tuple[str, Image.Image], ...]


@dataclass(frozen=True, eq=False)
class Report:
    """All that the page shows.

    headline: the result in plain words. curves: journal rows per method (step, epoch, loss, lr, terms).
    part_iou, visibility_accuracy: 0..1 per part name, and ``mean`` if wanted. leak: Rank-1 in 0..1 of retrieval by
    background colour alone, per query set, and ``chance``. labels, label_quality: of methods that label the training
    images themselves; the quality is IoU in 0..1 with the exact truth, by method and region.
    label_rounds: the journal's lines on every round, by method. lessons: pictures of what a method was shown in
    training alone. facts: device, seconds, memory, data, seeds, in words.
    notes: limits and licence, a sentence or two each.
    """

    title: str
    subtitle: str = ""
    headline: str = ""
    scores: tuple[Score, ...] = ()
    examples: tuple[Example, ...] = ()
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    part_iou: Mapping[str, float] | None = None
    visibility_accuracy: Mapping[str, float] | None = None
    leak: Mapping[str, float] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    labels: tuple[LabelStory, ...] = ()
    label_quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    label_rounds: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    lessons: tuple[Lesson, ...] = ()
