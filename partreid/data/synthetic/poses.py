"""Walking and standing poses, and skinning: a pose is one rigid motion per bone."""

from dataclasses import dataclass

import numpy as np

from partreid.data.synthetic import mesh as m
from partreid.data.synthetic.body import JOINT_BONES, JOINT_RESTS, PARENTS, PIVOTS
from partreid.data.synthetic.mesh import FloatArray, Mesh
from partreid.data.synthetic.streams import Stream


@dataclass(frozen=True)
class Manner:
    """What a person's clothes and belongings allow: how wide the steps are, which hand carries a
    bag.
    """

    stride: float = 1.0  # 1 = full; skirts shorten it
    carrying: int | None = None  # 0 left, 1 right hand, None nothing
    dangling: bool = False  # the bag's bone hangs from the hand


def _forward(angle: float) -> FloatArray:
    """Swings what hangs down to the front by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def _outward(angle: float, side: int) -> FloatArray:
    """Lifts what hangs down sideways, away from the body; side 0 = left, 1 = right."""
    angle = angle if side == 0 else -angle
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def turn(angle: float) -> FloatArray:
    """Rotation about the vertical axis: a positive angle turns the face towards +x."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def pose(stream: Stream, manner: Manner, walking: bool, phase: float | None = None) -> FloatArray:
    """A random pose: float64 [16, 3, 4], the motion of every bone from rest, in body space.

    phase: where in the double step the person is, in radians; None: anywhere. The same stream with
    another phase is the same person a moment later.
    """
    local = [np.eye(3)] * m.BONE_COUNT
    drawn = stream.uniform(0, 2 * np.pi)
    phase = drawn if phase is None else phase
    amplitude = stream.uniform(0.34, 0.56) * manner.stride if walking else 0.0
    lean = stream.normal(0.05 if walking else 0.0, 0.03)
    twist = 0.16 * np.sin(phase) * (amplitude / 0.45) + stream.normal(0, 0.03)
    local[m.PELVIS] = turn(-0.5 * twist)
    local[m.CHEST] = turn(1.5 * twist) @ _forward(-lean)
    local[m.HEAD] = turn(stream.normal(0, 0.30) - 0.5 * twist) @ _forward(
        -abs(stream.normal(0.02, 0.12))
    )
    gesture = stream.choice(
        ("none", "phone", "pocket", "strap", "raised"), (0.66, 0.12, 0.12, 0.05, 0.05)
    )
    active = stream.integer(0, 2)
    for side in (0, 1):
        angle = phase + np.pi * side
        swing = amplitude * np.sin(angle)
        if walking:
            knee = 0.10 + 1.0 * amplitude / 0.45 * max(0.0, np.cos(angle)) ** 1.6 * stream.uniform(
                0.75, 1.05
            )
            ankle = -0.35 * max(0.0, -np.sin(angle)) * (amplitude / 0.45)
        else:
            knee, swing, ankle = abs(stream.normal(0, 0.06)), stream.normal(0, 0.05), 0.0
            ankle = knee - swing
        local[m.THIGH[side]] = _outward(
            stream.uniform(0.0, 0.05 if walking else 0.10), side
        ) @ _forward(swing + 0.06)
        local[m.SHIN[side]] = _forward(-knee)
        local[m.FOOT[side]] = turn((0.12, -0.12)[side]) @ _forward(
            ankle + (0.4 * knee - 0.5 * swing if walking else 0)
        )
        arm = -0.85 * swing * stream.uniform(0.7, 1.2) if walking else stream.normal(0.0, 0.08)
        elbow = stream.uniform(0.12, 0.35) + max(0.0, arm) * 0.8
        spread, inward = stream.uniform(0.02, 0.14), 0.0
        if manner.carrying == side:
            arm, elbow, spread = arm * 0.35, 0.12, 0.10
        elif side == active and gesture == "phone":
            arm, elbow, inward = stream.uniform(0.25, 0.6), stream.uniform(1.5, 2.0), 0.35
        elif side == active and gesture == "raised":
            arm, elbow, inward = stream.uniform(0.3, 0.5), stream.uniform(1.1, 1.5), 0.1
        elif gesture == "pocket":
            arm, elbow, spread, inward = -0.30, 0.55, 0.22, 0.30
        elif side == active and gesture == "strap":
            arm, elbow, spread, inward = 0.35, 2.0, 0.30, 0.55
        local[m.ARM[side]] = _outward(spread, side) @ _forward(arm)
        local[m.FOREARM[side]] = turn(-inward if side == 0 else inward) @ _forward(elbow)
        local[m.HAND[side]] = _forward(stream.normal(0.05, 0.1))
    return _motions(local, manner)


def _motions(local: list[FloatArray], manner: Manner) -> FloatArray:
    motions = np.zeros((m.BONE_COUNT, 3, 4))
    for bone, parent in enumerate(PARENTS):
        pivot, rotation = PIVOTS[bone], local[bone]
        step = np.concatenate([rotation, (pivot - rotation @ pivot)[:, None]], 1)
        if parent < 0:
            motions[bone] = step
        else:
            above = motions[parent]
            motions[bone, :, :3] = above[:, :3] @ step[:, :3]
            motions[bone, :, 3] = above[:, :3] @ step[:, 3] + above[:, 3]
    if manner.dangling and manner.carrying is not None:
        # A bag in the hand keeps hanging straight down, wherever the hand goes.
        hand = m.HAND[manner.carrying]
        grip = PIVOTS[hand] + np.array([0.0, -0.085, 0.012])
        motions[m.BAG, :, :3] = motions[m.PELVIS][:, :3]
        motions[m.BAG, :, 3] = (
            motions[hand, :, :3] @ grip + motions[hand, :, 3] - motions[m.BAG, :, :3] @ grip
        )
    return motions


def skin(mesh: Mesh, motions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Posed positions and normals, each float64 [N, 3]."""
    blended = (mesh.weights @ motions.reshape(m.BONE_COUNT, 12)).reshape(-1, 3, 4)
    rotation = blended[:, :, :3]
    positions = np.einsum("nij,nj->ni", rotation, mesh.positions) + blended[:, :, 3]
    normals = m.unit(np.einsum("nij,nj->ni", rotation, mesh.normals))
    return positions, normals


def joints(motions: FloatArray) -> FloatArray:
    """COCO-17 joints of a pose: float64 [17, 3], metres in body space."""
    chosen = motions[list(JOINT_BONES)]
    out: FloatArray = (chosen[:, :, :3] * JOINT_RESTS[:, None, :]).sum(-1) + chosen[:, :, 3]
    return out
