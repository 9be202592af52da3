"""One process's part of a bulk job: a model that embeds shard after shard.

A shard's embeddings get their name when all of them are on the disk, so a killed job goes on where
it stopped: what has its name is whole.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from partreid.bulk.shards import (
    COUNTS,
    KEY,
    MODEL,
    ROWS,
    Head,
    heads,
    note_of,
    require_crops,
    source_of,
    tables,
)
from partreid.errors import DataError
from partreid.inference import load
from partreid.utils.arguments import check_fields, integer
from partreid.utils.crops import Crop
from partreid.utils.files import real, regular, whole_file
from partreid.utils.images import Pixels, read_image, size_of
from partreid.utils.lock import alone_in
from partreid.utils.looks import LOOKS, looks

BAD = "bad"  # the folder of the lists of images that cannot be read
LARGEST = 65_504.0  # of float16
_AGAIN = "choose another folder with --out, or remove it to embed the shard again"

Seen: TypeAlias = tuple[Pixels, NDArray[np.float64]]  # what the network takes, and how it looks


Step: TypeAlias = Callable[..., None]  # called with crops done, crops in all and a note


@dataclass(frozen=True)
class Job:
    """What every worker is told.

    Args:
        run: Run folder or model.safetensors.
        out: Folder of the embeddings.
        device: "auto", "cpu" or "cuda".
        batch: Crops that go through the network together.
        strict: Whether the first image or shard that cannot be read ends the job.
        workers: Threads that read the next crops while the network works.

    Raises:
        ArgumentError: A batch of none, or no thread.

    Examples:
        >>> Job(Path("runs/bpbreid"), Path("embedded-shards")).batch
        64
    """

    run: Path
    out: Path
    device: str = "auto"
    batch: int = 64
    strict: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        integer("batch", self.batch, 1)
        integer("workers", self.workers, 1)


@dataclass(frozen=True)
class Done:
    """What became of a shard.

    Args:
        name: Of its file.
        crops: How many were embedded.
        bad: How many could not be read.
        skipped: Whether it was finished before.
        error: Why it has no embeddings: it is damaged. "" if it has.

    Examples:
        >>> summary([Done("a.parquet", crops=3), Done("b.parquet", crops=2, skipped=True)])
        '5 crops in 2 shards, 1 of them finished before'
    """

    name: str
    crops: int = 0
    bad: int = 0
    skipped: bool = False
    error: str = ""


class _Damaged(DataError):
    """A shard whose rows cannot be read; the others can be."""


class Worker:
    """A model that stays, and embeds shard after shard."""

    def __init__(self, job: Job) -> None:
        self.job, self.model = job, load(job.run, job.device)
        black: Pixels = np.zeros((*self.model.recipe.size, 3), np.uint8)
        bound, e = self.model.bound, self.model.embed([black])
        self.width = e.vectors.shape[2]
        self.about = {  # of every shard
            "names": list(e.names),
            "width": self.width,
            "distance": asdict(self.model.method.distance),
            "recipe": self.model.recipe.name,
            "digest": bound.recipe,
            "weights": bound.weights,
        }

    def finished(self, head: Head, shard: Path) -> Done:
        """What the finished shard ``head`` says of itself. DataError if it is not what this job
        would write.
        """
        note = note_of(head, KEY, MODEL)
        counts = note_of(head, COUNTS, {"crops": int, "bad": int})
        if note is None or counts is None:
            raise DataError(f"{head.file} holds no embeddings and is in the way; {_AGAIN}")
        if any(note[what] != self.about[what] for what in ("weights", "digest")):
            raise DataError(
                f"{head.file} is of another model ({note['recipe']}, weights "
                f"{note['weights'][:12]}, recipe {note['digest']}) than {self.job.run} "
                f"({self.about['recipe']}, weights {str(self.about['weights'])[:12]}, recipe "
                f"{self.about['digest']}); {_AGAIN}"
            )
        if note["source"] != source_of(shard):
            raise DataError(f"{head.file} was made from another shard of this name; {_AGAIN}")
        return Done(shard.name, counts["crops"], counts["bad"], True)

    def unfinished(self, shards: Sequence[Path]) -> tuple[list[Done], list[Path]]:
        """What is finished, and the shards that are not."""
        there = [shard for shard in shards if (self.job.out / shard.name).exists()]
        outputs = heads([self.job.out / shard.name for shard in there], _AGAIN)
        done = [self.finished(head, shard) for head, shard in zip(outputs, there, strict=True)]
        whole = set(there)
        return done, [shard for shard in shards if shard not in whole]

    def __call__(self, head: Head, step: Callable[[int], None] | None = None) -> Done:
        """Embed one shard, unless it is finished. Memory is that of a batch, of the rows that are
        written together, and of the list of its bad images.

        OUT/NAME holds a row for each crop that can be read, OUT/bad/NAME id and reason of the
        others. step: called with the number of crops that are done.

        Raises:
            DataError: What is finished is of another model or source, or another process is at it.
        """
        shard = head.file
        with alone_in(self.job.out, shard.name):
            done, open_ = self.unfinished([shard])
            if not open_:
                return done[0]
            try:
                return self._embedded(head, step or (lambda crops: None))
            except _Damaged as error:
                if self.job.strict:
                    raise
                return Done(shard.name, error=str(error))

    def _embedded(self, head: Head, step: Callable[[int], None]) -> Done:
        from pyarrow import parquet

        shard, crops = head.file, 0
        note = {
            **self.about,
            "source": source_of(shard),
            "folder": str(shard.parent.absolute()),
        }
        rows = _rows(head)
        kept = next(rows)[0].schema  # of the empty table
        schema = self._schema(kept).with_metadata({KEY: dumps(note)})
        bad: list[tuple[Any, str]] = []
        with (
            whole_file(self.job.out / shard.name) as file,
            # Numbers of embeddings hardly repeat: dictionaries of them only cost time.
            parquet.ParquetWriter(
                file, schema, compression="zstd", use_dictionary=kept.names
            ) as writer,
        ):
            held: list[Any] = []
            for table, pictures, n in self._batches(rows, shard, bad):
                if pictures:
                    held.append(self._table(table, pictures, schema, shard))
                    crops += len(pictures)
                if sum(map(len, held)) >= ROWS:
                    _write(writer, held)
                step(n)
            _write(writer, held)
            writer.add_key_value_metadata({COUNTS: dumps({"crops": crops, "bad": len(bad)})})
            writer.close()
            # Before the shard has its name: a kill between the two only lists the same rows again.
            self._list(bad, kept, shard.name)
        return Done(shard.name, crops, len(bad))

    def _batches(
        self, rows: Iterator[tuple[Any, list["_Source"]]], shard: Path, bad: list[tuple[Any, str]]
    ) -> Iterator[tuple[Any, list[Seen], int]]:
        """(rows, pictures, rows read) of a batch of pictures that can be read; the others go to
        ``bad``.
        """
        import pyarrow as arrow

        held: list[Any] = []
        pictures: list[Seen] = []
        read = 0
        for table, coming in _ahead(rows, self.model.recipe.size, self.job.workers):
            good = []
            for row, picture in enumerate(coming):
                try:
                    pictures.append(picture.result())
                    good.append(row)
                except DataError as error:
                    name = table["id"][row].as_py()
                    if self.job.strict:
                        raise DataError(f"{shard}, id {name}: {error}") from None
                    bad.append((name, str(error)))
            held.append(table.take(arrow.array(good, "int64")))
            read += len(table)
            if len(pictures) >= self.job.batch:
                yield arrow.concat_tables(held), pictures, read
                held, pictures, read = [], [], 0
        if read:
            yield arrow.concat_tables(held), pictures, read

    def _schema(self, kept: Any) -> Any:
        import pyarrow as arrow

        names = len(self.model.names)
        for name, kind, size in (
            ("vectors", arrow.float16(), names * self.width),
            ("visibility", arrow.float32(), names),
            ("looks", arrow.float32(), len(LOOKS)),
        ):
            kept = kept.append(arrow.field(name, arrow.list_(kind, size)))
        return kept

    def _table(self, table: Any, pictures: list[Seen], schema: Any, shard: Path) -> Any:
        """The embeddings beside what is known of their crops."""
        import pyarrow as arrow

        try:
            e = self.model.embed([pixels for pixels, _ in pictures], self.job.batch)
        except DataError as error:
            first, last = table["id"][0].as_py(), table["id"][-1].as_py()
            raise DataError(f"{shard}, crops from id {first} to {last}: {error}") from None
        most = float(e.vectors.abs().max())
        if most > LARGEST:
            raise DataError(
                f"the model gives {most:g}, and float16 ends at {LARGEST:g}; take a model whose "
                "embeddings are smaller, or embed folders, which keep float32"
            )
        looked = np.stack([looked for _, looked in pictures]).astype(np.float32)
        numbers = (e.vectors.flatten(1).half().numpy(), e.visibility.numpy(), looked)
        lists = [
            arrow.FixedSizeListArray.from_arrays(arrow.array(x.ravel()), x.shape[1])
            for x in numbers
        ]
        columns = [*(column.combine_chunks() for column in table.columns), *lists]
        return arrow.Table.from_arrays(columns, schema=schema)

    def _list(self, bad: Sequence[tuple[Any, str]], kept: Any, name: str) -> None:
        import pyarrow as arrow
        from pyarrow import parquet

        file = self.job.out / BAD / name
        file.unlink(missing_ok=True)
        if not bad:
            return
        ids = arrow.array([i for i, _ in bad], kept.field("id").type)
        table = arrow.table({"id": ids, "reason": [why for _, why in bad]})
        with whole_file(file) as listed:
            parquet.write_table(table, listed)


@dataclass(frozen=True)
class _Source:
    """A picture of a row: a file, its bytes, or why there is none."""

    given: Path | bytes | str

    def read(self, size: tuple[int, int]) -> Seen:
        """uint8 RGB [H, W, 3], and how it looks. DataError if it cannot be read."""
        if isinstance(self.given, str):
            raise DataError(self.given)
        if isinstance(self.given, Path):
            crop = Crop(str(self.given), regular(self.given, "crop"))
            pixels, (height, width) = crop.pixels(size), crop.size
        else:
            crop = Crop("the picture", picture=read_image(io.BytesIO(self.given), size))
            pixels, (width, height) = crop.pixels(size), size_of(io.BytesIO(self.given))
        return pixels, looks(pixels, height, width)


def _rows(head: Head) -> Iterator[tuple[Any, list[_Source]]]:
    """(what is kept of some rows, their pictures); the first is empty and has the types."""
    picture = require_crops(head)
    try:
        for table, large in tables(head, [*head.kept, *({picture} - set(head.kept))]):
            sources = []
            for value in table[picture].to_pylist():
                if large:
                    value = (
                        f"the picture has {large:,} bytes, and a crop has at most 8 MiB; make it "
                        "smaller"
                    )
                elif value is None:
                    value = "the row has no picture; give each crop one"
                elif isinstance(value, str):
                    value = head.file.parent / value  # an absolute one stays as it is
                sources.append(_Source(value))
            yield table.select(list(head.kept)), sources
    except DataError as error:
        raise _Damaged(str(error)) from None


def _ahead(
    rows: Iterator[tuple[Any, list[_Source]]], size: tuple[int, int], workers: int
) -> Iterator[tuple[Any, list[Future[Seen]]]]:
    """Pictures are read in threads, some rows before they are asked for."""
    with ThreadPoolExecutor(workers) as pool:
        held: list[tuple[Any, list[Future[Seen]]]] = []
        try:
            for table, sources in rows:
                held.append((table, [pool.submit(source.read, size) for source in sources]))
                if len(held) > 1:
                    yield held.pop(0)
            while held:
                yield held.pop(0)
        finally:
            for _, coming in held:
                for picture in coming:
                    picture.cancel()  # the caller has failed


def _write(writer: Any, held: list[Any]) -> None:
    import pyarrow as arrow

    if held:
        writer.write_table(arrow.concat_tables(held), ROWS * 2)
        held.clear()


def begun(job: Job, shards: list[Path]) -> tuple[Worker, list[Done], list[Head]]:
    """The model, the shards that are finished, and the heads of the others. All that a user can
    have got wrong is told here, before the work.
    """
    for shard in shards:
        if real(job.out / shard.name) == real(shard):
            raise DataError(f"{shard} would be replaced by its embeddings; give another --out")
    by_file = {head.file: head for head in heads(shards)}
    for head in by_file.values():
        require_crops(head)
    worker = Worker(job)
    done, open_ = worker.unfinished(shards)
    return worker, done, [by_file[shard] for shard in open_]
