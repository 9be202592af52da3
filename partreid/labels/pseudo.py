"""Part labels that are made from the network's own features and made again as it learns (ISP,
HCGA).

One bank in shared memory holds the labels of the whole training set; features pass by one person at
a time and are never kept. Which labels a person gets is a pure function, see :class:`Labeller`.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from partreid.errors import DataError, RecipeError, ShapeError
from partreid.labels.base import FeatureStream
from partreid.types import UNKNOWN, PartScheme, Sample
from partreid.utils.arguments import door


@dataclass(frozen=True)
class State:
    """What the last round left of one person: labels uint8 [n, h, w], and centers float32 [K, C]
    to start from.
    """

    labels: Tensor
    centers: Tensor | None = None


@dataclass(frozen=True)
class Labelled:
    """What one person gets: labels uint8 [n, h, w] (0 background, 1..K, 255 unknown), centers
    float32 [K, C] for the next round or None, and notes: numbers by name, 1 for every fallback that
    was needed.
    """

    labels: Tensor
    centers: Tensor | None = None
    notes: Mapping[str, float] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """What the next round starts from."""
        return State(self.labels, self.centers)


class Labeller(Protocol):
    """Features float [n, C, h, w] and cameras int64 [n] of all images of one person, and what the
    last round left of them (None in the first), to labels. Pure and seeded: the same input gives
    the same labels on any rank.
    """

    def __call__(self, features: Tensor, cameras: Tensor, state: State | None) -> Labelled: ...


# notes that are numbers, averaged over people; every other is a fallback
MEASURED = frozenset({"steps"})
SMALL = 2**21  # numbers in the feature maps of one person
NAMED = 8  # people named per fallback in the diagnostics


class PseudoLabels:
    """A part cue that labels itself anew every ``every`` epochs before epoch ``until`` (None: to
    the end).

    aligned: the labels move with crop, mirror and erase, as the image does. False is what the
    released code of both papers does in effect: labels are mirrored, but neither cropped nor (but
    for a few cells) erased. margin: ours, the network sees the images that are to be labelled
    mirrored so many pixels beyond their border: what a trunk pads there is a picture of where a
    cell lies, and the clusters would be of places.
    """

    @door
    def __init__(
        self,
        samples: Sequence[Sample],
        parts: int,
        parse_person: Labeller,
        *,
        every: int = 1,
        until: int | None = None,
        aligned: bool = True,
        margin: int = 0,
    ) -> None:
        if every < 1 or not 1 <= parts < UNKNOWN:
            raise RecipeError(
                f"labels need every >= 1 and 1 to 254 parts, got every={every}, parts={parts}"
            )
        if margin < 0:
            raise RecipeError(f"margin is a number of pixels from 0, got {margin}")
        self.scheme = PartScheme(tuple(f"part{k}" for k in range(1, parts + 1)))
        self.samples, self.parse_person = samples, parse_person
        self.every, self.until, self.spatial, self.margin = every, until, aligned, margin
        self._owner = {
            identity: row for row, identity in enumerate(sorted({s.identity for s in samples}))
        }
        # Two banks [2, N, h, w] and which of them counts, -1 before the first round: a round is
        # written into the other and becomes visible to running workers all at once.
        self._banks: Tensor | None = None
        self._live = torch.full((1,), -1, dtype=torch.int64).share_memory_()
        self._centers: Tensor | None = None  # float32 [identities, K, C], NaN where there are none

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        labels = self.labels
        if labels is None:
            raise DataError(
                "these labels come from the network's features; there are none before the first "
                "refresh"
            )
        return labels[index].numpy()

    def mirror(self, item: NDArray[np.generic]) -> NDArray[np.generic]:
        """The parts have no left and right: only their places change."""
        return item[:, ::-1]

    def refresh(self, epoch: int, features: FeatureStream) -> dict[str, Any] | None:
        """Label every image anew if ``epoch`` calls for it, and say how that went; None if it does
        not.

        With several processes the stream of each must bring its share of the people; all end with
        all labels.
        """
        due = epoch % self.every == 0 and (self.until is None or epoch < self.until)
        old = self.labels
        if old is not None and not due:
            return None
        began = time.perf_counter()
        target, tally = (int(self._live) + 1) % 2, _Tally()
        centers: dict[int, Tensor] = {}
        done: list[Tensor] = []
        for indices, cameras, maps in features(self.margin) if self.margin else features():
            person = self._owner[self.samples[int(indices[0])].identity]
            with _calm(maps):
                labelled = self.parse_person(maps, cameras, self._past(person, indices))
            labels, size = labelled.labels.cpu(), tuple(maps.shape[2:])
            if labels.dtype != torch.uint8 or tuple(labels.shape) != (len(maps), *size):
                raise ShapeError(
                    f"labels must be uint8 {[len(maps), *size]}, got {labels.dtype} "
                    f"{list(labels.shape)}"
                )
            self._bank(target, size)[indices] = labels
            done.append(indices)
            if labelled.centers is not None:
                centers[person] = labelled.centers.cpu()
            tally.add(
                self.samples[int(indices[0])].identity,
                labels,
                labelled.notes,
                None if old is None else old[indices],
            )
        self._gather(target, done)
        self._centers = self._gather_centers(centers)
        self._live.fill_(target)
        return _merged(tally) | {"seconds": round(time.perf_counter() - began, 3)}

    @property
    def labels(self) -> Tensor | None:
        """All labels uint8 [N, h, w] as they stand; None before the first round."""
        return None if self._banks is None or int(self._live) < 0 else self._banks[int(self._live)]

    def state(self) -> dict[str, Tensor]:
        """Labels and centers, so that a resumed run goes on exactly."""
        labels = self.labels
        state = {} if labels is None else {"labels": labels.clone()}
        return state if self._centers is None else state | {"centers": self._centers}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what :meth:`state` gave. DataError if it is of another training set."""
        if "labels" not in state:
            return
        labels = state["labels"]
        if len(labels) != len(self.samples):
            raise DataError(
                f"the checkpoint holds labels of {len(labels)} images, the training set has "
                f"{len(self.samples)}; resume with the data the run began with"
            )
        self._banks = torch.stack([labels, labels]).share_memory_()
        self._live.fill_(0)
        self._centers = state.get("centers")

    def _past(self, person: int, indices: Tensor) -> State | None:
        labels = self.labels
        if labels is None:
            return None
        centers = None if self._centers is None else self._centers[person]
        return State(
            labels[indices], None if centers is None or bool(centers.isnan().any()) else centers
        )

    def _bank(self, which: int, size: tuple[int, ...]) -> Tensor:
        """The bank to write into, made when the size of the maps is first known."""
        if self._banks is None:
            self._banks = torch.zeros(
                2, len(self.samples), *size, dtype=torch.uint8
            ).share_memory_()
        return self._banks[which]

    def _gather(self, target: int, done: Sequence[Tensor]) -> None:
        """Complete the bank with the labels of all processes; every row is made by one of them
        alone.
        """
        if not _together():
            return
        size = next(
            tuple(size)
            for size in _everyone(None if self._banks is None else self._banks.shape[2:])
            if size
        )
        bank = self._bank(target, size)
        others = torch.ones(len(bank), dtype=torch.bool)
        others[torch.cat([torch.zeros(0, dtype=torch.int64), *done])] = False
        bank[others] = 0
        bank.copy_(_summed(bank))

    def _gather_centers(self, centers: Mapping[int, Tensor]) -> Tensor | None:
        sizes = [
            size[0] for size in _everyone([tuple(c.shape) for c in centers.values()][:1]) if size
        ]
        if not sizes:
            return None
        bank = torch.zeros(len(self._owner), *sizes[0])
        known = torch.zeros(len(self._owner), dtype=torch.uint8)
        for person, center in centers.items():
            bank[person], known[person] = center, 1
        bank, known = _summed(bank), _summed(known)
        return bank.masked_fill((known == 0)[:, None, None], torch.nan)


