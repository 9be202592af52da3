"""HCGA: Dou et al., TIP 2023. Every row of Tables I and III to X that is HCGA's own, and Figure 8's
C.

Rows are named by the paper's C, which counts the background; ``parts`` is our K = the paper's C -
1.
"""

from dataclasses import replace
from typing import Any

from partreid.methods.isp.recipes import CENTERS, FROM_NOTHING, SEEDED, on
from partreid.recipes.base import Expected, Frozen, Recipe, Spec, Stage, row, with_weights
from partreid.recipes.trunks import RESNET50, quarter

WEIGHTS = Frozen(
    {
        "id_global": 1.0,
        "triplet_global": 1.0,
        "id_foreground": 1.0,
        "id_joined": 1.0,
        "parsing": 0.1,
    }
)  # Eq. 9, lambda_hp = 0.1

PLAN = Stage(
    epochs=120,
    batch=(16, 4),
    lr=3.5e-4,
    warmup=10,
    warmup_from=0.01,
    drop_at=(40, 70),
    weights=WEIGHTS,
)

_SOFT = (
    "the module is left out at test time, as the released code does on DukeMTMC: after a short "
    "training many pixels stay below its threshold, and the BN-necks have learned from soft maps "
    "(hcga/control/gam-at-test)."
)
_SEEN = (
    "a part is visible if it wins a pixel and also passes the guided alignment module somewhere; "
    "the released code asks only for the former."
)
PAPER = (
    "Eq. 2 to 4 are means, not sums, and diagonal neighbours have a weight of their own (released "
    "code).",
    "co-parsing learns on the features' 32 main directions and on 8 images of a person at most, "
    "and labels all; the labels are as good and take a quarter of the time (benchmarks/labels.py).",
    "where co-parsing finds no foreground a person keeps the last labels, or gets ISP's.",
    "training ends at min_L labels or fewer (released code), not below min_L.",
    "Eq. 7 and 8 keep a probability that equals the threshold (released code).",
    _SEEN,
    "labels end after epoch 101, warm-up takes 10 epochs, images are ImageNet-normalised (released "
    "code).",
)


def coparsing(C: int = 4, **args: Any) -> Frozen:
    """The cue for the paper's C."""
    return Frozen({"parts": Spec("hcga_coparsing", parts=C - 1, **args)})


OCCLUDED = Recipe(
    "hcga/table1/occluded_duke",
    method=Spec("hcga"),
    backbone=Spec("hrnet_w32", reduce=256),
    cues=coparsing(),
    train="occluded_duke",
    test=("occluded_duke",),
    size=(256, 128),
    stages=(PLAN,),
    expect=Expected("HCGA Table I", rank1=70.2, rank5=83.3, rank10=87.0, mAP=57.5),
    notes=PAPER,
)
BARE = row(
    OCCLUDED,
    "hcga/table1/occluded_duke/no-gam",
    method=Spec("hcga", t=None, visibility="argmax"),
    expect=Expected("HCGA Table I, w/o GAM", rank1=65.9, rank5=80.2, rank10=84.3, mAP=56.0),
)
TABLE1 = (OCCLUDED, BARE)

# On whole people the distance also has the image's feature (Sec. IV-C).
_WHOLE = Spec("hcga", described=("global", "foreground", "parts"))
_WHOLE_BARE = _WHOLE.but(t=None, visibility="argmax")
_HALF = (*PAPER, "half of the people are for training; no list of them is published.")
TABLE3 = (
    row(
        OCCLUDED,
        "hcga/table3/occluded_reid",
        **on("occluded_reid_half"),
        notes=_HALF,
        expect=Expected("HCGA Table III", rank1=88.0, rank5=96.0),
    ),
    row(
        BARE,
        "hcga/table3/occluded_reid/no-gam",
        **on("occluded_reid_half"),
        notes=_HALF,
        expect=Expected("HCGA Table III, w/o GAM", rank1=87.2, rank5=95.6),
    ),
)
TABLE4 = (
    row(
        OCCLUDED,
        "hcga/table4/market1501",
        **on("market1501"),
        method=_WHOLE,
        expect=Expected("HCGA Table IV", rank1=95.2, rank5=98.2, mAP=88.4),
    ),
    row(
        OCCLUDED,
        "hcga/table4/market1501/no-gam",
        **on("market1501"),
        method=_WHOLE_BARE,
        expect=Expected("HCGA Table IV, w/o GAM", rank1=95.3, rank5=98.4, mAP=87.8),
    ),
)
TABLE5 = (
    row(
        OCCLUDED,
        "hcga/table5/cuhk03_detected",
        **on("cuhk03_detected"),
        method=_WHOLE,
        expect=Expected("HCGA Table V", rank1=76.9, mAP=73.2),
    ),
    row(
        OCCLUDED,
        "hcga/table5/cuhk03_labeled",
        **on("cuhk03_labeled"),
        method=_WHOLE,
        expect=Expected("HCGA Table V", rank1=78.3, mAP=75.8),
    ),
)

