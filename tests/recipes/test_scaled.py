"""Rows at the size of the synthetic benchmark: what makes the row a row survives, all else is
the base's.
"""

import pytest

from partreid.errors import RecipeError
from partreid.labels.schemes import SURFACES
from partreid.recipes import MAIN, ROWS, Recipe, Spec, find

PAPERS = [pytest.param(r, id=r.name) for r in ROWS if not r.name.startswith("synthetic/")]


@pytest.mark.parametrize("recipe", PAPERS)
def test_data_trunk_size_and_plan_are_the_base_s(recipe: Recipe) -> None:
    small, base = find(f"{recipe.name}@demo"), find(f"synthetic/demo/{recipe.method.name}")
    assert small.name == f"{recipe.name}@demo" and small.expect is None and small.start is None
    for field in ("train", "test", "size", "backbone", "precision", "seed"):
        assert getattr(small, field) == getattr(base, field)
    assert small.terms == recipe.terms and len(small.stages) == len(recipe.stages)
    assert sum(s.epochs for s in small.stages) == sum(s.epochs for s in base.stages)
    assert small.distance == recipe.distance and set(small.cues) == set(recipe.cues)
    for cue in small.cues.values():
        assert cue.name in ("surfaces", "stripes", "isp_clusters", "hcga_coparsing", "uv_tiles")
        assert cue.name != "surfaces" or cue.args["parts"] in SURFACES


def test_a_paper_s_main_row_is_the_synthetic_recipe_itself() -> None:
    for method, main in MAIN.items():
        assert find(f"{main.name}@demo").digest == find(f"synthetic/demo/{method}").digest, method


def test_arguments_that_the_row_changes_survive_and_others_are_the_base_s() -> None:
    row = find("isp/table2/occluded_duke/no-visibility@tiny")
    # dim of the base, matching of the row
    assert row.method == Spec("isp", dim=128, part_norm=True, matching="concat")
    assert find("bpbreid/table2/no-visibility@tiny").method == Spec(
        "bpbreid", reduce="none", visibility="none"
    )
    bare = find("hcga/table1/occluded_duke/no-gam@tiny").method.args
    assert bare == {
        "dim": 128,
        "part_norm": True,
        "kept": None,
        "t": None,
        "visibility": "argmax",
    }


def test_labels_of_any_parser_become_surfaces_with_the_row_s_parts() -> None:
    assert find("bpbreid/table1/resnet50/market1501@tiny").cues["parts"] == Spec(
        "surfaces", parts="five"
    )
    assert find("bpbreid/table3/legs@tiny").cues["parts"] == Spec("surfaces", parts="six_new")
    assert find("hcga/table6/occluded_duke/extra-info@tiny").cues["parts"] == Spec(
        "surfaces", parts="three"
    )
    assert find("magnifier/table1/dukemtmc@tiny").cues["parts"] == Spec("surfaces", parts="seven")
    assert find("pcb/bpbreid-table4/gilt@tiny").cues["parts"] == Spec("stripes", stripes=6)


def test_cues_that_learn_keep_what_a_small_trunk_needs() -> None:
    base = find("synthetic/demo/isp").cues["parts"].args
    assert find("isp/figure5/variant1-one-step@demo").cues["parts"] == Spec(
        "isp_clusters", **{**base, "clustering": "one_step"}
    )
    # ISP's labels for HCGA's network
    other = find("hcga/table6/occluded_duke/isp@demo").cues["parts"]
    assert other == Spec("isp_clusters", parts=3, every=2, height=1.0, seeded=True, margin=16)
    tiles = find("synthetic/demo/dsa").cues["uv_tiles"]
    assert find("dsa/noise/heavy@demo").cues["uv_tiles"] == tiles.but(noise="heavy")


def test_weights_scale_with_the_base_s() -> None:
    base = find("synthetic/demo/bpbreid").stages[0].weights
    # parsing 0.7, where the main row has 0.35
    row = find("bpbreid/released/occluded_reid@demo").stages[0].weights
    assert row["parsing"] == pytest.approx(2 * base["parsing"])
    assert row["triplet_foreground"] == 1.0  # a term that neither the main row nor the base has


def test_stages_share_the_base_s_epochs() -> None:
    base = find("synthetic/demo/magnifier").stages
    two, one = (
        find("magnifier/table1/dukemtmc@demo").stages,
        find("magnifier/table2/dukemtmc/g+m@demo").stages,
    )
    assert [s.epochs for s in two] == [s.epochs for s in base]
    assert [s.epochs for s in one] == [sum(s.epochs for s in base)] and one[0].lr == base[0].lr
    off = find("magnifier/control/no-sd@demo").stages
    assert [s.weights["diversity"] for s in off] == [0.0, 0.0]


def test_augmentation_loses_what_the_row_drops() -> None:
    kinds = {
        name: [s.name for s in find(f"dsa/table3/{name}@demo").augment]
        for name in ("baseline", "baseline-re")
    }
    assert kinds == {"baseline": ["crop", "mirror"], "baseline-re": ["crop", "mirror", "erase"]}


def test_sizes_are_named_and_synthetic_rows_have_theirs() -> None:
    with pytest.raises(RecipeError, match="unknown size: 'dmo'. Did you mean 'demo'"):
        find("isp/table1/dukemtmc@dmo")
    with pytest.raises(
        RecipeError, match="is a recipe of the synthetic benchmark already; leave out '@demo'"
    ):
        find("synthetic/tiny/bot@demo")


def test_rows_that_become_one_at_this_size_say_so() -> None:
    for name in (
        "isp/table4/dukemtmc/k6",
        "isp/section4.2/every-2",
        "bpbreid/table1/hrnet_w32/market1501",
    ):
        small = find(f"{name}@small")
        main = MAIN[small.method.name]
        assert small.digest == find(f"{main.name}@small").digest
        assert f"so this row and {main.name} are one and the same at this size" in small.notes
    assert (
        "the cue's parts: parts = 5 is what synthetic/small/isp has anyway"
        in find("isp/table4/dukemtmc/k6@small").notes
    )
    assert (
        "the cue's parts: parts is 5 at this size, not 6"
        in find("isp/table4/dukemtmc/k7@small").notes
    )
    other = find("isp/section4.2/every-5@small")
    assert not any("one and the same" in note for note in other.notes)
    for recipe in (r for r in ROWS if not r.name.startswith("synthetic/")):
        small, main = find(f"{recipe.name}@small"), MAIN[recipe.method.name]
        alike = small.digest == find(f"{main.name}@small").digest and recipe.digest != main.digest
        assert any("one and the same" in note for note in small.notes) == alike, recipe.name
