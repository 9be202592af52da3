"""What is known of a paper, in one record, and the tables that follow from all records: the papers
that ship here, those that a program registers, and those that installed packages bring.
"""

import pkgutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from partreid.errors import RecipeError
from partreid.recipes.base import Recipe, unknown
from partreid.recipes.claims import Claim
from partreid.recipes.labels import LABEL_SOURCES, LabelSource, as_source
from partreid.utils.arguments import check_fields
from partreid.utils.registry import Registry

SYNTHETIC = "synthetic"  # what stands before the rows of the synthetic benchmark
LESSONS = ("surfaces", "regions")
_HOME = "partreid.methods"  # a folder with a paper.py for each paper that ships here


@dataclass(frozen=True, eq=False)
class Paper:
    """All that the program knows of a paper and its method.

    name: of the paper and of its method; its rows are called "name/table/row". title: as tables and
    reports write it. citation: authors, title, where it appeared. method: the model's class, or
    where it is, "package.module:Class", which keeps torch out of lists of recipes. main: the row
    that the others are variants of. rows: one for each row of the paper's tables.

    synthetic: the paper's row on the synthetic benchmark, made of the one that is derived from the
    main row (its method and cues under the plan that all methods share); None takes the derived
    one. claims: what the tables say of variants. studies: title -> names of rows, tables that
    ``partreid claims`` prints beside the claims. labels: label sources that only this paper has, by
    name. cost: multiply-adds of one image in training beyond the trunk, in 10^9, of a recipe and
    what its trunk takes; None counts the trunk alone. lesson: what the demo's report shows of its
    training: the "surfaces" of its cue "uv_tiles" unwrapped, or the "regions" that its ``hide``
    draws. core: the demo trains it unless told otherwise. official: the distances of the released
    code, a function (query, gallery) -> [Nq, Ng] or where it is, for ``eval --rule official``;
    None: the method's own. trapezoid: that code takes AP by trapezoids.

    RecipeError for a record that does not hold together.
    """

    name: str
    title: str
    citation: str
    year: int
    method: type | str
    main: Recipe
    rows: tuple[Recipe, ...]
    synthetic: Callable[[Recipe], Recipe] | None = None
    claims: tuple[Claim, ...] = ()
    studies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, LabelSource] = field(default_factory=dict)
    cost: Callable[[Recipe, float], float] | None = None
    lesson: str | None = None
    core: bool = False
    official: Callable[..., Any] | str | None = None
    trapezoid: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.name == SYNTHETIC:
            raise RecipeError(
                f"a paper cannot be called '{SYNTHETIC}', as the rows of the synthetic benchmark "
                "are; give it another name"
            )
        if self.lesson not in (None, *LESSONS):
            raise RecipeError(
                f"the lesson of {self.name} must be one of {', '.join(LESSONS)} or None, got "
                f"'{self.lesson}'"
            )
        names = [recipe.name for recipe in self.rows]
        for row in self.rows:
            if not row.name.startswith(f"{self.name}/") or names.count(row.name) > 1:
                raise RecipeError(
                    f"the rows of {self.name} need names of their own that begin with "
                    f"'{self.name}/', got '{row.name}'; rename it"
                )
        if self.main.name not in names:
            raise RecipeError(
                f"the main row of {self.name}, '{self.main.name}', is none of its rows; add it to "
                "rows"
            )
        if self.main.method.name != self.name:
            raise RecipeError(
                f"the main row of {self.name} has the method '{self.main.method.name}'; a paper's "
                "method is called as the paper is"
            )


def _shipped() -> dict[str, Paper | str]:
    """The papers in this package, by folder; their modules are not imported."""
    spec = find_spec(_HOME)
    places = spec.submodule_search_locations if spec is not None else None
    return {
        module.name: f"{_HOME}.{module.name}.paper:PAPER"
        for module in pkgutil.iter_modules(places)
        if module.ispkg
    }


PAPERS: "Registry[Paper]" = Registry("paper", _HOME, _shipped())


def register(paper: Paper) -> None:
    """Adds a paper: its method and all its rows can be named from now on. RecipeError if its name
    is taken.
    """
    if not isinstance(paper, Paper):
        raise RecipeError(f"a Paper is registered, got a {type(paper).__name__}; make a record")
    taken = set(paper.labels) & set(label_sources())
    if taken:
        raise RecipeError(
            f"there is a label source '{min(taken)}' already; call that of {paper.name} otherwise"
        )
    PAPERS.register(paper.name, paper)


def paper(name: str) -> Paper:
    """The record of one paper. RecipeError with the nearest name if there is none."""
    if name not in PAPERS:
        raise RecipeError(unknown("paper", name, PAPERS))
    record = PAPERS[name]
    if not isinstance(record, Paper) or record.name != name:
        raise RecipeError(
            f"'{name}' of the entry points {_HOME} must name a Paper called '{name}', got "
            f"{record.name if isinstance(record, Paper) else type(record).__name__!r}; repair or "
            "remove the package that brings it"
        )
    return record


def papers() -> tuple[Paper, ...]:
    """All papers, the oldest first. One that an installed package brings and that cannot be loaded
    is left out with a warning: it is nobody else's fault.
    """
    records = []
    for name in PAPERS:
        try:
            records.append(paper(name))
        except RecipeError as error:
            if name not in _BROKEN:
                _BROKEN.add(name)
                warnings.warn(f"{error}. Its rows are left out", stacklevel=2)
    return tuple(sorted(records, key=lambda p: (p.year, p.name)))


_BROKEN: set[str] = set()  # papers that have been warned of


def label_sources() -> dict[str, LabelSource]:
    """Every source of labels by name, those of papers last."""
    of_papers = {name: source for paper in papers() for name, source in paper.labels.items()}
    return {name: as_source(name, LABEL_SOURCES[name]) for name in LABEL_SOURCES} | of_papers
