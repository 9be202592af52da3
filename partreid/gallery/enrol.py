"""Many crops into a gallery, in batches, so that an enrolment that was cut off goes on."""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import abspath
from pathlib import Path

from partreid.errors import DataError
from partreid.gallery.rows import Enrolled
from partreid.gallery.store import Gallery
from partreid.inference import Model, SavedEmbeddings
from partreid.utils.arguments import door
from partreid.utils.images import read_image

_EMBEDDED, _SAVED = 256, 2048  # crops of a batch
_HIGH = 128  # pixels of a thumbnail
_PIECE = 2**20


@dataclass(frozen=True)
class Enrolment:
    """What became of crops.

    Args:
        added: How many were enrolled.
        known: How many were not, as their pictures are enrolled already, or came twice.
        forgotten: How many were not, as they show people who were forgotten.
        untold: How many of those enrolled the table says nothing of.
    """

    added: int
    known: int
    forgotten: int
    untold: int


@door
def enrol(
    gallery: Gallery,
    crops: Sequence[Path] | SavedEmbeddings,
    records: Mapping[str, Enrolled],
    model: Model | None = None,
    thumbnails: bool = False,
    progress: Callable[..., None] | None = None,
) -> Enrolment:
    """Enrol crops that are not there yet. Each batch is kept once it is done.

    A crop is known by the SHA-256 of its file, or of its embeddings where the file is gone.

    Args:
        gallery: Where to.
        crops: Files, which ``model`` embeds, or embeddings.
        records: What is known of each, by its absolute path.
        model: What embeds files.
        thumbnails: Keep a small picture of each, a JPEG 128 pixels high.
        progress: Called with (done, total).

    Raises:
        DataError: A file cannot be read, or the crops are of another model.
    """
    paths = crops.paths if isinstance(crops, SavedEmbeddings) else tuple(crops)
    size = _SAVED if isinstance(crops, SavedEmbeddings) else _EMBEDDED
    gone = gallery.forgotten(sorted({e.person for e in records.values() if e.person is not None}))
    seen: set[bytes] = set()
    added = known = forgotten = untold = 0
    for start in range(0, len(paths), size):
        batch = range(start, min(start + size, len(paths)))
        marks = {i: _digest(crops, paths[i], i) for i in batch}
        there = gallery.known(list(marks.values()))
        chosen: list[int] = []
        for i in batch:
            about = records.get(_key(paths[i]))
            if about is not None and about.person in gone:
                forgotten += 1
            elif marks[i] in there or marks[i] in seen:
                known += 1
            else:
                untold += about is None
                seen.add(marks[i])
                chosen.append(i)
        if chosen:
            gallery.add(
                _embedded(crops, chosen, paths, model),
                [records.get(_key(paths[i]), Enrolled()) for i in chosen],
                thumbnails=[_thumbnail(paths[i]) for i in chosen] if thumbnails else None,
                digests=[marks[i] for i in chosen],
            )
            added += len(chosen)
        if progress is not None:
            progress(batch.stop, len(paths))
    return Enrolment(added, known, forgotten, untold)


def _key(path: Path | None) -> str:
    return "" if path is None else abspath(path)


def _digest(crops: Sequence[Path] | SavedEmbeddings, path: Path | None, i: int) -> bytes:
    if path is not None:
        try:
            with path.open("rb") as file:
                hasher = hashlib.sha256()
                while piece := file.read(_PIECE):
                    hasher.update(piece)
            return hasher.digest()
        except OSError as error:
            if not isinstance(crops, SavedEmbeddings):
                raise DataError(f"{path} cannot be read ({error.strerror})") from None
    assert isinstance(crops, SavedEmbeddings), "crops that are to be embedded are files"
    e = crops.embeddings
    whole = e.vectors[i].numpy().tobytes() + e.visibility[i].numpy().tobytes()
    return hashlib.sha256(whole).digest()


def _embedded(
    crops: Sequence[Path] | SavedEmbeddings,
    chosen: Sequence[int],
    paths: Sequence[Path | None],
    model: Model | None,
) -> SavedEmbeddings:
    if isinstance(crops, SavedEmbeddings):
        return replace(
            crops,
            embeddings=crops.embeddings.rows(list(chosen)),
            paths=tuple(crops.paths[i] for i in chosen),
            looks=None if crops.looks is None else crops.looks[list(chosen)],
        )
    if model is None:
        raise DataError("files must be embedded before they are enrolled; give the model that does")
    return model.index([path for i in chosen if (path := paths[i]) is not None])


def _thumbnail(path: Path | None) -> bytes:
    if path is None:
        raise DataError("a crop without a file has no picture to make a thumbnail of")
    picture = read_image(path)
    picture.thumbnail((_HIGH, _HIGH))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return out.getvalue()
