"""Every row of every paper builds at its full size and takes real steps at a small one."""

import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid import build
from partreid.cli.base import app
from partreid.errors import DataError, RecipeError
from partreid.experiments.smoke import (
    IMAGES,
    PEOPLE,
    SIZE,
    TRUNK,
    built,
    few,
    shrunk,
    smoke,
    smoked,
)
from partreid.labels.schemes import SURFACES, scheme_of
from partreid.recipes import MAIN, ROWS, Recipe, find, override
from partreid.recipes.base import to_plain
from partreid.train.checkpoint import load_tensors
from partreid.train.journal import read

logging.getLogger("lightning_fabric").setLevel(logging.ERROR)


def firsts(rows: Iterable[Recipe], key: Callable[[Recipe], str]) -> dict[str, Recipe]:
    """The first row of each key."""
    first: dict[str, Recipe] = {}
    for row in rows:
        first.setdefault(key(row), row)
    return first


def small_training(recipe: Recipe) -> str:
    """Rows with the same one smoke by one and the same training."""
    return shrunk(recipe).training


def full_size(recipe: Recipe) -> str:
    """Rows with the same one are the same model at full size, but for the number of people."""
    parts = (recipe.method, build.unfetched(recipe.backbone), recipe.size, recipe.cues)
    return repr((*map(to_plain, parts), recipe.terms))


# Rows of a paper that differ in their data or in what is stored learn the same at a small size: it
# is learned once. The tiny rows come first, so that `make test` finds them by name.
TRAINED = firsts(sorted(ROWS, key=lambda r: "synthetic/tiny/" not in r.name), small_training)
BUILT = firsts((*TRAINED.values(), *ROWS), full_size)
ALONE = [r for r in BUILT.values() if r not in TRAINED.values()]


@pytest.mark.parametrize("recipe", [pytest.param(r, id=r.name) for r in TRAINED.values()])
def test_every_training_builds_and_takes_two_steps_of_every_stage(
    recipe: Recipe, world: Path, tmp_path: Path
) -> None:
    result = smoke(recipe, world, tmp_path / "run")
    steps = [entry for entry in read(tmp_path / "run" / "journal.jsonl") if "loss" in entry]
    assert [entry["stage"] for entry in steps] == [
        n for n in range(len(recipe.stages)) for _ in range(2)
    ]
    assert result.steps == len(steps) and result.stages == len(recipe.stages)
    assert set(result.terms) == set(recipe.terms) and result.built.size == recipe.size
    assert all(entry["lr"] > 0 for entry in steps)


@pytest.mark.parametrize("recipe", [pytest.param(r, id=r.name) for r in ALONE])
def test_every_other_full_size_builds(recipe: Recipe) -> None:
    assert built(recipe).size == recipe.size


@pytest.mark.parametrize("recipe", [pytest.param(r, id=r.name) for r in ROWS])
def test_every_row_is_one_of_these(recipe: Recipe) -> None:
    """What smokes for a row has its method, its terms and its stages; its cues are known."""
    one = TRAINED[small_training(recipe)]
    assert full_size(recipe) in BUILT
    assert set(build.cues(recipe, build.empty(recipe.train))) == set(recipe.cues)
    assert one.method.name == recipe.method.name and len(one.stages) == len(recipe.stages)
    assert set(one.terms) == set(recipe.terms) == set(shrunk(recipe).terms)
    assert set(one.cues) == set(recipe.cues)


def test_the_full_size_is_the_real_model_s() -> None:
    """Counted on the meta device as in memory: a trunk and a classifier of the data set's
    people.
    """
    recipe = find("synthetic/demo/bpbreid")
    method = build.method(recipe, 150, scheme_of(SURFACES["five"]))
    full = built(recipe)
    assert full.parameters == sum(p.numel() for p in method.parameters())
    assert full.described == (6, 8 * 24)  # foreground and five parts of the small trunk's channels
    assert 30e6 < built(find("bpbreid/table2/full")).parameters < 31e6


def test_what_does_not_fit_the_row_is_found_without_its_data() -> None:
    with pytest.raises(RecipeError, match="unknown argument of method 'isp': 'dimm'"):
        built(override(MAIN["isp"], ["method.dimm=3"]))
    with pytest.raises(RecipeError, match="unknown PifPaf grouping: 'nine'"):
        built(override(MAIN["bpbreid"], ["cues.parts.parts=nine"]))
    with pytest.raises(RecipeError, match="bpbreid has no embedding 'tail'"):
        built(override(MAIN["bpbreid"], ['method.described=["tail"]']))


