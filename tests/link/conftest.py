"""A calibration whose log odds are plain: 4 - 8 d for any number of shared parts."""

import pytest

from partreid.metrics.bootstrap import Interval
from partreid.metrics.calibration import Calibration, Check, Slice, Source, reliability
from partreid.metrics.pairs import Curve


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    many, rate = Slice(100, 20, 50, 1000, 0), Interval(0.01, 0.005, 0.02)
    source = Source(
        model="m", weights="w", distance="d", names=("global",), recipe="r", data="made",
        queries=("q",), images="i", gallery="g", version="0", date="d",
    )  # fmt: skip
    return Calibration(
        (Curve((0.0, 2.0), (4.0, -12.0)),), "line", {"line": 0.5}, 0.0, 0.01, rate, rate, many,
        Check(many, rate, rate, reliability([0.5], [True])), (0.0, 1.0), 0.05, 0.5, 0, source,
    )  # fmt: skip
