"""The rows of all papers, also of those that are registered later."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, overload

from partreid.recipes.base import Recipe
from partreid.recipes.labels import LABEL_SOURCES
from partreid.recipes.papers import PAPERS, Paper, paper, papers
from partreid.recipes.synthetic import SIZES, synthetic_row
from partreid.recipes.trunks import noted


def _now() -> dict[str, Recipe]:
    """All rows by name, those of the synthetic benchmark last."""
    return _rows(papers(), tuple(LABEL_SOURCES))


@lru_cache(maxsize=8)
def _rows(of: tuple[Paper, ...], sources: tuple[str, ...]) -> dict[str, Recipe]:
    rows = [noted(row) for paper in of for row in paper.rows]
    rows += [noted(synthetic_row(paper, size)) for size in SIZES for paper in of]
    return {row.name: row for row in rows}


class Recipes(Mapping[str, Recipe]):
    """Every row by name."""

    def __getitem__(self, name: str) -> Recipe:
        return _now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_now())

    def __len__(self) -> int:
        return len(_now())


class Rows(Sequence[Recipe]):
    """Every row in order: by paper, the oldest first, then those of the synthetic benchmark."""

    @overload
    def __getitem__(self, place: int) -> Recipe: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Recipe]: ...
    def __getitem__(self, place: Any) -> Any:
        return tuple(_now().values())[place]

    def __iter__(self) -> Iterator[Recipe]:
        return iter(_now().values())

    def __len__(self) -> int:
        return len(_now())


class Main(Mapping[str, Recipe]):
    """Of every paper, the row that its other rows are variants of."""

    def __getitem__(self, name: str) -> Recipe:
        if name not in PAPERS:
            raise KeyError(name)
        return paper(name).main

    def __iter__(self) -> Iterator[str]:
        return (paper.name for paper in papers())

    def __len__(self) -> int:
        return len(papers())
