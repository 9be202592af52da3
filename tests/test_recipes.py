"""Recipes are frozen data: they survive JSON, check what is set, and everything they name exists."""

import functools
import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from partreid import build
from partreid.cues import CUES
from partreid.data.benchmarks import BENCHMARKS
from partreid.data.transforms import TRANSFORMS
from partreid.distance import PartDistance
from partreid.errors import RecipeError
from partreid.layers.backbones import BACKBONES
from partreid.methods import METHODS
from partreid.recipes import RECIPES, ROWS, Frozen, Recipe, Spec, Stage, find, from_plain, override, row, to_plain

EVERY = [pytest.param(r, id=r.name) for r in ROWS]
BASE = find("synthetic/tiny/bpbreid")


def bind(what: str, function: Callable[..., Any], spec: Spec, **given: Any) -> Any:
    """Checks a spec's arguments against a function's signature as build does, without calling the function."""
    target = vars(function)["__init__"] if isinstance(function, type) else function

    @functools.wraps(target)
    def record(*arguments: Any, **named: Any) -> dict[str, Any]:
        return named

    return build.call(what, record, spec, **given)


@pytest.mark.parametrize("recipe", EVERY)
class TestEveryRow:
    def test_survives_json(self, recipe: Recipe) -> None:
        again = from_plain(json.loads(json.dumps(to_plain(recipe))))
        assert again == recipe and hash(again) == hash(recipe) and again.digest == recipe.digest

    def test_names_things_that_exist_with_arguments_that_fit(self, recipe: Recipe) -> None:
        own = {"self": None, "trunk": None, "identities": 1, "terms": (), "scheme": None}
        assert bind("method", METHODS[recipe.method.name], recipe.method, **own).items() >= recipe.method.args.items()
        bind("backbone", BACKBONES[recipe.backbone.name], recipe.backbone)
        for name, spec in recipe.cues.items():
            bind(f"cue {name}", CUES[spec.name], spec, root=None, samples=())
        for spec in recipe.augment:
            bind("transform", TRANSFORMS[spec.name], spec)
        assert len(build.augment(recipe)) == len(recipe.augment)
        if recipe.distance is not None:
            build.call("distance", PartDistance, recipe.distance)
        assert set(recipe.terms) <= set(METHODS[recipe.method.name].TERMS)
        assert {recipe.train, *recipe.test} <= set(BENCHMARKS)

    def test_expected_numbers_are_percent_and_say_where_they_stand(self, recipe: Recipe) -> None:
        if recipe.expect is None:
            return
        assert "Table" in recipe.expect.where or "Fig" in recipe.expect.where
        numbers = [recipe.expect.rank1, recipe.expect.rank5, recipe.expect.rank10, recipe.expect.mAP]
        shown = [n for n in numbers if n is not None]
        assert shown and all(1 < n < 100 for n in shown)
        ranks = [n for n in numbers[:3] if n is not None]
        assert ranks == sorted(ranks)


def test_names_are_unique_and_found() -> None:
    assert len(RECIPES) == len(ROWS) and all(find(r.name) is r for r in ROWS)
    with pytest.raises(RecipeError, match="unknown recipe: 'bpbreid/table2/ful'. Did you mean 'bpbreid/table2/full'"):
        find("bpbreid/table2/ful")


@pytest.mark.parametrize(("table", "rows"), [("table1", 15), ("table2", 4), ("table3", 11)])
def test_every_row_of_bpbreid_s_tables_1_to_3_has_its_published_number(table: str, rows: int) -> None:
    found = [r for r in ROWS if r.name.startswith(f"bpbreid/{table}/")]
    assert len(found) == rows
    for r in found:
        assert r.expect is not None and r.expect.mAP is not None and f"Table {table[-1]}" in r.expect.where
        assert r.expect.rank1 is not None or r.name == "bpbreid/table2/no-learnable-attention"  # illegible


