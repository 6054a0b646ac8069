"""An SQLite file of this process alone: a lock, one connection that writes, and one with a snapshot for each reader.

History, flows and API objects are kept in such files (WAL mode); what differs is their tables.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from skycore.errors import StorageError, StoreInUse

# The log that is copied into the file when it has grown to this size; copying more at once costs less.
CHECKPOINT_BYTES: Final = 64 << 20
# A reader that stays in an old snapshot keeps the log growing; beyond this size the writer waits for readers a moment.
WAL_BYTES: Final = 4 * CHECKPOINT_BYTES
_IDLE_READERS: Final = 4

Prepare = Callable[[sqlite3.Connection], None]


@final
class SqliteFile:
    """One SQLite file ``NAME.sqlite``, locked for this process by ``NAME.lock`` beside it.

    ``holds`` says in error texts what the file is for.  ``prepare`` gets each new writing connection: it sets the mode
    (WAL), makes the tables or brings them to our version, and raises StorageError for a file that is not ours.
    What the folder holds is for its owner alone: it is made with mode 0700.
    Everything that goes wrong is a StorageError; the last one of writing and of reading is in ``errors`` until the
    same succeeds.
    """

    def __init__(self, path: Path, *, holds: str, prepare: Prepare) -> None:
        self.path = path
        self._holds = holds
        self._prepare = prepare
        self.errors: dict[str, str] = {}
        self._lock_file: int | None = None
        self._writer: sqlite3.Connection | None = None
        self._writing = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()

    def open(self) -> None:
        """Lock the file, make it or bring it to our version."""
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise StoreInUse(
                f"{self.path} is in use by another process; stop it, or give storage.embedded.path another folder"
            ) from error
        except OSError as error:
            self.close()
            raise StorageError(f"{folder} cannot be used for {self._holds}: {error.strerror}") from error
        try:
            with self._storage_errors("opened"):
                self._open_writer()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of everything.  Idempotent."""
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

    @property
    def is_open(self) -> bool:
        return self._lock_file is not None

    def _check_open(self) -> None:
        if self._lock_file is None:
            raise StorageError(f"{self.path} is not open")

    def _open_writer(self) -> sqlite3.Connection:
        writer = self._connect()
        try:
            writer.execute("PRAGMA cache_size=-32768")
            self._prepare(writer)
            (page_bytes,) = writer.execute("PRAGMA page_size").fetchone()
            writer.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_BYTES // page_bytes}")
            writer.execute(f"PRAGMA journal_size_limit={CHECKPOINT_BYTES}")
        except BaseException:
            writer.close()
            raise
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
            text = f"{self.path} could not be {doing}: {reason}; {hint}"
            self.errors[doing] = text
            raise StorageError(text) from error
        self.errors.pop(doing, None)

    # Writing

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The writer's turn, and a transaction that is committed when the block ends well, else rolled back."""
        with self._writing:
            self._check_open()
            with self._storage_errors("written (nothing was changed)"):
                writer = self._writer or self._open_writer()
                try:
                    writer.execute("BEGIN IMMEDIATE")
                    yield writer
                    writer.execute("COMMIT")
                except BaseException:
                    self._roll_back(writer)
                    raise
            self._bound_wal(writer)

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
            if os.stat(f"{self.path}-wal").st_size > WAL_BYTES:
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (OSError, sqlite3.Error):
            # The commit itself has succeeded; the next one tries again.
            pass

    def vacuum(self, pages: int, *, last: bool) -> None:
        """Cut free pages off the file; the ``last`` time for now, have the file shrink at once."""
        with self._writing:
            self._check_open()
            with self._storage_errors("made smaller"):
                writer = self._writer or self._open_writer()
                writer.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
                if last:
                    writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def sync(self) -> None:
        """Have what was committed survive a power cut."""
        self._check_open()
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
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment of the file; values inside that cannot be are raised as damage."""
        with self._idle_lock:
            self._check_open()
            reader = self._idle.pop() if self._idle else None
        with self._storage_errors("read"):
            if reader is None:
                reader = self._connect()
                reader.execute("PRAGMA query_only=1")
            try:
                reader.execute("BEGIN")
                yield reader
                reader.execute("COMMIT")
            except (ValueError, TypeError, AttributeError) as error:
                # What damage leads to; SQLite notices only some, and may well give a number in the place of a text.
                reader.close()
                text = self.errors["read"] = f"{self.path} holds a damaged row: {error}; put back a copy"
                raise StorageError(text) from error
            except BaseException:
                reader.close()
                raise
        with self._idle_lock:
            if self._lock_file is not None and len(self._idle) < _IDLE_READERS:
                self._idle.append(reader)
                return
        reader.close()

    def sizes(self) -> tuple[int, int]:
        """Bytes of the file, and of the log beside it."""
        found = []
        for name in (str(self.path), f"{self.path}-wal"):
            try:
                found.append(os.stat(name).st_size)
            except OSError:
                found.append(0)
        return found[0], found[1]
