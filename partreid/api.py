"""The small Python API: load a trained run, embed crops, compare two, rank a gallery."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.overrides import TorchFunctionMode

from partreid import build
from partreid.data.folders import images_in
from partreid.data.transforms import read_image, to_batch
from partreid.errors import DataError
from partreid.evaluate import decision
from partreid.evaluate.extract import extract
from partreid.explain.evidence import Evidence, explain_pair, explain_pairs
from partreid.explain.overlays import Shown
from partreid.explain.sheets import compare_picture
from partreid.files import write_json
from partreid.match.calibration import Calibration
from partreid.methods import Method
from partreid.recipes.base import Recipe, from_plain
from partreid.train.checkpoint import load_tensors, save_tensors
from partreid.types import Embeddings, PartScheme, Sample


@dataclass(frozen=True)
class Hit:
    """One entry of a ranked list: place from 1, the gallery's image and its evidence.

    probability: that both are one person, in (0, 1); None without a calibration and where no part is shared. same:
    whether it is called one person at the calibrated rate of false matches; None without a calibration.
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

    ``embed`` describes crops, ``compare`` two of them, ``rank`` searches a gallery. Masks, cameras and identities
    are never needed. decides_by: the file of a calibration, if there is one.
    """

    def __init__(self, recipe: Recipe, method: Method, scheme: PartScheme | None, device: str = "cpu",
                 decides_by: Path | None = None) -> None:
        self.recipe, self.scheme, self.device, self.decides_by = recipe, scheme, device, decides_by
        self.method = method.eval().to(device)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What says which distance means one person; None if nobody has made it yet, see ``partreid calibrate``.

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
            return self.method.describe(self.method(torch.zeros(1, 3, *self.recipe.size, device=self.device))).names

    def embed(self, crops: str | Path | Iterable[str | Path], batch: int = 64) -> Embeddings:
        """Crops (a folder, a file or a list of files) to vectors float32 [N, M, D] and visibility [N, M].

        Rows follow :func:`crop_paths`. DataError names the first file that cannot be read.
        """
        return extract(self.method, [Sample(p, 0, 0) for p in crop_paths(crops)], self.recipe.size, batch=batch,
                       device=self.device)

    def compare(self, a: str | Path, b: str | Path, prior: float = 0.5) -> Comparison:
        """The distance between two crops and what each part says about it.

        prior: in (0, 1), how likely one person was beforehand; moves the probability, never the decision.
        """
        calibration = self.calibration  # refused before the work, if at all
        samples = [Sample(Path(p), 0, 0) for p in (a, b)]
        images = to_batch([read_image(s.path, self.recipe.size) for s in samples]).to(self.device)
        with torch.inference_mode():
            out = self.method(images)
            e = self.method.describe(out)
        first, second = (Shown.of(s, out.parts, out.groups.get("parts"), row) for row, s in enumerate(samples))
        evidence = explain_pair(self.method.distance, e, e, 0, 1)
        return Comparison(first, second, evidence, *_decided(calibration, evidence, prior))

    def rank(self, query: str | Path | Iterable[str | Path], gallery: str | Path | Iterable[str | Path],
             top: int = 10, prior: float = 0.5) -> list[list[Hit]]:
        """For every query crop the ``top`` nearest gallery crops, nearest first; ties keep the gallery's order.

        prior: see ``compare``.
        """
        paths = crop_paths(gallery)
        return self.search(self.embed(query), self.embed(paths), paths, top, prior)

    def search(self, query: Embeddings, gallery: Embeddings, paths: Sequence[Path], top: int = 10,
               prior: float = 0.5) -> list[list[Hit]]:
        """The same with crops that are embedded already; paths: of the gallery."""
        calibration = self.calibration
        found = []
        for at, block in self.method.distance.blocks(query, gallery):
            order = torch.argsort(block, dim=1, stable=True)[:, :top]
            for row, nearest in zip(range(at.start, at.stop), order.tolist(), strict=True):
                every = explain_pairs(self.method.distance, query, gallery, [row] * len(nearest), nearest)
                found.append([Hit(place, paths[i], evidence, *_decided(calibration, evidence, prior))
                              for place, (i, evidence) in enumerate(zip(nearest, every, strict=True), 1)])
        return found


def _decided(calibration: Calibration | None, evidence: Evidence, prior: float) -> tuple[float | None, bool | None]:
    """(probability, same) of a pair."""
    if calibration is None:
        return None, None
    asked = (evidence.distance, int(evidence.shared.sum()))
    probability = float(calibration.probability(*asked, prior))
    return None if isnan(probability) else probability, bool(calibration.same(*asked))


def crop_paths(crops: str | Path | Iterable[str | Path]) -> list[Path]:
    """A folder's images in the order of their names (subfolders included), or the given files."""
    if isinstance(crops, str | Path):
        root = Path(crops)
        paths = list(images_in(root, recursive=True)) if root.is_dir() else [root]
    else:
        paths = [Path(p) for p in crops]
    if not paths:
        raise DataError(f"{crops} holds no images; give a folder of crops or a list of files")
    missing = next((p for p in paths if not p.is_file()), None)
    if missing is not None:
        raise DataError(f"there is no image {missing}; give a crop, a folder of crops or a text file that lists them")
    return paths


