"""A gallery taken over to another model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.gallery import exchange, forget, shares
from partreid.gallery.schema import Bound, crops
from partreid.gallery.search import Table
from partreid.inference import Model

_AT_ONCE = 256  # crops that are embedded before their rows are written
_NAMED = 3  # missing files that an error names


@dataclass(frozen=True)
class Renewed:
    """What became of the crops.

    Args:
        crops: How many were embedded anew.
        missing: Those whose file is gone: their ids and files, None if they had none.
    """

    crops: int
    missing: tuple[tuple[int, Path | None], ...]


def reembed(
    table: Table, model: Model, drop_missing: bool, progress: Callable[..., None]
) -> Renewed:
    """Embed all crops anew, inside a transaction that alone changes crops."""
    connection, bound = table.connection, Bound.of(model)
    if shares.addresses(connection):
        raise DataError(
            "the crops of this gallery are spread over several servers and cannot be renewed in "
            "place; enrol their files into a new gallery of the other model"
        )
    missing = _missing(table)
    if missing and not drop_missing:
        first = ", ".join(
            f"crop {number} ({'no file' if path is None else path})"
            for number, path in missing[:_NAMED]
        )
        raise DataError(
            f"{len(missing)} crops have no file to embed anew, first {first}; put the files back, "
            "or say drop_missing=True to remove these crops"
        )
    if missing:
        gone = [number for number, _ in missing]
        forget.remove(connection, "id = ANY(%s::bigint[])", (gone,), forget.CROPS)
    total = int(table.rows("SELECT crops FROM gallery")[0][0])
    for line in crops(bound, "renewed"):
        connection.execute(line)
    new = Table(connection, bound.distance, bound.names, bound.width)
    connection.execute("UPDATE gallery SET crops = 0")
    done = 0
    for rows, _ in exchange.read(table, _AT_ONCE):
        saved = model.index([row.source for row in rows if row.source is not None])
        assert saved.looks is not None, "the model looked at its crops just now"
        again = [replace(row, looks=saved.looks[i]) for i, row in enumerate(rows)]
        exchange.insert(new, saved.embeddings, again, "renewed")
        done += len(rows)
        progress(done, total)
    _swap(connection)
    # Nothing in memory is of use any more, nor any score.
    connection.execute(
        "UPDATE gallery SET bound = %s, recipe = %s, floor = version, scored_by = NULL",
        (str(bound), model.recipe.name),
    )
    connection.execute("DELETE FROM likeness")
    return Renewed(done, tuple(missing))


def _missing(table: Table) -> list[tuple[int, Path | None]]:
    missing = []
    with table.connection.cursor(
        name="sources"
    ) as cursor:  # as many lines as crops, not all at once
        for number, source in cursor.execute("SELECT id, source FROM crops ORDER BY id"):
            path = None if source is None else Path(source)
            if path is None or not path.is_file():
                missing.append((number, path))
    return missing


def _swap(connection: Any) -> None:
    connection.execute("DROP TABLE crops")
    connection.execute("ALTER TABLE renewed RENAME TO crops")
    for (name,) in connection.execute(
        "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'partreid' "
        "AND tablename = 'crops'"
    ).fetchall():
        connection.execute(f'ALTER INDEX "{name}" RENAME TO "{name.replace("renewed", "crops")}"')
