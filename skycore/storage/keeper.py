"""The history keeper: carries every revision of the live graph to the store, and says when it is there.

It reads the change log as a reader of *every* change and commits in one worker thread at a time; what comes
while a commit runs goes into the next one.  When the store fails, the keeper tries again for ever and the
live graph goes on; what the log could not hold meanwhile becomes a gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

import attrs
import structlog
import trio

from skycore.errors import StorageError
from skycore.graph.graph import Graph
from skycore.storage.absent import AbsentStore
from skycore.storage.contract import Gap, Mark, Record, RevisionRecord, StaleInterval, Store

log = structlog.get_logger(__name__)

MAX_BATCH = 4096
BACKLOG = 8192
"""Revisions waiting for a commit, from which on ``room`` makes the links wait."""
_SYNC_EACH = 1.0
_MAINTAIN_EACH = 5.0
# Between two pieces of upkeep the store's thread rests this many times as long as the first one took.
_REST = 4
_LEAST_REST, _LONGEST_REST = 0.02, 2.0
_SHOWN_GAPS = 32
_GATHER = 0.01
_FEW = 512
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 5.0


class HistoryKeeper:
    """Keeps the history of one graph in one store.

    ``run`` is started in a nursery.  ``put`` adds a record that is not a revision of the live graph; it is
    committed together with, or after, every revision made before.  ``committed`` is called on the event loop
    with the marks of each commit.
    """

    def __init__(self, graph: Graph, store: Store) -> None:
        self.graph = graph
        self.store = store
        self.error: str | None = None
        self.commits = 0
        self.revisions = 0
        self.committed = graph.log.end
        self._gathered = graph.log.end
        self.gaps = 0
        self.latest_gaps: deque[Gap] = deque(maxlen=_SHOWN_GAPS)
        self._cursor = graph.log.cursor(every=True)
        self._stale_cursor = graph.stale_log.cursor(every=True)
        self._extra: deque[tuple[int, Record]] = deque()
        self._wake = trio.Event()
        self._moved = trio.Event()
        self._listeners: list[Callable[[Mark], None]] = []
        self._oldest_unsaved = graph.clock()
        self._dirty = False
        self._committing = trio.Lock()
        self._uncommitted: list[Record] = []

    def put(self, *records: Record) -> None:
        """Store these too, not before any revision that the graph has made so far."""
        if isinstance(self.store, AbsentStore):
            # It would never be committed, and agents send what is not acknowledged again and again.
            return
        position = self.graph.log.end
        for record in records:
            if isinstance(record, Mark) and self.error is not None:
                # While nothing can be committed, one mark for each agent says it all.
                self._extra = deque(
                    (at, other) for at, other in self._extra if not (isinstance(other, Mark) and _same(other, record))
                )
            self._extra.append((position, record))
        self._wake.set()

    def on_commit(self, listener: Callable[[Mark], None]) -> Callable[[], None]:
        """Call the listener with each mark that was committed; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def backlog(self) -> int:
        """Records that wait for a commit."""
        return self._cursor.pending + len(self._extra)

    async def room(self) -> None:
        """Return when the backlog is small enough for more (at once while the store fails)."""
        while self.backlog > BACKLOG and self.error is None:
            await self._moved.wait()

    async def caught_up(self) -> None:
        """Return when all that was made before this call is committed."""
        end = self.graph.log.end
        while self.committed < end:
            await self._moved.wait()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wake_on, self._cursor.wait, lambda: bool(self._cursor.pending))
            nursery.start_soon(self._wake_on, self._stale_cursor.wait, lambda: bool(self._stale_cursor.pending))
            nursery.start_soon(self._sync_regularly)
            nursery.start_soon(self._maintain_regularly)
            task_status.started()
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                pause = _FIRST_PAUSE
                await self._gather_some()
                while (done := await self._commit_batch()) is not None:
                    if done:
                        await self._gather_some()
                        pause = _FIRST_PAUSE
                    else:
                        await trio.sleep(pause)
                        pause = min(pause * 2, _LAST_PAUSE)

    async def _gather_some(self) -> None:
        """Let some come together: a commit costs the event loop the same for few revisions as for many."""
        if self.backlog < _FEW:
            await trio.sleep(_GATHER)

    async def flush(self) -> None:
        """Commit what is there; for the end of the process.  Tries once."""
        while await self._commit_batch():
            pass

    async def _wake_on(self, wait: Callable[[], object], pending: Callable[[], bool]) -> None:
        while True:
            await wait()  # type: ignore[misc]
            self._wake.set()
            while pending():
                await self._moved.wait()

    async def _commit_batch(self) -> bool | None:
        """Commit what is waiting, up to a bound: whether that was possible, None when nothing was waiting.

        What cannot be committed stays the next batch: nothing younger is committed, or announced, before it.
        """
        async with self._committing:
            self._uncommitted = self._uncommitted or self._gather()
            records = self._uncommitted
            if not records:
                return None
            try:
                await trio.to_thread.run_sync(partial(self.store.commit, records))
            except StorageError as error:
                if self.error is None:
                    log.error("history cannot be stored; trying again", error=str(error))
                self.error = str(error)
                self._notify_moved()
                return False
            if self.error is not None:
                log.info("history is stored again")
            self.error = None
            self._uncommitted = []
            self._dirty = True
            self._oldest_unsaved = self.graph.clock()
            self.commits += 1
            self.revisions += sum(isinstance(record, RevisionRecord) for record in records)
            gaps = [record for record in records if isinstance(record, Gap)]
            self.gaps += len(gaps)
            self.latest_gaps.extend(gaps)
            self.committed = self._gathered
            self._notify_moved()
            self._announce(record for record in records if isinstance(record, Mark))
            return True

    def _gather(self) -> list[Record]:
        """The records of the next commit: a mark is in it with all that it vouches for, or neither is."""
        batch = self._cursor.read(MAX_BATCH)
        changes, end = batch.changes, batch.end
        position = next((position for position, _ in self._extra if position > end), end)
        if position > end and not batch.lost:
            # Else a death after this commit would leave a part of an entry, and the entry would come again.
            rest = self._cursor.read(position - end)
            changes, end, batch = [*changes, *rest.changes], rest.end, attrs.evolve(batch, lost=rest.lost)
        revisions = [RevisionRecord(revision) for revision in changes]
        records: list[Record] = []
        if batch.lost:
            records.append(Gap(self.graph.origin, self._oldest_unsaved, self.graph.clock(), batch.lost))
        records += [
            StaleInterval(change.origin, change.claimant, change.since, change.until)
            for change in self._stale_cursor.read().changes
        ]
        beside: list[RevisionRecord] = []
        while self._extra and self._extra[0][0] <= end:
            record = self._extra.popleft()[1]
            if isinstance(record, RevisionRecord):
                beside.append(record)
            else:
                records.append(record)
        self._gathered = end
        self._notify_moved()
        if beside:
            # The store is owed the revisions of an element in ascending order.
            revisions = sorted([*beside, *revisions], key=lambda record: record.revision.revision)
        return [*revisions, *records]

    async def _sync_regularly(self) -> None:
        while True:
            await trio.sleep(_SYNC_EACH)
            if self._dirty:
                self._dirty = False
                try:
                    await trio.to_thread.run_sync(self.store.sync)
                except StorageError as error:
                    log.error("history cannot be synced to disk", error=str(error))

    async def _maintain_regularly(self) -> None:
        failing = False
        while True:
            start = trio.current_time()
            more = False
            try:
                more = await trio.to_thread.run_sync(self.store.maintain)
                failing = False
            except StorageError as error:
                if not failing:
                    log.error("history cannot be compacted; trying again", error=str(error))
                failing = True
            rest = (trio.current_time() - start) * _REST
            await trio.sleep(max(_LEAST_REST, min(rest, _LONGEST_REST)) if more else _MAINTAIN_EACH)

    def _announce(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            for listener in list(self._listeners):
                listener(mark)

    def _notify_moved(self) -> None:
        self._moved.set()
        self._moved = trio.Event()


def _same(one: Mark, other: Mark) -> bool:
    return (one.origin, one.epoch) == (other.origin, other.epoch)
