"""PCB: Sun et al., ECCV 2018, as BPBreID's Table 4 trains it."""

from partreid.recipes.base import Expected, Frozen, Recipe, Spec, Stage, row
from partreid.recipes.trunks import RESNET50

PLAN = Stage(epochs=120, batch=(16, 4), lr=3.5e-4, warmup=10, warmup_from=0.01, drop_at=(40, 70),
             weights=Frozen({"id_parts": 1.0}))

MARKET = Recipe(
    "pcb/market1501", method=Spec("pcb"), backbone=RESNET50, train="market1501", test=("market1501",),
    size=(384, 128), stages=(PLAN,), augment=(Spec("mirror"),),
    notes=("PCB's own schedule is SGD over 60 epochs; trained here with the plan of the other baselines.",),
)

ROWS = (
    MARKET,
    row(MARKET, "pcb/bpbreid-table4/gilt", train="occluded_duke", test=("occluded_duke",), size=(256, 128),
        method=Spec("bpbreid", attention="given"), cues={"parts": Spec("stripes", stripes=6)},
        augment=(Spec("crop", pad=10), Spec("erase", sides=(0.15, 0.65))),
        stages=(Stage(epochs=120, batch=(16, 4), lr=3.5e-4, warmup=10, warmup_from=0.01, drop_at=(40, 70),
                      weights=Frozen({"id_global": 1.0, "id_foreground": 1.0, "id_joined": 1.0,
                                      "triplet_parts": 1.0})),),
        expect=Expected("BPBreID Table 4, first row, PCB column", rank1=54.6, mAP=46.3),
        notes=("PCB under GiLt: BPBreID's embeddings and losses over six fixed stripes instead of learned parts.",)),
)
