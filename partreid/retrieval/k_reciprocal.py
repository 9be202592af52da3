"""Re-ranking by k-reciprocal neighbours (Zhong et al., CVPR 2017), on any distance, without an
all-pairs matrix.

Who is near whom decides: two images are alike if each other's mutual neighbours are the same
people. The definition is the dense one, but of all distances only the 2 k1 + 2 smallest of every
image are kept, with the sets that follow from them; the others are computed in tiles, looked at and
forgotten, and those of queries to the gallery a second time for the result. Ties, and images that
share no part: see :mod:`partreid.retrieval.neighbors`.

Re-ranked distances of different queries cannot be compared with each other, so no threshold may be
put on them. And as it is defined, the method looks at every image of the gallery, also at those
that a protocol takes out of a query's list afterwards, as Market-1501's does with its person in its
own camera: they are its neighbours all the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.retrieval.neighbors import (
    Distances,
    Floats,
    Integers,
    Nearest,
    OfEmbeddings,
    OfRows,
    slices,
)
from partreid.types import Embeddings
from partreid.utils.arguments import check_fields, door, integer

Progress = Callable[[int, int], None]

_AT_ONCE = 256  # images whose sets are worked on together: a row of n flags or numbers each


@dataclass(frozen=True)
class KReciprocal:
    """k1: neighbours that count as near. k2: neighbours whose sets are averaged (1 = none). weight:
    of the original distance in the result, 0..1. power: distances are raised to it first; 2 is the
    paper's Mahalanobis form on Euclid.

    Raises:
        DataError: the numbers make no sense.

    Examples:
        >>> import torch
        >>> from partreid import Embeddings, PartDistance
        >>> from partreid.metrics import rank
        >>> from partreid.retrieval import KReciprocal
        >>> e = Embeddings.single("global", torch.tensor([[0.0], [0.1], [5.0], [5.1]]))
        >>> blocks = KReciprocal(k1=1, k2=1)(PartDistance("euclidean"), e, e)
        >>> rank(blocks, q_ids=[1, 1, 2, 2], g_ids=[1, 1, 2, 2]).mAP
        1.0
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    power: int = 2

    def __post_init__(self) -> None:
        check_fields(self)
        if (
            self.k1 < 1
            or not 1 <= self.k2 <= self.k1 + 1
            or not 0 <= self.weight <= 1
            or self.power < 1
        ):
            raise DataError(
                "re-ranking needs k1 >= 1, 1 <= k2 <= k1 + 1, 0 <= weight <= 1 and power >= 1, got "
                f"{self}"
            )

    @door
    def __call__(
        self,
        distance: PartDistance,
        query: Embeddings,
        gallery: Embeddings,
        rows: int = 512,
        progress: Progress | None = None,
    ) -> Iterator[tuple[slice, Tensor]]:
        """Re-ranked distances, ready for :func:`partreid.metrics.rank`.

        Args:
            distance: how two images are compared.
            query: Nq embeddings.
            gallery: Ng embeddings.
            rows: queries at a time.
            progress: called with (steps done, steps in all): one for every image whose neighbours
                are known, three for the sets that follow from them, one for the result of every
                query.

        Returns:
            (slice of queries, float32 [at most rows, Ng]), one after the other.

        Raises:
            DataError: a distance is NaN.
        """
        integer("the rows of a block", rows, 1)
        return self._rerank(OfEmbeddings(distance, query, gallery), rows, progress)

    @door
    def blocks(
        self,
        far: Callable[[slice], Floats],
        queries: int,
        n: int,
        rows: int = 512,
        progress: Progress | None = None,
    ) -> Iterator[tuple[slice, Floats]]:
        """The same from ``far(slice)``, distances float [rows, n] of some images, queries first,
        to all n.
        """
        integer("the rows of a block", rows, 1)
        integer("the number of images", n, 1)
        integer("the number of queries", queries, 0, n)
        for span, block in self._rerank(OfRows(far, queries, n, rows), rows, progress):
            yield span, block.numpy()

    def _rerank(
        self, distances: Distances, rows: int, progress: Progress | None
    ) -> Iterator[tuple[slice, Tensor]]:
        n, queries = distances.n, distances.queries

        def tell(done: int) -> None:
            if progress is not None:
                progress(done, n + 3 + queries)

        # twice k1 + 1: most members' members are among them as well
        near = Nearest(n, min(2 * self.k1 + 2, n))
        seen = 0
        for span, columns, tile in distances.tiles():
            near.update(span, columns, tile)
            seen += tile.numel()
            tell(seen // n)
        sets = self._expanded(near.index[:, : self.k1 + 1])
        tell(n + 1)
        sets = self._weighted(sets, near, distances)
        tell(n + 2)
        if self.k2 > 1:
            sets = _averaged(sets, near.index[:, : self.k2])
        holders = _holders(sets, queries)
        tell(n + 3)
        for span, block in distances.to_gallery(rows):
            result = self._normal(block.float().cpu(), torch.from_numpy(near.largest[span, None]))
            result.mul_(self.weight).add_(1 - self.weight)
            for some in slices(len(result), _AT_ONCE):
                shared = _shared(
                    sets,
                    holders,
                    np.arange(span.start + some.start, span.start + some.stop),
                    n - queries,
                )
                # The Jaccard distance is 1 - the shared weight of two sets over their united one;
                # each weighs 1.
                result[some].sub_(shared.div_(2 - shared), alpha=1 - self.weight)
            tell(n + 3 + span.stop)
            yield span, result

    def _normal(self, far: Tensor, largest: Tensor) -> Tensor:
        """Powers of distances over the largest finite one of their row; what shares no part
        counts as that far.
        """
        return (far / largest.clamp_min(1e-12)).clamp_(0, 1).pow_(self.power)

    def _expanded(self, near: Integers) -> "Sets":
        """R*(i): mutual neighbours of i, with those of each member whose own (half as many)
        mostly are i's too.
        """
        n = len(near)
        mutual, halves = _mutual(near), _mutual(near[:, : int(np.around(self.k1 / 2)) + 1])
        size = np.diff(halves.starts)
        pairs = []
        for span in slices(n, _AT_ONCE):
            holds = np.zeros((span.stop - span.start, n), np.bool_)
            owner, candidate = mutual.of(np.arange(span.start, span.stop))
            holds[owner, candidate] = True
            whose, member = halves.of(candidate)
            common = np.bincount(whose, holds[owner[whose], member], len(candidate))
            joins = (3 * common > 2 * size[candidate])[whose]
            holds[owner[whose[joins]], member[joins]] = True
            owner, member = np.divmod(np.flatnonzero(holds), n)
            pairs.append((owner + span.start, member))
        owner, member = (np.concatenate(side) for side in zip(*pairs, strict=True))
        return Sets.of_pairs(owner, member, n)

    def _weighted(self, sets: "Sets", near: Nearest, distances: Distances) -> "Sets":
        """Every member by exp(-distance), those of a set together 1."""
        n = len(sets)
        owner, member = sets.of(np.arange(n))
        known = (np.arange(n)[:, None] * n + near.index).ravel()
        order = np.argsort(known)
        known = known[order]
        place = np.searchsorted(known, owner * n + member).clip(max=len(known) - 1)
        far = near.distance.ravel()[order[place]]
        # members' members that are not near themselves
        new = np.flatnonzero(known[place] != owner * n + member)
        far[new] = distances.of(owner[new], member[new])
        normal = self._normal(torch.from_numpy(far), torch.from_numpy(near.largest[owner]))
        weights: Floats = normal.neg_().exp_().numpy()
        together: Floats = np.bincount(owner, weights, n).astype(np.float32)
        return replace(sets, weights=weights / together[owner])


@dataclass(frozen=True, eq=False)
class Sets:
    """A set of images for each of some, laid end to end: that of i is ``members[starts[i]:starts[i
    + 1]]``.

    starts: int64 [n + 1]; members: int64; weights: float32, one for each member.
    """

    starts: Integers
    members: Integers
    weights: Floats

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of_pairs(
        cls, owner: Integers, member: Integers, n: int, weights: Floats | None = None
    ) -> "Sets":
        """From int64 owners, ascending, and a member of each; all weigh 1 if not said otherwise."""
        starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))])
        return cls(starts, member, np.ones(len(member), np.float32) if weights is None else weights)

    def places(self, rows: Integers) -> tuple[Integers, Integers]:
        """Where the members of the sets of ``rows`` lie, one set after the other: (which of the
        rows, place).
        """
        size = self.starts[rows + 1] - self.starts[rows]
        which = np.repeat(np.arange(len(rows)), size)
        return which, np.arange(len(which)) + np.repeat(
            self.starts[rows] - (np.cumsum(size) - size), size
        )

    def of(self, rows: Integers) -> tuple[Integers, Integers]:
        """The members of the sets of ``rows``: (which of the rows, member)."""
        which, place = self.places(rows)
        return which, self.members[place]


