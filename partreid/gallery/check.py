"""Is every row what was enrolled?"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from partreid.errors import PartReidError
from partreid.gallery import shares
from partreid.gallery.forget import digest, forgotten_since, salt_of
from partreid.gallery.rows import LARGEST, decode
from partreid.gallery.schema import Bound
from partreid.gallery.search import Table
from partreid.gallery.statement import slack, stored

_AT_ONCE = 1024
_MOST = 20  # faults of rows that are named
_CLOSE = 1e-9  # of an allowance: sums in another order


def faults(table: Table, bound: Bound, progress: Callable[..., None]) -> list[str]:
    """A sentence for each fault of a gallery, inside a transaction that sees one version of it."""
    problems = _columns(table, bound)
    if problems:
        return problems  # rows of another shape cannot be read
    total = int(table.rows("SELECT crops FROM gallery")[0][0])
    last, seen, wrong = 0, 0, 0
    # one bytea for all parts: 4 bytes of length before the numbers of each
    halves = " || ".join(f"halfvec_send(p{m})" for m in range(len(table.names)))
    shown = ", ".join(f"v{m}" for m in range(len(table.names)))
    while rows := table.rows(
        f"SELECT id, vectors, visibility, slack, {halves}, {shown} FROM crops "
        "WHERE id > %s ORDER BY id LIMIT %s",
        (last, _AT_ONCE),
    ):
        for number, why in _rows(table, rows):
            wrong += 1
            if wrong <= _MOST:
                problems.append(f"crop {number}: {why}")
        last, seen = rows[-1][0], seen + len(rows)
        progress(seen, total)
    if wrong > _MOST:
        problems.append(f"and {wrong - _MOST} more crops")
    if shares.addresses(table.connection):  # no index sees all servers
        for what in ("id", "digest"):
            twice = table.rows(
                f"SELECT count(*) FROM (SELECT {what} FROM crops WHERE {what} IS NOT NULL GROUP BY "
                f"{what} HAVING count(*) > 1) AS twice"
            )[0][0]
            if twice:
                problems.append(f"{twice} crops have the {what} of another one")
    if seen != total:
        problems.append(f"the gallery counts {total} crops and holds {seen}")
    lost = table.rows("SELECT count(*) FROM likeness WHERE crop NOT IN (SELECT id FROM crops)")[0][
        0
    ]
    if lost:
        problems.append(f"{lost} scores of likeness belong to no crop")
    gone = forgotten_since(table.connection)
    if gone:
        salt = salt_of(table.connection)
        people = table.rows("SELECT DISTINCT person FROM crops WHERE person IS NOT NULL")
        back = sum(digest(salt, row[0]) in gone for row in people)
        if back:
            problems.append(f"{back} people who were forgotten are in the gallery")
    return problems + _indexes(table)


def _columns(table: Table, bound: Bound) -> list[str]:
    have = dict(
        table.rows(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'crops'::regclass AND attnum > 0 AND NOT attisdropped"
        )
    )
    wanted = {f"p{m}": f"halfvec({bound.width})" for m in range(len(bound.names))}
    wanted |= {f"v{m}": "real" for m in range(len(bound.names))}
    # the type's name comes with its schema where that is not on the path
    return [
        f"the column {name} is {have.get(name, 'not there')}, and should be {kind}"
        for name, kind in wanted.items()
        if have.get(name, "").rpartition(".")[2] != kind
    ]


def _rows(table: Table, rows: list[Any]) -> list[tuple[int, str]]:
    parts, width = len(table.names), table.width
    problems: list[tuple[int, str]] = []
    for row in rows:
        for what, column, size in (
            ("vectors", 1, 4 * parts * width),
            ("visibilities", 2, 4 * parts),
        ):
            if len(row[column]) != size:
                problems.append((row[0], f"its {what} have {len(row[column])} bytes, not {size}"))
    if problems:
        return problems
    try:
        e = decode([r[1] for r in rows], [r[2] for r in rows], table.names, width)
        e.require_visibilities()
    except PartReidError as error:
        return [(rows[0][0], f"it, or one of the {len(rows) - 1} after it: {error}")]
    x = stored(table.distance, e)
    good = torch.isfinite(e.vectors).flatten(1).all(1) & (x.abs().amax((1, 2)) <= LARGEST)
    halves = np.frombuffer(b"".join(r[4] for r in rows), ">f2").reshape(len(rows), parts, 2 + width)
    expected = x.half().numpy()
    same = (halves[:, :, 2:].astype(np.float16) == expected).all((1, 2))
    shown = np.array([r[5:] for r in rows], np.float32)
    as_seen = (shown == e.visibility.numpy()).all(1)
    lost = slack(table.distance, x).numpy()
    allowed = np.isclose(np.array([r[3] for r in rows]), lost, rtol=_CLOSE, atol=0)
    for i, row in enumerate(rows):
        if not good[i]:
            problems.append((row[0], "its vectors are no numbers that a gallery keeps"))
        elif not same[i]:
            problems.append((row[0], "half precision and float32 do not agree"))
        elif not as_seen[i]:
            problems.append((row[0], "its visibilities stand there twice and differ"))
        elif not allowed[i]:
            problems.append((row[0], "the allowance for rounding is not that of its vectors"))
    return problems


def _indexes(table: Table) -> list[str]:
    """What amcheck says of the B-trees, where it is installed and may be asked."""
    import psycopg

    if not table.rows("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'")[0][0]:
        return []
    problems: list[str] = []
    for name, oid in table.rows(
        "SELECT c.relname::text, c.oid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'partreid' ORDER BY 1"
    ):
        try:
            with table.connection.transaction():
                table.connection.execute("SELECT bt_index_check(%s::oid::regclass, true)", (oid,))
        except psycopg.errors.InsufficientPrivilege:
            return problems
        except psycopg.Error as error:
            problems.append(f"the index {name}: {error.diag.message_primary}")
    return problems
