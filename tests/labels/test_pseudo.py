"""Labels that are made anew as a network learns: rounds, memory of them, fallbacks, processes,
and whole trainings.
"""

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmarks.people import person
from partreid import build
from partreid.data.loader import TrainSet, train_loader
from partreid.data.sampler import IdentitySampler
from partreid.data.transforms import crop, erase, mirror
from partreid.errors import DataError, RecipeError, ShapeError
from partreid.labels.pseudo import Labelled, PseudoLabels, State, _kept
from partreid.methods.hcga import coparsing as hcga_labels
from partreid.methods.isp import labels as isp_labels
from partreid.recipes import Recipe
from partreid.train.checkpoint import load_tensors
from partreid.train.journal import read
from partreid.train.loop import Options, train
from partreid.types import Sample

Maps = tuple[Tensor, Tensor, Tensor]
PEOPLE, IMAGES, GRID = 4, 5, (16, 8)
SAMPLES = tuple(
    Sample(Path(f"{p}-{i}.jpg"), p + 1, 1 + i % 2) for i in range(IMAGES) for p in range(PEOPLE)
)


def people(noise: float = 0.0, rank: int = 0, world: int = 1) -> Callable[[], Iterator[Maps]]:
    """A stream over four made-up people; samples of one person are not neighbours."""

    def stream() -> Iterator[Maps]:
        for p in range(rank, PEOPLE, world):
            f, _, cameras = person(IMAGES, 24, GRID, 2, seed=p)
            f = f * (1 + noise * torch.randn(f.shape, generator=torch.Generator().manual_seed(p)))
            yield torch.arange(p, len(SAMPLES), PEOPLE), cameras, f

    return stream


def isp(**options: Any) -> PseudoLabels:
    return isp_labels.isp_clusters(Path(), SAMPLES, parts=4, **options)


def hcga(**options: Any) -> PseudoLabels:
    return hcga_labels.hcga_coparsing(Path(), SAMPLES, **options)


BOTH = pytest.mark.parametrize("make", [isp, hcga])


@BOTH
def test_a_round_labels_every_image_and_says_how(make: Callable[..., PseudoLabels]) -> None:
    cue = make()
    with pytest.raises(DataError, match="none before the first refresh"):
        cue[0]
    diagnostics = cue.refresh(0, people())
    assert diagnostics is not None
    assert (diagnostics["people"], diagnostics["images"], diagnostics["agreement"]) == (
        PEOPLE,
        len(SAMPLES),
        None,
    )
    assert cue[0].shape == GRID and cue[0].dtype == np.uint8
    assert set(np.unique(cue.labels)) <= set(range(cue.scheme.K + 1))
    labels = cue.labels
    assert labels is not None
    assert diagnostics["foreground_share"] == pytest.approx(
        float((labels > 0).float().mean()), abs=1e-4
    )
    shown = [len(set(image.unique().tolist()) - {0}) for image in labels]
    assert diagnostics["parts_per_image"] == pytest.approx(np.mean(shown), abs=1e-3)
    first = labels.clone()
    again = cue.refresh(1, people(0.1))
    assert again is not None and cue.labels is not None
    person = (first > 0) | (cue.labels > 0)
    assert again["agreement"] == pytest.approx(
        float((first == cue.labels)[person].float().mean()), abs=1e-4
    )
    assert 0 <= again["renumbered"] <= 1


def test_agreement_is_of_people_and_parts_that_change_their_numbers_are_told() -> None:
    before = torch.tensor([[[0, 0, 0, 0], [0, 1, 1, 0], [0, 2, 2, 0]]], dtype=torch.uint8)
    shifted, swapped, unknown = before.roll(1, 2), before.clone(), before.clone()
    swapped[before == 1], swapped[before == 2] = 2, 1
    unknown[:, 1] = 255
    assert _kept(before, before) == {"compared": 4, "same": 4, "followed": 1, "renumbered": 0}
    assert _kept(shifted, before) == {"compared": 6, "same": 2, "followed": 1, "renumbered": 0}
    assert _kept(swapped, before) == {"compared": 4, "same": 0, "followed": 1, "renumbered": 1}
    assert _kept(unknown, before)["compared"] == 2
    assert _kept(before * 0, before * 0)["compared"] == 0


def test_cadence() -> None:
    cue, seen = isp(every=3, until=7), []
    for epoch in range(10):
        seen.append(cue.refresh(epoch, people(0.01 * epoch)) is not None)
    assert [epoch for epoch, new in enumerate(seen) if new] == [0, 3, 6]
    late = isp(every=5)
    assert late.refresh(2, people()) is not None  # the first epoch needs labels, due or not


