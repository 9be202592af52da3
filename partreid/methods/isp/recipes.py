"""ISP: Zhu et al., ECCV 2020. Every row of Tables 1, 2 and 4 to 6 that is ISP's own, and Figure 5's
variants.

Rows are named by the paper's K, which counts the background; ``parts`` is our K = the paper's K -
1.
"""

from dataclasses import replace
from typing import Any

from partreid.recipes.base import Expected, Frozen, Recipe, Spec, Stage, row, with_weights
from partreid.recipes.trunks import RESNET50, quarter

WEIGHTS = Frozen(
    {
        "id_global": 1.0,
        "triplet_global": 1.0,
        "id_foreground": 1.0,
        "triplet_foreground": 1.0,
        "id_joined": 1.0,
        "triplet_joined": 1.0,
        "parsing": 0.1,
    }
)  # Eq. 7, alpha = 0.1

PLAN = Stage(
    epochs=120,
    batch=(16, 4),
    lr=3.5e-4,
    warmup=10,
    warmup_from=0.1,
    drop_at=(40, 70),
    weights=WEIGHTS,
)

PAPER = (
    "Eq. 6 is averaged over pixels (released code), not summed.",
    "k-means: the first stage is solved exactly; the second starts from the last round's centers "
    "and follows them for at most 3 passes. Paper and released code start anew each round.",
    "labels move with crop and erasing; in the released code they do not.",
    "the released code multiplies the feature map by a learned spatial mask and sharpens the "
    "activation; the paper does neither, nor do these rows.",
    "the batch of 64 is 16 identities x 4 images (released code).",
)

# also HCGA's, which labels by the same features
SEEDED = (
    "a trunk that starts from nothing responds to background as to a person, and most to its own "
    "zero padding. So a linear discriminant between the cells in the middle and those around says "
    "what is foreground, person by person (seeded=True), and the trunk sees images mirrored 16 "
    "pixels beyond their border where it labels them (margin=16).",
    "the row of a pixel counts in the clustering (height=1), so that parts that lie one above the "
    "other keep their order from person to person.",
    "the parsing loss weighs 1.0, not 0.1, and a batch norm stands before the part head "
    "(part_norm), as in BPBreID's released code; without both no part wins anywhere.",
)
# how features of a trunk that starts from nothing are labelled
FROM_NOTHING: dict[str, Any] = {"height": 1.0, "seeded": True, "margin": 16}
_SOURCE = "ISP Table 1"


def clusters(K: int, **args: Any) -> Frozen:
    """The cue for the paper's K."""
    return Frozen({"parts": Spec("isp_clusters", parts=K - 1, **args)})


DUKE = Recipe(
    "isp/table1/dukemtmc",
    method=Spec("isp"),
    backbone=Spec("hrnet_w32", reduce=256),
    cues=clusters(7),
    train="dukemtmc",
    test=("dukemtmc",),
    size=(256, 128),
    stages=(PLAN,),
    expect=Expected(_SOURCE, rank1=89.6, rank5=95.5, mAP=80.0),
    notes=PAPER,
)


def on(data: str, **changes: Any) -> dict[str, Any]:
    return {"train": data, "test": (data,), **changes}


# Rank-1, Rank-5 and mAP of Table 4 by the paper's K; the text shows no Rank-5 for CUHK03-NP.
_TABLE4: dict[str, dict[int, tuple[float, float | None, float]]] = {
    "dukemtmc": {
        4: (89.6, 95.2, 79.2),
        5: (88.6, 95.0, 79.1),
        6: (89.0, 95.1, 78.9),
        7: (89.6, 95.5, 80.0),
        8: (88.9, 94.7, 78.4),
    },
    "market1501": {
        4: (95.3, 98.6, 88.6),
        5: (94.4, 98.2, 87.7),
        6: (95.2, 98.4, 88.4),
        7: (95.0, 98.2, 88.4),
        8: (94.9, 98.5, 88.6),
    },
    "cuhk03_labeled": {
        4: (75.9, None, 72.9),
        5: (73.9, None, 72.4),
        6: (75.9, None, 73.8),
        7: (76.5, None, 74.1),
        8: (75.9, None, 73.1),
    },
    "cuhk03_detected": {
        4: (73.5, None, 71.3),
        5: (73.1, None, 71.0),
        6: (75.2, None, 71.4),
        7: (73.6, None, 70.8),
        8: (74.0, None, 71.4),
    },
}
# the K that Table 1 reports
_BEST = {"dukemtmc": 7, "market1501": 4, "cuhk03_labeled": 7, "cuhk03_detected": 6}


