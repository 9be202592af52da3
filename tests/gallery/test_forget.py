import mmap
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch

from partreid.errors import DataError
from partreid.gallery import Enrolled, Gallery, open_gallery
from partreid.gallery.rows import encode
from tests.gallery.drawn import DISTANCES, saved

NOW = datetime.now(timezone.utc)


def traces(folder: Path, *needles: bytes) -> list[str]:
    """Files below a folder that hold one of these byte strings."""
    matches = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
                matches += [
                    f"{path.name}: {needle[:20]!r}" for needle in needles if m.find(needle) >= 0
                ]
    return matches


def test_after_a_purge_no_byte_of_a_forgotten_person_is_left(place: Path) -> None:
    """In tables, indexes, statistics, write-ahead files and the server's log."""
    folder, picture = place / "pg", b"\xff\xd8a-picture-of-somebody" * 100
    crops, others = saved(DISTANCES[0], 30, 1), saved(DISTANCES[0], 300, 2)
    with open_gallery(folder, crops) as gallery:
        gallery.add(others, Enrolled(1, NOW, "Somebody Else"), thumbnails=[b"another" * 90] * 300)
        gallery.add(crops, Enrolled(2, NOW, "Anna Vergissmeinnicht"), thumbnails=[picture] * 30)
        gallery.search(crops, person="Anna Vergissmeinnicht")
        # what a careless administrator does: statistics, and a row that the server complains of
        gallery._connection.execute("ANALYZE crops")
        one = next(iter(crops.embeddings.vectors[3, 1].numpy().tobytes()[i : i + 24] for i in [8]))
        half = torch.nn.functional.normalize(crops.embeddings.vectors[3, 1].double(), dim=0).half()
        text = half.numpy()[2:12].astype("<f2").tobytes()
        needles = (b"Vergissmeinnicht", one, text, b"a-picture-of-somebody")
        gallery._connection.execute("CHECKPOINT")
        before = " ".join(traces(folder, *needles))
        assert [n for n in needles if repr(n[:20]) not in before] == []
        done = gallery.forget("Anna Vergissmeinnicht")
        assert (done.crops, done.thumbnails, done.reason) == (30, 30, "person")
        assert gallery.purge() == ()
        assert traces(folder, *needles) == []
        assert traces(folder, b"Somebody Else")  # who stays
        assert len(gallery) == 300 and gallery.verify() == []
        assert gallery.search(others, 1)[0][0].distance == pytest.approx(0, abs=1e-9)
        assert gallery.journal() == [done] and done.person is not None
        assert re.fullmatch("[0-9a-f]{64}", done.person)


def test_who_is_forgotten_does_not_come_back(empty: Path) -> None:
    crops = saved(DISTANCES[0], 4)
    with open_gallery(empty, crops) as gallery:
        gallery.add(crops, Enrolled(person="anna"))
        with pytest.raises(DataError, match="nobody in this gallery is called 'ana'"):
            gallery.forget("ana")
        gallery.forget("anna")
        with pytest.raises(DataError, match=f"forgotten on {NOW:%Y-}.* and no crop came since"):
            gallery.forget("anna")
        with pytest.raises(DataError, match="'anna' was forgotten .* Gallery.readmit"):
            gallery.add(crops, [Enrolled(), Enrolled(), Enrolled(person="anna"), Enrolled()])
        with pytest.raises(DataError, match="'ben' was not forgotten"):
            gallery.readmit("ben")
        assert len(gallery) == 0
        gallery.readmit("anna")
        assert gallery.add(crops, Enrolled(person="anna"))
        assert [entry.reason for entry in gallery.journal()] == ["person", "readmitted"]
        assert len({entry.person for entry in gallery.journal()}) == 1


def test_two_galleries_say_a_name_differently(empty: Path) -> None:
    crops = saved(DISTANCES[0], 1)

    def forgotten(gallery: Gallery) -> str | None:
        gallery.add(crops, Enrolled(person="anna"))
        return gallery.forget("anna").person

    with open_gallery(empty, crops) as gallery:
        first = forgotten(gallery)
        gallery._connection.execute("DROP SCHEMA partreid CASCADE")
    with open_gallery(empty, crops) as gallery:
        assert forgotten(gallery) != first


def test_crops_are_kept_for_so_many_days(empty: Path) -> None:
    crops = saved(DISTANCES[0], 1)
    with open_gallery(empty, crops) as gallery:
        for days in (0.5, 9, 11, 400):
            gallery.add(crops, Enrolled(time=NOW - timedelta(days=days)), thumbnails=[b"small"])
        gallery.add(crops)  # without a time: from when it was enrolled
        done = gallery.forget_older(10)
        assert done is not None and (done.crops, done.thumbnails, done.reason) == (2, 2, "age")
        assert gallery.forget_older(10) is None and len(gallery) == 3
        assert gallery.journal() == [done]
        last = gallery.forget_older(0)
        assert last is not None and last.crops == 3


def test_a_transaction_that_sees_removed_rows_is_told_of(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partreid.gallery.forget._PATIENCE", 0.3)
    crops = saved(DISTANCES[0], 3)
    with open_gallery(empty, crops) as gallery, open_gallery(empty) as other:
        gallery.add(crops, Enrolled(person="anna"))
        with other._connection.transaction():
            other._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            other._connection.execute("SELECT count(*) FROM pg_class")  # as a dump of all tables
            gallery.forget("anna")
            (sentence,) = gallery.purge()
            assert "another program has had a transaction open" in sentence
        assert gallery.purge() == ()


def test_a_purge_does_not_wait_for_ever(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.gallery.forget._PATIENCE", 0.3)
    crops = saved(DISTANCES[0], 3)
    with open_gallery(empty, crops) as gallery, open_gallery(empty) as other:
        gallery.add(crops)
        with other._reading(), pytest.raises(DataError, match="another program holds"):
            gallery.purge()
        assert gallery.purge() == ()


def test_what_copy_is_given_does_not_depend_on_how_many_rows_are_built_together() -> None:
    from partreid.gallery.rows import Row

    e = saved(DISTANCES[0], 2).embeddings
    rows = [Row(i, Enrolled(person=f"p{i}"), None, None, None, None, NOW) for i in range(2)]
    whole = b"".join(encode(DISTANCES[0], e, rows, 1))
    assert whole.count(b"p0") == whole.count(b"p1") == 1
    assert whole == b"".join(encode(DISTANCES[0], e, rows, 99))
