"""Recipes are frozen data: they survive JSON, check what is set, and everything they name
exists.
"""

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from partreid import build
from partreid.data.registry import BENCHMARKS
from partreid.data.transforms import TRANSFORMS
from partreid.distance import PartDistance
from partreid.errors import RecipeError
from partreid.labels import CUES
from partreid.labels.sources import require
from partreid.layers.trunks import BACKBONES
from partreid.methods import METHODS
from partreid.recipes import (
    RECIPES,
    ROWS,
    Frozen,
    Recipe,
    Spec,
    Stage,
    find,
    from_plain,
    override,
    row,
    to_plain,
)

EVERY = [pytest.param(r, id=r.name) for r in ROWS]
BASE = find("synthetic/tiny/bpbreid")


def bind(what: str, function: Callable[..., Any], spec: Spec, **given: Any) -> Any:
    """Checks a spec's arguments against a function's signature as build does, without calling
    the function.
    """
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
        given = {"self": None, "trunk": None, "identities": 1, "terms": (), "scheme": None}
        assert (
            bind("method", METHODS[recipe.method.name], recipe.method, **given).items()
            >= recipe.method.args.items()
        )
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
        numbers = [
            recipe.expect.rank1,
            recipe.expect.rank5,
            recipe.expect.rank10,
            recipe.expect.mAP,
        ]
        shown = [n for n in numbers if n is not None]
        assert shown and all(1 < n < 100 for n in shown)
        ranks = [n for n in numbers[:3] if n is not None]
        assert ranks == sorted(ranks)


def test_names_are_unique_and_found() -> None:
    assert len(RECIPES) == len(ROWS) and all(find(r.name) is r for r in ROWS)
    with pytest.raises(
        RecipeError,
        match="unknown recipe: 'bpbreid/table2/ful'. Did you mean 'bpbreid/table2/full'",
    ):
        find("bpbreid/table2/ful")


@pytest.mark.parametrize(("table", "rows"), [("table1", 15), ("table2", 4), ("table3", 11)])
def test_every_row_of_bpbreid_s_tables_1_to_3_has_its_published_number(
    table: str, rows: int
) -> None:
    chosen = [r for r in ROWS if r.name.startswith(f"bpbreid/{table}/")]
    assert len(chosen) == rows
    for r in chosen:
        assert (
            r.expect is not None
            and r.expect.mAP is not None
            and f"Table {table[-1]}" in r.expect.where
        )
        assert (
            r.expect.rank1 is not None or r.name == "bpbreid/table2/no-learnable-attention"
        )  # illegible


@pytest.mark.parametrize(("paper", "tables"), [
    ("isp", {"table1": 4, "table2": 2, "table4": 20, "table5": 12, "table6": 3}),
    ("hcga", {"table1": 2, "table3": 2, "table4": 2, "table5": 2, "table6": 12, "table7": 4,
              "table8": 8, "table9": 2, "table10": 4}),
    ("dsa", {"table2": 6, "table3": 10, "table4": 3, "table5": 2}),
    ("magnifier", {"table1": 8, "table2": 12}),
])  # fmt: skip
def test_every_row_of_the_other_papers_tables_has_its_published_number(
    paper: str, tables: dict[str, int]
) -> None:
    numerals = {
        "hcga": {
            "10": "X",
            "9": "IX",
            "8": "VIII",
            "7": "VII",
            "6": "VI",
            "5": "V",
            "4": "IV",
            "3": "III",
            "1": "I",
        }
    }.get(paper, {})
    for table, rows in tables.items():
        chosen = [r for r in ROWS if r.name.startswith(f"{paper}/{table}/")]
        assert len(chosen) == rows, table
        number = table.removeprefix("table")
        for r in chosen:
            assert r.expect is not None and r.expect.rank1 is not None, r.name
            assert f"Table {numerals.get(number, number)}" in r.expect.where, r.name


def test_rows_of_one_table_differ() -> None:
    for table in ("bpbreid/table1", "bpbreid/table2", "bpbreid/table3", "bpbreid/table4"):
        digests = [r.digest for r in ROWS if r.name.startswith(table)]
        assert len(set(digests)) == len(digests) > 1


