"""The file of flows: its tables, and how one of an earlier version is brought to ours.

``flow`` is a flow as it was last: what is often asked for in columns, all of it as JSON.  Rows stand in the order in
which flows came, so that those that change together lie together; ``metric`` and ``raw_packet`` name them by number.
``talk`` adds up what ``metric`` gets, see skycore.storage.talkers.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from skycore.errors import StorageError
from skycore.storage import talkers
from skycore.storage.flow_rows import COLUMNS, Counted, FlowRows

VERSION: Final = 2
"""``PRAGMA user_version``: raised with every change of the tables."""

# A new flow changes a page of each index, which is then written as a whole.
_PAGE_BYTES: Final = 4096
_INCREMENTAL: Final = 2  # https://www.sqlite.org/pragma.html#pragma_auto_vacuum
# The pages that commits touch again and again are those of the indexes.
_CACHE_KB: Final = 131_072
_AT_ONCE: Final = 5000

_SETTLED: Final = tuple(column.name for column in COLUMNS if column.settled)
_MOVING: Final = ("start", "last", *(column.name for column in COLUMNS if not column.settled), "bare", "json")
_ALL: Final = ("uuid", "start", "last", *(column.name for column in COLUMNS), "bare", "json")

TABLES: Final = (
    f"""CREATE TABLE flow (
        id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, start INTEGER NOT NULL, last INTEGER NOT NULL,
        {", ".join(f"{column.name} {column.type}" for column in COLUMNS)},
        bare INTEGER NOT NULL, json BLOB NOT NULL
    )""",
    # With the start, so that flows of other times are passed over without being read.
    "CREATE INDEX flow_last ON flow (last, start)",
    *(
        f"CREATE INDEX flow_{column.name} ON flow ({column.name}) WHERE {column.name} IS NOT NULL"
        for column in COLUMNS
        if column.index is not None
    ),
    """CREATE TABLE metric (
        flow INTEGER NOT NULL, last INTEGER NOT NULL, start INTEGER NOT NULL, ab_packets INTEGER NOT NULL,
        ab_bytes INTEGER NOT NULL, ba_packets INTEGER NOT NULL, ba_bytes INTEGER NOT NULL, rtt INTEGER NOT NULL,
        PRIMARY KEY (flow, last)
    ) WITHOUT ROWID""",
    "CREATE INDEX metric_last ON metric (last)",
    """CREATE TABLE raw_packet (
        flow INTEGER NOT NULL, number INTEGER NOT NULL, time INTEGER NOT NULL, link_type INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (flow, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX raw_packet_time ON raw_packet (time)",
    *talkers.TABLES,
)

SETTLED: Final = 3 + len(_SETTLED)
"""So many of a row's values hardly ever change, counted from its first one; see ``FlowRows.flows``."""
assert _ALL[3:SETTLED] == _SETTLED

KNOWN: Final = f"""
SELECT uuid, id, last, {", ".join(_SETTLED)} FROM flow WHERE uuid IN (SELECT value FROM json_each(?))
"""
ADD: Final = f"INSERT INTO flow (id, {', '.join(_ALL)}) VALUES (?, {', '.join('?' * len(_ALL))})"
MOVE: Final = f"UPDATE flow SET {', '.join(f'{name} = ?' for name in _MOVING)} WHERE id = ?"
"""What moves with each update: all that is indexed otherwise than by time stays, for indexes cost most."""
REPLACE: Final = f"UPDATE flow SET {', '.join(f'{name} = ?' for name in _ALL)} WHERE id = ?"
ADD_METRIC: Final = "INSERT OR IGNORE INTO metric VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
ADD_RAW_PACKET: Final = "INSERT OR IGNORE INTO raw_packet SELECT id, ?1, ?2, ?3, ?4 FROM flow WHERE uuid = ?5"


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new file, or bring those of version 1 to ours.

    Raises StorageError for a file of a newer version, sqlite3.DatabaseError for one that is none.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StorageError(f"{path} was written by a newer version; give the analyzer another folder")
    os.chmod(path, 0o600)
    if version == 0:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version == 1:
            _from_1(connection)
        else:
            _create(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _create(connection: sqlite3.Connection) -> None:
    for statement in TABLES:
        connection.execute(statement)


def _from_1(connection: sqlite3.Connection) -> None:
    """Version 1 had few columns, and series by UUID; what it holds is written anew, with roll-ups."""
    for table in ("flow", "metric", "raw_packet"):
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
    for index in ("flow_last", "flow_tracking", "flow_node", "metric_last", "raw_packet_time"):
        connection.execute(f"DROP INDEX {index}")
    _create(connection)
    ahead = connection.execute("SELECT json FROM flow_1 ORDER BY start")
    while part := ahead.fetchmany(_AT_ONCE):
        rows = FlowRows()
        rows.add((json for (json,) in part), ())
        connection.executemany(ADD, [(None, *row) for row in rows.flows.values()])
    connection.execute("""
        INSERT INTO metric SELECT flow.id, m.last, m.start, m.ab_packets, m.ab_bytes, m.ba_packets, m.ba_bytes, m.rtt
        FROM metric_1 AS m JOIN flow USING (uuid)
    """)
    connection.execute("""
        INSERT INTO raw_packet SELECT flow.id, number, time, link_type, data FROM raw_packet_1 JOIN flow USING (uuid)
    """)
    ahead = connection.execute("""
        SELECT uuid, m.last, m.start, m.ab_packets, m.ab_bytes, m.ba_packets, m.ba_bytes, m.rtt, ifnull(node, ''),
            ifnull(parent, ''), ifnull(application, ''),
            coalesce(network_a, link_a, ''), coalesce(network_b, link_b, '')
        FROM metric AS m JOIN flow ON flow.id = m.flow
    """)
    while part := ahead.fetchmany(_AT_ONCE):
        talkers.note(connection, (Counted(*row) for row in part))
    for table in ("flow", "metric", "raw_packet"):
        connection.execute(f"DROP TABLE {table}_1")