def test_state_comes_back_and_the_next_round_is_the_same() -> None:
    one = isp()
    one.refresh(0, people())
    two = isp()
    two.restore({name: t.clone() for name, t in one.state().items()})
    assert set(one.state()) == {"labels", "centers"} and torch.equal(one.labels, two.labels)  # type: ignore[arg-type]
    reports = [cue.refresh(1, people(0.1)) for cue in (one, two)]
    assert torch.equal(one.labels, two.labels)  # type: ignore[arg-type]
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in reports if r] == [
        {k: v for k, v in reports[0].items() if k != "seconds"}
    ] * 2  # type: ignore[union-attr]
    isp().restore({})  # a checkpoint from before the first round
    with pytest.raises(DataError, match="labels of 3 images, the training set has 20"):
        isp().restore({"labels": torch.zeros(3, 2, 2, dtype=torch.uint8)})


def test_a_round_that_fails_leaves_the_last_one() -> None:
    cue = isp()
    cue.refresh(0, people())
    before = cue.labels.clone()  # type: ignore[union-attr]

    def broken() -> Iterator[Maps]:
        yield next(people(3.0)())
        raise OSError("a crop is gone")

    with pytest.raises(OSError, match="gone"):
        cue.refresh(1, broken)
    assert torch.equal(cue.labels, before)  # type: ignore[arg-type]


def test_wrong_labels_and_settings_are_said() -> None:
    def wide(f: Tensor, cameras: Tensor, state: State | None) -> Labelled:
        return Labelled(torch.zeros(len(f), 3, 3, dtype=torch.uint8))

    with pytest.raises(
        ShapeError, match=r"labels must be uint8 \[5, 16, 8\], got torch.uint8 \[5, 3, 3\]"
    ):
        PseudoLabels(SAMPLES, 2, wide).refresh(0, people())
    with pytest.raises(RecipeError, match="every >= 1"):
        isp(every=0)
    with pytest.raises(RecipeError, match="3 or 5 cells wide, got 4"):
        hcga(window=4)


def watch(cue: PseudoLabels, ask: Any, answer: Any) -> None:
    while ask.recv():
        answer.send(cue[0].copy())


def test_running_workers_see_a_new_round() -> None:
    cue = isp()
    cue.refresh(0, people())
    context = multiprocessing.get_context("fork")
    (ask_there, ask), (answer, answer_there) = context.Pipe(False), context.Pipe(False)
    worker = context.Process(target=watch, args=(cue, ask_there, answer_there))
    worker.start()
    for epoch in (1, 2):
        ask.send(True)
        assert np.array_equal(answer.recv(), cue[0])
        before = cue[0].copy()
        cue.refresh(epoch, people(2.0 * epoch))
        assert not np.array_equal(before, cue[0])
        ask.send(True)
        assert np.array_equal(answer.recv(), cue[0])
    ask.send(False)
    worker.join(10)
    assert worker.exitcode == 0


# Labels and augmentation.


