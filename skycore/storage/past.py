"""A timeline of what the embedded store holds, so that a moment long ago is answered in milliseconds.

Nothing of it is there until somebody asks for the past.  Then it is made beside the store's other upkeep, piece by
piece, from one snapshot of the file, and what is committed meanwhile and later is added before the next question.
Until it is ready the file answers.  It goes when nobody has asked for some time.  Of a very large store it
covers the later part.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence, Set
from contextlib import AbstractContextManager, ExitStack, closing
from itertools import islice
from typing import TYPE_CHECKING, Final, final

from skycore.graph.element import Revision, revision_from_json
from skycore.storage.block import SERIES_KEYS, last_of_block, owners_of, states_of_block
from skycore.storage.reading import FOR_EVER, highest, revisions_of

if TYPE_CHECKING:
    from skycore.graph.timeline import Timeline
    from skycore.graph.timeview import TimelineView

STATES: Final = 1_500_000
"""The most that one timeline holds, about; each takes some 75 bytes."""

_AT_A_TIME: Final = 512
_IDLE_SECONDS: Final = 1800.0
_BLOCKS = """
    SELECT block.runs, series.data FROM span JOIN block USING (number) LEFT JOIN series USING (number)
    WHERE span.until >= ? ORDER BY span.id, span.first
"""
_TOO_MUCH = """
    SELECT until FROM (SELECT until, sum(revisions - measured) OVER (ORDER BY until DESC) AS states FROM span)
    WHERE states > ? ORDER BY until DESC LIMIT 1
"""
_ROWS = "SELECT log.json, log.owners FROM life JOIN revision_log AS log USING (seq) ORDER BY life.id, life.revision"
_ROW = """
    SELECT log.json, log.owners FROM life JOIN revision_log AS log USING (seq) WHERE life.id = ? AND life.revision = ?
"""
_BLOCK = """
    SELECT block.runs, series.data FROM span JOIN block USING (number) LEFT JOIN series USING (number)
    WHERE span.id = ? AND span.first <= ? ORDER BY span.first DESC LIMIT 1
