"""What the papers' tables say of their own variants: which is better than which. Names are of recipes.

``partreid claims`` trains both sides at the size of the synthetic benchmark and says whether the order holds there.
"""

from dataclasses import dataclass, replace

from partreid.recipes import dsa, magnifier
from partreid.recipes.base import Frozen, Recipe, Spec, row


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


# Variants that no table has, but that a fair comparison needs.
_NOISE = ("the surfaces are spoilt on purpose: detections dropped, UV shifted, left and right swapped.",)
CONTROLS: tuple[Recipe, ...] = (
    *(row(dsa.MARKET, f"dsa/noise/{noise}", cues=Frozen({"uv_tiles": Spec("uv_tiles", noise=noise)}), expect=None,
          notes=_NOISE) for noise in ("moderate", "heavy")),
    row(magnifier.CUHK03, "magnifier/control/no-sd", expect=None,
        stages=tuple(replace(s, weights=s.weights | {"diversity": 0.0}) for s in magnifier.CUHK03.stages),
        notes=("both stages, but the diversity loss never counts.",)),
)

_MAG = "magnifier/table2/cuhk03_labeled"
CLAIMS = (
    Claim("dsa/table2/market1501", "dsa/table3/baseline-re-ls", "87.6 > 81.2", "DSA Table 3"),
    Claim("dsa/table2/market1501", "dsa/table3/baseline-two-branches", "87.6 > 83.4", "DSA Table 3"),
    Claim("dsa/table2/market1501", "dsa/table4/csa", "87.6 > 84.1", "DSA Table 4"),
    Claim("dsa/table2/market1501", "dsa/table5/concat", "87.6 > 81.6", "DSA Table 5"),
    Claim(f"{_MAG}/g+m", f"{_MAG}/g", "69.0 > 67.4", "MagnifierNet Table 2"),
    Claim(f"{_MAG}/g+m+sab", f"{_MAG}/g+m", "74.6 > 69.0", "MagnifierNet Table 2"),
    Claim(f"{_MAG}/g+m+sfb", f"{_MAG}/g+m", "75.9 > 69.0", "MagnifierNet Table 2"),
    Claim(f"{_MAG}/g+m+sab+sfb", f"{_MAG}/g+m+sab", "78.5 > 74.6", "MagnifierNet Table 2"),
    Claim(f"{_MAG}/g+m+sab+sfb", f"{_MAG}/g+m+sfb", "78.5 > 75.9", "MagnifierNet Table 2"),
    Claim(f"{_MAG}/g+m+sab+sfb+sd", "magnifier/control/no-sd", "79.6 > 78.5", "MagnifierNet Table 2"),
    Claim("magnifier/figure4/sfb", "magnifier/figure4/ab", "drawn", "MagnifierNet Fig. 4"),
    Claim("magnifier/figure5/torso-4", "magnifier/figure5/baseline-4", "drawn", "MagnifierNet Fig. 5"),
)

# Title -> (paper, variants): tables printed beside the claims.
STUDIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "DSA-reID when the surfaces are wrong": ("dsa", (
        "dsa/table3/baseline-re-ls", "dsa/table2/market1501", "dsa/noise/moderate", "dsa/noise/heavy")),
}
