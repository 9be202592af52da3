"""Keypoints drawn as parts: every file form, the right person, and shapes that lie where the
body is.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partreid.errors import DataError, RecipeError
from partreid.labels.keypoints import (
    LENGTHS,
    SEEN,
    WIDTHS,
    Person,
    blobs,
    body_height,
    choose_target,
    in_crop,
    keypoint_labels,
    limbs,
    read_coco,
    read_people,
)
from partreid.labels.parsing import read_labels
from partreid.labels.pifpaf import part_masks
from partreid.labels.places import label_path
from partreid.labels.schemes import JOINTS, KEYPOINTS, LIMBS, PIFPAF, SURFACES, lookup, scheme_of
from partreid.types import UNKNOWN, Benchmark, Sample

# Somebody who faces the camera in a crop of 64 x 128, arms a little off the body.
STANDING = np.array(
    [
        (32, 14),
        (34, 12),
        (30, 12),
        (37, 13),
        (27, 13),
        (43, 28),
        (21, 28),
        (48, 46),
        (16, 46),
        (50, 62),
        (14, 62),
        (38, 64),
        (26, 64),
        (39, 90),
        (25, 90),
        (39, 114),
        (25, 114),
    ],
    float,
)
BODY = np.concatenate([STANDING, np.ones((JOINTS, 1))], 1)
SIDES = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


def crop(
    root: Path, stem: str = "0001_c1s1_000000_00", size: tuple[int, int] = (64, 128)
) -> Sample:
    path = root / "bounding_box_train" / f"{stem}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return Sample(path, 1, 1)


def write(root: Path, name: str, content: Any) -> Path:
    path = root / "keypoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def person(keypoints: NDArray[np.float64] = BODY, **more: Any) -> dict[str, Any]:
    return {"keypoints": keypoints.ravel().tolist(), **more}


def moved(x: float, shrink: float = 1.0) -> NDArray[np.float64]:
    return BODY * (shrink, shrink, 1) + (x, 0, 0)


# --- shapes


@pytest.mark.parametrize("name", ["five", "eight", "fourteen"])
def test_parts_lie_at_their_joints(name: str) -> None:
    labels = part_masks(limbs(BODY, (64, 128), (128, 64)), PIFPAF[name]).argmax(0)
    names = ("", *PIFPAF[name])

    def part(joint: int, dx: int = 0, dy: int = 0) -> str:
        x, y = STANDING[joint].astype(int)
        return names[labels[y + dy, x + dx]]

    left, right = ("left_", "right_") if name != "five" else ("", "")
    assert part(0) == "head"
    assert part(9) == {"five": "arms", "eight": "left_arm", "fourteen": "left_lower_arm"}[name]
    assert part(15, dy=3) == (f"{left}foot" if left else "feet") and part(16, dy=3) == (
        f"{right}foot" if right else "feet"
    )
    assert part(13, dy=8) == {"five": "legs", "eight": "left_leg", "fourteen": "left_shin"}[name]
    assert names[labels[50, 32]] == {"five": "torso", "eight": "torso", "fourteen": "chest"}[name]
    # outside, and between the legs
    assert names[labels[2, 2]] == "" and names[labels[100, 32]] == ""


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, groups in PIFPAF.items()
        if name != "five_v"
        and not any(part.startswith("left") and 21 in members for part, members in groups.items())
    ],
)
def test_a_mirrored_body_gives_mirrored_parts(name: str) -> None:
    """On rows without the released oddities of sides (the hips in the left leg, half of a
    torso).
    """
    mirrored = BODY[SIDES] * (-1, 1, 1) + (64, 0, 0)
    flip = np.array(scheme_of(PIFPAF[name]).flip)
    first, second = (
        part_masks(limbs(k, (64, 128), (128, 64)), PIFPAF[name]) for k in (BODY, mirrored)
    )
    np.testing.assert_allclose(second[:, :, ::-1][flip], first, atol=1e-4)


def test_limbs_match_loops() -> None:
    random = np.random.default_rng(0)
    joints = np.concatenate(
        [random.uniform(0, (12, 20), (JOINTS, 2)), random.uniform(0.2, 1, (JOINTS, 1))], 1
    )
    maps = limbs(joints, (12, 20), (10, 6))
    tall = body_height(joints)
    for field, (a, b) in enumerate(LIMBS, JOINTS):
        if field in (17, 19, 21, 22, 23, 24, 34, 35):
            continue  # shins and necks are cut short, the trunk is filled: shown above
        for row, column in np.ndindex(10, 6):
            point = np.array([(column + 0.5) * 2, (row + 0.5) * 2])
            bone = joints[a, :2] + np.linspace(0, 1, 2001)[:, None] * (
                joints[b, :2] - joints[a, :2]
            )
            least = np.linalg.norm(point - bone, axis=1).min()
            expected = (
                0.5 ** (least / (WIDTHS[field] * tall)) ** 2
                if min(joints[a, 2], joints[b, 2]) > SEEN
                else 0
            )
            assert maps[field, row, column] == pytest.approx(expected, abs=2e-3)


def test_the_trunk_yields_to_arms_and_is_filled() -> None:
    maps = limbs(BODY, (64, 128), (128, 64))
    assert maps[21:25].max() == pytest.approx(0.8) and maps[25:29].max() > 0.9
    assert maps[24, 35, 32] == pytest.approx(0.8) and maps[22, 60, 32] == maps[
        23, 60, 32
    ] == pytest.approx(0.8)
    assert maps[22, 35, 32] < 0.5  # its upper half lies between the shoulders
    hidden = BODY.copy()
    hidden[5, 2] = 0
    assert limbs(hidden, (64, 128), (128, 64))[24, 35, 32] == 0


def test_what_is_not_seen_is_not_drawn() -> None:
    for joint in range(JOINTS):
        unsure = BODY.copy()
        unsure[joint, 2] = SEEN
        maps = limbs(unsure, (64, 128), (128, 64))
        gone = {joint, *(JOINTS + i for i, limb in enumerate(LIMBS) if joint in limb)}
        assert {field for field in range(36) if not maps[field].any()} == gone


def test_height_is_told_by_the_least_foreshortened_limb() -> None:
    assert body_height(BODY) == pytest.approx(
        max(
            np.hypot(*(STANDING[a] - STANDING[b])) / LENGTHS[17 + i]
            for i, (a, b) in enumerate(LIMBS)
            if 17 + i in LENGTHS
        )
    )
    assert 100 < body_height(BODY) < 140
    shorter = BODY.copy()
    shorter[[7, 9, 13, 15], :2] -= (0, 15)  # an arm and a leg held towards the camera
    assert body_height(shorter) == body_height(BODY)
    assert body_height(BODY * (1, 1, 0)) == 0
    face = BODY.copy()
    face[5:, 2] = 0
    assert limbs(face, (64, 128), (128, 64))[0].max() > 0.9  # the crop's height stands in


def test_scale_does_not_matter() -> None:
    large = limbs(BODY * (3, 3, 1), (192, 384), (128, 64))
    np.testing.assert_allclose(large, limbs(BODY, (64, 128), (128, 64)), atol=1e-4)
    np.testing.assert_array_equal(
        blobs(BODY * (3, 3, 1), (192, 384), (128, 64)), blobs(BODY, (64, 128), (128, 64))
    )


def test_shared_joints_go_to_the_part_with_fewer(tmp_path: Path) -> None:
    """The ankle is the foot's and not the leg's, the shoulder the arm's and not the torso's."""
    sample = crop(tmp_path)
    write(tmp_path, f"bounding_box_train/{sample.path.stem}.json", [person()])
    cue = keypoint_labels(tmp_path, [sample], "eight", shape="gauss")
    labels, names = cue[0], cue.scheme.names
    assert names == tuple(KEYPOINTS["eight"])
    parts = [names[labels[int(y), int(x)] - 1] for x, y in STANDING]
    assert parts == ["head"] * 5 + ["left_arm", "right_arm"] * 3 + ["torso"] * 2 + [
        "left_leg",
        "right_leg",
        "left_foot",
        "right_foot",
    ]
    assert set(np.unique(labels)) == set(range(9))


def test_the_synthetic_world_s_bodies_are_covered(benchmark: Benchmark) -> None:
    """Limbs of the exact joints against exact labels, on crops in which nothing hides the
    person.
    """
    lines = [
        json.loads(line) for line in (benchmark.root / "annotations.jsonl").read_text().splitlines()
    ]
    clear = [row for row in lines if row["occlusion"] == 0 and not row["truncated"]][::3]
    assert len(clear) >= 10
    table, both, either = lookup(SURFACES["eight"]), np.zeros(9), np.zeros(9)
    for row in clear:
        truth = read_labels(label_path(benchmark.root, benchmark.root / row["file"]), table)
        joints = np.array(row["keypoints"], float)
        joints[:, 2] = 1
        size = truth.shape[1], truth.shape[0]
        drawn = part_masks(limbs(joints, size, truth.shape), PIFPAF["eight"]).argmax(0)  # type: ignore[arg-type]
        for part in range(9):
            both[part] += ((drawn == part) & (truth == part)).sum()
            either[part] += ((drawn == part) | (truth == part)).sum()
    assert (both / either)[1:].min() > 0.4 and (both / either)[1:].mean() > 0.5


# --- who is meant


def test_the_target_is_flagged_or_large_sure_and_central() -> None:
    central, aside = Person(BODY), Person(moved(40))
    assert choose_target([aside, central], (64, 128)) is central
    assert (
        choose_target(
            [Person(BODY, is_target=False), flagged := Person(moved(40), is_target=True)], (64, 128)
        )
        is flagged
    )
    assert choose_target([Person(moved(10, 0.5)), central], (64, 128)) is central
    assert (
        choose_target([Person(BODY, score=0.3), sure := Person(moved(1), score=0.9)], (64, 128))
        is sure
    )
    assert choose_target([], (64, 128)) is None
    unseen = BODY * (1, 1, SEEN)
    assert choose_target([Person(unseen)], (64, 128)) is None
    # not somebody else instead
    assert choose_target([Person(unseen, is_target=True), central], (64, 128)) is None


def test_keypoints_outside_a_crop_are_dropped() -> None:
    keypoints = np.zeros((JOINTS, 3))
    keypoints[:4] = (10, 20, 0.5), (50, 20, 0.5), (49.9, 79.9, 1), (30, 30, 0)
    cropped = in_crop(keypoints, (10, 20, 40, 60))
    np.testing.assert_allclose(cropped[:4], [(0, 0, 0.5), (0, 0, 0), (39.9, 59.9, 1), (0, 0, 0)])


# --- files

EXPECTED = part_masks(limbs(BODY, (64, 128), (128, 64)), PIFPAF["eight"]).argmax(0)


@pytest.mark.parametrize(
    "name", ["{stem}.json", "{stem}.jpg_keypoints.json", "{stem}.jpg.predictions.json"]
)
@pytest.mark.parametrize("form", ["list", "one", "rows", "dict"])
def test_files_of_one_image(tmp_path: Path, name: str, form: str) -> None:
    sample = crop(tmp_path)
    content = {
        "list": [person()],
        "one": person(),
        "rows": [{"keypoints": BODY.tolist(), "is_target": True}],
        "dict": {"annotations": [person(score=0.9)]},
    }[form]
    write(tmp_path, "bounding_box_train/" + name.format(stem=sample.path.stem), content)
    cue = keypoint_labels(tmp_path, [sample])
    np.testing.assert_array_equal(cue[0], EXPECTED)
    assert cue[0].dtype == np.uint8 and cue.scheme == scheme_of(PIFPAF["eight"])


@pytest.mark.parametrize("place", ["../keypoints.json", "bounding_box_train.json"])
@pytest.mark.parametrize("form", ["coco", "results"])
@pytest.mark.parametrize("prefix", ["", "bounding_box_train/", "/data/market/bounding_box_train/"])
def test_files_of_all_images(tmp_path: Path, place: str, form: str, prefix: str) -> None:
    samples = [crop(tmp_path, "a"), crop(tmp_path, "b")]
    if form == "coco":
        content: Any = {
            "images": [
                {"id": 7, "file_name": f"{prefix}a.jpg"},
                {"id": 8, "file_name": f"{prefix}b.jpg"},
            ],
            "annotations": [person(moved(30), image_id=8), person(image_id=7), person(image_id=8)],
        }
    else:
        content = [
            person(image_id=f"{prefix}a.jpg", category_id=1, score=2.7),
            person(image_id=f"{prefix}b.jpg", category_id=1, score=2.1),
        ]
    (tmp_path / "keypoints").mkdir()
    write(tmp_path, place, content)
    cue = keypoint_labels(tmp_path, samples)
    for i in (0, 1):
        np.testing.assert_array_equal(cue[i], EXPECTED)


def test_a_name_that_two_folders_share_is_no_name(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "all.json",
        [
            person(image_id="train/a.jpg"),
            person(image_id="query/a.jpg"),
            person(image_id="query/b.jpg"),
        ],
    )
    assert set(read_coco(path)) == {"train/a.jpg", "query/a.jpg", "query/b.jpg", "b.jpg"}


def test_coco_s_flags_are_not_confidences(tmp_path: Path) -> None:
    """2 is seen, 1 is hidden by something and must not be drawn; without a 2 in the file 1 is a
    confidence.
    """
    flags = BODY.copy()
    flags[:, 2] = [2] * 15 + [1, 0]
    one = read_people(write(tmp_path, "a.json", [person(flags)]))[0]
    assert one.keypoints[:, 2].tolist() == [1] * 15 + [0, 0]
    assert (
        read_people(write(tmp_path, "b.json", [person()]))[0].keypoints[:, 2].tolist() == [1] * 17
    )
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (1, 2)],
        "annotations": [person(flags, image_id=1), person(BODY, image_id=2)],
    }
    assert (
        not read_coco(write(tmp_path, "c.json", content))["2.jpg"][0].keypoints[:, 2].any()
    )  # all hidden


def test_images_without_people_are_unknown(tmp_path: Path) -> None:
    samples = [crop(tmp_path, "a"), crop(tmp_path, "b", (32, 64)), crop(tmp_path, "c")]
    write(tmp_path, "bounding_box_train/a.json", [person()])
    write(tmp_path, "bounding_box_train/b.json", [])
    with pytest.raises(
        DataError,
        match=r"1 of 3 training images have no label in .*the first is "
        r"bounding_box_train/c\.jpg.*missing=unknown",
    ):
        keypoint_labels(tmp_path, samples)
    cue = keypoint_labels(tmp_path, samples, missing="unknown")
    assert [cue[i].shape for i in range(3)] == [(128, 64), (64, 32), (128, 64)]
    assert (cue[1] == UNKNOWN).all() and (cue[2] == UNKNOWN).all() and not (cue[0] == UNKNOWN).any()


def test_large_crops_are_drawn_smaller(tmp_path: Path) -> None:
    sample = crop(tmp_path, size=(192, 384))
    write(tmp_path, f"bounding_box_train/{sample.path.stem}.json", [person(BODY * (3, 3, 1))])
    np.testing.assert_array_equal(keypoint_labels(tmp_path, [sample])[0], EXPECTED)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"keypoints": [1, 2, 3]}], r"17 keypoints x, y, confidence \(51 numbers\), got 3 values"),
        ([{"score": 1}], "got an object with score"),
        ([5], "got 5"),
        ("text", "should hold a list of people"),
    ],
)
def test_what_is_no_person_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_people(write(tmp_path, "a.json", content))


def test_what_is_no_list_of_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image_id 3, which names no file.*add COCO's 'images'"):
        read_coco(write(tmp_path, "a.json", [person(image_id=3)]))
    with pytest.raises(
        DataError, match="should hold COCO's 'images' and 'annotations', it has people"
    ):
        read_coco(write(tmp_path, "a.json", {"people": []}))
    (tmp_path / "keypoints" / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json is not JSON"):
        read_people(tmp_path / "keypoints" / "a.json")


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match="no keypoint grouping 'seven': .* rows here are one, two, three"
    ):
        keypoint_labels(tmp_path, [], "seven", shape="gauss")
    with pytest.raises(RecipeError, match="unknown shape of keypoints: 'blob'"):
        keypoint_labels(tmp_path, [], shape="blob")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="unknown rule for missing labels: 'skip'"):
        keypoint_labels(tmp_path, [], missing="skip")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="'ten_ms' cannot be labels: every joint of upper, lower"):
        keypoint_labels(tmp_path, [], "ten_ms")
