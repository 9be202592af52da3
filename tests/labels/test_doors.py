"""Labels from outside, by whichever door: what is wrong is one sentence, and nothing is taken
for what it is not.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from partreid import build
from partreid.errors import DataError, RecipeError
from partreid.labels.base import PartLabels
from partreid.labels.cached import cached_labels, write_cache
from partreid.labels.densepose import densepose_labels, read_iuv
from partreid.labels.dumps import Detection, read_dump
from partreid.labels.imported import choose, import_dump
from partreid.labels.keypoints import keypoint_labels, read_coco
from partreid.labels.parsing import parsing_labels, read_classes
from partreid.labels.people import coco_in
from partreid.labels.pifpaf import pifpaf_labels, read_fields
from partreid.labels.places import either_way_up
from partreid.labels.schemes import PIFPAF, find
from partreid.labels.surfaced import Surfaced
from partreid.labels.uv_tiles import uv_tiles
from partreid.recipes.base import Spec
from partreid.types import Benchmark, PartScheme, Sample

WIDE, TALL = 16, 32


def crop(
    root: Path, name: str = "a", size: tuple[int, int] = (WIDE, TALL), turn: int = 1
) -> Sample:
    path = root / "train" / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.new("RGB", size).save(path, exif=exif)
    return Sample.of_nobody(path)


def put(root: Path, folder: str, name: str, content: Any) -> Path:
    path = root / folder / "train" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray) and name.endswith(".png"):
        Image.fromarray(content).save(path)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(json.dumps(content))
    return path


def fields(value: float) -> np.ndarray:
    return np.full((36, 4, 2), value, np.float32)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (fields(200), r"confidences in \[0, 1\], it has 200 to 200"),
        (fields(np.nan), "it has nan to nan"),
        (fields(-0.5), "it has -0.5"),
        (fields(np.inf), "it has inf"),
        (fields(1.1), "it has 1.1"),
        (fields(1).astype(np.uint8), "it is uint8"),
        (np.zeros((36, 0, 2), np.float32), "is empty"),
        (fields(0)[:35], r"\[36, h, w\]"),
    ],
    ids=str,
)
def test_fields_are_confidences(tmp_path: Path, values: np.ndarray, message: str) -> None:
    sample = crop(tmp_path)
    put(tmp_path, "masks/pifpaf_maskrcnn_filtering", "a.npy", values)
    with pytest.raises(DataError, match=message):
        _ = pifpaf_labels(tmp_path, [sample])[0]


def test_rounded_fields_are_cut(tmp_path: Path) -> None:
    assert read_fields(put(tmp_path, "masks", "a.npy", fields(1.004))).max() == 1


def joints(scale: float = 1.0, confidence: float = 0.9) -> list[float]:
    place = np.random.default_rng(0).uniform(0.1, 0.9, (17, 2)) * (WIDE, TALL) * scale
    return [*np.column_stack([place, np.full(17, confidence)]).reshape(-1)]


def people(root: Path, content: Any) -> np.ndarray:
    sample = crop(root)
    put(root, "keypoints", "a.json", content)
    labels: np.ndarray = keypoint_labels(root, [sample])[0]
    return labels


def test_one_confidence_over_one_by_rounding_changes_nothing(tmp_path: Path) -> None:
    odd = joints()
    odd[2] = 1.004
    assert np.array_equal(
        people(tmp_path / "a", [{"keypoints": odd}]),
        people(tmp_path / "b", [{"keypoints": joints()}]),
    )
    flags = people(tmp_path / "c", [{"keypoints": joints(confidence=2)}])
    assert np.array_equal(flags, people(tmp_path / "d", [{"keypoints": joints()}]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"keypoints": joints(1 / TALL)}], "they are shares of its sides; give them in pixels"),
        ([{"keypoints": joints(20)}], "pixels of another picture"),
        (
            [{"keypoints": joints(confidence=1.7)}],
            r"from 1.7 to 1.7; expected confidences in \[0, 1\], or COCO's",
        ),
        ([{"keypoints": joints(confidence=3)}], "run from 3 to 3"),
        ([{"keypoints": joints(confidence=-1)}], "run from -1 to -1"),
        ([{"keypoints": joints(), "score": "high"}], "the score 'high'; expected a number"),
        ([{"keypoints": joints(), "is_target": "yes"}], "is_target 'yes'; expected true or false"),
        ([{"keypoints": "text"}], "17 keypoints"),
        ([{"keypoints": {"x": 1}}], "17 keypoints"),
        ([{"keypoints": [[1, 2], [3]]}], "17 keypoints"),
        ([{"keypoints": [*joints()[:-1], None]}], "17 keypoints"),
        ([{"keypoints": [*joints()[:-1], True]}], "17 keypoints"),
        ([7], "17 keypoints"),
        ({"annotations": 3}, "a list of"),
        (b'[{"keypoints": [1' + b"0" * 400 + b"]}]", "digits"),
        (b"[" * 5000, "nests more than"),
        (b"\xff\xfe\xff", "a.json"),
        (b'{"keypoints": [NaN]}', "not finite"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_keypoints_that_are_none(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        people(tmp_path, content)


def test_no_score_is_the_mean_of_the_confidences(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "keypoints",
        "a.json",
        [{"keypoints": joints(), "score": None, "image_id": "a.jpg"}],
    )
    assert read_coco(path)["a.jpg"][0].score == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"keypoints": joints(), "image_id": 77}], "image_id 77, which names no file"),
        (
            {"images": [], "annotations": [{"keypoints": joints(), "image_id": 77}]},
            "image_id 77, which is not among",
        ),
        (
            {"images": [], "annotations": [{"keypoints": joints(), "image_id": [1]}]},
            "image_id a list of 1",
        ),
        ({"images": [{"id": [1], "file_name": "a"}], "annotations": []}, "an id and a file_name"),
        ({"images": [5], "annotations": []}, "an id and a file_name, it is 5"),
        ({"images": [{"id": 1, "file_name": ""}], "annotations": []}, "an id and a file_name"),
        (
            {
                "images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}],
                "annotations": [],
            },
            "for a and for b",
        ),
        ([{"keypoints": joints(), "image_id": ".."}], "names no file"),
        ("text", "should hold a list"),
    ],
    ids=str,
)
def test_results_say_whose_they_are(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_coco(put(tmp_path, "", "coco.json", content))


def test_a_file_for_many_images_is_read_in_linear_time(tmp_path: Path) -> None:
    """100,000 names took minutes when each was looked for among all."""

    def seconds(n: int) -> float:
        content = {
            "images": [{"id": i, "file_name": f"{i % 7}/{i}.jpg"} for i in range(n)],
            "annotations": [],
        }
        begin = time.process_time()
        assert len(coco_in(content, "coco.json")) == 2 * n
        return time.process_time() - begin

    seconds(1000)
    assert seconds(32_000) < 32 * 4 * max(seconds(1000), 0.005)


# upright: bands from head to foot
LABELS = np.tile(np.arange(TALL, dtype=np.uint8)[:, None] // 8, (1, WIDE))


def stored(turn: int) -> np.ndarray:
    """What lies on disk for an upright picture of LABELS, with this EXIF orientation."""
    return {1: LABELS, 6: np.rot90(LABELS), 8: np.rot90(LABELS, -1)}[turn]


def read_parts(root: Path, sample: Sample, kind: str, label: np.ndarray) -> np.ndarray:
    if kind == "parsing":
        put(root, "parsing", "a.png", np.ascontiguousarray(label))
        labels: np.ndarray = parsing_labels(root, [sample], "parts", "three")[0]
    else:
        put(root, "iuv", "a.png", np.stack([label, label * 9, label], 2))
        labels = densepose_labels(root, [sample], "three")[0]
    return labels


@pytest.mark.parametrize("kind", ["parsing", "densepose"])
@pytest.mark.parametrize("turn", [6, 8])
def test_labels_turn_along_with_their_picture(tmp_path: Path, turn: int, kind: str) -> None:
    """One of the stored size is turned, one of the upright size is not; both say the same as if
    nothing was turned.
    """
    plain = read_parts(tmp_path / "plain", crop(tmp_path / "plain"), kind, LABELS)
    for i, label in enumerate((LABELS, stored(turn))):
        root = tmp_path / str(i)
        sample = crop(root, size=(TALL, WIDE), turn=turn)
        assert np.array_equal(read_parts(root, sample, kind, label), plain) and not either_way_up(
            sample.path
        )


def test_fields_and_surfaces_turn_along_too(tmp_path: Path) -> None:
    sample = crop(tmp_path, size=(TALL, WIDE), turn=6)
    upright = np.zeros((36, 4, 2), np.float32)
    upright[0, 0], upright[15, 3] = 1, 1
    put(tmp_path, "masks/pifpaf_maskrcnn_filtering", "a.npy", np.rot90(upright, axes=(1, 2)).copy())
    labels = pifpaf_labels(tmp_path, [sample])[0]
    assert labels.shape == (4, 2) and labels[0].tolist() == [1, 1] and labels[3].tolist() == [7, 7]
    put(tmp_path, "iuv", "a.png", np.stack([stored(6)] * 3, 2))
    pixels, charts, uv, _ = Surfaced(tmp_path, [sample]).read(0)
    assert (
        pixels.shape == (TALL, WIDE, 3)
        and np.array_equal(charts, LABELS)
        and uv.shape == (2, TALL, WIDE)
    )


@pytest.mark.parametrize("turn", [2, 3, 4])
def test_where_size_does_not_tell_labels_are_upright(tmp_path: Path, turn: int) -> None:
    sample = crop(tmp_path, turn=turn)
    plain = read_parts(tmp_path / "plain", crop(tmp_path / "plain"), "parsing", LABELS)
    assert np.array_equal(read_parts(tmp_path, sample, "parsing", LABELS), plain) and either_way_up(
        sample.path
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", np.full((TALL, WIDE), 40000, np.uint16), "class 40000"),
        ("a.png", np.zeros((TALL, WIDE, 3), np.uint8), "one class per pixel"),
        (
            "a.png",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 32\n",
            "cannot be read as an image",
        ),
        ("a.png", b"\xff\xd8\xff\xe0JFIF" + bytes(20), "JPEG file, which changes the numbers"),
        (
            "a.npy",
            b"\x93NUMPY\x01\x00\x76\x00"
            + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117)
            + b"\n",
            "claims",
        ),
        ("a.npy", np.zeros((0, 4), np.int64), "is empty"),
        ("a.npy", np.array([[1, None]]), "holds object, not numbers"),
        ("a.npy", np.full((TALL, WIDE, 20), np.nan, np.float32), "not finite or beyond"),
        ("a.npy", np.zeros((TALL, WIDE, 19), np.float32), "needs class indices"),
        ("a.npy", b"PK\x03\x04" + bytes(30), r"an \.npz archive under the name of an \.npy"),
    ],
    ids=lambda v: str(v)[:30],
)
def test_class_images_that_are_none(tmp_path: Path, name: str, content: Any, message: str) -> None:
    sample = crop(tmp_path)
    path = put(tmp_path, "parsing", name, content)
    for read in (
        lambda: parsing_labels(tmp_path, [sample])[0],
        lambda: read_classes(path, "lip", image=sample.path),
    ):
        with pytest.raises(DataError, match=message):
            read()


def person(box: tuple[float, float, float, float], score: float = 0.9) -> Detection:
    h, w = int(box[3] - box[1]), int(box[2] - box[0])
    return Detection(score, box, np.full((h, w), 2, np.uint8), np.full((2, h, w), 0.5, np.float32))


def test_the_person_in_the_middle_beats_a_larger_box_at_the_rim(tmp_path: Path) -> None:
    rim, middle = person((10, 0, 16, 32), 0.99), person((5, 4, 10, 30))
    assert (
        choose([rim, middle], "area", (TALL, WIDE))
        == 0
        == choose([rim, middle], "score", (TALL, WIDE))
    )
    assert (
        choose([rim, middle], "target", (TALL, WIDE))
        == 1
        == choose([rim, middle], "center", (TALL, WIDE))
    )
    iuv, ids = np.zeros((TALL, WIDE, 3), np.uint8), np.zeros((TALL, WIDE), np.uint8)
    iuv[:, 10:], ids[:, 10:], iuv[4:30, 5:10], ids[4:30, 5:10] = (1, 0, 2), 1, (1, 0, 2), 2
    Image.fromarray(iuv).save(tmp_path / "a_IUV.png")
    Image.fromarray(ids).save(tmp_path / "a_INDS.png")
    assert np.flatnonzero(read_iuv(tmp_path / "a_IUV.png").labels.any(0)).tolist() == [
        5,
        6,
        7,
        8,
        9,
    ]


def entry(name: Any, box: tuple[int, int, int, int] | None, chart: int = 2) -> dict[str, Any]:
    if box is None:
        return {"file_name": name}
    h, w = box[3] - box[1], box[2] - box[0]
    return {
        "file_name": name,
        "scores": torch.ones(1),
        "pred_boxes_XYXY": torch.tensor([box]).float(),
        "pred_densepose": [{"labels": torch.full((h, w), chart), "uv": torch.full((2, h, w), 0.5)}],
    }


def test_a_file_twice_in_a_dump_keeps_the_people_of_both_entries(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    torch.save(
        [entry("train/a.jpg", (5, 4, 10, 30)), entry("train/a.jpg", None)], tmp_path / "dump.pkl"
    )
    assert len(read_dump(tmp_path / "dump.pkl")["train/a.jpg"]) == 1
    coverage = import_dump(tmp_path / "dump.pkl", [sample], tmp_path / "iuv")
    assert (
        coverage.with_body == 1
        and "More than once in the dump, people of all entries taken" in coverage.sentence()
    )


@pytest.mark.parametrize("name", ["", None, 3, ["a"]])
def test_entries_of_a_dump_have_names(tmp_path: Path, name: Any) -> None:
    torch.save([entry(name, None)], tmp_path / "dump.pkl")
    with pytest.raises(DataError, match="an entry whose file name is"):
        read_dump(tmp_path / "dump.pkl")


def test_a_broken_entry_stops_a_dump_before_anything_is_written_or_is_left_out(
    tmp_path: Path,
) -> None:
    samples = [crop(tmp_path, name) for name in "abc"]
    torch.save(
        [
            entry("train/a.jpg", (5, 4, 10, 30)),
            entry("train/b.jpg", (5, 4, 10, 30), chart=99),
            entry("train/c.jpg", (5, 4, 90, 300)),
        ],
        tmp_path / "dump.pkl",
    )
    with pytest.raises(
        DataError,
        match=r"2 of 3 labels cannot be used, for 2 reasons.*charts 99.*larger images.*"
        r"Nothing was written.*--missing unknown",
    ):
        import_dump(tmp_path / "dump.pkl", samples, tmp_path / "iuv")
    assert not (tmp_path / "iuv").exists()
    coverage = import_dump(tmp_path / "dump.pkl", samples, tmp_path / "iuv", missing="unknown")
    assert coverage.with_body == 1 and "2 of 3 labels cannot be used" in coverage.sentence()
    labels = densepose_labels(tmp_path, samples, missing="unknown")
    assert (labels[1] == 255).all() and not (labels[0] == 255).any()


def cached(
    root: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], None]
) -> PartLabels:
    sample = crop(root)
    path = root / "labels.safetensors"
    write_cache(
        path, [np.ones((4, 2), np.uint8)], ["train/a.jpg"], (4, 2), PartScheme(("head", "rest"))
    )
    with safe_open(str(path), "pt") as file:
        meta = dict(file.metadata())
    bank = load_file(path)
    change(bank, meta)
    save_file(bank, path, meta)
    return cached_labels(root, [sample])


@pytest.mark.parametrize(
    "change",
    [
        lambda bank, meta: bank.update(labels=bank["labels"].float()),
        lambda bank, meta: bank.update(labels=bank["labels"][0]),
        lambda bank, meta: bank.update(labels=bank["labels"].repeat(2, 1, 1)),
        lambda bank, meta: bank.pop("labels"),
        lambda bank, meta: meta.update(parts="null"),
        lambda bank, meta: meta.update(parts="{" * 2000),
        lambda bank, meta: meta.update(parts='{"names": ["a"], "flip": [0, 7]}'),
        lambda bank, meta: meta.update(images="7"),
        lambda bank, meta: meta.update(images="[1]"),
        lambda bank, meta: meta.update(format="x"),
        lambda bank, meta: bank.update(labels=bank["labels"] * 9),
        lambda bank, meta: meta.pop("parts"),
    ],
)
def test_an_edited_cache_is_refused(tmp_path: Path, change: Any) -> None:
    with pytest.raises(DataError, match="partreid labels cache|nests more than"):
        _ = cached(tmp_path, change)[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda bank: bank["ends"].__setitem__(1, 5),
        lambda bank: bank.update(seen=bank["seen"].int()),
        lambda bank: bank["seen"].zero_(),
        lambda bank: bank["detected"].fill_(7),
        lambda bank: bank.pop("colors"),
    ],
)
def test_an_edited_bank_of_tiles_is_made_anew(tmp_path: Path, change: Any) -> None:
    sample = crop(tmp_path)
    put(tmp_path, "iuv", "a.png", np.stack([LABELS, LABELS * 60, LABELS * 60], 2))
    before = uv_tiles(tmp_path, [sample], size=4)[0]
    (path,) = (tmp_path / "cache").glob("*.safetensors")
    bank = load_file(path)
    change(bank)
    save_file(bank, path)
    assert np.array_equal(uv_tiles(tmp_path, [sample], size=4)[0], before)


def test_advice_for_surfaces_is_advice_that_helps(tmp_path: Path) -> None:
    """Stripes stand in for part labels; tiles are made of surfaces and of nothing else."""
    sample = crop(tmp_path)
    with pytest.raises(DataError, match=r"--set cues\.parts=stripes"):
        densepose_labels(tmp_path, [sample])
    of = Benchmark("mine", tmp_path, (sample,), {}, ())
    assert (build.cue(Spec("stripes"), of)[0] > 0).all()
    with pytest.raises(DataError, match="nothing else can stand in") as caught:
        uv_tiles(tmp_path, [sample])
    assert "stripes" not in str(caught.value)


@pytest.mark.parametrize("name", ["seven", "regions", "three"])
def test_sets_that_pose_cannot_give_are_sent_to_those_that_can(name: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"there is no PifPaf grouping '{name}': .*cues\.parts=parsing"
    ):
        find(PIFPAF, name, "PifPaf grouping")
    with pytest.raises(RecipeError, match="Did you mean 'seven_v'"):
        find(PIFPAF, "sevenv", "PifPaf grouping")


def test_a_pipe_in_a_label_s_place_is_told(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    path = put(tmp_path, "parsing", "a.png", b"")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="named pipe"):
        _ = parsing_labels(tmp_path, [sample])[0]
