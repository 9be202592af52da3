"""partreid: semantic part-aligned person re-identification.

``partreid.load(run)`` gives a trained model that embeds, compares and ranks crops. All names below
are imported on first use, so that ``import partreid`` alone stays instant; so are the packages
(``partreid.losses``, ``partreid.metrics``, ``partreid.methods`` and so on).

Example:
    >>> import partreid
    >>> model = partreid.load("runs/bpbreid", device="cpu")
    >>> [hit.place for hit in model.rank("a.jpg", "crops", top=3)[0]]
    [1, 2, 3]
"""

from importlib import import_module

__version__ = "0.1.0"
TYPE_CHECKING = False  # as type checkers take it; typing is most of what importing this would cost

if TYPE_CHECKING:
    from partreid import (
        build,
        bulk,
        convert,
        data,
        distance,
        errors,
        evaluation,
        explain,
        inference,
        labels,
        layers,
        link,
        losses,
        methods,
        metrics,
        recipes,
        report,
        retrieval,
        train,
        types,
    )
    from partreid.distance import PartDistance
    from partreid.errors import ArgumentError, DataError, PartReidError, RecipeError, ShapeError
    from partreid.inference import (
        Comparison,
        Hit,
        Model,
        SavedEmbeddings,
        load,
        load_embeddings,
        rank,
        save_embeddings,
    )
    from partreid.metrics import evaluate
    from partreid.recipes import Recipe
    from partreid.types import Batch, Embeddings, PartScheme

_HOMES = {
    "ArgumentError": "partreid.errors",
    "Batch": "partreid.types",
    "Comparison": "partreid.inference",
    "DataError": "partreid.errors",
    "Embeddings": "partreid.types",
    "Hit": "partreid.inference",
    "Model": "partreid.inference",
    "PartDistance": "partreid.distance",
    "PartReidError": "partreid.errors",
    "PartScheme": "partreid.types",
    "Recipe": "partreid.recipes",
    "RecipeError": "partreid.errors",
    "SavedEmbeddings": "partreid.inference",
    "ShapeError": "partreid.errors",
    "evaluate": "partreid.metrics",
    "load": "partreid.inference",
    "load_embeddings": "partreid.inference",
    "rank": "partreid.inference",
    "save_embeddings": "partreid.inference",
}

__all__ = [
    "ArgumentError",
    "Batch",
    "Comparison",
    "DataError",
    "Embeddings",
    "Hit",
    "Model",
    "PartDistance",
    "PartReidError",
    "PartScheme",
    "Recipe",
    "RecipeError",
    "SavedEmbeddings",
    "ShapeError",
    "__version__",
    "build",
    "bulk",
    "convert",
    "data",
    "distance",
    "errors",
    "evaluate",
    "evaluation",
    "explain",
    "inference",
    "labels",
    "layers",
    "link",
    "load",
    "load_embeddings",
    "losses",
    "methods",
    "metrics",
    "rank",
    "recipes",
    "report",
    "retrieval",
    "save_embeddings",
    "train",
    "types",
]

if not TYPE_CHECKING:  # a type checker would believe any name of a module that has one

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        elif name in __all__:
            value = import_module(f"partreid.{name}")
        else:
            raise AttributeError(f"module 'partreid' has no attribute '{name}'")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({name for name in globals() if name.startswith("__")} | {*__all__})
