"""What public functions do first: refuse arguments that are not what they take, with one sentence.

``@door`` holds the arguments of a function against their annotations before it starts; a dataclass
calls
:func:`check_fields` first. What an annotation cannot say (a range, a length) is said with
  :func:`require`,
:func:`integer` and :func:`number`.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf, isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from partreid.errors import ArgumentError

_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    type(None): "None",
    Path: "a path",
    Any: "anything",
}
P = ParamSpec("P")
R = TypeVar("R")
_BITS = 64
_LONG = 60  # characters of a value that an error quotes


@dataclass(frozen=True)
class Least:
    """Of a number in an annotation: it is at least ``value``."""

    value: int

    def holds(self, number: Any) -> bool:
        return bool(number >= self.value)

    def __str__(self) -> str:
        return f"of at least {self.value}"


@dataclass(frozen=True)
class Axes:
    """Of a tensor or an array in an annotation: it has these axes, named in order, e.g. "B C h
    w".
    """

    names: str

    def holds(self, tensor: Any) -> bool:
        return len(tensor.shape) == len(self.names.split())

    def __str__(self) -> str:
        return f"[{', '.join(self.names.split())}]"


Count = Annotated[int, Least(1)]


def door(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with ArgumentError for the first argument that is not of its annotated type.

    A wrong number of arguments, or a name that it does not know, stays Python's own TypeError.
    """
    places = [
        name
        for name, p in inspect.signature(function).parameters.items()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    tests: dict[str, Callable[[Any], bool]] = {}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not tests:  # annotations may name what stands further down in the module
            tests.update({name: _test(kind) for name, kind in hints(function).items()})
        for name, value in (*zip(places, args), *kwargs.items()):
            if name in tests and not tests[name](value):
                check(function, {name: value})
        return function(*args, **kwargs)

    return checked


def _test(kind: Any) -> Callable[[Any], bool]:
    """:func:`fits` for one annotation; for plain classes a hundredth of its time."""
    is_plain = isinstance(kind, type) and typing.get_origin(kind) is None
    special = kind in (Any, bool, int, float, tuple, list) or getattr(kind, "_is_protocol", False)
    if is_plain and not special:
        return lambda value: isinstance(value, kind)
    return lambda value: fits(value, kind)


def check(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """ArgumentError for the first of the ``given`` arguments that is not of its annotated type.

    given: by name; what ``function`` has no annotation for is left alone, so ``locals()`` will do.
    """
    for name, kind in hints(function).items():
        if name in given and not fits(given[name], kind):
            raise ArgumentError(
                f"{function.__qualname__.removesuffix('.__init__')}: {name} must be {words(kind)}, "
                f"got {quoted(given[name])}"
            )


def check_fields(value: Any) -> None:
    """The same for the fields of a dataclass, in its ``__post_init__``."""
    check(type(value), {f.name: getattr(value, f.name) for f in fields(value)})


def require(true: bool, what: str, wanted: str, got: object) -> None:
    """ArgumentError "``what`` must be ``wanted``, got ``got``" unless ``true``."""
    if not true:
        raise ArgumentError(f"{what} must be {wanted}, got {quoted(got)}")


def integer(what: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number from ``least`` to ``most``, as an int. ArgumentError otherwise."""
    good = fits(value, int) and least <= value and (most is None or value <= most)
    require(good, what, f"a whole number {_range(least, most)}", value)
    return int(value)


def number(
    what: str, value: Any, least: float, most: float | None = None, *, open_: bool = False
) -> float:
    """A finite number from ``least`` to ``most``, both excluded if ``open_``, as a float.
    ArgumentError otherwise.
    """
    most = inf if most is None else most
    good = (
        fits(value, float)
        and isfinite(value)
        and (least < value < most if open_ else least <= value <= most)
    )
    ends = "" if not open_ else ", which is excluded" if most == inf else ", both excluded"
    require(good, what, f"a number {_range(least, most)}{ends}", value)
    return float(value)


def _range(least: float, most: float | None) -> str:
    return f"of at least {least:g}" if most in (None, inf) else f"from {least:g} to {most:g}"


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type. Truth values are no numbers, texts and mappings no
    lists.

    A whole number has at most 64 bits: no count, size or seed is larger, and most of what takes one
    fails beyond. What is inside a mapping, or comes out of an iterator, is not looked at.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is typing.Union or isinstance(kind, types.UnionType):
        return any(fits(value, k) for k in inner)
    if origin is Annotated:
        return fits(value, inner[0]) and all(rule.holds(value) for rule in inner[1:])
    if kind is Any:
        return True
    if kind is type(None):
        return value is None
    if kind is bool or kind is str:
        return type(value) is kind or (kind is str and isinstance(value, str))
    if kind is int or kind is float:
        return (
            isinstance(value, Integral if kind is int else Real)
            and not isinstance(value, bool)
            and not (isinstance(value, int) and value.bit_length() > _BITS)
        )
    if origin in (tuple, list, Sequence, Collection, Iterable):
        return _lists(value, origin, inner)
    if getattr(origin, "__name__", "") == "ndarray":
        return isinstance(value, origin) and _entries(value, typing.get_args(inner[1]))
    plain = origin or kind
    if not isinstance(plain, type):
        return True
    if getattr(plain, "_is_protocol", False):
        return all(hasattr(value, name) for name in _members(plain))
    return isinstance(value, plain)


def _entries(array: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether the entries are truth values, whole numbers or numbers as annotated; of any width."""
    names = {base.__name__ for base in getattr(kinds[0] if kinds else None, "__mro__", ())}
    for kind, letters in (("bool", "b"), ("bool_", "b"), ("integer", "iu"), ("floating", "fiu")):
        if kind in names:
            return array.dtype.kind in letters
    return True


def _lists(value: Any, origin: Any, inner: tuple[Any, ...]) -> bool:
    taken: Any = {tuple: (tuple, list), list: (tuple, list)}.get(origin, origin)
    if not isinstance(value, taken) or isinstance(value, str | bytes | bytearray | Mapping):
        return False
    if not isinstance(value, tuple | list):  # an array, or what can be gone through once only
        is_array = hasattr(value, "shape")
        return not isinstance(value, set | frozenset) and not (
            is_array and inner and inner[0] in (str, Path)
        )
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(fits(v, k) for v, k in zip(value, inner))
    return not inner or all(fits(v, inner[0]) for v in value)


def words(kind: Any) -> str:
    """An annotation as a person would say it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if origin is typing.Union or isinstance(kind, types.UnionType):
        return " or ".join(dict.fromkeys(words(k) for k in inner))
    if origin is Annotated:
        return " ".join([words(inner[0]), *map(str, inner[1:])])
    if kind in _WORDS:
        return _WORDS[kind]
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return f"{len(inner)} values ({', '.join(words(k) for k in inner)})"
    if origin in (tuple, list, Sequence, Collection, Iterable):
        return "a list" + (f" whose entries are each {words(inner[0])}" if inner else "")
    if origin is Mapping:
        return "a mapping of names to values"
    if origin is Callable:
        return "a function"
    return f"of type {getattr(origin or kind, '__name__', kind)}"


def quoted(value: object) -> str:
    """A value as an error quotes it: short, and by its type alone where it is no plain one."""
    if value is None or isinstance(value, bool):
        return repr(value)
    kind = type(value).__name__
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to print the longest
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, int | float | str | bytes):
        text = repr(value)
        return text if len(text) <= _LONG else f"{text[:_LONG]}... ({kind})"
    if isinstance(value, tuple | list) and len(value) <= 8:
        text = ", ".join(map(quoted, value))
        if len(text) <= _LONG:
            return f"({text})" if isinstance(value, tuple) else f"[{text}]"
    shape = getattr(value, "shape", None)
    return (
        f"{kind} of shape {tuple(shape)}" if isinstance(shape, tuple) else f"a value of type {kind}"
    )


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of the arguments: of a class those of its fields or its constructor."""
    return _hints(function)


@functools.cache
def _members(protocol: type) -> frozenset[str]:
    """What a protocol asks for, calls and items included."""
    every = {
        name
        for base in protocol.__mro__[:-1]
        if base.__module__ != "typing"
        for name in {**vars(base), **vars(base).get("__annotations__", {})}
    }
    return frozenset(
        n for n in every if not n.startswith("_") or n in ("__call__", "__getitem__", "__len__")
    )


@functools.cache
def _hints(function: Any) -> dict[str, Any]:
    if isinstance(function, type) and not hasattr(function, "__dataclass_fields__"):
        # mypy forbids reading __init__ of an instance's class; here it is a class
        function = function.__init__  # type: ignore[misc]
    annotations = typing.get_type_hints(function, include_extras=True)
    annotations.pop("return", None)
    return annotations
