"""DSA-reID: Zhang et al., CVPR 2019. Its own rows of Table 2 and every row of Tables 3 to 5."""

from dataclasses import replace
from typing import Any

from partreid.recipes.base import Expected, Frozen, Recipe, Spec, Stage, row, with_weights
from partreid.recipes.trunks import RESNET50

_GLOBAL = Frozen({"id_global": 0.5, "id_fused_global": 1.0, "triplet_fused_global": 1.5})
_PARTS = Frozen({"id_parts": 0.5, "id_fused_parts": 1.0, "triplet_fused_parts": 1.5})
WEIGHTS = _GLOBAL | _PARTS  # Sec. 4.2

PLAN = Stage(
    epochs=320,
    batch=(16, 4),
    lr=8e-4,
    warmup=20,
    warmup_from=0.01,
    drop_at=tuple(range(60, 320, 40)),
    drop_by=0.5,
    weights=WEIGHTS,
)

_CLASSIFIER = "between the two layers of a classifier, 512 wide: BN and ReLU (the same code)."
_SHARED = (
    "images are 256 x 128; the paper does not say.",
    "the vectors are laid end to end, scaled to length 1 and compared by Euclid; the paper does "
    "not say.",
    "random cropping is enlarging by 1.125 with probability 0.5 and cutting out, as in later code "
    "of the same authors; the paper only names it.",
    _CLASSIFIER,
    "milestones are counted from the end of the warm-up: 60, 100, ... (the same code).",
)
_SMOOTH = (
    "labels are smoothed by 0.1; the paper says so of the baseline (RE+LS), on which the others "
    "are built."
)
_ALIGNED = (
    "DensePose lays hands, feet and head out as mirror images; the left ones are turned so that "
    "left and right, which are added up, coincide. Pixels that meet in a cell give their mean, "
    "where copying keeps the last: dsa/literal."
)
_STREAMS = (
    *_SHARED,
    _SMOOTH,
    "a part branch starts from all channels of the feature map; cutting them into eight is the "
    "other reading: --set method.local_input=slice.",
    "tiles are warped from whole images and mirrored with them; crop and erasing leave them alone; "
    "nothing is said.",
    "images in which nobody was found have blank tiles, as tiles start from the mean color.",
)
PAPER = (*_STREAMS, _ALIGNED)

MARKET = Recipe(
    "dsa/table2/market1501",
    method=Spec("dsa"),
    backbone=RESNET50,
    cues=Frozen({"uv_tiles": Spec("uv_tiles")}),
    train="market1501",
    test=("market1501",),
    size=(256, 128),
    stages=(PLAN,),
    augment=(Spec("zoom"), Spec("mirror"), Spec("erase")),
    expect=Expected("DSA Table 2", rank1=95.7, mAP=87.6),
    notes=PAPER,
)


def on(data: str, **changes: Any) -> dict[str, Any]:
    return {"train": data, "test": (data,), **changes}


CUHK01 = row(
    MARKET,
    "dsa/table2/cuhk01/without-cuhk03",
    **on("cuhk01"),
    expect=Expected("DSA Sec. 4.3, on Table 2's CUHK01", rank1=88.6, rank5=97.1),
)
TABLE2 = (
    MARKET,
    row(
        MARKET,
        "dsa/table2/cuhk03_labeled",
        **on("cuhk03_labeled"),
        expect=Expected("DSA Table 2", rank1=78.9, mAP=75.2),
    ),
    row(
        MARKET,
        "dsa/table2/cuhk03_detected",
        **on("cuhk03_detected"),
        expect=Expected("DSA Table 2", rank1=78.2, mAP=73.1),
    ),
    row(
        MARKET,
        "dsa/table2/dukemtmc",
        **on("dukemtmc"),
        expect=Expected("DSA Table 2", rank1=86.2, mAP=74.3),
        notes=(
            *PAPER,
            "in more than 20 % of the training images DensePose finds nobody (Sec. 4.3); --set "
            "method.missing=skip leaves those out of the guide.",
        ),
    ),
    row(
        CUHK01,
        "dsa/table2/cuhk01",
        start="runs/dsa/table2/cuhk03_labeled",
        expect=Expected("DSA Table 2", rank1=90.4, rank5=97.8),
        notes=(
            *PAPER,
            "starts from a finished run of dsa/table2/cuhk03_labeled, in that row's usual folder; "
            "which of CUHK03's boxes is not said. Guide and classifiers begin anew, a finished run "
            "keeps neither.",
            "the plan is that of the other rows; the paper gives none for fine-tuning.",
        ),
    ),
    CUHK01,
)


