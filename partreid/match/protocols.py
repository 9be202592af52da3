"""Which gallery images take part in a query's list, and which of them are right."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.types import DISTRACTOR, JUNK

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Protocol:
    """A named rule of evaluation.

    ``removed(identity, camera, identities, cameras) -> bool [Ng]`` says which gallery images a query may not
    see, besides junk (identity -1), which no query sees. Distractors (identity 0) are seen and always wrong.
    """

    name: str
    sentence: str
    removed: Callable[[int, int, Integers, Integers], Mask]

    def masks(self, identity: int, camera: int, identities: Integers, cameras: Integers) -> tuple[Mask, Mask]:
        """(relevant, valid), bool [Ng] each, for one query; relevant entries are always valid."""
        valid = ~(self.removed(identity, camera, identities, cameras) | (identities == JUNK))
        if identity in (DISTRACTOR, JUNK):
            return np.zeros_like(valid), valid
        return valid & (identities == identity), valid


def _same_shot(identity: int, camera: int, identities: Integers, cameras: Integers) -> Mask:
    same: Mask = (identities == identity) & (cameras == camera)
    return same


def _nothing(identity: int, camera: int, identities: Integers, cameras: Integers) -> Mask:
    return np.zeros(len(identities), np.bool_)


MARKET = Protocol("market1501", "images of the query's identity from the query's own camera are left out",
                  _same_shot)  # Market-1501, ICCV 2015
ANY_CAMERA = Protocol("any_camera", "nothing is left out but junk", _nothing)

PROTOCOLS = {protocol.name: protocol for protocol in (MARKET, ANY_CAMERA)}


def require_matches(protocol: Protocol, query_ids: Integers, query_cameras: Integers,
                    gallery_ids: Integers, gallery_cameras: Integers) -> None:
    """DataError, with the reason and a remedy, if no query has a right answer in the gallery."""
    queries = zip(query_ids.tolist(), query_cameras.tolist())
    if any(protocol.masks(i, c, gallery_ids, gallery_cameras)[0].any() for i, c in queries):
        return
    for name, ids in (("query", query_ids), ("gallery", gallery_ids)):
        if len(ids) == 0:
            raise DataError(f"nothing to score: the {name} set is empty")
    shared = np.intersect1d(query_ids, gallery_ids)
    if not (shared > DISTRACTOR).any():
        raise DataError(f"nothing to score: query and gallery share no identity (query: {_some(query_ids)}; "
                        f"gallery: {_some(gallery_ids)}). Check that both come from the same data set and "
                        f"that identities are read from the file names as meant")
    cameras = np.union1d(query_cameras, gallery_cameras)
    where = (f"all images come from one camera ({cameras[0]})" if len(cameras) == 1
             else "every right answer comes from its query's own camera")
    raise DataError(f"nothing to score: {where}, and under protocol '{protocol.name}' {protocol.sentence}. "
                    f"Give the images their true cameras, or use protocol '{ANY_CAMERA.name}'")


def _some(ids: Integers) -> str:
    distinct = np.unique(ids)
    return ", ".join(map(str, distinct[:4].tolist())) + (f" .. {distinct[-1]}" if len(distinct) > 4 else "")
