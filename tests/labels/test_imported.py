"""A dump of detectron2 into IUV pictures: whom, where, names, sizes, interruptions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partreid.errors import DataError, RecipeError
from partreid.labels.densepose import read_iuv
from partreid.labels.dumps import Detection, read_dump
from partreid.labels.imported import choose, import_dump, match, place
from partreid.types import Sample


def picture(path: Path, size: tuple[int, int] = (8, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return path


def entry(
    name: str, *boxes: tuple[float, float, float, float], chart: int = 2
) -> dict[str, object]:
    """People that fill their boxes with ``chart``, ``chart`` + 1, ..."""
    sizes = [(int(y2 - y1), int(x2 - x1)) for x1, y1, x2, y2 in boxes]
    people = [
        {"labels": torch.full(size, chart + i), "uv": torch.rand(2, *size)}
        for i, size in enumerate(sizes)
    ]
    return {
        "file_name": name,
        "scores": torch.linspace(1, 0.5, len(boxes)),
        "pred_boxes_XYXY": torch.tensor(boxes),
        "pred_densepose": people,
    }


def save(path: Path, *entries: dict[str, object]) -> Path:
    torch.save(list(entries), path)
    return path


def test_one_picture_per_image_with_a_person(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "data" / "iuv"
    for split, stem in (
        ("bounding_box_train", "0001_c1"),
        ("query", "0001_c2"),
        ("query", "0002_c2"),
        ("query", "0003_c2"),
    ):
        picture(root / split / f"{stem}.jpg")
    dump = save(
        tmp_path / "results.pkl",
        entry("/far/bounding_box_train/0001_c1.jpg", (0, 0, 8, 16)),
        entry("/far/query/0001_c2.jpg", (0, 0, 3, 4), (1.5, 2.5, 7.5, 14.5), chart=4),
        {"file_name": "/far/query/0002_c2.jpg"},
        entry("/far/query/0009_c2.jpg", (0, 0, 8, 16)),
    )
    seen: list[tuple[int, int]] = []
    coverage = import_dump(dump, root, out, progress=lambda done, total: seen.append((done, total)))
    assert (coverage.images, coverage.with_body) == (4, 2) and coverage.share == (1 + 72 / 128) / 2
    assert coverage.missing == ("0002_c2.jpg", "0003_c2.jpg") and coverage.absent == (
        "0003_c2.jpg",
    )
    assert coverage.extra == ("/far/query/0009_c2.jpg",)
    assert coverage.sentence().endswith(
        "Nobody in 0002_c2.jpg. Not in the dump: 0003_c2.jpg. In the dump but not among the "
        "images: /far/query/0009_c2.jpg."
    )
    assert seen == [(i, 4) for i in range(1, 5)]
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "bounding_box_train/0001_c1.png",
        "query/0001_c2.png",
    ]
    written = read_iuv(out / "query" / "0001_c2.png")
    expected = place(read_dump(dump)["/far/query/0001_c2.jpg"][1], 16, 8)  # the larger of two
    np.testing.assert_array_equal(written.labels, expected.labels)
    assert np.abs(written.uv - expected.uv).max() <= 1 / 255 and (written.labels == 5).sum() == 72
    assert (
        import_dump(dump, root, tmp_path / "sure", select="score").share == (1 + 12 / 128) / 2
    )  # the first of two is surer
    again = import_dump(
        dump, [Sample(p, 1, 1) for p in sorted(root.glob("query/*.jpg"))], tmp_path / "some"
    )
    assert again.images == 3 and len(again.extra) == 2


def test_an_interrupted_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    images = [picture(tmp_path / "query" / f"{i}.png") for i in range(4)]
    dump, out = (
        save(tmp_path / "a.pkl", *(entry(str(p), (0, 0, 8, 16)) for p in images)),
        tmp_path / "iuv",
    )

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_dump(dump, images, out, progress=interrupt)
    # whole files and no others
    assert {p.name for p in (out / "query").iterdir()} == {"0.png", "1.png"}
    before = (out / "query" / "0.png").read_bytes()
    other = save(tmp_path / "b.pkl", *(entry(str(p), (0, 0, 8, 16), chart=7) for p in images))
    assert import_dump(other, images, out).with_body == 4
    assert (out / "query" / "0.png").read_bytes() == before
    assert read_iuv(out / "query" / "3.png").labels.max() == 7
    import_dump(other, images, out, overwrite=True)
    assert read_iuv(out / "query" / "0.png").labels.max() == 7


def test_sizes_and_names_that_cannot_be_right(tmp_path: Path) -> None:
    image = picture(tmp_path / "query" / "1.jpg")
    out = tmp_path / "iuv"
    with pytest.raises(
        DataError,
        match=r"up to \(32, 64\) in .*1\.jpg, which is 8 x 16: the dump was made of larger",
    ):
        import_dump(save(tmp_path / "a.pkl", entry("1.jpg", (0, 0, 32, 64))), [image], out)
    assert not out.exists()
    with pytest.raises(
        DataError,
        match=r"no image has an entry in .*a\.pkl: the first of 1 images is 1\.jpg, the dump "
        r"names 2\.jpg",
    ):
        import_dump(save(tmp_path / "a.pkl", entry("2.jpg", (0, 0, 8, 16))), [image], out)
    with pytest.raises(DataError, match="would share one IUV picture"):
        import_dump(tmp_path / "a.pkl", [image, picture(tmp_path / "b" / "query" / "1.png")], out)
    with pytest.raises(DataError, match="there are no images in .*nothing to import for"):
        import_dump(tmp_path / "a.pkl", tmp_path / "nothing", out)


def test_names_are_matched_by_folder_then_by_stem() -> None:
    a, b, c = Path("data/query/1.jpg"), Path("data/gallery/1.jpg"), Path("data/gallery/2.jpg")
    assert match(["x/query/1.png", "gallery/1.jpg", "2.jpg"], [a, b, c]) == (
        {a: "x/query/1.png", b: "gallery/1.jpg", c: "2.jpg"},
        (),
    )
    assert match([r"C:\data\query\1.jpg"], [a, b]) == ({a: r"C:\data\query\1.jpg"}, ())
    assert match(["x/query/1.png", "y/gallery/1.jpg"], [a]) == (
        {a: "x/query/1.png"},
        ("y/gallery/1.jpg",),
    )
    assert match(["flat/1.jpg", "x/query/1.png"], [a, b]) == (
        {a: "x/query/1.png", b: "flat/1.jpg"},
        (),
    )
    assert match(["3.jpg"], [a]) == ({}, ("3.jpg",))
    with pytest.raises(
        DataError, match=r"the dump's 1\.jpg may be .*query/1\.jpg or .*gallery/1\.jpg"
    ):
        match(["1.jpg"], [a, b])
    with pytest.raises(DataError, match=r"query/1\.jpg may be the dump's x/1\.jpg or y/1\.jpg"):
        match(["x/1.jpg", "y/1.jpg"], [a])
    with pytest.raises(
        DataError, match=r"two entries for .*query/1\.jpg: x/query/1\.jpg and y/query/1\.jpg"
    ):
        match(["x/query/1.jpg", "y/query/1.jpg"], [a])


def detection(
    box: tuple[float, float, float, float], score: float = 1.0, fill: int = 2
) -> Detection:
    h, w = max(int(box[3] - box[1]), 1), max(int(box[2] - box[0]), 1)
    return Detection(
        score, box, np.full((h, w), fill, np.uint8), np.full((2, h, w), 0.5, np.float32)
    )


@given(
    st.floats(-9, 9),
    st.floats(-9, 9),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 2**31),
)
def test_placing_matches_a_loop_over_pixels(
    x: float, y: float, h: int, w: int, height: int, width: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 25, (h, w), dtype=np.uint8)
    uv = random.choice([-0.2, 0.0, 0.3, 1.0, 1.2, np.nan, np.inf], (2, h, w)).astype(np.float32)
    surfaces = place(Detection(1.0, (x, y, x + w, y + h), labels, uv), height, width)
    expected_labels, expected_uv = (
        np.zeros((height, width), np.uint8),
        np.zeros((2, height, width), np.float32),
    )
    for i in range(h):
        for j in range(w):
            row, column = int(y) + i, int(x) + j
            if (
                0 <= row < height
                and 0 <= column < width
                and labels[i, j]
                and not np.isnan(uv[:, i, j]).any()
            ):
                expected_labels[row, column] = labels[i, j]
                expected_uv[:, row, column] = np.clip(uv[:, i, j], 0, 1)
    np.testing.assert_array_equal(surfaces.labels, expected_labels)
    np.testing.assert_array_equal(surfaces.uv, expected_uv)


def test_choosing_one_of_several() -> None:
    people = [
        detection((0, 0, 4, 4), 0.5),
        detection((0, 0, 8, 8), 0.25),
        detection((6, 14, 10, 18), 1.0),
        detection((0, 0, 8, 8), 0.25),
    ]
    assert choose(people, "area", (32, 16)) == 1  # the first of equals
    assert choose(people, "score", (32, 16)) == 2
    assert choose(people, "center", (32, 16)) == 2
    assert choose(people, "center", (8, 8)) == 1
    with pytest.raises(RecipeError, match="unknown way to choose a person: 'size'"):
        choose(people, "size", (8, 8))  # type: ignore[arg-type]
