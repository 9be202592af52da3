import json
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
import torch

from partreid.errors import DataError
from partreid.gallery import Enrolled, Imported, open_gallery
from partreid.gallery.exchange import first
from partreid.inference import load_embeddings
from tests.gallery.conftest import clear
from tests.gallery.drawn import DISTANCES, saved

DISTANCE = DISTANCES[3]
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def exported(anywhere: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a gallery of 21 crops, some with looks, a thumbnail, a digest or a name."""
    monkeypatch.setattr("partreid.gallery.exchange.SHARD", 8)
    crops, blind = saved(DISTANCE, 10, 1), saved(DISTANCE, 5, 2)
    blind = type(blind)(**{**vars(blind), "looks": None})
    with open_gallery(anywhere, crops) as gallery:
        gallery.add(crops, Enrolled(1, NOON, "anna"), thumbnails=[b"\0small"] * 10)
        gallery.add(blind, Enrolled(2, None, "ben"), digests=[bytes([i]) * 32 for i in range(5)])
        gallery.add(saved(DISTANCE, 7, 3))
        gallery.remove([4])
        gallery.add(saved(DISTANCE, 1, 4), Enrolled(person="cleo"))
        gallery.forget("cleo")
        done = gallery.export(tmp_path / "out")
        assert (done.crops, len(list((tmp_path / "out").glob("part-*")))) == (21, done.folders)
        kept = gallery.saved([*range(1, 4), *range(5, 23)])
        torch.save(kept.embeddings.vectors, tmp_path / "vectors.pt")
    return tmp_path / "out"


def test_an_export_comes_back_with_nothing_lost(exported: Path, anywhere: Path | str) -> None:
    part = load_embeddings(exported / "part-00000")
    assert part.distance == DISTANCE and part.looks is not None and len(part) == 8
    with open_gallery(anywhere) as gallery:
        numbers = [*range(1, 4), *range(5, 23)]
        before = [gallery.get(i) for i in numbers], gallery.journal(), gallery.people()
        salt = gallery._connection.execute("SELECT salt FROM gallery").fetchone()
        times = gallery._connection.execute("SELECT id, enrolled, digest FROM crops").fetchall()
    clear(anywhere)
    with open_gallery(anywhere, first(exported)) as gallery:
        steps: list[tuple[int, int]] = []
        done = gallery.import_(exported, lambda n, of: steps.append((n, of)))
        assert done == Imported(21, 0, 0) and steps[-1] == (21, 21)
        assert ([gallery.get(i) for i in numbers], gallery.journal(), gallery.people()) == before
        assert gallery._connection.execute("SELECT salt FROM gallery").fetchone() == salt
        again = gallery._connection.execute("SELECT id, enrolled, digest FROM crops").fetchall()
        assert sorted(again) == sorted(times)
        vectors = torch.load(exported.parent / "vectors.pt", weights_only=True)
        assert torch.equal(gallery.embeddings(numbers).vectors, vectors)
        assert gallery.thumbnail(1) == b"\0small" and gallery.saved([1]).looks is not None
        assert gallery.verify() == []
        with pytest.raises(DataError, match="'cleo' was forgotten"):
            gallery.add(saved(DISTANCE, 1), Enrolled(person="cleo"))
        assert gallery.add(saved(DISTANCE, 1)) == [24]  # 23 was cleo's, and is not given again
    assert json.loads((exported / "gallery.json").read_text())["crops"] == 21


def test_who_was_forgotten_since_does_not_come_back(exported: Path, anywhere: Path | str) -> None:
    with open_gallery(anywhere) as gallery:
        gallery.forget("anna")
        gallery.remove([11])
        assert gallery.import_(exported) == Imported(8, 9, 4)
        assert gallery.people() == {"ben": 5} and len(gallery) == 11 + 8
        assert gallery.get(24).enrolled.person == "ben"  # with new ids, as there were others
        assert gallery.verify() == []


def _cut(folder: Path) -> None:
    (folder / "gallery.json").unlink()


def _short(folder: Path) -> None:
    file = folder / "part-00001" / "crops.jsonl"
    file.write_text("".join(file.read_text().splitlines(True)[:-1]))


def _broken(folder: Path) -> None:
    file = folder / "part-00002" / "crops.jsonl"
    file.write_text(file.read_text().replace('"camera": 2', '"camera": "two"'))


def _gone(folder: Path) -> None:
    shutil.rmtree(folder / "part-00001")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "no complete export"),
        (_short, "should hold"),
        (_broken, "of .*crops.jsonl is damaged"),
        (_gone, "part-00001"),
    ],
)
def test_a_damaged_export_is_refused_whole(
    exported: Path, anywhere: Path | str, damage: Callable[[Path], None], words: str
) -> None:
    damage(exported)
    with open_gallery(anywhere) as gallery:
        with pytest.raises(DataError, match=words):
            gallery.import_(exported)
        assert len(gallery) == 21 and gallery.verify() == []


def test_an_export_of_another_model_is_refused(exported: Path, anywhere: Path | str) -> None:
    clear(anywhere)
    with open_gallery(anywhere, saved(DISTANCES[0], 1)) as gallery:
        with pytest.raises(DataError, match="distance differ"):
            gallery.import_(exported)
        with pytest.raises(DataError, match="is not an empty folder"):
            gallery.export(exported)