def _expect(where: str, numbers: tuple[float, float | None, float]) -> Expected:
    return Expected(where, rank1=numbers[0], rank5=numbers[1], mAP=numbers[2])


TABLE1 = tuple(
    row(
        DUKE,
        f"isp/table1/{data}",
        **on(data),
        cues=clusters(K),
        expect=_expect(_SOURCE, _TABLE4[data][K]),
    )
    for data, K in _BEST.items()
)

OCCLUDED = row(
    DUKE,
    "isp/table2/occluded_duke",
    **on("occluded_duke"),
    cues=clusters(6),
    expect=Expected("ISP Table 2", rank1=62.8, rank5=78.1, rank10=82.9, mAP=52.3),
    notes=(*PAPER, "the paper does not give K here; 6 is the released script's."),
)
TABLE2 = (
    OCCLUDED,
    row(
        OCCLUDED,
        "isp/table2/occluded_duke/no-visibility",
        method=Spec("isp", matching="concat"),
        scores=OCCLUDED.name,
        expect=Expected("ISP Table 2, w/o arm", rank1=59.5, rank5=73.5, rank10=78.0, mAP=51.4),
        notes=(
            *OCCLUDED.notes,
            "without aligned matching all vectors are joined into one (released code).",
        ),
    ),
)

TABLE4 = tuple(
    row(
        DUKE,
        f"isp/table4/{data}/k{K}",
        **on(data),
        cues=clusters(K),
        scores=f"isp/table1/{data}" if _BEST[data] == K else None,
        expect=_expect("ISP Table 4", numbers),
    )
    for data, ks in _TABLE4.items()
    for K, numbers in ks.items()
)

FIGURE5 = (
    row(
        DUKE, "isp/figure5/cascade", cues=clusters(6), scores="isp/table4/dukemtmc/k6", expect=None
    ),
    row(
        DUKE,
        "isp/figure5/variant1-one-step",
        cues=clusters(6, clustering="one_step"),
        expect=None,
        notes=(
            *PAPER,
            "which of the one-step clusters is background is not said; we take the one that "
            "responds least.",
            "its pixels are normalised as in the cascade; the paper does not say.",
        ),
    ),
    row(
        DUKE,
        "isp/figure5/variant2-unnormalised",
        cues=clusters(6, clustering="unnormalised"),
        expect=None,
    ),
)

# baseline, + extra information
_TABLE5: dict[str, tuple[tuple[float, float | None, float], ...]] = {
    "dukemtmc": ((87.7, 94.3, 77.2), (88.6, 94.7, 79.1)),
    "market1501": ((94.0, 97.9, 85.9), (94.8, 98.4, 87.7)),
    "cuhk03_labeled": ((71.9, None, 68.5), (73.3, None, 71.9)),
    "cuhk03_detected": ((67.6, None, 64.7), (72.2, None, 69.6)),
}
_GLOBAL = Frozen({"id_global": 1.0, "triplet_global": 1.0})
TABLE5 = tuple(
    recipe
    for data, (bare, extra) in _TABLE5.items()
    for recipe in (
        row(
            DUKE,
            f"isp/table5/{data}/baseline",
            **on(data),
            method=Spec("bot"),
            cues=Frozen(),
            stages=with_weights(DUKE, _GLOBAL),
            expect=_expect("ISP Table 5, baseline", bare),
            notes=("HRNet-W32 with BoT's two losses; the paper names no other detail.",),
        ),
        row(
            DUKE,
            f"isp/table5/{data}/extra-info",
            **on(data),
            cues=Frozen({"parts": Spec("parsing", source="lip", parts="five")}),
            expect=_expect("ISP Table 5, + extra info", extra),
            notes=(
                *PAPER,
                "labels are SCHP's (LIP's classes), as head, arms, torso, legs and feet; the paper "
                "does not say how it grouped them. To bring them: partreid labels import",
            ),
        ),
        row(
            DUKE,
            f"isp/table5/{data}/isp",
            **on(data),
            cues=clusters(_BEST[data]),
            scores=f"isp/table1/{data}",
            expect=_expect("ISP Table 5, ISP", _TABLE4[data][_BEST[data]]),
        ),
    )
)

