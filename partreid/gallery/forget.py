"""Taking crops out again so that nothing of them stays, and the journal of it.

A removed row lives on in the server's files: in the table until it is written anew, in indexes, and
in the write-ahead files. :func:`purge` writes all of it anew and lets the old files go.
"""

import hashlib
import hmac
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.gallery import shares
from partreid.gallery.server import connected, server_errors

TABLES = ("crops", "journal", "removed", "likeness", "gallery")
_PATIENCE = 10.0  # seconds that transactions of others get to end
PERSON, AGE, CROPS, READMITTED = "person", "age", "crops", "readmitted"


@dataclass(frozen=True)
class Forgotten:
    """An entry of the journal: what was removed, and when. It holds no name and no picture.

    Args:
        person: A salted digest of the name, 64 hex digits; None if crops were not removed by name.
        crops: How many were removed.
        thumbnails: How many of them had one.
        when: With a time zone.
        reason: ``person`` was asked for; ``age``; ``crops`` by their ids; or ``readmitted``, a
            person who may be enrolled again.
    """

    person: str | None
    crops: int
    thumbnails: int
    when: datetime
    reason: str = PERSON


def digest(salt: bytes, person: str) -> bytes:
    """What the journal keeps instead of a name: without the salt nobody can tell whose it is, and
    with it only who knows the name.
    """
    return hmac.new(salt, person.encode(), hashlib.sha256).digest()


def salt_of(connection: Any) -> bytes:
    return bytes(connection.execute("SELECT salt FROM gallery").fetchone()[0])


def forgotten_since(connection: Any) -> dict[bytes, datetime]:
    """Digests of the people who are forgotten, and when; not those readmitted later."""
    rows = connection.execute(
        "SELECT DISTINCT ON (person) person, reason, at FROM journal WHERE person IS NOT NULL "
        "ORDER BY person, id DESC"
    ).fetchall()
    return {bytes(person): moment for person, reason, moment in rows if reason == PERSON}


def remove(
    connection: Any, where: str, values: Sequence[Any], reason: str, person: bytes | None = None
) -> Forgotten | None:
    """Remove the crops of a condition and write it down, inside a transaction; None if there are
    none.
    """
    version = change(connection)
    rows = connection.execute(
        f"DELETE FROM crops WHERE {where} RETURNING id, thumbnail IS NOT NULL", values
    ).fetchall()
    if not rows:
        return None
    ids = [row[0] for row in rows]
    connection.execute(
        "INSERT INTO removed SELECT %s, unnest(%s::bigint[])",
        (version, ids),
    )
    connection.execute("DELETE FROM likeness WHERE crop = ANY(%s)", (ids,))
    connection.execute("UPDATE gallery SET crops = crops - %s", (len(ids),))
    return write(connection, reason, person, len(ids), sum(row[1] for row in rows))


def write(
    connection: Any, reason: str, person: bytes | None, crops: int, thumbnails: int
) -> Forgotten:
    """A new entry of the journal."""
    moment = connection.execute(
        "INSERT INTO journal (reason, person, crops, thumbnails) VALUES (%s, %s, %s, %s) "
        "RETURNING at",
        (reason, person, crops, thumbnails),
    ).fetchone()[0]
    return Forgotten(None if person is None else person.hex(), crops, thumbnails, moment, reason)


def change(connection: Any) -> int:
    """A new version of the crops. Until the transaction ends no other can change them, so that ids
    become visible in their order.
    """
    return int(
        connection.execute("UPDATE gallery SET version = version + 1 RETURNING version").fetchone()[
            0
        ]
    )


def person(connection: Any, name: str) -> Forgotten:
    """Remove all crops of a person. DataError if there are none."""
    with connection.transaction():
        one = digest(salt_of(connection), name)
        done = remove(connection, "person = %s", (name,), PERSON, one)
        if done is None:
            moment = forgotten_since(connection).get(one)
            raise DataError(
                f"nobody in this gallery is called '{name}'; see its people with "
                "partreid gallery info"
                if moment is None
                else f"'{name}' was forgotten on {moment:%Y-%m-%d} already, and no crop came since"
            )
        return done


