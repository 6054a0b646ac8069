"""The embedded store of flows: SQLite, one writer at a time (docs/captures.md#where-flows-are-kept).

A flow is kept as it was last (by UUID), what it did between two ticks as a series, and packets kept of it apart.  What
comes a second time changes nothing: a series has one row for each (UUID, Last), and is added up once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, final

import msgspec

from skycore.sqlitefile import SqliteFile
from skycore.storage import flow_schema, talkers
from skycore.storage.flow_rows import Counted, FlowRows, Row

FILE: Final = "flows.sqlite"
_DAY_MS: Final = 86_400_000
_SLICE: Final = 5000
# Measurements come late: an agent sends what it has when it is connected again.
_SETTLED_MS: Final = 60_000
_PAGES_A_SLICE: Final = 256
_SPARE_PAGES: Final = 512

_REMOVE: Final = (
    "DELETE FROM flow WHERE id IN (SELECT id FROM flow WHERE last < ? ORDER BY last LIMIT ?)",
    "DELETE FROM metric WHERE (flow, last) IN (SELECT flow, last FROM metric WHERE last < ? ORDER BY last LIMIT ?)",
    "DELETE FROM raw_packet WHERE (flow, number) IN "
    "(SELECT flow, number FROM raw_packet WHERE time < ? ORDER BY time LIMIT ?)",
)
_OLDEST: Final = """
SELECT min(last) FROM (
    SELECT * FROM (SELECT last FROM flow ORDER BY last LIMIT 1 OFFSET ?1)
    UNION ALL SELECT * FROM (SELECT last FROM metric ORDER BY last LIMIT 1 OFFSET ?1)
)
"""


@final
class FlowStore:
    """Flows in one file.  All calls block and raise StorageError; ``commit`` and ``maintain`` take turns."""

    def __init__(self, folder: Path, *, retention_days: float, max_bytes: int) -> None:
        self.path = folder / FILE
        self._retention_ms = int(retention_days * _DAY_MS)
        self._max_bytes = max_bytes
        self._file = SqliteFile(
            self.path, holds="flows", prepare=lambda connection: flow_schema.prepare(connection, self.path)
        )

    def open(self) -> None:
        self._file.open()

    @property
    def is_open(self) -> bool:
        return self._file.is_open

    def close(self) -> None:
        """Idempotent."""
        self._file.close()

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection that sees one moment of the file."""
        return self._file.reading()

    # Writing

    def commit(self, rows: FlowRows) -> None:
        """Keep all of it, or nothing."""
        with self._file.writing() as writer:
            ids = _put(writer, rows.flows)
            talkers.note(writer, _new(writer, [(ids[one.uuid], one) for one in rows.counted.values()]))
            writer.executemany(flow_schema.ADD_RAW_PACKET, rows.raw_packets)

    def maintain(self, now_ms: int) -> int:
        """One short piece of upkeep: remove what is old or too much, cut sums, give space back; 0: there is none."""
        with self._file.writing() as writer:
            if self._retention_ms and (gone := _remove(writer, now_ms - self._retention_ms)):
                return gone
            if talkers.add_up(writer, now_ms - _SETTLED_MS):
                return 1
            used, free = _pages(writer)
            (size,) = writer.execute("PRAGMA page_size").fetchone()
            if self._max_bytes and used * size > self._max_bytes:
                (oldest,) = writer.execute(_OLDEST, (_SLICE,)).fetchone()
                if gone := _remove(writer, now_ms if oldest is None else oldest + 1):
                    return gone
        spare = free - max(_SPARE_PAGES, used // 10)
        if spare <= 0:
            return 0
        self._file.vacuum(min(spare, _PAGES_A_SLICE), last=spare <= _PAGES_A_SLICE)
        return spare if self._shrunk(free) else 0

    def _shrunk(self, free: int) -> bool:
        """Whether there are fewer free pages; a file of version 1 cannot shrink."""
        with self._file.reading() as reader:
            return _pages(reader)[1] < free

    # Reading

    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        with self._file.reading() as reader:
            return {
                table: reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("flow", "metric", "raw_packet", "talk", "talk_log")
            }


def _put(writer: sqlite3.Connection, flows: Mapping[str, Row]) -> dict[str, int]:
    """Keep flows as they are now, unless a younger record of them is there; returns their numbers."""
    known = {
        uuid: row for uuid, *row in writer.execute(flow_schema.KNOWN, (msgspec.json.encode(list(flows)).decode(),))
    }
    (last_id,) = writer.execute("SELECT ifnull(max(id), 0) FROM flow").fetchone()
    ids: dict[str, int] = {}
    new, moved, replaced = list[Row](), list[Row](), list[Row]()
    for uuid, row in flows.items():
        found = known.get(uuid)
        if found is None:
            last_id += 1
            ids[uuid] = last_id
            new.append((last_id, *row))
            continue
        id, last, *settled = found
        ids[uuid] = id
        if row[2] < last:
            continue
        if settled == list(row[3 : flow_schema.SETTLED]):
            moved.append((row[1], row[2], *row[flow_schema.SETTLED :], id))
        else:
            replaced.append((*row, id))
    writer.executemany(flow_schema.ADD, new)
    writer.executemany(flow_schema.MOVE, moved)
    writer.executemany(flow_schema.REPLACE, replaced)
    return ids


def _new(writer: sqlite3.Connection, counted: list[tuple[int, Counted]]) -> list[Counted]:
    """Keep measurements, with the numbers of their flows; returns those that were not there."""
    if not counted:
        return []
    rows = [(id, *one[1:8]) for id, one in counted]
    writer.execute("SAVEPOINT measurements")
    if writer.executemany(flow_schema.ADD_METRIC, rows).rowcount == len(rows):
        writer.execute("RELEASE measurements")
        return [one for _, one in counted]
    # Some came before: one by one, to see which.
    writer.execute("ROLLBACK TO measurements")
    new = [
        one for row, (_, one) in zip(rows, counted, strict=True) if writer.execute(flow_schema.ADD_METRIC, row).rowcount
    ]
    writer.execute("RELEASE measurements")
    return new


def _remove(writer: sqlite3.Connection, before_ms: int) -> int:
    gone = sum(writer.execute(statement, (before_ms, _SLICE)).rowcount for statement in _REMOVE)
    return gone + talkers.remove(writer, before_ms, _SLICE)


def _pages(connection: sqlite3.Connection) -> tuple[int, int]:
    """(used, free) pages of the file."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return pages - free, free
