"""What a score was taken over: the rule, the queries that counted and those that did not, the
gallery.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from partreid.metrics import Protocol, Ranking
from partreid.types import DISTRACTOR, JUNK, Sample


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
