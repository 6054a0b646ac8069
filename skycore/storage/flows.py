"""The embedded store of flows: SQLite, one writer at a time (docs/captures.md#where-flows-are-kept).

A flow is kept as it was last (by UUID), what it did between two ticks as a series, and packets kept of it apart.  What
comes a second time changes nothing: a series has one row for each (UUID, Last).
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, final

import attrs
import msgspec

from skycore.errors import StorageError

FILE: Final = "flows.sqlite"
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE flow (
    uuid TEXT PRIMARY KEY, start INTEGER NOT NULL, last INTEGER NOT NULL, tracking TEXT NOT NULL, l3 TEXT NOT NULL,
    parent TEXT NOT NULL, node TEXT NOT NULL, capture TEXT NOT NULL, application TEXT NOT NULL, json BLOB NOT NULL
);
CREATE INDEX flow_last ON flow (last);
CREATE INDEX flow_tracking ON flow (tracking);
CREATE INDEX flow_node ON flow (node);
CREATE TABLE metric (
    uuid TEXT NOT NULL, last INTEGER NOT NULL, start INTEGER NOT NULL, ab_packets INTEGER NOT NULL,
    ab_bytes INTEGER NOT NULL, ba_packets INTEGER NOT NULL, ba_bytes INTEGER NOT NULL, rtt INTEGER NOT NULL,
    PRIMARY KEY (uuid, last)
) WITHOUT ROWID;
CREATE INDEX metric_last ON metric (last);
CREATE TABLE raw_packet (
    uuid TEXT NOT NULL, number INTEGER NOT NULL, time INTEGER NOT NULL, link_type INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (uuid, number)
) WITHOUT ROWID;
CREATE INDEX raw_packet_time ON raw_packet (time);
"""
_PUT_FLOW: Final = """
INSERT INTO flow VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uuid) DO UPDATE SET
    start = excluded.start, last = excluded.last, application = excluded.application, json = excluded.json
    WHERE excluded.last >= flow.last
"""
_DAY_MS: Final = 86_400_000
_SLICE: Final = 5000

Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Word = Annotated[str, msgspec.Meta(max_length=4096)]


class _Metric(msgspec.Struct, gc=False):
    Start: Number
    Last: Number
    ABPackets: Number = 0
    ABBytes: Number = 0
    BAPackets: Number = 0
    BABytes: Number = 0
    RTT: Number = 0


class _Flow(msgspec.Struct, gc=False):
    UUID: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    Start: Number
    Last: Number
    TrackingID: Word = ""
    L3TrackingID: Word = ""
    ParentUUID: Word = ""
    NodeTID: Word = ""
    CaptureID: Word = ""
    Application: Word = ""
    LastUpdateMetric: _Metric | None = None


class _RawPacket(msgspec.Struct, gc=False):
    UUID: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    Timestamp: Number
    Index: Number
    Data: str
    LinkType: Number


_flow = msgspec.json.Decoder(_Flow).decode
_raw = msgspec.json.Decoder(_RawPacket).decode


@final
@attrs.frozen
class FlowRows:
    """What one commit takes, as rows; ``refused`` records could not be understood."""

    flows: list[tuple[Any, ...]] = attrs.field(factory=list)
    metrics: list[tuple[Any, ...]] = attrs.field(factory=list)
    raw_packets: list[tuple[Any, ...]] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)

    def add(self, flows: Iterable[msgspec.Raw], raw_packets: Iterable[msgspec.Raw]) -> None:
        """Records as they came from an agent; what is wrong is refused by itself."""
        for record in flows:
            try:
                self._add_flow(bytes(record))
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                self.refused.append(f"a flow: {error}")
        for record in raw_packets:
            try:
                packet = _raw(record)
                data = base64.b64decode(packet.Data, validate=True)
            except (msgspec.DecodeError, UnicodeError, RecursionError, binascii.Error) as error:
                self.refused.append(f"a packet: {error}")
            else:
                self.raw_packets.append((packet.UUID, packet.Index, packet.Timestamp, packet.LinkType, data))

    def _add_flow(self, json: bytes) -> None:
        flow = _flow(json)
        self.flows.append(
            (
                flow.UUID,
                flow.Start,
                flow.Last,
                flow.TrackingID,
                flow.L3TrackingID,
                flow.ParentUUID,
                flow.NodeTID,
                flow.CaptureID,
                flow.Application,
                json,
            )
        )
        one = flow.LastUpdateMetric
        if one is not None:
            counted = (one.ABPackets, one.ABBytes, one.BAPackets, one.BABytes)
            if any(counted):
                self.metrics.append((flow.UUID, one.Last, one.Start, *counted, one.RTT))


