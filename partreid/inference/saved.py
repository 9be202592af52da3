"""Embeddings that were kept, with what it takes to rank them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os.path import realpath  # unlike Path's, it never raises
from pathlib import Path

import torch

from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.types import Embeddings
from partreid.utils.arguments import check_fields, door
from partreid.utils.looks import LOOKS

EMBED_AGAIN = "embed the crops again, see: partreid embed --help"


@dataclass(frozen=True)
class SavedEmbeddings:
    """Embeddings that were kept, with what it takes to rank them: files, model and distance.

    Args:
        embeddings: float32 [N, M, D].
        paths: N files; None for a crop that was none.
        recipe: Name of the model's recipe.
        digest: Twelve hex digits of that recipe.
        weights: SHA-256 of the model's weights.
        distance: How the model compares.
        looks: float32 [N, F], how the crops look, see :func:`partreid.utils.looks.looks`; None for
            those of earlier versions.

    Raises:
        ShapeError: There are not as many paths as images, or looks.

    Examples:
        >>> saved = load("runs/bpbreid", device="cpu").index("crops")
        >>> len(saved) == len(saved.paths), saved.embeddings.names[0]
        (True, 'foreground')
    """

    embeddings: Embeddings
    paths: tuple[Path | None, ...]
    recipe: str
    digest: str
    weights: str
    distance: PartDistance
    looks: torch.Tensor | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        require_paths(self.paths, self.embeddings)
        wanted = [len(self), len(LOOKS)]
        if self.looks is not None and list(self.looks.shape) != wanted:
            raise ShapeError(f"looks must be {wanted}, got {list(self.looks.shape)}")

    def __len__(self) -> int:
        return len(self.embeddings)

    def of(self, paths: Sequence[str | Path]) -> "SavedEmbeddings":
        """Those of some files, in the order given.

        Args:
            paths: Files that were embedded; told apart by where they lie.

        Raises:
            DataError: Names the first that was not.

        Examples:
            >>> saved = load("runs/bpbreid", device="cpu").index(["a.jpg", "b.jpg"])
            >>> saved.of(["b.jpg"]).paths
            (PosixPath('b.jpg'),)
        """
        index = {realpath(path): row for row, path in enumerate(self.paths) if path is not None}
        for path in paths:
            if realpath(path) not in index:
                raise DataError(f"{path} is not among the {len(self)} embeddings; {EMBED_AGAIN}")
        rows = [index[realpath(path)] for path in paths]
        return replace(
            self,
            embeddings=self.embeddings.rows(rows),
            paths=tuple(Path(path) for path in paths),
            looks=None if self.looks is None else self.looks[rows],
        )

    @property
    def model(self) -> str:
        """What an error calls the model."""
        return f"{self.recipe}, weights {self.weights[:12]}, recipe {self.digest}"


@door
def require_paths(paths: Sequence[Path | None], gallery: Embeddings) -> None:
    if len(paths) != len(gallery):
        raise ShapeError(
            f"a gallery of {len(gallery)} embeddings needs as many paths, got {len(paths)}"
        )


def of_others(one: str, mine: str, other: str, theirs: str) -> DataError:
    return DataError(
        f"{other} are of another model ({theirs}) than {one} ({mine}), and no distance between "
        "them means anything; embed both with one model"
    )