def _mutual(near: Integers) -> Sets:
    """R(i): the neighbours of i that have i among theirs."""
    back = [
        (near[near[span]] == np.arange(span.start, span.stop)[:, None, None]).any(2)
        for span in slices(len(near), _AT_ONCE)
    ]
    owner, place = np.nonzero(np.concatenate(back))
    return Sets.of_pairs(owner, near[owner, place], len(near))


def _averaged(sets: Sets, near: Integers) -> Sets:
    """Local query expansion: every image takes the mean of the weighted sets of its k2 nearest."""
    n, k2 = near.shape
    entries = []
    for span in slices(n, _AT_ONCE):
        which, place = sets.places(near[span].ravel())
        key, same = np.unique(
            (which // k2 + span.start) * n + sets.members[place], return_inverse=True
        )
        entries.append(
            (key, (np.bincount(same, sets.weights[place], len(key)) / k2).astype(np.float32))
        )
    key, weights = (np.concatenate(side) for side in zip(*entries, strict=True))
    return Sets.of_pairs(key // n, key % n, n, weights)


def _holders(sets: Sets, queries: int) -> Sets:
    """Turned round: for every image the gallery images, counted from 0, whose sets hold it, and
    how much of it.
    """
    n = len(sets)
    owner, member = sets.of(np.arange(queries, n))
    order = np.argsort(member, kind="stable")
    return Sets.of_pairs(
        member[order], owner[order], n, sets.weights[sets.starts[queries] :][order]
    )


def _shared(sets: Sets, holders: Sets, rows: Integers, gallery: int) -> Tensor:
    """Shared weight, the sum of the smaller weight of every image, of some sets with all gallery
    images' sets.
    """
    shared = np.zeros((len(rows), gallery), np.float32)
    query, place = sets.places(rows)
    which, theirs = holders.places(sets.members[place])
    smaller = np.minimum(sets.weights[place[which]], holders.weights[theirs])
    np.add.at(shared.reshape(-1), query[which] * gallery + holders.members[theirs], smaller)
    return torch.from_numpy(shared)