def usual(recipe: Recipe) -> Recipe:
    """The recipe with the defaults of its method and cues written out."""

    def full(function: Callable[..., Any], spec: Spec) -> Spec:
        known = inspect.signature(function).parameters
        return Spec(
            spec.name,
            **{n: p.default for n, p in known.items() if p.default is not p.empty}
            | dict(spec.args),
        )

    return replace(
        recipe,
        method=full(METHODS[recipe.method.name], recipe.method),
        cues=Frozen({name: full(CUES[spec.name], spec) for name, spec in recipe.cues.items()}),
    )


def test_a_training_is_named_once_and_rows_that_score_it_name_it() -> None:
    """Also where one row leaves a default away and another writes it down."""
    together: dict[str, list[Recipe]] = {}
    for r in ROWS:
        together.setdefault(usual(r).training, []).append(r)
    for rows in together.values():
        (trained,) = (r for r in rows if r.scores is None)
        assert all(
            r.scores == trained.name and r.training == trained.training
            for r in rows
            if r is not trained
        ), trained.name
    assert find("bpbreid/table3/head").scores == "bpbreid/table3/foreground+parts"
    assert len([r for r in ROWS if r.scores is not None]) > 49


@pytest.mark.parametrize(
    ("name", "change", "same"),
    [
        ("bpbreid/table2/full", 'method.described=["head"]', True),
        ("bpbreid/table2/full", "method.visibility=none", True),
        ("bpbreid/table2/full", "method.target=hard", True),
        ("isp/table2/occluded_duke", "method.matching=concat", True),
        ("bpbreid/table2/full", 'test=["market1501"]', True),
        ("bpbreid/table2/full", "method.dim=256", False),
        ("bpbreid/table2/full", "seed=2", False),
        ("bpbreid/table2/full", "cues.parts.parts=five", False),
        ("hcga/table1/occluded_duke", "method.t=3", False),
        ("hcga/table1/occluded_duke", "method.kept=0.5", True),
    ],
)
def test_a_training_is_what_decides_the_weights(name: str, change: str, same: bool) -> None:
    row = find(name)
    assert (override(row, [change]).training == row.training) is same
    assert (
        override(row, [change]).digest != row.digest
        and override(row, ["scores=x"]).digest == row.digest
    )


def test_visibility_belongs_to_the_training_where_it_is_used_there() -> None:
    row = override(find("bpbreid/table2/full"), ["method.visibility_in_training=true"])
    assert override(row, ["method.visibility=none"]).training != row.training


def test_bot_s_numbers_are_those_without_and_with_its_center_loss() -> None:
    published = {
        name: find(name).expect
        for name in (
            "bot/bpbreid-table1/market1501",
            "bot/bpbreid-table1/dukemtmc",
            "bot/center",
            "bot/center/dukemtmc",
        )
    }
    assert [(e.rank1, e.mAP) for e in published.values() if e is not None] == [
        (94.1, 85.7),
        (86.2, 75.9),
        (94.5, 85.9),
        (86.4, 76.4),
    ]
    for name in published:
        assert ("center" in find(name).terms) == name.startswith("bot/center")


