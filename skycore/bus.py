"""The change log: one ordered record of changes, read by cursors that never block the writer.

Two ways to read, chosen by the reader:

* *every*: each change, in order, as long as the reader keeps within the log's bound.  A reader that falls
  further behind is told so (``Batch.lost``) and continues with the latest change of each key it missed.
  Used where each change counts: the history writer, the spool.
* *latest*: for each key that changed since the last read, its latest change, once.  Nothing to fall behind:
  the memory used is bounded by the number of keys.  Used where state counts: subscribers, indexes, joins.

A deletion is a change like any other (a *tombstone*).  The log forgets a change when every reader has passed it, so it
takes memory for what the slowest reader has not read, however many keys there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

import attrs
import trio

Change = TypeVar("Change")


@attrs.frozen
class Batch(Generic[Change]):
    """What one read returned.

    ``end`` is the cursor's new position.  ``lost`` counts changes that were replaced by the latest ones of
    their keys because the reader had fallen behind the log's bound; ``lost_since`` is the position from which.
    """

    changes: list[Change]
    start: int
    end: int
    lost: int = 0


class ChangeLog(Generic[Change]):
    """One ordered record of changes of keyed things.

    ``key`` names the thing that a change is about, ``size`` gives a change's weight in bytes.  At most ``bound`` bytes
    of changes are kept for readers of *every* change.  Positions are counts of changes since the log was made.
    """

    def __init__(
        self,
        *,
        key: Callable[[Change], Hashable],
        size: Callable[[Change], int],
        bound: int = 64 << 20,
    ) -> None:
        self._key = key
        self._size = size
        self._bound = bound
        self._kept: deque[Change] = deque()
        self._kept_bytes = 0
        self.end = 0
        # Ordered by last change: the newest is at the end.
        self._latest: dict[Hashable, tuple[int, Change]] = {}
        self._remembered = 0
        self._cursors: set[Cursor[Change]] = set()
        self._every_cursors: set[Cursor[Change]] = set()
        self._waiting = trio.lowlevel.ParkingLot()

    def append(self, change: Change) -> None:
        """Record a change; O(1) whoever reads."""
        key = self._key(change)
        position = self.end
        self.end = position + 1
        latest = self._latest
        latest.pop(key, None)
        latest[key] = (position, change)
        if self._every_cursors:
            self._kept.append(change)
            self._kept_bytes += self._size(change)
            while self._kept_bytes > self._bound:
                self._kept_bytes -= self._size(self._kept.popleft())
        elif self._kept:
            self._kept.clear()
            self._kept_bytes = 0
        if not position & 0x3FF:
            self._forget()
        if self._waiting:
            self._waiting.unpark_all()

    def cursor(self, *, every: bool = False) -> Cursor[Change]:
        """A reader that starts at the end of the log; close it when done."""
        cursor = Cursor(self, every)
        self._cursors.add(cursor)
        if every:
            self._every_cursors.add(cursor)
        return cursor

    async def beyond(self, position: int) -> None:
        """Return as soon as the log's end is beyond a position (always a checkpoint)."""
        if position < self.end:
            await trio.lowlevel.checkpoint()
        while position >= self.end:
            await self._waiting.park()

    @property
    def first_kept(self) -> int:
        return self.end - len(self._kept)

    @property
    def behind(self) -> int:
        """How many changes the slowest reader has not read yet."""
        return self.end - min((cursor.position for cursor in self._cursors), default=self.end)

    def _trim(self) -> None:
        """Let go of changes that no reader of *every* change still needs."""
        needed = min((cursor.position for cursor in self._every_cursors), default=self.end)
        for _ in range(min(needed - self.first_kept, len(self._kept))):
            self._kept_bytes -= self._size(self._kept.popleft())

    def _forget(self) -> None:
        """Forget what every reader has passed; now and then, so that it costs little for each change."""
        if len(self._latest) < 2 * self._remembered:
            return
        passed = min((cursor.position for cursor in self._cursors), default=self.end)
        if passed == self.end:
            self._latest = {}
        else:
            self._latest = {key: entry for key, entry in self._latest.items() if entry[0] >= passed}
        self._remembered = len(self._latest)

    def _since(self, position: int) -> list[Change]:
        """The latest change of each key that changed at or after ``position``, oldest first."""
        found: list[Change] = []
        for at, change in reversed(self._latest.values()):
            if at < position:
                break
            found.append(change)
        found.reverse()
        return found

    def _every(self, position: int, limit: int) -> Iterator[Change]:
        offset = position - self.first_kept
        kept = self._kept
        if offset == 0 and limit >= len(kept):
            return iter(list(kept))
        return (kept[index] for index in range(offset, min(offset + limit, len(kept))))


class Cursor(Generic[Change]):
    """One reader's place in a change log."""

    def __init__(self, log: ChangeLog[Change], every: bool) -> None:
        self._log = log
        self.every = every
        self.position = log.end
        self.closed = False

    @property
    def pending(self) -> int:
        """How many changes were appended since the last read."""
        return self._log.end - self.position

    def read(self, limit: int = 1 << 30) -> Batch[Change]:
        """What changed since the last read; never waits.  ``limit`` bounds a read of *every* change."""
        log = self._log
        start = self.position
        if start == log.end:
            return Batch([], start, start)
        if self.every and start >= log.first_kept:
            changes = list(log._every(start, limit))
            self.position = start + len(changes)
            log._trim()
            return Batch(changes, start, self.position)
        changes = log._since(start)
        self.position = log.end
        lost = self.position - start - len(changes) if self.every else 0
        log._trim()
        return Batch(changes, start, self.position, lost)

    async def wait(self) -> None:
        """Return as soon as there is something to read (at once when there is; always a checkpoint)."""
        await self._log.beyond(self.position)

    def close(self) -> None:
        """Stop reading; the log forgets this reader.  Idempotent."""
        if not self.closed:
            self.closed = True
            self._log._cursors.discard(self)
            self._log._every_cursors.discard(self)
            self._log._trim()
            self._log._forget()
