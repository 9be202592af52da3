"""What cannot learn is refused before training; a run goes on with a longer plan, and never with
other people.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from partreid.errors import DataError, PartReidError, RecipeError
from partreid.recipes import Recipe, Spec
from partreid.train.checkpoint import load_tensors
from partreid.train.loop import Options, train
from partreid.train.plan import data_digest, require_learnable, require_same_data, require_same_past
from partreid.train.run import TrainState
from partreid.types import Benchmark, Sample

Toy = Callable[..., Recipe]


def people(root: str, count: int, images: int = 2) -> Benchmark:
    return Benchmark(
        "own",
        Path(root),
        tuple(
            Sample(Path(root) / f"{i}_{k}.jpg", i, k)
            for i in range(1, count + 1)
            for k in range(1, images + 1)
        ),
        {},
        (),
    )


@pytest.mark.parametrize(
    ("ids", "change", "processes", "message"),
    [
        ([0] * 8, "stages.batch=[1,4]", 1, "one person alone"),
        ([0] * 8, "stages.batch=[4,2]", 1, "one person alone"),
        (
            [0, 0, 1, 1],
            "stages.batch=[1,4]",
            1,
            r"two people in a batch; batch is \[1,4\]: set .*batch=\[2,4\]",
        ),
        ([0, 0, 1, 1], "stages.batch=[2,1]", 1, r"two images of a person .*batch=\[2,2\]"),
        ([0, 0, 1, 1], "stages.batch=[2,2]", 2, r"each of 2 processes; .*batch=\[4,2\]"),
        ([0, 0, 1, 1], "stages.batch=[1,1]", 1, "one image"),
        ([0, 1, 2, 3], "stages.batch=[4,2]", 1, "one of each of its 4 people"),
    ],
)
def test_what_cannot_learn_is_refused(
    ids: list[int], change: str, processes: int, message: str, toy: Toy
) -> None:
    with pytest.raises(PartReidError, match=message):
        require_learnable(toy("bot", change), ids, processes)


def test_without_a_triplet_one_image_of_each_person_is_enough(toy: Toy) -> None:
    recipe = toy("bot", "stages.weights.triplet_global=0", "stages.batch=[2,1]")
    require_learnable(recipe, [0, 1, 2])
    with pytest.raises(PartReidError):
        require_learnable(recipe, [0, 0, 0])


def test_a_set_of_one_person_is_said_before_anything_is_written(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    one = replace(
        benchmark,
        train=tuple(s for s in benchmark.train if s.identity == benchmark.train[0].identity),
    )
    with pytest.raises(DataError, match="one person alone"):
        train(toy("bot", "stages.batch=[1,4]"), one, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_digest_of_data_does_not_depend_on_where_they_lie() -> None:
    here = data_digest(people("/a", 3))
    assert here == data_digest(people("/b/c", 3)) and (
        here["people"],
        here["images"],
        here["cameras"],
    ) == (3, 6, 2)
    first = people("/a", 3).train[0]
    for other in (
        replace(first, identity=9),
        replace(first, camera=2),
        replace(first, path=Path("/a/other.jpg")),
    ):
        changed = replace(people("/a", 3), train=(other, *people("/a", 3).train[1:]))
        assert data_digest(changed)["digest"] != here["digest"], other


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (people("/a", 4), "3 people then, 4 now; 6 images then, 8 now"),
        (people("/a", 3, 3), "6 images then, 9 now; 2 cameras then, 3 now"),
        (
            replace(
                people("/a", 3),
                root=Path("/"),
            ),
            "as many people, images and cameras, but other names or identities",
        ),
    ],
)
def test_other_data_are_told_by_what_changed(now: Benchmark, message: str) -> None:
    with pytest.raises(DataError, match=message):
        require_same_data(Path("runs/x"), data_digest(people("/a", 3)), data_digest(now))


@pytest.mark.parametrize("added", [True, False])
def test_a_run_does_not_go_on_with_other_people(
    added: bool, benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    train(toy("bot"), benchmark, tmp_path, Options(stop_after=2))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    first = benchmark.train[0]
    others = tuple(
        replace(s, identity=999)
        if s.identity == first.identity and (not added or s == first)
        else s
        for s in benchmark.train
    )
    with pytest.raises(DataError, match="begun with other training data"):
        train(toy("bot"), replace(benchmark, train=others), tmp_path, Options(resume=True))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("before", "now", "place", "fine"), [
    (("stages.epochs=4",), ("stages.epochs=9",), TrainState(0, 2, 3, 9), True),
    (("stages.epochs=4",), ("stages.epochs=9",), TrainState(0, 4, 0, 20), True),  # finished
    (("stages.epochs=4",), ("stages.epochs=2",), TrainState(0, 2, 0, 9), True),  # enough
    (("stages.epochs=4",), ("stages.epochs=2",), TrainState(0, 2, 1, 9), False),
    (("stages.epochs=4",), ("stages.epochs=4", "stages.drop_at=[3]"), TrainState(0, 3, 0, 9), True),
    (("stages.epochs=4",), ("stages.epochs=4", "stages.drop_at=[2]"),
     TrainState(0, 3, 0, 9), False),
    (("stages.epochs=4",), ("stages.epochs=9", "stages.warmup=3"), TrainState(0, 2, 0, 9), False),
    (("stages.epochs=4",), ("stages.epochs=9", "seed=2"), TrainState(0, 2, 0, 9), False),
    (("stages.epochs=4",), ("stages.epochs=9", "stages.lr=0.1"), TrainState(0, 2, 0, 9), False),
    (("stages.epochs=9", "stages.warmup=3"), ("stages.epochs=12", "stages.warmup=3"),
     TrainState(0, 3, 0, 9), True),
])  # fmt: skip
@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_a_plan_may_change_only_what_has_not_come_yet(
    schedule: str,
    before: tuple[str, ...],
    now: tuple[str, ...],
    place: TrainState,
    fine: bool,
    toy: Toy,
) -> None:
    common = [f"stages.schedule={schedule}", "stages.drop_at=[]", "stages.warmup=1"]
    a, b = (toy("bot", *common, *change) for change in (before, now))
    if (
        schedule == "cosine"
        and a.stages[0].epochs != b.stages[0].epochs
        and a.stages[0].warmup < place.epoch
    ):
        fine = False  # it falls towards the planned end
    if fine:
        require_same_past(Path("runs/x"), a, b, place)
        return
    with pytest.raises(RecipeError, match="runs/x"):
        require_same_past(Path("runs/x"), a, b, place)


def test_a_cosine_names_the_way_that_is_left(toy: Toy) -> None:
    short, long = (
        toy("bot", "stages.schedule=cosine", "stages.warmup=0", f"stages.epochs={n}")
        for n in (2, 4)
    )
    with pytest.raises(
        RecipeError, match="a cosine falls towards the planned end.*--out NEW --set start=runs/x"
    ):
        require_same_past(Path("runs/x"), short, long, TrainState(0, 1, 0, 5))
    require_same_past(Path("runs/x"), short, long, TrainState())  # nothing trained yet


def test_a_finished_run_goes_on_to_the_longer_plan_as_if_that_had_been_the_plan(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    short = toy("bot", "stages.epochs=1", "stages.schedule=step")
    long = toy("bot", "stages.epochs=2", "stages.schedule=step")
    train(short, benchmark, tmp_path / "grown")
    train(long, benchmark, tmp_path / "grown", Options(resume=True))
    train(long, benchmark, tmp_path / "whole")
    a, b = (load_tensors(tmp_path / name / "model.safetensors") for name in ("grown", "whole"))
    assert all(a[0][name].equal(tensor) for name, tensor in b[0].items()) and a[1] == b[1]
    assert a[1]["data"] == data_digest(benchmark)
    with pytest.raises(RecipeError, match="begun with another recipe"):
        train(
            replace(long, augment=(Spec("mirror"),)),
            benchmark,
            tmp_path / "grown",
            Options(resume=True),
        )
