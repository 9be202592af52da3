"""All methods on the synthetic benchmark: tiny for tests, demo for two CPU cores, full for a GPU,
and small, the demo with half as wide a trunk, to compare many variants on two cores.

All train with the same plan, images and trunk; only the method differs.
"""

from dataclasses import replace

from partreid.methods.bpbreid.recipes import GILT
from partreid.methods.dsa.recipes import WEIGHTS as DSA_WEIGHTS
from partreid.methods.hcga.recipes import WEIGHTS as HCGA_WEIGHTS
from partreid.methods.isp.recipes import WEIGHTS as ISP_WEIGHTS
from partreid.methods.magnifier.recipes import DIVERSITY
from partreid.methods.magnifier.recipes import WEIGHTS as MAGNIFIER_WEIGHTS
from partreid.recipes.base import Frozen, Recipe, Spec, Stage, row

AUGMENT = (Spec("crop", pad=5), Spec("mirror"), Spec("erase"))

_PLAN = Stage(
    epochs=9,
    batch=(16, 4),
    lr=2e-3,
    warmup=2,
    warmup_from=0.05,
    schedule="cosine",
    per="step",
    optimiser="adamw",
    weights=Frozen({"id_global": 1.0, "triplet_global": 1.0}),
)

BOT = Recipe(
    "synthetic/demo/bot",
    method=Spec("bot"),
    backbone=Spec("small", width=24),
    train="synthetic-demo",
    test=("synthetic-demo",),
    size=(128, 64),
    stages=(_PLAN,),
    augment=AUGMENT,
)


def _methods(bot: Recipe) -> tuple[Recipe, ...]:
    """The three methods under the plan of ``bot``."""
    base = bot.name.removesuffix("bot")

    def stages(weights: Frozen) -> tuple[Stage, ...]:
        return tuple(replace(stage, weights=weights) for stage in bot.stages)

    return (
        bot,
        row(
            bot, base + "pcb", method=Spec("pcb", dim=64), stages=stages(Frozen({"id_parts": 1.0}))
        ),
        row(
            bot,
            base + "bpbreid",
            method=Spec("bpbreid", reduce="none"),
            stages=stages(GILT | {"parsing": 4.0}),
            cues=Frozen({"parts": Spec("surfaces", parts="five")}),
            notes=(
                "no reduction after pooling: the small trunk has few channels already.",
                "the attention loss weighs 4.0, not the paper's 0.35, because nothing is "
                "pretrained here.",
            ),
        ),
    )


DEMO = _methods(BOT)
QUICK = _methods(
    row(
        BOT,
        "synthetic/tiny/bot",
        train="synthetic-tiny",
        test=("synthetic-tiny",),
        backbone=Spec("small", width=8),
        stages=(replace(_PLAN, epochs=4, batch=(4, 4), warmup=1),),
    )
)
SMALL = _methods(row(BOT, "synthetic/small/bot", backbone=Spec("small", width=12)))
FULL = _methods(
    row(
        BOT,
        "synthetic/full/bot",
        train="synthetic-full",
        test=("synthetic-full",),
        size=(256, 128),
        backbone=Spec("resnet50", pretrained=False),
        precision="bf16-mixed",
        stages=(replace(_PLAN, epochs=60, batch=(16, 4), lr=3.5e-4, warmup=5),),
    )
)

_CENTRAL = (
    "the paper's trunk comes from ImageNet and responds more to people; one that starts from "
    "nothing does not, so pixels towards the rim count for less (central=True), and the parsing "
    "loss weighs 1.0, not 0.1."
)


def _self_taught(bot: Recipe) -> tuple[Recipe, ...]:
    """ISP and HCGA under the plan of ``bot``: part labels from their own features, made anew
    every other epoch.
    """
    base = bot.name.removesuffix("bot")

    def stages(weights: Frozen) -> tuple[Stage, ...]:
        return tuple(replace(stage, weights=weights) for stage in bot.stages)

    return (
        row(
            bot,
            base + "isp",
            method=Spec("isp", dim=128),
            stages=stages(ISP_WEIGHTS | {"parsing": 1.0}),
            cues=Frozen({"parts": Spec("isp_clusters", parts=5, every=2, central=True)}),
            notes=(
                _CENTRAL,
                "five parts, the paper's K = 6, so that head, legs and shoes can be told (its "
                "Table 3).",
            ),
        ),
        row(
            bot,
            base + "hcga",
            method=Spec("hcga", dim=128),
            stages=stages(HCGA_WEIGHTS | {"parsing": 1.0}),
            cues=Frozen(
                {"parts": Spec("hcga_coparsing", parts=3, every=2, until=None, central=True)}
            ),
            notes=(_CENTRAL,),
        ),
    )


def _surface_taught(bot: Recipe) -> tuple[Recipe, ...]:
    """DSA-reID and MagnifierNet under the plan of ``bot``, taught by the exact surfaces."""
    base, plan = bot.name.removesuffix("bot"), bot.stages[0]
    last = max(1, plan.epochs // 9)  # as the paper shares out its 500 epochs
    weights = MAGNIFIER_WEIGHTS | {"mask": 8.0}
    return (
        row(
            bot,
            base + "dsa",
            method=Spec("dsa"),
            stages=(replace(plan, weights=DSA_WEIGHTS),),
            cues=Frozen({"uv_tiles": Spec("uv_tiles", size=32 if bot.size[0] > 128 else 16)}),
            notes=()
            if bot.size[0] > 128
            else ("tiles of 16 x 16, not 32 x 32: limbs are some five pixels wide here.",),
        ),
        row(
            bot,
            base + "magnifier",
            method=Spec("magnifier"),
            cues=Frozen({"parts": Spec("surfaces", parts="seven")}),
            stages=(
                replace(plan, epochs=plan.epochs - last, weights=weights | {"diversity": 0.0}),
                replace(
                    plan,
                    epochs=last,
                    lr=plan.lr / 10,
                    warmup=0,
                    schedule="step",
                    drop_at=(),
                    weights=weights | {"diversity": DIVERSITY},
                ),
            ),
            notes=(
                "the mask loss weighs 8.0, not 2.0: nothing is pretrained here, and regions have "
                "to be found first.",
                "stage two at a tenth of the first rate: the paper's, three times that rate, "
                "undoes stage one in so short a training.",
            ),
        ),
    )


def _all(three: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    return (*three, *_self_taught(three[0]), *_surface_taught(three[0]))


DEMO_ALL, QUICK_ALL, SMALL_ALL, FULL_ALL = _all(DEMO), _all(QUICK), _all(SMALL), _all(FULL)

ROWS = (*QUICK_ALL, *SMALL_ALL, *DEMO_ALL, *FULL_ALL)
