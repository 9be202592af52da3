"""A trained run at work: embed crops, compare two, search a gallery."""

from collections.abc import Sequence
from functools import cached_property
from os.path import isdir  # unlike Path's, it never raises
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partreid.data.crops import AnyCrop, AnyCrops, Crop, crops_of
from partreid.data.transforms import to_batch
from partreid.evaluation import decision
from partreid.evaluation.doubt import Doubt, doubt_about
from partreid.evaluation.extract import require_finite
from partreid.explain.evidence import explain_pair
from partreid.explain.overlays import Shown
from partreid.export.method import Exported
from partreid.inference.ranking import ranked
from partreid.inference.results import Comparison, decided
from partreid.inference.saved import SavedEmbeddings, of_others
from partreid.layers.memory import FORMAT
from partreid.methods.base import Method
from partreid.metrics.calibration import Calibration, require_prior
from partreid.recipes.base import Recipe
from partreid.runtime.types import Hit
from partreid.types import Embeddings, PartScheme
from partreid.utils.ahead import ahead
from partreid.utils.arguments import Count, door, integer, require
from partreid.utils.images import Pixels
from partreid.utils.looks import looks


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
        calibration = decision.read(self.decides_by)
        decision.require_bound(calibration, self.bound, self.decides_by)
        return calibration

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
            >>> from PIL import Image
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
        pieces = []

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
                pieces.append(
                    Embeddings(e.vectors.float().cpu(), e.visibility.float().cpu(), e.names)
                )
        return Embeddings.stack(pieces)

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
            return Comparison(evidence, reason=decision.NONE, a=first, b=second)
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
        verdict = why or decision.verdict(calibration, probability, same, prior)
        return Comparison(evidence, probability, same, reason, a=first, b=second, verdict=verdict)

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

        Memory is that of the result: no row of distances is ever held whole. Embeddings of
        ``embed`` do not say how their crops look: whether these are like those of the calibration
        is then told from the vectors alone.

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
                raise of_others("the model", mine, "the embeddings", e.model)
        calibration, doubt = self.calibration, doubt or self.doubt(query, gallery)
        return [
            [
                Hit(
                    hit.evidence,
                    *decided(
                        calibration,
                        hit.evidence,
                        prior,
                        None if doubt is None else doubt.of(row, hit.row),
                    ),
                    place=hit.place,
                    row=hit.row,
                    path=hit.path,
                )
                for hit in hits
            ]
            for row, hits in enumerate(ranked(self.method.distance, query, gallery, paths, top))
        ]


def _one_crop(side: str, given: AnyCrop) -> Crop:
    require(not isinstance(given, str | Path) or not isdir(given), side, "one crop", given)
    crops = crops_of([given])
    require(len(crops) == 1, side, "one crop", given)
    return crops[0]


def _looked(e: Embeddings | SavedEmbeddings) -> tuple[Embeddings, Any]:
    """Embeddings, and looks float64 [N, F] if they are known."""
    if not isinstance(e, SavedEmbeddings):
        return e, None
    return e.embeddings, None if e.looks is None else e.looks.double().numpy()
