"""partreid: semantic part-aligned person re-identification.

``partreid.load(run)`` gives a trained model that embeds, compares and ranks crops. The names below
are imported on first use, so that ``import partreid`` alone stays instant.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Recipe": "partreid.recipes",
    "Embeddings": "partreid.types",
    "PartDistance": "partreid.distance",
    "build": "partreid.build",
    "load": "partreid.inference",
    "Model": "partreid.inference",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'partreid' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