def save_embeddings(model: Model, crops: Sequence[Path], folder: Path) -> Embeddings:
    """Embed crops into ``folder``: embeddings.safetensors with vectors and visibility, index.json with the rest."""
    e = model.embed(crops)
    index = {"crops": [str(path) for path in crops], "names": list(e.names), "recipe": model.recipe.name,
             "digest": model.recipe.digest}
    save_tensors(folder / "embeddings.safetensors", {"vectors": e.vectors, "visibility": e.visibility}, index)
    write_json(folder / "index.json", index)
    return e


def load(run: str | Path, device: str = "auto", calibration: str | Path | None = None) -> Model:
    """The model of a finished run: its folder, or its ``model.safetensors``. DataError if there is none.

    calibration: a file that ``partreid calibrate`` wrote for this model, refused if it is for another; default the
    ``calibration.json`` beside the model if there is one, which is read when a decision is asked for.
    """
    path = Path(run)
    tensors, meta = load_tensors(path / "model.safetensors" if path.is_dir() else path)
    if "identities" not in meta:
        raise DataError(f"{path} is not a finished model (a checkpoint or embeddings); end the training with "
                        f"--resume, then give the run folder or its model.safetensors")
    recipe = from_plain(meta["recipe"])
    scheme = PartScheme(tuple(meta["parts"]["names"]), tuple(meta["parts"]["flip"])) if meta["parts"] else None
    method = restore(recipe, meta["identities"], scheme, tensors)
    beside = (path if path.is_dir() else path.parent) / decision.FILE
    file = Path(calibration) if calibration is not None else beside if beside.is_file() else None
    model = Model(recipe, method, scheme, build.device(device), file)
    if calibration is not None:
        _ = model.calibration  # one that is named is refused at once
    return model


def restore(recipe: Recipe, identities: int, scheme: PartScheme | None, tensors: dict[str, torch.Tensor]) -> Method:
    """The method of a recipe with trained weights; nothing is fetched for the trunk."""
    bare = replace(recipe, backbone=build.unfetched(recipe.backbone))
    # What only training uses (DSA's guide: 162 million numbers) is never allocated.
    with torch.device("meta"), _Undrawn():
        method = build.method(bare, identities, scheme).at_test()
    method.load_state_dict(tensors, assign=True)
    return method


class _Undrawn(TorchFunctionMode):
    """Weights that are about to be replaced are not drawn. On the meta device that would import a compiler: seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        drawn = getattr(func, "__module__", None) == "torch.nn.init"
        if drawn or func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def listed(source: Path) -> list[Path] | Path:
    """A text file of paths, one a line (relative ones from the file's folder), or the folder or image itself."""
    if source.suffix.lower() in (".txt", ".lst", ".csv") and source.is_file():
        lines: Sequence[str] = [line.strip() for line in source.read_text(encoding="utf-8").splitlines()]
        if not any(lines):
            raise DataError(f"{source} lists no images; write one path a line")
        return [Path(line) if Path(line).is_absolute() else source.parent / line for line in lines if line]
    return source
