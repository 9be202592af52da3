"""Parts with their visibility in one flat vector, and out of it again.

Trackers keep one vector for each track, scale it to length 1 and average it over time. Parts of
length 1, end to end, each times its visibility, come through both: a scale is common to all parts,
and a part that was hidden for a while keeps its direction and loses length. So what a tracker holds
can be taken apart and compared part by part.

What is lost: the visibility of a whole image (only the ratios between parts stay, so shrinkage on
little evidence sees the most visible part as fully seen), and lengths, which ``euclidean``
compares; its rows are compared by ``unit_euclidean``. A tracker that compares the flat vectors
takes hidden parts for unlike ones.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ShapeError
from partreid.integrations.frames import as_array
from partreid.runtime.distance import PartDistance
from partreid.runtime.types import Embeddings
from partreid.utils.arguments import Count, door

Singles = NDArray[np.float32]

_LEAST = 1e-5  # length of a part, by that of the most visible one, below which it is hidden
FAR = 2.0  # what two boxes get that share no part: the largest cosine distance


class Packing:
    """How the parts of a model lie in a flat vector.

    Args:
        names: Of the M embeddings.
        width: D, numbers in each.
        distance: How the model compares; of ``euclidean`` the lengths are left out, see above.

    Attributes:
        length: Numbers of a flat vector, M D.

    Examples:
        >>> pack = Packing(("head", "legs"), 3, PartDistance("cosine"))
        >>> e = Embeddings(np.ones((1, 2, 3)), np.array([[1.0, 0.0]]), ("head", "legs"))
        >>> flat = pack(e)
        >>> flat.shape, pack.parts(7 * flat).visibility.tolist()
        ((1, 6), [[1.0, 0.0]])
    """

    @door
    def __init__(self, names: tuple[str, ...], width: Count, distance: PartDistance) -> None:
        self.names, self.width, self.length = names, width, len(names) * width
        metric = "unit_euclidean" if distance.metric == "euclidean" else distance.metric
        far = None if distance.metric == "euclidean" else distance.far
        self.distance = replace(distance, metric=metric, far=far)

    def __call__(self, e: Embeddings) -> Singles:
        """Embeddings of N images as flat vectors, float32 [N, M D]."""
        if e.names != self.names or e.vectors.shape[2] != self.width:
            raise ShapeError(
                f"this packing is for {len(self.names)} embeddings of {self.width} numbers "
                f"({', '.join(self.names)}), got {', '.join(e.names)} of {e.vectors.shape[2]}"
            )
        unit = _unit(np.asarray(e.vectors, np.float64))
        flat = unit * np.asarray(e.visibility, np.float64)[..., None]
        return flat.reshape(len(e), self.length).astype(np.float32)

    def parts(self, flat: Any) -> Embeddings:
        """Flat vectors [N, M D], scaled or averaged since, as embeddings. Visibility is the length
        of a part by that of the longest part of its image.

        Raises:
            ShapeError: They have another length.
        """
        x = as_array(flat).astype(np.float64)
        if x.ndim != 2 or x.shape[1] != self.length:
            raise ShapeError(
                f"flat vectors must be [N, {self.length}], {len(self.names)} parts of "
                f"{self.width} numbers, got {list(x.shape)}"
            )
        x = x.reshape(len(x), len(self.names), self.width)
        length = np.linalg.norm(x, axis=2)
        most = length.max(1, keepdims=True, initial=0)
        seen = length / np.where(most == 0, 1, most)
        seen = np.where(seen < _LEAST, 0, seen)
        return Embeddings(_unit(x).astype(np.float32), seen.astype(np.float32), self.names)

    def compare(self, a: Any, b: Any) -> Singles:
        """Distances between flat vectors by the model's own rule, part by part, on the scale of a
        cosine distance (0 to 2), in which trackers have their thresholds: float32 [Na, Nb].

        Of ``unit_euclidean`` it is d^2 / 2, which is the cosine distance where there is one part.
        Two that share no part are ``FAR``.
        """
        one, other = self.parts(a), self.parts(b)
        if not len(one) or not len(other):
            return np.zeros((len(one), len(other)), np.float32)
        far = self.distance(one, other)
        if self.distance.metric == "unit_euclidean":
            return np.minimum(np.square(far) / 2, FAR)
        return np.minimum(far, FAR)


def _unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(x, axis=2, keepdims=True)
    return np.asarray(x / np.where(length == 0, 1, length))
