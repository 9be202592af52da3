"""A gallery whose crops lie on several servers, by PostgreSQL's own means.

The table of crops is partitioned by the hash of the id. Each partition is a foreign table
(postgres_fdw) that stands for the table ``partreid.share`` in a database of another server; bounds
of distances are computed there. All else (journal, versions, scores) stays where the gallery was
opened. Nothing above this file knows of it but what a foreign partition cannot do: be unique in a
column over all servers, or be written anew from here.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from partreid.errors import DataError
from partreid.gallery.server import connected, is_url, server_errors
from partreid.utils.text import printable

SHARE = "share"  # the table of a share, on its server
_NAME = "partreid_share"  # of the servers, where the gallery is opened
_OPTIONS = {  # bounds are computed where the rows lie; shares are read at the same time
    "extensions": "vector",
    "fetch_size": "200",
    "batch_size": "500",
    "async_capable": "true",
}
_ADDRESS = {"host", "hostaddr", "port", "dbname", "sslmode", "sslrootcert", "connect_timeout"}
_WAIT = "2s"  # for a lock that only a share in the same database can hold


def require_addresses(on: Sequence[str]) -> None:
    """DataError unless these are addresses of several databases."""
    for one in on:
        if not is_url(one):
            raise DataError(
                f"'{printable(one)[:60]}' is no address of a database; crops are spread over "
                "servers such as postgresql://user@host/database"
            )
    if len(set(on)) != len(on):
        raise DataError("two shares cannot lie in one database; give each address once")


@contextmanager
def laid_out(connection: Any, on: Sequence[str], table: Sequence[str]) -> Iterator[None]:
    """The tables of shares on their servers, and foreign servers for them, inside a transaction of
    the gallery's own. They stay if the block ends well.

    Args:
        connection: Of the gallery.
        on: Addresses of the shares' databases.
        table: Statements that make the table of a share.

    Raises:
        DataError: A server does not answer, has not what it takes, or holds a gallery already.
    """
    import psycopg

    place = _schema_of_vector(connection)
    try:
        with connection.transaction():
            connection.execute("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
    except psycopg.Error as error:
        raise DataError(
            f"this server has no postgres_fdw ({type(error).__name__}), by which it reaches "
            "others, as the one in a folder has not; take a server of your own, and have its "
            "administrator install PostgreSQL's contributed modules and run CREATE EXTENSION "
            "postgres_fdw in this database"
        ) from None
    with ExitStack() as stack:
        for number, url in enumerate(on):
            far = stack.enter_context(connected(url))
            with server_errors(f"share {number} of the gallery"):
                stack.enter_context(far.transaction())
                try:
                    _make_share(far, number, place, table)
                except psycopg.errors.LockNotAvailable:
                    raise DataError(
                        f"share {number} lies in the database of the gallery or of another share; "
                        "give each a database of its own"
                    ) from None
            _make_server(connection, number, url)
        yield


def _make_share(far: Any, number: int, place: str, table: Sequence[str]) -> None:
    import psycopg

    # What another share has made there is not to be seen before both are done, only waited for.
    far.execute(f"SET LOCAL lock_timeout = '{_WAIT}'")
    if far.execute("SELECT to_regnamespace('partreid')").fetchone()[0] is not None:
        raise DataError(
            f"the database of share {number} holds a gallery already, or a share of one; give an "
            "empty one, or remove what is there: DROP SCHEMA partreid CASCADE"
        )
    try:
        with far.transaction():
            far.execute(f'CREATE EXTENSION IF NOT EXISTS vector SCHEMA "{place}"')
    except psycopg.errors.LockNotAvailable:
        raise
    except psycopg.Error as error:
        raise DataError(
            f"the server of share {number} has no pgvector ({type(error).__name__}); have its "
            "administrator install it and run CREATE EXTENSION vector in this database"
        ) from None
    if (there := _schema_of_vector(far)) != place:
        raise DataError(
            f"pgvector lies in the schema {there} in the database of share {number}, and in "
            f"{place} where the gallery is; the names of its operators differ then: have it moved"
        )
    far.execute("CREATE SCHEMA partreid")
    for line in table:
        far.execute(line)


def _make_server(connection: Any, number: int, url: str) -> None:
    from psycopg import sql
    from psycopg.conninfo import conninfo_to_dict

    given: dict[str, str] = {k: str(v) for k, v in conninfo_to_dict(url).items() if v is not None}
    who: dict[str, str] = {k: given.pop(k) for k in ("user", "password") if k in given}
    for other in set(given) - _ADDRESS:
        raise DataError(f"an address of a share takes no '{printable(other)[:40]}'; leave it out")
    name = sql.Identifier(f"{_NAME}{number}")
    connection.execute(sql.SQL("DROP SERVER IF EXISTS {} CASCADE").format(name))  # of one long gone
    connection.execute(
        sql.SQL("CREATE SERVER {} FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({})").format(
            name, _options(given | _OPTIONS)
        )
    )
    connection.execute(
        sql.SQL("CREATE USER MAPPING FOR CURRENT_USER SERVER {} OPTIONS ({})").format(
            name, _options(who)
        )
    )


def _options(values: dict[str, str]) -> Any:
    from psycopg import sql

    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(key), sql.Literal(value))
        for key, value in values.items()
    )


def partitions(shares: int) -> list[str]:
    """Statements that make a partition of the table of crops for each share."""
    return [
        f"CREATE FOREIGN TABLE partreid.crops_{i} PARTITION OF partreid.crops FOR VALUES WITH "
        f"(MODULUS {shares}, REMAINDER {i}) SERVER {_NAME}{i} OPTIONS (schema_name 'partreid', "
        f"table_name '{SHARE}')"
        for i in range(shares)
    ]


def addresses(connection: Any) -> list[str]:
    """Of the databases of the shares; none if the crops lie with the gallery."""
    from psycopg.conninfo import make_conninfo

    rows = connection.execute(
        "SELECT s.srvoptions, u.umoptions FROM pg_foreign_table t JOIN pg_class c ON c.oid = "
        "t.ftrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_foreign_server s ON s.oid "
        "= t.ftserver LEFT JOIN pg_user_mappings u ON u.srvid = s.oid AND u.usename = current_user "
        "WHERE n.nspname = 'partreid' ORDER BY c.relname"
    ).fetchall()
    conninfos = []
    for about, who in rows:
        given = dict(one.split("=", 1) for one in (*(about or ()), *(who or ())))
        conninfos.append(make_conninfo("", **{k: v for k, v in given.items() if k not in _OPTIONS}))
    return conninfos


def _schema_of_vector(connection: Any) -> str:
    row = connection.execute(
        "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'"
    ).fetchone()
    return str(row[0]) if row else "none"
