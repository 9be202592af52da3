"""What callers hand in: numpy arrays, torch tensors or lists become arrays, and anything else one
sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.errors import ArgumentError, DataError, ShapeError
from partreid.metrics.protocols import (
    MARKET,
    NO_CAMERA,
    Lists,
    Protocol,
    Special,
    require_matches,
    special,
)
from partreid.utils.arguments import door, quoted, require

if TYPE_CHECKING:
    Ids: TypeAlias = Tensor | NDArray[np.integer] | Sequence[int]
    Matrix: TypeAlias = Tensor | NDArray[np.floating] | Sequence[Sequence[float]]
else:  # as_int64 and as_floats refuse what does not fit, in better words than a type's name
    Ids = Matrix = Any

Integers = NDArray[np.int64]
Floats = NDArray[np.floating]
Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

_EXACT = (torch.float16, torch.float32, torch.float64)  # what numpy knows too


def as_int64(name: str, values: Ids) -> Integers:
    """One integer per image as int64 [N].

    Args:
        name: what an error calls them.
        values: integers [N] of any width: a tensor on any device, an array or a list.

    Returns:
        int64 [N].

    Raises:
        ShapeError: they are no integers, not one-dimensional or beyond 64 bits.
    """
    array = _array(values)
    if array is None:
        raise ShapeError(f"{name} must be integers, one per image, got {quoted(values)}")
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ShapeError(
            f"{name} must be integers, one per image, got {array.dtype} {list(array.shape)}"
        )
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ShapeError(f"{name} must fit into 64 bits with a sign, got {array.max()}")
    return array.astype(np.int64)


def as_floats(name: str, values: Any) -> Floats:
    """Real numbers of any shape as float32 or float64, without a copy where they are that already.

    float16 and bfloat16 become float32, whole numbers float64: no value changes.

    Args:
        name: what an error calls them.
        values: a tensor on any device, an array or a list.

    Returns:
        float32 or float64, of the same shape.

    Raises:
        ArgumentError: they are no real numbers (complex, truth values, texts).
    """
    array = _array(values)
    if array is None:
        raise ArgumentError(f"{name} must be real numbers, got {quoted(values)}")
    require(
        array.dtype.kind in "fiu" or not array.size,
        name,
        "real numbers",
        f"{array.dtype} {list(array.shape)}" if array.ndim else values,
    )
    if array.dtype == np.float16:
        return array.astype(np.float32)
    single = array.dtype in (np.float32, np.float64)
    return array if single else array.astype(np.float64)


def as_matrix(values: Matrix) -> Floats:
    """Distances [Nq, Ng] as float32 or float64.

    Raises:
        ArgumentError: they are no real numbers.
        ShapeError: they are no matrix.
    """
    array = as_floats("distances", values)
    if array.ndim != 2:
        raise ShapeError(f"distances must be [Nq, Ng], got {list(array.shape)}")
    return array


@door
def require_numbers(distances: Floats, start: int, stop: int) -> None:
    """DataError if a distance of the queries from ``start`` to ``stop`` is NaN."""
    if distances.size and np.isnan(distances.min()):  # min hands NaN on
        raise DataError(
            f"distances of queries {start} to {stop} are not all numbers: some are NaN. If a model "
            "made them, its embeddings hold NaN: it has diverged or its weights are broken"
        )


def _array(values: Any) -> NDArray[Any] | None:
    """None where numpy makes no array of them."""
    if isinstance(values, Tensor):
        plain = values.detach().cpu()
        if plain.is_floating_point() and plain.dtype not in _EXACT:
            plain = plain.float()  # bfloat16 and narrower, which numpy does not know
        return plain.numpy()
    try:
        return np.asarray(values)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


@dataclass(frozen=True, eq=False)
class Labels:
    """Who is on the images and which camera saw them, under a rule that says what counts.

    q_ids, q_cams: int64 [Nq]; g_ids, g_cams: int64 [Ng]; cameras are 0 where nobody knows them.
    distractor, junk: the identities that mean so, none by default.
    """

    protocol: Protocol
    q_ids: Integers
    g_ids: Integers
    q_cams: Integers
    g_cams: Integers
    distractor: frozenset[int] = frozenset()
    junk: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        shape: tuple[int, int] | None,
        q_ids: Ids,
        g_ids: Ids,
        q_cams: Ids | None,
        g_cams: Ids | None,
        protocol: Protocol | None,
        distractor: Special,
        junk: Special,
    ) -> "Labels":
        """Of what a caller gave for distances of this shape; None: of any.

        The rule is that of Market-1501 where cameras are given and ``no_camera`` where none are.

        Raises:
            ShapeError: ids or cameras are no integers, or not one per row or column.
            ArgumentError: cameras of one side alone, or none for a protocol that needs them.
        """
        if (q_cams is None) != (g_cams is None):
            raise ArgumentError(
                "cameras are given for both sides or for none; got "
                f"{'g_cams' if q_cams is None else 'q_cams'} alone"
            )
        if protocol is None:
            protocol = NO_CAMERA if q_cams is None else MARKET
        if q_cams is None and protocol.needs_cameras:
            raise ArgumentError(
                f"protocol '{protocol.name}' asks which camera saw an image; give q_cams and "
                "g_cams, or leave the protocol out"
            )
        people = {"q_ids": as_int64("q_ids", q_ids), "g_ids": as_int64("g_ids", g_ids)}
        nq, ng = shape or (len(people["q_ids"]), len(people["g_ids"]))
        everything = {
            **people,
            "q_cams": np.zeros(nq, np.int64) if q_cams is None else as_int64("q_cams", q_cams),
            "g_cams": np.zeros(ng, np.int64) if g_cams is None else as_int64("g_cams", g_cams),
        }
        for name, values in everything.items():
            n, side = (nq, "row") if name.startswith("q") else (ng, "column")
            if values.shape != (n,):
                raise ShapeError(
                    f"{name} must be [{n}], one per {side} of the distances, got "
                    f"{list(values.shape)}"
                )
        return cls(
            protocol,
            **everything,
            distractor=special("distractor", distractor),
            junk=special("junk", junk),
        )

    @property
    def lists(self) -> Lists:
        """The gallery, ready to be asked for any query's list."""
        return Lists(
            self.protocol,
            g_ids=self.g_ids,
            g_cams=self.g_cams,
            distractor=self.distractor,
            junk=self.junk,
        )

    def masks(self) -> tuple[Mask, Mask]:
        """(relevant, valid), bool [Nq, Ng]."""
        relevant = np.zeros((len(self.q_ids), len(self.g_ids)), np.bool_)
        valid, lists = np.ones_like(relevant), self.lists
        valid[:, lists.junk] = False
        for i, (identity, camera) in enumerate(zip(self.q_ids.tolist(), self.q_cams.tolist())):
            right, removed = lists.of(identity, camera)
            relevant[i, right], valid[i, removed] = True, False
        return relevant, valid

    def require_matches(self) -> None:
        """DataError, with the reason and a remedy, if no query has a right answer."""
        require_matches(
            self.protocol,
            q_ids=self.q_ids,
            g_ids=self.g_ids,
            q_cams=self.q_cams,
            g_cams=self.g_cams,
            distractor=self.distractor,
            junk=self.junk,
        )
