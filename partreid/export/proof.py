"""The proof of an exported file: what it gives for crops beside what PyTorch gives for the same."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from partreid.inference import Model
from partreid.runtime import Embeddings
from partreid.runtime import Model as Exported
from partreid.runtime.model import mean_cosines
from partreid.utils.crops import Crop

BATCHES = (1, 7)
_ROUNDING = 1e-4  # distances nearer to each other than this are in no order


@dataclass(frozen=True)
class Tolerance:
    """What a file may differ by.

    Args:
        difference: Largest of any number, as a share of the largest number of that embedding; None:
            any.
        cosine: Least mean cosine over the crops, of any embedding.
        flips: Share of visibilities that become hidden or seen.
        nearest: Share of crops whose nearest other crop must stay the same.
        decisions: Share of pairs that may be decided otherwise.
    """

    difference: float | None
    cosine: float
    flips: float
    nearest: float
    decisions: float


FLOAT = Tolerance(1e-4, 0.99999, 0.0, 1.0, 0.0)
# what lies beyond is broken and not merely coarse
INT8 = Tolerance(None, 0.99, 0.02, 0.8, 0.02)


@dataclass(frozen=True)
class Row:
    """One embedding. difference: relative, as in :class:`Tolerance`; cosine: the least of a
    crop.
    """

    name: str
    difference: float
    cosine: float
    mean_cosine: float
    flips: int


@dataclass(frozen=True)
class Proof:
    """What was found.

    Args:
        crops: How many crops were looked at.
        batches: Sizes of batches, each of which all crops went through.
        rows: One for each embedding, the worst of all batches.
        nearest: Crops whose nearest other crop is the same.
        pairs: Pairs of crops that both decide on; 0 without a calibration.
        decisions: Those that are decided alike.
        tolerance: What was allowed.
        missed: What lies beyond it, in words; () if nothing does.
    """

    crops: int
    batches: tuple[int, ...]
    rows: tuple[Row, ...]
    nearest: int
    pairs: int
    decisions: int
    tolerance: Tolerance
    missed: tuple[str, ...]

    @property
    def flips(self) -> int:
        """Visibilities that changed, of all embeddings."""
        return sum(row.flips for row in self.rows)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "holds": not self.missed}


def prove(model: Model, exported: Exported, crops: list[Crop], tolerance: Tolerance) -> Proof:
    """Hold an exported file against the model that it comes from.

    Args:
        model: In PyTorch.
        exported: The file, loaded.
        crops: At least two.
        tolerance: What may differ.
    """
    e = model.embed(crops)
    there = Embeddings(e.vectors.numpy(), e.visibility.numpy(), e.names)
    embeddings = [exported.embed(crops, batch) for batch in BATCHES]
    rows = tuple(_row(m, name, there, embeddings) for m, name in enumerate(there.names))
    nearest = min(_nearest(exported, there, here) for here in embeddings)
    pairs, decisions = min(
        (_decisions(exported, there, here) for here in embeddings), key=lambda x: x[1]
    )
    missed = _missed(rows, len(crops), nearest, pairs, decisions, tolerance)
    return Proof(len(crops), BATCHES, rows, nearest, pairs, decisions, tolerance, missed)


def _row(m: int, name: str, there: Embeddings, embeddings: list[Embeddings]) -> Row:
    x = there.vectors[:, m : m + 1]
    scale = max(float(np.abs(x).max()), 1e-12)
    others = [e.vectors[:, m : m + 1] for e in embeddings]
    flips = max(
        int(((e.visibility[:, m] > 0) != (there.visibility[:, m] > 0)).sum()) for e in embeddings
    )
    cosines = [
        [float(mean_cosines(x[i : i + 1], y[i : i + 1])[0]) for i in range(len(x))] for y in others
    ]
    return Row(
        name,
        max(float(np.abs(x - y).max()) for y in others) / scale,
        min(min(of) for of in cosines),
        min(float(np.mean(of)) for of in cosines),
        flips,
    )


def _nearest(exported: Exported, there: Embeddings, here: Embeddings) -> int:
    """Crops whose nearest other crop is as near in PyTorch as the nearest there."""
    far, mine = exported.rule(there, there), exported.rule(here, here)
    for matrix in (far, mine):
        np.fill_diagonal(matrix, np.inf)
    least, chosen = far.min(1), far[np.arange(len(far)), mine.argmin(1)]
    alike = (chosen <= least + _ROUNDING) | ~np.isfinite(least)
    return int(alike.sum())


def _decisions(exported: Exported, there: Embeddings, here: Embeddings) -> tuple[int, int]:
    """(pairs, those decided alike); what differs by less than rounding is alike."""
    decides = exported.calibration
    if decides is None:
        return 0, 0
    called, distances = [], []
    upper = np.triu_indices(len(there), 1)
    for e in (there, here):
        far = exported.rule(e, e)[upper]
        seen = (e.visibility > 0).astype(np.int64)
        shared = (seen @ seen.T)[upper]
        called.append(decides.same(far, shared))
        distances.append(np.where(np.isfinite(far), far, 0))
    alike = (called[0] == called[1]) | (np.abs(distances[0] - distances[1]) < _ROUNDING / 10)
    return len(alike), int(alike.sum())


def _missed(
    rows: tuple[Row, ...], crops: int, nearest: int, pairs: int, decisions: int, t: Tolerance
) -> tuple[str, ...]:
    missed = []
    for row in rows:
        if t.difference is not None and not row.difference <= t.difference:
            missed.append(
                f"{row.name} differs by {row.difference:.1e}, allowed is {t.difference:g}"
            )
        if not row.mean_cosine >= t.cosine:
            missed.append(f"{row.name} has cosine {row.mean_cosine:.5f}, least is {t.cosine:g}")
    flips = sum(row.flips for row in rows)
    if flips > t.flips * crops * len(rows):
        missed.append(
            f"{flips} of {crops * len(rows)} visibilities change, allowed are {t.flips:.1%}"
        )
    if nearest < t.nearest * crops:
        missed.append(f"{crops - nearest} of {crops} crops have another nearest crop")
    if pairs - decisions > t.decisions * pairs:
        missed.append(f"{pairs - decisions} of {pairs} pairs are decided otherwise")
    return tuple(missed)