@pytest.mark.parametrize(("paper", "tables"), [
    ("isp", {"table1": 4, "table2": 2, "table4": 20, "table5": 12, "table6": 3}),
    ("hcga", {"table1": 2, "table3": 2, "table4": 2, "table5": 2, "table6": 12, "table7": 4, "table8": 8, "table9": 2,
              "table10": 4}),
    ("dsa", {"table2": 6, "table3": 10, "table4": 3, "table5": 2}),
    ("magnifier", {"table1": 8, "table2": 12}),
])  # fmt: skip
def test_every_row_of_the_other_papers_tables_has_its_published_number(paper: str, tables: dict[str, int]) -> None:
    numerals = {"hcga": {"10": "X", "9": "IX", "8": "VIII", "7": "VII", "6": "VI", "5": "V", "4": "IV", "3": "III",
                         "1": "I"}}.get(paper, {})
    for table, rows in tables.items():
        found = [r for r in ROWS if r.name.startswith(f"{paper}/{table}/")]
        assert len(found) == rows, table
        number = table.removeprefix("table")
        for r in found:
            assert r.expect is not None and r.expect.rank1 is not None, r.name
            assert f"Table {numerals.get(number, number)}" in r.expect.where, r.name


def test_rows_of_one_table_differ() -> None:
    for table in ("bpbreid/table1", "bpbreid/table2", "bpbreid/table3", "bpbreid/table4"):
        digests = [r.digest for r in ROWS if r.name.startswith(table)]
        assert len(set(digests)) == len(digests) > 1


def test_synthetic_rows_compare_methods_and_nothing_else() -> None:
    for size in ("tiny", "demo", "full"):
        rows = [find(f"synthetic/{size}/{name}") for name in ("bot", "pcb", "bpbreid")]
        plans = [replace(r, name="", notes=(), method=Spec("x"), cues=Frozen(),
                         stages=tuple(replace(s, weights=Frozen()) for s in r.stages)) for r in rows]
        assert plans[0] == plans[1] == plans[2]


def test_a_whole_number_for_a_float_changes_no_digest() -> None:
    """Otherwise a run begun in Python, whose recipe says 10, could not be resumed from its file, which says 10.0."""
    one, other = (replace(BASE, stages=(replace(BASE.stages[0], warmup=w),)) for w in (2, 2.0))
    assert one.digest == other.digest == from_plain(to_plain(one)).digest


def test_the_digest_follows_every_number_but_not_the_words() -> None:
    assert replace(BASE, name="other", notes=("x",), expect=None).digest == BASE.digest
    for change in ("seed=2", "stages.lr=0.5", "size=[64,64]", "method.dim=7", "stages.weights.parsing=0.36",
                   "cues.parts.parts=six", "precision=bf16-mixed"):
        assert override(BASE, [change]).digest != BASE.digest, change


def test_a_recipe_cannot_change() -> None:
    with pytest.raises(FrozenInstanceError):
        BASE.seed = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        BASE.stages[0].weights["parsing"] = 9.0  # type: ignore[index]
    assert row(BASE, "x").name == "x" and BASE.name == "synthetic/tiny/bpbreid"


def test_a_table_that_cannot_change_is_still_a_mapping() -> None:
    frozen = Frozen({"a": 1.0, "b": 2.0})
    assert frozen == {"a": 1.0, "b": 2.0} and hash(frozen) == hash(Frozen({"b": 2.0, "a": 1.0}))
    assert frozen | {"a": 3.0} == {"a": 3.0, "b": 2.0} and frozen.without("a") == {"b": 2.0}