def test_table_4_of_bpbreid_has_every_combination_and_pcb_all_without_a_foreground() -> None:
    g, f, c, p = "global", "foreground", "joined", "parts"
    taught = {  # Sec. 4.4.2: identity on, triplet on
        "gilt": ((g, f, c), (p,)),
        "identity-on-parts-only": ((p,), ()),
        "everything": ((g, f, c, p), (g, f, c, p)),
        "identity-only": ((g, f, c, p), ()),
        "triplet-only": ((), (g, f, c, p)),
        "identity-also-on-parts": ((g, f, c, p), (p,)),
        "identity-not-on-global": ((f, c), (p,)),
        "identity-not-on-foreground": ((g, c), (p,)),
        "identity-not-on-joined": ((g, f), (p,)),
        "triplet-also-on-global": ((g, f, c), (g, p)),
        "triplet-also-on-foreground": ((g, f, c), (f, p)),
        "triplet-also-on-joined": ((g, f, c), (c, p)),
        "triplet-also-on-holistic": ((g, f, c), (g, f, c, p)),
    }
    for paper, only in (("bpbreid/table4", ()), ("pcb/bpbreid-table4", (f,))):
        rows = {r.name.removeprefix(paper + "/"): r for r in ROWS if r.name.startswith(paper)}
        assert set(rows) == {name for name in taught if not (only and name.endswith("foreground"))}
        for name, r in rows.items():
            wanted = {
                f"{kind}_{e}"
                for kind, on in zip(("id", "triplet"), taught[name], strict=True)
                for e in on
                if e not in only
            }
            assert set(r.terms) - {"parsing"} == wanted and set(r.stages[0].weights.values()) <= {
                1.0,
                0.35,
            }
            assert (
                r.stages[0].warmup_from == 0.1
                and r.train == "occluded_duke"
                and r.size == (256, 128)
            )
    pcb = find("pcb/bpbreid-table4/gilt")
    assert pcb.method.args["described"] == ("parts",) and pcb.cues["parts"] == Spec(
        "stripes", stripes=6
    )
    numbers = [
        find(f"pcb/bpbreid-table4/{name}").expect for name in ("gilt", "identity-on-parts-only")
    ]
    assert [(e.rank1, e.mAP) for e in numbers if e is not None] == [(54.6, 46.3), (51.2, 40.8)]


def test_extra_information_is_schp_s_with_the_classes_of_lip() -> None:
    rows = [r for r in ROWS if r.name.endswith("extra-info")]
    assert len(rows) == 7
    for r in rows:
        spec = r.cues["parts"]
        assert (
            spec.name == "parsing"
            and spec.args["source"] == "lip"
            and any("SCHP" in note for note in r.notes)
        )
        assert spec.args["parts"] == ("five" if r.name.startswith("isp") else "three")
        require(spec.args["source"], spec.args["parts"])  # raises if LIP could not give them


def test_notes_say_what_is_taken_over_from_the_released_code() -> None:
    for name in (
        "bpbreid/table1/resnet50/market1501",
        "bpbreid/table4/gilt",
        "bpbreid/released/market1501",
    ):
        notes = " ".join(find(name).notes)
        assert "part head normalises" in notes and "15 to 65 %" in notes


def test_synthetic_rows_compare_methods_and_nothing_else() -> None:
    for size in ("tiny", "demo", "full"):
        rows = [find(f"synthetic/{size}/{name}") for name in ("bot", "pcb", "bpbreid")]
        plans = [
            replace(
                r,
                name="",
                notes=(),
                method=Spec("x"),
                cues=Frozen(),
                stages=tuple(replace(s, weights=Frozen()) for s in r.stages),
            )
            for r in rows
        ]
        assert plans[0] == plans[1] == plans[2]


def test_a_whole_number_for_a_float_changes_no_digest() -> None:
    """Otherwise a run begun in Python, whose recipe says 10, could not be resumed from its file,
    which says 10.0.
    """
    one, other = (replace(BASE, stages=(replace(BASE.stages[0], warmup=w),)) for w in (2, 2.0))
    assert one.digest == other.digest == from_plain(to_plain(one)).digest


