"""Before the first batch: can this plan learn from these people, and may a run go on with that
plan and those data?
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partreid.errors import DataError, RecipeError
from partreid.recipes.base import Recipe, Stage
from partreid.train.start import people_digest
from partreid.types import Benchmark

if TYPE_CHECKING:
    from partreid.train.run import TrainState

PAIRED = "triplet"  # how the names of terms begin that rank an image's own person against others


def require_learnable(recipe: Recipe, ids: Sequence[int], processes: int = 1) -> None:
    """DataError, RecipeError if some loss of ``recipe`` would be zero whatever the model does.
    ids: int per image.
    """
    images = Counter(ids)
    if len(images) < 2:
        raise DataError(
            "the training images show one person alone, and telling people apart is learned from "
            "two or more; add people, or check how the data set names them"
        )
    for number, stage in enumerate(recipe.stages):
        P, K = stage.batch
        paired = [
            term for term, weight in stage.weights.items() if term.startswith(PAIRED) and weight > 0
        ]
        if P % processes == 0 and P // processes * K < 2:
            raise RecipeError(
                f"stage {number} has batches of one image{_each(processes)}, which batch norm "
                f"makes zero; set e.g. --set stages.batch=[{2 * processes},2]"
            )
        if paired and (K < 2 or P // processes < 2):
            raise RecipeError(
                f"stage {number} weighs {', '.join(paired)}, which needs two images of a person "
                f"and two people in a batch{_each(processes)}; batch is [{P},{K}]: set e.g. --set "
                f"stages.batch=[{max(P, 2 * processes)},{max(K, 2)}], or give these terms the "
                "weight 0"
            )
        if paired and max(images.values()) < 2:
            raise DataError(
                f"stage {number} weighs {', '.join(paired)}, which compares two images of a "
                f"person, and the training set has one of each of its {len(images)} people; add "
                f"images, or give these terms the weight 0: --set stages.weights.{paired[0]}=0"
            )


def _each(processes: int) -> str:
    return "" if processes == 1 else f" of each of {processes} processes"


def data_digest(benchmark: Benchmark) -> dict[str, Any]:
    """What a run was trained on: counts, and twelve hex digits over names below the root,
    identities and cameras.
    """
    whole = [people_digest(benchmark), *(str(s.camera) for s in benchmark.train)]
    digest = hashlib.sha256("\n".join(whole).encode())
    return {
        "people": len({s.identity for s in benchmark.train}),
        "images": len(benchmark.train),
        "cameras": len({s.camera for s in benchmark.train}),
        "digest": digest.hexdigest()[:12],
    }


def require_same_data(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """DataError says what changed since the run in ``folder`` was begun, or that its note of it
    was changed.
    """
    counts = ("people", "images", "cameras")
    if not (
        isinstance(before, Mapping)
        and set(before) == {*counts, "digest"}
        and all(type(before[key]) is int and before[key] >= 0 for key in counts)
    ):
        raise DataError(
            f"the checkpoint in {folder} does not say its training data as it was written; restore "
            "it, or begin a new run with --out"
        )
    if before == now:
        return
    changed = [
        f"{before[key]:,} {key} then, {now[key]:,} now" for key in counts if before[key] != now[key]
    ]
    what = "; ".join(changed) or "as many people, images and cameras, but other names or identities"
    raise DataError(
        f"{folder} was begun with other training data ({what}); go on with those, or begin a new "
        f"run with --out, from these weights with --set start={folder} once that run has ended"
    )


def require_same_past(folder: Path, before: Recipe, now: Recipe, place: "TrainState") -> None:
    """RecipeError unless what was trained up to ``place`` is the same under both recipes.

    They may differ in how long the stage goes on that is under way, and those after it, and in
    drops of the rate that have not come yet.
    """
    if before.digest == now.digest:
        return
    if (
        len(before.stages) != len(now.stages)
        or replace(before, stages=now.stages).digest != now.digest
        or any(_timeless(a) != _timeless(b) for a, b in zip(before.stages, now.stages, strict=True))
    ):
        raise RecipeError(
            f"{folder} was begun with another recipe ({before.name}, {before.digest}); resume it "
            "with the same settings, or choose another folder with --out"
        )
    for number, (a, b) in enumerate(zip(before.stages, now.stages, strict=True)):
        # the last epoch with a step, -1: none yet
        begun = place.epoch if place.within else place.epoch - 1
        begun = a.epochs - 1 if number < place.stage else begun if number == place.stage else -1
        if (
            number < place.stage
            and a.epochs != b.epochs
            or number == place.stage
            and b.epochs <= begun
        ):
            raise RecipeError(
                f"{folder} has trained {begun + 1} epochs of stage {number}, and {b.epochs} are "
                "asked for; give the same or more of the stage that is under way"
            )
        falling = begun >= 0 and (begun + 1 > a.warmup if a.per == "step" else begun >= a.warmup)
        bent = a.schedule == "cosine" and a.epochs != b.epochs and falling
        if bent or [d for d in a.drop_at if d <= begun] != [d for d in b.drop_at if d <= begun]:
            raise RecipeError(
                f"{folder} has trained {begun + 1} epochs at rates that the other plan would not "
                "have had "
                f"({'a cosine falls towards the planned end' if bent else 'drop_at differs'}); "
                "resume it with the same settings, then train on from it in a new folder: --out "
                f"NEW --set start={folder}"
            )


def _timeless(stage: Stage) -> Stage:
    return replace(stage, epochs=1, drop_at=())