class _Tally:
    """Counts of a round, made to be added up over processes."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.fallbacks: dict[str, list[int]] = {}

    def add(
        self, identity: int, labels: Tensor, notes: Mapping[str, float], before: Tensor | None
    ) -> None:
        known = labels != UNKNOWN
        shown = (
            torch.stack(
                [
                    (labels == k).flatten(1).any(1)
                    for k in labels.unique().tolist()
                    if k not in (0, UNKNOWN)
                ]
            )
            if bool(((labels > 0) & known).any())
            else torch.zeros(0, len(labels))
        )
        self.sums.update(
            {
                "people": 1,
                "images": len(labels),
                "pixels": int(known.sum()),
                "foreground": int((known & (labels > 0)).sum()),
                "parts": int(shown.sum()),
            }
        )
        if before is not None:
            self.sums.update(_kept(labels, before))
        for name in notes.keys() - MEASURED:
            self.fallbacks.setdefault(name, []).append(identity)
        for name in notes.keys() & MEASURED:
            self.sums[name] += int(notes[name])


def _kept(labels: Tensor, before: Tensor) -> dict[str, int]:
    """Counts of one person, of the cells that either round calls a part: background, which is most
    of a crop, agrees anyhow.

    renumbered: 1 if a part lies where another number was, rather than its own.
    """
    person = ((labels > 0) | (before > 0)) & (labels != UNKNOWN) & (before != UNKNOWN)
    now, then = labels[person].long(), before[person].long()
    size = int(max(now.max(), then.max())) + 1 if len(now) else 1
    shared = torch.bincount(now * size + then, minlength=size * size).view(size, size)[1:, 1:]
    moved = (shared.amax(1) > shared.diagonal()).any() if size > 1 else torch.tensor(False)
    return {
        "compared": len(now),
        "same": int((now == then).sum()),
        "followed": 1,
        "renumbered": int(moved),
    }


def _merged(tally: _Tally) -> dict[str, Any]:
    """The diagnostics of a round over all processes, ready for the journal."""
    sums: Counter[str] = Counter()
    people: dict[str, list[int]] = {}
    for part in _everyone((tally.sums, tally.fallbacks)):
        sums.update(part[0])
        for name, identities in part[1].items():
            people.setdefault(name, []).extend(identities)
    diagnostics: dict[str, Any] = {
        "people": sums["people"],
        "images": sums["images"],
        "foreground_share": round(sums["foreground"] / max(sums["pixels"], 1), 4),
        "parts_per_image": round(sums["parts"] / max(sums["images"], 1), 3),
        "agreement": round(sums["same"] / sums["compared"], 4) if sums["compared"] else None,
        "renumbered": round(sums["renumbered"] / sums["followed"], 4) if sums["followed"] else None,
    }
    diagnostics |= {
        name: round(sums[name] / max(sums["people"], 1), 2) for name in MEASURED & sums.keys()
    }
    return diagnostics | {
        "fallbacks": {
            name: {"people": len(who), "first": sorted(who)[:NAMED]}
            for name, who in sorted(people.items())
        }
    }


@contextlib.contextmanager
def _calm(maps: Tensor) -> Iterator[None]:
    """One thread for small maps on a CPU: meeting another costs more than it brings, far more on
    busy cores.
    """
    threads = torch.get_num_threads()
    if maps.is_cuda or maps.numel() > SMALL or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _everyone(value: Any) -> list[Any]:
    """``value`` of every process; only plain values."""
    if not _together():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _summed(tensor: Tensor) -> Tensor:
    """Sum over the processes, on the device that their messages need."""
    if not _together():
        return tensor
    moved = tensor.cuda() if dist.get_backend() == "nccl" else tensor
    dist.all_reduce(moved)
    return moved.cpu()
