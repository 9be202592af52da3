"""The learning rate as a pure function of progress."""

import math

from partreid.recipes import Stage
from partreid.utils.arguments import door


@door
def factor(stage: Stage, epoch: int, within: float = 0.0) -> float:
    """What ``stage.lr`` is multiplied by at epoch 0.. and the share ``within`` [0, 1) of it already
    done.

    Linear warm-up from ``warmup_from`` to 1 over ``warmup`` epochs, then steps or a half cosine. A
    stage that moves per epoch ignores ``within``.
    """
    t = epoch + (within if stage.per == "step" else 0.0)
    if t < stage.warmup:
        rise = t / stage.warmup
        return stage.warmup_from * (1 - rise) + rise
    if stage.schedule == "cosine":
        return 0.5 * (
            1 + math.cos(math.pi * (t - stage.warmup) / max(stage.epochs - stage.warmup, 1e-9))
        )
    return stage.drop_by ** sum(t >= drop for drop in stage.drop_at)
