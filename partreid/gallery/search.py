"""The nearest crops of a query by SQL, exactly.

A search computes a lower bound of every distance in SQL, takes the rows with the least, and scores
them anew from the float32 vectors in float64. It takes more until no other row can be nearer, so
nothing is missed, whatever half precision loses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from partreid.distance import PartDistance
from partreid.gallery.rows import FOUND, Filters, Found, as_found, decode
from partreid.gallery.statement import half, lower_bound, slack, stored
from partreid.types import Embeddings

_AT_ONCE = 2048  # rows whose float32 vectors are held together


@dataclass(frozen=True)
class Table:
    """A connection, and how the rows of its table of crops are read and compared."""

    connection: Any
    distance: PartDistance
    names: tuple[str, ...]
    width: int

    def rows(self, sql: str, values: Any = None) -> list[Any]:
        """All rows that a statement gives, in binary."""
        with self.connection.cursor(binary=True) as cursor:
            return list(cursor.execute(sql, values).fetchall())

    def nearest(self, q: Embeddings, top: int, filters: Filters) -> list[Found]:
        """Of one query, nearest first; ties go to the crop enrolled first."""
        bound, values = self._bound(q), self._query(q, filters)
        limit = 2 * top + 32
        while True:
            rows = self.rows(
                f"SELECT {FOUND}, vectors, visibility, bound FROM crops JOIN (SELECT id, {bound} "
                f"AS bound FROM crops WHERE {filters.where} ORDER BY bound, id LIMIT %(limit)s) AS "
                "near USING (id) ORDER BY bound, id",
                {**values, "limit": limit},
            )
            hits = self.scored(q, rows)[:top]
            # No row left out lies below the last bound; once that is infinite, all of them do.
            last = rows[-1][-1] if len(rows) == limit else np.inf
            if last == np.inf or (hits[-1].distance or 0.0) < last:
                return hits
            limit *= 4

    def within(self, q: Embeddings, limit: float, filters: Filters) -> list[Found]:
        """All crops no further from one query than ``limit``, nearest first."""
        near = self.rows(
            f"SELECT id FROM crops WHERE {filters.where} AND {self._bound(q)} <= %(limit)s::float8 "
            "ORDER BY id",
            {**self._query(q, filters), "limit": limit},
        )
        hits = self.scored_ids(q, [row[0] for row in near])
        return [hit for hit in hits if hit.distance is not None and hit.distance <= limit]

    def scored_ids(self, q: Embeddings, ids: Sequence[int]) -> list[Found]:
        """Crops of these ids with their distances to one query, nearest first."""
        hits: list[Found] = []
        for start in range(0, len(ids), _AT_ONCE):
            hits += self.scored(
                q,
                self.rows(
                    f"SELECT {FOUND}, vectors, visibility FROM crops WHERE id = ANY(%s)",
                    (list(ids[start : start + _AT_ONCE]),),
                ),
            )
        return sorted(hits, key=_order)

    def scored(self, q: Embeddings, rows: Sequence[Any]) -> list[Found]:
        """Rows of ``FOUND``, vectors and visibility, with their distances in float64, nearest
        first.
        """
        if not rows:
            return []
        g = decode([row[6] for row in rows], [row[7] for row in rows], self.names, self.width)
        one = Embeddings(q.vectors.double(), q.visibility, q.names).rows([0] * len(rows))
        g = Embeddings(g.vectors.double(), g.visibility, g.names)
        far = self.distance.terms(one, g).sum(1).tolist()
        hits = [replace(as_found(row), distance=d) for row, d in zip(rows, far, strict=True)]
        return sorted(hits, key=_order)

    def _bound(self, q: Embeddings) -> str:
        return lower_bound(self.distance, len(q.names))

    def _query(self, q: Embeddings, filters: Filters) -> dict[str, Any]:
        x = stored(self.distance, q)
        values = {**filters.values, "slack": float(slack(self.distance, x)[0])}
        for m, (part, seen) in enumerate(zip(x[0], q.visibility[0].tolist(), strict=True)):
            values |= {f"q{m}": half(part), f"w{m}": seen}
        return values


def _order(hit: Found) -> Any:
    return hit.distance, hit.id
