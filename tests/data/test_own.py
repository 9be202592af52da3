"""Folders of people and tables of crops."""

from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from partreid.build import benchmark
from partreid.data import own
from partreid.data.findings import explain
from partreid.data.own import load_table, numbered
from partreid.data.registry import check, protocol_of
from partreid.errors import DataError
from partreid.types import Benchmark
from tests.data.trees import pictures, touch


def rows(dataset: Benchmark, split: str) -> list[tuple[str, int, int]]:
    samples = {"train": dataset.train, "gallery": dataset.gallery, **dataset.queries}[split]
    return [(s.path.name, s.identity, s.camera) for s in samples]


class TestFolders:
    def test_people_by_folder_and_cameras_by_name(self, tmp_path: Path) -> None:
        touch(
            tmp_path,
            "train/cleo/x_c1_1.jpg",
            "train/cleo/day 2/c2.jpg",
            "query/anna/7_c2s1_3.png",
            "query_night/ben/a_c1.jpg",
            "gallery/anna/a_C1-b.jpg",
            "gallery/ben/b_c12.jpg",
            "notes.txt",
            "gallery/readme.txt",
            "other/x.jpg",
        )
        dataset = benchmark("folders", tmp_path)
        assert rows(dataset, "train") == [("c2.jpg", 3, 2), ("x_c1_1.jpg", 3, 1)]
        assert rows(dataset, "query") == [("7_c2s1_3.png", 1, 2)] and rows(dataset, "night") == [
            ("a_c1.jpg", 2, 1)
        ]
        assert rows(dataset, "gallery") == [("a_C1-b.jpg", 1, 1), ("b_c12.jpg", 2, 12)]
        assert check("folders", dataset) == [] and protocol_of("folders", dataset) == "market1501"

    def test_without_cameras_the_protocol_says_so(self, tmp_path: Path) -> None:
        touch(tmp_path, "query/1/a.jpg", "gallery/1/my_c3po.jpg", "gallery/2/c.jpg")
        dataset = benchmark("folders", tmp_path)
        assert {s.camera for s in dataset.query + dataset.gallery} == {0}
        assert protocol_of("folders", dataset) == "no_camera" and check("folders", dataset) == []

    def test_cameras_of_some_are_refused(self, tmp_path: Path) -> None:
        touch(tmp_path, "query/1/a_c1.jpg", "gallery/1/b.jpg", "gallery/2/c_c2.jpg")
        with pytest.raises(
            DataError, match=r"1 of 3 test crops do not say their camera, first .*b\.jpg; give all"
        ):
            benchmark("folders", tmp_path)

    def test_distractors_and_junk_by_name(self, tmp_path: Path) -> None:
        touch(
            tmp_path,
            "query/0/a.jpg",
            "gallery/0/b.jpg",
            "gallery/1/b.jpg",
            "gallery/distractor/c.jpg",
            "gallery/Junk/d.jpg",
        )
        dataset = benchmark("folders", tmp_path)
        assert [s.identity for s in dataset.query] == [1]  # person "0" is a person
        assert [s.identity for s in dataset.gallery] == [1, 2, 0]

    def test_what_is_laid_out_otherwise_is_told_how(self, tmp_path: Path) -> None:
        touch(tmp_path, "query/1/a.jpg", "train/1/a.jpg")
        with pytest.raises(
            DataError, match="there is no folder .*gallery; give the folder that holds train"
        ):
            benchmark("folders", tmp_path)
        (tmp_path / "gallery").mkdir()
        with pytest.raises(DataError, match=r"no crops to answer: the gallery is empty"):
            benchmark("folders", tmp_path)
        touch(tmp_path, "gallery/b.jpg")
        with pytest.raises(
            DataError, match=r"b\.jpg lies directly in gallery; every person needs a folder"
        ):
            benchmark("folders", tmp_path)


def table(root: Path, text: str, *images: str, name: str = "table.csv") -> Path:
    touch(root, *images)
    (root / name).write_text(text, encoding="utf-8")
    return root


