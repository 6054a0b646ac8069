"""The embedded store's file: its tables, and how one is recognised.

``revision_log`` only ever grows at its end.  ``life`` holds what decides which revision was current when, in a
narrow table beside it, ordered by element and revision: a graph in the past is one walk through it, and a new
row lands next to its predecessor.  Keeping the end of each revision's life in it as well (an UPDATE of the
predecessor with every insert) was measured: 17 % fewer inserts a second, and no faster to read.  See
docs/storage.md for the figures.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from skycore.errors import StorageError

APPLICATION_ID = 0x534B5943
"""``PRAGMA application_id`` of our files: "SKYC" (https://www.sqlite.org/pragma.html#pragma_application_id)."""

VERSION = 1
"""``PRAGMA user_version``: raised with every change of the tables."""

PAGE_BYTES = 8192

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


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new file, or check that an old one is ours; a file that is not is left as it is.

    Raises StorageError, and sqlite3.DatabaseError when SQLite cannot read the file.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0 and application in (0, APPLICATION_ID):
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        _use_wal(connection)
        _create(connection)
        return
    if application != APPLICATION_ID:
        raise StorageError(
            f"{path} is an SQLite database of another program; give storage.embedded.path another folder"
        )
    if version != VERSION:
        age = "a newer" if version > VERSION else "an unknown"
        raise StorageError(
            f"{path} was written by {age} version of Skycore (schema {version}, this one knows {VERSION}); "
            f"run that version, or give storage.embedded.path another folder"
        )
    _use_wal(connection)
    # A file cut short still has a good first page; reading from each table finds that out at start.
    for table in ("revision_log", "life", "highest", "mark", "gap", "stale"):
        connection.execute(f"SELECT * FROM {table} ORDER BY 1 DESC LIMIT 1").fetchall()


def _use_wal(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")
