"""Which gallery images take part in a query's list, and which of them are right."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ArgumentError, DataError
from partreid.utils.arguments import door, fits, quoted

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Special: TypeAlias = (
    int | AbstractSet[int] | Sequence[int] | None
)  # identities that do not name a person


@dataclass(frozen=True)
class Protocol:
    """A named rule of evaluation.

    ``removed(identity, camera, identities, cameras) -> bool [Ng]`` says which gallery images a
    query may not see. ``own_only``: it removes images of the query's own identity alone.
    ``needs_cameras``: it reads the cameras. ``draws``: 0 ranks the whole gallery; n > 0 says that a
    score is the mean over n galleries in each of which every person has one image, drawn at random
    ("single shot").

    No identity is special by itself. A data set may say that some are distractors, seen and wrong
    for every query, or junk, seen by no query.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import MARKET
        >>> ids, cams = np.array([7, 7, 8, -1]), np.array([2, 1, 1, 2])
        >>> relevant, valid = MARKET.masks(7, 1, ids, cams, junk=-1)  # person 7, camera 1
        >>> relevant.tolist(), valid.tolist()
        ([True, False, False, False], [True, False, True, False])
    """

    name: str
    sentence: str
    removed: Callable[[int, int, Integers, Integers], Mask]
    # it removes images of the query's own identity alone, so the rest need no look
    own_only: bool = False
    draws: int = 0
    needs_cameras: bool = True

    def masks(
        self,
        identity: int,
        camera: int,
        identities: Integers,
        cameras: Integers,
        *,
        distractor: Special = None,
        junk: Special = None,
    ) -> tuple[Mask, Mask]:
        """What one query may see, and which of that is right.

        Args:
            identity: of the query.
            camera: of the query.
            identities: of the gallery, int64 [Ng].
            cameras: of the gallery, int64 [Ng].
            distractor: an identity, or several, that is wrong for every query.
            junk: an identity, or several, that no query sees.

        Returns:
            (relevant, valid), bool [Ng] each; relevant entries are always valid.
        """
        wrong, unseen = special("distractor", distractor), special("junk", junk)
        valid = ~self.removed(identity, camera, identities, cameras)
        if unseen:
            valid &= ~np.isin(identities, sorted(unseen))
        if identity in wrong or identity in unseen:
            return np.zeros_like(valid), valid
        return valid & (identities == identity), valid


def special(name: str, ids: Special) -> frozenset[int]:
    """Identities that do not name a person: one, several, or none (None).

    Raises:
        ArgumentError: they are no whole numbers.
    """
    if ids is None:
        return frozenset()
    each: Any = (ids,) if fits(ids, int) else ids
    if not fits(each, AbstractSet | Sequence[int]) or not all(fits(one, int) for one in each):
        raise ArgumentError(
            f"{name} must be an identity, several of them or None, got {quoted(ids)}"
        )
    return frozenset(int(one) for one in each)


class Lists:
    """For any query the gallery indices that are right and that are removed, junk apart.

    Agrees with :meth:`Protocol.masks`, without a pass over the gallery per query.

    Args:
        protocol: the rule.
        g_ids: int64 [Ng].
        g_cams: int64 [Ng].
        distractor: an identity, or several, that is wrong for every query.
        junk: an identity, or several, that no query sees.
    """

    @door
    def __init__(
        self,
        protocol: Protocol,
        *,
        g_ids: Integers,
        g_cams: Integers,
        distractor: Special = None,
        junk: Special = None,
    ) -> None:
        self.protocol, self.identities, self.cameras = protocol, g_ids, g_cams
        self._wrong, self._unseen = special("distractor", distractor), special("junk", junk)
        self._out = np.isin(g_ids, sorted(self._unseen))
        self.junk = np.flatnonzero(self._out)
        order = np.argsort(g_ids, kind="stable")
        people, starts = np.unique(g_ids[order], return_index=True)
        self._images = (
            dict(zip(people.tolist(), np.split(order, starts[1:]), strict=True))
            if len(people)
            else {}
        )

    def of(self, identity: int, camera: int) -> tuple[Integers, Integers]:
        """(right, removed) int64 indices, ascending."""
        if not self.protocol.own_only:
            right, valid = self.protocol.masks(
                identity,
                camera,
                self.identities,
                self.cameras,
                distractor=self._wrong,
                junk=self._unseen,
            )
            return np.flatnonzero(right), np.flatnonzero(~valid & ~self._out)
        images = self._images.get(identity, np.empty(0, np.int64))
        gone = self.protocol.removed(
            identity, camera, self.identities[images], self.cameras[images]
        )
        if identity in self._unseen:
            return images[:0], images[:0]
        if identity in self._wrong:
            return images[:0], images[gone]
        return images[~gone], images[gone]


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
ANY_CAMERA = Protocol(
    "any_camera", "nothing is left out but junk", _nothing, own_only=True, needs_cameras=False
)
NO_CAMERA = Protocol(
    "no_camera",
    "nobody knows which camera saw an image, so nothing is left out but junk; scores do not "
    "compare with those across cameras",
    _nothing,
    own_only=True,
    needs_cameras=False,
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
    *,
    q_ids: Integers,
    g_ids: Integers,
    q_cams: Integers,
    g_cams: Integers,
    distractor: Special = None,
    junk: Special = None,
) -> None:
    """Refuse what has nothing to score, before any work.

    Args:
        protocol: the rule.
        q_ids: int64 [Nq].
        g_ids: int64 [Ng].
        q_cams: int64 [Nq].
        g_cams: int64 [Ng].
        distractor: an identity, or several, that is wrong for every query.
        junk: an identity, or several, that no query sees.

    Raises:
        DataError: no query has a right answer in the gallery; with the reason and a remedy.
    """
    nobody = special("distractor", distractor) | special("junk", junk)
    queries = zip(q_ids.tolist(), q_cams.tolist())
    if any(
        identity not in nobody
        and protocol.masks(identity, camera, g_ids, g_cams, junk=junk)[0].any()
        for identity, camera in queries
    ):
        return
    for name, ids in (("query", q_ids), ("gallery", g_ids)):
        if len(ids) == 0:
            raise DataError(f"nothing to score: the {name} set is empty")
    if not set(np.intersect1d(q_ids, g_ids).tolist()) - nobody:
        raise DataError(
            f"nothing to score: query and gallery share no identity (query: {_some(q_ids)}; "
            f"gallery: {_some(g_ids)}). Check that both come from the same data set and that "
            "identities are read from the file names as meant"
        )
    cameras = np.union1d(q_cams, g_cams)
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
