"""What the loop checks, what it writes, and that it learns."""

import builtins
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid import build
from partreid.data.loader import TrainSet, train_loader
from partreid.data.sampler import IdentitySampler
from partreid.errors import ArgumentError, DataError, RecipeError, ShapeError
from partreid.methods.base import center_optimizer
from partreid.methods.bot.model import BoT
from partreid.recipes import Recipe, from_plain
from partreid.train.checkpoint import load_tensors
from partreid.train.features import seen_with_margin
from partreid.train.journal import read
from partreid.train.loop import (
    Options,
    _set_rates,
    features_by_identity,
    train,
    training_ids,
    weighted_sum,
)
from partreid.types import Benchmark

Toy = Callable[..., Recipe]


def test_the_loss_falls_and_the_run_folder_is_complete(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    recipe = toy("bpbreid", "stages.epochs=10")
    calls: list[tuple[int, int]] = []
    model = train(
        recipe,
        benchmark,
        tmp_path,
        Options(progress=lambda entry, done, total: calls.append((done, total))),
    )
    losses = [e["loss"] for e in read(tmp_path / "journal.jsonl") if "loss" in e]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5]), losses
    assert [done for done, _ in calls] == list(range(1, len(losses) + 1))
    assert {p.name for p in tmp_path.iterdir()} == {
        "recipe.json",
        "journal.jsonl",
        "metrics.csv",
        "checkpoint.safetensors",
        "model.safetensors",
    }
    tensors, meta = load_tensors(model)
    assert (
        from_plain(meta["recipe"])
        == recipe
        == from_plain(json.loads((tmp_path / "recipe.json").read_text()))
    )
    assert meta["parts"]["names"] == ["head", "torso", "arms", "upper_legs", "lower_legs"]
    assert (meta["identities"], meta["steps"]) == (8, len(losses))
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == len(losses) + 1