@final
class FlowStore:
    """Flows in one file.  All calls block; one thread at a time may make them.  They raise StorageError."""

    def __init__(self, folder: Path, *, retention_days: float, max_bytes: int) -> None:
        self.path = folder / FILE
        self._retention_days = retention_days
        self._max_bytes = max_bytes
        self._database: sqlite3.Connection | None = None

    def open(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10.0)
            self._prepare(self._database)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StorageError(
                f"{self.path} could not be opened: {error}; make its folder writable, or move a damaged file away"
            ) from error
        except StorageError:
            self.close()
            raise

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StorageError(f"{self.path} was written by a newer version; give the analyzer another folder")
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")

    @property
    def is_open(self) -> bool:
        return self._database is not None

    def close(self) -> None:
        """Idempotent."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def commit(self, rows: FlowRows) -> None:
        """Keep all of it, or nothing."""
        with self._transaction() as database:
            database.executemany(_PUT_FLOW, rows.flows)
            database.executemany("INSERT OR IGNORE INTO metric VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.metrics)
            database.executemany("INSERT OR IGNORE INTO raw_packet VALUES (?, ?, ?, ?, ?)", rows.raw_packets)

    def maintain(self, now_ms: int) -> int:
        """Remove some of what is too old, or too much; returns how many rows went, 0 when nothing is left to do."""
        gone = 0
        with self._transaction() as database:
            if self._retention_days:
                gone += self._remove(database, now_ms - int(self._retention_days * _DAY_MS))
            if not gone and self._max_bytes and self._used(database) > self._max_bytes:
                found = database.execute("SELECT last FROM metric ORDER BY last LIMIT 1 OFFSET ?", (_SLICE,)).fetchone()
                gone += self._remove(database, now_ms if found is None else found[0] + 1)
        return gone

    def _remove(self, database: sqlite3.Connection, before_ms: int) -> int:
        return sum(
            database.execute(statement, (before_ms, _SLICE)).rowcount
            for statement in (
                "DELETE FROM flow WHERE rowid IN (SELECT rowid FROM flow WHERE last < ? ORDER BY last LIMIT ?)",
                "DELETE FROM metric WHERE (uuid, last) IN "
                "(SELECT uuid, last FROM metric WHERE last < ? ORDER BY last LIMIT ?)",
                "DELETE FROM raw_packet WHERE (uuid, number) IN "
                "(SELECT uuid, number FROM raw_packet WHERE time < ? ORDER BY time LIMIT ?)",
            )
        )

    def _used(self, database: sqlite3.Connection) -> int:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)

    # ------------------------------------------------------------------ reading

    def flows(self, *, since_ms: int = 0, until_ms: int = (1 << 63) - 1, limit: int = 10_000) -> list[bytes]:
        """Flows that were alive in a time, as JSON, those that ended last first."""
        return [
            json
            for (json,) in self._select(
                "SELECT json FROM flow WHERE last >= ? AND start <= ? ORDER BY last DESC LIMIT ?",
                (since_ms, until_ms, limit),
            )
        ]

    def metrics(self, uuid: str) -> list[tuple[int, ...]]:
        """(start, last, AB packets, AB bytes, BA packets, BA bytes, RTT) of a flow, in order."""
        return list(
            self._select(
                "SELECT start, last, ab_packets, ab_bytes, ba_packets, ba_bytes, rtt FROM metric WHERE uuid = ? "
                "ORDER BY last",
                (uuid,),
            )
        )

    def raw_packets(self, uuid: str) -> list[tuple[int, int, int, bytes]]:
        """(number, time in ms, LINKTYPE_, bytes) of the packets kept of a flow."""
        return list(
            self._select("SELECT number, time, link_type, data FROM raw_packet WHERE uuid = ? ORDER BY number", (uuid,))
        )

    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        return {
            table: next(self._select(f"SELECT count(*) FROM {table}", ()))[0]
            for table in ("flow", "metric", "raw_packet")
        }

    def _select(self, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        try:
            return iter(self._open().execute(statement, values).fetchall())
        except sqlite3.Error as error:
            raise StorageError(f"{self.path} cannot be read: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            raise StorageError(f"{self.path} is closed")
        return self._database

    def _transaction(self) -> _Transaction:
        return _Transaction(self._open(), self.path)


@final
class _Transaction:
    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        self._run("BEGIN IMMEDIATE")
        return self._database

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self._run("COMMIT")
            return
        if self._database.in_transaction:
            self._database.rollback()
        if isinstance(error, sqlite3.Error):
            raise StorageError(f"{self._path} cannot be written: {error}") from error

    def _run(self, statement: str) -> None:
        try:
            self._database.execute(statement)
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.rollback()
            raise StorageError(f"{self._path} cannot be written: {error}") from error
