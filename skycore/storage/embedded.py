"""The default store: one SQLite file, nothing to install.

One connection writes, each reading thread has a snapshot of its own (WAL), so that readers and the writer
never wait for each other.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar, final

import attrs
import msgspec

from skycore.errors import StorageError
from skycore.graph.element import Revision
from skycore.graph.past import PastView, since_of
from skycore.graph.view import Difference
from skycore.storage import reading
from skycore.storage.contract import Gap, Mark, Record, RevisionRecord, StaleInterval
from skycore.storage.reading import FOR_EVER
from skycore.storage.recent import RecentWindow
from skycore.storage.schema import PAGE_BYTES, prepare
from skycore.storage.upkeep import Counts, Retention, SteadyClock, Upkeep

_FILE = "history.sqlite"
_LOCK = "history.lock"
# The log that is copied into the file when it has grown to this size; copying more at once costs less.
_CHECKPOINT_BYTES = 64 << 20
# A reader that stays in an old snapshot keeps the log growing; beyond this size the writer waits for readers a moment.
_WAL_BYTES = 4 * _CHECKPOINT_BYTES
_IDLE_READERS = 4

_encode_owners = msgspec.json.Encoder().encode
_ROWS_A_STATEMENT = 64
_INSERT_MARK = """
    INSERT INTO mark VALUES (?, ?, ?) ON CONFLICT (origin, epoch) DO UPDATE SET seq = max(seq, excluded.seq)
"""
_INSERT_GAP = """
    INSERT INTO gap VALUES (?, ?, ?, ?)
    ON CONFLICT (origin, start, "end") DO UPDATE SET lost = max(lost, excluded.lost)
"""
_INSERT_STALE = """
    INSERT INTO stale VALUES (?, ?, ?, ?)
    ON CONFLICT (origin, claimant, start) DO UPDATE SET "end" = coalesce(excluded."end", "end")
"""
_COMPACTED = """
    SELECT id, max(last) FROM span WHERE id IN (SELECT value FROM json_each(?)) GROUP BY id
"""


@attrs.frozen
class _Rows:
    """The records of one commit as rows, by table."""

    log: list[tuple[int, str, bytes]] = attrs.field(factory=list)
    life: list[tuple[str, int, int, int | None, int]] = attrs.field(factory=list)
    marks: list[tuple[str, int, int]] = attrs.field(factory=list)
    gaps: list[tuple[str, int, int, int]] = attrs.field(factory=list)
    stale: list[tuple[str, str, int, int | None]] = attrs.field(factory=list)

    @classmethod
    def of(cls, records: Sequence[Record], seq: int) -> _Rows:
        """Rows numbered from ``seq`` + 1."""
        rows = cls()
        for record in records:
            match record:
                case RevisionRecord(revision):
                    seq += 1
                    owners = _encode_owners(revision.owners).decode()
                    rows.log.append((seq, owners, revision.json))
                    rows.life.append((revision.id, revision.revision, since_of(revision), revision.deleted_at, seq))
                case Mark(origin, epoch, number):
                    rows.marks.append((origin, epoch, number))
                case Gap(origin, start, end, lost):
                    rows.gaps.append((origin, start, end, lost))
                case StaleInterval(origin, claimant, start, until):
                    rows.stale.append((origin, claimant, start, until))
        return rows


def _insert_rows(writer: sqlite3.Connection, insert: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, many with one statement: each statement lets go of the GIL, and has to win it back."""
    whole = len(rows) - len(rows) % _ROWS_A_STATEMENT
    if whole:
        places = "(" + ",".join("?" * len(rows[0])) + ")"
        values = chain.from_iterable(rows[:whole])
        size = _ROWS_A_STATEMENT * len(rows[0])
        statement = insert + ",".join([places] * _ROWS_A_STATEMENT)
        writer.executemany(statement, iter(lambda: tuple(islice(values, size)), ()))
    if whole < len(rows):
        writer.executemany(f"{insert} ({','.join('?' * len(rows[0]))})", rows[whole:])


