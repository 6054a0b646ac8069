"""The recorder: writes what an agent's graph becomes to the spool, from where the links send it.

An epoch begins with the agent's whole state, once its probes have made their first inventory, and goes on
with every revision in order.  A state can be asked for again at any time (a new analyzer, or one that was
away for too long); it is written between two changes, where it belongs.
"""

from __future__ import annotations

from functools import partial

import structlog
import trio

from skycore.cluster import messages
from skycore.cluster.messages import Changes, Entry, Gap, Sync
from skycore.cluster.spool import Spool
from skycore.graph.graph import Graph

log = structlog.get_logger(__name__)

_LIMIT = 8192
_SYNC_TO_DISK_EACH = 1.0


class Recorder:
    """Writes one graph's changes to one spool; ``run`` is started in a nursery when the first inventory is made."""

    def __init__(self, graph: Graph, spool: Spool) -> None:
        self.graph = graph
        self.spool = spool
        self.epoch = spool.epoch
        self.seq = 0
        self.written = 0
        self.last_sync = 0
        self.revisions = 0
        self.lost = 0
        self._sync_wanted = True
        self._idle: trio.CancelScope | None = None
        self._grown = trio.Event()
        self._since = graph.clock()

    def want_sync(self) -> None:
        """Have the whole state written after the changes made so far."""
        self._sync_wanted = True
        if self._idle is not None:
            self._idle.cancel()

    async def grown(self, seq: int) -> None:
        """Return when there are entries after ``seq``."""
        while self.written <= seq:
            await self._grown.wait()

    async def run(self) -> None:
        """Record until cancelled."""
        cursor = self.graph.log.cursor(every=True)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sync_to_disk)
                while True:
                    batch = cursor.read(_LIMIT)
                    entries: list[Entry] = []
                    if batch.lost:
                        self.lost += batch.lost
                        log.warning(
                            "changes came faster than they could be written; a gap is recorded", lost=batch.lost
                        )
                        self.seq += 1
                        entries.append(Gap(self.epoch, self.seq, self._since, self.graph.clock(), batch.lost))
                    self._since = self.graph.clock()
                    if batch.changes:
                        for elements, owners in messages.parts(batch.changes):
                            self.seq += 1
                            entries.append(Changes(self.epoch, self.seq, elements, owners))
                        self.revisions += len(batch.changes)
                    if self._sync_wanted and not cursor.pending:
                        self._sync_wanted = False
                        entries += self._state()
                    if not entries:
                        with trio.CancelScope() as self._idle:
                            await cursor.wait()
                        self._idle = None
                        continue
                    await trio.to_thread.run_sync(partial(self._write, entries))
                    self.written = self.seq
                    self._grown.set()
                    self._grown = trio.Event()
        finally:
            cursor.close()

    def _state(self) -> list[Entry]:
        now = self.graph.clock()
        cut = list(messages.parts([*self.graph.nodes.values(), *self.graph.edges.values()]))
        entries: list[Entry] = []
        for part, (elements, owners) in enumerate(cut):
            self.seq += 1
            entries.append(Sync(self.epoch, self.seq, part, part == len(cut) - 1, now, elements, owners))
        self.last_sync = self.seq
        return entries

    def _write(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.spool.append(entry.seq, entry.seq, messages.encode(entry))

    async def _sync_to_disk(self) -> None:
        while True:
            await trio.sleep(_SYNC_TO_DISK_EACH)
            await trio.to_thread.run_sync(self.spool.sync)
