"""The last minutes of history in memory, so that asking for a moment ago does not touch the disk.

It holds what each living element was when the window begins, and every revision committed since, in the order of
commit.  What it holds of living elements is shared with the live graph; the revisions are bounded in bytes and time.

Moments before ``horizon`` cannot be answered from it: a revision that was current then has been let go.  A revision
from the future (an agent whose clock is ahead by more than the window) moves the horizon there, so that the disk
answers until then.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, final

from skycore.graph.element import Revision
from skycore.graph.past import between, difference, since_of
from skycore.graph.view import Difference

_OVERHEAD: Final = 400
"""Bytes that a revision takes in memory besides its JSON, about."""


@final
class RecentWindow:
    """Revisions of the last ``seconds``, at most ``bytes`` of them.  Methods may be called from any thread."""

    def __init__(self, *, bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = bytes
        self._most_seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._base: dict[str, Revision] | None = None
        self._newest_in_base = 0
        self._rows: deque[tuple[float, int, Revision]] = deque()
        self._bytes = 0
        self.horizon = 0

    def begin(self, living: Iterable[Revision], horizon: int) -> None:
        """Begin with the last revision of each living element; before ``horizon`` there were others."""
        base = {revision.id: revision for revision in sorted(living, key=lambda one: (one.created_at, one.id))}
        with self._lock:
            self._base = base
            self._newest_in_base = max(map(since_of, base.values()), default=0)
            self._rows.clear()
            self._bytes = 0
            self.horizon = horizon

    def end(self) -> None:
        """Let go of everything; nothing is answered until ``begin``."""
        with self._lock:
            self._base = None
            self._rows.clear()
            self._bytes = 0

    @property
    def usable(self) -> bool:
        return self._base is not None

    def add(self, revisions: Iterable[Revision]) -> None:
        """Take in what was committed, all at once for readers."""
        with self._lock:
            if self._base is None:
                return
            now = self._clock()
            for revision in revisions:
                self._rows.append((now, since_of(revision), revision))
                self._bytes += len(revision.json) + _OVERHEAD
            while self._rows and (
                self._bytes > self._most_bytes or self._rows[0][0] < now - self._most_seconds or not self._most_bytes
            ):
                _, since, revision = self._rows.popleft()
                self._let_go(self._base, revision, since)

    def _let_go(self, base: dict[str, Revision], revision: Revision, since: int) -> None:
        self._bytes -= len(revision.json) + _OVERHEAD
        if revision.deleted_at is not None:
            base.pop(revision.id, None)
            # At its own time the tombstone is still part of the answer.
            self.horizon = max(self.horizon, since + 1)
            return
        if revision.id in base:
            self.horizon = max(self.horizon, since)
        base[revision.id] = revision
        self._newest_in_base = max(self._newest_in_base, since)

    def _at_hand(self, start: int) -> tuple[dict[str, Revision], list[tuple[float, int, Revision]], int] | None:
        with self._lock:
            if self._base is None or start < self.horizon:
                return None
            return dict(self._base), list(self._rows), self._newest_in_base

    def last_revisions(self, at: int, start: int) -> Iterable[Revision] | None:
        """The revision of each element at ``at``, without those deleted before ``start``; None: ask the disk."""
        held = self._at_hand(start)
        if held is None:
            return None
        base, rows, newest = held
        found = base if newest <= at else {id: one for id, one in base.items() if since_of(one) <= at}
        ended: set[str] = set()
        for _, since, revision in rows:
            if since <= at:
                found[revision.id] = revision
                if revision.deleted_at is not None:
                    ended.add(revision.id)
        for id in ended:
            deleted = found[id].deleted_at
            if deleted is not None and deleted < start:
                del found[id]
        return found.values()

    def revisions_between(self, start: int, end: int) -> list[Revision] | None:
        """Every revision that was current in the period; None: ask the disk."""
        held = self._at_hand(start - 1)
        if held is None:
            return None
        base, rows, _ = held
        lives: dict[str, list[Revision]] = {}
        for _, _, revision in rows:
            lives.setdefault(revision.id, []).append(revision)
        found: list[Revision] = []
        for id, one in base.items():
            if id in lives:
                lives[id].insert(0, one)
            elif since_of(one) <= end:
                found.append(one)
        for life in lives.values():
            found.extend(between(life, start, end))
        return found

    def diff(self, start: int, end: int) -> Difference | None:
        """What changed from ``start`` to ``end``; None: ask the disk."""
        held = self._at_hand(start)
        if held is None:
            return None
        base, rows, newest = held
        ids = {revision.id for _, since, revision in rows if start < since <= end}
        if newest > start:
            ids |= {id for id, one in base.items() if start < since_of(one) <= end}
        sides: list[dict[str, Revision]] = []
        for at in (start, end):
            side = {id: base[id] for id in ids if id in base and since_of(base[id]) <= at}
            side.update({one.id: one for _, since, one in rows if since <= at and one.id in ids})
            sides.append(side)
        return difference(*sides)

    @property
    def held(self) -> tuple[int, int]:
        """(revisions, bytes) that are kept besides those of living elements."""
        return len(self._rows), self._bytes
