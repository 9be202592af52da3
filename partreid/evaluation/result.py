"""What an evaluation gives: one model scored on one data set, from which tables, pages and the
ledger are made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from partreid.distance import PartDistance
from partreid.metrics import (
    Difference,
    Interval,
    Protocol,
    Ranking,
    Roc,
    Searches,
    difference_over_seeds,
)
from partreid.types import DISTRACTOR, JUNK, Benchmark, Embeddings, Sample
from partreid.utils.arguments import door, require

if TYPE_CHECKING:
    from partreid.evaluation.slices import Breakdown
    from partreid.evaluation.trust import Trust
    from partreid.inference import Model

RERANKED, EXPANDED, MULTI_QUERY = "re-ranked", "expanded", "multi-query"
OFFICIAL = "official rule"
Gains = Mapping[tuple[str, str], Mapping[str, Difference]]
"""By (label, query set), then by score."""


@dataclass(frozen=True)
class Setting:
    """Under what one set of queries was scored; without it two numbers do not compare.

    data: the data set, with its split if it has several. rule: what the protocol leaves out, in
    words. draws: 0, or over how many single-shot galleries scores are a mean. queries: images asked
    with; scored: those with a right answer in the gallery. gallery: its images, distractors (wrong
    for every query) and junk (seen by none) among them.
    """

    data: str
    protocol: str
    rule: str
    draws: int
    queries: int
    scored: int
    gallery: int
    distractors: int
    junk: int

    @classmethod
    def of(
        cls, data: str, protocol: Protocol, ranking: Ranking, gallery: Sequence[Sample]
    ) -> "Setting":
        """Of a ranking of the gallery. A query counts as scored if it has an answer in any draw."""
        scored = int(ranking.scored.reshape(ranking.draws, -1).any(0).sum())
        return cls(
            data,
            protocol.name,
            protocol.sentence,
            protocol.draws,
            len(ranking.top),
            scored,
            len(gallery),
            sum(s.identity == DISTRACTOR for s in gallery),
            sum(s.identity == JUNK for s in gallery),
        )

    @property
    def left_out(self) -> int:
        """Queries that have no right answer and count in no score."""
        return self.queries - self.scored

    @property
    def counted(self) -> str:
        """How many of the queries were scored, in words."""
        return f"{self.scored} of {self.queries}"

    @property
    def shots(self) -> str:
        """How many images of a person the gallery shows a query."""
        return f"single-shot, mean of {self.draws} draws" if self.draws else "multi-shot"

    @property
    def sentence(self) -> str:
        """All of it, for a reader."""
        gone = (
            f", {self.left_out} left out for want of a right answer in the gallery"
            if self.left_out
            else ""
        )
        return (
            f"{self.data}: {self.counted} queries scored{gone}; {self.gallery} gallery images, "
            f"{self.distractors} of them distractors and {self.junk} junk; protocol "
            f"{self.protocol}, {self.shots}: {self.rule}"
        )

    def plain(self) -> dict[str, Any]:
        """For JSON and spreadsheets."""
        return {**asdict(self), "left_out": self.left_out, "shots": self.shots}


@dataclass(frozen=True)
class Matching:
    """How two images were matched.

    parts: which parts of them were compared: those that both show, all, or those that exact masks
    show; empty where the method cannot tell hidden parts. after: what was done besides, in words;
    empty if nothing was.
    """

    parts: Literal["visible parts", "all parts", "exact masks", ""]
    after: str = ""

    @property
    def words(self) -> str:
        """What a table says of it; empty for a method that has no choice."""
        return self.after or self.parts


@dataclass(frozen=True, eq=False)
class Embedded:
    """The embeddings of every query set and of the gallery that they share."""

    queries: Mapping[str, Embeddings]
    gallery: Embeddings

    def change(self, function: Callable[[Embeddings], Embeddings]) -> "Embedded":
        """The same with every set of embeddings passed through ``function``, e.g. to ignore
        visibility.
        """
        return Embedded(
            {name: function(e) for name, e in self.queries.items()}, function(self.gallery)
        )


@dataclass(frozen=True, eq=False)
class QuerySetResult:
    """How one set of queries fared. seconds: of matching and scoring, not of embedding.

    intervals: of all scores, by name. setting: what the scores were taken over. roc, searches:
    verification of pairs, and search for people half of whom are in no gallery; None after
    re-ranking and expansion, whose distances depend on the gallery.
    """

    queries: str
    ranking: Ranking
    intervals: Mapping[str, Interval]
    seconds: float
    setting: Setting
    roc: Roc | None = None
    searches: Searches | None = None

    @property
    def scores(self) -> dict[str, float]:
        """All scores by name, in [0, 1]; NaN where one has no meaning."""
        return {
            **self.ranking.scores,
            **(self.roc.scores if self.roc else {}),
            **(self.searches.scores if self.searches else {}),
        }


@dataclass(frozen=True, eq=False)
class RunResult:
    """One model scored on one data set under one matching.

    name: what tables call the method. data: the data set as recipes call it. described: the
    embeddings; of no image if they were let go. query_sets: what each set of queries scored, in the
    order of ``benchmark``. seconds: of embedding and scoring. folder: of the run, or its
    model.safetensors; None for a model that lies nowhere. training_seconds: what its journal says.
    breakdowns, trust: slices by query set, and how far the model's certainty can be trusted, where
    they were asked for.
    """

    name: str
    matching: Matching
    model: "Model"
    benchmark: Benchmark
    data: str
    protocol: Protocol
    described: Embedded
    query_sets: tuple[QuerySetResult, ...]
    seconds: float = 0.0
    folder: Path | None = None
    training_seconds: float | None = None
    breakdowns: Mapping[str, "Breakdown"] = field(default_factory=dict)
    trust: "Trust | None" = None

    @property
    def label(self) -> str:
        """Name and, where more was done than the method does by itself, that."""
        return f"{self.name}, {self.matching.after}" if self.matching.after else self.name

    @property
    def distance(self) -> PartDistance:
        """How the method compares."""
        return self.model.method.distance

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.model.recipe.seed

    def of(self, queries: str) -> QuerySetResult:
        """What one set of queries scored."""
        return next(s for s in self.query_sets if s.queries == queries)


Seeds = tuple[RunResult, ...]
"""One method under one matching: results that differ in the seed alone."""


@door
def by_method(results: Sequence[RunResult]) -> tuple[Seeds, ...]:
    """Results of one method under one matching together, in the order of the first of each."""
    groups: dict[tuple[str, Matching], list[RunResult]] = {}
    for result in results:
        groups.setdefault((result.name, result.matching), []).append(result)
    return tuple(tuple(group) for group in groups.values())


@door
def differences(results: Sequence[RunResult]) -> Gains:
    """What every other method and matching gains over the first, by (label, query set) and score.

    The first method itself under another matching is the same runs scored in two ways.
    """
    require(len(results) > 0, "what is compared", "one result or more", results)
    reference, *others = by_method(results)
    return {
        (seeds[0].label, q.queries): difference_over_seeds(
            [r.of(q.queries).ranking for r in seeds],
            [r.of(q.queries).ranking for r in reference],
            same_runs=seeds[0].name == reference[0].name,
        )
        for seeds in others
        for q in reference[0].query_sets
    }