"""

Reading = Callable[[], AbstractContextManager[sqlite3.Connection]]


@final
class Past:
    """The timeline of one file; methods may be called from any thread, ``work`` from one at a time.

    ``reading`` gives a snapshot of the file.
    """

    def __init__(self, reading: Reading, clock: Callable[[], float] = time.monotonic) -> None:
        self._reading = reading
        self._clock = clock
        self._lock = threading.Lock()
        self._timeline: Timeline | None = None
        self._making: Generator[None, None, None] | None = None
        self._pending: list[Revision] | None = None
        self._asked: float | None = None
        self._horizon = -FOR_EVER

    def view(self, at: int, start: int, stale: Callable[[], Set[tuple[str, str]]]) -> TimelineView | None:
        """The graph at ``at``, without what was deleted before ``start``; None: ask the file."""
        with self._lock:
            self._asked = self._clock()
            timeline = self._timeline
            if timeline is None or at < max(timeline.start, self._horizon):
                return None
            if self._pending:
                timeline.add(self._pending)
                self._pending = []
        from skycore.graph.timeview import TimelineView  # noqa: PLC0415 (needs numpy)

        def load(wanted: Sequence[tuple[str, int]]) -> list[Revision | None]:
            with self._reading() as reader:
                return [_revision(reader, id, number, at) for id, number in wanted]

        return TimelineView(timeline, at, start, stale=stale(), changing=SERIES_KEYS, load=load)

    def add(self, revisions: Sequence[Revision]) -> None:
        """These have been committed."""
        with self._lock:
            if self._pending is not None:
                self._pending += revisions
                if len(self._pending) > STATES // 4:
                    self._forget()

    def begin_at(self, horizon: int) -> None:
        """Of what was before this moment, the file has let go of something: it answers for that time itself."""
        with self._lock:
            self._horizon = horizon

    def _forget(self) -> None:
        self._timeline = self._pending = None

    def work(self) -> bool:
        """Do one piece of making the timeline; False when there is nothing to do."""
        with self._lock:
            if self._making is None:
                if self._asked is None:
                    return False
                if self._clock() - self._asked > _IDLE_SECONDS or not _have_numpy():
                    self._asked = None
                    self._forget()
                    return False
                timeline = self._timeline
                if timeline is not None and self._pending:
                    # So that the next question finds little to add.
                    timeline.add(self._pending[:_AT_A_TIME])
                    del self._pending[:_AT_A_TIME]
                    return True
                if timeline is None or len(timeline) > 2 * STATES:
                    self._timeline, self._pending = None, []
                    self._making = self._make()
        if self._making is None:
            return timeline is not None and self._learn(timeline)
        try:
            next(self._making)
            return True
        except StopIteration:
            if self._timeline is None:
                self._asked = None
        except BaseException:
            self.close()
            raise
        self._making = None
        return True

    def _learn(self, timeline: Timeline) -> bool:
        """Look up a key that somebody has asked for in states of which nobody has asked for it."""
        found = timeline.unknown(_AT_A_TIME)
        if found is None:
            return False
        kind, key, states = found
        with self._reading() as reader:
            wanted = zip(timeline.names_of(states), timeline.since.all[states].tolist(), strict=True)
            revisions = [_revision(reader, id, number, since) for (id, number), since in wanted]
        timeline.column(kind, key).learn(kind, key, states, revisions)
        return True

    def close(self) -> None:
        """Let go of everything; no ``work`` runs."""
        making, self._making = self._making, None
        if making is not None:
            making.close()
        with self._lock:
            self._asked = None
            self._forget()

    @property
    def states(self) -> int:
        """How many states are in memory."""
        timeline = self._timeline
        return 0 if timeline is None else len(timeline)

    def _make(self) -> Generator[None, None, None]:
        from skycore.graph.timeline import Timeline  # noqa: PLC0415 (needs numpy)

        with ExitStack() as stack:
            reader = stack.enter_context(self._reading())
            timeline = Timeline(_start(reader))
            if timeline.start == FOR_EVER:
                return
            blocks = stack.enter_context(closing(reader.execute(_BLOCKS, (timeline.start,))))
            yield
            while part := list(islice(blocks, _AT_A_TIME // 4)):
                timeline.add(state for runs, series in part for state in states_of_block(runs, series))
                yield
            rows = stack.enter_context(closing(reader.execute(_ROWS)))
            while part := list(islice(rows, _AT_A_TIME)):
                timeline.add(revision_from_json(json, owners=owners_of(owners.encode())) for json, owners in part)
                yield
        with self._lock:
            # Unless more was committed meanwhile than is worth keeping.
            if self._pending is not None:
                self._timeline = timeline


def _have_numpy() -> bool:
    """Whether timelines can be made: the extra ``analyzer`` brings what they need."""
    try:
        import numpy  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def _start(reader: sqlite3.Connection) -> int:
    """The moment from which on there are few enough states; FOR_EVER when there are too many rows already."""
    (rows,) = reader.execute("SELECT count(*) FROM life").fetchone()
    if rows > STATES:
        return FOR_EVER
    found = reader.execute(_TOO_MUCH, (STATES - rows,)).fetchone()
    return -FOR_EVER if found is None else int(found[0]) + 1


def _revision(reader: sqlite3.Connection, id: str, number: int, at: int) -> Revision | None:
    """What an element's state that begins with revision ``number`` was at ``at``."""
    row = reader.execute(_ROW, (id, number)).fetchone()
    if row is not None:
        return revision_from_json(row[0], owners=owners_of(row[1].encode()))
    block = reader.execute(_BLOCK, (id, number)).fetchone()
    if block is None:
        return None
    # None: its metric revisions are gone, and only they were as old, because a clock was set back.
    runs, series = block
    return last_of_block(runs, series, at) or highest(revisions_of(reader, id), at)
