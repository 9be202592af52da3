"""What an exported model takes and gives, on numpy arrays, in the words of :mod:`partreid.types`. A
comparison and a hit are those of :mod:`partreid.inference`, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError, ShapeError
from partreid.runtime.evidence import Evidence
from partreid.utils.arguments import check_fields

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """M named vectors per image, and how visible each is.

    Args:
        vectors: float [N, M, D].
        visibility: float [N, M] from 0 (hidden) to 1 (seen).
        names: M names.
        looks: How the crops look, float64 [N, F], see :mod:`partreid.utils.looks`; None where
            nobody asked. They say whether a calibration decides about them.

    Raises:
        ShapeError: They do not fit together, or a visibility lies outside 0..1 or is NaN.

    Examples:
        >>> e = Embeddings(np.ones((4, 2, 8)), np.ones((4, 2)), ("head", "legs"))
        >>> len(e), e.rows([0, 3]).vectors.shape
        (4, (2, 2, 8))
    """

    vectors: Floats
    visibility: Floats
    names: tuple[str, ...]
    looks: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        shape = self.vectors.shape
        if len(shape) != 3 or shape[1] != len(self.names) or self.visibility.shape != shape[:2]:
            raise ShapeError(
                f"embeddings are vectors [N, M, D], visibility [N, M] and M names; got "
                f"{list(shape)}, {list(self.visibility.shape)} and {len(self.names)} names"
            )
        if not bool(((self.visibility >= 0) & (self.visibility <= 1)).all()):  # NaN is neither
            raise ShapeError("visibilities lie between 0 (hidden) and 1 (seen); some do not")
        if self.looks is not None and (self.looks.ndim != 2 or len(self.looks) != len(self)):
            raise ShapeError(
                f"{len(self)} images need looks [{len(self)}, F], got {list(self.looks.shape)}"
            )

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, index: "slice | Sequence[int] | NDArray[np.integer]") -> "Embeddings":
        """Some of the images."""
        looks = None if self.looks is None else self.looks[index]
        return replace(
            self, vectors=self.vectors[index], visibility=self.visibility[index], looks=looks
        )

    @classmethod
    def stack(cls, batches: "Sequence[Embeddings]") -> "Embeddings":
        """Rows of several batches with the same names, one below the other."""
        looks = [b.looks for b in batches if b.looks is not None]
        return cls(
            np.concatenate([b.vectors for b in batches]),
            np.concatenate([b.visibility for b in batches]),
            batches[0].names,
            np.concatenate(looks) if len(looks) == len(batches) else None,
        )


@dataclass(frozen=True)
class Comparison:
    """Two crops side by side: the evidence and, with a calibration, the decision.

    Args:
        evidence: Their distance and what each part says about it.
        probability: That both are one person, in (0, 1); None where nothing is known, see
            ``reason``.
        same: Whether they are called one person at the calibrated rate of false matches; None where
            nothing is decided.
        reason: Why there is no probability: there is no calibration, a crop does not look like
            those it was made of, or no part is shared.
    """

    evidence: Evidence
    probability: float | None = None
    same: bool | None = None
    reason: str | None = None

    @property
    def distance(self) -> float:
        """Between the two crops."""
        return self.evidence.distance

    @property
    def shared_evidence(self) -> int:
        """How many parts both images show."""
        return int(self.evidence.shared.sum())


@dataclass(frozen=True, kw_only=True)
class Hit(Comparison):
    """One entry of a ranked list: the comparison of a query with it, and where it stands.

    Args:
        place: From 1, the nearest.
        row: Of the gallery, from 0.
        path: The gallery's file; None for a crop that is none.

    Examples:
        >>> from partreid import load
        >>> hit = load("runs/bpbreid", device="cpu").rank("a.jpg", "crops", top=1)[0][0]
        >>> hit.place, hit.path.parent, hit.same is None and hit.reason.startswith("no decision")
        (1, PosixPath('crops'), True)
    """

    place: int
    row: int
    path: Path | None

    @property
    def file(self) -> Path:
        """The path. DataError if the crop is no file."""
        if self.path is None:
            raise DataError(f"row {self.row} of the gallery is a picture in memory and has no file")
        return self.path


def single(value: Any) -> NDArray[np.float32]:
    """As float32, C-contiguous."""
    return np.ascontiguousarray(value, np.float32)
