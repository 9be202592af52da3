"""A run folder: recipe.json, journal.jsonl, metrics.csv, checkpoint.safetensors and, at the end, model.safetensors."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from partreid.cues import Cue
from partreid.errors import DataError, RecipeError
from partreid.files import write_json
from partreid.methods import Method
from partreid.recipes.base import Recipe, from_plain, to_plain
from partreid.train.checkpoint import (
    flatten_optimiser,
    load_tensors,
    save_tensors,
    unflatten_optimiser,
)
from partreid.train.journal import Journal, read, write_csv
from partreid.train.start import Started

LOOKED_AT = 6  # training images whose labels are kept of every round


@dataclass(frozen=True)
class Place:
    """Where a run stands: stage, epoch of it, steps done in that epoch, and steps in all."""

    stage: int = 0
    epoch: int = 0
    within: int = 0
    step: int = 0


class Run:
    """Reads and writes one run folder. ``first``: whether this process is the one that writes."""

    def __init__(self, folder: Path, recipe: Recipe, resume: bool) -> None:
        """Claim ``folder`` for ``recipe``. RecipeError, DataError if it holds another run or one not to be resumed."""
        path = folder / "recipe.json"
        self.folder, self.recipe, self.first = folder, recipe, True
        self.checkpoint, self.model = folder / "checkpoint.safetensors", folder / "model.safetensors"
        self.journal = Journal(folder / "journal.jsonl")
        self._found: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        if path.is_file():
            other = from_plain(json.loads(path.read_text(encoding="utf-8")))
            if resume and other.digest != recipe.digest:
                raise RecipeError(f"{folder} was begun with another recipe ({other.name}, {other.digest}); resume it "
                                  f"with the same settings, or choose another folder with --out")
            if not resume and self.checkpoint.is_file():
                raise DataError(f"{folder} already holds a run of {other.name}; go on with --resume, or choose another "
                                f"folder with --out")
        if resume and self.checkpoint.is_file():
            self._found = load_tensors(self.checkpoint)
        write_json(path, to_plain(recipe))

    def restore(self, method: Method, cues: Mapping[str, Cue]) -> Place:
        """Put the last checkpoint's weights, labels and random state back; the start if there is none."""
        place = Place()
        if self._found is not None:
            tensors, header = self._found
            place = Place(**header["place"])
            method.load_state_dict(_below(tensors, "model/"))
            for name, cue in cues.items():
                cue.restore(_below(tensors, f"cue/{name}/"))
            torch.set_rng_state(tensors["random"])
        if self.first:
            self.journal.rewind(place.step if self._found is not None else -1)
        return place

    def restore_optimisers(self, optimisers: list[Optimizer]) -> None:
        """Their state, once: only the stage that was interrupted has any."""
        if self._found is not None:
            for i, optimiser in enumerate(optimisers):
                optimiser.load_state_dict(
                    unflatten_optimiser(self._found[0], self._found[1]["optimisers"][i], f"optimiser{i}"))
            self._found = None

    def save(self, method: Method, cues: Mapping[str, Cue], optimisers: list[Optimizer], place: Place) -> None:
        """Everything needed to go on from ``place``, in one file."""
        if not self.first:
            return
        tensors = {f"model/{name}": t for name, t in method.state_dict().items()} | {"random": torch.get_rng_state()}
        for name, cue in cues.items():
            tensors |= {f"cue/{name}/{key}": t for key, t in cue.state().items()}
        rests = []
        for i, optimiser in enumerate(optimisers):
            found, rest = flatten_optimiser(optimiser.state_dict(), f"optimiser{i}")
            tensors |= found
            rests.append(rest)
        save_tensors(self.checkpoint, tensors, {"place": asdict(place), "optimisers": rests})

    def note_labels(self, name: str, cue: Cue, place: Place, epoch: int, found: Mapping[str, Any] | None) -> None:
        """What a cue found when it labelled the training set anew: a line, one for every fallback it needed, and its
        labels of a few images, to be looked at.

        The lines carry the number of the step that follows, so that a run which resumes before it does not keep them.
        """
        if not self.first or found is None:
            return
        at = {"step": place.step + 1, "stage": place.stage, "epoch": epoch}
        self.journal.write(at | {"event": "labels", "cue": name,
                           **{key: value for key, value in found.items() if key != "fallbacks"}})
        for fallback, who in found.get("fallbacks", {}).items():
            self.journal.write(at | {"event": "fallback", "cue": name, "fallback": fallback, **who})
        labels = cue.state()["labels"]
        rows = torch.arange(0, len(labels), max(1, len(labels) // LOOKED_AT))[:LOOKED_AT]
        save_tensors(self.folder / "labels" / f"{name}-{epoch:04d}.safetensors", {"labels": labels[rows], "rows": rows},
                     {"epoch": epoch})

    def note_cues(self, cues: Mapping[str, Cue], place: Place) -> None:
        """A line on each cue that has something to say of what it knows, when the run begins."""
        for name, cue in cues.items():
            if self.first and place.step == 0 and hasattr(cue, "sentence"):
                self.journal.write({"step": 0, "event": "cue", "cue": name, "says": cue.sentence()})

    def end_epoch(self) -> None:
        """The journal so far as a table."""
        if self.first:
            write_csv(read(self.journal.path), self.folder / "metrics.csv")

    def note_start(self, started: Started, place: Place) -> None:
        """A line on what the weights it began from gave, and what they did not, when the run begins."""
        if self.first and place.step == 0:
            self.journal.write({"step": 0, **started.to_dict()})

    def finish(self, method: Method, identities: int, place: Place, people: str) -> Path:
        """The finished model with all that is needed to build it again, and nothing that only training uses."""
        scheme = getattr(method, "scheme", None)
        if self.first:
            save_tensors(self.model, method.at_test().state_dict(), {
                "recipe": to_plain(self.recipe), "identities": identities, "people": people, "steps": place.step,
                "parts": {"names": scheme.names, "flip": scheme.flip} if scheme is not None else None})
            self.journal.write({"step": place.step, "event": "finished"})
            self.journal.close()
        return self.model


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
