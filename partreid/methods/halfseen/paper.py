"""HalfSeen: what is known of it."""

from partreid.methods.halfseen import recipes
from partreid.recipes.claims import Claim
from partreid.recipes.papers import Paper

_FULL = recipes.DUKE.name
CLAIMS = (
    *(
        Claim(
            _FULL,
            "bpbreid/table1/resnet50/occluded_duke",
            "nothing published",
            "against BPBreID",
            queries,
        )
        for queries in ("occluded", "holistic")
    ),
    *(
        Claim(_FULL, f"halfseen/pieces/{name}", "nothing published", "its pieces", "occluded")
        for name in recipes.PIECES
    ),
)

PAPER = Paper(
    "halfseen",
    title="HalfSeen",
    citation="no paper: made here of what the five contribute",
    year=2026,
    method="partreid.methods.halfseen.model:HalfSeen",
    main=recipes.DUKE,
    rows=recipes.ROWS,
    synthetic=recipes.synthetic,
    claims=CLAIMS,
    core=True,
)