def test_the_digest_follows_every_number_but_not_the_words() -> None:
    assert replace(BASE, name="other", notes=("x",), expect=None).digest == BASE.digest
    for change in (
        "seed=2",
        "stages.lr=0.5",
        "size=[64,64]",
        "method.dim=7",
        "stages.weights.parsing=0.36",
        "cues.parts.parts=six",
        "precision=bf16-mixed",
    ):
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

    @pytest.mark.parametrize(("change", "message"), [
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
        ("method.dim=1e999", "argument 'dim' of 'bpbreid' must be a finite number|method.dim must "
                             "be a finite number"),
        ("method.dim=[[[[[[1]]]]]]", "must be a number, a text"),
        ("stages.\u00b2.lr=1", "unknown recipe field"),
        ("stages=[]", "every stage needs weights"),
        ("stages.0={}", "the field 'epochs' is missing"),
        ("test=[]", "no data set to test on"),
        ("precision=fp8", "precision must be one of 32-true, bf16-mixed, 16-mixed; got 'fp8'"),
        ("method=3", "recipe.method: expected a name, or {name, args}, got 3"),
    ])  # fmt: skip
    def test_refuses_in_words(self, change: str, message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            override(BASE, [change])


@pytest.mark.parametrize(("change", "message"), [
    ("method.dim=wide", "argument 'dim' of method 'bpbreid': expected a whole number, got 'wide'"),
    ("method.dimm=5", "unknown argument of method 'bpbreid': 'dimm'. Did you mean 'dim'"),
    ("method.visibility=maybe", "'visibility' of method 'bpbreid': expected one of 'threshold', "
                                "'argmax', 'soft', 'no"),
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
def test_build_checks_arguments_against_signatures(change: str, message: str) -> None:
    from partreid.types import PartScheme

    with pytest.raises(RecipeError, match=message):
        build.method(override(BASE, [change]), 4, PartScheme(("a", "b")))


def test_build_checks_transforms_distance_and_scheme() -> None:
    with pytest.raises(RecipeError, match="unknown transform: 'flip'"):
        build.augment(replace(BASE, augment=(Spec("flip"),)))
    with pytest.raises(
        RecipeError, match="argument 'pad' of transform 'crop': expected a whole number, got 0.5"
    ):
        build.augment(replace(BASE, augment=(Spec("crop", pad=0.5),)))
    with pytest.raises(RecipeError, match="needs a part scheme; give it the cue 'parts'"):
        build.method(BASE, 4, None)
    shrunk = override(find("synthetic/tiny/bot"), ["distance.shrink=1.5"])
    # the rest is the method's own
    assert build.method(shrunk, 4, None).distance == PartDistance("cosine", shrink=1.5)
    with pytest.raises(
        RecipeError, match="distance of the recipe: shrink on metric euclidean needs far"
    ):
        build.method(override(shrunk, ["distance.metric=euclidean"]), 4, None)
    with pytest.raises(RecipeError, match="argument 'shrink' of distance"):
        build.method(override(shrunk, ["distance.shrink=much"]), 4, None)
    changed = replace(
        find("synthetic/tiny/bot"), distance=Spec("unit_euclidean", metric="euclidean")
    )
    assert build.method(changed, 4, None).distance == PartDistance("euclidean")


@pytest.mark.parametrize("change", [
    {"epochs": 2.5}, {"epochs": True}, {"epochs": "3"},
    {"batch": (4,)}, {"batch": [4, 4]}, {"batch": (4, 4.0)},
    {"lr": float("nan")}, {"lr": "fast"}, {"lr": None}, {"drop_at": [3]}, {"schedule": 3},
    {"weights": {"parsing": "x"}}, {"weights": 3},
])  # fmt: skip
def test_a_stage_made_by_hand_is_checked_like_one_from_a_file(change: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        replace(BASE.stages[0], **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [
    {"seed": 1.0}, {"seed": None}, {"size": [64, 32]}, {"size": (64,)}, {"method": "bot"},
    {"cues": {"parts": "five"}}, {"stages": [1]}, {"augment": None}, {"start": 3},
    {"distance": "cosine"}, {"notes": "one"}, {"expect": 94.0}, {"test": "market1501"},
])  # fmt: skip
def test_a_recipe_made_by_hand_is_checked_like_one_from_a_file(change: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        replace(BASE, **change)  # type: ignore[arg-type]


def test_every_stage_weighs_the_same_terms() -> None:
    with pytest.raises(
        RecipeError,
        match="every stage needs weights for the same loss terms.*0.0 where a stage does",
    ):
        replace(BASE, stages=(BASE.stages[0], Stage(1, Frozen({"parsing": 1.0}))))
    with pytest.raises(RecipeError, match="every stage needs weights"):
        replace(BASE, stages=())


def test_files_of_before_the_renames_are_read_and_keep_their_digest() -> None:
    recipe = override(find("bot/center"), ["method.center_lr=0.25"])
    former = json.loads(
        json.dumps(to_plain(recipe)).replace("optimizer", "optimiser").replace("center", "centre")
    )
    assert "optimiser" in former["stages"][0] and "centre_lr" in former["method"]["args"]
    again = from_plain(former)
    assert again.digest == recipe.digest and again.terms == recipe.terms
    assert find("bot/center").digest == "e278ca2c6059"  # as before the renames
