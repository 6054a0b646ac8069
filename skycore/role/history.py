"""What an analyzer knows from before its start, and how it goes on when its store cannot tell."""

from __future__ import annotations

from typing import final

import attrs
import structlog

from skycore.errors import StorageError, StoreInUse
from skycore.graph.element import Revision
from skycore.role.floor import RevisionFloor
from skycore.storage.absent import AbsentStore
from skycore.storage.contract import StaleInterval, Store

log = structlog.get_logger(__name__)


@final
@attrs.frozen
class Memory:
    """An open store, and what it held at the start.

    ``floor`` is a revision number that no element has exceeded.  ``lost`` is the same for elements in ``living``, and
    0 when no number can have been given to them that the store does not know.
    """

    store: Store
    living: list[Revision]
    marks: dict[tuple[str, int], int]
    stale: list[StaleInterval]
    floor: int
    lost: int


def recall(store: Store, floor: RevisionFloor) -> Memory:
    """Open the store and read what the start needs; without a usable store there is no past.

    Raises StoreInUse: two analyzers must not share a folder.
    """
    try:
        store.open()
        highest, living = store.highest_revision(), list(store.current())
        marks, stale = store.marks(), store.open_stale_intervals()
    except StoreInUse:
        raise
    except StorageError as error:
        store.close()
        log.error(
            "history cannot be used: the analyzer runs without it and leaves what there is untouched",
            error=str(error),
        )
        store, highest, living, marks, stale = AbsentStore(str(error)), 0, [], {}, []
    reserved = _reserve(floor)
    return Memory(store, living, marks, stale, max(highest, reserved), reserved if reserved > highest else 0)


def _reserve(floor: RevisionFloor) -> int:
    try:
        return floor.start()
    except StorageError as error:
        log.error("revision numbers cannot be reserved; after a crash some may be given again", error=str(error))
        return floor.known
