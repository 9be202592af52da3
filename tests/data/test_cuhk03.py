"""CUHK03 from the MATLAB file and from folders."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partreid.build import benchmark
from partreid.data import cuhk03
from partreid.data.benchmarks import BENCHMARKS
from partreid.errors import DataError
from tests.data.trees import touch

IMAGES = {(1, 1, 1): (6, 3), (1, 1, 2): (5, 4), (1, 1, 7): (6, 3), (1, 2, 1): (4, 2), (1, 2, 6): (4, 2),
          (2, 1, 5): (7, 3), (2, 1, 10): (7, 3)}  # pair, person, cell -> H, W
PEOPLE = {1: 2, 2: 1}
TESTSETS = [[[1, 2]], [[1, 1], [2, 1]]]


def pixels(pair: int, person: int, cell: int) -> np.ndarray:
    h, w = IMAGES[pair, person, cell]
    return (np.arange(h * w * 3).reshape(h, w, 3) + 10 * pair + person + cell).astype(np.uint8)


def as_matlab(file: Any, refer: Any) -> None:
    """Writes cells as MATLAB 7.3 does: every array transposed, an empty cell as the two numbers of its size."""
    for kind in ("labeled", "detected"):
        pairs = []
        for pair, people in PEOPLE.items():
            cells = [[refer(f"{kind}{pair}{person}{n}", pixels(pair, person, n).T if (pair, person, n) in IMAGES
                            else np.zeros(2, np.uint64)) for n in range(1, 11)] for person in range(1, people + 1)]
            pairs.append(refer(f"{kind}{pair}", cells, transpose=True))
        refer(kind, [pairs], at_top=True)
    refer("testsets", [[refer(f"test{i}", np.array(t, np.float64).T) for i, t in enumerate(TESTSETS)]], at_top=True)


def stand_in(monkeypatch: pytest.MonkeyPatch, mat: Path) -> None:
    """What h5py shows of the file, from a dict: numbers stand for references."""
    content: dict[Any, Any] = {}

    def refer(name: str, value: Any, transpose: bool = False, at_top: bool = False) -> int:
        array = np.asarray(value)
        content[name if at_top else len(content)] = array.T if transpose else array
        return len(content) - 1

    as_matlab(content, refer)

    class File:
        def __init__(self, path: Path, mode: str) -> None:
            assert (path, mode) == (mat, "r")

        def __enter__(self) -> dict[Any, Any]:
            return content

        def __exit__(self, *error: object) -> None: ...

    mat.parent.mkdir(parents=True, exist_ok=True)
    mat.touch()
    monkeypatch.setattr(cuhk03, "optional", lambda name, *_: SimpleNamespace(File=File) if name == "h5py"
                        else pytest.importorskip(name))


def real(mat: Path) -> None:
    h5py = pytest.importorskip("h5py")
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


@pytest.fixture(params=["stand-in", "h5py"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    mat = tmp_path / "cuhk03_release" / "cuhk-03.mat"
    if request.param == "h5py":
        real(mat)
    else:
        stand_in(monkeypatch, mat)
    return tmp_path


def test_every_image_is_unpacked_as_it_was(root: Path) -> None:
    folder = cuhk03.images(root, "detected")
    names = {f"{pair}_{person:03d}_{1 if n <= 5 else 2}_{n:02d}.png": (pair, person, n) for pair, person, n in IMAGES}
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
    found = benchmark("cuhk03_labeled_classic", root)
    assert [(s.identity, s.camera) for s in found.query] == [(1002, 1), (1002, 2)]
    assert found.query == found.gallery
    assert [(s.identity, s.camera) for s in found.train] == [(1001, 1), (1001, 1), (1001, 2), (2001, 1), (2001, 2)]
    second = benchmark("cuhk03_labeled_classic-1", root)
    assert second.name == "cuhk03_labeled_classic-1"
    assert {s.identity for s in second.query} == {1001, 2001} and {s.identity for s in second.train} == {1002}


def test_the_new_protocol(root: Path) -> None:
    io = pytest.importorskip("scipy.io")
    names = sorted(f"{p}_{i:03d}_{1 if n <= 5 else 2}_{n:02d}.png" for p, i, n in IMAGES)
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    io.savemat(root / "cuhk03_new_protocol_config_labeled.mat", {
        "filelist": cells, "train_idx": np.array([[1], [2], [3]]), "query_idx": np.array([[4]]),
        "gallery_idx": np.array([[5], [6], [7]])})
    found = benchmark("cuhk03_labeled", root)
    assert [s.path.name for s in found.train] == names[:3]
    assert [(s.identity, s.camera) for s in found.query] == [(1002, 1)]
    assert [(s.identity, s.camera) for s in found.gallery] == [(1002, 2), (2001, 1), (2001, 2)]
    (root / "images_labeled" / names[0]).unlink()
    with pytest.raises(DataError, match="1 of 7 images that cuhk03_new_protocol_config_labeled"):
        benchmark("cuhk03_labeled", root)
    (root / "cuhk03_new_protocol_config_labeled.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(DataError, match=r"config_labeled\.mat cannot be read \(.*; fetch it again"):
        benchmark("cuhk03_labeled", root)


def test_without_its_split_the_new_protocol_says_which_file_is_missing(root: Path) -> None:
    with pytest.raises(DataError, match=r"no cuhk03_new_protocol_config_detected\.mat .* cuhk03_detected_classic"):
        benchmark("cuhk03_detected", root)


def test_a_file_that_is_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    mat = tmp_path / "cuhk-03.mat"
    real(mat)
    mat.write_bytes(mat.read_bytes()[:1500])
    with pytest.raises(DataError, match=r"cuhk-03\.mat is not the released file or was copied only in part"):
        benchmark("cuhk03_labeled_classic", tmp_path)
    assert not (tmp_path / "images_labeled").exists()


def test_an_absent_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "cuhk-03.mat")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(DataError, match=r"reading cuhk-03\.mat needs h5py, .*pip install 'partreid\[mat\]'"):
        benchmark("cuhk03_detected_classic", tmp_path)


def test_folders_in_market_s_layout(tmp_path: Path) -> None:
    for kind, camera in (("labeled", 1), ("detected", 2)):
        touch(tmp_path / kind, f"bounding_box_train/0003_c{camera}_21.png", "query/0002_c1_11.png",
              "bounding_box_test/0002_c2_16.png")
    found = benchmark("cuhk03_detected", tmp_path)
    assert (found.name, found.root) == ("cuhk03_detected", tmp_path)
    assert [(s.identity, s.camera) for s in found.train] == [(3, 2)]
    assert benchmark("cuhk03_labeled", tmp_path / "labeled").train[0].camera == 1
    with pytest.raises(DataError, match=r"holds the detected crops; give the folder 'labeled' beside it"):
        benchmark("cuhk03_labeled", tmp_path / "detected")


def test_both_kinds_add_up_to_the_release() -> None:
    for kind, total in (("labeled", 14096), ("detected", 14097)):
        assert sum(images or 0 for _, images in cuhk03.COUNTS[kind].values()) == total
        assert BENCHMARKS[f"cuhk03_{kind}_classic"].splits == 20
