"""What an exported model takes and gives, on numpy arrays: the words of :mod:`partreid.types` and
:mod:`partreid.inference`.
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

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, index: "slice | Sequence[int] | NDArray[np.integer]") -> "Embeddings":
        """Some of the images."""
        return replace(self, vectors=self.vectors[index], visibility=self.visibility[index])

    @classmethod
    def stack(cls, batches: "Sequence[Embeddings]") -> "Embeddings":
        """Rows of several batches with the same names, one below the other."""
        return cls(
            np.concatenate([b.vectors for b in batches]),
            np.concatenate([b.visibility for b in batches]),
            batches[0].names,
        )


@dataclass(frozen=True)
class Comparison:
    """Two crops side by side: the evidence and, with a calibration, the decision.

    Args:
        evidence: Their distance and what each part says about it.
        probability: That both are one person, in (0, 1); None without a calibration and where no
            part is shared.
        same: Whether they are called one person at the calibrated rate of false matches; None
            without a calibration.
    """

    evidence: Evidence
    probability: float | None = None
    same: bool | None = None

    @property
    def distance(self) -> float:
        """Between the two crops."""
        return self.evidence.distance

    @property
    def shared_evidence(self) -> int:
        """How many parts both images show."""
        return int(self.evidence.shared.sum())


@dataclass(frozen=True)
class Hit(Comparison):
    """One entry of a ranked list.

    Args:
        place: From 1, the nearest.
        row: Of the gallery, from 0.
        path: The gallery's file; None for a crop that is none.
    """

    place: int = 0
    row: int = 0
    path: Path | None = None

    @property
    def file(self) -> Path:
        """The path. DataError if the crop is no file."""
        if self.path is None:
            raise DataError(f"row {self.row} of the gallery is a picture in memory and has no file")
        return self.path


def single(value: Any) -> NDArray[np.float32]:
    """As float32, C-contiguous."""
    return np.ascontiguousarray(value, np.float32)