class TestOverride:
    @pytest.mark.parametrize(("change", "read"), [
        ("seed=7", lambda r: r.seed == 7),
        ("stages.lr=0.5", lambda r: all(s.lr == 0.5 for s in r.stages)),
        ("stages.0.lr=1", lambda r: r.stages[0].lr == 1.0 and type(r.stages[0].lr) is float),
        ("stages.batch=[8,2]", lambda r: r.stages[0].batch == (8, 2)),
        ("stages.batch.1=2", lambda r: r.stages[0].batch[1] == 2),
        ("stages.weights.parsing=0", lambda r: r.stages[0].weights["parsing"] == 0),
        ("stages.drop_at=[3,4,5]", lambda r: r.stages[0].drop_at == (3, 4, 5)),
        ("size=[64,32]", lambda r: r.size == (64, 32)),
        ("method.dim=16", lambda r: r.method.args["dim"] == 16),
        ("method.args.dim=16", lambda r: r.method.args["dim"] == 16),
        ("method.visibility=argmax", lambda r: r.method.args["visibility"] == "argmax"),
        ('method.described=["parts"]', lambda r: r.method.args["described"] == ("parts",)),
        ("backbone=resnet50", lambda r: r.backbone == Spec("resnet50")),
        ("backbone.name=resnet50", lambda r: r.backbone.name == "resnet50"),
        ("cues.parts.parts=eight", lambda r: r.cues["parts"] == Spec("surfaces", parts="eight")),
        ("cues.parts=stripes", lambda r: r.cues["parts"] == Spec("stripes")),
        ("augment.0.pad=3", lambda r: r.augment[0].args["pad"] == 3),
        ("augment=[]", lambda r: r.augment == ()),
        ("start=runs/other", lambda r: r.start == "runs/other"),
        ("start=null", lambda r: r.start is None),
        ('test=["market1501","dukemtmc"]', lambda r: r.test == ("market1501", "dukemtmc")),
    ])  # fmt: skip
    def test_reaches_every_depth(self, change: str, read: Callable[[Recipe], bool]) -> None:
        assert read(override(BASE, [change])), override(BASE, [change])

    def test_assignments_follow_one_another_and_leave_the_recipe_alone(self) -> None:
        before = to_plain(BASE)
        assert override(BASE, ["seed=3", "seed=4", "stages.epochs=2"]).seed == 4
        assert to_plain(BASE) == before and override(BASE, []) == BASE

    @pytest.mark.parametrize(("change", "said"), [
        ("stages.epoch=2", "unknown recipe field: 'epoch'. Did you mean 'epochs'"),
        ("sead=2", "unknown recipe field: 'sead'. Did you mean 'seed'"),
        ("stages.epochs=two", r"recipe\.stages\.0\.epochs: expected a whole number, got 'two'"),
        ("stages.epochs=2.5", r"recipe\.stages\.0\.epochs: expected a whole number, got 2\.5"),
        ("stages.epochs=true", "expected a whole number, got True"),
        ("stages.lr=fast", r"recipe\.stages\.0\.lr: expected a number, got 'fast'"),
        ("stages.batch=[4]", r"recipe\.stages\.0\.batch: expected 2 values, got \[4\]"),
        ("stages.batch=4", r"recipe\.stages\.0\.batch: expected a list, got 4"),
        ("stages.weights.parsing=x", r"weights\.parsing: expected a number, got 'x'"),
        ("stages.5.lr=1", r"--set stages\.5\.lr: there is no element 5, only 0\.\.0"),
        ("size.a=3", "'a' must be the number of an element"),
        ("seed.x=3", "'x' has no fields below it"),
        ("seed", "--set needs the form field=value, got 'seed'"),
        ("train=3", r"recipe\.train: expected a text, got 3"),
        ("stages.schedule=linear", "schedule must be one of step, cosine; got 'linear'"),
        ("stages.epochs=0", "epochs must be a whole number from 1 to"),
        ("stages.lr=NaN", "expected a number, got 'NaN'"),
        ("stages.lr=1e400", "lr must be a number from 0 to 1e\\+06, got inf"),
        ("stages.lr=-0.1", "lr must be a number from 0 to"),
        ("stages.epochs=-3", "epochs must be a whole number from 1 to 100000, got -3"),
        ("stages.batch=[0,4]", "each number of batch must be a whole number from 1"),
        ("stages.accumulate=0", "accumulate must be"),
        ("stages.warmup=-1", "warmup must be"),
        ("stages.drop_at=[-1]", "drop_at must be"),
        ("stages.weight_decay=1e9", "weight_decay must be"),
        ("stages.weights.parsing=-1", "the weight of parsing must be"),
        ('stages.weights={"parsing": 0}', "every loss term has the weight 0"),
        ("size=[0,64]", "each number of size must be a whole number from 1 to 4096, got 0"),
        ("size=[64,1000000000]", "each number of size must be"),
        ("seed=-1", "seed must be a whole number from 0 to"),
        ("seed=9223372036854775808", "seed must be a whole number from 0 to 9223372036854775807"),
        ("seed=" + "9" * 5000, "recipe.seed: expected a whole number"),
        ("seed=" + "[" * 100_000, "recipe.seed: expected a whole number"),
        ("method.dim=1e999", "argument 'dim' of 'bpbreid' must be a finite number|method.dim must be a finite number"),
        ("method.dim=[[[[[[1]]]]]]", "must be a number, a text"),
        ("stages.\u00b2.lr=1", "unknown recipe field"),
        ("stages=[]", "every stage needs weights"),
        ("stages.0={}", "the field 'epochs' is missing"),
        ("test=[]", "no data set to test on"),
        ("precision=fp8", "precision must be one of 32-true, bf16-mixed, 16-mixed; got 'fp8'"),
        ("method=3", "recipe.method: expected a name, or {name, args}, got 3"),
    ])  # fmt: skip
    def test_refuses_in_words(self, change: str, said: str) -> None:
        with pytest.raises(RecipeError, match=said):
            override(BASE, [change])