def _table3(mAP: float, rank1: float, rank5: float, rank10: float, number: int = 3) -> Expected:
    return Expected(f"DSA Table {number}", rank1=rank1, rank5=rank5, rank10=rank10, mAP=mAP)


# The main stream alone: what is tested is what is taught.
_BASE = (
    "losses sit on the tested vectors, identity weighs 1.0 and triplet 1.5; the paper does not say."
)
_SINGLE = Frozen({"id_global": 1.0, "triplet_global": 1.5})
_RE_LS = row(
    MARKET,
    "dsa/table3/baseline-re-ls",
    cues=Frozen(),
    stages=with_weights(MARKET, _SINGLE),
    expect=_table3(81.2, 93.4, 97.8, 98.5),
    notes=(*_SHARED, _SMOOTH, _BASE),
)
_ALONE = (
    *PAPER,
    "matched by the fused vectors, as the joint rows it is compared with; the paper does not say.",
)
_RE = row(
    _RE_LS,
    "dsa/table3/baseline-re",
    method=Spec("dsa", smoothing=0.0),
    expect=_table3(78.6, 92.3, 97.6, 98.3),
    notes=(*_SHARED, _BASE),
)
TABLE3 = (
    row(
        _RE,
        "dsa/table3/baseline",
        augment=MARKET.augment[:2],
        expect=_table3(76.4, 91.2, 96.5, 97.9),
    ),
    _RE,
    _RE_LS,
    row(
        _RE_LS,
        "dsa/table3/baseline-two-branches",
        expect=_table3(83.4, 94.0, 98.0, 98.7),
        stages=with_weights(MARKET, _SINGLE | {"id_parts": 1.0, "triplet_parts": 1.5}),
    ),
    row(
        MARKET,
        "dsa/table3/global-single",
        stages=with_weights(MARKET, _GLOBAL),
        method=Spec("dsa", described=("fused_global",)),
        expect=_table3(84.7, 94.8, 98.2, 98.9),
        notes=_ALONE,
    ),
    row(
        MARKET,
        "dsa/table3/local-single",
        stages=with_weights(MARKET, _PARTS),
        method=Spec("dsa", described=("fused_parts",)),
        expect=_table3(83.2, 94.0, 97.9, 98.6),
        notes=_ALONE,
    ),
    row(
        MARKET,
        "dsa/table3/global-joint",
        scores=MARKET.name,
        method=Spec("dsa", described=("fused_global",)),
        expect=_table3(87.4, 95.6, 98.6, 99.1),
    ),
    row(
        MARKET,
        "dsa/table3/local-joint",
        scores=MARKET.name,
        method=Spec("dsa", described=("fused_parts",)),
        expect=_table3(86.5, 95.2, 98.4, 99.0),
    ),
    row(
        MARKET,
        "dsa/table3/fused",
        scores=MARKET.name,
        method=Spec("dsa", described=("fused_global", "fused_parts")),
        expect=_table3(87.5, 95.8, 98.4, 99.1),
    ),
    row(MARKET, "dsa/table3/main-only", scores=MARKET.name, expect=_table3(87.6, 95.7, 98.4, 99.1)),
)

TABLE4 = (
    row(
        _RE_LS,
        "dsa/table4/baseline-re-ls",
        scores=_RE_LS.name,
        expect=_table3(81.2, 93.4, 97.8, 98.5, 4),
    ),
    row(
        MARKET,
        "dsa/table4/csa",
        cues=Frozen({"uv_tiles": Spec("uv_tiles", source="coarse")}),
        expect=_table3(84.1, 94.1, 98.1, 98.8, 4),
        notes=(
            *_STREAMS,
            "each part is cut out by its tight box, without what is not it, and scaled to the "
            "tile; the paper says 24 cropped part images.",
        ),
    ),
    row(MARKET, "dsa/table4/dsa", scores=MARKET.name, expect=_table3(87.6, 95.7, 98.4, 99.1, 4)),
)