_UPSAMPLED = (
    *PAPER,
    "the trunk's 2048 channels are reduced to 256 by a 1x1 convolution; the paper does not say.",
)
TABLE6 = (
    row(
        DUKE,
        "isp/table6/hrnet_w32",
        scores=DUKE.name,
        expect=Expected("ISP Table 6", rank1=89.6, rank5=95.5, mAP=80.0),
    ),
    row(
        DUKE,
        "isp/table6/resnet50",
        backbone=RESNET50.but(upsample=4),
        method=Spec("isp", dim=256),
        expect=Expected("ISP Table 6", rank1=88.7, rank5=94.9, mAP=78.9),
        notes=_UPSAMPLED,
    ),
    row(
        DUKE,
        "isp/table6/seresnet50",
        backbone=Spec("seresnet50", weights="a1_in1k", upsample=4),
        method=Spec("isp", dim=256),
        expect=Expected("ISP Table 6", rank1=88.8, rank5=95.2, mAP=79.2),
        notes=_UPSAMPLED,
    ),
)

CADENCE = tuple(
    row(
        DUKE,
        f"isp/section4.2/every-{n}",
        cues=clusters(7, every=n),
        expect=None,
        notes=(*PAPER, "Sec. 4.2 calls n = 1 nearly optimal and shows no numbers for others."),
    )
    for n in (2, 5, 10)
)

RELEASED = (
    "labels are made anew every second epoch up to the 101st, from a sharpened activation (not on "
    "Occluded-Duke).",
    "labels are mirrored with the image, but neither cropped nor erased with it: the released "
    "transform erases in image coordinates, which changes no label in 76 % of cases.",
    "a learned spatial mask multiplies the feature map; the warm-up starts at 0.01 x the rate.",
    "matching without visibility on all vectors joined, save on Occluded-Duke: visibility of the "
    "parts, with global and foreground joined into one vector.",
    "the released code fills erased boxes with each image's own mean color, we with ImageNet's; "
    "its k-means starts anew from random pixels each round, ours from the last centers.",
)
CENTERS = {f"center_{name}": 1.0 for name in ("global", "foreground", "joined")}


def _released(
    data: str,
    K: int,
    expect: Expected,
    weights: Frozen = WEIGHTS,
    enhance: bool = True,
    name: str = "",
    **method: Any,
) -> Recipe:
    stages = tuple(replace(stage, warmup_from=0.01) for stage in with_weights(DUKE, weights))
    cuhk = data.startswith("cuhk03")
    wide = {"dim": 256, "global_from": "trunk"} if cuhk else {}
    return row(
        DUKE,
        f"isp/released/{data}{name}",
        **on(data),
        stages=stages,
        expect=expect,
        notes=RELEASED,
        backbone=Spec("hrnet_w32") if cuhk else DUKE.backbone,
        method=Spec("isp", mask=True, **{"matching": "concat", **wide, **method}),
        cues=clusters(K, every=2, until=101, enhance=enhance, aligned=False),
    )


RELEASED_ROWS = (
    _released(
        "market1501", 7, _expect("ISP Table 4, K = 7", _TABLE4["market1501"][7]), WEIGHTS | CENTERS
    ),
    _released("dukemtmc", 7, _expect(_SOURCE, _TABLE4["dukemtmc"][7])),
    _released("cuhk03_labeled", 7, _expect(_SOURCE, _TABLE4["cuhk03_labeled"][7])),
    _released("cuhk03_detected", 6, _expect(_SOURCE, _TABLE4["cuhk03_detected"][6])),
    _released(
        "occluded_duke", 6, OCCLUDED.expect or Expected(""), enhance=False, matching="released"
    ),
    replace(
        _released(
            "occluded_duke",
            4,
            OCCLUDED.expect or Expected(""),
            name="/author-advice",
            matching="released",
            weights=WEIGHTS.without("triplet_global", "triplet_foreground", "triplet_joined")
            | {"triplet_all": 1.0}
            | CENTERS,
        ),
        notes=(
            *RELEASED,
            "what the author advised users whose Occluded-Duke runs fell short: one triplet loss "
            "on all vectors joined, K = 4, center losses, sharpened activation.",
        ),
    ),
)

ROWS = (*TABLE1, *TABLE2, *TABLE4, *FIGURE5, *TABLE5, *TABLE6, *CADENCE, *RELEASED_ROWS)


def synthetic(base: Recipe) -> Recipe:
    """ISP with part labels from its own features, made anew every other epoch."""
    return replace(
        base,
        method=Spec("isp", dim=128, part_norm=True),
        backbone=quarter(base.backbone),
        stages=with_weights(base, WEIGHTS | {"parsing": 1.0}),
        cues=Frozen({"parts": Spec("isp_clusters", parts=5, every=2, **FROM_NOTHING)}),
        notes=(
            *SEEDED,
            "five parts, the paper's K = 6, so that head, legs and shoes can be told (its "
            "Table 3).",
        ),
    )
