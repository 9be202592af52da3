"""What the papers' tables say of their own variants: which is better than which. Names are of
recipes.

``partreid claims`` trains both sides at the size of the synthetic benchmark and says whether the
order holds there.
"""

from dataclasses import dataclass, replace

from partreid.methods.dsa import recipes as dsa
from partreid.methods.magnifier import recipes as magnifier
from partreid.recipes.base import Frozen, Recipe, Spec, row


@dataclass(frozen=True)
class Claim:
    """``better`` beats ``worse``: ``said`` are the published mAPs in percent, ``where`` their
    table.

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
_NOISE = (
    "the surfaces are spoilt on purpose: detections dropped, UV shifted, left and right swapped.",
)
CONTROLS: tuple[Recipe, ...] = (
    *(
        row(
            dsa.MARKET,
            f"dsa/noise/{noise}",
            cues=Frozen({"uv_tiles": Spec("uv_tiles", noise=noise)}),
            expect=None,
            notes=_NOISE,
        )
        for noise in ("moderate", "heavy")
    ),
    row(
        magnifier.CUHK03,
        "magnifier/control/no-sd",
        expect=None,
        stages=tuple(
            replace(s, weights=s.weights | {"diversity": 0.0}) for s in magnifier.CUHK03.stages
        ),
        notes=("both stages, but the diversity loss never counts.",),
    ),
)

_MAG = "magnifier/table2/cuhk03_labeled"
_HCGA6 = "hcga/table6/occluded_duke"
CLAIMS = (
    Claim("dsa/table2/market1501", "dsa/table3/baseline-re-ls", "87.6 > 81.2", "DSA Table 3"),
    Claim(
        "dsa/table2/market1501", "dsa/table3/baseline-two-branches", "87.6 > 83.4", "DSA Table 3"
    ),
    Claim("dsa/table2/market1501", "dsa/table4/csa", "87.6 > 84.1", "DSA Table 4"),
    Claim("dsa/table2/market1501", "dsa/table5/concat", "87.6 > 81.6", "DSA Table 5"),
    Claim(f"{_MAG}/g+m", f"{_MAG}/g", "69.0 > 67.4", "MagnifierNet Table 2"),
    Claim(f"{_MAG}/g+m+sab", f"{_MAG}/g+m", "74.6 > 69.0", "MagnifierNet Table 2"),
    Claim(f"{_MAG}/g+m+sfb", f"{_MAG}/g+m", "75.9 > 69.0", "MagnifierNet Table 2"),
    Claim(f"{_MAG}/g+m+sab+sfb", f"{_MAG}/g+m+sab", "78.5 > 74.6", "MagnifierNet Table 2"),
    Claim(f"{_MAG}/g+m+sab+sfb", f"{_MAG}/g+m+sfb", "78.5 > 75.9", "MagnifierNet Table 2"),
    Claim(
        f"{_MAG}/g+m+sab+sfb+sd", "magnifier/control/no-sd", "79.6 > 78.5", "MagnifierNet Table 2"
    ),
    Claim("magnifier/figure4/sfb", "magnifier/figure4/ab", "drawn", "MagnifierNet Fig. 4"),
    Claim(
        "magnifier/figure5/torso-4", "magnifier/figure5/baseline-4", "drawn", "MagnifierNet Fig. 5"
    ),
    Claim(
        "bpbreid/table2/full",
        "bpbreid/table2/no-learnable-attention",
        "54.1 > 39.2",
        "BPBreID Table 2",
        "occluded",
    ),
    Claim(
        "bpbreid/table2/full",
        "bpbreid/table2/no-visibility",
        "54.1 > 45.3",
        "BPBreID Table 2",
        "occluded",
    ),
    Claim(
        "bpbreid/table2/full",
        "bpbreid/table2/no-part-averaged-triplet",
        "54.1 > 51.7",
        "BPBreID Table 2",
        "occluded",
    ),
    Claim(
        "bpbreid/table4/gilt",
        "pcb/bpbreid-table4/gilt",
        "54.1 > 46.3",
        "BPBreID Table 4",
        "occluded",
    ),
    Claim(
        "bpbreid/table1/resnet50/occluded_duke",
        "bot/bpbreid-table1/occluded_duke",
        "54.1 > 44.7",
        "BPBreID Table 1",
        "occluded",
    ),
    Claim(
        "bpbreid/table1/resnet50/market1501",
        "bot/bpbreid-table1/market1501",
        "87.0 > 85.7",
        "BPBreID Table 1",
    ),
    Claim(
        "isp/table2/occluded_duke",
        "isp/table2/occluded_duke/no-visibility",
        "52.3 > 51.4",
        "ISP Table 2",
        "occluded",
    ),
    Claim(
        "isp/table5/dukemtmc/extra-info",
        "isp/table5/dukemtmc/baseline",
        "79.1 > 77.2",
        "ISP Table 5",
    ),
    Claim(
        "isp/table5/dukemtmc/isp", "isp/table5/dukemtmc/extra-info", "80.0 > 79.1", "ISP Table 5"
    ),
    Claim(
        "hcga/table1/occluded_duke",
        "hcga/table1/occluded_duke/no-gam",
        "57.5 > 56.0",
        "HCGA Table I",
        "occluded",
    ),
    Claim(f"{_HCGA6}/extra-info", f"{_HCGA6}/baseline", "50.2 > 49.7", "HCGA Table VI", "occluded"),
    Claim(
        f"{_HCGA6}/coparsing", f"{_HCGA6}/extra-info", "56.0 > 50.2", "HCGA Table VI", "occluded"
    ),
    Claim(f"{_HCGA6}/coparsing", f"{_HCGA6}/isp", "56.0 > 52.3", "HCGA Table VI", "occluded"),
    *(
        Claim(
            "hcga/table7/all", f"hcga/table7/{name}", f"56.0 > {mAP}", "HCGA Table VII", "occluded"
        )
        for name, mAP in (
            ("semantic", 52.9),
            ("semantic+local", 53.0),
            ("semantic+background", 52.3),
        )
    ),
    *(
        Claim(
            "hcga/table8/f+p", f"hcga/table8/{name}", f"56.0 > {mAP}", "HCGA Table VIII", "occluded"
        )
        for name, mAP in (("f", 55.2), ("p", 55.6), ("i+f+p", 54.9))
    ),
    Claim("hcga/table8/gam-t4", "hcga/table8/gam-t2", "57.5 > 54.7", "HCGA Table VIII", "occluded"),
)

# Title -> (paper, variants): tables printed beside the claims.
STUDIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "DSA-reID when the surfaces are wrong": (
        "dsa",
        (
            "dsa/table3/baseline-re-ls",
            "dsa/table2/market1501",
            "dsa/noise/moderate",
            "dsa/noise/heavy",
        ),
    ),
}
