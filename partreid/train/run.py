"""A run folder: recipe.json, journal.jsonl, metrics.csv, checkpoint.safetensors and, at the end,
model.safetensors.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from partreid.errors import DataError
from partreid.labels.base import Cue
from partreid.methods.base import Method
from partreid.recipes.base import Recipe, from_plain, to_plain
from partreid.train.checkpoint import (
    flatten_optimizer,
    load_tensors,
    save_tensors,
    unflatten_optimizer,
)
from partreid.train.journal import Journal, read, write_csv
from partreid.train.plan import require_same_data, require_same_past
from partreid.train.start import Started
from partreid.utils.files import read_json, write_json
from partreid.utils.text import brief

OPTIMISER = re.compile(r"optimizer\d+/")  # names of the tensors of their state
LOOKED_AT = 6  # training images whose labels are kept of every round


@dataclass(frozen=True)
class TrainState:
    """Where a run stands: stage, epoch of it, steps done in that epoch, and steps in all."""

    stage: int = 0
    epoch: int = 0
    within: int = 0
    step: int = 0


class Run:
    """Reads and writes one run folder. ``first``: whether this process is the one that writes."""

    def __init__(self, folder: Path, recipe: Recipe, resume: bool, data: Mapping[str, Any]) -> None:
        """Look into ``folder``; nothing is written before :meth:`begin`. data: see
        :func:`plan.data_digest`.

        RecipeError, DataError if it holds another run, one not to be resumed, or with ``resume``
        none to go on with.
        """
        self.folder, self.recipe, self.data, self.is_rank_zero = folder, recipe, data, True
        self.checkpoint, self.model = (
            folder / "checkpoint.safetensors",
            folder / "model.safetensors",
        )
        self.journal = Journal(folder / "journal.jsonl")
        self._checkpoint: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        # what is to be written once the first step has worked
        self._waiting: list[Callable[[], None]] | None = []
        if resume:
            self._checkpoint = self._taken_up()
        else:
            self._refuse_taken()

    def _refuse_taken(self) -> None:
        if os.path.lexists(self.checkpoint):
            name = self._begun_with(None)
            raise DataError(
                f"{self.folder} already holds a run{f' of {name.name}' if name else ''}; go on "
                "with --resume, or choose another folder with --out"
            )
        if os.path.lexists(self.model):
            raise DataError(
                f"{self.folder} already holds a finished model, and no checkpoint to go on from; "
                f"choose another folder with --out (from its weights: --set start={self.folder})"
            )
        steps = sum("loss" in entry for entry in read(self.journal.path))
        if steps:
            raise DataError(
                f"{self.folder} holds the journal of {steps:,} steps, and no checkpoint to go on "
                "from; choose another folder with --out, or delete that one"
            )

    def _taken_up(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if not self.checkpoint.exists():
            raise DataError(
                f"there is no checkpoint in {self.folder} to go on from; leave out --resume to "
                "begin a run, in another folder (--out) if this one holds a model or journal to "
                "keep"
            )
        tensors, header = load_tensors(self.checkpoint)
        before, place = self._begun_with(header.get("recipe")), _place(self.checkpoint, header)
        if before is not None:
            require_same_past(self.folder, before, self.recipe, place)
            if before.digest != self.recipe.digest:
                self._later(
                    lambda: self.journal.write(
                        {
                            "step": place.step,
                            "event": "plan",
                            "epochs": [stage.epochs for stage in self.recipe.stages],
                        }
                    )
                )
        if header.get("data") is not None:  # versions before 1.1 did not note it
            require_same_data(self.folder, header["data"], self.data)
        return tensors, header

    def _begun_with(self, noted: Mapping[str, Any] | None) -> Recipe | None:
        path = self.folder / "recipe.json"
        if noted is None and not path.exists():
            return None
        return from_plain(read_json(path) if noted is None else noted)

    def _later(self, job: Callable[[], None]) -> None:
        """Now if the run has begun, with its first step otherwise."""
        if self._waiting is None:
            job()
        else:
            self._waiting.append(job)

    def restore(self, method: Method, cues: Mapping[str, Cue]) -> TrainState:
        """Put the last checkpoint's weights, labels and random state back; the start if there is
        none.
        """
        if self._checkpoint is None:
            return TrainState()
        tensors, header = self._checkpoint
        self._require_ours(tensors, method, cues)
        try:
            method.load_state_dict(_below(tensors, "model/"))
        except RuntimeError as error:
            raise DataError(
                f"{self.checkpoint} does not fit the recipe and these data ({_last(error)}); go on "
                "with what it was begun with, or choose another folder with --out"
            ) from None
        for name, cue in cues.items():
            cue.restore(_below(tensors, f"cue/{name}/"))
        torch.set_rng_state(tensors["random"])
        return _place(self.checkpoint, header)

    def _require_ours(
        self, tensors: Mapping[str, Tensor], method: Method, cues: Mapping[str, Cue]
    ) -> None:
        """DataError for a tensor that no run like this writes, or a weight of another kind."""
        state = method.state_dict()
        places = tuple(f"cue/{name}/" for name in cues)
        for name, tensor in tensors.items():
            weight = name.removeprefix("model/") if name.startswith("model/") else None
            if weight is None and not (
                name == "random" or name.startswith(places) or OPTIMISER.match(name)
            ):
                raise self._changed(f"it holds '{brief(name)}'")
            if OPTIMISER.match(name) and tensor.dtype != torch.float32:
                raise self._changed(
                    f"'{brief(name)}' is {tensor.dtype}, where {torch.float32} is expected"
                )
            if weight in state and state[weight].dtype != tensor.dtype:
                raise self._changed(
                    f"'{brief(name)}' is {tensor.dtype}, where {state[weight].dtype} is expected"
                )

    def _require_whole(self, optimizer: Optimizer) -> None:
        """DataError unless all weights have the same kinds of state, each of the weight's shape
        or a single number.
        """
        kinds = {frozenset(state) for state in optimizer.state.values()}
        misshaped = any(
            isinstance(value, Tensor) and value.dim() > 0 and value.shape != weight.shape
            for weight, state in optimizer.state.items()
            for value in state.values()
        )
        if len(kinds) > 1 or misshaped:
            raise self._changed("the state of its optimizers does not fit the weights")

    def _changed(self, why: str) -> DataError:
        return DataError(
            f"{self.checkpoint} was changed ({why}); restore it, or begin a new run with --out"
        )

    def beginning(self, method: Method, cues: Mapping[str, Cue], place: TrainState) -> None:
        """Keep the state before the first step, from which a run that is killed before its next
        checkpoint goes on.
        """
        if not self.is_rank_zero or self._waiting is None:
            return
        self._waiting.insert(0, lambda: self.journal.rewind(place.step if place.step else -1))
        if self._checkpoint is None:
            tensors = {
                name: t.detach().to("cpu", copy=True)
                for name, t in self._state(method, cues).items()
            }
            self._waiting.insert(0, lambda: self._write(tensors, [], place))

    def begin(self) -> None:
        """Claim the folder: a step has worked."""
        if self.is_rank_zero and self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            for job in waiting:
                job()
            write_json(self.folder / "recipe.json", to_plain(self.recipe))

    def restore_optimizers(self, optimizers: list[Optimizer]) -> None:
        """Their state, once: only the stage that was interrupted has any."""
        if self._checkpoint is not None:
            rests = self._checkpoint[1].get("optimizers")
            # none before step 1
            if not isinstance(rests, list) or len(rests) not in (0, len(optimizers)):
                raise self._changed("it does not hold the optimizers of this plan")
            try:
                for i, (optimizer, rest) in enumerate(zip(optimizers, rests, strict=False)):
                    optimizer.load_state_dict(
                        unflatten_optimizer(self._checkpoint[0], rest, f"optimizer{i}")
                    )
                    self._require_whole(optimizer)
            except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
                raise self._changed(
                    f"its optimizers are not as they were written: {_last(error)}"
                ) from None
            self._checkpoint = None

    def save(
        self,
        method: Method,
        cues: Mapping[str, Cue],
        optimizers: list[Optimizer],
        place: TrainState,
    ) -> None:
        """Everything needed to go on from ``place``, in one file."""
        if not self.is_rank_zero:
            return
        tensors, rests = self._state(method, cues), []
        for i, optimizer in enumerate(optimizers):
            state, rest = flatten_optimizer(optimizer.state_dict(), f"optimizer{i}")
            tensors |= state
            rests.append(rest)
        self._write(tensors, rests, place)

    def _state(self, method: Method, cues: Mapping[str, Cue]) -> dict[str, Tensor]:
        tensors = {f"model/{name}": t for name, t in method.state_dict().items()} | {
            "random": torch.get_rng_state()
        }
        for name, cue in cues.items():
            tensors |= {f"cue/{name}/{key}": t for key, t in cue.state().items()}
        return tensors

    def _write(
        self, tensors: Mapping[str, Tensor], optimizers: list[dict[str, Any]], place: TrainState
    ) -> None:
        save_tensors(
            self.checkpoint,
            tensors,
            {
                "place": asdict(place),
                "optimizers": optimizers,
                "recipe": to_plain(self.recipe),
                "data": dict(self.data),
            },
        )

    def note_labels(
        self, name: str, cue: Cue, place: TrainState, epoch: int, report: Mapping[str, Any] | None
    ) -> None:
        """What a cue found when it labelled the training set anew: a line, one for every fallback
        it needed, and its labels of a few images, to be looked at.

        The lines carry the number of the step that follows, so that a run which resumes before it
        does not keep them.
        """
        if not self.is_rank_zero or report is None:
            return
        moment = {"step": place.step + 1, "stage": place.stage, "epoch": epoch}
        labels = cue.state()["labels"]
        rows = torch.arange(0, len(labels), max(1, len(labels) // LOOKED_AT))[:LOOKED_AT]
        shown = labels[rows].clone()

        def note() -> None:
            self.journal.write(
                moment
                | {
                    "event": "labels",
                    "cue": name,
                    **{key: value for key, value in report.items() if key != "fallbacks"},
                }
            )
            for fallback, who in report.get("fallbacks", {}).items():
                self.journal.write(
                    moment | {"event": "fallback", "cue": name, "fallback": fallback, **who}
                )
            save_tensors(
                self.folder / "labels" / f"{name}-{epoch:04d}.safetensors",
                {"labels": shown, "rows": rows},
                {"epoch": epoch},
            )

        self._later(note)

    def note_cues(self, cues: Mapping[str, Cue], place: TrainState) -> None:
        """A line on each cue that has something to say of what it knows, when the run begins."""
        for name, cue in cues.items():
            if self.is_rank_zero and place.step == 0 and hasattr(cue, "sentence"):
                entry = {"step": 0, "event": "cue", "cue": name, "says": cue.sentence()}
                self._later(partial(self.journal.write, entry))

    def end_epoch(self) -> None:
        """The journal so far as a table."""
        if self.is_rank_zero:
            write_csv(read(self.journal.path), self.folder / "metrics.csv")

    def note_start(self, started: Started, place: TrainState) -> None:
        """A line on what the weights it began from gave, and what they did not, when the run
        begins.
        """
        if self.is_rank_zero and place.step == 0:
            self._later(partial(self.journal.write, {"step": 0, **started.to_dict()}))

    def finish(self, method: Method, identities: int, place: TrainState, people: str) -> Path:
        """The finished model with all that is needed to build it again, and nothing that only
        training uses.
        """
        scheme = getattr(method, "scheme", None)
        self.begin()
        if self.is_rank_zero:
            save_tensors(
                self.model,
                method.strip_for_inference().state_dict(),
                {
                    "recipe": to_plain(self.recipe),
                    "identities": identities,
                    "people": people,
                    "data": dict(self.data),
                    "steps": place.step,
                    "parts": {"names": scheme.names, "flip": scheme.flip}
                    if scheme is not None
                    else None,
                },
            )
            self.journal.write({"step": place.step, "event": "finished"})
            self.journal.close()
        return self.model


def has_checkpoint(folder: Path) -> bool:
    """Whether a run in ``folder`` was interrupted where it can be taken up."""
    return (folder / "checkpoint.safetensors").is_file()


def _place(path: Path, header: Mapping[str, Any]) -> TrainState:
    place = header.get("place")
    names = [f.name for f in fields(TrainState)]
    if (
        not isinstance(place, Mapping)
        or set(place) != set(names)
        or not all(type(n) is int and 0 <= n < 10**12 for n in place.values())
    ):
        raise DataError(
            f"{path} does not say where its run stands; restore it, or train anew into another "
            "folder"
        )
    return TrainState(**place)


def _last(error: Exception) -> str:
    return str(error).splitlines()[-1].strip()


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
