"""What ``partreid eval`` does: trained runs to results. :mod:`partreid.report` shows them.

The names below are imported on first use: the ledger alone needs no torch, and
:mod:`partreid.inference` takes two modules of this room.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partreid.evaluation.result import Matching, RunResult, by_method, differences
    from partreid.evaluation.run import Options, evaluate_run, evaluate_runs

__all__ = [
    "Matching",
    "Options",
    "RunResult",
    "by_method",
    "differences",
    "evaluate_run",
    "evaluate_runs",
]
_HOMES = {
    **dict.fromkeys(("Options", "evaluate_run", "evaluate_runs"), "partreid.evaluation.run"),
    **dict.fromkeys(
        ("Matching", "RunResult", "by_method", "differences"), "partreid.evaluation.result"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'partreid.evaluation' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
