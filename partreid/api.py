"""The small Python API: load a trained run, embed crops, compare two, rank a gallery."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image

from partreid import build
from partreid.data.folders import images_in
from partreid.data.transforms import read_image, to_batch
from partreid.errors import DataError
from partreid.evaluate.extract import extract
from partreid.explain.evidence import Evidence, explain_pair
from partreid.explain.overlays import Shown
from partreid.explain.sheets import compare_picture
from partreid.files import write_json
from partreid.methods import Method
from partreid.recipes.base import Recipe, from_plain
from partreid.train.checkpoint import load_tensors, save_tensors
from partreid.types import Embeddings, PartScheme, Sample


@dataclass(frozen=True)
class Hit:
    """One entry of a ranked list: place from 1, the gallery's image and its evidence."""

    place: int
    path: Path
    evidence: Evidence

    @property
    def distance(self) -> float:
        return self.evidence.distance


@dataclass(frozen=True)
class Comparison:
    """Two crops side by side: the evidence and, drawn on demand, the picture that shows it."""

    a: Shown
    b: Shown
    evidence: Evidence

    @property
    def distance(self) -> float:
        return self.evidence.distance

    def picture(self) -> Image.Image:
        """Both crops with their part maps and the table of parts."""
        return compare_picture(self.a, self.b, self.evidence)


class Model:
    """A trained method with the recipe it came from.

    ``embed`` describes crops, ``compare`` two of them, ``rank`` searches a gallery. Masks, cameras and identities
    are never needed.
    """

    def __init__(self, recipe: Recipe, method: Method, scheme: PartScheme | None, device: str = "cpu") -> None:
        self.recipe, self.scheme, self.device = recipe, scheme, device
        self.method = method.eval().to(device)

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

    def compare(self, a: str | Path, b: str | Path) -> Comparison:
        """The distance between two crops and what each part says about it."""
        samples = [Sample(Path(p), 0, 0) for p in (a, b)]
        images = to_batch([read_image(s.path, self.recipe.size) for s in samples]).to(self.device)
        with torch.inference_mode():
            out = self.method(images)
            e = self.method.describe(out)
        first, second = (Shown.of(s, out.parts, out.groups.get("parts"), row) for row, s in enumerate(samples))
        return Comparison(first, second, explain_pair(self.method.distance, e, e, 0, 1))

    def rank(self, query: str | Path | Iterable[str | Path], gallery: str | Path | Iterable[str | Path],
             top: int = 10) -> list[list[Hit]]:
        """For every query crop the ``top`` nearest gallery crops, nearest first; ties keep the gallery's order."""
        paths = crop_paths(gallery)
        q, g = self.embed(query), self.embed(paths)
        found = []
        for at, block in self.method.distance.blocks(q, g):
            order = torch.argsort(block, dim=1, stable=True)[:, :top]
            for row, nearest in zip(range(at.start, at.stop), order.tolist(), strict=True):
                found.append([Hit(place, paths[i], explain_pair(self.method.distance, q, g, row, i))
                              for place, i in enumerate(nearest, 1)])
        return found


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


def load(run: str | Path, device: str = "auto") -> Model:
    """The model of a finished run: its folder, or its ``model.safetensors``. DataError if there is none."""
    path = Path(run)
    tensors, meta = load_tensors(path / "model.safetensors" if path.is_dir() else path)
    if "identities" not in meta:
        raise DataError(f"{path} is not a finished model (a checkpoint or embeddings); end the training with "
                        f"--resume, then give the run folder or its model.safetensors")
    recipe = from_plain(meta["recipe"])
    scheme = PartScheme(tuple(meta["parts"]["names"]), tuple(meta["parts"]["flip"])) if meta["parts"] else None
    method = restore(recipe, meta["identities"], scheme, tensors)
    return Model(recipe, method, scheme, build.device(device))


def restore(recipe: Recipe, identities: int, scheme: PartScheme | None, tensors: dict[str, torch.Tensor]) -> Method:
    """The method of a recipe with trained weights; nothing is fetched for the trunk."""
    bare = replace(recipe, backbone=build.unfetched(recipe.backbone))
    with torch.device("meta"):  # what only training uses (DSA's guide: 162 million numbers) is never allocated
        method = build.method(bare, identities, scheme).at_test()
    method.load_state_dict(tensors, assign=True)
    return method


def listed(source: Path) -> list[Path] | Path:
    """A text file of paths, one a line (relative ones from the file's folder), or the folder or image itself."""
    if source.suffix.lower() in (".txt", ".lst", ".csv") and source.is_file():
        lines: Sequence[str] = [line.strip() for line in source.read_text(encoding="utf-8").splitlines()]
        if not any(lines):
            raise DataError(f"{source} lists no images; write one path a line")
        return [Path(line) if Path(line).is_absolute() else source.parent / line for line in lines if line]
    return source