TABLE5 = (
    row(
        MARKET,
        "dsa/table5/concat",
        method=Spec("dsa", fusion="concat"),
        expect=_table3(81.6, 93.0, 97.6, 98.6, 5),
        notes=(
            *PAPER,
            "the layer behind the concatenation is as wide as one stream; the paper does not say.",
        ),
    ),
    row(MARKET, "dsa/table5/add", scores=MARKET.name, expect=_table3(87.6, 95.7, 98.4, 99.1, 5)),
)

# tiles word for word as Sec. 3.1 has them
LITERAL = tuple(
    row(
        base,
        base.name.replace("table2", "literal"),
        cues=Frozen({"uv_tiles": Spec("uv_tiles", align="none", collision="last")}),
        notes=tuple(note for note in base.notes if note != _ALIGNED),
    )
    for base in TABLE2[:4]
)

# Variants that no table has, but that a fair comparison needs.
NOISE = tuple(
    row(
        MARKET,
        f"dsa/noise/{noise}",
        cues=Frozen({"uv_tiles": Spec("uv_tiles", noise=noise)}),
        expect=None,
        notes=(
            "the surfaces are spoilt on purpose: detections dropped, UV shifted, left and right "
            "swapped.",
        ),
    )
    for noise in ("moderate", "heavy")
)

_SHARE = (
    "a quarter of every loss on fused vectors stays; the rest is the same loss, with the same "
    "classifier, on the trunk's own vectors, which are the tested ones. The paper has it on fused "
    "vectors alone, and where the guide learns faster than the trunk it leaves these less to learn "
    "(dsa/control/as-written)."
)
_NECK = (
    "a BN-neck and one layer classify and the vectors behind the neck are compared, as in BoT; the "
    "paper has two layers on the vectors that it compares."
)
STREAMS: dict[str, Any] = {"neck": True, "guide_share": 0.25}
HEADS = (
    row(
        MARKET,
        "dsa/control/guide-share",
        method=Spec("dsa", **STREAMS),
        expect=None,
        notes=(_SHARE, _NECK, *(note for note in PAPER if note != _CLASSIFIER)),
    ),
    row(
        MARKET,
        "dsa/control/no-guide",
        method=Spec("dsa", **STREAMS | {"guide_share": 0.0}),
        expect=None,
        notes=(
            "every loss of dsa/control/guide-share is there, on the trunk's own vectors alone: "
            "what that row has over this one is the guide's.",
            _NECK,
            *(note for note in PAPER if note != _CLASSIFIER),
        ),
    ),
    row(
        MARKET,
        "dsa/control/as-written",
        method=Spec("dsa", neck=False, guide_share=1.0, part_share=8),
        size=(384, 128),
        expect=None,
        notes=(
            "at 384 x 128, the other usual size, as the paper does not say. Its heads and its "
            "guide are written out here, so that the row has them at the synthetic benchmark's "
            "size too, where the others have those of dsa/control/guide-share.",
            *PAPER[1:],
        ),
    ),
)

ROWS = (*TABLE2, *TABLE3, *TABLE4, *TABLE5, *LITERAL, *NOISE, *HEADS)


def synthetic(base: Recipe) -> Recipe:
    """DSA-reID taught by the exact surfaces."""
    large = base.size[0] > 128
    small = (
        "tiles of 16 x 16, not 32 x 32: limbs are some five pixels wide here.",
        "a part branch has half the trunk's channels, not an eighth, which would be 12 or 24 here "
        "and is 256 in the paper.",
    )
    return replace(
        base,
        method=base.method.but(**STREAMS, **({} if large else {"part_share": 2})),
        cues=Frozen({"uv_tiles": Spec("uv_tiles", size=32 if large else 16)}),
        notes=(*(() if large else small), _SHARE, _NECK),
    )
