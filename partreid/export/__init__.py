"""Trained runs as files that do without PyTorch, each held against the run it comes from.

The names below are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partreid.export.main import Labelled, Result, export
    from partreid.export.proof import Proof

_HOME_OF = {"Labelled": "main", "Proof": "proof", "Result": "main", "export": "main"}

__all__ = ["Labelled", "Proof", "Result", "export"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
