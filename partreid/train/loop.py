"""The training loop, one page: stages, epochs, steps. Fabric supplies devices, precision and
processes.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from partreid import build
from partreid.data.loader import TrainSet, loading, prefetched, train_loader
from partreid.data.sampler import IdentitySampler
from partreid.errors import DataError, RecipeError
from partreid.layers.memory import arrange
from partreid.methods.base import Method
from partreid.recipes import checks
from partreid.recipes.base import Recipe
from partreid.train.features import features_by_identity
from partreid.train.plan import data_digest, require_learnable
from partreid.train.run import Run, TrainState
from partreid.train.schedule import factor
from partreid.train.start import people_digest, start_from
from partreid.types import Batch, Benchmark
from partreid.utils.arguments import door, require
from partreid.utils.lock import alone_in


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what.

    devices: processes, each with its own device; they share out the identities of a step, and each
    mines triplets and keeps batch statistics among its own. workers: loader processes of each.
    save_every: steps between checkpoints (one is also written after every epoch). stop_after: end
    early, at this step, with a checkpoint. progress: called with the journal entry of each step,
    the steps so far and (about) how many there will be; before the first step perhaps with
    {"event": "preparing"}, the images looked at and all of them.
    """

    device: str = "auto"
    devices: int = 1
    workers: int = 0
    save_every: int = 200
    resume: bool = False
    tensorboard: bool = False
    stop_after: int | None = None
    progress: Callable[[Mapping[str, Any], int, int], None] | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("devices", 1, 1024),
            ("workers", 0, 256),
            ("save_every", 1, 10**9),
        ):
            checks.integer(f"--{name.replace('_', '-')}", getattr(self, name), low, high)
        if self.stop_after is not None:
            checks.integer("stop_after", self.stop_after, 1, 10**9)


class Step(nn.Module):
    """A method and its losses as one call, which is what several processes wrap.

    It takes a batch's tensors one by one: Fabric converts them in mixed precision, and cannot look
    into a frozen batch.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(
        self, images: Tensor, ids: Tensor, cameras: Tensor, cues: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        batch = Batch(images, ids, cameras, cues)
        terms: dict[str, Tensor] = self.method.losses(self.method(batch.images, batch.cues), batch)
        return terms


@door
def train(
    recipe: Recipe, benchmark: Benchmark, folder: Path, options: Options | None = None
) -> Path:
    """Train ``recipe`` on ``benchmark`` into ``folder``; returns the finished model's path.

    The run can be killed at any step and taken up again with ``resume``: it goes on from its last
    checkpoint and ends with the same weights, bit for bit on one CPU machine. Whatever does not fit
    raises RecipeError or DataError before the first batch.
    """
    options = options or Options()
    if options.devices > 1 and os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0":
        with loading():  # the first process of the run holds the folder for all
            return _train(recipe, benchmark, folder, options)
    with alone_in(folder), loading():
        return _train(recipe, benchmark, folder, options)


def _train(recipe: Recipe, benchmark: Benchmark, folder: Path, options: Options) -> Path:
    device = build.device(options.device)
    ids, identities = training_ids(benchmark)
    require_learnable(recipe, ids, options.devices)
    run = Run(folder, recipe, options.resume, data_digest(benchmark))
    cues = build.cues(recipe, benchmark, _preparing(options))
    fabric = Fabric(
        accelerator=device,
        devices=options.devices,
        # Fabric lists its words as Literal; ours were checked
        precision=recipe.precision,  # type: ignore[arg-type]
        strategy="ddp" if options.devices > 1 else "auto",
        loggers=_loggers(folder, options),
    )
    fabric.launch()
    run.is_rank_zero = fabric.is_global_zero
    torch.manual_seed(recipe.seed)
    method = build.method(recipe, identities, cues["parts"].scheme if "parts" in cues else None)
    people = people_digest(benchmark)
    started = None if recipe.start is None else start_from(method, Path(recipe.start), people)
    if device == "cpu":
        arrange(method)
    dataset = TrainSet(benchmark.train, ids, recipe.size, build.augment(recipe), cues, recipe.seed)
    samplers = [
        IdentitySampler(ids, *stage.batch, recipe.seed, fabric.global_rank, fabric.world_size)
        for stage in recipe.stages
    ]
    expected = sum(
        len(sampler) * stage.epochs for sampler, stage in zip(samplers, recipe.stages, strict=True)
    )
    place = run.restore(method, cues)
    run.beginning(method, cues, place)
    run.note_cues(cues, place)
    if started is not None:
        run.note_start(started, place)

    for number in range(place.stage, len(recipe.stages)):
        stage, sampler = recipe.stages[number], samplers[number]
        optimizers = method.optimizers(stage.optimizer, stage.lr, stage.weight_decay)
        run.restore_optimizers(optimizers)
        peaks = [
            group.setdefault("initial_lr", group["lr"])
            for o in optimizers
            for group in o.param_groups
        ]
        step, *optimizers = _together(fabric.setup(Step(method), *optimizers))
        loader: Any = fabric.setup_dataloaders(
            train_loader(dataset, sampler, options.workers), use_distributed_sampler=False
        )
        for epoch in range(place.epoch, stage.epochs):
            if place.within == 0:  # an epoch that is taken up again keeps the labels it began with
                for name, cue in cues.items():
                    report = cue.refresh(
                        epoch,
                        lambda margin=0: features_by_identity(
                            method, benchmark.train, ids, recipe.size, fabric.device, margin
                        ),
                    )
                    run.note_labels(name, cue, place, epoch, report)
            step.train()
            sampler.enter(epoch, place.within)
            # workers prepare batches ahead themselves
            batches = loader if options.workers else prefetched(loader)
            for within, batch in enumerate(batches, place.within):
                began = time.perf_counter()
                rate = factor(stage, epoch, within / len(sampler))
                _set_rates(optimizers, peaks, rate)
                terms = step(batch.images, batch.ids, batch.cameras, dict(batch.cues))
                loss = weighted_sum(terms, stage.weights)
                if not torch.isfinite(loss):
                    remedy = (
                        f"train anew with a lower rate, e.g. --set stages.lr={stage.lr / 3:.1e}"
                        if stage.lr
                        else "the rate is 0, so look at the weights it starts from"
                    )
                    raise DataError(f"the loss is {loss.item()} at step {place.step + 1}; {remedy}")
                fabric.backward(loss / stage.accumulate)
                settled = (within + 1) % stage.accumulate == 0 or within + 1 == len(sampler)
                if settled:
                    for optimizer in optimizers:
                        optimizer.step()
                        optimizer.zero_grad()
                run.begin()
                place = TrainState(number, epoch, within + 1, place.step + 1)
                entry = {
                    "step": place.step,
                    "stage": number,
                    "epoch": epoch,
                    "lr": stage.lr * rate,
                    "loss": loss.item(),
                    **{name: term.item() for name, term in terms.items()},
                    "seconds": round(time.perf_counter() - began, 4),
                }
                _report(fabric, run, options, entry, place.step, expected)
                stop = place.step == options.stop_after
                if settled and (stop or place.step % options.save_every == 0):
                    run.save(method, cues, optimizers, place)
                if stop:
                    return run.checkpoint
            place = TrainState(number, epoch + 1, 0, place.step)
            run.save(method, cues, optimizers, place)
            run.end_epoch()
        place = TrainState(number + 1, 0, 0, place.step)
    fabric.barrier()
    return run.finish(method, identities, place, people)


@door
def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of weight x term. RecipeError unless both have the same names."""
    if set(terms) != set(weights):
        raise RecipeError(
            f"the method computes the loss terms {sorted(terms)}, the recipe weighs "
            f"{sorted(weights)}; they must be the same"
        )
    require(len(terms) > 0, "a loss", "a sum of one term or more", terms)
    return torch.stack([weights[name] * term.float() for name, term in terms.items()]).sum()


