"""After the first ranking: re-ranking, query expansion, several images of one query, the nearest
of very many.

The names below are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partreid.retrieval.k_reciprocal import KReciprocal
    from partreid.retrieval.multi_query import pooled
    from partreid.retrieval.query_expansion import Expansion
    from partreid.retrieval.search import nearest

_HOME_OF = {
    "Expansion": "query_expansion",
    "KReciprocal": "k_reciprocal",
    "nearest": "search",
    "pooled": "multi_query",
}

__all__ = ["Expansion", "KReciprocal", "nearest", "pooled"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