class TestTable:
    def test_a_line_is_a_crop(self, tmp_path: Path) -> None:
        table(
            tmp_path,
            "split,path,identity,camera,note\ntrain,a/1.jpg,ida,yard,x\nquery,a/2.jpg,bo,door,\n\n"
            "gallery,a/3.jpg,bo,yard,\nquery_night,a/4.jpg,bo,door,\n",
            "a/1.jpg",
            "a/2.jpg",
            "a/3.jpg",
            "a/4.jpg",
        )
        dataset = benchmark("table", tmp_path)
        assert rows(dataset, "train") == [("1.jpg", 2, 2)] and rows(dataset, "query") == [
            ("2.jpg", 1, 1)
        ]
        assert rows(dataset, "gallery") == [("3.jpg", 1, 2)] and rows(dataset, "night") == [
            ("4.jpg", 1, 1)
        ]
        assert load_table(tmp_path / "table.csv") == dataset

    @pytest.mark.parametrize(
        "text",
        [
            "path;identity;split\na.jpg;7;query\nb.jpg;7;gallery\n",
            "path\tidentity\tcamera\tsplit\na.jpg\t7.0\tnan\tquery\nb.jpg\t7\t\tgallery\n",
            '\ufeffPath,Identity,Split\r\n"a.jpg",7,Query\r\n./b.jpg,7,gallery\r\n',
        ],
    )
    def test_what_spreadsheets_write(self, text: str, tmp_path: Path) -> None:
        dataset = benchmark("table", table(tmp_path, text, "a.jpg", "b.jpg"))
        assert rows(dataset, "query") == [("a.jpg", 7, 0)] and rows(dataset, "gallery") == [
            ("b.jpg", 7, 0)
        ]
        assert protocol_of("table", dataset) == "no_camera"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "path,person,split\na.jpg,1,query\n",
                "no column 'identity', only path, person, split; rename",
            ),
            ("", "no column 'path', only none"),
            (
                "path,identity,split\na.jpg,1,query\na.jpg,,gallery\n",
                r"table\.csv, line 3: identity is empty",
            ),
            (
                "path,identity,split\na.jpg,1,test\n",
                "line 2: split is 'test'; make it train, query",
            ),
            (
                "path,identity,split\na.jpg,1,query\nz.jpg,1,gallery\n",
                "1 of 2 images that table.csv names are not there",
            ),
            ("path,identity,split\na.jpg,1,train\n", "no crops to ask with: query is empty"),
        ],
    )
    def test_mistakes_are_told_by_their_line(self, text: str, message: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=message):
            benchmark("table", table(tmp_path, text, "a.jpg"))

    def test_other_encodings_and_two_tables_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "table.csv").write_bytes(
            "path,identity,split\nö.jpg,1,query\n".encode("latin-1")
        )
        with pytest.raises(DataError, match=r"not UTF-8 \(byte 0xf6 in line 2\)"):
            benchmark("table", tmp_path)
        (tmp_path / "table.parquet").touch()
        with pytest.raises(DataError, match="holds table.csv and table.parquet; leave the one"):
            benchmark("table", tmp_path)

    def test_parquet(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "b.jpg")
        columns = {
            "path": ["a.jpg", "b.jpg"],
            "identity": [7, 7],
            "camera": [0.0, 3.0],
            "split": ["query", "gallery"],
        }
        parquet.write_table(pyarrow.table(columns), tmp_path / "table.parquet")
        dataset = benchmark("table", tmp_path)
        assert rows(dataset, "query") == [("a.jpg", 7, 1)] and rows(dataset, "gallery") == [
            ("b.jpg", 7, 2)
        ]
        (tmp_path / "table.parquet").write_bytes((tmp_path / "table.parquet").read_bytes()[:50])
        with pytest.raises(DataError, match=r"table\.parquet cannot be read .*; write it again"):
            benchmark("table", tmp_path)

    def test_parquet_of_every_kind_of_column(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "b.jpg")
        bad = pyarrow.array([b"query", b"\xff\xfe"])
        base = {
            "path": ["a.jpg", "b.jpg"],
            "identity": ["7", "7"],
            "camera": [1, 3],
            "split": ["query", "gallery"],
        }
        for name, values, why in (
            ("identity", pyarrow.array([7, 7], "int8"), None),
            ("identity", pyarrow.array(["x", "x"]).dictionary_encode(), None),
            ("camera", pyarrow.array([None, None]), None),
            (
                "identity",
                pyarrow.array([2**31 - 1, 1], pyarrow.date32()),
                "column identity is date32",
            ),
            (
                "camera",
                pyarrow.array([1, 2], pyarrow.decimal128(38)),
                "column camera is decimal128",
            ),
            ("path", pyarrow.array([["a.jpg"], ["b.jpg"]]), "column path is list"),
            ("camera", pyarrow.array([1.5, 2.0]), "column camera holds 1.5"),
            ("identity", pyarrow.array([float("inf"), 2.0]), "cannot be read"),
            ("split", pyarrow.StringArray.from_buffers(2, *bad.buffers()[1:]), "UTF8"),
        ):
            parquet.write_table(pyarrow.table(base | {name: values}), tmp_path / "table.parquet")
            if why is None:
                assert len(benchmark("table", tmp_path).gallery) == 1
            else:
                with pytest.raises(DataError, match=why):
                    benchmark("table", tmp_path)

    def test_a_small_file_that_holds_gigabytes_is_refused(self, tmp_path: Path) -> None:
        texts = pyarrow.DictionaryArray.from_arrays(
            pyarrow.array([0] * 20_000, "int32"), ["x" * 10**6]
        )
        columns = {"path": texts, "identity": texts, "split": texts}
        parquet.write_table(pyarrow.table(columns), tmp_path / "table.parquet")
        assert (tmp_path / "table.parquet").stat().st_size < 10**6  # 60 GB of text
        with pytest.raises(DataError, match="holds a text of 1,000,000 bytes"):
            benchmark("table", tmp_path)

    def test_cells_and_columns_that_are_too_many(self, tmp_path: Path) -> None:
        for text, why in (
            ("path,identity,split,identity\na.jpg,1,query,2", "2 columns 'identity'"),
            (",".join(f"c{i}" for i in range(3000)), r"no column 'path', only c0, .* characters\)"),
            ('path,identity,split\n"a.jpg,1,query\n' + "x" * 5000, "over 4,096 characters|empty"),
            ("path,identity,split\na.jpg,1," + "q" * 5000, r"split is 'q{80}\.\.\."),
        ):
            with pytest.raises(DataError, match=why):
                benchmark("table", table(tmp_path, text, "a.jpg"))

    def test_parquet_without_its_library(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "table.parquet").touch()
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
        with pytest.raises(
            DataError, match=r"parquet \(table\.csv needs nothing\) needs pyarrow, .*\[parquet\]"
        ):
            benchmark("table", tmp_path)


