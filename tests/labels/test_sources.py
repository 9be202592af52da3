"""What each parser can give: nothing claimed twice, nothing forgotten, and what is missing is
said by name.
"""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from partreid.errors import RecipeError
from partreid.labels.keypoints import keypoint_labels
from partreid.labels.parsing import parsing_labels
from partreid.labels.schemes import SETS, SURFACES
from partreid.labels.sources import (
    ISP_MASKS,
    SOURCES,
    Report,
    find_source,
    isp_masks,
    mirrored,
    report,
    require,
    source_of,
)
from partreid.recipes import find, override

rows = pytest.mark.parametrize(
    ("name", "parts"), [(name, parts) for name, source in SOURCES.items() for parts in source.sets]
)
DOCS = Path(__file__).parents[2] / "docs" / "labels.md"


@rows
def test_every_class_is_in_one_part_or_accounted_for(name: str, parts: str) -> None:
    source = SOURCES[name]
    assert tuple(source.sets[parts]) == SETS[parts]
    members = [c for group in source.sets[parts].values() for c in group]
    assert len(members) == len(set(members)) and 0 not in members
    sideless = (
        {c for group in source.sideless.values() for c in group} if parts == "eight" else set()
    )
    assert not sideless & set(members)
    assert set(members) | sideless | set(source.accessories) == set(range(1, len(source.classes)))


@pytest.mark.parametrize("name", list(SOURCES))
def test_sides_follow_the_names(name: str) -> None:
    source = SOURCES[name]
    twin = {"left": "right", "right": "left"}

    def other(label: str) -> str:
        return re.sub(r"left|right", lambda m: twin[m[0]], label.lower())

    for c, label in enumerate(source.classes):
        if other(label) in [known.lower() for known in source.classes]:
            assert source.classes[source.flip[c]].lower() == other(label)
        else:
            assert source.flip[c] == c
    assert [source.flip[c] for c in source.flip] == list(range(len(source.classes)))


@rows
def test_mirrored_classes_are_mirrored_parts(name: str, parts: str) -> None:
    """Left classes lie in left parts, so that either may be swapped first."""
    where = {c: part for part, classes in SOURCES[name].sets[parts].items() for c in classes}
    swap = {"left": "right", "right": "left"}
    for c, part in where.items():
        side, _, rest = part.partition("_")
        assert where[SOURCES[name].flip[c]] == (f"{swap[side]}_{rest}" if side in swap else part)


def test_mirrored_turns_and_swaps() -> None:
    labels = np.array([[14, 0, 5], [18, 9, 16]], np.uint8)
    assert mirrored(labels, "lip").tolist() == [[5, 0, 15], [17, 9, 19]]
    with pytest.raises(RecipeError, match="unknown parsing source: 'lips'. Did you mean 'lip'"):
        mirrored(labels, "lips")


def test_densepose_rows_are_our_own_surfaces_without_belongings() -> None:
    for name, groups in SOURCES["densepose24"].sets.items():
        if name not in ("five", "five_v"):  # "five" of surfaces cuts legs at the knee
            assert groups == {
                part: tuple(c for c in classes if c < 25)
                for part, classes in SURFACES[name].items()
            }


@pytest.mark.parametrize(
    ("name", "parts", "verdict", "missing", "guessed"),
    [
        ("lip", "three", "exact", (), ()),
        ("lip", "five", "lossy", (), ()),
        ("lip", "seven", "cannot", ("upper_arm",), ()),
        ("lip", "eight", "lossy", (), ("left_arm", "right_arm", "left_leg", "right_leg")),
        ("atr", "eight", "lossy", (), ("left_leg", "right_leg")),
        ("atr", "five_v", "lossy", (), ("upper", "lower")),
        ("pascal", "five", "cannot", ("feet",), ()),
        (
            "pascal",
            "eight",
            "cannot",
            ("left_arm", "right_arm", "left_leg", "right_leg", "left_foot", "right_foot"),
            (),
        ),
        ("sapiens", "seven", "lossy", (), ()),
        ("densepose24", "seven", "exact", (), ()),
        ("densepose24", "five_v", "lossy", (), ("upper", "lower")),
        ("densepose14", "regions", "exact", (), ()),
        ("lip", "regions", "cannot", SETS["regions"], ()),
        ("parts", "eight", "exact", (), ()),
    ],
)
def test_reports(
    name: str, parts: str, verdict: str, missing: tuple[str, ...], guessed: tuple[str, ...]
) -> None:
    summary = report(name, parts)
    assert (summary.verdict, summary.missing, summary.guessed) == (verdict, missing, guessed)


