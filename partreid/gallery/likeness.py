"""How like the crops of a calibration each crop is: asked once, and kept in a table of its own."""

from collections.abc import Sequence

import numpy as np

from partreid.gallery import changes
from partreid.gallery.search import Table

_AT_ONCE = 2048  # crops whose likeness is asked together


def unscored(table: Table, mark: str, after: int) -> list[int]:
    """Ids of some crops without a score of a calibration, all of them with looks or all without; of
    those above ``after``, up to which whoever asks has them.
    """
    with table.connection.transaction():
        _hold(table, mark)
        rows = table.rows(
            "SELECT id, looks IS NULL FROM crops WHERE id > %s AND NOT EXISTS (SELECT FROM "
            "likeness WHERE crop = id) ORDER BY id LIMIT %s",
            (after, _AT_ONCE),
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


class Scores:
    """The scores of all crops in memory, as they were at a version of the table.

    ids: int64 [N], ascending. scores: float64 [N].
    """

    def __init__(self) -> None:
        self._mark: str | None = None
        self._forget()

    def _forget(self) -> None:
        self._version, self._is_whole = changes.NEVER, False
        self.ids, self.scores = np.empty(0, np.int64), np.empty(0)

    @property
    def last(self) -> int:
        """The highest id; all crops up to it are here."""
        return int(self.ids[-1]) if len(self.ids) else -(2**63)

    def are_of(self, mark: str, version: int) -> bool:
        """Whether they are those of a calibration for all crops of a version."""
        return self._is_whole and (mark, version) == (self._mark, self._version)

    def refresh(self, table: Table, mark: str, version: int) -> bool:
        """Take over what has changed up to ``version``, inside a transaction that sees just that;
        False if there are crops without a score, see :func:`unscored`.

        mark: a digest of the calibration.
        """
        if self.are_of(mark, version):
            return True
        if mark != self._mark:
            self._mark = mark
            self._forget()
        since = changes.since(table, self._version)
        if since.gone is None:
            self._forget()
        elif len(since.gone):
            left = ~np.isin(self.ids, since.gone)
            self.ids, self.scores = self.ids[left], self.scores[left]
        self._version, self._is_whole = version, False
        if table.rows("SELECT scored_by FROM gallery")[0][0] != mark:
            return False
        # Ids become visible in their order, so what is new comes after what is here.
        rows = table.rows(
            "SELECT id, score FROM crops LEFT JOIN likeness ON crop = id WHERE id > %s ORDER BY id",
            (self.last,),
        )
        if any(score is None for _, score in rows):
            return False
        self.ids = np.concatenate([self.ids, np.array([r[0] for r in rows], np.int64)])
        self.scores = np.concatenate([self.scores, np.array([r[1] for r in rows], np.float64)])
        self._is_whole = True
        return True


def _hold(table: Table, mark: str) -> None:
    """Until the transaction ends nobody else changes crops or scores; those of another calibration
    go.
    """
    (before,) = table.connection.execute("SELECT scored_by FROM gallery FOR UPDATE").fetchone()
    if before != mark:
        table.connection.execute("DELETE FROM likeness")
        table.connection.execute("UPDATE gallery SET scored_by = %s", (mark,))