@door
def training_ids(benchmark: Benchmark) -> tuple[list[int], int]:
    """Identities of the training images as 0..N-1, and N. DataError if there are no training
    images.
    """
    if not benchmark.train:
        raise DataError(
            f"{benchmark.name} has no training images; train on another data set and test on this "
            "one"
        )
    order = {
        identity: i for i, identity in enumerate(sorted({s.identity for s in benchmark.train}))
    }
    return [order[s.identity] for s in benchmark.train], len(order)


def _preparing(options: Options) -> build.Progress | None:
    progress = options.progress
    return (
        None
        if progress is None
        else lambda done, total: progress({"event": "preparing"}, done, total)
    )


def _together(wrapped: Any) -> list[Any]:
    return list(wrapped) if isinstance(wrapped, tuple) else [wrapped]


def _set_rates(optimizers: Sequence[Optimizer], peaks: Sequence[float], rate: float) -> None:
    groups = (group for optimizer in optimizers for group in optimizer.param_groups)
    for group, peak in zip(groups, peaks, strict=True):
        group["lr"] = peak if group.get("fixed") else peak * rate


def _report(
    fabric: Fabric, run: Run, options: Options, entry: Mapping[str, Any], done: int, expected: int
) -> None:
    if not run.is_rank_zero:
        return
    run.journal.write(entry)
    fabric.log_dict({k: v for k, v in entry.items() if k not in ("step", "stage")}, done)
    if options.progress is not None:
        options.progress(entry, done, expected)


def _loggers(folder: Path, options: Options) -> list[Any]:
    if not options.tensorboard:
        return []
    try:
        from lightning_fabric.loggers import TensorBoardLogger

        return [TensorBoardLogger(folder, name="tensorboard", version="")]
    except ModuleNotFoundError:
        raise DataError(
            "--tensorboard needs the package tensorboard: pip install 'partreid[tensorboard]'"
        ) from None
