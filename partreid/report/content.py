"""What a report holds: values alone, which :mod:`partreid.report.pages` lays out on a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from PIL import Image

from partreid.explain.overlays import Shown
from partreid.explain.sheets import Match
from partreid.report.rows import Interval, Row


@dataclass(frozen=True)
class Mark:
    """A point of a line that is worth a name."""

    x: float
    y: float
    label: str = ""


@dataclass(frozen=True)
class Series:
    """A line of a plot, its points in order. slot: its color, 0 to 5, the same wherever the
    page shows this name.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    slot: int = 0
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Plot:
    """Lines over one pair of axes; y is a share in 0..1, printed in percent.

    log: the x axis. low, high: of the y axis; None: chosen. even: also draw the line x = y. shares:
    x is one as well; if not on a log axis it then goes from 0 to 1.
    """

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    log: bool = False
    low: float | None = 0.0
    high: float | None = 1.0
    even: bool = False
    shares: bool = False


@dataclass(frozen=True)
class Cell:
    """A number in 0..1 and its interval; ``value`` None is an empty cell. best: of its kind on
    this page.
    """

    value: float | None
    interval: Interval | None = None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns. rows: (name, what stands small beside it, a cell for
    each column).
    """

    title: str
    head: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Heat:
    """A table whose cells are shaded by their value in 0..1, from white to dark over ``scale``,
    (lowest, highest).

    counts: of how many each cell is the mean.
    """

    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    counts: tuple[tuple[int, ...], ...] = ()
    scale: Interval | None = None


@dataclass(frozen=True)
class Gain:
    """A difference to the reference, in -1..1, with its interval and p."""

    name: str
    of: str  # the score
    value: float
    low: float
    high: float
    p: float
    slot: int = 0


@dataclass(frozen=True)
class Forest:
    """Differences on one axis, with a line at zero."""

    title: str
    gains: tuple[Gain, ...]


Item: TypeAlias = Plot | Table | Heat | Forest


@dataclass(frozen=True)
class Block:
    """Items side by side. read: one sentence on how to read them."""

    title: str
    read: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading; ``id`` is its anchor."""

    id: str
    title: str
    story: str
    blocks: tuple[Block, ...]
    foot: str = ""


@dataclass(frozen=True, eq=False)
class Example:
    """One query and what each method answers, nearest first. views: the query as each method sees
    it, if they differ.
    """

    title: str
    story: str
    query: Shown
    rankings: Mapping[str, tuple[Match, ...]]
    views: Mapping[str, Shown] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LabelStory:
    """How a method's own labels of one training image changed: (caption, labels as part maps),
    oldest first.
    """

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

    headline: the result in plain words. sections: plots and tables between the scores and the
    answers. curves: journal rows per method (step, epoch, loss, lr, terms). part_iou,
    visibility_accuracy: 0..1 per part name, and ``mean`` if wanted. leak: Rank-1 in 0..1 of
    retrieval by background color alone, per query set, and ``chance``. labels, label_quality: of
    methods that label the training images themselves; the quality is IoU in 0..1 with the exact
    truth, by method and region; label_notes stand below it, a sentence each. label_rounds: the
    journal's lines on every round, by method. lessons: pictures of what a method was shown in
    training alone. facts: device, seconds, memory, data, seeds, in words. notes: limits and
    licence, a sentence or two each.
    """

    title: str
    subtitle: str = ""
    headline: str = ""
    scores: tuple[Row, ...] = ()
    examples: tuple[Example, ...] = ()
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    part_iou: Mapping[str, float] | None = None
    visibility_accuracy: Mapping[str, float] | None = None
    leak: Mapping[str, float] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    labels: tuple[LabelStory, ...] = ()
    label_quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    label_notes: tuple[str, ...] = ()
    label_rounds: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    lessons: tuple[Lesson, ...] = ()
    sections: tuple[Section, ...] = ()
