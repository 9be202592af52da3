"""The small Python API: load a trained run, embed crops, compare two, rank a gallery."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import isnan
from os.path import isdir, join, lexists  # unlike Path's, they never raise
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from partreid import build
from partreid.data.folders import images_in
from partreid.data.transforms import read_image, to_batch
from partreid.errors import DataError, ShapeError
from partreid.evaluation import decision
from partreid.evaluation.extract import extract, require_finite
from partreid.explain.evidence import Evidence, explain_pair, explain_pairs
from partreid.explain.overlays import Shown
from partreid.explain.sheets import compare_picture
from partreid.methods.base import Method
from partreid.metrics.calibration import Calibration, require_prior
from partreid.recipes.base import Recipe
from partreid.retrieval.neighbors import slices
from partreid.retrieval.search import nearest
from partreid.train.bundle import read_model
from partreid.train.checkpoint import save_tensors
from partreid.types import Embeddings, PartScheme, Sample
from partreid.utils.arguments import door, fits, integer, require
from partreid.utils.files import read_text, regular, writable, write_json
from partreid.utils.lock import alone_in
from partreid.utils.text import brief

_PAIRS = 4096  # explained together


@dataclass(frozen=True)
class Hit:
    """One entry of a ranked list: place from 1, the gallery's image and its evidence.

    probability: that both are one person, in (0, 1); None without a calibration and where no part
    is shared. same: whether it is called one person at the calibrated rate of false matches; None
    without a calibration.
    """

    place: int
    path: Path
    evidence: Evidence
    probability: float | None = None
    same: bool | None = None

    @property
    def distance(self) -> float:
        return self.evidence.distance

    @property
    def shared_evidence(self) -> int:
        """How many parts both images show."""
        return int(self.evidence.shared.sum())


@dataclass(frozen=True)
class Comparison:
    """Two crops side by side: the evidence and, drawn on demand, the picture that shows it.

    probability, same: see :class:`Hit`.
    """

    a: Shown
    b: Shown
    evidence: Evidence
    probability: float | None = None
    same: bool | None = None

    @property
    def distance(self) -> float:
        return self.evidence.distance

    @property
    def shared_evidence(self) -> int:
        """How many parts both images show."""
        return int(self.evidence.shared.sum())

    def picture(self) -> Image.Image:
        """Both crops with their part maps and the table of parts."""
        return compare_picture(self.a, self.b, self.evidence)


class Model:
    """A trained method with the recipe it came from.

    ``embed`` describes crops, ``compare`` two of them, ``rank`` searches a gallery. Masks, cameras
    and identities are never needed. decides_by: the file of a calibration, if there is one.
    """

    @door
    def __init__(
        self,
        recipe: Recipe,
        method: Method,
        scheme: PartScheme | None,
        device: str = "cpu",
        decides_by: Path | None = None,
    ) -> None:
        self.recipe, self.scheme, self.device, self.decides_by = recipe, scheme, device, decides_by
        self.method = method.eval().to(device)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What says which distance means one person; None if nobody has made it yet, see ``partreid
        calibrate``.

        DataError if the file was made for other weights, another distance or other parts.
        """
        if self.decides_by is None:
            return None
        found = decision.read(self.decides_by)
        decision.require_bound(found, self.bound, self.decides_by)
        return found

    @property
    def bound(self) -> decision.Bound:
        """Hashes of weights and distance, to which a calibration is bound."""
        return decision.bound_to(self.method, self.recipe, self.names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the M embeddings of an image."""
        with torch.inference_mode():
            return self.method.describe(
                self.method(torch.zeros(1, 3, *self.recipe.size, device=self.device))
            ).names

    def embed(self, crops: str | Path | Iterable[str | Path], batch: int = 64) -> Embeddings:
        """Crops (a folder, a file or a list of files) to vectors float32 [N, M, D] and visibility
        [N, M].

        Rows follow :func:`crop_paths`. DataError names the first file that cannot be read, or for
        which the model gives anything but numbers.
        """
        integer("batch", batch, 1)
        return extract(
            self.method,
            [Sample(p, 0, 0) for p in crop_paths(crops)],
            self.recipe.size,
            batch=batch,
            device=self.device,
        )

    @door
    def compare(self, a: str | Path, b: str | Path, prior: float = 0.5) -> Comparison:
        """The distance between two crops and what each part says about it.

        prior: in (0, 1), how likely one person was beforehand; moves the probability, never the
        decision.
        """
        require_prior(prior)
        calibration = self.calibration  # refused before the work, if at all
        samples = [Sample(Path(p), 0, 0) for p in (a, b)]
        images = to_batch([read_image(s.path, self.recipe.size) for s in samples]).to(self.device)
        with torch.inference_mode():
            out = self.method(images)
            e = self.method.describe(out)
        require_finite(e, samples)
        first, second = (
            Shown.of(s, out.parts, out.groups.get("parts"), row) for row, s in enumerate(samples)
        )
        evidence = explain_pair(self.method.distance, e, e, 0, 1)
        return Comparison(first, second, evidence, *_decided(calibration, evidence, prior))

    def rank(
        self,
        query: str | Path | Iterable[str | Path],
        gallery: str | Path | Iterable[str | Path],
        top: int = 10,
        prior: float = 0.5,
    ) -> list[list[Hit]]:
        """For every query crop the ``top`` nearest gallery crops, nearest first; ties keep the
        gallery's order.

        prior: see ``compare``.
        """
        integer("top", top, 1)
        require_prior(prior)
        asked, paths = crop_paths(query), crop_paths(gallery)
        return self.search(self.embed(asked), self.embed(paths), paths, top, prior)

    @door
    def search(
        self,
        query: Embeddings,
        gallery: Embeddings,
        paths: Sequence[Path],
        top: int = 10,
        prior: float = 0.5,
    ) -> list[list[Hit]]:
        """The same with crops that are embedded already; paths: of the gallery, one for each of its
        rows.

        Memory is that of the result: no row of distances is ever held whole.
        """
        integer("top", top, 1)
        require_prior(prior)
        if len(paths) != len(gallery):
            raise ShapeError(
                f"a gallery of {len(gallery)} embeddings needs as many paths, got {len(paths)}"
            )
        calibration, distance = self.calibration, self.method.distance
        index, _ = nearest(distance, query, gallery, top)
        found = []
        for some in slices(len(query), max(1, _PAIRS // max(1, index.shape[1]))):
            rows = np.repeat(np.arange(some.start, some.stop), index.shape[1]).tolist()
            places = index[some].ravel().tolist()
            every = iter(
                zip(places, explain_pairs(distance, query, gallery, rows, places), strict=True)
            )
            found += [
                [
                    Hit(place, paths[i], evidence, *_decided(calibration, evidence, prior))
                    for place, (i, evidence) in enumerate(islice(every, index.shape[1]), 1)
                ]
                for _ in range(some.start, some.stop)
            ]
        return found


def _decided(
    calibration: Calibration | None, evidence: Evidence, prior: float
) -> tuple[float | None, bool | None]:
    """(probability, same) of a pair."""
    if calibration is None:
        return None, None
    asked = (evidence.distance, int(evidence.shared.sum()))
    probability = float(calibration.probability(*asked, prior))
    return None if isnan(probability) else probability, bool(calibration.same(*asked))


def crop_paths(crops: str | Path | Iterable[str | Path]) -> list[Path]:
    """A folder's images in the order of their names (subfolders included), or the given files.

    DataError names the first that is missing or no regular file.
    """
    if isinstance(crops, str | Path):
        root = Path(crops)
        paths = list(images_in(root, recursive=True)) if isdir(root) else [root]
    else:
        require(fits(crops, Iterable), "crops", "a folder, a file or a list of files", crops)
        paths = []
        for entry in crops:
            require(isinstance(entry, str | Path), "each of the crops", "a text or a Path", entry)
            paths.append(entry if isinstance(entry, Path) else Path(entry))
    if not paths:
        what = str(crops) if isinstance(crops, str | Path) else "the list"
        raise DataError(f"{what} holds no images; give a folder of crops or a list of files")
    for path in paths:
        # else regular() says what is wrong with the way there
        if not lexists(path) and isdir(path.parent):
            raise DataError(
                f"there is no image {brief(path, 400)}; give a crop, a folder of crops or a text "
                "file that lists them"
            )
        regular(path, "crop")
    return paths


@door
def save_embeddings(model: Model, crops: Sequence[Path], folder: Path) -> Embeddings:
    """Embed crops into ``folder``: embeddings.safetensors with vectors and visibility, index.json
    with the rest.

    Embeddings that are there are replaced. DataError, before the work, if the folder cannot be
    written, another process writes it, or an index.json lies there that belongs to no embeddings.
    """
    file, list_ = folder / "embeddings.safetensors", folder / "index.json"
    with alone_in(folder):
        writable(file, list_)
        if list_.exists() and not file.exists():
            raise DataError(
                f"{list_} is there and belongs to no embeddings; it would be replaced: choose "
                "another folder with --out"
            )
        return _saved(model, crops, file, list_)


def _saved(model: Model, crops: Sequence[Path], file: Path, list_: Path) -> Embeddings:
    e = model.embed(crops)
    index = {
        "crops": [str(path) for path in crops],
        "names": list(e.names),
        "recipe": model.recipe.name,
        "digest": model.recipe.digest,
    }
    save_tensors(file, {"vectors": e.vectors, "visibility": e.visibility}, index)
    write_json(list_, index)
    return e


@door
def load(run: str | Path, device: str = "auto", calibration: str | Path | None = None) -> Model:
    """The model of a finished run: its folder, or its ``model.safetensors``. DataError if there is
    none.

    calibration: a file that ``partreid calibrate`` wrote for this model, refused if it is for
    another; default the ``calibration.json`` beside the model if there is one, which is read when a
    decision is asked for.
    """
    path = Path(run)
    recipe, method, scheme = read_model(path / "model.safetensors" if isdir(path) else path)
    beside = (path if isdir(path) else path.parent) / decision.FILE
    file = Path(calibration) if calibration is not None else beside if lexists(beside) else None
    model = Model(recipe, method, scheme, build.device(device), file)
    if calibration is not None:
        _ = model.calibration  # one that is named is refused at once
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
