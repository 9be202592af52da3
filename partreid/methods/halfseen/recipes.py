"""HalfSeen's rows: the recommended ones, and one for every piece that it is made of."""

from dataclasses import replace
from typing import Any

from partreid.recipes.base import Frozen, Recipe, Spec, Stage, row, with_weights
from partreid.recipes.trunks import RESNET50

LOSSES = Frozen(
    {
        "id_global": 1.0,
        "id_foreground": 1.0,
        "id_joined": 1.0,
        "triplet_parts": 1.0,
        "parsing": 0.35,
        "visibility": 0.05,
    }
)
# BPBreID's plan and weights
PLAN = Stage(
    epochs=120,
    batch=(16, 4),
    lr=3.5e-4,
    warmup=10,
    warmup_from=0.1,
    drop_at=(40, 70),
    weights=LOSSES,
)
PASTE, ERASE = Spec("paste", p=0.1), Spec("erase")

NOTES = (
    "no paper: a method of this toolkit, chosen on the synthetic benchmark; nothing is published "
    "to compare with.",
    "plan, trunk and size are BPBreID's; at this size it has not been trained.",
    "something is pasted in one image of ten: more costs whole queries what it gains on hidden "
    "ones.",
)

DUKE = Recipe(
    "halfseen/own/occluded_duke",
    method=Spec("halfseen"),
    backbone=RESNET50,
    cues=Frozen({"parts": Spec("pifpaf", parts="eight")}),
    train="occluded_duke",
    test=("occluded_duke",),
    size=(256, 128),
    stages=(PLAN,),
    augment=(Spec("crop", pad=10), Spec("mirror"), PASTE, ERASE),
    notes=NOTES,
)

_DATA: dict[str, dict[str, Any]] = {
    "market1501": {
        "train": "market1501",
        "test": ("market1501",),
        "cues": Frozen({"parts": Spec("pifpaf", parts="five_v")}),
    },
    "occluded_reid": {"train": "market1501", "test": ("occluded_reid",)},
    "p_dukemtmc": {"train": "p_dukemtmc", "test": ("p_dukemtmc",)},
}
OWN = (DUKE, *(row(DUKE, f"halfseen/own/{data}", **change) for data, change in _DATA.items()))


def _augmented(paste: Spec, erase: Spec = ERASE) -> dict[str, Any]:
    return {"augment": (*DUKE.augment[:2], paste, erase)}


# what is taken away or put in the place of each piece
PIECES: dict[str, dict[str, Any]] = {
    "nothing-pasted": _augmented(PASTE.but(p=0.0)),
    "nothing-erased": _augmented(PASTE, ERASE.but(p=0.0)),
    "pasted-often": _augmented(PASTE.but(p=0.3), ERASE.but(p=0.0)),
    "only-things-pasted": _augmented(PASTE.but(people=0.0)),
    "only-people-pasted": _augmented(PASTE.but(people=1.0)),
    "head-of-single-pixels": {"method": Spec("halfseen", layers=0)},
    "pooled-by-probability": {"method": Spec("halfseen", power=1.0)},
    "smoothed-part-labels": {"method": Spec("halfseen", part_smoothing=0.1)},
    "hidden-parts-in-losses": {"method": Spec("halfseen", hide=False)},
    "no-visibility-loss": {"stages": with_weights(DUKE, LOSSES.without("visibility"))},
    "visible-or-not": {"method": Spec("halfseen", visibility="threshold"), "scores": DUKE.name},
    "all-parts": {"method": Spec("halfseen", visibility="none"), "scores": DUKE.name},
    "foreground-too": {
        "method": Spec("halfseen", described=("foreground", "parts")),
        "scores": DUKE.name,
    },
}
ROWS = (
    *OWN,
    *(row(DUKE, f"halfseen/pieces/{name}", **change) for name, change in PIECES.items()),
)


def synthetic(base: Recipe) -> Recipe:
    """HalfSeen taught by the exact surfaces."""
    weights = LOSSES | {"parsing": 4.0, "visibility": 0.5}
    return replace(
        base,
        method=Spec("halfseen", reduce="none"),
        stages=with_weights(base, weights),
        cues=Frozen({"parts": Spec("surfaces", parts="five")}),
        augment=(*base.augment[:2], PASTE, ERASE),
        notes=(
            "no reduction after pooling: the small trunk has few channels already.",
            "the losses on the maps weigh as much more than at full size as in BPBreID's row, "
            "because nothing is pretrained here.",
        ),
    )
