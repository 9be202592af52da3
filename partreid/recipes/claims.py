"""What a paper's tables say of its own variants: which is better than which.

``partreid claims`` trains both sides at the size of the synthetic benchmark and says whether the
order holds there.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """``better`` beats ``worse``, which are names of recipes: ``published`` are the published mAPs
    in percent, ``where`` their table.

    queries: the synthetic queries that are nearest to the paper's data, holistic or occluded.
    """

    better: str
    worse: str
    published: str
    where: str
    queries: str = "holistic"
