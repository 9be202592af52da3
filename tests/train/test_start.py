"""Beginning from another run: the trunk is copied, classifiers only between the same people."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partreid import build
from partreid.labels.schemes import SURFACES, scheme_of
from partreid.methods import METHODS
from partreid.recipes import find
from partreid.train.checkpoint import load_tensors, save_tensors
from partreid.train.journal import read
from partreid.train.loop import train
from partreid.train.start import of_people, people_digest, start_from
from partreid.types import Benchmark, PartScheme


def renamed(benchmark: Benchmark) -> Benchmark:
    """As many people with as many images, none of them the same."""
    return replace(
        benchmark,
        train=tuple(replace(s, path=s.path.with_name(f"x{s.path.name}")) for s in benchmark.train),
    )


def scheme(name: str) -> PartScheme:
    return scheme_of(SURFACES["seven" if name == "magnifier" else "five"])


def test_the_digest_is_of_the_people_and_not_of_the_place(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    moved = replace(
        benchmark,
        root=tmp_path,
        train=tuple(
            replace(s, path=tmp_path / s.path.relative_to(benchmark.root))
            for s in reversed(benchmark.train)
        ),
    )
    assert people_digest(moved) == people_digest(benchmark)
    first, *rest = benchmark.train
    for other in (
        renamed(benchmark),
        replace(benchmark, train=(*rest,)),
        replace(benchmark, train=(replace(first, identity=first.identity + 1), *rest)),
    ):
        assert people_digest(other) != people_digest(benchmark)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_classifiers_are_copied_between_the_same_people_only(name: str, tmp_path: Path) -> None:
    """As many people on both sides, so that every shape fits."""
    recipe = find(f"synthetic/tiny/{name}")
    donor, method, more = (build.method(recipe, n, scheme(name)) for n in (37, 37, 41))
    state = {n: t + 1 if t.is_floating_point() else t for n, t in donor.state_dict().items()}
    save_tensors(tmp_path / "model.safetensors", state, {"identities": 37, "people": "abc"})
    counted = {n for n, t in more.state_dict().items() if t.shape != state[n].shape}
    assert counted and all(of_people(n) for n in counted)
    before = {n: t.clone() for n, t in method.state_dict().items()}
    for people in ("abd", None):
        started = start_from(method, tmp_path, people)
        assert (
            set(started.classifiers) == counted
            and started.copied == len(state) - len(counted)
            and not started.fresh
        )
        for n, t in method.state_dict().items():
            assert torch.equal(t, before[n] if n in counted else state[n]), n
    assert start_from(method, tmp_path, "abc").classifiers == ()
    assert all(torch.equal(t, state[n]) for n, t in method.state_dict().items())


def test_a_file_that_does_not_say_whose_it_is_gives_no_classifier(tmp_path: Path) -> None:
    method = build.method(find("synthetic/tiny/bot"), 7, None)
    # as they were before
    save_tensors(tmp_path / "a.safetensors", method.state_dict(), {"identities": 7})
    assert start_from(method, tmp_path / "a.safetensors", "abc").classifiers == ("id.classifier",)


def test_a_run_says_what_its_start_gave(
    benchmark: Benchmark, toy: object, trained: object, tmp_path: Path
) -> None:
    source = trained("bot")  # type: ignore[operator]
    options = (f"start={source}", "stages.epochs=1", "stages.lr=0.0", "stages.warmup=0")
    other = replace(benchmark, root=Path(shutil.copytree(benchmark.root, tmp_path / "data")))
    swap = {s.path: s.path.with_name(f"{s.path.stem}x{s.path.suffix}") for s in benchmark.train}
    for path, new in swap.items():
        old = other.root / path.relative_to(benchmark.root)
        old.rename(old.with_name(new.name))
    other = replace(
        other,
        train=tuple(
            replace(s, path=other.root / swap[s.path].relative_to(benchmark.root))
            for s in benchmark.train
        ),
    )
    for data, kept in ((benchmark, []), (other, ["id.classifier"])):
        folder = tmp_path / f"run{len(kept)}"
        train(toy("bot", *options), data, folder)  # type: ignore[operator]
        (line,) = (e for e in read(folder / "journal.jsonl") if e.get("event") == "start")
        assert line["classifiers_of_other_people"] == kept and line["copied"] > 0
        assert load_tensors(folder / "model.safetensors")[1]["people"] == people_digest(data)
