"""Which gallery images take part in a query's list, and which of them are right."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.types import DISTRACTOR, JUNK
from partreid.utils.arguments import door

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Protocol:
    """A named rule of evaluation.

    ``removed(identity, camera, identities, cameras) -> bool [Ng]`` says which gallery images a
    query may not see, besides junk (identity -1), which no query sees. Distractors (identity 0) are
    seen and always wrong. ``draws``: 0 ranks the whole gallery; n > 0 says that a score is the mean
    over n galleries in each of which every person has one image, drawn at random ("single shot").
    """

    name: str
    sentence: str
    removed: Callable[[int, int, Integers, Integers], Mask]
    # it removes images of the query's own identity alone, so the rest need no look
    own_only: bool = False
    draws: int = 0

    def masks(
        self, identity: int, camera: int, identities: Integers, cameras: Integers
    ) -> tuple[Mask, Mask]:
        """(relevant, valid), bool [Ng] each, for one query; relevant entries are always valid."""
        valid = ~(self.removed(identity, camera, identities, cameras) | (identities == JUNK))
        if identity in (DISTRACTOR, JUNK):
            return np.zeros_like(valid), valid
        return valid & (identities == identity), valid


class Lists:
    """For any query the gallery indices that are right and that are removed, junk apart.

    identities, cameras: int64 [Ng]. Agrees with :meth:`Protocol.masks`, without a pass over the
    gallery per query.
    """

    @door
    def __init__(self, protocol: Protocol, identities: Integers, cameras: Integers) -> None:
        self.protocol, self.identities, self.cameras = protocol, identities, cameras
        self.junk = np.flatnonzero(identities == JUNK)
        order = np.argsort(identities, kind="stable")
        people, starts = np.unique(identities[order], return_index=True)
        self._images = (
            dict(zip(people.tolist(), np.split(order, starts[1:]), strict=True))
            if len(people)
            else {}
        )

    def of(self, identity: int, camera: int) -> tuple[Integers, Integers]:
        """(right, removed) int64 indices, ascending."""
        if not self.protocol.own_only:
            right, valid = self.protocol.masks(identity, camera, self.identities, self.cameras)
            return np.flatnonzero(right), np.flatnonzero(~valid & (self.identities != JUNK))
        own = self._images.get(identity, np.empty(0, np.int64))
        gone = self.protocol.removed(identity, camera, self.identities[own], self.cameras[own])
        if identity in (DISTRACTOR, JUNK):
            return own[:0], own[gone] if identity != JUNK else own[:0]
        return own[~gone], own[gone]


def _same_shot(identity: int, camera: int, identities: Integers, cameras: Integers) -> Mask:
    same: Mask = (identities == identity) & (cameras == camera)
    return same


def _same_camera(identity: int, camera: int, identities: Integers, cameras: Integers) -> Mask:
    same: Mask = cameras == camera
    return same


def _nothing(identity: int, camera: int, identities: Integers, cameras: Integers) -> Mask:
    return np.zeros(len(identities), np.bool_)


MARKET = Protocol(
    "market1501",
    "images of the query's identity from the query's own camera are left out",
    _same_shot,
    own_only=True,
)  # Market-1501, ICCV 2015
ANY_CAMERA = Protocol("any_camera", "nothing is left out but junk", _nothing, own_only=True)
NO_CAMERA = Protocol(
    "no_camera",
    "nobody knows which camera saw an image, so nothing is left out but junk; scores do not "
    "compare with those across cameras",
    _nothing,
    own_only=True,
)
SINGLE_SHOT = Protocol(
    "single_shot",
    "images from the query's own camera are left out, and every person in the gallery has one "
    "image, drawn at random ten times",
    _same_camera,
    draws=10,
)  # CUHK01, classic CUHK03

PROTOCOLS = {protocol.name: protocol for protocol in (MARKET, ANY_CAMERA, NO_CAMERA, SINGLE_SHOT)}


@door
def require_matches(
    protocol: Protocol,
    query_ids: Integers,
    query_cameras: Integers,
    gallery_ids: Integers,
    gallery_cameras: Integers,
) -> None:
    """DataError, with the reason and a remedy, if no query has a right answer in the gallery."""
    queries = zip(query_ids.tolist(), query_cameras.tolist())
    if any(protocol.masks(i, c, gallery_ids, gallery_cameras)[0].any() for i, c in queries):
        return
    for name, ids in (("query", query_ids), ("gallery", gallery_ids)):
        if len(ids) == 0:
            raise DataError(f"nothing to score: the {name} set is empty")
    shared = np.intersect1d(query_ids, gallery_ids)
    if not (shared > DISTRACTOR).any():
        raise DataError(
            f"nothing to score: query and gallery share no identity (query: {_some(query_ids)}; "
            f"gallery: {_some(gallery_ids)}). Check that both come from the same data set and that "
            "identities are read from the file names as meant"
        )
    cameras = np.union1d(query_cameras, gallery_cameras)
    where = (
        f"all images come from one camera ({cameras[0]})"
        if len(cameras) == 1
        else "every right answer comes from its query's own camera"
    )
    raise DataError(
        f"nothing to score: {where}, and under protocol '{protocol.name}' {protocol.sentence}. "
        f"Give the images their true cameras, or use protocol '{ANY_CAMERA.name}'"
    )


def _some(ids: Integers) -> str:
    distinct = np.unique(ids)
    return ", ".join(map(str, distinct[:4].tolist())) + (
        f" .. {distinct[-1]}" if len(distinct) > 4 else ""
    )
