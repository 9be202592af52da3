"""Crops in a table, one row each: enrolled, searched, and taken out again."""

import time
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partreid.errors import DataError, ShapeError
from partreid.gallery import check, exchange, forget, likeness, renew, shares
from partreid.gallery.changes import Memo
from partreid.gallery.exchange import Exported, Imported
from partreid.gallery.forget import Forgotten
from partreid.gallery.hot import Hot, bytes_of
from partreid.gallery.renew import Renewed
from partreid.gallery.rows import FOUND, Enrolled, Filters, Found, Row, as_found, decode
from partreid.gallery.schema import Bound, named, opened
from partreid.gallery.server import connect, is_url, server_errors
from partreid.gallery.session import Session, alone
from partreid.inference import Model, SavedEmbeddings
from partreid.types import Embeddings
from partreid.utils.arguments import Count, door, integer, number
from partreid.utils.files import real

BUDGET = 2 * 2**30  # bytes of memory that vectors kept for searches may take
_READ = 1.5e-8  # seconds that a number of a row takes to be read and prepared


class Gallery(Session):
    """An open gallery, see :func:`open_gallery`. Close it, or use it in a ``with``.

    Several threads may share it, and several processes may open one; each sees what the others have
    finished.

    Examples:
        >>> from partreid import load
        >>> model = load("runs/bpbreid", device="cpu")
        >>> crops = model.index("crops")
        >>> anna, bob = Enrolled(camera=1, person="anna"), Enrolled(camera=2, person="bob")
        >>> with open_gallery("people", model) as gallery:
        ...     gallery.add(crops, [anna, anna, bob, Enrolled(camera=2), Enrolled()])
        [1, 2, 3, 4, 5]
    """

    @door
    def __init__(
        self, connection: Any, bound: Bound, recipe: str, folder: Path | None, budget: int
    ) -> None:
        super().__init__(connection, bound, recipe, folder)
        self._budget = budget
        self._hot: Hot | None = None
        self._scores, self._memo = likeness.Scores(), Memo()
        self._spent = 0.0  # seconds of searches in SQL since rows were last in memory

    def close(self) -> None:
        """End the connection; what was added stays."""
        self._drop()
        super().close()

    @alone
    def __len__(self) -> int:
        return self._count()

    @property
    def is_hot(self) -> bool:
        """Whether searches use vectors in memory."""
        return self._hot is not None

    @door
    @alone
    def add(
        self,
        crops: SavedEmbeddings,
        enrolled: Enrolled | Sequence[Enrolled] | None = None,
        *,
        thumbnails: Sequence[bytes | None] | None = None,
        digests: Sequence[bytes | None] | None = None,
    ) -> list[int]:
        """Enrol crops. All of them are kept once this returns, and none if it does not.

        Args:
            crops: Of the gallery's model, float32 [N, M, D].
            enrolled: What is known of them: of all the same, or N of them.
            thumbnails: N small pictures as files (JPEG, PNG), which are kept as they are; None for
                a crop without one.
            digests: N digests of the pictures; no two crops of a gallery have the same. See
                :meth:`known`.

        Returns:
            Their N ids, in order.

        Raises:
            DataError: They are of another model, hold numbers that float16 cannot, are enrolled
                already by their digests, or are of a person who was forgotten.
            ShapeError: There are not N of something.

        Examples:
            >>> gallery.add(model.index("a.jpg"), Enrolled(camera=3, person="anna"))
            [6]
        """
        self.bound.require(Bound.of(crops), crops.model)
        n = len(crops)
        every: list[Enrolled] = (
            [enrolled or Enrolled()] * n
            if enrolled is None or isinstance(enrolled, Enrolled)
            else list(enrolled)
        )
        pictures, marks = list(thumbnails or [None] * n), list(digests or [None] * n)
        for what, given in (("enrolled", every), ("thumbnails", pictures), ("digests", marks)):
            if len(given) != n:
                raise ShapeError(f"{n} crops need as many {what}, got {len(given)}")
        if not n:
            return []
        now = datetime.now(timezone.utc)
        with self._writing():
            ids = exchange.next_ids(self._connection, n)
            rows = [
                Row(
                    ids[i],
                    every[i],
                    crops.paths[i],
                    marks[i],
                    None if crops.looks is None else crops.looks[i],
                    pictures[i],
                    now,
                )
                for i in range(n)
            ]
            self._require_welcome({e.person for e in every if e.person is not None})
            exchange.insert(self._table, crops.embeddings, rows)
        return ids

    @door
    @alone
    def search(
        self,
        query: SavedEmbeddings,
        top: Count = 10,
        *,
        cameras: Sequence[int] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        person: str | None = None,
    ) -> list[list[Found]]:
        """The nearest crops of each query, among those that pass the filters.

        Ties go to the crop enrolled first; what shares no part comes last, at infinity. Who
        searches often has the vectors in memory by and by, if the budget allows; the answers are
        the same.

        Args:
            query: Of the gallery's model, float32 [N, M, D].
            top: How many to give, at least 1; all if there are fewer.
            cameras: Only of these; None: of all.
            since: Only taken at this time or later, with a time zone.
            until: Only taken before, with a time zone.
            person: Only of this one.

        Returns:
            A list for each query, nearest first.

        Raises:
            DataError: The query is of another model, or a time has no zone.

        Examples:
            >>> found = gallery.search(model.index("crops/2.jpg"), top=3)
            >>> len(found[0]), found[0][0].id
            (3, 3)
            >>> [hit.id for hit in gallery.search(crops, cameras=[2], person="bob")[0]]
            [3]
        """
        self.bound.require(Bound.of(query), query.model)
        filters = Filters(cameras, since, until, person)
        e = query.embeddings
        with self._reading() as version:
            self._keep(version)
            return [self._nearest(e.rows([i]), top, filters) for i in range(len(e))]

    @door
    @alone
    def within(
        self,
        query: SavedEmbeddings,
        limit: float,
        *,
        cameras: Sequence[int] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        person: str | None = None,
    ) -> list[list[Found]]:
        """All crops no further from each query than a distance, nearest first; see :meth:`search`.

        Examples:
            >>> [hit.id for hit in gallery.within(model.index("crops/0.jpg"), 1e-3)[0]]
            [1]
        """
        self.bound.require(Bound.of(query), query.model)
        number("limit", limit, 0)
        filters = Filters(cameras, since, until, person)
        with self._reading() as version:
            self._keep(version)
            every = [query.embeddings.rows([i]) for i in range(len(query))]
            return [self._within(q, limit, filters) for q in every]

    @door
    @alone
    def warm(self) -> bool:
        """Read the vectors into memory now, rather than by and by; False if the budget does not
        allow it.

        Examples:
            >>> gallery.warm(), gallery.is_hot
            (True, True)
        """
        with self._reading() as version:
            self._spent = float("inf")
            self._keep(version)
        return self.is_hot

    @door
    @alone
    def get(self, number: int) -> Found:
        """The crop of an id.

        Raises:
            DataError: There is none.

        Examples:
            >>> gallery.get(3).enrolled.person
            'bob'
        """
        rows = self._table.rows(f"SELECT {FOUND} FROM crops WHERE id = %s", (number,))
        if not rows:
            raise DataError(f"the gallery has no crop {number}; ids are those that add gave")
        return as_found(rows[0])

    @door
    @alone
    def embeddings(self, ids: Sequence[int]) -> Embeddings:
        """Embeddings of crops, float32 [N, M, D] in the order of their ids; for evidence.

        Raises:
            DataError: There is no such crop.

        Examples:
            >>> gallery.embeddings([2, 1]).vectors.shape[0]
            2
        """
        return self._saved(ids).embeddings

    @door
    @alone
    def saved(self, ids: Sequence[int]) -> SavedEmbeddings:
        """The same with files, model and looks, as ``partreid embed`` keeps them. There are looks
        if all of these crops were enrolled with theirs.

        Examples:
            >>> gallery.saved([1]).paths[0].name
            '0.jpg'
        """
        return self._saved(ids)

    @door
    @alone
    def sample(self, most: Count) -> Embeddings:
        """Embeddings of an even share of the crops, in order; of all if there are no more.

        Examples:
            >>> len(gallery.sample(3)), len(gallery.sample(100))
            (3, 5)
        """
        total = self._count()
        places = np.unique(np.linspace(1, total, min(most, total)).round().astype(np.int64))
        rows = self._table.rows(
            "SELECT vectors, visibility FROM crops JOIN (SELECT id, row_number() OVER (ORDER BY "
            "id) AS place FROM crops) AS numbered USING (id) WHERE place = ANY(%s::bigint[]) "
            "ORDER BY id",
            (places.tolist(),),
        )
        return decode([r[0] for r in rows], [r[1] for r in rows], self.names, self.width)

    @door
    @alone
    def likeness(
        self, mark: str, score: Callable[[SavedEmbeddings], Any]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How like the crops of a calibration each crop is, asked once and kept with the gallery.

        Args:
            mark: A digest of the calibration; scores of another one are dropped.
            score: Called with crops that are new, gives float64 [n].

        Returns:
            Ids int64 [N], ascending, and scores float64 [N].

        Examples:
            >>> norms = lambda new: new.embeddings.vectors.norm(dim=(1, 2))
            >>> ids, scores = gallery.likeness("norms", norms)
            >>> ids.tolist(), scores.shape
            ([1, 2, 3, 4, 5], (5,))
        """
        if self._scores.are_of(mark, self._require_unchanged()):
            return self._scores.ids, self._scores.scores
        while True:
            with self._reading() as version:
                if self._scores.refresh(self._table, mark, version):
                    return self._scores.ids, self._scores.scores
            self._require_no_snapshot()
            ids = likeness.unscored(self._table, mark, self._scores.last)
            if ids:
                scores = np.asarray(score(self._saved(ids)))
                likeness.keep(self._table, mark, ids, scores.tolist())

    @door
    @alone
    def memo(self, key: Hashable, make: Callable[[], Any], growth: float = 0.0) -> Any:
        """What ``make`` gives, kept until the crops it was made of have changed, whoever changed
        them: made anew once any was removed, or once they have grown by more than a share.

        Args:
            key: What it is called.
            make: Makes it of the crops as they are; may ask this gallery.
            growth: The share of new crops that it may be without; 0: of none.

        Returns:
            What ``make`` gave.

        Examples:
            >>> gallery.memo("half", lambda: len(gallery) // 2)
            2
        """
        number("growth", growth, 0)
        with self._reading() as version:
            return self._memo.get(self._table, version, key, make, growth)

    @door
    @alone
    def forgotten(self, people: Sequence[str]) -> set[str]:
        """Which of these people were forgotten, and are not enrolled.

        Examples:
            >>> _ = gallery.forget("anna")
            >>> gallery.forgotten(["anna", "bob"])
            {'anna'}
        """
        return self._gone(set(people))

    @door
    @alone
    def thumbnail(self, number: int) -> bytes | None:
        """The small picture that was enrolled with a crop, or None.

        Raises:
            DataError: There is no such crop.

        Examples:
            >>> gallery.thumbnail(1) is None
            True
        """
        rows = self._table.rows("SELECT thumbnail FROM crops WHERE id = %s", (number,))
        if not rows:
            raise DataError(f"the gallery has no crop {number}; ids are those that add gave")
        return None if rows[0][0] is None else bytes(rows[0][0])

    @door
    @alone
    def known(self, digests: Sequence[bytes]) -> set[bytes]:
        """Which of these digests are enrolled already.

        Examples:
            >>> from hashlib import sha256
            >>> digest = sha256(Path("a.jpg").read_bytes()).digest()
            >>> _ = gallery.add(model.index("a.jpg"), digests=[digest])
            >>> gallery.known([digest, b"another"]) == {digest}
            True
        """
        return exchange.known_digests(self._table, digests)

    @door
    @alone
    def remove(self, ids: Sequence[int]) -> Forgotten:
        """Remove crops: all of them, or none.

        Raises:
            DataError: There is no such crop.

        Examples:
            >>> gallery.remove([4, 5]).crops, len(gallery)
            (2, 3)
        """
        wanted = list(dict.fromkeys(ids))
        with self._writing():
            done = forget.remove(
                self._connection, "id = ANY(%s::bigint[])", (wanted,), forget.CROPS
            )
            if done is None or done.crops != len(wanted):
                have = 0 if done is None else done.crops
                raise DataError(
                    f"the gallery has {have} of these {len(wanted)} crops; nothing was removed: "
                    "give ids that are there"
                )
        return done

    @door
    @alone
    def forget(self, person: str) -> Forgotten:
        """Remove all crops of a person, with their thumbnails, and write that into the journal. The
        person is not enrolled again, nor imported, see :meth:`readmit`. Traces in the server's
        files go with :meth:`purge`.

        Raises:
            DataError: Nobody here is called that.

        Examples:
            >>> gallery.forget("anna").crops, gallery.people()
            (2, {'bob': 1})
        """
        with self._writing():
            return forget.person(self._connection, person)

    @door
    @alone
    def readmit(self, person: str) -> Forgotten:
        """Let a forgotten person be enrolled again, which the journal says too.

        Raises:
            DataError: The person is not forgotten.

        Examples:
            >>> _ = gallery.forget("anna")
            >>> gallery.readmit("anna").reason
            'readmitted'
        """
        with self._writing():
            one = forget.digest(forget.salt_of(self._connection), person)
            if one not in forget.forgotten_since(self._connection):
                raise DataError(f"'{person}' was not forgotten, and may be enrolled as it is")
            return forget.write(self._connection, forget.READMITTED, one, 0, 0)

    @door
    @alone
    def forget_older(self, days: float) -> Forgotten | None:
        """Remove crops taken more than so many days ago; those without a time count from when they
        were enrolled.

        Returns:
            What was removed, as the journal has it; None if nothing is that old.

        Examples:
            >>> gallery.forget_older(days=365) is None
            True
        """
        before = datetime.now(timezone.utc) - timedelta(days=number("days", days, 0, 1e6))
        with self._writing():
            return forget.remove(
                self._connection, "coalesce(time, enrolled) < %s", (before,), forget.AGE
            )

    @door
    @alone
    def purge(self) -> tuple[str, ...]:
        """Write all tables anew, so that nothing of what was removed stays in the server's files:
        neither in tables and indexes nor in write-ahead files. Needs as much room again as the
        gallery takes, and others wait meanwhile.

        Returns:
            Sentences about what is not in its power; none in a folder that nobody else uses.

        Examples:
            >>> _ = gallery.forget("anna")
            >>> gallery.purge()
            ()
        """
        self._drop()
        return forget.purge(self._connection, self._folder)

    @door
    @alone
    def journal(self) -> list[Forgotten]:
        """What was removed, and when, in order.

        Examples:
            >>> _ = gallery.forget("anna")
            >>> [(entry.reason, entry.crops) for entry in gallery.journal()]
            [('person', 2)]
        """
        rows = self._table.rows(
            "SELECT person, crops, thumbnails, at, reason FROM journal ORDER BY id"
        )
        return [Forgotten(None if row[0] is None else row[0].hex(), *row[1:]) for row in rows]

    @door
    @alone
    def count(
        self,
        *,
        cameras: Sequence[int] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        person: str | None = None,
    ) -> int:
        """How many crops pass the filters of a search.

        Examples:
            >>> gallery.count(), gallery.count(person="anna"), gallery.count(cameras=[2])
            (5, 2, 2)
        """
        filters = Filters(cameras, since, until, person)
        if not filters:
            return self._count()
        sql = f"SELECT count(*) FROM crops WHERE {filters.where}"
        return int(self._table.rows(sql, filters.values)[0][0])

    @door
    @alone
    def people(self) -> dict[str, int]:
        """How many crops there are of each person with a name, by name.

        Examples:
            >>> gallery.people()
            {'anna': 2, 'bob': 1}
        """
        return dict(
            self._table.rows(
                "SELECT person, count(*) FROM crops WHERE person IS NOT NULL GROUP BY person ORDER "
                "BY person"
            )
        )

    @door
    @alone
    def cameras(self) -> dict[int, int]:
        """How many crops there are of each camera, by number.

        Examples:
            >>> gallery.cameras()
            {1: 2, 2: 2}
        """
        return dict(
            self._table.rows(
                "SELECT camera, count(*) FROM crops WHERE camera IS NOT NULL GROUP BY camera ORDER "
                "BY camera"
            )
        )

    @door
    @alone
    def shares(self) -> int:
        """Over how many other servers the crops are spread; 0: they lie with the gallery.

        Examples:
            >>> gallery.shares()
            0
        """
        return len(shares.addresses(self._connection))

    @door
    @alone
    def verify(self, progress: Callable[..., None] | None = None) -> list[str]:
        """Hold every row against itself: half-precision vectors against the float32 ones,
        visibilities, allowances, counts; nobody forgotten; and the indexes, where the server has
        amcheck.

        Args:
            progress: Called with (done, total).

        Returns:
            A sentence for each fault; none if all is well.

        Examples:
            >>> gallery.verify()
            []
        """
        with self._reading():
            return check.faults(self._table, self.bound, progress or _silent)

    @door
    @alone
    def export(self, folder: str | Path, progress: Callable[..., None] | None = None) -> Exported:
        """All crops into a folder: as ``partreid embed`` keeps them, up to 20,000 at a time, with
        camera, time, person and thumbnail beside them. Nothing is lost.

        Args:
            folder: A new or empty one. It holds names in the clear, also of people forgotten later.
            progress: Called with (done, total).

        Raises:
            DataError: The folder cannot be written, or holds something.

        Examples:
            >>> gallery.export("backup").crops
            5
        """
        with self._reading():
            return exchange.export(
                self._table, self.bound, self.recipe, Path(folder), progress or _silent
            )

    @door
    @alone
    def import_(self, folder: str | Path, progress: Callable[..., None] | None = None) -> Imported:
        """Enrol what :meth:`export` wrote: all of it, or nothing. An empty gallery takes ids and
        journal over, another one gives new ids. People who were forgotten here stay away, and
        pictures that are here already are not enrolled twice.

        Args:
            folder: What was exported.
            progress: Called with (done, total).

        Returns:
            How many were enrolled, and how many not.

        Raises:
            DataError: It is no complete export, or one of another model.

        Examples:
            >>> _ = gallery.export("backup")
            >>> _ = gallery.remove([1, 2, 3, 4, 5])
            >>> gallery.import_("backup").crops, gallery.people()
            (5, {'anna': 2, 'bob': 1})
        """
        with self._writing():
            return exchange.import_(self._table, self.bound, Path(folder), progress or _silent)

    @door
    @alone
    def reembed(
        self,
        model: Model,
        *,
        drop_missing: bool = False,
        progress: Callable[..., None] | None = None,
    ) -> Renewed:
        """Take the gallery over to another model: all crops are embedded anew from their files.

        Args:
            model: What embeds, and what the gallery is bound to from then on.
            drop_missing: Remove crops whose file is gone; otherwise one is enough to refuse.
            progress: Called with (done, total).

        Returns:
            How many were embedded, and the crops that were removed.

        Raises:
            DataError: Files are missing; says how many and which first. Nothing has changed then.

        Examples:
            >>> gallery.reembed(model).crops
            5
        """
        with self._writing():
            done = renew.reembed(self._table, model, drop_missing, progress or _silent)
        self._drop()
        self._bind(Bound.of(model), model.recipe.name)
        return done

    def _drop(self) -> None:
        """Hold nothing of the crops in memory."""
        self._hot, self._scores, self._memo = None, likeness.Scores(), Memo()

    def _count(self) -> int:
        return int(self._table.rows("SELECT crops FROM gallery")[0][0])

    def _gone(self, people: set[str]) -> set[str]:
        gone = forget.forgotten_since(self._connection)
        salt = forget.salt_of(self._connection)
        return {person for person in people if forget.digest(salt, person) in gone}

    def _require_welcome(self, people: set[str]) -> None:
        for person in sorted(self._gone(people)):
            raise DataError(
                f"'{person}' was forgotten and is not enrolled again; if that is wanted, say so "
                "first with Gallery.readmit"
            )

    def _keep(self, version: int) -> None:
        """Bring the vectors in memory up to date, or there once searching in SQL has taken as long
        as that would have.
        """
        parts = len(self.names)
        count = self._count()
        if count * bytes_of(parts, self.width) > self._budget:
            self._hot = None
            return
        if self._hot is None and self._spent < count * parts * self.width * _READ:
            return
        if self._hot is None:
            self._hot, self._spent = Hot(), 0.0
        self._hot.refresh(self._table, version)

    def _nearest(self, q: Embeddings, top: int, filters: Filters) -> list[Found]:
        if self._hot is not None:
            hits = self._hot.nearest(self._table, q, top, filters)
            if hits is not None:
                return hits
        start = time.perf_counter()
        hits = self._table.nearest(q, top, filters)
        self._spent += time.perf_counter() - start
        return hits

    def _within(self, q: Embeddings, limit: float, filters: Filters) -> list[Found]:
        if self._hot is not None:
            hits = self._hot.within(self._table, q, limit, filters)
            if hits is not None:
                return hits
        return self._table.within(q, limit, filters)

    def _saved(self, ids: Sequence[int]) -> SavedEmbeddings:
        wanted = [integer("an id", number, -(2**63), 2**63 - 1) for number in ids]
        rows = self._table.rows(
            "SELECT id, source, vectors, visibility, looks FROM crops WHERE id = ANY(%s::bigint[])",
            (wanted,),
        )
        by_id = {row[0]: row for row in rows}
        if missing := [number for number in wanted if number not in by_id]:
            raise DataError(f"the gallery has no crop {missing[0]}; ids are those that add gave")
        chosen = [by_id[number] for number in wanted]
        looks = [row[4] for row in chosen]
        return SavedEmbeddings(
            decode([r[2] for r in chosen], [r[3] for r in chosen], self.names, self.width),
            tuple(None if r[1] is None else Path(r[1]) for r in chosen),
            self.recipe,
            self.bound.digest,
            self.bound.weights,
            self.distance,
            None
            if not looks or None in looks
            else torch.from_numpy(np.stack([np.frombuffer(one, np.float32) for one in looks])),
        )


@door
def open_gallery(
    where: str | Path,
    like: SavedEmbeddings | Model | None = None,
    *,
    budget: int = BUDGET,
    on: Sequence[str] = (),
) -> Gallery:
    """The gallery in a folder or on a server; made if there is none and ``like`` says for which
    model.

    Args:
        where: A folder of its own, or the address of a PostgreSQL database with pgvector,
            postgresql://user@host/database.
        like: The model that the gallery is bound to, or embeddings of it: by the hashes of weights
            and recipe and by the distance. None opens one that is there.
        budget: Bytes of memory that vectors kept for searches may take, 0 for none.
        on: Addresses of empty databases on other servers, over which the crops of a new gallery are
            spread; see docs/gallery.md for what that takes.

    Returns:
        The gallery.

    Raises:
        DataError: It was made for another model, no server answers, the extra is not installed, or
            crops cannot be spread over these.

    Examples:
        >>> with open_gallery("people", model) as gallery:
        ...     len(gallery), gallery.distance.metric
        (0, 'unit_euclidean')
    """
    integer("budget", budget, 0)
    if like is not None:
        Bound.of(like)  # what cannot be kept is refused before a server is made
    shares.require_addresses(on)
    connection = connect(where, like is not None)
    try:
        with server_errors():
            bound, recipe = opened(connection, like, on)
        if like is not None:
            bound.require(Bound.of(like), named(like))
    except BaseException:
        connection.close()
        raise
    folder = None if is_url(where) else real(where)
    return Gallery(connection, bound, recipe, folder, budget)


def _silent(*_: Any) -> None:
    """Progress that nobody looks at."""
