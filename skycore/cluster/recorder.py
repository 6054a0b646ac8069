"""The recorder: writes what an agent's graph becomes to the spool, from where the links send it.

An epoch begins with the agent's whole state, once its probes have made their first inventory, and goes on
with every revision in order.  A state can be asked for again at any time (a new analyzer, or one that was
away for too long); it is written between two changes, where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import msgspec
import structlog
import trio

from skycore.bus import Cursor
from skycore.cluster import messages
from skycore.cluster.messages import Changes, Gap, Sync
from skycore.cluster.spool import Spool
from skycore.errors import StorageError
from skycore.graph.element import Revision
from skycore.graph.graph import Graph

log = structlog.get_logger(__name__)

_LIMIT = 8192
_SYNC_TO_DISK_EACH = 1.0


class Recorder:
    """Writes one graph's changes to one spool; ``run`` is started in a nursery when the first inventory is made.

    Entries are numbered by what they hold: a change counts one, a part of a state one, a gap what it lost.
    """

    def __init__(self, graph: Graph, spool: Spool) -> None:
        self.graph = graph
        self.spool = spool
        self.epoch = spool.epoch
        self.seq = 0
        self.written = 0
        self.first_of_sync = 0
        self.last_sync = 0
        self.revisions = 0
        self.lost = 0
        self.error: str | None = None
        self._sync_wanted = True
        self._idle: trio.CancelScope | None = None
        self._grown = trio.Event()
        self._since = graph.clock()
        self._position = 0

    def want_sync(self) -> None:
        """Have the whole state written after the changes made so far."""
        self._sync_wanted = True
        if self._idle is not None:
            self._idle.cancel()

    async def grown(self, seq: int) -> None:
        """Return when there are entries after ``seq``."""
        while self.written <= seq:
            await self._grown.wait()

    async def caught_up(self) -> None:
        """Return when every change that was made before this call is written."""
        end = self.graph.log.end
        while self._position < end:
            await self._grown.wait()

    async def run(self) -> None:
        """Record until cancelled."""
        cursor = self.graph.log.cursor(every=True)
        self._position = cursor.position
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sync_to_disk)
                while True:
                    if not await self._record(cursor):
                        with trio.CancelScope() as self._idle:
                            await cursor.wait()
                        self._idle = None
        finally:
            cursor.close()

    async def _record(self, cursor: Cursor[Revision]) -> bool:
        """Write what is there; False when nothing was."""
        batch = cursor.read(_LIMIT)
        now = self.graph.clock()
        entries: list[_Entry] = []
        if batch.lost:
            log.warning("changes came faster than they could be written; a gap is recorded", lost=batch.lost)
            entries.append(self._entry(batch.lost, lambda seq: Gap(self.epoch, seq, self._since, now, batch.lost)))
            self.lost += batch.lost
        for elements, owners in messages.parts(batch.changes) if batch.changes else ():
            entries.append(self._entry(len(elements), partial(_changes, self.epoch, elements, owners)))
        self.revisions += len(batch.changes)
        if self._sync_wanted and not cursor.pending:
            self._sync_wanted = False
            entries += self._state(now)
        if entries:
            await trio.to_thread.run_sync(partial(self._write, entries, self._since, now))
            self.written = self.seq
            self._position = batch.end
            self._grown.set()
            self._grown = trio.Event()
        self._since = now
        return bool(entries)

    def _entry(self, numbers: int, make: Callable[[int], messages.Entry]) -> _Entry:
        first = self.seq + 1
        self.seq += numbers
        return _Entry(first, self.seq, make(self.seq))

    def _state(self, now: int) -> list[_Entry]:
        cut = list(messages.parts([*self.graph.nodes.values(), *self.graph.edges.values()]))
        entries = [
            self._entry(1, partial(_sync, self.epoch, part, part == len(cut) - 1, now, elements, owners))
            for part, (elements, owners) in enumerate(cut)
        ]
        self.first_of_sync, self.last_sync = entries[0].first, self.seq
        return entries

    def _write(self, entries: list[_Entry], start: int, end: int) -> None:
        for entry in entries:
            try:
                self.spool.append(entry.first, entry.last, messages.encode(entry.message), start_ms=start, end_ms=end)
            except StorageError as error:
                self.spool.lose(entry.first, entry.last, start_ms=start, end_ms=end)
                if self.error is None:
                    log.error("the spool takes nothing; what is lost becomes a gap in history", error=str(error))
                self.error = str(error)
            else:
                self.error = None

    async def _sync_to_disk(self) -> None:
        while True:
            await trio.sleep(_SYNC_TO_DISK_EACH)
            try:
                await trio.to_thread.run_sync(self.spool.sync)
            except StorageError as error:
                self.error = str(error)


@attrs.frozen
class _Entry:
    first: int
    last: int
    message: messages.Entry


def _changes(epoch: int, elements: list[msgspec.Raw], owners: list[str], seq: int) -> Changes:
    return Changes(epoch, seq, elements, owners)


def _sync(epoch: int, part: int, last: bool, at: int, elements: list[msgspec.Raw], owners: list[str], seq: int) -> Sync:
    return Sync(epoch, seq, part, last, at, elements, owners)
