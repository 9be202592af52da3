"""Label files of other tools: each form is taken over, read again by its cue, and refused by
name when broken.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid import build
from partreid.errors import ArgumentError, DataError, RecipeError
from partreid.labels.densepose import read_iuv
from partreid.labels.keypoints import read_people
from partreid.labels.parsing import to_parts
from partreid.labels.sources import SOURCES
from partreid.labels.tools.base import Written, crops
from partreid.labels.tools.importing import import_labels, pair
from partreid.recipes import find, override
from partreid.types import Benchmark, Sample

NAMES = ("0001_c1s1_000000_00", "0001_c2s1_000000_00", "0002_c1s1_000000_00")
SIZE = (8, 16)


@pytest.fixture()
def mine(tmp_path: Path) -> Benchmark:
    """Three training crops of 8 x 16 pixels."""
    root = tmp_path / "data"
    (root / "bounding_box_train").mkdir(parents=True)
    for name in NAMES:
        Image.new("RGB", SIZE).save(root / "bounding_box_train" / f"{name}.jpg")
    return Benchmark(
        "market1501",
        root,
        tuple(
            Sample(root / "bounding_box_train" / f"{name}.jpg", int(name[:4]), 1) for name in NAMES
        ),
        {},
        (),
    )


def classes(count: int, seed: int, shape: tuple[int, int] = SIZE[::-1]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, shape).astype(np.uint8)


def png(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def npy(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def as_logits(values: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[values]


def trained_with(written: Written, of: Benchmark) -> Any:
    """The cue of a recipe that is told the settings which the import prints."""
    settings = [word.strip("'") for word in written.settings.split() if word != "--set"]
    recipe = override(find("bpbreid/table1/resnet50/market1501"), settings)
    return build.cue(recipe.cues["parts"], of)


PARSED: dict[str, tuple[str, Callable[[Path, np.ndarray, int], None]]] = {
    "{split}/{stem}.png": ("lip", lambda path, values, n: png(path, values)),
    "{stem}.png": ("atr", lambda path, values, n: png(path, values)),
    "{split}/{stem}.npy": ("lip", lambda path, values, n: npy(path, as_logits(values, n))),
    "{stem}_seg.npy": ("sapiens", lambda path, values, n: npy(path, values.astype(np.int64))),
}


@pytest.mark.parametrize("form", PARSED)
def test_human_parsers(mine: Benchmark, tmp_path: Path, form: str) -> None:
    source, write = PARSED[form]
    count = len(SOURCES[source].classes)
    for i, name in enumerate(NAMES):
        write(
            tmp_path / "schp" / form.format(split="bounding_box_train", stem=name),
            classes(count, i),
            count,
        )
        if source == "sapiens":
            # its foreground mask is no label
            npy(tmp_path / "schp" / f"{name}.npy", np.ones(SIZE[::-1], bool))
    written = import_labels("parsing", tmp_path / "schp", mine, parser=source)
    assert written.sentence == f"Labels for 3 of 3 images (100.0 %) in {mine.root / 'parsing'}."
    cue = trained_with(written, mine)
    for i, name in enumerate(NAMES):
        file = Image.open(mine.root / "parsing" / "bounding_box_train" / f"{name}.png")
        assert file.mode == "P"
        np.testing.assert_array_equal(np.asarray(file), classes(count, i))
        np.testing.assert_array_equal(cue[i], to_parts(classes(count, i), source, "five"))


def test_part_images_elsewhere_and_gaps(mine: Benchmark, tmp_path: Path) -> None:
    for i, name in enumerate((NAMES[0], NAMES[2], "0009_c1s1_000000_00")):
        png(tmp_path / "eanet" / f"{name}.png", classes(8, i))
    written = import_labels("parts", tmp_path / "eanet", mine, tmp_path / "out")
    assert written.sentence.endswith(
        f"None for {NAMES[1]}.jpg. For no image here: 0009_c1s1_000000_00.png."
    )
    assert written.sentence.startswith("Labels for 2 of 3 images (66.7 %)")
    cue = trained_with(written, mine)
    assert cue.scheme.K == 7 and (cue[1] == 255).all()
    np.testing.assert_array_equal(cue[2], classes(8, 1))
    np.testing.assert_array_equal(cue.mirror(cue[2]), classes(8, 1)[:, ::-1])


def raw(seed: int, plane: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    pif, paf = random.normal(0, 9, (17, 5, 4, 2)), random.normal(0, 9, (19, 9, 4, 2))
    pif[:, plane], paf[:, plane] = random.random((17, 4, 2)), random.random((19, 4, 2))
    return {"pif": pif, "paf": paf}


def test_pifpaf_under_any_name(mine: Benchmark, tmp_path: Path) -> None:
    fields = np.random.default_rng(0).random((36, 4, 2)).astype(np.float32)
    folder = tmp_path / "pifpaf"
    npy(folder / f"{NAMES[0]}.jpg.confidence_fields.npy", fields)
    np.savez(folder / f"{NAMES[1]}.jpg.npz", **raw(1, 1))
    np.savez(folder / f"{NAMES[2]}.npz", **raw(2, 0))
    written = import_labels("pifpaf", folder, mine)
    stored = [
        np.load(mine.root / "masks" / "pifpaf" / "bounding_box_train" / f"{name}.npy")
        for name in NAMES
    ]
    np.testing.assert_array_equal(stored[0], fields)
    for i, plane in ((1, 1), (2, 0)):
        both = np.concatenate([raw(i, plane)[head][:, plane] for head in ("pif", "paf")])
        np.testing.assert_allclose(stored[i], both, atol=1e-6)
    assert (
        written.settings
        == "--set cues.parts=pifpaf --set cues.parts.parts=eight --set cues.parts.folder=pifpaf"
    )
    assert trained_with(written, mine)[0].shape == (4, 2)
    with pytest.raises(RecipeError, match="read from a folder below .*masks"):
        import_labels("pifpaf", folder, mine, tmp_path / "out")


def person(x: float = 4, **more: Any) -> dict[str, Any]:
    return {
        "keypoints": [value for y in np.linspace(1, 15, 17) for value in (x, float(y), 0.9)],
        "score": 0.8,
        **more,
    }


@pytest.mark.parametrize("form", ["coco", "results", "each"])
def test_keypoints_in_every_form(mine: Benchmark, tmp_path: Path, form: str) -> None:
    given = tmp_path / "pose.json"
    if form == "coco":
        given.write_text(
            json.dumps(
                {
                    "images": [
                        {"id": i, "file_name": f"far/bounding_box_train/{name}.jpg"}
                        for i, name in enumerate(NAMES)
                    ],
                    "annotations": [{**person(i + 2), "image_id": i} for i in range(3)],
                }
            )
        )
    elif form == "results":
        given.write_text(
            json.dumps(
                [{**person(i + 2), "image_id": f"{name}.jpg"} for i, name in enumerate(NAMES)]
            )
        )
    else:
        given = tmp_path / "pose"
        given.mkdir()
        for i, name in enumerate(NAMES):
            (given / f"{name}.jpg_keypoints.json").write_text(json.dumps([person(i + 2)]))
    written = import_labels("keypoints", given, mine)
    assert written.sentence.startswith("Labels for 3 of 3 images")
    cue = trained_with(written, mine)
    for i, name in enumerate(NAMES):
        (body,) = read_people(mine.root / "keypoints" / "bounding_box_train" / f"{name}.json")
        assert (body.keypoints[:, 0] == i + 2).all() and body.score == 0.8
        assert (cue[i] > 0).any()


def test_keypoints_of_whole_pictures_are_refused(mine: Benchmark, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps([{**person(400), "image_id": f"{NAMES[1]}.jpg"}]))
    with pytest.raises(
        DataError, match=r"joints up to \(400, 15\) for 0001_c2.*is 8 x 16.*in pixels of the crop"
    ):
        import_labels("keypoints", tmp_path / "p.json", mine)
    assert not (mine.root / "keypoints").exists()


def test_densepose_pictures_and_dump(mine: Benchmark, tmp_path: Path) -> None:
    pixels = np.zeros((16, 8, 3), np.uint8)
    pixels[4:12, 2:6] = (2, 100, 200)
    for name in NAMES:
        png(tmp_path / "dp" / f"{name}_IUV.png", pixels[..., ::-1].copy())
        png(tmp_path / "dp" / f"{name}_INDS.png", np.zeros((16, 8), np.uint8))
    written = import_labels("densepose", tmp_path / "dp", mine)
    assert written.settings == "--set cues.parts=densepose --set cues.parts.parts=five"
    surfaces = read_iuv(mine.root / "iuv" / "bounding_box_train" / f"{NAMES[0]}.png", order="iuv")
    np.testing.assert_array_equal(surfaces.labels, pixels[..., 0])
    assert (trained_with(written, mine)[0] == pixels[..., 0]).all()  # chart 2 is part 2, the torso
    torch.save(
        [
            {
                "file_name": f"x/{NAMES[0]}.jpg",
                "scores": torch.ones(1),
                "pred_boxes_XYXY": torch.tensor([[0.0, 0.0, 8.0, 16.0]]),
                "pred_densepose": [{"labels": torch.full((16, 8), 2), "uv": torch.rand(2, 16, 8)}],
            }
        ],
        tmp_path / "dump.pkl",
    )
    with pytest.raises(DataError, match="already holds other labels.*--out.*--overwrite"):
        import_labels("densepose", tmp_path / "dump.pkl", mine)
    written = import_labels("densepose", tmp_path / "dump.pkl", mine, tmp_path / "new")
    assert (
        "found a person in 1 of 3 images" in written.sentence
        and written.cue.args["missing"] == "unknown"
    )
    assert (trained_with(written, mine)[0] == 2).all()


def test_nothing_is_written_while_a_file_is_broken_and_an_import_goes_on(
    mine: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, name in enumerate(NAMES):
        png(tmp_path / "schp" / f"{name}.png", classes(20, i))
    png(tmp_path / "schp" / f"{NAMES[1]}.png", classes(20, 1, (8, 8)))
    with pytest.raises(DataError, match=rf"{NAMES[1]}\.png is 8 x 8 but its image is 8 x 16"):
        import_labels("parsing", tmp_path / "schp", mine, parser="lip")
    assert not (mine.root / "parsing").exists()
    png(tmp_path / "schp" / f"{NAMES[1]}.png", classes(20, 1))
    import_labels("parsing", tmp_path / "schp", mine, parser="lip")
    kept, gone = (
        mine.root / "parsing" / "bounding_box_train" / f"{name}.png" for name in NAMES[:2]
    )
    before, inode = gone.read_bytes(), kept.stat().st_mtime_ns
    gone.unlink()
    counts: list[tuple[int, int]] = []
    import_labels(
        "parsing", tmp_path / "schp", mine, parser="lip", writing=lambda d, n: counts.append((d, n))
    )
    assert counts == [(1, 1)] and gone.read_bytes() == before and kept.stat().st_mtime_ns == inode
    with pytest.raises(DataError, match=r"other labels \(parser 'lip' and not 'densepose24'\)"):
        import_labels("parsing", tmp_path / "schp", mine, parser="densepose24")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "parsing"}, "whose classes are these. Say --parser, one of lip"),
        (
            {"kind": "parsing", "parser": "lip", "parts": "seven"},
            "source 'lip' cannot give upper_arm",
        ),
        (
            {"kind": "parsing", "parser": "lips"},
            "unknown parsing source: 'lips'. Did you mean 'lip'",
        ),
        ({"kind": "pifpaf", "parts": "nine"}, "unknown PifPaf grouping: 'nine'"),
        ({"kind": "keypoints", "parser": "lip"}, "--parser goes with labels of a human parser"),
        ({"kind": "masks"}, "kind must be one of 'densepose', 'pifpaf', .*, got 'masks'"),
    ],
)
def test_settings_are_checked_before_files(
    mine: Benchmark, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises((RecipeError, ArgumentError), match=message):
        import_labels(given=tmp_path, of=mine, **change)


def test_labels_of_other_images_are_not_taken(mine: Benchmark, tmp_path: Path) -> None:
    png(tmp_path / "schp" / "somebody.png", classes(20, 0))
    with pytest.raises(
        DataError, match="none of the 3 images has a label in .*the first label somebody.png"
    ):
        import_labels("parsing", tmp_path / "schp", mine, parser="lip")
    with pytest.raises(DataError, match="there is no .*gone"):
        import_labels("parsing", tmp_path / "gone", mine, parser="lip")


def test_labels_find_their_images_by_folders_then_by_name() -> None:
    root = Path("/d")
    images = [root / "train/anna/1.jpg", root / "train/ben/1.jpg", root / "train/ben/2.v.jpg"]
    labels = {Path(f"/l/{name}"): Path(name) for name in ("train/anna/1", "ben/1", "2", "ben/3")}
    assert pair(labels, images, root) == dict(
        zip(images, map(Path, ("/l/train/anna/1", "/l/ben/1", "/l/2")))
    )
    with pytest.raises(DataError, match="may have /l/a/1 or /l/b/1 for a label"):
        pair({Path("/l/a/1"): Path("a/1"), Path("/l/b/1"): Path("b/1")}, [root / "x/1.jpg"], root)
    with pytest.raises(DataError, match="/l/1 fits /d/train/anna/1.jpg and /d/train/ben/1.jpg"):
        pair({Path("/l/1"): Path("1")}, images[:2], root)


def test_a_plain_folder_holds_crops_but_no_labels(mine: Benchmark, tmp_path: Path) -> None:
    for i, name in enumerate(NAMES):
        png(tmp_path / "schp" / f"{name}.png", classes(20, i))
    of = crops(mine.root)
    assert [s.path for s in of.train] == [s.path for s in mine.train]
    import_labels("parsing", tmp_path / "schp", of, mine.root / "mine", parser="lip")
    assert [s.path for s in crops(mine.root).train] == [s.path for s in mine.train]
    with pytest.raises(DataError, match="mine holds labels, not crops"):
        crops(tmp_path / "data" / "mine")
    with pytest.raises(DataError, match="there is no folder"):
        crops(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no crops"):
        crops(tmp_path / "empty")


def test_all_files_are_looked_at_and_bad_ones_counted_or_left_out(
    mine: Benchmark, tmp_path: Path
) -> None:
    for i, name in enumerate(NAMES):
        npy(
            tmp_path / "fields" / f"{name}.npy",
            np.full((36, 4, 2), (0.5, 200, np.nan)[i], np.float32),
        )
    with pytest.raises(
        DataError,
        match=r"^2 of 3 labels cannot be used, for . reasons?\. \(1\) 0001_c2s1.*200 to 200"
        r".*\(2\) 0002_c1s1.*nan.*Nothing was written.*--missing unknown$",
    ):
        import_labels("pifpaf", tmp_path / "fields", mine)
    assert not (mine.root / "masks").exists()
    written = import_labels("pifpaf", tmp_path / "fields", mine, missing="unknown")
    assert (
        "Labels for 1 of 3 images" in written.sentence
        and "2 of 3 labels cannot be used" in written.sentence
    )
    cue = trained_with(written, mine)
    assert (cue[1] == 255).all() and (cue[2] == 255).all() and not (cue[0] == 255).any()
    # goes on where it was
    again = import_labels("pifpaf", tmp_path / "fields", mine, missing="unknown")
    assert again == written
    for name in NAMES:
        npy(tmp_path / "fields" / f"{name}.npy", np.full((36, 4, 2), 200, np.float32))
    with pytest.raises(DataError, match="3 of 3 labels cannot be used.*not one label is left"):
        import_labels("pifpaf", tmp_path / "fields", mine, missing="unknown", overwrite=True)


def test_many_images_in_one_file_are_paired_in_linear_time(mine: Benchmark, tmp_path: Path) -> None:
    """Each name was compared with every other; 20,000 took half a minute."""
    images = [{"id": i, "file_name": f"train/{i}.jpg"} for i in range(20_000)]
    images[0] = {"id": 0, "file_name": f"bounding_box_train/{NAMES[0]}.jpg"}
    people = [{"image_id": 0, "keypoints": [4.0, 8.0, 0.9] * 17}]
    (tmp_path / "coco.json").write_text(json.dumps({"images": images, "annotations": people}))
    begin = time.process_time()
    import_labels("keypoints", tmp_path / "coco.json", mine)
    assert time.process_time() - begin < 10
