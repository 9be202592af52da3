"""What a rendered image says about itself must be true."""

import math
from dataclasses import replace

import numpy as np
import pytest

from partreid.data.synthetic import PRESETS, Rendered, Shot, World, render
from partreid.data.synthetic.people import attributes, person
from partreid.data.synthetic.render import Rendered as RenderedType
from partreid.data.synthetic.scene import camera
from partreid.data.synthetic.surfaces import RIGHT_LEFT
from partreid.data.synthetic.wardrobe import roster

Pictures = list[tuple[Shot, Rendered]]
TINY = PRESETS["tiny"]


def _same(a: RenderedType, b: RenderedType) -> bool:
    return all(
        np.array_equal(getattr(a, n), getattr(b, n))
        for n in ("image", "labels", "amodal", "uv", "joints")
    )


def test_shapes_and_types(pictures: Pictures) -> None:
    r = pictures[0][1]
    assert (r.image.shape, r.image.dtype) == ((128, 64, 3), np.uint8)
    assert (r.labels.shape, r.labels.dtype) == ((128, 64), np.uint8)
    assert (r.uv.shape, r.uv.dtype) == ((128, 64, 2), np.float32)
    assert (r.joints.shape, r.joints.dtype) == ((17, 3), np.float32)


def test_an_image_depends_on_its_arguments_only(pictures: Pictures) -> None:
    for shot, before in pictures[::-17]:
        person.cache_clear()
        camera.cache_clear()
        roster.cache_clear()
        assert _same(before, render(TINY, shot.identity, shot.camera, shot.index, shot.occluded))


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"identity": 2}, {"camera": 2}, {"index": 1}, {"occluded": True}]
)
def test_every_argument_changes_the_image(change: dict[str, int]) -> None:
    arguments = {"identity": 1, "camera": 1, "index": 0, "occluded": False}
    other = replace(TINY, seed=change.pop("seed", TINY.seed))
    assert not _same(render(TINY, **arguments), render(other, **{**arguments, **change}))


def test_uv_lies_in_the_unit_square_on_surfaces_and_is_zero_elsewhere(pictures: Pictures) -> None:
    for _, r in pictures:
        surface = (r.labels >= 1) & (r.labels <= 24)
        assert r.uv.min() >= 0 and r.uv.max() <= 1
        assert not r.uv[~surface].any()
        assert (r.uv[surface] > 0).any(1).mean() > 0.99


def test_visible_is_what_is_left_of_amodal(pictures: Pictures) -> None:
    for _, r in pictures:
        changed = r.labels != r.amodal
        assert np.isin(r.labels[changed], (30, 31)).all()
        assert (r.amodal < 28).all()
        assert (r.visible_pixels <= r.amodal_pixels).all()
        hidden = 1 - r.visible_pixels.sum() / r.amodal_pixels.sum()
        assert hidden == pytest.approx(r.occlusion)


def test_occluders_hide_as_much_as_the_world_says(pictures: Pictures) -> None:
    low, high = TINY.coverage
    kinds = set()
    for shot, r in pictures:
        kinds.add(r.occluder)
        if shot.occluded:
            assert low <= r.occlusion <= high
            assert (r.labels == (31 if r.occluder == "pedestrian" else 30)).any()
        else:
            assert r.occlusion == 0 and r.occluder is None and not (r.labels == 30).any()
    assert {None, "pedestrian", "board", "car", "plant", "wall", "pole", "bin"} <= kinds


def test_supersampled_worlds_keep_the_bounds_nearly() -> None:
    world = replace(TINY, supersample=2)
    low, high = world.coverage
    for identity in range(1, 7):
        r = render(world, identity, 1, 0, True)
        assert r.image.shape == (128, 64, 3)
        assert low - 0.02 <= r.occlusion <= high + 0.02


def test_all_surfaces_and_belongings_occur(pictures: Pictures) -> None:
    seen = set(np.unique(np.concatenate([r.labels.ravel() for _, r in pictures])).tolist())
    assert seen == {*range(28), 30, 31}


def test_torso_front_and_back_agree_with_yaw(pictures: Pictures) -> None:
    checked = 0
    for _, r in pictures:
        facing = math.cos(math.radians(r.yaw))
        front, back = r.amodal_pixels[2], r.amodal_pixels[1] + r.amodal_pixels[25]
        if abs(facing) > 0.5:
            assert (front > back) == (facing > 0)
            checked += 1
    assert checked > 30


