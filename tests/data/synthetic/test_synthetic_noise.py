"""Random streams, degraded labels and the leak check."""

from dataclasses import replace

import numpy as np
import pytest

from partreid.data.synthetic import PRESETS, Rendered, Shot, background_color, degrade, render
from partreid.data.synthetic.streams import Stream, value_noise
from partreid.data.synthetic.surfaces import RIGHT_LEFT

NONE = {"drop": 0.0, "swap": 0.0, "lose": 0.0, "grow": 0.0}


def test_streams_are_named() -> None:
    draws = [Stream(1, "a", 2).uniform() for _ in range(2)]
    assert draws[0] == draws[1]
    assert len({Stream(s, t, i).uniform() for s in (1, 2) for t in "ab" for i in (1, 2)}) == 8


def test_draws_have_the_promised_distribution() -> None:
    s = Stream(3, "draws")
    normal = np.array([s.normal(2.0, 0.5) for _ in range(4000)])
    assert abs(normal.mean() - 2.0) < 0.04 and abs(normal.std() - 0.5) < 0.03
    picks = [s.choice("ab", (1, 3)) for _ in range(2000)]
    assert 0.70 < picks.count("b") / 2000 < 0.80
    assert {s.integer(4, 7) for _ in range(200)} == {4, 5, 6}
    assert sorted(s.shuffled(range(9))) == list(range(9))
    noise = value_noise(s, (64, 48), (3, 4))
    assert noise.shape == (64, 48) and abs(noise.mean()) < 0.3 and 0.2 < noise.std() < 1.2


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    out = np.zeros((40, 30), np.uint8)
    out[5:15, 10:20] = 2
    out[15:25, 10:15] = 9
    out[15:25, 15:20] = 10
    out[2:5, 12:18] = 27
    out[25:30, 5:25] = 30
    return out


def test_no_noise_changes_nothing(labels: np.ndarray) -> None:
    np.testing.assert_array_equal(degrade(labels, 1, **NONE), labels)


def test_each_kind_of_noise(labels: np.ndarray) -> None:
    assert not degrade(labels, 1, **{**NONE, "drop": 1.0}).any()
    swapped = degrade(labels, 1, **{**NONE, "swap": 1.0})
    np.testing.assert_array_equal(swapped == 9, labels == 10)
    np.testing.assert_array_equal(swapped == 2, labels == 2)
    lost = [degrade(labels, seed, **{**NONE, "lose": 1.0}) for seed in range(40)]
    assert all(((out == labels) | (out == 0)).all() for out in lost)
    assert {tuple(sorted(set(np.unique(labels)) - set(np.unique(out)))) for out in lost} == {
        (),
        (9,),
        (10,),
        (27,),
    }
    grown = degrade(labels, 1, **{**NONE, "grow": 1.0}, reach=1)
    np.testing.assert_array_equal(grown[labels > 0], labels[labels > 0])
    np.testing.assert_array_equal(grown == 30, labels == 30)
    assert grown[10, 9] == 2 and grown[10, 8] == 0 and grown[30, 10] == 0


def test_degrading_is_repeatable_and_as_frequent_as_asked(labels: np.ndarray) -> None:
    np.testing.assert_array_equal(degrade(labels, 7), degrade(labels, 7))
    dropped = np.mean([not degrade(labels, seed, drop=0.2).any() for seed in range(400)])
    assert 0.13 < dropped < 0.27


def test_left_right_pairs_cover_all_but_the_torso() -> None:
    assert sorted(label for pair in RIGHT_LEFT for label in pair) == list(range(3, 25))


def test_background_color_sees_nothing_but_background() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, :3] = (51, 102, 204)
    labels = np.full((4, 6), 2, np.uint8)
    labels[:, :3] = 0
    feature = background_color(image, labels)
    assert feature.dtype == np.float32
    np.testing.assert_allclose(feature, [0.2, 0.4, 0.8, 0, 0, 0], atol=1e-6)
    image[0, :3] = 0
    assert background_color(image, labels)[3:].min() > 0.05
    np.testing.assert_array_equal(
        background_color(image, np.full((4, 6), 30, np.uint8)), np.zeros(6)
    )
    with pytest.raises(ValueError, match="expected"):
        background_color(image, labels[:2])


def test_backgrounds_do_not_give_identities_away() -> None:
    world = replace(PRESETS["tiny"], train_identities=20)
    features = np.zeros((2, 20, 6))
    for camera in (1, 2):
        for identity in range(1, 21):
            r = render(world, identity, camera, 0, False)
            features[camera - 1, identity - 1] = background_color(r.image, r.labels)
    normed = (features - features.mean(1, keepdims=True)) / features.std(1, keepdims=True)
    nearest = ((normed[0][:, None] - normed[1][None]) ** 2).sum(-1).argmin(1)
    assert (nearest == np.arange(20)).mean() <= 4 / 20  # chance is 1 / 20


def test_pictures_vary(pictures: list[tuple[Shot, Rendered]]) -> None:
    means = [r.image.mean() for _, r in pictures]
    assert np.std(means) > 8 and {r.truncated for _, r in pictures} >= {None, "legs"}