def test_labels_move_with_the_image_unless_told_not_to(tmp_path: Path) -> None:
    """Crop and erase blank pixels of a bright picture; the labels of a bright picture go with
    them.
    """
    samples = []
    for i in range(8):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (32, 64), (255, 255, 255)).save(path)
        samples.append(Sample(path, i // 4 + 1, 1))

    def left_half(f: Tensor, cameras: Tensor, state: State | None) -> Labelled:
        labels = torch.ones(len(f), 64, 32, dtype=torch.uint8)
        labels[:, :, 16:] = 2
        return Labelled(labels)

    def stream() -> Iterator[Maps]:
        for p in range(2):
            yield torch.arange(4 * p, 4 * p + 4), torch.ones(4), torch.zeros(4, 1, 64, 32)

    for aligned in (True, False):
        cue = PseudoLabels(samples, 2, left_half, aligned=aligned)
        cue.refresh(0, stream)
        dataset = TrainSet(
            samples,
            [0] * 4 + [1] * 4,
            (64, 32),
            [crop(6), mirror(0.5), erase(1.0)],
            {"parts": cue},
            1,
        )
        mirrored = 0
        for batch in train_loader(dataset, IdentitySampler([0] * 4 + [1] * 4, 2, 4)):
            labels = batch.cues["parts"]
            blank = batch.images.amax(1) < 2
            if aligned:
                assert torch.equal(labels == 0, blank) and blank.any()
            else:
                assert (labels > 0).all() and blank.any()
                mirrored += int((labels[:, 0, 0] == 2).sum())
        assert aligned or mirrored > 0


# Several processes.

TWO = """
import sys, torch, torch.distributed as dist
from datetime import timedelta
sys.path[:0] = [{root!r}, {here!r}]
from test_pseudo import hcga, isp, people
torch.set_num_threads(1)
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://{file}", rank=rank, world_size=2,
                        timeout=timedelta(hours=3))
found = {{}}
for name, make in (("isp", isp), ("hcga", hcga)):
    cue = make()
    reports = [cue.refresh(epoch, people(0.1 * epoch, rank, 2)) for epoch in range(2)]
    found[name] = (cue.state(), reports)
torch.save(found, sys.argv[2])
dist.barrier()  # neither leaves while the other may still be reading from it
dist.destroy_process_group()
"""


@pytest.mark.slow  # two processes that import torch
def test_two_processes_make_the_labels_of_one(tmp_path: Path, environment: dict[str, str]) -> None:
    here = Path(__file__).parent
    code = TWO.format(root=str(here.parent.parent), here=str(here), file=tmp_path / "meet")
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), str(tmp_path / f"{rank}.pt")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        # no limit: a busy machine takes minutes, and if one ends the other does too
        for job in jobs:
            _, errors = job.communicate()
            assert job.returncode == 0, errors
    finally:
        for job in jobs:
            job.kill()
            job.wait()
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, make in (("isp", isp), ("hcga", hcga)):
        cue = make()
        alone = [cue.refresh(epoch, people(0.1 * epoch)) for epoch in range(2)]
        for state, reports in (rank[name] for rank in ranks):
            assert set(state) == set(cue.state())
            assert all(
                torch.equal(t.nan_to_num(-1), state[key].nan_to_num(-1))
                for key, t in cue.state().items()
            )
            assert [{k: v for k, v in r.items() if k != "seconds"} for r in reports] == [
                {k: v for k, v in r.items() if k != "seconds"} for r in alone if r
            ]


# Whole trainings.


@pytest.mark.parametrize("method", ["isp", "hcga"])
def test_a_seeded_run_repeats_and_resumes_bit_for_bit(
    method: str,
    benchmark: Any,
    toy: Callable[..., Recipe],
    trained: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    whole, recipe = trained(method), toy(method)
    rounds = [e for e in read(whole / "journal.jsonl") if e.get("event") == "labels"]
    assert [(e["step"], e["epoch"]) for e in rounds] == [(1, 0)]  # two epochs, a round every other
    steps = [e["step"] for e in read(whole / "journal.jsonl") if "loss" in e]
    stop = len(steps) // 2 + 1
    train(recipe, benchmark, tmp_path, Options(stop_after=stop))
    train(recipe, benchmark, tmp_path, Options(resume=True))
    one, other = (load_tensors(folder / "model.safetensors")[0] for folder in (whole, tmp_path))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    lines = read(tmp_path / "journal.jsonl")
    # taken up half-way: not labelled again
    assert sum(e.get("event") == "labels" for e in lines) == 1
    assert [e["step"] for e in lines if "loss" in e] == steps


@pytest.mark.parametrize("method", ["isp", "hcga"])
def test_trains_on_people_as_they_come(
    method: str, own_world: Path, toy: Callable[..., Recipe], tmp_path: Path
) -> None:
    """One image, one camera, blank images, only an occluder to be seen: a line in the journal
    for every fallback.
    """
    folder = own_world / "bounding_box_train"
    rows: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.jpg")):
        rows.setdefault(path.name[:4], []).append(path)
    single, still, blank, hidden, spread, *_ = rows.values()
    for path in single[1:]:
        path.unlink()
    for path in still:
        if path.name[4:7] != still[0].name[4:7]:
            path.unlink()
    for path in blank:
        Image.new("RGB", (64, 128)).save(path)
    noise = np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)
    for path in hidden[:2]:
        Image.fromarray(noise).save(path)
    cameras = {path.name[4:7]: path for path in spread}
    for path in set(spread) - set(cameras.values()):
        path.unlink()
    train(
        toy(method, "cues.parts.every=1"),
        build.benchmark("synthetic-tiny", own_world),
        tmp_path / "run",
    )
    lines = read(tmp_path / "run" / "journal.jsonl")
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert sum(e.get("event") == "labels" for e in lines) == 2
    fallbacks = {(e["fallback"], tuple(e["first"])) for e in lines if e.get("event") == "fallback"}
    assert all(len(first) > 0 for _, first in fallbacks)
    if method == "hcga":
        who = int(single[0].name[:4])
        assert ("one_image", (who,)) in fallbacks
        assert ("one_image_per_camera", (int(spread[0].name[:4]),)) in fallbacks
    assert all(np.isfinite(e["loss"]) for e in lines if "loss" in e)


@pytest.mark.slow  # two processes of their own
def test_two_processes_train_with_the_labels_of_one(
    trained: Callable[[str], Path], together: Path
) -> None:
    one, two = (
        load_tensors(folder / "checkpoint.safetensors")[0] for folder in (trained("isp"), together)
    )
    # made once, by the untrained network
    assert torch.equal(one["cue/parts/labels"], two["cue/parts/labels"])
    assert torch.equal(one["cue/parts/centers"], two["cue/parts/centers"])
    lines = [e for e in read(together / "journal.jsonl") if e.get("event") == "labels"]
    assert [(e["people"], e["images"]) for e in lines] == [(8, 48)]