def test_left_and_right_agree_with_yaw(pictures: Pictures) -> None:
    checked = 0
    right, left = ([pair[side] for pair in RIGHT_LEFT if 7 <= pair[0] <= 22] for side in (0, 1))
    for _, r in pictures:
        facing = math.cos(math.radians(r.yaw))
        if abs(facing) > 0.75 and r.truncated is None:
            x_left, x_right = (
                np.nonzero(np.isin(r.amodal, side))[1].mean() for side in (left, right)
            )
            # facing us, a person's left is on the image's right
            assert (x_left > x_right) == (facing > 0)
            checked += 1
    assert checked > 20


def test_yaw_90_faces_the_images_right(pictures: Pictures) -> None:
    checked = 0
    for _, r in pictures:
        sideways = math.sin(math.radians(r.yaw))
        if abs(sideways) > 0.8:
            assert (r.joints[0, 0] > r.joints[3:5, 0].mean()) == (sideways > 0)  # nose and ears
            checked += 1
    assert checked > 5


def test_visible_joints_lie_on_the_person(pictures: Pictures) -> None:
    counts = np.zeros(3, int)
    for _, r in pictures:
        for x, y, v in r.joints:
            counts[int(v)] += 1
            inside = 0 <= x < 64 and 0 <= y < 128
            assert inside == (v > 0)
            if v == 2:
                assert 1 <= r.labels[int(y), int(x)] <= 27
    assert counts.min() > 20


def test_joints_sit_where_their_limbs_are(pictures: Pictures) -> None:
    """A visible wrist, knee or ankle of one side must not lie on a limb of the other side."""
    sides = {
        7: "left",
        8: "right",
        9: "left",
        10: "right",
        13: "left",
        14: "right",
        15: "left",
        16: "right",
    }
    limbs = {"left": {p[1] for p in RIGHT_LEFT}, "right": {p[0] for p in RIGHT_LEFT}}
    same = other = 0
    for _, r in pictures:
        for joint, side in sides.items():
            x, y, v = r.joints[joint]
            if v == 2:
                label = int(r.labels[int(y), int(x)])
                same += label in limbs[side]
                other += label in limbs["left" if side == "right" else "right"]
    assert same > 50 and other <= 0.03 * same


def test_facing_images_show_v_growing_to_the_persons_right(pictures: Pictures) -> None:
    checked = 0
    for _, r in pictures:
        rows, columns = np.nonzero(r.labels == 2)
        if math.cos(math.radians(r.yaw)) > 0.8 and len(rows) > 200:
            assert np.corrcoef(columns, r.uv[rows, columns, 1])[0, 1] < -0.8
            assert np.corrcoef(rows, r.uv[rows, columns, 0])[0, 1] > 0.9
            checked += 1
    assert checked > 5


def test_people_are_confusable_but_not_alike() -> None:
    world = PRESETS["demo"]
    people = roster(world, 1, world.test_identities)
    distances = [a.distance(b) for k, a in enumerate(people) for b in people[:k]]
    assert min(distances) == 1
    twins = [k for k in range(1, len(people)) if people[k].distance(people[k - 1]) == 1]
    assert 0.06 * len(people) <= len(twins) <= 0.25 * len(people)
    assert len({p.upper for p in people}) <= world.uppers < len(people) / 4


def test_cameras_tint_within_the_limit() -> None:
    world: World = PRESETS["demo"]
    for number in range(1, world.cameras + 1):
        gain = camera(world, number).gain
        assert np.abs(gain / gain.mean() - 1).max() <= world.tint_limit + 1e-9


def test_unknown_identities_and_impossible_worlds_are_refused() -> None:
    with pytest.raises(IndexError, match="no identity 9"):
        attributes(TINY, 9)
    with pytest.raises(ValueError, match="1 to 9 cameras"):
        replace(TINY, cameras=10)
    with pytest.raises(ValueError, match="coverage"):
        replace(TINY, coverage=(0.7, 0.3))
    with pytest.raises(ValueError, match="one query per camera"):
        replace(TINY, query_per_identity=4)
    with pytest.raises(ValueError, match="5000 training"):
        replace(TINY, train_identities=5001)
