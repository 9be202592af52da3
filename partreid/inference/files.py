"""Embeddings on disk: written with all that a search needs, and held against that when read."""

from collections.abc import Sequence
from dataclasses import asdict
from os.path import isdir  # unlike Path's, it never raises
from pathlib import Path
from typing import Any

import torch

from partreid.data.crops import AnyCrops, Crop, crops_of
from partreid.distance import PartDistance
from partreid.errors import DataError, PartReidError
from partreid.inference.model import Model
from partreid.inference.saved import EMBED_AGAIN, SavedEmbeddings
from partreid.train.checkpoint import save_tensors
from partreid.types import Embeddings
from partreid.utils.arguments import door, fits, integer, quoted, require
from partreid.utils.files import parse_json, regular, writable, write_json
from partreid.utils.lock import alone_in
from partreid.utils.tensors import read_tensors

_TENSORS, _INDEX = "embeddings.safetensors", "index.json"


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
    tensors, texts = read_tensors(file, EMBED_AGAIN)
    record = parse_json(texts.get("partreid", "null"), f"the metadata of {file}")
    if not isinstance(record, dict) or "weights" not in record:
        raise DataError(
            f"{file} does not say which model its embeddings are of: it is no file of "
            f"save_embeddings, or of an earlier version; {EMBED_AGAIN}"
        )
    try:
        return _kept(tensors, record)
    except PartReidError as error:
        raise DataError(f"{file} is damaged or was changed: {error}; {EMBED_AGAIN}") from None


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
