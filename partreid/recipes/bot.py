"""BoT: Luo et al., CVPR Workshops 2019, as BPBreID's Tables 1 and 2 quote it."""

from partreid.recipes.base import Expected, Frozen, Recipe, Spec, Stage, row
from partreid.recipes.trunks import RESNET50

PLAN = Stage(epochs=120, batch=(16, 4), lr=3.5e-4, warmup=10, warmup_from=0.01, drop_at=(40, 70),
             weights=Frozen({"id_global": 1.0, "triplet_global": 1.0}))

MARKET = Recipe(
    "bot/bpbreid-table1/market1501", method=Spec("bot"), backbone=RESNET50, train="market1501",
    test=("market1501",), size=(256, 128), stages=(PLAN,),
    expect=Expected("BPBreID Table 1 (quoted there)", rank1=94.5, mAP=85.9),
    notes=("BoT's own recipe adds the centre loss; the version that BPBreID quotes is matched without it by us.",),
)

ROWS = (
    MARKET,
    row(MARKET, "bot/bpbreid-table1/dukemtmc", train="dukemtmc", test=("dukemtmc",),
        expect=Expected("BPBreID Table 1 (quoted there)", rank1=86.4, mAP=76.4)),
    row(MARKET, "bot/bpbreid-table1/occluded_duke", train="occluded_duke", test=("occluded_duke",),
        expect=Expected("BPBreID Tables 1 and 2 (quoted there)", rank1=51.4, mAP=44.7)),
    row(MARKET, "bot/bpbreid-table1/occluded_reid", test=("occluded_reid",),
        expect=Expected("BPBreID Table 1 (quoted there)", rank1=58.4, mAP=52.3)),
    row(MARKET, "bot/bpbreid-table1/p_dukemtmc", train="p_dukemtmc", test=("p_dukemtmc",),
        expect=Expected("BPBreID Table 1 (quoted there)", rank1=87.0, mAP=74.9)),
    row(MARKET, "bot/centre", expect=None,
        stages=(Stage(epochs=120, batch=(16, 4), lr=3.5e-4, warmup=10, warmup_from=0.01, drop_at=(40, 70),
                      weights=Frozen({"id_global": 1.0, "triplet_global": 1.0, "centre": 1.0})),),
        notes=("BoT with its centre loss: weight 5e-4 on the embeddings, own SGD of rate 0.5 on the centres.",)),
)