@pytest.mark.parametrize(("change", "said"), [
    ("method.dim=wide", "argument 'dim' of method 'bpbreid': expected a whole number, got 'wide'"),
    ("method.dimm=5", "unknown argument of method 'bpbreid': 'dimm'. Did you mean 'dim'"),
    ("method.visibility=maybe", "'visibility' of method 'bpbreid': expected one of 'threshold', 'argmax', 'soft', 'no"),
    ("method.visible_above=true", "expected a number, got True"),
    ("backbone=resnet", "unknown backbone: 'resnet'. Did you mean 'resnet50'"),
    ("backbone.width=0", "argument 'width' of backbone 'small' must lie from 1 to 4096, got 0"),
    ("backbone.width=400000000", "argument 'width' of backbone 'small' must lie from 1 to 4096"),
    ("backbone.width=4096", "describes a model of .* numbers .*at most"),
    ("method.dim=-5", "argument 'dim' of method 'bpbreid' must lie from 1"),
    ("method.smoothing=1.5", "argument 'smoothing' of method 'bpbreid' must lie from 0 to 1"),
    ("backbone.width=1.5", "argument 'width' of backbone 'small': expected a whole number"),
    ("stages.weights.id_head=1.0", "unknown loss term of bpbreid: 'id_head'"),
])  # fmt: skip
def test_build_checks_arguments_against_signatures(change: str, said: str) -> None:
    from partreid.types import PartScheme

    with pytest.raises(RecipeError, match=said):
        build.method(override(BASE, [change]), 4, PartScheme(("a", "b")))


def test_build_checks_transforms_distance_and_scheme() -> None:
    with pytest.raises(RecipeError, match="unknown transform: 'flip'"):
        build.augment(replace(BASE, augment=(Spec("flip"),)))
    with pytest.raises(RecipeError, match="argument 'pad' of transform 'crop': expected a whole number, got 0.5"):
        build.augment(replace(BASE, augment=(Spec("crop", pad=0.5),)))
    with pytest.raises(RecipeError, match="needs a part scheme; give it the cue 'parts'"):
        build.method(BASE, 4, None)
    shrunk = override(find("synthetic/tiny/bot"), ["distance.shrink=1.5"])
    assert build.method(shrunk, 4, None).distance == PartDistance("cosine", shrink=1.5)  # the rest is the method's own
    with pytest.raises(RecipeError, match="distance of the recipe: shrink on metric euclidean needs far"):
        build.method(override(shrunk, ["distance.metric=euclidean"]), 4, None)
    with pytest.raises(RecipeError, match="argument 'shrink' of distance"):
        build.method(override(shrunk, ["distance.shrink=much"]), 4, None)
    own = replace(find("synthetic/tiny/bot"), distance=Spec("unit_euclidean", metric="euclidean"))
    assert build.method(own, 4, None).distance == PartDistance("euclidean")


@pytest.mark.parametrize("change", [
    {"epochs": 2.5}, {"epochs": True}, {"epochs": "3"}, {"batch": (4,)}, {"batch": [4, 4]}, {"batch": (4, 4.0)},
    {"lr": float("nan")}, {"lr": "fast"}, {"lr": None}, {"drop_at": [3]}, {"schedule": 3},
    {"weights": {"parsing": "x"}}, {"weights": 3},
])  # fmt: skip
def test_a_stage_made_by_hand_is_checked_like_one_from_a_file(change: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        replace(BASE.stages[0], **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [
    {"seed": 1.0}, {"seed": None}, {"size": [64, 32]}, {"size": (64,)}, {"method": "bot"}, {"cues": {"parts": "five"}},
    {"stages": [1]}, {"augment": None}, {"start": 3}, {"distance": "cosine"}, {"notes": "one"}, {"expect": 94.0},
    {"test": "market1501"},
])  # fmt: skip
def test_a_recipe_made_by_hand_is_checked_like_one_from_a_file(change: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        replace(BASE, **change)  # type: ignore[arg-type]


def test_every_stage_weighs_the_same_terms() -> None:
    with pytest.raises(RecipeError, match="every stage needs weights for the same loss terms.*0.0 where a stage does"):
        replace(BASE, stages=(BASE.stages[0], Stage(1, Frozen({"parsing": 1.0}))))
    with pytest.raises(RecipeError, match="every stage needs weights"):
        replace(BASE, stages=())
