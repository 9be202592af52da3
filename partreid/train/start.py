"""Beginning from the weights of another run: what is copied, and what belongs to other people
and is not.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from partreid.errors import RecipeError
from partreid.train.checkpoint import load_tensors
from partreid.types import Benchmark


@dataclass(frozen=True)
class Started:
    """What a start copied. classifiers: names left as initialised because they tell other people
    apart. fresh: names left because the start has no tensor of that name and shape. copied: how
    many tensors were copied.
    """

    source: str
    copied: int
    fresh: tuple[str, ...]
    classifiers: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "event": "start",
            "source": self.source,
            "copied": self.copied,
            "fresh": list(self.fresh),
            "classifiers_of_other_people": list(self.classifiers),
        }


def people_digest(benchmark: Benchmark) -> str:
    """Twelve hex digits of who is trained on: the training images, by their paths below the root,
    and whom they show.

    Two data sets with as many people have different ones; the same data elsewhere on disk has the
    same.
    """
    lines = sorted(f"{s.identity} {_below(s.path, benchmark.root)}" for s in benchmark.train)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def start_from(method: nn.Module, source: Path, people: str | None = None) -> Started:
    """Copy the weights of another run wherever names and shapes agree, in place.

    people: :func:`people_digest` of the training to come. Classifiers and class centers are copied
    only from a run on the same people, and never because there happen to be as many. RecipeError if
    no weight of the trunk fits.
    """
    tensors, meta = load_tensors(source / "model.safetensors" if source.is_dir() else source)
    state = method.state_dict()
    fitting = {
        name: t
        for name, t in tensors.items()
        if name in state and (state[name].shape, state[name].dtype) == (t.shape, t.dtype)
    }
    # counters always fit
    if not any(name.startswith("trunk.") and t.dim() > 0 for name, t in fitting.items()):
        raise RecipeError(
            f"no trunk weight of {source} fits this method; its recipe has another backbone"
        )
    same = people is not None and meta.get("people") == people
    others = (
        ()
        if same
        else tuple(
            name
            for name, t in fitting.items()
            if of_people(name) and meta.get("identities") in t.shape
        )
    )
    fitting = {name: t for name, t in fitting.items() if name not in others}
    method.load_state_dict(fitting, strict=False)
    return Started(
        str(source),
        len(fitting),
        tuple(n for n in state if n not in fitting and n not in others),
        others,
    )


def of_people(name: str) -> bool:
    """Whether a tensor may tell the people of the training set apart: heads and class centers,
    but not their norms.
    """
    return name.startswith(("id.", "centers")) and "norm" not in name.split(".")
