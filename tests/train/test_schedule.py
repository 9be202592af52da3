"""The learning rate against its definition, one epoch at a time."""

import math

import pytest

from partreid.recipes import Stage
from partreid.train.schedule import factor


def stage(**changes: object) -> Stage:
    return Stage(**{"epochs": 120, "weights": {"id": 1.0}, **changes})  # type: ignore[arg-type]


def test_warm_up_is_a_straight_line_from_its_start_to_one() -> None:
    plan = stage(warmup=10, warmup_from=0.01)
    for epoch in range(11):
        assert factor(plan, epoch) == pytest.approx(0.01 + 0.99 * epoch / 10)


def test_steps_fall_at_their_epochs_and_multiply() -> None:
    plan = stage(warmup=10, drop_at=(40, 70), drop_by=0.1)
    assert [factor(plan, e) for e in (10, 39)] == [1, 1]
    assert [factor(plan, e) for e in (40, 69)] == pytest.approx([0.1, 0.1])
    assert [factor(plan, e) for e in (70, 119)] == pytest.approx([0.01, 0.01])


def test_cosine_falls_from_the_peak_to_zero() -> None:
    plan = stage(epochs=50, warmup=10, schedule="cosine")
    assert factor(plan, 10) == 1
    assert factor(plan, 30) == pytest.approx(0.5)
    assert factor(plan, 49) == pytest.approx(0.5 * (1 + math.cos(math.pi * 39 / 40)))
    end = factor(stage(epochs=50, warmup=10, schedule="cosine", per="step"), 49, 1 - 1e-9)
    assert end == pytest.approx(0, abs=1e-8)


def test_only_a_stage_that_moves_per_step_looks_inside_the_epoch() -> None:
    per_epoch, per_step = stage(warmup=10), stage(warmup=10, per="step")
    assert factor(per_epoch, 3, 0.5) == factor(per_epoch, 3)
    assert factor(per_step, 3, 0.5) == pytest.approx(
        (factor(per_step, 3) + factor(per_step, 4)) / 2
    )


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_no_warm_up_starts_at_the_peak(schedule: str) -> None:
    assert factor(stage(warmup=0, schedule=schedule), 0) == 1


def test_a_plan_that_is_all_warm_up_is_defined() -> None:
    plan = stage(epochs=5, warmup=5, schedule="cosine", warmup_from=0.0)
    assert [factor(plan, e) for e in range(5)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
