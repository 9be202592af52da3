"""A good example of every table, list and data set that is read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partreid.bulk import Job, embed_shards
from partreid.data.synthetic import PRESETS, write
from tests.attack import runs
from tests.attack.valid import own_folders, photo, put


def table(root: Path) -> list[tuple[str, str, str, str]]:
    own_folders(root)
    rows = [
        (str(p.relative_to(root)), p.parent.name, p.name.split("_")[1], p.parent.parent.name)
        for p in sorted(root.rglob("*.jpg"))
    ]
    return [("path", "identity", "camera", "split"), *rows]


def tracklets() -> list[tuple[str, str, str, str]]:
    """A table of crops that a tracker followed."""
    rows = [
        (f"{t}-{k}.jpg", f"t{t}", "ab"[t % 2], str(10.0 * t + k)) for t in range(4) for k in (0, 1)
    ]
    return [("path", "tracklet", "camera", "time"), *rows]


def csv(rows: Sequence[Sequence[str]]) -> str:
    return "".join(",".join(row) + "\n" for row in rows)


def parquet(rows: Sequence[Sequence[str]]) -> bytes:
    import pyarrow
    from pyarrow import parquet as format_

    header, *lines = rows
    file = pyarrow.BufferOutputStream()
    format_.write_table(
        pyarrow.table({name: [line[i] for line in lines] for i, name in enumerate(header)}), file
    )
    return bytes(file.getvalue().to_pybytes())


def shard(root: Path) -> None:
    import pyarrow
    from pyarrow import parquet as format_

    runs.run(root)
    (root / "shards").mkdir()
    table = {"id": [1, 2], "image": [photo(seed=1), photo(seed=2)], "camera": ["a", None]}
    table["time"] = [0.5, None]
    format_.write_table(pyarrow.table(table), root / "shards" / "s.parquet")


def embedded_shard(root: Path) -> None:
    shard(root)
    embed_shards(Job(root, root / "out", "cpu"), [root / "shards" / "s.parquet"])


def msmt(root: Path) -> None:
    for name, folder, lines in (
        (
            "list_train.txt",
            "train",
            ("0000/0000_000_01_0303morning_0008_0.jpg 0", "0001/0001_000_15_0303noon_0008_0.jpg 1"),
        ),
        ("list_val.txt", "train", ("0000/0000_001_02_0303morning_0009_0.jpg 0",)),
        ("list_query.txt", "test", ("0000/0000_000_03_0303morning_0008_0.jpg 0",)),
        ("list_gallery.txt", "test", ("0000/0000_001_04_0303morning_0008_0.jpg 0",)),
    ):
        put(root / name, "".join(f"{line}\n" for line in lines))
        for line in lines:
            put(root / folder / line.split()[0], photo())


def occluded_lists(root: Path) -> None:
    for split, name in (
        ("bounding_box_train", "0001_c2_f0046182.jpg"),
        ("query", "0005_c2_f0046985.jpg"),
        ("bounding_box_test", "0005_c1_f0044158.jpg"),
    ):
        put(root / "duke" / split / name, photo())
        word = {"bounding_box_train": "train", "bounding_box_test": "gallery"}.get(split, split)
        put(root / "lists" / f"{word}.list", f"{name}\n")


def mat5(root: Path) -> Path:
    """CUHK03's new protocol, MATLAB 5, beside unpacked images."""
    from scipy import io as scipy_io

    names = [
        f"1_{person:03d}_{view}_{n:02d}.png" for person in (1, 2) for view, n in ((1, 1), (2, 6))
    ]
    for name in names:
        put(root / "images_labeled" / name, photo("PNG"))
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    file = root / "cuhk03_new_protocol_config_labeled.mat"
    scipy_io.savemat(
        file,
        {
            "filelist": cells,
            "train_idx": np.array([[1], [2]]),
            "query_idx": np.array([[3]]),
            "gallery_idx": np.array([[4]]),
        },
    )
    return file


def mat73(root: Path) -> Path:
    """CUHK03's images, MATLAB 7.3: one pair of cameras, two people, two views."""
    import h5py

    root.mkdir(parents=True, exist_ok=True)
    path = root / "cuhk-03.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        pixels = np.random.default_rng(8).integers(0, 256, (3, 8, 16), np.uint8)
        picture = file.create_dataset("#refs#/p", data=pixels).ref
        empty = file.create_dataset("#refs#/e", data=np.zeros(2, np.uint64)).ref
        for kind in ("labeled", "detected"):
            people = file.create_dataset(f"#refs#/{kind}", (10, 2), h5py.ref_dtype)
            for n in range(10):
                for person in range(2):
                    people[n, person] = picture if n in (0, 5) else empty
            file.create_dataset(kind, (1, 1), h5py.ref_dtype)[0, 0] = people.ref
        tests = file.create_dataset("testsets", (1, 20), h5py.ref_dtype)
        pairs = file.create_dataset("#refs#/t", data=np.array([[1.0], [2.0]])).ref
        for i in range(20):
            tests[0, i] = pairs
    return path


def world(root: Path) -> Path:
    """A tiny synthetic world: two people, as they are written."""
    return write(PRESETS["tiny"], root, iuv=True, workers=1)
