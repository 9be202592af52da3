"""Tables of names that a recipe or a command line may say: what ships here, what a program adds,
what plug-ins bring.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from partreid.errors import RecipeError

if TYPE_CHECKING:  # it takes as long as all else that `import partreid` does
    from importlib.metadata import EntryPoint

T = TypeVar("T")


@dataclass(frozen=True)
class _Offer:
    """What an installed package brings, not loaded yet."""

    point: "EntryPoint"

    @property
    def home(self) -> str:
        """The package's name."""
        dist = self.point.dist
        return dist.name if dist is not None else self.point.value.partition(":")[0]


class Registry(MutableMapping[str, T], Generic[T]):
    """Names to things, each imported when it is first asked for.

    what: the kind of thing, for errors. group: entry point group in which installed packages offer
    more, e.g. ``partreid.trunks``. items: things, or where they are: "package.module:name".

    Examples:
        >>> from math import pi
        >>> numbers = Registry("number", "example.numbers", {"tau": "math:tau"})
        >>> numbers.register("pi", pi)
        >>> sorted(numbers), numbers["tau"] == 2 * numbers["pi"]
        (['pi', 'tau'], True)
    """

    def __init__(self, what: str, group: str, items: Mapping[str, T | str] | None = None) -> None:
        self.what, self.group = what, group
        self._items: dict[str, T | str | _Offer] = dict(items or {})
        self._is_searched = False

    def register(self, name: str, item: T | str) -> None:
        """Adds a thing, or where it is. RecipeError if the name is taken: nothing is replaced
        without a word.
        """
        if (
            not isinstance(name, str)
            or not name.isprintable()
            or not name
            or any(c in name for c in " /@=")
        ):
            raise RecipeError(
                f"the name of a {self.what} is a text without spaces and without / @ =, got "
                f"{name!r}"
            )
        self._search()
        if name in self._items:
            raise RecipeError(
                f"there is a {self.what} '{name}' already; register yours under another name"
            )
        self._items[name] = item

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            self._search()
        item = self._items[name]
        if isinstance(item, _Offer):
            offer = item
            try:
                item = offer.point.load()
            except Exception as error:  # whatever a stranger's package does when it is imported
                raise RecipeError(
                    f"the {self.what} '{name}' of the installed package {offer.home} cannot be "
                    f"loaded ({type(error).__name__}: {error}); repair or remove that package"
                ) from error
        elif isinstance(item, str):
            item = resolve(item)
        self._items[name] = cast(T, item)
        return cast(T, item)

    def __setitem__(self, name: str, item: T) -> None:
        self._items[name] = item

    def __delitem__(self, name: str) -> None:
        del self._items[name]

    def __iter__(self) -> Iterator[str]:
        self._search()
        return iter(list(self._items))

    def __len__(self) -> int:
        self._search()
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        if name not in self._items:
            self._search()
        return name in self._items

    def _search(self) -> None:
        """Once: what installed packages offer."""
        if self._is_searched:
            return
        from importlib.metadata import entry_points

        offers: dict[str, T | str | _Offer] = {}
        for point in sorted(entry_points(group=self.group), key=lambda p: (p.name, p.value)):
            offer = _Offer(point)
            if point.name in self._items or point.name in offers:
                raise RecipeError(
                    f"the installed package {offer.home} brings a {self.what} '{point.name}', a "
                    "name that is taken; remove it, or have it renamed"
                )
            offers[point.name] = offer
        self._items.update(offers)
        self._is_searched = True


def resolve(item: Any) -> Any:
    """A thing as it is, or what stands at "package.module:name". RecipeError if nothing does."""
    if not isinstance(item, str):
        return item
    module, _, attribute = item.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            f"there is nothing to be had at '{item}' ({error}); name it as package.module:name"
        ) from error