_GLOBAL = Frozen({"id_global": 1.0, "triplet_global": 1.0})
_TABLE6 = {  # baseline, + extra info, + ISP, + HCNet
    "cuhk03_labeled": ((71.9, 68.5), (73.3, 71.9), (76.5, 74.1), (77.4, 75.7)),
    "cuhk03_detected": ((67.6, 64.7), (72.2, 69.6), (75.2, 71.4), (74.7, 71.9)),
    "occluded_duke": ((57.8, 49.7), (61.2, 50.2), (62.8, 52.3), (65.9, 56.0)),
}
_LABELS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "baseline",
        {"method": Spec("bot"), "cues": Frozen(), "stages": with_weights(OCCLUDED, _GLOBAL)},
    ),
    (
        "extra-info",
        {
            "cues": Frozen({"parts": Spec("parsing", source="lip", parts="three")}),
            "notes": (
                *PAPER,
                "labels are SCHP's (LIP's classes), as three parts like C = 4; the paper does not "
                "say how it grouped them. To bring them: partreid labels import",
            ),
        },
    ),
    (
        "isp",
        {
            "cues": Frozen({"parts": Spec("isp_clusters", parts=3)}),
            "notes": (
                *PAPER,
                "the paper's row quotes ISP's own numbers; here ISP's labels teach HCGA's network.",
            ),
        },
    ),
    ("coparsing", {}),
)
TABLE6 = tuple(
    row(
        BARE,
        f"hcga/table6/{data}/{name}",
        **on(data),
        scores=BARE.name if (data, name) == (BARE.train, "coparsing") else None,
        expect=Expected("HCGA Table VI", rank1=rank1, mAP=mAP),
        **{"method": BARE.method if data == "occluded_duke" else _WHOLE_BARE, **changes},
    )
    for data, numbers in _TABLE6.items()
    for (name, changes), (rank1, mAP) in zip(_LABELS, numbers, strict=True)
)

_TABLE7: dict[str, tuple[dict[str, Any], tuple[float, float]]] = {
    "semantic": ({"local": 0.0, "diagonal": 0.0, "background": 0.0}, (61.6, 52.9)),
    "semantic+local": ({"background": 0.0}, (63.3, 53.0)),
    "semantic+background": ({"local": 0.0, "diagonal": 0.0}, (62.2, 52.3)),
    "all": ({}, (65.9, 56.0)),
}
TABLE7 = tuple(
    row(
        BARE,
        f"hcga/table7/{name}",
        cues=coparsing(**losses),
        scores=None if losses else BARE.name,
        expect=Expected("HCGA Table VII", rank1=rank1, mAP=mAP),
    )
    for name, (losses, (rank1, mAP)) in _TABLE7.items()
)

_I, _F, _P = "global", "foreground", "parts"
_TABLE8 = {
    "f": ((_F,), (65.7, 79.8, 84.3, 55.2)),
    "p": ((_P,), (65.3, 79.7, 83.8, 55.6)),
    "f+p": ((_F, _P), (65.9, 80.2, 84.3, 56.0)),
    "i+f": ((_I, _F), (63.2, 77.6, 82.1, 53.7)),
    "i+f+p": ((_I, _F, _P), (64.6, 79.0, 83.1, 54.9)),
}
_TABLE8_T = {2: (66.2, 79.8, 84.2, 54.7), 3: (68.0, 82.5, 87.2, 55.5), 4: (70.2, 83.3, 87.0, 57.5)}


