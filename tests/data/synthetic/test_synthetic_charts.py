"""The charts lie on the body as DensePose's do: directions, mirror images and seams, checked on
the mesh.
"""

import numpy as np
import pytest

from partreid.data.synthetic.body import figure
from partreid.data.synthetic.clothes import fit
from partreid.data.synthetic.mesh import Mesh
from partreid.data.synthetic.surfaces import CHARTS, RIGHT_LEFT
from partreid.data.synthetic.wardrobe import roster, wardrobe
from partreid.data.synthetic.world import PRESETS

MIRRORED_IN_U = {3, 6, 23}
FRONT_BACK = [(1, 2, ""), (17, 15, ""), (18, 16, ""), (11, 13, "u"), (12, 14, "u")] + [
    (7, 9, "uv"), (8, 10, "uv"), (21, 19, "uv"), (22, 20, "uv"),
]  # fmt: skip


@pytest.fixture(scope="module")
def naked() -> Mesh:
    world = PRESETS["tiny"]
    look, clothes = roster(world, 0, 1)[0], wardrobe(world)
    return figure(
        fit(look, clothes.uppers[look.upper], clothes.lowers[look.lower], clothes.shoes[look.shoes])
    )


def _chart(mesh: Mesh, surface: int) -> tuple[np.ndarray, np.ndarray]:
    """Rest positions [n, 3] and (u, v) [n, 2] of one surface's vertices."""
    vertices = np.unique(mesh.triangles[mesh.surface == surface])
    coords = np.concatenate([mesh.coords[vertices], np.ones((len(vertices), 1), np.float32)], 1)
    return mesh.positions[vertices], coords @ CHARTS[surface].T


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize("surface", [1, 2])
def test_torso_u_runs_from_neck_to_hip_and_v_to_the_persons_right(
    naked: Mesh, surface: int
) -> None:
    positions, uv = _chart(naked, surface)
    assert _correlation(uv[:, 0], positions[:, 1]) < -0.95
    assert _correlation(uv[:, 1], positions[:, 0]) < -0.9  # x grows to the left
    assert uv.min() >= 0 and uv.max() <= 1


@pytest.mark.parametrize("surface", range(7, 23))
def test_limb_u_runs_downwards_or_upwards(naked: Mesh, surface: int) -> None:
    downwards = surface in (7, 8, 13, 14, 15, 16, 17, 18, 21, 22)
    positions, uv = _chart(naked, surface)
    assert _correlation(uv[:, 0], positions[:, 1]) * (-1 if downwards else 1) > 0.95


@pytest.mark.parametrize(("right", "left"), RIGHT_LEFT)
def test_left_and_right_charts_coincide(naked: Mesh, right: int, left: int) -> None:
    """Mirrored points of the body have equal (u, v); hands, feet and head mirror U."""
    x_right, uv_right = _chart(naked, right)
    x_left, uv_left = _chart(naked, left)
    apart = np.abs(x_right[:, None] - x_left[None] * [-1, 1, 1]).sum(-1)
    partner = apart.argmin(1)
    assert apart.min(1).max() < 1e-9
    if right in MIRRORED_IN_U:
        uv_left = np.stack([1 - uv_left[:, 0], uv_left[:, 1]], 1)
    same = np.abs(uv_right - uv_left[partner]).max(1) < 1e-6
    assert same.mean() > 0.85  # where a tube closes, two vertices share one place


@pytest.mark.parametrize(("back", "front", "turned"), FRONT_BACK)
def test_front_and_back_meet_at_the_seam(naked: Mesh, back: int, front: int, turned: str) -> None:
    x_back, uv_back = _chart(naked, back)
    x_front, uv_front = _chart(naked, front)
    apart = np.abs(x_back[:, None] - x_front[None]).sum(-1)
    i, j = np.nonzero(apart < 1e-9)
    assert len(i) >= 10
    mapped = uv_front.copy()
    for axis, name in enumerate("uv"):
        if name in turned:
            mapped[:, axis] = 1 - mapped[:, axis]
    np.testing.assert_allclose(uv_back[i], mapped[j], atol=1e-6)
    assert len(np.unique(np.round(uv_back[i, 1]))) == 2  # both seams


def test_surfaces_lie_on_their_side(naked: Mesh) -> None:
    for right, left in RIGHT_LEFT:
        assert (
            _chart(naked, right)[0][:, 0].mean()
            < -0.01
            < 0.01
            < _chart(naked, left)[0][:, 0].mean()
        )
    for back, front, _ in FRONT_BACK[:1] + FRONT_BACK[3:7]:
        assert _chart(naked, back)[0][:, 2].mean() < _chart(naked, front)[0][:, 2].mean()
    # An arm's front is its inner side.
    assert _chart(naked, 15)[0][:, 0].mean() < _chart(naked, 17)[0][:, 0].mean()
