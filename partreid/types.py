"""The nouns of the algebra: frozen values that pass between rooms, checked at the door.

Conventions, here and everywhere:

* K counts body parts and never the background; label 0 is background, 1..K are parts, 255 is
  unknown.
* An image tensor is float32 [B, 3, H, W]; a feature map is float [B, C, h, w]; h x w is its own,
  coarser grid.
* An identity is an integer; in training identities are 0..N-1, in files they are whatever the data
  set says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.utils.arguments import check, check_fields, door, quoted, require

UNKNOWN = 255  # label of pixels about which nothing is known; losses skip them
DISTRACTOR = 0  # identity that is wrong for every query
JUNK = -1  # identity that is removed before scoring

MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB in [0, 1]: what images are normalised by
STD = (0.229, 0.224, 0.225)

NO_CUES: Mapping[str, Tensor] = MappingProxyType({})


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ShapeError(message)


@dataclass(frozen=True)
class PartScheme:
    """Names of K parts, from the top of the body downwards, and where each label goes when the
    image is mirrored.

    Args:
        names: K distinct names; label k is ``names[k - 1]``, label 0 is background.
        flip: The label that each of the K + 1 labels becomes (background first); the identity
            permutation if no part has a left and a right.

    Raises:
        ShapeError: Names repeat, or ``flip`` is no permutation of 0..K that keeps 0.

    Examples:
        >>> PartScheme(("head", "left_arm", "right_arm"), flip=(0, 1, 3, 2)).K
        3
    """

    names: tuple[str, ...]
    flip: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.flip:
            object.__setattr__(self, "flip", tuple(range(len(self.names) + 1)))
        _require(
            len(set(self.names)) == len(self.names) > 0,
            f"a part scheme needs distinct part names, got {self.names}",
        )
        _require(
            sorted(self.flip) == list(range(len(self.names) + 1)) and self.flip[0] == 0,
            f"flip must permute 0..{len(self.names)} and keep background 0 in place, got "
            f"{self.flip}",
        )

    @property
    def K(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Sample:
    """One crop on disk. ``identity`` 0 = distractor (wrong for all), -1 = junk (ignored);
    cameras count from 1.
    """

    path: Path
    identity: int
    camera: int

    @classmethod
    def of_nobody(cls, path: Path) -> "Sample":
        """A picture that is only looked at: of whom and of which camera it is does not matter."""
        return cls(path, 0, 0)


@dataclass(frozen=True)
class Benchmark:
    """A data set split. ``queries`` maps the name of a query set to its samples; all share
    ``gallery``.

    ``multi_query``: further images of the people asked for, by the queries' cameras, for
    multi-query scores (:func:`partreid.retrieval.multi_query.pooled`); empty where a data set ships
    none. They take part in nothing else.
    """

    name: str
    root: Path
    train: tuple[Sample, ...]
    queries: Mapping[str, tuple[Sample, ...]]
    gallery: tuple[Sample, ...]
    multi_query: tuple[Sample, ...] = ()

    @property
    def query(self) -> tuple[Sample, ...]:
        """The first (usually only) query set."""
        return next(iter(self.queries.values()))


@dataclass(frozen=True)
class Batch:
    """What a method trains on.

    Args:
        images: float32 [B, 3, H, W], ImageNet-normalised.
        ids: int64 [B] in 0..N-1.
        cameras: int64 [B].
        cues: What is known besides, [B, ...] each, e.g. ``parts`` uint8 [B, h, w] (0 background,
            1..K, 255 unknown).

    Raises:
        ShapeError: The rows do not fit together, or identities are no whole numbers.

    Examples:
        >>> ids = torch.tensor([0, 0, 1, 1])
        >>> Batch(torch.zeros(4, 3, 64, 32), ids, cameras=torch.ones_like(ids)).images.shape
        torch.Size([4, 3, 64, 32])
    """

    images: Tensor
    ids: Tensor
    cameras: Tensor
    cues: Mapping[str, Tensor] = field(default_factory=lambda: NO_CUES)

    def __post_init__(self) -> None:
        check_fields(self)
        n = len(self.images)
        _require(
            self.images.ndim == 4 and self.images.shape[1] == 3,
            f"images must be [B, 3, H, W], got {tuple(self.images.shape)}",
        )
        for name, value in (("ids", self.ids), ("cameras", self.cameras)):
            _require(tuple(value.shape) == (n,), f"{name} must be [{n}], got {tuple(value.shape)}")
            _require(
                not value.is_floating_point(), f"{name} must be whole numbers, got {value.dtype}"
            )
        for name, value in self.cues.items():
            _require(
                len(value) == n,
                f"cue '{name}' must have {n} rows like the images, got {len(value)}",
            )

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(
            self.images.to(device),
            self.ids.to(device),
            self.cameras.to(device),
            {name: cue.to(device) for name, cue in self.cues.items()},
        )


@dataclass(frozen=True)
class PartMaps:
    """Part logits float [B, K+1, h, w] with the scheme that names them; channel 0 is background.

    Args:
        logits: float [B, K+1, h, w].
        scheme: The names of the K parts.

    Raises:
        ShapeError: The logits have not K + 1 channels.

    Examples:
        >>> maps = PartMaps(torch.zeros(2, 3, 8, 4), PartScheme(("upper", "lower")))
        >>> maps.probs.sum(1).unique(), maps.visible_above(0.4).shape
        (tensor([1.]), torch.Size([2, 2]))
    """

    logits: Tensor
    scheme: PartScheme
    _probs: list[Tensor] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        check(PartMaps, {"logits": self.logits, "scheme": self.scheme})
        _require(
            self.logits.ndim == 4 and self.logits.shape[1] == self.scheme.K + 1,
            f"part logits must be [B, {self.scheme.K + 1}, h, w], got {tuple(self.logits.shape)}",
        )

    @classmethod
    def from_probs(cls, probs: Tensor, scheme: PartScheme) -> "PartMaps":
        """Part maps that are known and not predicted; ``probs`` float [B, K+1, h, w] is kept as
        it is.
        """
        return cls(probs.clamp_min(1e-12).log(), scheme, [probs])

    @property
    def probs(self) -> Tensor:
        """Float [B, K+1, h, w]; sums to 1 over channels at each pixel."""
        if not self._probs:
            self._probs.append(self.logits.softmax(1))
        return self._probs[0]

    @property
    def names(self) -> tuple[str, ...]:
        return self.scheme.names

    def visible_above(self, threshold: float) -> Tensor:
        """Float [B, K]: 1 where a part's probability exceeds ``threshold`` at some pixel
        (BPBreID Eq. 4).
        """
        return (self.probs[:, 1:].amax((2, 3)) > threshold).to(self.logits.dtype)

    def visible_by_argmax(self) -> Tensor:
        """Float [B, K]: 1 where a part is the most probable class of at least one pixel (ISP Eq.
        8).
        """
        winners = self.logits.argmax(1).flatten(1)  # [B, h*w]
        classes = torch.arange(1, self.scheme.K + 1, device=winners.device)
        return (winners[:, None] == classes[:, None]).any(2).to(self.logits.dtype)

    def visible_softly(self) -> Tensor:
        """Float [B, K] in [0, 1]: the highest probability of each part over the pixels."""
        return self.probs[:, 1:].amax((2, 3))


@dataclass(frozen=True)
class Embeddings:
    """M named vectors per image, and how visible each is.

    The range of the visibility is looked at on the CPU and outside training: elsewhere that would
    make a GPU wait, and a model that diverges in training is told of by its loss.

    Args:
        vectors: float [N, M, D].
        visibility: float [N, M] from 0 (hidden) to 1 (seen).
        names: M names.

    Raises:
        ShapeError: They do not fit together, or a visibility lies outside 0..1 or is NaN.

    Examples:
        >>> e = Embeddings(torch.ones(4, 2, 8), torch.ones(4, 2), ("head", "legs"))
        >>> len(e), e.select("legs").vectors.shape, e.rows([0, 3]).visibility.shape
        (4, torch.Size([4, 1, 8]), torch.Size([2, 2]))
    """

    vectors: Tensor
    visibility: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        _require(
            self.vectors.ndim == 3, f"vectors must be [N, M, D], got {tuple(self.vectors.shape)}"
        )
        n, m = self.vectors.shape[:2]
        _require(
            tuple(self.visibility.shape) == (n, m),
            f"visibility must be [{n}, {m}] like the vectors, got {tuple(self.visibility.shape)}",
        )
        _require(len(self.names) == m, f"{m} embeddings need {m} names, got {self.names}")
        for name, value in (("vectors", self.vectors), ("visibility", self.visibility)):
            _require(value.is_floating_point(), f"{name} must be floats, got {value.dtype}")
        if self.visibility.device.type == "cpu" and not self.visibility.requires_grad:
            self.require_visibilities()

    def require_visibilities(self) -> None:
        """ShapeError unless all visibilities lie in [0, 1]."""
        v = self.visibility
        if v.numel() and not bool(((v >= 0) & (v <= 1)).all()):  # NaN is neither
            wrong = v[~((v >= 0) & (v <= 1))][0].item()
            raise ShapeError(f"visibilities lie between 0 (hidden) and 1 (seen), got {wrong:g}")

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def of(
        cls,
        vectors: "Vectors",
        visibility: Tensor | None = None,
        names: Sequence[str] | None = None,
    ) -> "Embeddings":
        """Plain tensors as embeddings. What is given as embeddings comes back as it is.

        Args:
            vectors: float [N, D], one vector per image, or [N, M, D].
            visibility: float [N, M] (or [N] for one vector) from 0 to 1; None: all are visible.
                Its range is looked at on every device.
            names: M names; None: "global" for one vector per image, else "part1" to "partM".

        Returns:
            Embeddings [N, M, D].

        Raises:
            ArgumentError: The vectors are neither, or embeddings come with a second visibility.
            ShapeError: Shapes or kinds do not fit, or a visibility lies outside 0..1 or is NaN.

        Examples:
            >>> visibility = torch.tensor([[1.0, 1.0, 0.0]] * 4)
            >>> e = Embeddings.of(torch.ones(4, 3, 8), visibility)
            >>> e.names, e.visibility.sum()
            (('part1', 'part2', 'part3'), tensor(8.))
        """
        check(Embeddings.of, {"visibility": visibility, "names": names})
        if isinstance(vectors, Embeddings):
            require(
                visibility is None and names is None,
                "visibility and names",
                "None for embeddings, which have their own (or give their .vectors)",
                visibility if visibility is not None else names,
            )
            return vectors
        require(
            isinstance(vectors, Tensor),
            "vectors",
            "embeddings or a tensor, float [N, D] or [N, M, D]",
            vectors,
        )
        _require(
            vectors.ndim in (2, 3),
            f"vectors must be [N, D] or [N, M, D], got {tuple(vectors.shape)}",
        )
        one = vectors.ndim == 2
        vectors = vectors[:, None] if one else vectors
        M = vectors.shape[1]
        if names is None:
            names = ("global",) if one else [f"part{m}" for m in range(1, M + 1)]
        _require(vectors.is_floating_point(), f"vectors must be floats, got {vectors.dtype}")
        if visibility is None:
            return cls(vectors, vectors.new_ones(vectors.shape[:2]), tuple(names))
        e = cls(
            vectors,
            visibility[:, None] if one and visibility.ndim == 1 else visibility,
            tuple(names),
        )
        e.require_visibilities()
        return e

    @classmethod
    @door
    def single(cls, name: str, vectors: Tensor) -> "Embeddings":
        """A single, always visible embedding.

        Args:
            name: Its name.
            vectors: float [N, D].

        Raises:
            ShapeError: The vectors are not [N, D].

        Examples:
            >>> Embeddings.single("global", torch.ones(4, 8)).vectors.shape
            torch.Size([4, 1, 8])
        """
        _require(vectors.ndim == 2, f"vectors must be [N, D], got {tuple(vectors.shape)}")
        return cls(vectors[:, None], vectors.new_ones(vectors.shape[0], 1), (name,))

    @classmethod
    @door
    def visible(cls, vectors: Tensor, names: Sequence[str]) -> "Embeddings":
        """Always visible embeddings.

        Args:
            vectors: float [N, M, D].
            names: M names.

        Raises:
            ShapeError: They do not fit together.

        Examples:
            >>> Embeddings.visible(torch.ones(4, 2, 8), ("head", "legs")).visibility.shape
            torch.Size([4, 2])
        """
        return cls(vectors, vectors.new_ones(vectors.shape[:2]), tuple(names))

    @classmethod
    def cat(cls, *groups: "Embeddings") -> "Embeddings":
        """Put groups side by side; narrower ones are zero-padded, which no distance can see.

        Args:
            groups: Embeddings [N, M1, D1], [N, M2, D2] and so on.

        Returns:
            Embeddings [N, M1+M2+.., max D].

        Raises:
            ShapeError: They have not as many rows each, or there are none.

        Examples:
            >>> a = Embeddings.single("a", torch.ones(4, 8))
            >>> b = Embeddings.single("b", torch.ones(4, 6))
            >>> Embeddings.cat(a, b).vectors.shape
            torch.Size([4, 2, 8])
        """
        _together(groups)
        # shapes and not len(): a traced number of images stays one that may vary
        rows = [g.vectors.shape[0] for g in groups]
        _require(
            all(n == rows[0] for n in rows),
            f"groups side by side need as many rows each, got {', '.join(map(str, rows))}",
        )
        width = max(g.vectors.shape[2] for g in groups)
        padded = [
            torch.nn.functional.pad(g.vectors, (0, width - g.vectors.shape[2])) for g in groups
        ]
        return cls(
            torch.cat(padded, 1),
            torch.cat([g.visibility for g in groups], 1),
            tuple(name for g in groups for name in g.names),
        )

    @classmethod
    def stack(cls, batches: Sequence["Embeddings"]) -> "Embeddings":
        """Rows of several batches with the same names, one below the other.

        Args:
            batches: Embeddings [N1, M, D], [N2, M, D] and so on.

        Returns:
            Embeddings [N1+N2+.., M, D].

        Raises:
            ShapeError: Names or widths differ, or there are none.

        Examples:
            >>> e = Embeddings.single("global", torch.ones(4, 8))
            >>> len(Embeddings.stack([e, e]))
            8
        """
        _together(batches)
        for b in batches:
            _require(
                b.names == batches[0].names and b.vectors.shape[2] == batches[0].vectors.shape[2],
                "batches one below the other need the same embeddings; got "
                f"{', '.join(batches[0].names)}, {batches[0].vectors.shape[2]} wide, and "
                f"{', '.join(b.names)}, {b.vectors.shape[2]} wide",
            )
        return cls(
            torch.cat([b.vectors for b in batches]),
            torch.cat([b.visibility for b in batches]),
            batches[0].names,
        )

    def joined(self) -> "Embeddings":
        """One always visible embedding [N, 1, M*D]: the vectors laid end to end (f_c of BPBreID,
        F_p of ISP).

        Examples:
            >>> Embeddings.visible(torch.ones(4, 2, 8), ("head", "legs")).joined().vectors.shape
            torch.Size([4, 1, 16])
        """
        return Embeddings.single("+".join(self.names), self.vectors.flatten(1))

    def all_visible(self) -> "Embeddings":
        """The same vectors, each with visibility 1."""
        return replace(self, visibility=torch.ones_like(self.visibility))

    def select(self, *names: str) -> "Embeddings":
        """The named embeddings, in the order asked for.

        Args:
            names: M of the names.

        Returns:
            Embeddings [N, M, D].

        Raises:
            ShapeError: There is none of that name; the error lists those that there are.
        """
        for name in names:
            _require(
                name in self.names, f"no embedding '{name}'; there are {', '.join(self.names)}"
            )
        index = [self.names.index(name) for name in names]
        return Embeddings(self.vectors[:, index], self.visibility[:, index], tuple(names))

    def rows(self, index: Tensor | slice | Sequence[int]) -> "Embeddings":
        """Some of the images.

        Args:
            index: An index tensor, a slice or a list of row numbers.

        Returns:
            Embeddings [rows, M, D].

        Raises:
            ShapeError: There is no such row.
        """
        _require(
            isinstance(index, Tensor | slice | Sequence) and not isinstance(index, str | bytes),
            f"rows are chosen by a tensor, a slice or a list of row numbers, got {quoted(index)}",
        )
        try:
            return replace(self, vectors=self.vectors[index], visibility=self.visibility[index])
        except (IndexError, TypeError, RuntimeError, ValueError) as error:
            if isinstance(error, ShapeError):
                raise
            raise ShapeError(
                f"no such rows of {len(self)} embeddings: {str(error).splitlines()[0]}"
            ) from None

    def to(self, device: torch.device | str) -> "Embeddings":
        """The same on another device."""
        return replace(self, vectors=self.vectors.to(device), visibility=self.visibility.to(device))


Vectors = Embeddings | Tensor
"""What losses and distances take: embeddings, or a plain tensor float [N, D] or [N, M, D], all of
which is visible."""


@door
def _together(groups: Sequence[Embeddings]) -> None:
    _require(len(groups) > 0, "there are no embeddings to put together; give at least one")


@dataclass(frozen=True)
class Output:
    """What a method sees in a batch: features [B, C, h, w], part maps if it has any, groups of
    embeddings.
    """

    features: Tensor
    parts: PartMaps | None
    groups: Mapping[str, Embeddings]