def _expect8(n: tuple[float, float, float, float]) -> Expected:
    return Expected("HCGA Table VIII", rank1=n[0], rank5=n[1], rank10=n[2], mAP=n[3])


TABLE8 = (
    *(
        row(
            BARE,
            f"hcga/table8/{name}",
            scores=BARE.name,
            expect=_expect8(numbers),
            method=BARE.method if name == "f+p" else BARE.method.but(described=described),
        )
        for name, (described, numbers) in _TABLE8.items()
    ),
    *(
        row(
            OCCLUDED,
            f"hcga/table8/gam-t{t}",
            method=OCCLUDED.method if t == 4 else Spec("hcga", t=t),
            scores=OCCLUDED.name if t == 4 else None,
            expect=_expect8(numbers),
        )
        for t, numbers in _TABLE8_T.items()
    ),
)
TABLE9 = (
    row(
        OCCLUDED,
        "hcga/table9/r5",
        cues=coparsing(window=5),
        expect=Expected("HCGA Table IX", rank1=68.8, rank5=81.8, rank10=85.3, mAP=51.9),
        notes=(
            *PAPER,
            "R = 5 as released: it adds the neighbours two cells away along both axes, not all 24.",
        ),
    ),
    row(
        OCCLUDED,
        "hcga/table9/r3",
        scores=OCCLUDED.name,
        expect=Expected("HCGA Table IX", rank1=70.2, rank5=83.3, rank10=87.0, mAP=57.5),
    ),
)
_RESNET = (
    *PAPER,
    "the released ResNet-50 joins layers 3 and 4 behind an attention module; here layer 4 alone is "
    "upsampled and reduced to 256 channels.",
)
TABLE10 = (
    row(
        OCCLUDED,
        "hcga/table10/hrnet_w32/occluded_duke",
        scores=OCCLUDED.name,
        expect=Expected("HCGA Table X", rank1=70.2, mAP=57.5),
    ),
    row(
        OCCLUDED,
        "hcga/table10/hrnet_w32/cuhk03_labeled",
        **on("cuhk03_labeled"),
        method=_WHOLE,
        scores=TABLE5[1].name,
        expect=Expected("HCGA Table X", rank1=78.3, mAP=75.8),
    ),
    row(
        OCCLUDED,
        "hcga/table10/resnet50/occluded_duke",
        backbone=RESNET50.but(upsample=4),
        method=Spec("hcga", dim=256),
        expect=Expected("HCGA Table X", rank1=61.0, mAP=45.9),
        notes=_RESNET,
    ),
    row(
        OCCLUDED,
        "hcga/table10/resnet50/cuhk03_labeled",
        **on("cuhk03_labeled"),
        backbone=RESNET50.but(upsample=4),
        method=_WHOLE.but(dim=256),
        expect=Expected("HCGA Table X", rank1=70.6, mAP=67.4),
        notes=_RESNET,
    ),
)
FIGURE8 = tuple(
    row(
        BARE,
        f"hcga/figure8/c{C}",
        cues=coparsing(C),
        expect=None,
        scores=BARE.name if C == 4 else None,
        notes=(
            *PAPER,
            "the figure's numbers are not in the text; its best C is 4.",
            "for C other than 4 parts get equal numbers of raw labels (released code, 'mean').",
        ),
    )
    for C in (4, 5, 6, 7, 8)
)