def purge(connection: Any, folder: Path | None) -> tuple[str, ...]:
    """Write the tables anew and let go of every file in which removed rows may stand.

    folder: of the server, if it is ours.

    Returns:
        Sentences about what only others can do: end a transaction, or administer the server.
    """
    others = shares.addresses(connection)
    tables = [table for table in TABLES if not (others and table == "crops")]
    left = _write_anew(connection, tables)
    with connection.transaction():
        connection.execute("UPDATE gallery SET version = version + 1, floor = version + 1")
        connection.execute("DELETE FROM removed")  # numbers only
        left += _counted(connection) if others else []
    left += _let_go(connection)
    if folder is None:
        left += _kept_elsewhere(connection)
    else:
        with suppress(OSError), (folder / "log").open("r+b") as log:
            log.truncate(0)
    for number, address in enumerate(others):
        with closing(connected(address)) as far, server_errors(f"share {number} of the gallery"):
            also = [*_write_anew(far, [shares.SHARE]), *_let_go(far), *_kept_elsewhere(far)]
        left += [f"share {number}: {sentence}" for sentence in also]
    return tuple(left)


def _counted(connection: Any) -> list[str]:
    """Servers commit one after the other: where the gallery's own fell in between, it counts other
    crops than the shares hold.
    """
    count, held = connection.execute(
        "SELECT crops, (SELECT count(*) FROM crops) FROM gallery"
    ).fetchone()
    if count == held:
        return []
    connection.execute("UPDATE gallery SET crops = %s", (held,))
    return [
        f"the gallery counted {count} crops and its servers hold {held}, as one of them went away "
        "in the middle of a change; it counts these now: see that they are what should be there"
    ]


def _write_anew(connection: Any, tables: Sequence[str]) -> list[str]:
    left = [] if _alone(connection) else [_WATCHED]
    connection.execute(f"SET lock_timeout = {round(1000 * _PATIENCE)}")
    try:
        # A copy of each table and its indexes; the former files are emptied at once.
        for table in tables:
            connection.execute(f"VACUUM (FULL) {table}")
            connection.execute(f"REINDEX TABLE {table}")
    finally:
        connection.execute("RESET lock_timeout")
    return left


def _let_go(connection: Any) -> list[str]:
    """Drop what the server keeps of former tables; sentences about what it does not let us."""
    import psycopg

    left = []
    for order, what in (
        (
            "VACUUM (FULL) pg_catalog.pg_statistic",
            "statistics that an earlier version may have kept",
        ),
        ("CHECKPOINT", "the former files of the tables, until the next checkpoint"),
        ("SELECT pg_switch_wal()", "the write-ahead file in use"),
        ("CHECKPOINT", "write-ahead files, until the next checkpoints"),
    ):
        try:
            connection.execute(order)
        except psycopg.errors.InsufficientPrivilege:
            left.append(f"{what}: have the server's administrator run {order}")
    return left


_WATCHED = (
    "another program has had a transaction open since before, which keeps removed rows alive: end "
    "it and purge again"
)


def _alone(connection: Any) -> bool:
    """Whether no transaction is left that might see removed rows, after some patience."""
    until = time.monotonic() + _PATIENCE
    while True:
        others = connection.execute(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid "
            "<> pg_backend_pid() AND backend_type = 'client backend' AND datname = "
            "current_database()) + (SELECT count(*) FROM pg_prepared_xacts)"
        ).fetchone()[0]
        if not others:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.1)


def _kept_elsewhere(connection: Any) -> list[str]:
    """What a server that others run may keep besides."""
    settings = dict(
        connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name IN ('wal_recycle', 'archive_mode', "
            "'wal_keep_size')"
        ).fetchall()
    )
    slots = connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone()[0]
    sentences = {
        "write-ahead files are kept for later use with what stands in them: have wal_recycle = off "
        "set, or wait until they are overwritten": settings.get("wal_recycle") == "on",
        "write-ahead files are archived: have those of before now removed from the archive": (
            settings.get("archive_mode", "off") != "off"
        ),
        "write-ahead files are kept for replicas (wal_keep_size, replication slots)": (
            settings.get("wal_keep_size", "0") != "0" or slots > 0
        ),
        "backups, replicas and the server's own log are out of reach from here": True,
    }
    return [sentence for sentence, holds in sentences.items() if holds]
