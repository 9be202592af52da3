"""All methods on the synthetic benchmark: tiny for tests, demo for two CPU cores, full for a GPU,
and small, the demo with half as wide a trunk, to compare many variants on two cores.

All train with the same plan, images and trunk; only the method differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from partreid.recipes.base import Frozen, Recipe, Spec, Stage
from partreid.recipes.papers import SYNTHETIC, Paper, label_sources

AUGMENT = (Spec("crop", pad=5), Spec("mirror"), Spec("erase"))
_PLAN = Stage(
    epochs=9,
    batch=(16, 4),
    lr=2e-3,
    warmup=2,
    warmup_from=0.05,
    schedule="cosine",
    per="step",
    optimizer="adamw",
    weights=Frozen({}),
)


@dataclass(frozen=True)
class Size:
    """What all methods share at one size of the synthetic benchmark."""

    train: str
    backbone: Spec
    plan: Stage = _PLAN
    size: tuple[int, int] = (128, 64)
    precision: str = "32-true"


SIZES: Mapping[str, Size] = {
    "tiny": Size(
        "synthetic-tiny",
        Spec("small", width=8),
        replace(_PLAN, epochs=4, batch=(4, 4), warmup=1),
    ),
    "small": Size("synthetic-demo", Spec("small", width=12)),
    "demo": Size("synthetic-demo", Spec("small", width=24)),
    "full": Size(
        "synthetic-full",
        Spec("resnet50", pretrained=False),
        replace(_PLAN, epochs=60, batch=(16, 4), lr=3.5e-4, warmup=5),
        (256, 128),
        "bf16-mixed",
    ),
}


def synthetic_row(paper: Paper, size: str) -> Recipe:
    """The paper's row at one of ``SIZES``: its own, or the one that follows from its main row."""
    base = derived(paper, size)
    if paper.synthetic is None:
        return replace(base, stages=_shared_out(paper.main.stages, base.stages[0]))
    return replace(paper.synthetic(base), name=base.name)


def derived(paper: Paper, size: str) -> Recipe:
    """The main row's method, cues and losses under the plan that all methods share, in one stage
    with the weights of its last one.
    """
    main, shared, sources = paper.main, SIZES[size], label_sources()
    return Recipe(
        f"{SYNTHETIC}/{size}/{paper.name}",
        method=main.method,
        backbone=shared.backbone,
        train=shared.train,
        test=(shared.train,),
        size=shared.size,
        stages=(replace(shared.plan, weights=main.stages[-1].weights),),
        cues=Frozen(
            {
                name: sources[spec.name].small(spec) if spec.name in sources else spec
                for name, spec in main.cues.items()
            }
        ),
        augment=AUGMENT,
        distance=main.distance,
        precision=shared.precision,
    )


def _shared_out(stages: tuple[Stage, ...], plan: Stage) -> tuple[Stage, ...]:
    """As many stages as the main row has, with its weights: the plan's epochs shared out as the
    row does it, one at least for each, and no warm-up after the first.
    """
    total = sum(stage.epochs for stage in stages)
    later = [max(1, plan.epochs * stage.epochs // total) for stage in stages[1:]]
    epochs = [max(1, plan.epochs - sum(later)), *later]
    return tuple(
        replace(plan, epochs=count, weights=stage.weights, warmup=plan.warmup if number == 0 else 0)
        for number, (count, stage) in enumerate(zip(epochs, stages, strict=True))
    )