@given(st.lists(st.sampled_from(["1", "2", "03", "3", "10", "0", "bo", "ida", "-4", "9" * 30])))
def test_numbers_are_positive_distinct_and_blind_to_order(names: list[str]) -> None:
    numbers = numbered(names)
    assert set(numbers) == set(names) and len(set(numbers.values())) == len(numbers)
    assert all(number >= 1 for number in numbers.values()) and numbered(names[::-1]) == numbers


def test_own_numbers_stay_where_they_can() -> None:
    assert numbered(["7", "0012"]) == {"7": 7, "0012": 12}
    assert numbered(["0", "10", "2"]) == {"0": 1, "2": 2, "10": 3}
    assert numbered(["3", "03"]) == {"03": 1, "3": 2} and numbered(["3", "bo"]) == {"3": 1, "bo": 2}


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("yard_c1_001.jpg", "1"),
        ("c2.jpg", "2"),
        ("0002_c1s1_0.jpg", "1"),
        ("a_c03-x.jpg", "3"),
        ("my_c3po.jpg", ""),
        ("abc1.jpg", ""),
        ("x_c1super.jpg", ""),
        ("yard_cam01_5.jpg", "1"),
        ("Cam2.png", "2"),
        ("yard-camera_3.jpg", "3"),
        ("5 cam-7 b.jpg", "7"),
        ("a.c4.jpg", "4"),
        ("campus_7.jpg", ""),
        ("webcam1_7.jpg", ""),
        ("cam01/x.jpg", "1"),
        ("c2/day/x.jpg", "2"),
        ("c2/x_c1.jpg", "1"),
        ("c3/c4/x.jpg", "4"),
    ],
)
def test_cameras_in_names(name: str, camera: str) -> None:
    assert own.camera_of(Path(name)) == camera


@pytest.mark.parametrize(
    "name", ["yard_camA_5.jpg", "camera-north.jpg", "cam_3b/x.jpg", "x_CamLeft.jpg"]
)
def test_a_camera_that_is_not_understood_is_no_camera_less_crop(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"query/1/{name}", f"gallery/1/{name}")
    with pytest.raises(DataError, match="names a camera without a number"):
        benchmark("folders", tmp_path)


@pytest.mark.parametrize(
    "line, message",
    [
        ("b.png,ben,1,gallery", "line 5: b.png is in gallery since line 4 already"),
        ("b.png,anna,2,gallery", "line 5: b.png is in gallery since line 4 already"),
        ("c.png,nan,1,gallery", "line 5: identity is empty"),
    ],
)
def test_a_table_that_says_a_crop_twice_or_nobody(tmp_path: Path, line: str, message: str) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "table.csv").write_text(
        "path,identity,camera,split\na.png,anna,1,query\na.png,anna,1,train\n"
        f"b.png,ben,1,gallery\n{line}\n"
    )
    with pytest.raises(DataError, match=message):
        load_table(tmp_path)


def test_spellings_of_one_camera_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "table.csv").write_text(
        "path,identity,camera,split\na.png,anna,01,query\nb.png,anna,1,gallery\n"
    )
    assert any(
        "1 cameras have names that look like spellings of one camera" in str(p)
        and "01 and 1" in str(p)
        for p in explain("table", tmp_path).problems
    )
