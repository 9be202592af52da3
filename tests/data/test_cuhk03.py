"""CUHK03 from the MATLAB file and from folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from partreid.build import benchmark
from partreid.data import cuhk03
from partreid.data.registry import BENCHMARKS
from partreid.errors import DataError
from tests.data.trees import touch

IMAGES = {
    (1, 1, 1): (6, 3),
    (1, 1, 2): (5, 4),
    (1, 1, 7): (6, 3),
    (1, 2, 1): (4, 2),
    (1, 2, 6): (4, 2),
    (2, 1, 5): (7, 3),
    (2, 1, 10): (7, 3),
}  # pair, person, cell -> H, W
PEOPLE = {1: 2, 2: 1}
TESTSETS = [[[1, 2]], [[1, 1], [2, 1]]]


def pixels(pair: int, person: int, cell: int) -> np.ndarray:
    h, w = IMAGES[pair, person, cell]
    return (np.arange(h * w * 3).reshape(h, w, 3) + 10 * pair + person + cell).astype(np.uint8)


def as_matlab(file: Any, refer: Any) -> None:
    """Writes cells as MATLAB 7.3 does: every array transposed, an empty cell as the two numbers
    of its size.
    """
    for kind in ("labeled", "detected"):
        pairs = []
        for pair, people in PEOPLE.items():
            cells = [
                [
                    refer(
                        f"{kind}{pair}{person}{n}",
                        pixels(pair, person, n).T
                        if (pair, person, n) in IMAGES
                        else np.zeros(2, np.uint64),
                    )
                    for n in range(1, 11)
                ]
                for person in range(1, people + 1)
            ]
            pairs.append(refer(f"{kind}{pair}", cells, transpose=True))
        refer(kind, [pairs], at_top=True)
    refer(
        "testsets",
        [[refer(f"test{i}", np.array(t, np.float64).T) for i, t in enumerate(TESTSETS)]],
        at_top=True,
    )


def real(mat: Path) -> None:
    mat.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(mat, "w", userblock_size=512) as file:  # MATLAB writes its own header there

        def refer(name: str, value: Any, transpose: bool = False, at_top: bool = False) -> Any:
            if isinstance(value, np.ndarray):
                data = file.create_dataset(f"#refs#/{name}", data=value)
                if value.shape == (2,):
                    data.attrs["MATLAB_empty"] = np.uint8(1)
                return data.ref
            shape = (len(value[0]), len(value)) if transpose else (len(value), len(value[0]))
            data = file.create_dataset(name if at_top else f"#refs#/{name}", shape, h5py.ref_dtype)
            for i, row in enumerate(value):
                for j, cell in enumerate(row):
                    data[(j, i) if transpose else (i, j)] = cell
            return data.ref

        as_matlab(file, refer)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    real(tmp_path / "cuhk03_release" / "cuhk-03.mat")
    return tmp_path


def test_every_image_is_unpacked_as_it_was(root: Path) -> None:
    folder = cuhk03.images(root, "detected")
    names = {
        f"{pair}_{person:03d}_{1 if n <= 5 else 2}_{n:02d}.png": (pair, person, n)
        for pair, person, n in IMAGES
    }
    assert {path.name for path in folder.glob("*.png")} == set(names)
    for name, key in names.items():
        with Image.open(folder / name) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels(*key))
    assert not list(root.glob("*.part"))


def test_images_are_unpacked_once(root: Path) -> None:
    made = (cuhk03.images(root, "labeled") / "1_001_1_01.png").stat().st_mtime_ns
    (root / "cuhk03_release" / "cuhk-03.mat").unlink()
    assert (cuhk03.images(root, "labeled") / "1_001_1_01.png").stat().st_mtime_ns == made


def test_classic_splits(root: Path) -> None:
    dataset = benchmark("cuhk03_labeled_classic", root)
    assert [(s.identity, s.camera) for s in dataset.query] == [(1002, 1), (1002, 2)]
    assert dataset.query == dataset.gallery
    assert [(s.identity, s.camera) for s in dataset.train] == [
        (1001, 1),
        (1001, 1),
        (1001, 2),
        (2001, 1),
        (2001, 2),
    ]
    second = benchmark("cuhk03_labeled_classic-1", root)
    assert second.name == "cuhk03_labeled_classic-1"
    assert {s.identity for s in second.query} == {1001, 2001} and {
        s.identity for s in second.train
    } == {1002}


def test_the_new_protocol(root: Path) -> None:
    names = sorted(f"{p}_{i:03d}_{1 if n <= 5 else 2}_{n:02d}.png" for p, i, n in IMAGES)
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    scipy.io.savemat(
        root / "cuhk03_new_protocol_config_labeled.mat",
        {
            "filelist": cells,
            "train_idx": np.array([[1], [2], [3]]),
            "query_idx": np.array([[4]]),
            "gallery_idx": np.array([[5], [6], [7]]),
        },
    )
    dataset = benchmark("cuhk03_labeled", root)
    assert [s.path.name for s in dataset.train] == names[:3]
    assert [(s.identity, s.camera) for s in dataset.query] == [(1002, 1)]
    assert [(s.identity, s.camera) for s in dataset.gallery] == [(1002, 2), (2001, 1), (2001, 2)]
    (root / "images_labeled" / names[0]).unlink()
    with pytest.raises(DataError, match="1 of 7 images that cuhk03_new_protocol_config_labeled"):
        benchmark("cuhk03_labeled", root)
    (root / "cuhk03_new_protocol_config_labeled.mat").write_bytes(
        b"MATLAB 5.0 MAT-file" + bytes(200)
    )
    with pytest.raises(DataError, match=r"config_labeled\.mat cannot be read \(.*; fetch it again"):
        benchmark("cuhk03_labeled", root)


def test_without_its_split_the_new_protocol_says_which_file_is_missing(root: Path) -> None:
    with pytest.raises(
        DataError, match=r"no cuhk03_new_protocol_config_detected\.mat .* cuhk03_detected_classic"
    ):
        benchmark("cuhk03_detected", root)


def test_a_file_that_is_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    mat = tmp_path / "cuhk-03.mat"
    real(mat)
    mat.write_bytes(mat.read_bytes()[:1500])
    with pytest.raises(
        DataError, match=r"cuhk-03\.mat cannot be read .*: unpack cuhk03_release\.zip again"
    ):
        benchmark("cuhk03_labeled_classic", tmp_path)
    assert not (tmp_path / "images_labeled").exists()


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda f: f.__delitem__("labeled"), "labeled"),
        (lambda f: (f.__delitem__("labeled"), f.create_group("labeled")), "labeled is no array"),
        (
            lambda f: (
                f.__delitem__("labeled"),
                f.create_dataset("labeled", (10**5, 10**5), h5py.ref_dtype),
            ),
            "references",
        ),
        (
            lambda f: (
                f.__delitem__("labeled"),
                f.create_dataset("labeled", (0, 1), h5py.ref_dtype),
            ),
            "references",
        ),
        (
            lambda f: (
                f.__delitem__("labeled"),
                f.__setitem__("labeled", h5py.SoftLink("/labeled")),
            ),
            "too many links",
        ),
        (
            lambda f: (
                f.__delitem__("#refs#/labeled111"),
                f.create_dataset("#refs#/labeled111", (3, 10**6, 10**6), "u1"),
            ),
            "image 1, 1, 1 is uint8",
        ),
        (
            lambda f: f["#refs#/labeled1"].__setitem__(
                (0, 0), f.create_dataset("four", (4, 6, 3), "u1").ref
            ),
            r"image 1, 1, 1 is uint8 \(4, 6, 3\)",
        ),
        (
            lambda f: f["#refs#/labeled1"].__setitem__((0, 0), f["#refs#/labeled1"].ref),
            "image 1, 1, 1 is object",
        ),
        (
            lambda f: f["#refs#/test0"].__setitem__((0, 0), np.nan),
            "test set 1 holds other than whole numbers",
        ),
    ],
)
def test_a_changed_file_is_refused(root: Path, change: Callable[[Any], Any], why: str) -> None:
    mat = root / "cuhk03_release" / "cuhk-03.mat"
    with h5py.File(mat, "a") as file:
        change(file)
    with pytest.raises(DataError, match=rf"cuhk-03\.mat cannot be read \(.*({why})"):
        cuhk03.images(root, "labeled")
    assert not (root / "images_labeled").exists()


def config(root: Path, **tables: Any) -> Path:
    names = np.empty((2, 1), object)
    names[:, 0] = ["1_001_1_01.png", "1_001_1_02.png"]
    one = np.array([[1.0]])
    path = root / "config.mat"
    scipy.io.savemat(
        path, {"filelist": names, "train_idx": one, "query_idx": one, "gallery_idx": one} | tables
    )
    return path


@pytest.mark.parametrize(
    "tables, why",
    [
        ({"train_idx": np.array([[0]])}, "goes from 0 to 0"),
        ({"query_idx": np.array([[3]])}, "goes from 3 to 3"),
        ({"query_idx": np.array([[1.5]])}, "whole numbers"),
        ({"query_idx": np.array([[np.nan]])}, "whole numbers"),
        ({"query_idx": np.zeros((0, 1))}, "whole numbers"),
        ({"query_idx": np.array([[1j]])}, "whole numbers"),
        ({"filelist": np.array([[1, 2]])}, "other than names"),
        ({"filelist": "x" * 3000}, "other than names"),
    ],
)
def test_a_protocol_says_whole_numbers_of_names(
    tmp_path: Path, tables: dict[str, Any], why: str
) -> None:
    with pytest.raises(DataError, match=rf"config\.mat cannot be read \(.*{why}.*; fetch it again"):
        cuhk03._new_protocol(config(tmp_path, **tables))


def test_a_damaged_protocol_cannot_take_the_process_down(tmp_path: Path) -> None:
    """Some of these bytes end SciPy with SIGSEGV, others make it ask for terabytes; every answer
    is a sentence.
    """
    whole = config(tmp_path).read_bytes()
    path, random = tmp_path / "config.mat", np.random.default_rng(0)
    damaged = [whole[: len(whole) // 2], b"", bytes(300), b"MATLAB 4", whole[:128] + b"\xff" * 64]
    for position, value in ((625, 0x1E), (631, 0)):
        damaged.append(whole[:position] + bytes([value]) + whole[position + 1 :])
    damaged += [
        bytes(b ^ 255 if i == position else b for i, b in enumerate(whole))
        for position in random.integers(128, 700, 2)
    ]
    for data in damaged:
        path.write_bytes(data)
        try:
            splits = cuhk03._new_protocol(path)
        except DataError:
            continue
        assert all(isinstance(name, str) for names in splits for name in names)


@pytest.mark.parametrize(
    "text", ["null", "7", "[]", "[[1]]", '[[["a", 1]]]', "[[[1, -1]]]", "[[[1, 1e400]]]"]
)
def test_an_edited_record_of_test_sets_is_refused(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "images_labeled/1_001_1_01.png")
    (tmp_path / "images_labeled" / "testsets.json").write_text(text)
    with pytest.raises(DataError, match=r"testsets\.json"):
        benchmark("cuhk03_labeled_classic", tmp_path)


def test_an_absent_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "cuhk-03.mat")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(
        DataError, match=r"reading cuhk-03\.mat needs h5py, .*pip install 'partreid\[mat\]'"
    ):
        benchmark("cuhk03_detected_classic", tmp_path)


def test_folders_in_market_s_layout(tmp_path: Path) -> None:
    for kind, camera in (("labeled", 1), ("detected", 2)):
        touch(
            tmp_path / kind,
            f"bounding_box_train/0003_c{camera}_21.png",
            "query/0002_c1_11.png",
            "bounding_box_test/0002_c2_16.png",
        )
    dataset = benchmark("cuhk03_detected", tmp_path)
    assert (dataset.name, dataset.root) == ("cuhk03_detected", tmp_path)
    assert [(s.identity, s.camera) for s in dataset.train] == [(3, 2)]
    assert benchmark("cuhk03_labeled", tmp_path / "labeled").train[0].camera == 1
    with pytest.raises(DataError, match="cuhk03_labeled does not lie in .* but above it; give "):
        benchmark("cuhk03_labeled", tmp_path / "detected")


def test_both_kinds_add_up_to_the_release() -> None:
    for kind, total in (("labeled", 14096), ("detected", 14097)):
        assert sum(images or 0 for _, images in cuhk03.COUNTS[kind].values()) == total
        assert BENCHMARKS[f"cuhk03_{kind}_classic"].splits == 20
