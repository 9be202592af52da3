"""What a recipe is: frozen plain data that holds every number of a run, written as JSON beside its
weights.

Only the standard library is imported here, so that the list of recipes answers at once.
"""

import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any

from partreid.errors import RecipeError
from partreid.recipes import checks
from partreid.recipes.checks import unknown
from partreid.utils.arguments import door

# Fields of a recipe that are words about it; arguments of methods that only decide what is stored
# and compared.
WORDS = ("name", "notes", "expect", "scores")
AT_TEST = frozenset({"described", "matching", "visibility", "visible_above", "target", "kept"})


# What names were before: older files are read, and a row keeps the digest that results record.
FORMER = {
    "optimizer": "optimiser",
    **{
        f"center{rest}": f"centre{rest}"
        for rest in ("", "_global", "_foreground", "_joined", "_lr", "_weight")
    },
}
_NOW = {former: now for now, former in FORMER.items()}


class Frozen(Mapping[str, Any]):
    """A mapping that cannot change and can be hashed; equal to a dict with the same items."""

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items = MappingProxyType(dict(items or {}))

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> typing.Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(sorted((k, repr(v)) for k, v in self._items.items())))

    def __or__(self, other: Mapping[str, Any]) -> "Frozen":
        return Frozen({**self._items, **other})

    def without(self, *names: str) -> "Frozen":
        return Frozen({k: v for k, v in self._items.items() if k not in names})

    def __repr__(self) -> str:
        return repr(dict(self._items))

    def __reduce__(self) -> tuple[Any, ...]:
        return Frozen, (dict(self._items),)


@dataclass(frozen=True, init=False)
class Spec:
    """A name out of a table and the arguments for what stands there: ``Spec("hrnet_w32",
    reduce=256)``.
    """

    name: str
    args: Frozen

    def __init__(self, name: str, /, **args: Any) -> None:
        checks.text("the name of a method, trunk, cue or transform", name)
        for argument, value in args.items():
            checks.argument(f"argument '{argument}' of '{name}'", value)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "args", Frozen(args))

    def but(self, **args: Any) -> "Spec":
        """The same name with some arguments changed."""
        return Spec(self.name, **{**self.args, **args})


@dataclass(frozen=True)
class Expected:
    """Published numbers in percent; ``None`` where the text does not show the cell. ``where``
    names the table. reranked: they are those after k-reciprocal re-ranking.
    """

    where: str
    rank1: float | None = None
    rank5: float | None = None
    rank10: float | None = None
    mAP: float | None = None
    reranked: bool = False

    def __post_init__(self) -> None:
        for name in ("rank1", "rank5", "rank10", "mAP"):
            if getattr(self, name) is not None:
                checks.number(f"the published {name}", getattr(self, name), 0, 100)