def test_changes_of_the_row_reach_the_small_one() -> None:
    row = override(find("isp/table1/dukemtmc"), ["method.matching=concat", "stages.epochs=7"])
    small = shrunk(row)
    assert small.method.args["matching"] == "concat" and (small.train, small.size) == (
        "synthetic-tiny",
        SIZE,
    )
    assert (
        small.backbone == TRUNK
        and small.stages[0].batch == (PEOPLE, IMAGES // 2)
        and small.stages[0].epochs == 1
    )


def test_a_synthetic_row_is_its_own_small_one() -> None:
    full = find("synthetic/full/magnifier")
    small = shrunk(full)
    assert (
        small.method == full.method
        and small.cues == full.cues
        and small.precision == full.precision
    )
    assert [s.weights for s in small.stages] == [s.weights for s in full.stages]
    row = find("dsa/table4/csa@demo")
    assert (
        shrunk(row).cues
        == row.cues
        == {"uv_tiles": find("synthetic/demo/dsa").cues["uv_tiles"].but(source="coarse")}
    )


def test_a_loss_that_is_not_finite_is_refused(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "partreid.train.loop.weighted_sum", lambda terms, weights: torch.tensor(float("nan"))
    )
    with pytest.raises(ValueError, match="the loss is nan at step 1"):
        smoke(MAIN["bot"], world, tmp_path / "run")


def test_on_the_command_line(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    app(
        ["train", "magnifier/table1/dukemtmc", "--smoke", "--data", str(world), "--out", str(run)],
        result_action="return_value",
    )
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "magnifier/table1/dukemtmc: 67.8 M parameters at 384 x 192 build and describe an image by "
    )
    assert "4 small steps of 2 stages: id_global " in line and "diversity" in line
    assert load_tensors(run / "model.safetensors")[1]["steps"] == 4


def test_without_data_people_are_drawn(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    drawn: list[Path] = []

    def write(preset: object, root: Path, **options: object) -> Path:
        drawn.append(root)
        assert options["iuv"] is True
        return world

    monkeypatch.setattr("partreid.experiments.smoke.write", write)
    result = smoked(MAIN["bot"], None, None)
    assert result.steps == 2 and not drawn[0].parent.exists()  # the folder was temporary


@pytest.fixture()
def market(world: Path, tmp_path: Path) -> Path:
    """The tiny world's images as a Market-1501 of its own, without labels."""
    root = tmp_path / "market"
    for folder in ("bounding_box_train", "bounding_box_test", "query"):
        shutil.copytree(world / folder, root / folder)
    return root


def test_a_row_smokes_on_a_few_images_of_its_own_data(market: Path, tmp_path: Path) -> None:
    result = smoked(MAIN["bot"], market, tmp_path / "run")
    assert (
        result.on == "market1501"
        and "after 2 small steps on 8 images of market1501: id_global" in str(result)
    )
    assert load_tensors(tmp_path / "run" / "model.safetensors")[1]["identities"] == PEOPLE
    # it makes its own labels
    isp = smoked(override(MAIN["isp"], ["train=market1501"]), market, None)
    assert isp.on == "market1501" and isp.terms["parsing"] > 0


def test_labels_are_looked_for_beside_the_data(market: Path, tmp_path: Path) -> None:
    row = find("bpbreid/table1/resnet50/market1501")
    with pytest.raises(
        DataError, match=r"8 of 8 training images have no label in .*market.masks.pifpaf"
    ):
        smoked(row, market, None)
    folder = market / "masks" / "pifpaf_maskrcnn_filtering" / "bounding_box_train"
    folder.mkdir(parents=True)
    chosen = few(build.benchmark("market1501", market))
    for sample in chosen:
        np.save(
            folder / f"{sample.path.stem}.npy",
            np.random.default_rng(1).random((36, 17, 9), np.float32),
        )
    assert len(chosen) == PEOPLE * IMAGES and smoked(row, market, None).terms["parsing"] > 0
    released = smoked(find("bpbreid/released/market1501"), market, None)
    assert released.terms["parsing"] > 0 and released.on == "market1501"


def test_too_few_images_of_a_person_are_said(market: Path) -> None:
    seen: set[str] = set()
    for path in sorted((market / "bounding_box_train").iterdir()):
        if path.name[:4] in seen:
            path.unlink()
        seen.add(path.name[:4])
    with pytest.raises(
        DataError, match="market1501 has 0 people with 4 training images or more, .* needs 2; leave"
    ):
        smoked(MAIN["bot"], market, None)
