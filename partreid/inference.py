"""The small Python API: load a trained run, embed crops, compare two, rank a gallery, keep what was
embedded.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from math import isnan
from os.path import isdir, join, lexists, realpath  # unlike Path's, they never raise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partreid import build
from partreid.data.crops import AnyCrop, AnyCrops, Crop, crops_of
from partreid.data.crops import crop_paths as crop_paths
from partreid.data.transforms import to_batch
from partreid.distance import PartDistance
from partreid.errors import ArgumentError, DataError, PartReidError, ShapeError
from partreid.evaluation import decision
from partreid.evaluation.doubt import Doubt, doubt_about
from partreid.evaluation.extract import require_finite
from partreid.explain.evidence import Evidence, explain_pair, explain_pairs
from partreid.explain.overlays import Shown
from partreid.explain.sheets import compare_picture
from partreid.export.method import ENDING, Exported, read_exported
from partreid.layers.memory import FORMAT
from partreid.methods.base import Method
from partreid.metrics.calibration import Calibration, require_prior
from partreid.recipes.base import Recipe
from partreid.retrieval.neighbors import slices
from partreid.retrieval.search import nearest
from partreid.train.bundle import read_model
from partreid.train.checkpoint import save_tensors
from partreid.types import Embeddings, PartScheme, Vectors
from partreid.utils.ahead import ahead
from partreid.utils.arguments import Count, check_fields, door, fits, integer, quoted, require
from partreid.utils.files import parse_json, read_text, regular, writable, write_json
from partreid.utils.images import Pixels
from partreid.utils.lock import alone_in
from partreid.utils.looks import LOOKS, looks
from partreid.utils.tensors import read_tensors

_PAIRS = 4096  # explained together
_TENSORS, _INDEX = "embeddings.safetensors", "index.json"
_AGAIN = "embed the crops again, see: partreid embed --help"


@dataclass(frozen=True)
class Hit:
    """One entry of a ranked list.

    Args:
        place: From 1, the nearest.
        row: Of the gallery, from 0.
        path: The gallery's file; None for a crop that is none.
        evidence: The distance and what each part says about it.
        probability: That both are one person, in (0, 1); None where nothing is known, see ``reason``.
        same: Whether it is called one person at the calibrated rate of false matches; None where
            nothing is decided.
        reason: Why there is no probability: there is no calibration, a crop does not look like those
            it was made of, or no part is shared.

    Examples:
        >>> hit = load("runs/bpbreid", device="cpu").rank("a.jpg", "crops", top=1)[0][0]
        >>> hit.place, hit.path.parent, hit.same is None and hit.reason.startswith("no decision")
        (1, PosixPath('crops'), True)
    """

    place: int
    row: int
    path: Path | None
    evidence: Evidence
    probability: float | None = None
    same: bool | None = None
    reason: str | None = None

    @property
    def distance(self) -> float:
        """Of the query to this crop."""
        return self.evidence.distance

    @property
    def shared_evidence(self) -> int:
        """How many parts both images show."""
        return int(self.evidence.shared.sum())

    @property
    def file(self) -> Path:
        """The path. DataError if the crop is no file."""
        if self.path is None:
            raise DataError(f"row {self.row} of the gallery is a picture in memory and has no file")
        return self.path


@dataclass(frozen=True)
class Comparison:
    """Two crops side by side: the evidence and, drawn on demand, the picture that shows it.

    Args:
        a: The first crop with its part maps.
        b: The second.
        evidence: Their distance and what each part says about it.
        probability: See :class:`Hit`.
        same: See :class:`Hit`.
        reason: See :class:`Hit`.
        verdict: The decision in words; None without a calibration.

    Examples:
        >>> pair = load("runs/bpbreid", device="cpu").compare("a.jpg", "b.jpg")
        >>> pair.shared_evidence == int(pair.evidence.shared.sum()), pair.picture().mode
        (True, 'RGB')
    """

    a: Shown
    b: Shown
    evidence: Evidence
    probability: float | None = None
    same: bool | None = None
    reason: str | None = None
    verdict: str | None = None

    @property
    def distance(self) -> float:
        """Between the two crops."""
        return self.evidence.distance

    @property
    def shared_evidence(self) -> int:
        """How many parts both images show."""
        return int(self.evidence.shared.sum())

    def picture(self) -> Image.Image:
        """Both crops with their part maps, the table of parts and what is decided, as an RGB
        picture.
        """
        return compare_picture(self.a, self.b, self.evidence, decision=self.verdict or "")


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
        _require_paths(self.paths, self.embeddings)
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
        at = {realpath(path): row for row, path in enumerate(self.paths) if path is not None}
        for path in paths:
            if realpath(path) not in at:
                raise DataError(f"{path} is not among the {len(self)} embeddings; {_AGAIN}")
        rows = [at[realpath(path)] for path in paths]
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


class Model:
    """A trained method with the recipe it came from, as :func:`load` gives it.

    ``embed`` describes crops, ``compare`` two of them, ``rank`` searches a gallery, ``search`` one
    that is embedded already. Masks, cameras and identities are never needed. A crop is a file (a
    text or a Path), a Pillow picture, an array uint8 [H, W, 3] RGB or a tensor uint8 [3, H, W];
    floats count from 0 (black) to 1 (white), see :mod:`partreid.data.crops`.

    Args:
        recipe: Every number of its training.
        method: The trained method.
        scheme: Its parts, or None if it knows none.
        device: "cpu" or "cuda".
        decides_by: The file of a calibration, if there is one.
        run: Its folder or file, which messages name.

    Examples:
        >>> model = load("runs/bpbreid", device="cpu")
        >>> model.names
        ('foreground', 'head', 'torso', 'arms', 'upper_legs', 'lower_legs')
    """

    @door
    def __init__(
        self,
        recipe: Recipe,
        method: Method,
        scheme: PartScheme | None,
        device: str = "cpu",
        decides_by: Path | None = None,
        run: Path | None = None,
    ) -> None:
        self.recipe, self.scheme, self.device, self.decides_by = recipe, scheme, device, decides_by
        self.run = run
        self.method = method.eval().to(device)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What says which distance means one person; None if nobody has made it yet, see ``partreid
        calibrate``.

        Raises:
            DataError: The file was made for other weights, another distance or other parts.
        """
        if self.decides_by is None:
            return self.method.calibration if isinstance(self.method, Exported) else None
        found = decision.read(self.decides_by)
        decision.require_bound(found, self.bound, self.decides_by)
        return found

    @property
    def bound(self) -> decision.Bound:
        """Hashes of weights and distance, to which a calibration is bound."""
        if isinstance(self.method, Exported):
            return self.method.bound
        return decision.bound_to(self.method, self.recipe, self.names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the M embeddings of an image."""
        with torch.inference_mode():
            return self.method.embed(
                self.method(torch.zeros(1, 3, *self.recipe.size, device=self.device))
            ).names

    def embed(self, crops: AnyCrops, batch: int = 64, workers: int = 1) -> Embeddings:
        """Crops to embeddings.

        Args:
            crops: A folder, a crop, or a list of crops; an array uint8 [N, H, W, 3] or a tensor
                uint8 [N, 3, H, W] is N crops. Sizes may differ: each is resized as the recipe says.
            batch: Crops that go through the network together, at least 1.
            workers: Threads that read the next crops while the network works, at least 1.

        Returns:
            Vectors float32 [N, M, D] and visibility [N, M] on the CPU; a folder's rows follow
            :func:`partreid.data.crops.crop_paths`.

        Raises:
            ArgumentError: Something is no crop, or its numbers are neither uint8 nor in 0..1.
            ShapeError: An array or a tensor has another shape.
            DataError: Names the first crop that cannot be read, or for which the model gives
                anything but numbers.

        Examples:
            >>> model = load("runs/bpbreid", device="cpu")
            >>> e = model.embed(["a.jpg", Image.open("b.jpg"), np.zeros((128, 64, 3), np.uint8)])
            >>> e.vectors.shape[:2], e.visibility.shape
            (torch.Size([3, 6]), torch.Size([3, 6]))
        """
        integer("batch", batch, 1)
        integer("workers", workers, 1)
        return self._embedded(crops_of(crops), batch, workers=workers)

    def index(self, crops: AnyCrops, workers: int = 1) -> SavedEmbeddings:
        """Crops to embeddings with all that a search needs besides: their files, the model, and how
        they look, by which a calibration knows its own kind of crops.

        Args:
            crops: As for ``embed``.
            workers: The same.

        Returns:
            What :func:`save_embeddings` keeps, in memory.

        Raises:
            ArgumentError: As of ``embed``, like all others.

        Examples:
            >>> model = load("runs/bpbreid", device="cpu")
            >>> query, gallery = model.index("a.jpg"), model.index("crops")
            >>> len(model.search(query, gallery, top=3)[0])
            3
        """
        integer("workers", workers, 1)
        return self._indexed(crops_of(crops), self.bound, workers)

    def _indexed(
        self, crops: Sequence[Crop], bound: decision.Bound, workers: int = 1
    ) -> SavedEmbeddings:
        looked: list[NDArray[np.float64]] = []
        return SavedEmbeddings(
            self._embedded(crops, looked=looked, workers=workers),
            tuple(crop.path for crop in crops),
            self.recipe.name,
            bound.recipe,
            bound.weights,
            self.method.distance,
            torch.from_numpy(np.stack(looked)).float(),
        )

    def _embedded(
        self,
        crops: Sequence[Crop],
        batch: int = 64,
        looked: list[NDArray[np.float64]] | None = None,
        workers: int = 1,
    ) -> Embeddings:
        """looked: takes how each crop looks, from the pixels that are at hand."""
        found = []

        def read(crop: Crop) -> tuple[Pixels, NDArray[np.float64] | None]:
            pixels = crop.pixels(self.recipe.size)
            return pixels, None if looked is None else looks(pixels, *crop.size)

        with torch.inference_mode():
            for some, both in ahead(crops, read, batch, workers):
                pixels = [p for p, _ in both]
                if looked is not None:
                    looked += [seen for _, seen in both if seen is not None]
                images = to_batch(pixels)
                e = self.method.embed(self.method(images.to(self.device, memory_format=FORMAT), {}))
                require_finite(e, [crop.name for crop in some])
                found.append(
                    Embeddings(e.vectors.float().cpu(), e.visibility.float().cpu(), e.names)
                )
        return Embeddings.stack(found)

    def compare(self, a: AnyCrop, b: AnyCrop, prior: float = 0.5) -> Comparison:
        """The distance between two crops and what each part says about it.

        Args:
            a: A crop.
            b: Another.
            prior: In (0, 1), how likely one person was beforehand; moves the probability, never the
                decision.

        Returns:
            The evidence, and a picture of it on demand.

        Raises:
            ArgumentError: A side is no crop, or several; the prior lies outside (0, 1).
            ShapeError: An array or a tensor has another shape.
            DataError: A crop cannot be read, or the calibration is of another model.

        Examples:
            >>> pair = load("runs/bpbreid", device="cpu").compare("a.jpg", "b.jpg")
            >>> bool(np.isclose(sum(pair.evidence.share), pair.distance))
            True
        """
        require_prior(prior)
        calibration = self.calibration  # refused before the work, if at all
        crops = [_one_crop(side, given) for side, given in (("a", a), ("b", b))]
        pixels = [crop.pixels(self.recipe.size) for crop in crops]
        images = to_batch(pixels).to(self.device)
        with torch.inference_mode():
            out = self.method(images)
            e = self.method.embed(out)
        require_finite(e, [crop.name for crop in crops])
        first, second = (
            Shown.of(crop.source, out.parts, out.groups.get("parts"), row)
            for row, crop in enumerate(crops)
        )
        evidence = explain_pair(self.method.distance, e, e, 0, 1)
        if calibration is None:
            return Comparison(first, second, evidence, reason=decision.NONE)
        one, other = (
            (
                Embeddings(e.vectors[i : i + 1].float(), e.visibility[i : i + 1].float(), e.names),
                looks(pixels[i], *crops[i].size)[None],
            )
            for i in (0, 1)
        )
        doubt = self._doubt(calibration, one, other)
        why = doubt.of(0, 0, ("the first crop", "the second crop"))
        probability, same, reason = decided(calibration, evidence, prior, why)
        said = why or decision.verdict(calibration, probability, same, prior)
        return Comparison(first, second, evidence, probability, same, reason, said)

    def _doubt(
        self,
        calibration: Calibration,
        query: tuple[Embeddings, Any],
        gallery: tuple[Embeddings, Any],
    ) -> Doubt:
        run = "RUN" if self.run is None else str(self.run)
        distance, both = self.method.distance, (query[1], gallery[1])
        return doubt_about(calibration, distance, query[0], gallery[0], *both, run)

    @door
    def doubt(
        self, query: Embeddings | SavedEmbeddings, gallery: Embeddings | SavedEmbeddings
    ) -> Doubt | None:
        """Which crops the calibration decides nothing about, as they do not look like those it was
        made of.

        Args:
            query: As for ``search``.
            gallery: The same.

        Returns:
            The crops and why; None without a calibration.

        Raises:
            DataError: The calibration is of another model.
            ShapeError: The embeddings are.

        Examples:
            >>> model = load("runs/bpbreid", device="cpu")
            >>> print(model.doubt(model.index("a.jpg"), model.index("crops")))
            None
        """
        calibration = self.calibration
        if calibration is None:
            return None
        return self._doubt(calibration, *(_looked(e) for e in (query, gallery)))

    def rank(
        self, query: AnyCrops, gallery: AnyCrops, top: int = 10, prior: float = 0.5
    ) -> list[list[Hit]]:
        """For every query crop the nearest gallery crops; ties keep the gallery's order.

        Args:
            query: A folder, a crop or a list of crops, as for ``embed``.
            gallery: The same.
            top: How many to give, at least 1; all if there are fewer.
            prior: See ``compare``.

        Returns:
            A list for each query, nearest first.

        Raises:
            ArgumentError: As of ``embed``; ``top`` or the prior is out of its range.
            ShapeError: An array or a tensor has another shape.
            DataError: A crop cannot be read, or the calibration is of another model.

        Examples:
            >>> hits = load("runs/bpbreid", device="cpu").rank("a.jpg", "crops", top=3)[0]
            >>> [hit.place for hit in hits]
            [1, 2, 3]
        """
        integer("top", top, 1)
        require_prior(prior)
        queries, others, bound = crops_of(query), crops_of(gallery), self.bound
        return self.search(
            self._indexed(queries, bound), self._indexed(others, bound), None, top, prior
        )

    @door
    def search(
        self,
        query: Embeddings | SavedEmbeddings,
        gallery: Embeddings | SavedEmbeddings,
        paths: Sequence[Path | None] | None = None,
        top: Count = 10,
        prior: float = 0.5,
        doubt: Doubt | None = None,
    ) -> list[list[Hit]]:
        """The same with crops that are embedded already, just now or saved.

        Memory is that of the result: no row of distances is ever held whole. Embeddings of ``embed``
        do not say how their crops look: whether these are like those of the calibration is then told
        from the vectors alone.

        Args:
            query: What ``embed``, :func:`save_embeddings` or :func:`load_embeddings` gave.
            gallery: The same.
            paths: Of the gallery, one for each of its rows; None: those that were saved, or none.
            top: How many to give, at least 1; all if there are fewer.
            prior: See ``compare``.
            doubt: What :meth:`doubt` gave of the two, if it is at hand; None: it is asked for.

        Returns:
            A list for each query, nearest first.

        Raises:
            DataError: Saved embeddings are of another model, or the calibration is.
            ShapeError: There are not as many paths as gallery rows.

        Examples:
            >>> model = load("runs/bpbreid", device="cpu")
            >>> saved = save_embeddings(model, "crops", Path("embedded"))
            >>> model.search(model.embed("a.jpg"), saved, top=1)[0][0].path.parent
            PosixPath('crops')
        """
        require_prior(prior)
        kept = [e for e in (query, gallery) if isinstance(e, SavedEmbeddings)]
        bound = self.bound if kept else None
        for e in kept:
            if bound is not None and (e.weights, e.digest) != (bound.weights, bound.recipe):
                mine = f"{self.recipe.name}, weights {bound.weights[:12]}, recipe {bound.recipe}"
                raise _of_others("the model", mine, "the embeddings", e.model)
        calibration, doubt = self.calibration, doubt or self.doubt(query, gallery)
        return [
            [
                Hit(
                    hit.place,
                    hit.row,
                    hit.path,
                    hit.evidence,
                    *decided(
                        calibration,
                        hit.evidence,
                        prior,
                        None if doubt is None else doubt.of(row, hit.row),
                    ),
                )
                for hit in hits
            ]
            for row, hits in enumerate(_ranked(self.method.distance, query, gallery, paths, top))
        ]


@door
def rank(
    query: Vectors | SavedEmbeddings,
    gallery: Vectors | SavedEmbeddings,
    distance: PartDistance | None = None,
    top: Count = 10,
) -> list[list[Hit]]:
    """For every query the nearest of a gallery, without a model; ties keep the gallery's order.

    Args:
        query: Embeddings, saved ones, or a tensor float [Nq, D] or [Nq, M, D].
        gallery: The same.
        distance: How they are compared; None: as the model did whose saved embeddings they are.
        top: How many to give, at least 1; all if there are fewer.

    Returns:
        A list for each query, nearest first.

    Raises:
        ArgumentError: There is no distance, as neither side was saved, or no such ``top``.
        DataError: Saved embeddings are of two models.
        ShapeError: Query and gallery have not the same embeddings.

    Examples:
        >>> query, gallery = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.1]])
        >>> [hit.row for hit in rank(query, gallery, PartDistance("cosine"))[0]]
        [1, 0]
    """
    kept = [e for e in (query, gallery) if isinstance(e, SavedEmbeddings)]
    if len({(e.weights, e.digest) for e in kept}) > 1:
        raise _of_others("the query", kept[0].model, "the gallery", kept[1].model)
    if distance is None:
        if not kept:
            raise ArgumentError(
                "rank: distance must say how plain embeddings are compared, e.g. "
                "PartDistance('cosine'), got None"
            )
        distance = kept[0].distance
        if any(e.distance != distance for e in kept):
            raise DataError(
                f"the query was saved with {kept[0].distance} and the gallery with "
                f"{kept[1].distance}; say which counts with distance="
            )
    return list(_ranked(distance, query, gallery, None, top))


def _ranked(
    distance: PartDistance,
    query: Vectors | SavedEmbeddings,
    gallery: Vectors | SavedEmbeddings,
    paths: Sequence[Path | None] | None,
    top: int,
) -> Iterator[list[Hit]]:
    """Hits of one query after the other, without a decision."""
    integer("top", top, 1)
    if paths is None and isinstance(gallery, SavedEmbeddings):
        paths = gallery.paths
    q, g = (
        e.embeddings if isinstance(e, SavedEmbeddings) else Embeddings.of(e)
        for e in (query, gallery)
    )
    if paths is None:
        paths = [None] * len(g)
    _require_paths(paths, g)
    index, _ = nearest(distance, q, g, top)
    for some in slices(len(q), max(1, _PAIRS // max(1, index.shape[1]))):
        rows = np.repeat(np.arange(some.start, some.stop), index.shape[1]).tolist()
        places = index[some].ravel().tolist()
        every = iter(zip(places, explain_pairs(distance, q, g, rows, places), strict=True))
        for _ in range(some.start, some.stop):
            yield [
                Hit(place, i, paths[i], evidence)
                for place, (i, evidence) in enumerate(islice(every, index.shape[1]), 1)
            ]


def _require_paths(paths: Sequence[Path | None], gallery: Embeddings) -> None:
    if len(paths) != len(gallery):
        raise ShapeError(
            f"a gallery of {len(gallery)} embeddings needs as many paths, got {len(paths)}"
        )


def _of_others(one: str, mine: str, other: str, theirs: str) -> DataError:
    return DataError(
        f"{other} are of another model ({theirs}) than {one} ({mine}), and no distance between "
        "them means anything; embed both with one model"
    )


def _one_crop(side: str, given: AnyCrop) -> Crop:
    require(not isinstance(given, str | Path) or not isdir(given), side, "one crop", given)
    crops = crops_of([given])
    require(len(crops) == 1, side, "one crop", given)
    return crops[0]


def decided(
    calibration: Calibration | None, evidence: Evidence, prior: float, doubt: str | None
) -> tuple[float | None, bool | None, str | None]:
    """(probability, same, reason) of a pair: what a calibration says, or why it says nothing.

    doubt: why nothing is decided about these two crops; None if it is.
    """
    if calibration is None:
        return None, None, decision.NONE
    if doubt is not None:
        return None, None, doubt
    asked = (evidence.distance, int(evidence.shared.sum()))
    probability, same = float(calibration.probability(*asked, prior)), calibration.same(*asked)
    if isnan(probability):
        return None, bool(same), decision.verdict(calibration, None, None)
    return probability, bool(same), None


def _looked(e: Embeddings | SavedEmbeddings) -> tuple[Embeddings, Any]:
    """Embeddings, and looks float64 [N, F] if they are known."""
    if not isinstance(e, SavedEmbeddings):
        return e, None
    return e.embeddings, None if e.looks is None else e.looks.double().numpy()


@door
def save_embeddings(
    model: Model, crops: AnyCrops, folder: str | Path, workers: int = 1
) -> SavedEmbeddings:
    """Embed crops into a folder: embeddings.safetensors with vectors, visibility and all that
    :func:`load_embeddings` reads, index.json with files and names for people and other programs.

    Embeddings that are there are replaced.

    Args:
        model: What embeds.
        crops: A folder, a crop or a list of crops, see :meth:`Model.embed`.
        folder: Where they are kept; made if it is not there.
        workers: Threads that read the next crops while the network works, at least 1.

    Returns:
        What was kept.

    Raises:
        DataError: Before the work, if the folder cannot be written, another process writes it, or
            an index.json lies there that belongs to no embeddings. As of :meth:`Model.embed`.

    Examples:
        >>> saved = save_embeddings(load("runs/bpbreid", device="cpu"), "crops", "embedded")
        >>> len(saved) == len(saved.paths)
        True
    """
    integer("workers", workers, 1)
    file, list_ = Path(folder) / _TENSORS, Path(folder) / _INDEX
    with alone_in(Path(folder)):
        writable(file, list_)
        if list_.exists() and not file.exists():
            raise DataError(
                f"{list_} is there and belongs to no embeddings; it would be replaced: choose "
                "another folder with --out"
            )
        return _saved(model, crops_of(crops), file, list_, workers)


def _saved(
    model: Model, crops: Sequence[Crop], file: Path, list_: Path, workers: int
) -> SavedEmbeddings:
    saved = model._indexed(crops, model.bound, workers)
    index = {
        "crops": [None if path is None else str(path) for path in saved.paths],
        "names": list(saved.embeddings.names),
        "recipe": saved.recipe,
        "digest": saved.digest,
        "weights": saved.weights,
        "distance": asdict(saved.distance),
    }
    e, looked = saved.embeddings, saved.looks
    assert looked is not None, "the model looked at its crops just now"
    save_tensors(file, {"vectors": e.vectors, "visibility": e.visibility, "looks": looked}, index)
    write_json(list_, index)
    return saved


@door
def load_embeddings(folder: str | Path) -> SavedEmbeddings:
    """What :func:`save_embeddings` or ``partreid embed`` kept.

    Everything is held against the file before it is believed: sizes, names, that all numbers are
    finite, that visibilities lie in 0..1. index.json is not read: it may have been edited.

    Args:
        folder: Their folder, or the embeddings.safetensors in it.

    Returns:
        Embeddings float32 [N, M, D], with files, model and distance.

    Raises:
        DataError: There are none, or the file is damaged, of somebody else, or was changed.

    Examples:
        >>> saved = save_embeddings(load("runs/bpbreid", device="cpu"), "crops", "embedded")
        >>> kept = load_embeddings("embedded")
        >>> torch.equal(kept.embeddings.vectors, saved.embeddings.vectors)
        True
    """
    path = Path(folder)
    file = regular(path / _TENSORS if isdir(path) else path, "file of embeddings")
    tensors, texts = read_tensors(file, _AGAIN)
    record = parse_json(texts.get("partreid", "null"), f"the metadata of {file}")
    if not isinstance(record, dict) or "weights" not in record:
        raise DataError(
            f"{file} does not say which model its embeddings are of: it is no file of "
            f"save_embeddings, or of an earlier version; {_AGAIN}"
        )
    try:
        return _kept(tensors, record)
    except PartReidError as error:
        raise DataError(f"{file} is damaged or was changed: {error}; {_AGAIN}") from None


def _kept(tensors: dict[str, torch.Tensor], record: dict[str, Any]) -> SavedEmbeddings:
    """Embeddings of a file's tensors and metadata. PartReidError names what is not as written."""
    if set(tensors) - {"looks"} != {"vectors", "visibility"}:
        raise DataError(f"it holds {', '.join(tensors)[:100]}, not vectors and visibility")
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not bool(tensor.isfinite().all()):
            raise DataError(f"{name} must be finite numbers, float32, and are not ({tensor.dtype})")
    for name, kind in (("crops", list[str | None]), ("names", list[str])):
        require(fits(record.get(name), kind), name, "a list of texts", record.get(name))
    for name in ("recipe", "digest", "weights"):
        require(isinstance(record.get(name), str), name, "a text", record.get(name))
    rule = record.get("distance")
    if not isinstance(rule, dict) or set(rule) != set(PartDistance.__dataclass_fields__):
        raise DataError(f"distance must be a table of a PartDistance's fields, got {quoted(rule)}")
    if isinstance(rule["weights"], list):
        rule = {**rule, "weights": tuple(rule["weights"])}
    return SavedEmbeddings(
        Embeddings(tensors["vectors"], tensors["visibility"], tuple(record["names"])),
        tuple(None if path is None else Path(path) for path in record["crops"]),
        record["recipe"],
        record["digest"],
        record["weights"],
        PartDistance(**rule),
        tensors.get("looks"),
    )


