"""The embedded store's file: its tables, and how one is recognised.

``revision_log`` only ever grows at its end.  ``life`` holds what decides which revision was current when, in a
narrow table beside it, ordered by element and revision: a graph in the past is one walk through it, and a new
row lands next to its predecessor.  Keeping the end of each revision's life in it as well (an UPDATE of the
predecessor with every insert) was measured: 17 % fewer inserts a second, and no faster to read.  See
docs/storage.md for the figures.

Compaction moves rows of both into ``block`` and ``series`` (their bytes) and ``span`` (what ``life`` is to the log):
``start`` and ``finish`` are the earliest and latest time of a revision in the block, ``until`` the time of the
revision after its last (of its tombstone, when it ends with one), ``measured`` how many of its
revisions are in ``series`` alone.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from skycore.errors import StorageError

APPLICATION_ID = 0x534B5943
"""``PRAGMA application_id`` of our files: "SKYC" (https://www.sqlite.org/pragma.html#pragma_application_id)."""

VERSION = 2
"""``PRAGMA user_version``: raised with every change of the tables."""

PAGE_BYTES = 8192
_INCREMENTAL = 2  # https://www.sqlite.org/pragma.html#pragma_auto_vacuum

_TABLES = (
    "CREATE TABLE revision_log (seq INTEGER PRIMARY KEY, owners TEXT NOT NULL, json BLOB NOT NULL)",
    """CREATE TABLE life (
        id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        since INTEGER NOT NULL,
        deleted INTEGER,
        seq INTEGER NOT NULL,
        PRIMARY KEY (id, revision)
    ) WITHOUT ROWID""",
    "CREATE TABLE highest (revision INTEGER NOT NULL)",
    "INSERT INTO highest VALUES (0)",
    """CREATE TABLE mark (
        origin TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY (origin, epoch)
    ) WITHOUT ROWID""",
    """CREATE TABLE gap (
        origin TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, lost INTEGER NOT NULL,
        PRIMARY KEY (origin, start, "end")
    ) WITHOUT ROWID""",
    """CREATE TABLE stale (
        origin TEXT NOT NULL, claimant TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER,
        PRIMARY KEY (origin, claimant, start)
    ) WITHOUT ROWID""",
)
_TABLES_OF_2 = (
    "CREATE TABLE block (number INTEGER PRIMARY KEY, times BLOB NOT NULL, runs BLOB NOT NULL)",
    "CREATE TABLE series (number INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE span (
        id TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        start INTEGER NOT NULL, finish INTEGER NOT NULL, until INTEGER NOT NULL,
        revisions INTEGER NOT NULL, measured INTEGER NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (id, first)
    ) WITHOUT ROWID""",
    "CREATE INDEX span_until ON span (until)",
    "CREATE INDEX span_measured ON span (until) WHERE measured > 0",
    # horizon: before this moment history has been removed.
    "CREATE TABLE removed (revisions INTEGER NOT NULL, measured INTEGER NOT NULL, horizon INTEGER)",
    "INSERT INTO removed VALUES (0, 0, NULL)",
)
_READ_AT_START = ("revision_log", "life", "highest", "mark", "gap", "stale", "block", "series", "span", "removed")


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new file, or check that an old one is ours; a file that is not is left as it is.

    Raises StorageError, and sqlite3.DatabaseError when SQLite cannot read the file.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0 and application in (0, APPLICATION_ID):
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute(f"PRAGMA auto_vacuum={_INCREMENTAL}")
        _use_wal(connection)
        _create(connection)
        return
    if application != APPLICATION_ID:
        raise StorageError(
            f"{path} is an SQLite database of another program; give storage.embedded.path another folder"
        )
    if version not in (1, VERSION):
        age = "a newer" if version > VERSION else "an unknown"
        raise StorageError(
            f"{path} was written by {age} version of Skycore (schema {version}, this one knows {VERSION}); "
            f"run that version, or give storage.embedded.path another folder"
        )
    _use_wal(connection)
    if version == 1:
        _migrate_from_1(connection)
    # A file cut short still has a good first page; reading from each table finds that out at start.
    for table in _READ_AT_START:
        connection.execute(f"SELECT * FROM {table} ORDER BY 1 DESC LIMIT 1").fetchall()


def _use_wal(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in (*_TABLES, *_TABLES_OF_2):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def _migrate_from_1(connection: sqlite3.Connection) -> None:
    """Add the tables of version 2; the rows stay where they are until they are compacted."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _TABLES_OF_2:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    # The file can shrink only when it is written anew once.  Without the space for that it stays as large as it is.
    with suppress(sqlite3.OperationalError):
        connection.execute(f"PRAGMA auto_vacuum={_INCREMENTAL}")
        connection.execute("VACUUM")