@dataclass(frozen=True)
class Stage:
    """One stretch of a training plan.

    batch: (P, K) = identities per step and images of each. lr: peak learning rate. warmup: epochs
    of linear warm-up that start at ``warmup_from`` x lr. schedule: "step" multiplies by ``drop_by``
    at the epochs ``drop_at``; "cosine" falls from the peak to zero. per: the rate moves per "epoch"
    or per "step". weights: one entry per loss term of the method, exactly.
    """

    epochs: int
    weights: Frozen
    batch: tuple[int, int] = (16, 4)
    lr: float = 3.5e-4
    warmup: float = 10
    warmup_from: float = 0.01
    schedule: str = "step"
    drop_at: tuple[int, ...] = (40, 70)
    drop_by: float = 0.1
    per: str = "epoch"
    optimizer: str = "adam"
    weight_decay: float = 5e-4
    accumulate: int = 1

    def __post_init__(self) -> None:
        checks.integer("epochs", self.epochs, 1, checks.COUNT)
        checks.listed("batch (identities, images of each)", self.batch, int, 2)
        for count in self.batch:
            checks.integer("each number of batch", count, 1, checks.COUNT)
        checks.integer("accumulate", self.accumulate, 1, checks.COUNT)
        for name in ("lr", "warmup", "weight_decay"):
            checks.number(name, getattr(self, name))
        checks.number("warmup_from", self.warmup_from, 0, 1)
        checks.number("drop_by", self.drop_by, 0, 1)
        checks.listed("drop_at", self.drop_at, int)
        for epoch in self.drop_at:
            checks.integer("each number of drop_at", epoch, 0, checks.COUNT)
        checks.choice("schedule", self.schedule, ("step", "cosine"))
        checks.choice("per", self.per, ("epoch", "step"))
        checks.choice("optimizer", self.optimizer, ("adam", "adamw", "sgd"))
        checks.mapped("weights", self.weights, (int, float))
        for term, weight in self.weights.items():
            checks.number(f"the weight of {term}", weight)
        if self.weights and not any(self.weights.values()):
            raise RecipeError(
                "every loss term has the weight 0, so that nothing is learned; give one a weight "
                "above 0"
            )
        object.__setattr__(self, "weights", Frozen(self.weights))


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run.

    cues: what the method is told of training images, by name. train, test: data sets by name. size:
    (H, W) in pixels. augment: transforms in order. distance: the matching rule if not the method's
    own. start: a run or weights file to begin from. precision: of the forward pass, in Fabric's
    words. notes: every place where this recipe leaves its paper, with the reason. scores: the row
    whose training this one scores in its own way; None if it is a training of its own.
    """

    name: str
    method: Spec
    backbone: Spec
    train: str
    test: tuple[str, ...]
    size: tuple[int, int]
    stages: tuple[Stage, ...]
    cues: Frozen = field(default_factory=Frozen)
    augment: tuple[Spec, ...] = (Spec("crop", pad=10), Spec("mirror"), Spec("erase"))
    distance: Spec | None = None
    start: str | None = None
    precision: str = "32-true"
    seed: int = 1
    expect: Expected | None = None
    notes: tuple[str, ...] = ()
    scores: str | None = None

    def __post_init__(self) -> None:
        for name in ("name", "train"):
            checks.text(name, getattr(self, name))
        for name in ("method", "backbone"):
            if not isinstance(getattr(self, name), Spec):
                raise RecipeError(
                    f"{name} must be a Spec, got {checks.quoted(getattr(self, name))}"
                )
        checks.listed("test", self.test, str)
        if not self.test:
            raise RecipeError(f"{self.name} names no data set to test on; give test at least one")
        checks.listed("size (height, width)", self.size, int, 2)
        for side in self.size:
            checks.integer("each number of size", side, 1, checks.SIDE)
        checks.listed("stages", self.stages, Stage)
        checks.mapped("cues", self.cues, Spec)
        object.__setattr__(self, "cues", Frozen(self.cues))
        checks.listed("augment", self.augment, Spec)
        checks.listed("notes", self.notes, str)
        checks.choice("precision", self.precision, ("32-true", "bf16-mixed", "16-mixed"))
        checks.integer("seed", self.seed, 0, checks.SEEDS)
        if self.start is not None:
            checks.text("start", self.start)
        for name, kind in (("distance", Spec), ("expect", Expected)):
            if not isinstance(getattr(self, name), kind | None):
                raise RecipeError(
                    f"{name} must be of type {kind.__name__} or None, got "
                    f"{checks.quoted(getattr(self, name))}"
                )
        terms = {frozenset(stage.weights) for stage in self.stages}
        if len(terms) != 1:
            raise RecipeError(
                f"{self.name}: every stage needs weights for the same loss terms, or none has a "
                f"stage; got {[sorted(t) for t in terms]}. Give a term the weight 0.0 where a "
                "stage does without it."
            )

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms, in the recipe's order."""
        return tuple(self.stages[0].weights)

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with every number of the recipe (but not with its name
        or notes).
        """
        return _digest(self, WORDS)

    @property
    def training(self) -> str:
        """A digest of what training depends on, not of what is done with the model then: two rows
        with the same one are one training.
        """
        args = self.method.args
        later = AT_TEST - (
            {"visibility", "visible_above"} if args.get("visibility_in_training") else set()
        )
        trained = replace(self, method=Spec(self.method.name, **args.without(*later)))
        return _digest(trained, (*WORDS, "test", "distance"))


def _digest(recipe: Recipe, without: typing.Iterable[str]) -> str:
    # so that 10 and 10.0 are one number, as they are in a file
    data = to_plain(from_plain(to_plain(recipe)))
    for key in without:
        del data[key]
    data = _renamed(data, FORMER)
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]


def to_plain(value: Any) -> Any:
    """A recipe as dicts, lists, numbers and strings, ready for JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {k: to_plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(v) for v in value]
    return value


