"""Which files are shards, and embeddings read back: as they were written, or refused by name."""

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
from pyarrow import parquet

import partreid
from partreid.bulk import shards as reading
from partreid.bulk.job import Job, embed_shards
from partreid.bulk.shards import is_shards, load_shards, read_shards, shards_of
from partreid.errors import DataError
from partreid.types import Benchmark
from tests.bulk.make import write_shards


@pytest.fixture(scope="module")
def out(
    trained: Callable[[str], Path], benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two shards of embeddings. Tests must not change them."""
    folder = tmp_path_factory.mktemp("shards")
    shards = write_shards(folder / "in", benchmark, 2, 6)
    embed_shards(Job(trained("bpbreid"), folder / "out", "cpu"), shards_of(shards))
    return folder / "out"


def changed(out: Path, folder: Path, edit: Callable[[Any, dict[str, Any]], Any]) -> Path:
    """A folder with the first shard as ``edit`` gives it, from its table and note."""
    table = parquet.read_table(out / "000.parquet")
    note = json.loads(table.schema.metadata[b"partreid"])
    table = edit(table, note).replace_schema_metadata({"partreid": json.dumps(note)})
    folder.mkdir()
    parquet.write_table(table, folder / "000.parquet")
    return folder


def test_what_counts_as_shards(tmp_path: Path) -> None:
    for name in ("b.parquet", "A.PARQUET", ".hidden.parquet", "table.parquet", "notes.txt"):
        (tmp_path / name).touch()
    assert is_shards(tmp_path) and is_shards(tmp_path / "*.parquet")
    assert [path.name for path in shards_of(tmp_path)] == ["A.PARQUET", "b.parquet"]
    assert (
        shards_of(tmp_path / "b*") == [tmp_path / "b.parquet"] == shards_of(tmp_path / "b.parquet")
    )
    (tmp_path / "a.jpg").touch()
    assert not is_shards(tmp_path) and not is_shards(tmp_path / "notes.txt")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.parquet").touch()
    with pytest.raises(DataError, match="have one name, and so would their embeddings"):
        shards_of(tmp_path / "**" / "b.parquet")
    with pytest.raises(DataError, match=r"names no \.parquet file"):
        shards_of(tmp_path / "none*.parquet")
    with pytest.raises(DataError, match=r"there is no shard .*none\.parquet"):
        shards_of(tmp_path / "none.parquet")


@pytest.mark.usefixtures("near")
def test_embeddings_come_back_as_they_were_written(
    out: Path, trained: Callable[[str], Path], benchmark: Benchmark
) -> None:
    model = partreid.load(trained("bpbreid"), "cpu")
    known, saved = load_shards(out), model.index([sample.path for sample in benchmark.gallery[:4]])
    assert known.ids == tuple(range(12)) and known.cameras == (1,) * 12
    assert known.times == (0.5,) * 12 and set(known.saved.paths) == {None}
    assert saved.looks is not None and known.saved.looks is not None
    assert torch.equal(known.saved.looks[:4], saved.looks)
    e = known.saved.embeddings
    assert torch.equal(e.vectors[:4], saved.embeddings.vectors.half().float())
    assert torch.equal(e.visibility[:4], saved.embeddings.visibility)
    assert e.names == model.names and known.saved.distance == saved.distance
    # equal crops: the first of them
    assert [hits[0].row for hits in model.search(saved, known.saved, top=1)] == [0, 1, 2, 3]
    assert len(partreid.rank(saved, known.saved, top=5)[0]) == 5


def test_pieces_are_the_whole(out: Path) -> None:
    whole, pieces = load_shards(out), list(read_shards(out, rows=5))
    assert [len(piece.ids) for piece in pieces] == [6, 6]
    assert sum((piece.ids for piece in pieces), ()) == whole.ids
    vectors = torch.cat([piece.saved.embeddings.vectors for piece in pieces])
    assert torch.equal(vectors, whole.saved.embeddings.vectors)
    (all_of_them,) = read_shards(out, rows=12)
    assert whole.saved.looks is not None and all_of_them.saved.looks is not None
    assert torch.equal(all_of_them.saved.looks, whole.saved.looks)


@pytest.mark.usefixtures("near")
def test_looks_are_known_if_all_shards_say_them(out: Path, tmp_path: Path) -> None:
    """Those of earlier versions do not."""
    folder = changed(out, tmp_path / "old", lambda table, note: table.drop_columns(["looks"]))
    (folder / "001.parquet").write_bytes((out / "001.parquet").read_bytes())
    assert load_shards(folder).saved.looks is None
    assert [piece.saved.looks for piece in read_shards(folder, rows=5)] == [None, None]
    assert load_shards(folder / "001.parquet").saved.looks is not None


@pytest.mark.usefixtures("near")
def test_paths_and_times_come_back(
    trained: Callable[[str], Path], benchmark: Benchmark, tmp_path: Path
) -> None:
    crop = Path(benchmark.gallery[0].path)
    (tmp_path / "a.jpg").write_bytes(crop.read_bytes())
    when = datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc)
    names = pyarrow.array(["yard", None]).dictionary_encode()
    times = pyarrow.array([when, None], pyarrow.timestamp("ns", "UTC"))
    table = {"id": ["x", "y"], "path": ["a.jpg", str(crop)], "camera": names, "time": times}
    parquet.write_table(pyarrow.table(table), tmp_path / "s.parquet")
    embed_shards(Job(trained("bpbreid"), tmp_path / "out", "cpu"), [tmp_path / "s.parquet"])
    known = load_shards(tmp_path / "out")
    assert known.saved.paths == (tmp_path / "a.jpg", crop) and known.ids == ("x", "y")
    assert known.cameras == ("yard", None) and known.times == (when, None)


@pytest.mark.usefixtures("near")
def test_what_was_changed_is_refused(out: Path, tmp_path: Path) -> None:
    def lists(table: Any, name: str, value: float) -> Any:
        kind = table.schema.field(name).type
        numbers = [[value] * kind.list_size] * len(table)
        index = table.schema.get_field_index(name)
        return table.set_column(index, name, pyarrow.array(numbers, kind))

    def narrower(table: Any, note: dict[str, Any]) -> Any:
        note["width"] += 1
        return table

    def foreign(table: Any, note: dict[str, Any]) -> Any:
        note["distance"] = {"metric": "cosine"}
        return table

    for i, (edit, words) in enumerate(
        (
            (lambda t, n: lists(t, "vectors", float("nan")), "vectors must be finite numbers"),
            (lambda t, n: lists(t, "visibility", 2.0), "000.parquet is damaged or was changed"),
            (lambda t, n: lists(t, "looks", float("inf")), "looks must be finite numbers"),
            (lambda t, n: t.drop_columns(["id"]), "must have one column id"),
            (lambda t, n: t.drop_columns(["vectors"]), "must have one column vectors"),
            (lambda t, n: (n.clear(), t)[1], "holds no embeddings of partreid embed"),
            (narrower, "vectors must be"),
            (foreign, "distance must be a PartDistance"),
        )
    ):
        with pytest.raises(DataError, match=words):
            load_shards(changed(out, tmp_path / str(i), edit))


@pytest.mark.usefixtures("near")
def test_two_models_are_refused(out: Path, tmp_path: Path) -> None:
    def other(table: Any, note: dict[str, Any]) -> Any:
        note["weights"] = "f" * 64
        return table

    folder = changed(out, tmp_path / "other", other)
    (folder / "001.parquet").write_bytes((out / "001.parquet").read_bytes())
    with pytest.raises(DataError, match=r"001\.parquet is of another model .* than .*000\.parquet"):
        load_shards(folder)


@pytest.mark.usefixtures("near")
def test_what_does_not_fit_into_memory_is_told_before(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_free", lambda: 1000)
    with pytest.raises(DataError, match="read them piece by piece with read_shards"):
        load_shards(out)
    assert sum(len(piece.ids) for piece in read_shards(out)) == 12


def test_a_file_that_brings_its_reader_down_is_one_sentence(out: Path, tmp_path: Path) -> None:
    """Every shape of damage: whatever it does to the reader, this process lives on."""
    data = (out / "000.parquet").read_bytes()
    folder = tmp_path / "bad"
    folder.mkdir()
    for bad in (data[:-4], data[: len(data) // 2] + data[len(data) // 2 + 9 :], b"PAR1" * 3, b""):
        (folder / "000.parquet").write_bytes(bad)
        with pytest.raises(DataError, match=r"bad/000\.parquet"):
            load_shards(folder)