@final
class EmbeddedStore:
    """History in one SQLite file, ``history.sqlite`` in the folder ``path``.

    A commit survives the death of the process at once (the kernel has it), and a power cut after the next ``sync``.
    """

    section: ClassVar[str] = "storage.embedded"

    @attrs.frozen
    class Settings:
        """``path``: the folder of this process's state, made when absent."""

        path: str

    def __init__(self, settings: Settings) -> None:
        self.path = Path(settings.path) / _FILE
        self._lock_file: int | None = None
        self._writer: sqlite3.Connection | None = None
        self._writing = threading.Lock()
        self._seq = 0
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()

    # Opening and closing

    def open(self) -> None:
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise StorageError(
                f"{self.path} is in use by another process; stop it, or give storage.embedded.path another folder"
            ) from error
        except OSError as error:
            self.close()
            raise StorageError(f"{folder} cannot be used for history: {error.strerror}") from error
        try:
            with self._storage_errors("opened"):
                self._open_writer()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._writing, self._idle_lock:
            for reader in self._idle:
                reader.close()
            self._idle.clear()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    def _open_writer(self) -> sqlite3.Connection:
        writer = self._connect()
        try:
            prepare(writer, self.path)
            writer.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_BYTES // PAGE_BYTES}")
            writer.execute(f"PRAGMA journal_size_limit={_CHECKPOINT_BYTES}")
            writer.execute("PRAGMA cache_size=-32768")
            (seq,) = writer.execute("SELECT max(seq) FROM revision_log").fetchone()
        except BaseException:
            writer.close()
            raise
        self._seq = seq or 0
        self._writer = writer
        return writer

    def _connect(self) -> sqlite3.Connection:
        # The timeout is for readers that find the log being restarted, and for the writer restarting it.
        return sqlite3.connect(self.path, timeout=0.2, isolation_level=None, check_same_thread=False)

    @contextmanager
    def _storage_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", None)
            # Errors of the sqlite3 module itself carry no code.
            reason = f"{error} ({name})" if name else str(error)
            if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
                hint = f"the file is damaged; move {self.path.name}* in {self.path.parent} aside, or put back a copy"
            elif name is not None and name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
                hint = f"look at the free space and the health of the disk that holds {self.path.parent}"
            else:
                hint = f"look at the permissions of {self.path.parent}"
            raise StorageError(f"{self.path} could not be {doing}: {reason}; {hint}") from error

    # Writing

    def commit(self, records: Sequence[Record]) -> None:
        with self._writing:
            if self._lock_file is None:
                raise StorageError(f"{self.path} is not open")
            with self._storage_errors("written (nothing of this batch was stored)"):
                writer = self._writer or self._open_writer()
                rows = _Rows.of(records, self._seq)
                try:
                    writer.execute("BEGIN IMMEDIATE")
                    self._insert(writer, rows)
                    writer.execute("COMMIT")
                except (OverflowError, UnicodeError) as error:
                    self._roll_back(writer)
                    raise StorageError(f"{self.path} cannot hold a value of this batch: {error}") from error
                except BaseException:
                    self._roll_back(writer)
                    raise
                self._seq += len(rows.log)
            self._bound_wal(writer)

    def _insert(self, writer: sqlite3.Connection, rows: _Rows) -> None:
        if rows.life:
            before = writer.total_changes
            _insert_rows(writer, "INSERT OR IGNORE INTO life VALUES", rows.life)
            log = rows.log
            if writer.total_changes - before < len(log):
                taken = {seq for (seq,) in self._new_numbers(writer, rows)}
                log = [row for row in log if row[0] in taken]
            _insert_rows(writer, "INSERT INTO revision_log VALUES", log)
            highest = max(row[1] for row in rows.life)
            writer.execute("UPDATE highest SET revision = max(revision, ?)", (highest,))
        writer.executemany(_INSERT_MARK, rows.marks)
        writer.executemany(_INSERT_GAP, rows.gaps)
        writer.executemany(_INSERT_STALE, rows.stale)

    def _new_numbers(self, writer: sqlite3.Connection, rows: _Rows) -> Iterator[tuple[int]]:
        """The numbers of those rows that were not there before."""
        for id, revision, _, _, seq in rows.life:
            yield from writer.execute(
                "SELECT seq FROM life WHERE id = ? AND revision = ? AND seq = ?", (id, revision, seq)
            )

    def _roll_back(self, writer: sqlite3.Connection) -> None:
        try:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        except sqlite3.Error:
            # A connection in doubt is replaced at the next commit; its open transaction is dropped with it.
            writer.close()
            self._writer = None

    def _bound_wal(self, writer: sqlite3.Connection) -> None:
        try:
            if os.stat(f"{self.path}-wal").st_size > _WAL_BYTES:
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (OSError, sqlite3.Error):
            # The commit itself has succeeded; the next one tries again.
            pass

    def sync(self) -> None:
        if self._lock_file is None:
            raise StorageError(f"{self.path} is not open")
        try:
            # SQLite locks other files than this one, so opening and closing it takes no lock from it.
            wal = os.open(f"{self.path}-wal", os.O_RDWR | os.O_CLOEXEC)
            try:
                os.fdatasync(wal)
            finally:
                os.close(wal)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"{self.path}-wal could not be synced: {error.strerror}; check the disk") from error

    # Reading

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment of the store."""
        with self._idle_lock:
            if self._lock_file is None:
                raise StorageError(f"{self.path} is not open")
            reader = self._idle.pop() if self._idle else None
        with self._storage_errors("read"):
            if reader is None:
                reader = self._connect()
                reader.execute("PRAGMA query_only=1")
            try:
                reader.execute("BEGIN")
                yield reader
                reader.execute("COMMIT")
            except BaseException:
                reader.close()
                raise
        with self._idle_lock:
            if self._lock_file is not None and len(self._idle) < _IDLE_READERS:
                self._idle.append(reader)
                return
        reader.close()

    def _revisions(
        self, reader: sqlite3.Connection, query: str, parameters: tuple[int | str, ...]
    ) -> Iterator[Revision]:
        with closing(reader.execute(query, parameters)) as cursor:
            for json, owners in cursor:
                try:
                    yield revision_from_json(json, owners=_owners(owners))
                except (ValueError, msgspec.DecodeError) as error:
                    raise StorageError(f"{self.path} holds a damaged row: {error}; put back a copy") from error

    def current(self) -> Iterator[Revision]:
        with self._reading() as reader:
            yield from self._revisions(reader, _LAST_REVISIONS, (FOR_EVER, FOR_EVER))

    def marks(self) -> dict[tuple[str, int], int]:
        with self._reading() as reader:
            return {
                (origin, epoch): seq for origin, epoch, seq in reader.execute("SELECT origin, epoch, seq FROM mark")
            }

    def highest_revision(self) -> int:
        with self._reading() as reader:
            (revision,) = reader.execute("SELECT revision FROM highest").fetchone()
            return int(revision)

    def graph_at(self, at: int, duration: int = 0) -> PastView:
        at = _within(at)
        start = _within(at - duration)
        with self._reading() as reader:
            return PastView(self._revisions(reader, _LAST_REVISIONS, (at, start)), self._stale(reader, at))

    def revisions(self, id: str) -> list[Revision]:
        query = """
            SELECT log.json, log.owners FROM life JOIN revision_log AS log USING (seq)
            WHERE life.id = ? ORDER BY life.revision
        """
        with self._reading() as reader:
            return list(self._revisions(reader, query, (id,)))

    def gaps(self, start: int, end: int) -> list[Gap]:
        query = 'SELECT origin, start, "end", lost FROM gap WHERE start <= ? AND "end" >= ? ORDER BY start, origin'
        with self._reading() as reader:
            return [Gap(*row) for row in reader.execute(query, (_within(end), _within(start)))]

    def stale_at(self, at: int) -> frozenset[tuple[str, str]]:
        with self._reading() as reader:
            return self._stale(reader, _within(at))

    def _stale(self, reader: sqlite3.Connection, at: int) -> frozenset[tuple[str, str]]:
        query = 'SELECT origin, claimant FROM stale WHERE start <= ? AND ("end" IS NULL OR "end" > ?)'
        return frozenset((origin, claimant) for origin, claimant in reader.execute(query, (at, at)))

    def open_stale_intervals(self) -> list[StaleInterval]:
        query = 'SELECT origin, claimant, start, "end" FROM stale WHERE "end" IS NULL ORDER BY start'
        with self._reading() as reader:
            return [StaleInterval(*row) for row in reader.execute(query)]


def _within(time: int) -> int:
    """A moment as SQLite can hold it."""
    return max(-FOR_EVER, min(FOR_EVER, time))