RELEASED = (
    "the public code does not run as it stands; these rows follow its last trainer that was "
    "HCGA's.",
    "adjacent images are neighbours in the list, whatever their camera; labels are mirrored, but "
    "neither cropped nor erased with the image.",
    "the co-parsing net sees all images and channels; CPLR makes three parts whatever C, so with C "
    "= 6 the labels 4 and 5 never occur.",
    "DukeMTMC trains with the alignment module (t = 4) and is tested without it.",
    "a learned spatial mask multiplies the feature map; sure pixels become 0.5 at test time; "
    "visibility by arg-max.",
    "Market-1501 and DukeMTMC: triplet and center losses on all three groups; all vectors joined "
    "at test time.",
    "its undivided similarity is partreid.metrics.official.hcga_official; here the same sum is "
    "divided by its weight.",
    "co-parsing of CUHK03 detected ran without a working norm and is left out.",
)
_FULL = {
    "images": None,
    "dimensions": None,
    "same_camera": False,
    "aligned": False,
    "how": "structure",
}


def _released(
    data: str,
    C: int,
    parsing: float,
    expect: Expected | None,
    centers: bool = False,
    method: Spec | None = None,
    **losses: Any,
) -> Recipe:
    weights = WEIGHTS | {"parsing": parsing}
    if centers:
        weights |= {"triplet_foreground": 1.0, "triplet_joined": 1.0, **CENTERS}
    kind = method or Spec("hcga", mask=True, kept=0.5, visibility="argmax", matching="even")
    name = f"hcga/released/{data.removesuffix('_half')}"
    return row(
        OCCLUDED,
        name,
        **on(data),
        stages=with_weights(OCCLUDED, weights),
        method=kind,
        cues=coparsing(C, **_FULL, **losses),
        expect=expect,
        notes=RELEASED,
    )


_JOINED = Spec(
    "hcga",
    mask=True,
    kept=0.5,
    visibility="argmax",
    matching="concat",
    described=("global", "foreground", "parts"),
)
RELEASED_ROWS = (
    _released("occluded_duke", 4, 0.1, OCCLUDED.expect),
    _released("occluded_reid_half", 4, 0.3, TABLE3[0].expect, background=1.5, diagonal=0.0),
    _released(
        "market1501", 6, 0.1, TABLE4[0].expect, centers=True, method=_JOINED, local=1.0, norm="l2"
    ),
    _released(
        "dukemtmc",
        4,
        0.3,
        None,
        centers=True,
        method=_JOINED.but(kept=None),
        diagonal=0.0,
        norm="l2",
    ),
)

# Variants that no table has: what the module does at test time, where its part maps are ones and
# zeros, while the BN-necks have learned from soft ones.
_UNGATED = tuple(note for note in PAPER if note != _SEEN)
_AT_TEST = "at test time the module makes ones and zeros of the part maps (Eq. 8), as in the paper"
_CONTROLS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "gam-at-test": (
        {"kept": 1.0},
        (*PAPER, f"{_AT_TEST}: written out, as the synthetic rows leave it out."),
    ),
    "gam-argmax": (
        {"kept": 1.0, "visibility": "argmax"},
        (
            *_UNGATED,
            "a part is seen where it wins a pixel, as released, though the module may keep none.",
            f"{_AT_TEST}.",
        ),
    ),
    "gam-in-training": ({"kept": None}, (*_UNGATED, _SOFT)),
}
CONTROLS = tuple(
    row(
        OCCLUDED,
        f"hcga/control/{name}",
        method=Spec("hcga", **changes),
        scores=OCCLUDED.name,
        expect=None,
        notes=notes,
    )
    for name, (changes, notes) in _CONTROLS.items()
)

ROWS = (
    *TABLE1,
    *TABLE3,
    *TABLE4,
    *TABLE5,
    *TABLE6,
    *TABLE7,
    *TABLE8,
    *TABLE9,
    *TABLE10,
    *FIGURE8,
    *RELEASED_ROWS,
    *CONTROLS,
)


def synthetic(base: Recipe) -> Recipe:
    """HCGA with part labels from its own features, made anew every other epoch."""
    return replace(
        base,
        method=Spec("hcga", dim=128, part_norm=True, kept=None),
        backbone=quarter(base.backbone),
        stages=with_weights(base, WEIGHTS | {"parsing": 1.0}),
        cues=Frozen(
            {"parts": Spec("hcga_coparsing", parts=3, every=2, until=None, **FROM_NOTHING)}
        ),
        notes=(*SEEDED, _SOFT),
    )
