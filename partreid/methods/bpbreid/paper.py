"""BPBreID: what is known of the paper."""

from partreid.methods.bpbreid import recipes
from partreid.recipes.claims import Claim
from partreid.recipes.papers import Paper

_FULL = "bpbreid/table2/full"
CLAIMS = (
    *(
        Claim(_FULL, f"bpbreid/table2/{name}", f"54.1 > {mAP}", "BPBreID Table 2", "occluded")
        for name, mAP in (
            ("no-learnable-attention", 39.2),
            ("no-visibility", 45.3),
            ("no-part-averaged-triplet", 51.7),
        )
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
)

PAPER = Paper(
    "bpbreid",
    title="BPBreID",
    citation="Somers et al., Body Part-Based Representation Learning for Occluded Person "
    "Re-Identification, WACV 2023",
    year=2023,
    method="partreid.methods.bpbreid.model:BPBreID",
    main=recipes.DUKE,
    rows=recipes.ROWS,
    synthetic=recipes.synthetic,
    claims=CLAIMS,
    core=True,
    official="partreid.metrics.official:bpbreid_official",
)