def test_the_loss_is_the_weighted_sum_of_its_terms(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    recipe = toy(
        "bpbreid", "stages.epochs=1", "stages.weights.parsing=0.0", "stages.weights.id_global=3.0"
    )
    train(recipe, benchmark, tmp_path)
    for entry in read(tmp_path / "journal.jsonl")[:-1]:
        assert entry["loss"] == pytest.approx(
            sum(w * entry[t] for t, w in recipe.stages[0].weights.items()), rel=1e-5
        )


def test_accumulating_two_steps_is_one_step_of_their_mean_gradient(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    recipe = toy(
        "bot",
        "stages.optimizer=sgd",
        "stages.warmup=0",
        "stages.schedule=step",
        "stages.weight_decay=0.0",
        "stages.lr=0.01",
        "stages.accumulate=2",
    )
    left = train(recipe, benchmark, tmp_path, Options(stop_after=2))
    after = load_tensors(left)[0]

    ids, identities = training_ids(benchmark)
    torch.manual_seed(recipe.seed)
    method = build.method(recipe, identities, None).train()
    dataset = TrainSet(benchmark.train, ids, recipe.size, build.augment(recipe), {}, recipe.seed)
    for _, batch in zip(range(2), train_loader(dataset, IdentitySampler(ids, 4, 2, recipe.seed))):
        terms = method.losses(method(batch.images), batch)
        (weighted_sum(terms, recipe.stages[0].weights) / 2).backward()
    for name, p in method.named_parameters():
        if p.requires_grad:
            assert p.grad is not None and p.grad.any(), name
            torch.testing.assert_close(
                after[f"model/{name}"], p.detach() - 0.01 * p.grad, atol=1e-5, rtol=1e-4
            )


def test_terms_and_weights_must_be_the_same() -> None:
    one = torch.tensor(1.0)
    assert weighted_sum({"a": one, "b": 2 * one}, {"b": 0.5, "a": 3.0}).item() == 4
    for terms in ({"a": one}, {"a": one, "b": one, "c": one}):
        with pytest.raises(
            RecipeError, match=r"computes the loss terms.*the recipe weighs \['a', 'b'\]"
        ):
            weighted_sum(terms, {"a": 1.0, "b": 1.0})


def test_a_loss_that_is_not_finite_stops_with_a_remedy(
    benchmark: Benchmark, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = BoT.losses
    calls = []

    def broken(self: BoT, *arguments: Any) -> dict[str, torch.Tensor]:
        calls.append(1)
        terms = whole(self, *arguments)
        return {n: t * torch.nan for n, t in terms.items()} if len(calls) == 3 else terms

    monkeypatch.setattr(BoT, "losses", broken)
    with pytest.raises(
        DataError, match=r"the loss is nan at step 3; .*lower rate.*--set stages\.lr=3\.3e-04"
    ):
        train(toy("bot", "stages.lr=0.001"), benchmark, tmp_path, Options(save_every=2))
    tensors, meta = load_tensors(tmp_path / "checkpoint.safetensors")
    assert meta["place"]["step"] == 2 and all(
        t.isfinite().all() for n, t in tensors.items() if n.startswith("model/")
    )


def test_starts_from_another_run(
    benchmark: Benchmark, toy: Toy, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    start = trained("bpbreid")
    weights = load_tensors(start / "model.safetensors")[0]
    recipe = toy("bot", f"start={start}", "stages.epochs=1", "stages.warmup=0", "stages.lr=0.0")
    train(recipe, benchmark, tmp_path / "run")
    state = load_tensors(tmp_path / "run" / "model.safetensors")[0]
    learned = [
        n for n in state if n.startswith("trunk.") and "running" not in n and "num_batches" not in n
    ]
    assert learned and all(torch.equal(state[n], weights[n]) for n in learned)  # the rate is 0
    with pytest.raises(
        RecipeError, match="no trunk weight of .* fits this method; its recipe has another backbone"
    ):
        train(toy("bot", f"start={start}", "backbone.width=4"), benchmark, tmp_path / "other")
    with pytest.raises(DataError, match="there is no .*nowhere"):
        train(toy("bot", "start=nowhere"), benchmark, tmp_path / "third")


def test_tensorboard_events_are_written(benchmark: Benchmark, toy: Toy, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(toy("bot", "stages.epochs=1"), benchmark, tmp_path, Options(tensorboard=True))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = [e["loss"] for e in read(tmp_path / "journal.jsonl") if "loss" in e]
    assert [e.step for e in events.Scalars("loss")] == list(range(1, len(losses) + 1))
    assert [e.value for e in events.Scalars("loss")] == pytest.approx(losses, rel=1e-6)
    assert {"lr", "id_global", "triplet_global"} <= set(events.Tags()["scalars"])


def test_tensorboard_that_is_not_installed_is_one_sentence(
    benchmark: Benchmark, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name == "lightning_fabric.loggers":
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DataError, match=r"pip install 'partreid\[tensorboard\]'"):
        train(toy("bot"), benchmark, tmp_path, Options(tensorboard=True))


def test_identities_are_numbered_in_order_and_a_set_without_training_images_is_refused(
    benchmark: Benchmark,
) -> None:
    ids, n = training_ids(benchmark)
    assert n == 8 and sorted(set(ids)) == list(range(8))
    by_id = {i: s.identity for i, s in zip(ids, benchmark.train)}
    assert [by_id[i] for i in range(8)] == sorted(by_id.values())
    with pytest.raises(DataError, match="synthetic has no training images; train on another"):
        training_ids(replace(benchmark, train=()))


def test_features_come_one_identity_at_a_time(benchmark: Benchmark, toy: Toy) -> None:
    method = build.method(toy("bot"), 8, None).train()
    ids, _ = training_ids(benchmark)
    seen: list[int] = []
    for indices, cameras, features in features_by_identity(
        method, benchmark.train, ids, (64, 32), "cpu"
    ):
        assert len({ids[i] for i in indices.tolist()}) == 1
        assert cameras.tolist() == [benchmark.train[i].camera for i in indices.tolist()]
        assert (
            features.shape == (len(indices), method.trunk.channels, 8, 4)
            and not features.requires_grad
        )
        seen += indices.tolist()
    assert sorted(seen) == list(range(len(benchmark.train)))
    assert method.training  # as it was


def test_features_are_refused_to_what_is_no_method(benchmark: Benchmark) -> None:
    with pytest.raises(ArgumentError, match="features_by_identity: method must be of type Method"):
        features_by_identity("bot", benchmark.train, [1], (64, 32), "cpu")  # type: ignore[arg-type]


def test_features_with_a_margin_are_those_of_the_same_cells(benchmark: Benchmark, toy: Toy) -> None:
    method = build.method(toy("bot"), 8, None)
    ids, _ = training_ids(benchmark)

    def maps(**options: Any) -> Iterator[Any]:
        return features_by_identity(method, benchmark.train, ids, (64, 32), "cpu", **options)

    for (indices, _, plain), (others, _, wide) in zip(maps(), maps(margin=16), strict=True):
        assert torch.equal(indices, others) and wide.shape == plain.shape
        # what a cell sees of the padding grows towards the rim
        apart = (wide - plain).norm(dim=1) / plain.norm(dim=1)
        assert apart[:, 3:5, 1:3].mean() < apart[:, [0, -1]].mean()


def test_with_a_margin_no_cell_knows_where_the_image_ends(toy: Toy) -> None:
    """An image of one color has one feature, and without a margin a picture of the padding."""
    method = build.method(toy("bot"), 8, None).eval()
    flat = torch.full((1, 3, 96, 64), 0.5)
    with torch.no_grad():
        assert spread(seen_with_margin(method, flat, 0)) > 0.1
        assert spread(seen_with_margin(method, flat, 40)) < 1e-4


def spread(features: torch.Tensor) -> float:
    """How far the cells of a map differ, as a share of their length."""
    mean = features.mean((2, 3), keepdim=True)
    return float((features - mean).norm(dim=1).max() / mean.norm(dim=1).max())


def test_a_margin_that_does_not_fit_is_refused(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build.method(toy("bot"), 8, None)
    images = torch.zeros(1, 3, 64, 32)
    with pytest.raises(RecipeError, match="margin=32 mirrors more than images of 64 x 32 have"):
        seen_with_margin(method, images, 32)
    with pytest.raises(RecipeError, match="margin=6 is no whole number of cells of a .* map"):
        seen_with_margin(method, images, 6)
    with pytest.raises(RecipeError, match="margin is a number of pixels from 0, got -8"):
        seen_with_margin(method, images, -8)

    def fixed(images: torch.Tensor) -> torch.Tensor:
        raise ShapeError("set up for images of 64 x 32")

    monkeypatch.setattr(method.trunk, "forward", fixed)
    with pytest.raises(RecipeError, match="takes images of any size; set margin=0: set up for"):
        seen_with_margin(method, images, 8)


def test_what_does_not_fit_is_said_before_the_first_batch(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="needs the cue 'parts' and the recipe gives none"):
        train(replace(toy("bpbreid"), cues={}), benchmark, tmp_path / "a")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="unknown loss term of bot: 'parsing'"):
        train(toy("bot", "stages.weights.parsing=1.0"), benchmark, tmp_path / "b")
    with pytest.raises(
        DataError, match=r"a step needs 16 identities, the training set has 8; .*batch=\[8,2\]"
    ):
        train(toy("bot", "stages.batch=[16,2]"), benchmark, tmp_path / "c")
    assert not list(tmp_path.rglob("journal.jsonl"))


def test_a_fixed_group_keeps_its_rate_whatever_the_schedule() -> None:
    rows = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimizers = [torch.optim.SGD([rows[0]], lr=1.0), center_optimizer([rows[1]], 0.5)]
    _set_rates(optimizers, [1.0, 0.5], 0.1)
    assert [group["lr"] for optimizer in optimizers for group in optimizer.param_groups] == [
        0.1,
        0.5,
    ]