@door
def load(run: str | Path, device: str = "auto", calibration: str | Path | None = None) -> Model:
    """The model of a finished run.

    Args:
        run: Its folder, or its ``model.safetensors``; or a file of ``partreid export``, which
            onnxruntime runs.
        device: "cpu", "cuda", or "auto", which takes a GPU if there is one.
        calibration: A file that ``partreid calibrate`` wrote for this model; default the
            ``calibration.json`` beside the model if there is one, which is read when a decision is
            asked for; of an exported file the one in it.

    Returns:
        The model, ready to embed.

    Raises:
        DataError: There is none, the file is damaged, or the calibration is for another model.

    Examples:
        >>> model = load("runs/bpbreid", device="cpu")
        >>> model.embed("crops").names == model.names
        True
    """
    path = Path(run)
    if path.suffix.lower() == ENDING and not isdir(path):
        return _exported(path, device, calibration)
    recipe, method, scheme = read_model(path / "model.safetensors" if isdir(path) else path)
    beside = (path if isdir(path) else path.parent) / decision.FILE
    file = Path(calibration) if calibration is not None else beside if lexists(beside) else None
    model = Model(recipe, method, scheme, build.device(device), file, path)
    if calibration is not None:
        _ = model.calibration  # one that is named is refused at once
    return model


def _exported(path: Path, device: str, calibration: str | Path | None) -> Model:
    recipe, method = read_exported(path, device)
    made = method.calibration if calibration is None else None
    if made is not None and made.source.model != method.bound.model:
        warnings.warn(
            f"the threshold in {path} is that of the model in float and not verified for its 8 bits; "
            "export it again with --data and labelled crops to put one for the file",
            stacklevel=3,
        )
    file = None if calibration is None else Path(calibration)
    model = Model(recipe, method, method.scheme, "cpu", file)
    if file is not None:
        _ = model.calibration
    return model


@door
def listed(source: Path) -> list[Path] | Path:
    """A text file of paths, one a line (relative ones from the file's folder), or the folder or
    image itself.

    UTF-8 with or without byte order mark, or UTF-16 with one; DataError for other encodings.
    """
    if source.suffix.lower() in (".txt", ".lst", ".csv") and lexists(source) and not isdir(source):
        lines = [line.strip() for line in read_text(source, what="list of crops").splitlines()]
        if not any(lines):
            raise DataError(f"{source} lists no images; write one path a line")
        # an absolute one stays as it is
        return [Path(join(source.parent, line)) for line in lines if line]
    return source
