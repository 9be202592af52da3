"""How like the crops of a calibration each crop is: asked once, and kept in a table of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.gallery.search import Table

_AT_ONCE = 2048  # crops whose likeness is asked together


def unscored(table: Table, mark: str) -> list[int]:
    """Ids of some crops without a score of a calibration, all of them with looks or all without."""
    with table.connection.transaction():
        _hold(table, mark)
        rows = table.rows(
            "SELECT id, looks IS NULL FROM crops WHERE NOT EXISTS (SELECT FROM likeness WHERE crop = "
            "id) ORDER BY id LIMIT %s",
            (_AT_ONCE,),
        )
    return [number for number, blind in rows if blind == rows[0][1]]


def keep(table: Table, mark: str, ids: Sequence[int], scores: Sequence[float]) -> None:
    """Scores of crops, save of those that were removed meanwhile."""
    with table.connection.transaction():
        _hold(table, mark)
        table.connection.execute(
            "INSERT INTO likeness SELECT crop, score FROM unnest(%s::bigint[], %s::float8[]) AS "
            "given (crop, score) WHERE EXISTS (SELECT FROM crops WHERE id = crop) ON CONFLICT DO "
            "NOTHING",
            (list(ids), list(scores)),
        )


def kept(table: Table) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids and scores of all crops, in the order of the ids."""
    rows = table.rows("SELECT crop, score FROM likeness ORDER BY crop")
    return np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.float64)


def all_scores(
    table: Table, mark: str, score: Callable[[Sequence[int]], Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The same, after those that are not kept yet were asked.

    mark: a digest of the calibration. score: of crops by their ids, float64 [n].
    """
    while ids := unscored(table, mark):
        keep(table, mark, ids, np.asarray(score(ids)).tolist())
    return kept(table)


def _hold(table: Table, mark: str) -> None:
    """Until the transaction ends nobody else changes crops or scores; those of another calibration
    go.
    """
    (before,) = table.connection.execute("SELECT scored_by FROM gallery FOR UPDATE").fetchone()
    if before != mark:
        table.connection.execute("DELETE FROM likeness")
        table.connection.execute("UPDATE gallery SET scored_by = %s", (mark,))
