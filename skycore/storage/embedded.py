"""The default store: one SQLite file, nothing to install.

One connection writes, each reading thread has a snapshot of its own (WAL), so that readers and the writer
never wait for each other.  What happened in the last minutes is answered from memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, final

import attrs

from skycore.errors import StorageError
from skycore.graph.element import Revision
from skycore.graph.past import PastView
from skycore.graph.view import Difference, GraphView
from skycore.sqlitefile import SqliteFile
from skycore.storage import reading
from skycore.storage.contract import Gap, Record, RevisionRecord, StaleInterval
from skycore.storage.density import density
from skycore.storage.past import Past
from skycore.storage.reading import FOR_EVER
from skycore.storage.recent import RecentWindow
from skycore.storage.rows import Rows
from skycore.storage.schema import prepare
from skycore.storage.upkeep import Retention, SteadyClock, Upkeep

_FILE: Final = "history.sqlite"
_AHEAD_MS: Final = 60_000
_JUMP_MS: Final = 60_000
_COUNT_ROWS = "SELECT count(*), min(since), max(since) FROM life"
_COUNT_BLOCKS = """
    SELECT count(*), min(start), max(max(finish, until)), coalesce(sum(revisions), 0), coalesce(sum(measured), 0)
    FROM span
"""


@final
class EmbeddedStore:
    """History in one SQLite file, ``history.sqlite`` in the folder ``path``.

    A commit survives the death of the process at once (the kernel has it), and a power cut after the next ``sync``.
    """

    section: ClassVar[str] = "storage.embedded"

    @attrs.frozen
    class Settings:
        """``path``: the folder of this process's state, made when absent.

        ``retention_days`` of history are kept (0: all), in a file of ``max_bytes`` at most (0: any size).  The last
        ``recent_seconds`` are answered from memory, as far as ``recent_bytes`` reach (0: nothing is).  A revision
        waits up to ``settle_seconds`` for others of its element to be compressed with.
        """

        path: str
        retention_days: float = 30
        max_bytes: int = 16 << 30
        recent_seconds: float = 300
        recent_bytes: int = 64 << 20
        settle_seconds: float = 3600

    def __init__(self, settings: Settings) -> None:
        self.path = Path(settings.path) / _FILE
        self._file = SqliteFile(self.path, holds="history", prepare=lambda connection: prepare(connection, self.path))
        self._clock = SteadyClock()
        self._upkeep = Upkeep(
            self._file,
            Retention(settings.retention_days, settings.max_bytes),
            int(settings.settle_seconds * 1000),
            self._clock,
        )
        self._remembers = settings.recent_bytes > 0
        self._recent = RecentWindow(bytes=settings.recent_bytes, seconds=settings.recent_seconds)
        self._past = Past(self._file.reading)
        self._committing = threading.Lock()
        self._maintaining = threading.Lock()
        self._seq = 0
        self._commits = 0
        self._oldest: int | None = None
        self._newest: int | None = None
        self._ahead = 0

    # Opening and closing

    def open(self) -> None:
        self._file.open()
        try:
            with self._file.reading() as reader:
                rows, oldest, newest = reader.execute(_COUNT_ROWS).fetchone()
                blocks, start, finish, compacted, measured = reader.execute(_COUNT_BLOCKS).fetchone()
                (seq,) = reader.execute("SELECT max(seq) FROM revision_log").fetchone()
                removed = reader.execute("SELECT revisions, measured, horizon FROM removed").fetchone()
                counts = self._upkeep.counts
                counts.rows_in, counts.blocks, counts.compacted, counts.measured = rows, blocks, compacted, measured
                counts.removed, counts.removed_measured, counts.horizon = removed
                self._seq = seq or 0
                self._oldest = min((time for time in (oldest, start) if time is not None), default=None)
                self._newest = max((time for time in (newest, finish) if time is not None), default=None)
        except BaseException:
            self.close()
            raise
        if self._remembers and not rows and not blocks:
            self._recent.begin((), 0)

    def close(self) -> None:
        self._recent.end()
        with self._maintaining:
            self._past.close()
        self._file.close()

    # Writing

    def commit(self, records: Sequence[Record]) -> None:
        with self._committing:
            rows = Rows.of(records, self._seq)
            try:
                with self._file.writing() as writer:
                    taken = rows.insert(writer)
            except (OverflowError, UnicodeError) as error:
                raise StorageError(f"{self.path} cannot hold a value of this batch: {error}") from error
            self._note(records, rows, taken)

    def _note(self, records: Sequence[Record], rows: Rows, taken: set[int] | None) -> None:
        """Keep in memory what a commit has changed."""
        first = self._seq + 1
        self._seq += len(rows.log)
        self._commits += 1
        if not rows.life:
            return
        revisions = [record.revision for record in records if isinstance(record, RevisionRecord)]
        if taken is not None:
            revisions = [revision for seq, revision in enumerate(revisions, first) if seq in taken]
        times = [row[2] for row in rows.life]
        earliest, latest = min(times), max(times)
        self._oldest = earliest if self._oldest is None else min(self._oldest, earliest)
        self._newest = latest if self._newest is None else max(self._newest, latest)
        self._upkeep.counts.rows_in += len(revisions)
        limit = int(time.time() * 1000) + _AHEAD_MS
        if latest > limit:
            self._ahead += sum(at > limit for at in times)
        self._recent.add(revisions)
        self._past.add(revisions)

    def sync(self) -> None:
        self._file.sync()

    def maintain(self) -> bool:
        with self._maintaining:
            made = self._past.work()
            worked = self._upkeep.step()
            horizon = self._upkeep.counts.horizon
            if horizon is not None:
                self._past.begin_at(horizon)
            return worked or made

    # Reading

    def status(self) -> dict[str, Any]:
        counts = self._upkeep.counts
        bytes, wal_bytes = self._file.sizes()
        recent, recent_bytes = self._recent.held
        jump = self._clock.jump()
        error = next(iter(self._file.errors.values()), None)
        return {
            "Error": error if self._file.is_open else f"{self.path} is not open",
            "Bytes": bytes,
            "LogBytes": wal_bytes,
            "Rows": counts.rows,
            "Blocks": counts.blocks,
            "CompactedRevisions": counts.compacted,
            "MetricRevisions": counts.measured,
            "Compacting": self._upkeep.compacting,
            "Oldest": self._oldest if counts.horizon is None else counts.horizon,
            "Newest": self._newest,
            "RemovedRevisions": counts.removed,
            "RemovedMetricRevisions": counts.removed_measured,
            "RecentRevisions": recent,
            "RecentBytes": recent_bytes,
            "PastStates": self._past.states,
            "AheadOfClock": self._ahead,
            "ClockJump": jump if abs(jump) > _JUMP_MS else 0,
        }

    def current(self) -> Iterator[Revision]:
        with self._committing:
            commits = self._commits
        living: list[Revision] = []
        remember = self._remembers and not self._recent.usable
        with self._file.reading() as reader:
            for revision in reading.last_rows(reader, FOR_EVER, FOR_EVER):
                if remember:
                    living.append(revision)
                yield revision
        with self._committing:
            # All that the window will be told of from now on is younger than what was read, and nothing is between.
            if remember and not self._recent.usable and commits == self._commits:
                self._recent.begin(living, 0 if self._newest is None else self._newest + 1)

    def marks(self) -> dict[tuple[str, int], int]:
        with self._file.reading() as reader:
            return {
                (origin, epoch): seq for origin, epoch, seq in reader.execute("SELECT origin, epoch, seq FROM mark")
            }

    def highest_revision(self) -> int:
        with self._file.reading() as reader:
            (revision,) = reader.execute("SELECT revision FROM highest").fetchone()
            return int(revision)

    def graph_at(self, at: int, duration: int = 0) -> GraphView:
        at, start = _within(at), _within(at - duration)
        view = self._past.view(at, start, lambda: self.stale_at(at))
        if view is not None:
            return view
        recent = self._recent.last_revisions(at, start)
        with self._file.reading() as reader:
            stale = self._stale(reader, at)
            return PastView(reading.last_revisions(reader, at, start) if recent is None else recent, stale)

    def revisions_between(self, start: int, end: int, limit: int | None = None) -> list[Revision]:
        start, end = _within(start), _within(end)
        recent = self._recent.revisions_between(start, end)
        if recent is not None:
            reading.check_count(len(recent), limit)
            return reading.sort_period(recent)
        with self._file.reading() as reader:
            return reading.revisions_between(reader, start, end, limit)

    def diff(self, start: int, end: int) -> Difference:
        start, end = _within(start), _within(end)
        recent = self._recent.diff(start, end)
        if recent is not None:
            return recent
        with self._file.reading() as reader:
            return reading.diff(reader, start, end)

    def revisions(self, id: str) -> list[Revision]:
        with self._file.reading() as reader:
            return reading.revisions_of(reader, id)

    def density(self, start: int, end: int, parts: int) -> list[int]:
        with self._file.reading() as reader:
            return density(reader, _within(start), _within(end), parts)

    def gaps(self, start: int, end: int) -> list[Gap]:
        query = 'SELECT origin, start, "end", lost FROM gap WHERE start <= ? AND "end" >= ? ORDER BY start, origin'
        with self._file.reading() as reader:
            return [Gap(*row) for row in reader.execute(query, (_within(end), _within(start)))]

    def stale_at(self, at: int) -> frozenset[tuple[str, str]]:
        with self._file.reading() as reader:
            return self._stale(reader, _within(at))

    def _stale(self, reader: Any, at: int) -> frozenset[tuple[str, str]]:
        query = 'SELECT origin, claimant FROM stale WHERE start <= ? AND ("end" IS NULL OR "end" > ?)'
        return frozenset((origin, claimant) for origin, claimant in reader.execute(query, (at, at)))

    def open_stale_intervals(self) -> list[StaleInterval]:
        query = 'SELECT origin, claimant, start, "end" FROM stale WHERE "end" IS NULL ORDER BY start'
        with self._file.reading() as reader:
            return [StaleInterval(*row) for row in reader.execute(query)]


def _within(time: int) -> int:
    """A moment with which SQLite can still count."""
    return max(-FOR_EVER // 2, min(FOR_EVER // 2, time))
