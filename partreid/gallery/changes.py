"""What has changed in a gallery since some version of it, whoever changed it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.gallery.search import Table

NEVER = -1  # the version of what has not been read yet
_KEPT = 8  # entries of a memo


@dataclass(frozen=True, eq=False)
class Changes:
    """Since a version of the crops.

    version: as they are now. crops: how many there are. gone: int64 [n], ids of those removed
    since; None where that is not listed any more, so that all must be read anew.
    """

    version: int
    crops: int
    gone: NDArray[np.int64] | None


def since(table: Table, version: int) -> Changes:
    """Inside a transaction that sees one version of the crops."""
    now, floor, crops = table.rows("SELECT version, floor, crops FROM gallery")[0]
    if version < floor or version == NEVER:
        return Changes(now, crops, None)
    gone: list[Any] = []
    if version != now:
        gone = table.rows("SELECT crop FROM removed WHERE version > %s", (version,))
    return Changes(now, crops, np.array([row[0] for row in gone], np.int64))


class Memo:
    """What was made of the crops of a table, until these change."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Changes, Any]] = {}

    def get(
        self, table: Table, version: int, key: Hashable, make: Callable[[], Any], growth: float
    ) -> Any:
        """See :meth:`partreid.gallery.Gallery.memo`; inside a transaction that sees this
        version.
        """
        made, value = self._kept.pop(key, (Changes(NEVER, 0, None), None))
        now = made if made.version == version else since(table, made.version)
        if now is not made and (
            now.gone is None or len(now.gone) or now.crops > made.crops * (1 + growth)
        ):
            made, value = now, make()
        self._kept[key] = made, value
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]  # the one asked for longest ago
        return value
