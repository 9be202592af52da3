"""BoT, PCB and BPBreID on the synthetic benchmark: tiny for tests, demo for two CPU cores, full for a GPU.

All three train with the same plan, images and trunk; only the method differs.
"""

from dataclasses import replace

from partreid.recipes.base import Frozen, Recipe, Spec, Stage, row
from partreid.recipes.bpbreid import GILT

AUGMENT = (Spec("crop", pad=5), Spec("mirror"), Spec("erase"))

_PLAN = Stage(epochs=12, batch=(16, 4), lr=1e-3, warmup=2, warmup_from=0.05, schedule="cosine", per="step",
              optimiser="adamw", weights=Frozen({"id_global": 1.0, "triplet_global": 1.0}))

BOT = Recipe("synthetic/demo/bot", method=Spec("bot"), backbone=Spec("small", width=24), train="synthetic-demo",
             test=("synthetic-demo",), size=(128, 64), stages=(_PLAN,), augment=AUGMENT)


def _methods(bot: Recipe) -> tuple[Recipe, ...]:
    """The three methods under the plan of ``bot``."""
    base = bot.name.removesuffix("bot")

    def stages(weights: Frozen) -> tuple[Stage, ...]:
        return tuple(replace(stage, weights=weights) for stage in bot.stages)

    return (
        bot,
        row(bot, base + "pcb", method=Spec("pcb", dim=64), stages=stages(Frozen({"id_parts": 1.0}))),
        row(bot, base + "bpbreid", method=Spec("bpbreid", dim=128), stages=stages(GILT),
            cues=Frozen({"parts": Spec("surfaces", parts="five")})),
    )


DEMO = _methods(BOT)
QUICK = _methods(row(BOT, "synthetic/tiny/bot", train="synthetic-tiny", test=("synthetic-tiny",),
                     backbone=Spec("small", width=8), stages=(replace(_PLAN, epochs=4, batch=(4, 4), warmup=1),)))
FULL = _methods(row(BOT, "synthetic/full/bot", train="synthetic-full", test=("synthetic-full",), size=(256, 128),
                    backbone=Spec("resnet50", pretrained=False), precision="bf16-mixed",
                    stages=(replace(_PLAN, epochs=60, batch=(16, 4), lr=3.5e-4, warmup=5),)))

ROWS = (*QUICK, *DEMO, *FULL)