def test_u_makes_the_torso_s_cut_exact_for_the_24_surfaces_alone() -> None:
    assert report("densepose24", "five_v", uv=True) == Report((), (), "")
    assert report("densepose14", "five_v", uv=True).verdict == "lossy"


def test_refusals_name_the_parts_and_the_ways_out() -> None:
    with pytest.raises(
        RecipeError,
        match=r"source 'lip' cannot give upper_arm of the part set 'seven'.*another set "
        r"that it gives in full \(three, five, five_v, eight\); or another source "
        r"\(sapiens, densepose24, densepose14\); or allow_missing_parts=true",
    ):
        require("lip", "seven")
    assert require("lip", "seven", allow_missing_parts=True).missing == ("upper_arm",)
    with pytest.raises(
        RecipeError,
        match="cannot give left_arm, right_arm, left_leg, right_leg, left_foot, right_f",
    ):
        require("pascal", "eight")


def test_a_set_without_a_row_cannot_be_allowed() -> None:
    with pytest.raises(
        RecipeError, match=r"cannot give torso, hand.*another source \(densepose24, densepose14\)$"
    ):
        require("lip", "regions", allow_missing_parts=True)


def test_accessories_need_a_source_that_knows_them() -> None:
    with pytest.raises(
        RecipeError, match=r"source 'lip' knows no bags.*take a source that does \(atr, sapiens\)"
    ):
        require("lip", "five", "torso")
    with pytest.raises(
        RecipeError, match="source 'lip' cannot give accessories of the part set 'five'"
    ):
        require("lip", "five", "own")
    assert require("lip", "five", "own", allow_missing_parts=True).missing == ("accessories",)
    assert require("atr", "five", "own").missing == ()
    with pytest.raises(
        RecipeError, match="unknown place for accessories: 'bag'. Known: background, own, torso"
    ):
        require("atr", "five", "bag")  # type: ignore[arg-type]


def test_unknown_names() -> None:
    with pytest.raises(
        RecipeError, match=r"unknown parsing source: 'atl'\. Did you mean 'atr'.*parts"
    ):
        source_of("atl", "five")
    with pytest.raises(RecipeError, match=r"unknown part set: 'nine'"):
        report("lip", "nine")
    with pytest.raises(RecipeError, match=r"unknown part set: 'nine'"):
        source_of("parts", "nine")
    with pytest.raises(RecipeError, match="unknown parsing source: 'parts'"):
        find_source("parts")


def test_labels_that_are_parts_already() -> None:
    source = source_of("parts", "eight")
    assert source.classes == ("background", *SETS["eight"]) and source.swap == (
        (2, 3),
        (5, 6),
        (7, 8),
    )


def test_isp_masks_overlap_nothing_but_the_foreground() -> None:
    labels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    masks = isp_masks(labels, "lip")
    assert tuple(masks) == ISP_MASKS and np.array_equal(masks["foreground"], labels > 0)
    assert not (masks["head"] & masks["legs"] | masks["legs"] & masks["shoes"]).any()
    assert not (masks["head"] | masks["legs"] | masks["shoes"])[labels == 6].any()  # a dress


def test_the_table_in_the_docs_is_the_program_s() -> None:
    """Rows are sources, columns are sets; a cell begins with the verdict and names every missing
    part.
    """
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in DOCS.read_text().splitlines()
        if line.startswith("|")
    ]
    sets = [cell.strip("`") for cell in next(line for line in lines if "`five_v`" in line)[1:]]
    assert sets == list(SETS)
    shown = {
        line[0].strip("`"): line[1:]
        for line in lines
        if line[0].strip("`") in SOURCES and len(line) == len(SETS) + 1
    }
    assert list(shown) == list(SOURCES)
    for name, cells in shown.items():
        for parts, cell in zip(sets, cells, strict=True):
            summary = report(name, parts, uv=True)
            assert cell.startswith(summary.verdict), (name, parts)
            if summary.missing and not summary.absent and parts != "eight":
                assert all(part in cell for part in summary.missing), (name, parts)


def test_what_the_docs_show_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python block prints what its comments say; the commands name recipes, cues and
    arguments that exist.
    """
    text = DOCS.read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, str(DOCS), "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"#\s*(.*)", code)
    commands = re.findall(r"^partreid train (\S+) (.*)$", text, re.MULTILINE)
    assert len(commands) == 2
    for recipe, rest in commands:
        spec = override(find(recipe), re.findall(r"--set (\S+)", rest)).cues["parts"]
        cue = {"parsing": parsing_labels, "keypoints": keypoint_labels}[spec.name]
        inspect.signature(cue).bind(Path(), [], **spec.args)
        if spec.name == "parsing":
            assert report(spec.args["source"], spec.args["parts"]).verdict == "lossy"
