"""One paper, one folder. A method is known by the record in its ``paper.py``; ``METHODS`` are the
models' classes, and only :mod:`partreid.build` looks there.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from partreid.errors import RecipeError
from partreid.recipes.papers import PAPERS, paper
from partreid.recipes.papers import register as _register
from partreid.utils.registry import resolve

if TYPE_CHECKING:
    from partreid.methods.base import Method
    from partreid.recipes.papers import Paper


class Methods(Mapping[str, "type[Method]"]):
    """The class of every paper's method, imported when it is asked for."""

    def __getitem__(self, name: str) -> "type[Method]":
        if name not in PAPERS:
            raise KeyError(name)
        from partreid.methods.base import Method

        kind = resolve(paper(name).method)
        if not (isinstance(kind, type) and issubclass(kind, Method)):
            raise RecipeError(
                f"the method of the paper '{name}' must be a subclass of "
                f"partreid.methods.base.Method, got {kind!r}; name the model's class in its record"
            )
        return kind

    def __iter__(self) -> Iterator[str]:
        return iter(PAPERS)

    def __len__(self) -> int:
        return len(PAPERS)


METHODS = Methods()


def register(paper: "Paper") -> None:
    """Makes a method known: its rows can be listed, trained and scored, at every size, and so on.

    An installed package does the same without a call, by an entry point of the group
    ``partreid.methods`` that names its record: ``halves = "my_package.paper:PAPER"``.

    Args:
        paper: The record; its ``name`` must be free.

    Raises:
        RecipeError: The name is taken, by a paper or by one of its label sources.

    Examples:
        >>> from partreid.recipes import PAPERS, Paper, Spec, find, row
        >>> bot = find("bot/bpbreid-table1/market1501")
        >>> main = row(bot, "mine/market1501", method=Spec("mine"))
        >>> register(
        ...     Paper(
        ...         "mine",
        ...         title="Mine",
        ...         citation="not published",
        ...         year=2026,
        ...         method="partreid.methods.bot.model:BoT",
        ...         main=main,
        ...         rows=(main,),
        ...     )
        ... )
        >>> find("synthetic/tiny/mine").method.name, find("mine/market1501@demo").size
        ('mine', (128, 64))
        >>> del PAPERS["mine"]  # and it is gone again
    """
    _register(paper)


__all__ = ["METHODS", "register"]