def from_plain(data: Mapping[str, Any]) -> Recipe:
    """The recipe that :func:`to_plain` wrote. RecipeError names the first field that does not
    fit.
    """
    recipe: Recipe = _read(Recipe, data, "recipe")
    return recipe


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Plain data with other names of fields, arguments and loss terms."""
    if isinstance(value, Mapping):
        return {names.get(key, key): _renamed(v, names) for key, v in value.items()}
    return [_renamed(v, names) for v in value] if isinstance(value, list) else value


def _read(kind: Any, data: Any, where: str) -> Any:
    """``data`` as a value of type ``kind``; whole numbers pass for floats, lists for tuples,
    nothing else bends.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if data is None and type(None) in inner:
            return None
        return _read(next(k for k in inner if k is not type(None)), data, where)
    if kind is Spec:
        if isinstance(data, Spec | str):
            return data if isinstance(data, Spec) else Spec(data)
        checks.expect(
            isinstance(data, Mapping) and set(data) <= {"name", "args"} and "name" in data,
            where,
            "a name, or {name, args}",
            data,
        )
        args = data.get("args", {})
        checks.expect(
            isinstance(args, Mapping) and all(isinstance(k, str) for k in args),
            f"{where}.args",
            "a table of names and values",
            args,
        )
        checks.text(f"{where}.name", data["name"])
        for argument, value in args.items():  # before it is looked into: lists may nest without end
            checks.argument(f"{where}.{argument}", value)
        return Spec(data["name"], **{_NOW.get(k, k): _plain(v) for k, v in args.items()})
    if kind is Frozen:
        checks.expect(isinstance(data, Mapping), where, "a table of names and values", data)
        data = {_NOW.get(k, k): v for k, v in data.items()}
        spec = where.split(".")[-1] == "cues"
        return Frozen(
            {
                k: _read(Spec, v, f"{where}.{k}") if spec else _read(float, v, f"{where}.{k}")
                for k, v in data.items()
            }
        )
    if is_dataclass(kind):
        checks.expect(isinstance(data, Mapping), where, "a table of fields", data)
        data = {_NOW.get(k, k): v for k, v in data.items()}
        known = typing.get_type_hints(kind)
        for key in data:
            if key not in known:
                raise RecipeError(unknown(f"field of {where}", str(key), known))
        for f in fields(kind):
            if f.name not in data and f.default is MISSING and f.default_factory is MISSING:
                raise RecipeError(
                    f"{where}: the field '{f.name}' is missing; it needs {', '.join(known)}"
                )
        make: Any = kind
        return make(
            **{key: _read(known[key], value, f"{where}.{key}") for key, value in data.items()}
        )
    if origin is tuple:
        checks.expect(isinstance(data, list | tuple), where, "a list", data)
        if inner[-1] is Ellipsis:
            return tuple(_read(inner[0], v, f"{where}.{i}") for i, v in enumerate(data))
        checks.expect(len(data) == len(inner), where, f"{len(inner)} values", data)
        return tuple(
            _read(k, v, f"{where}.{i}") for i, (k, v) in enumerate(zip(inner, data, strict=True))
        )
    if kind is float and type(data) is int:
        return float(data)
    checks.expect(
        type(data) is kind,
        where,
        {"int": "a whole number", "float": "a number", "str": "a text"}.get(
            getattr(kind, "__name__", ""), str(kind)
        ),
        data,
    )
    return data


def _plain(value: Any) -> Any:
    return tuple(_plain(v) for v in value) if isinstance(value, list) else value


@door
def row(base: Recipe, name: str, **changes: Any) -> Recipe:
    """A table row: ``base`` under another name with some fields changed."""
    return replace(base, name=name, **changes)


@door
def with_weights(recipe: Recipe, weights: Mapping[str, float]) -> tuple[Stage, ...]:
    """The recipe's stages with other loss weights."""
    return tuple(replace(stage, weights=Frozen(weights)) for stage in recipe.stages)
