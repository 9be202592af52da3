"""What the papers' tables say of their own variants: which is better than which. Names are of recipes.

``partreid claims`` trains both sides at the size of the synthetic benchmark and says whether the order holds there.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """``better`` beats ``worse``: ``said`` are the published mAPs in percent, ``where`` their table.

    queries: the synthetic queries that are nearest to the paper's data, holistic or occluded.
    """

    better: str
    worse: str
    said: str
    where: str
    queries: str = "holistic"

    @property
    def paper(self) -> str:
        return self.better.split("/")[0]


CLAIMS: tuple[Claim, ...] = ()

# Title -> (paper, variants): tables printed beside the claims.
STUDIES: dict[str, tuple[str, tuple[str, ...]]] = {}
