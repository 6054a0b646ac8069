"""Flows of the past: queries answered from the embedded store.

SQL finds what columns can tell, in a worker thread and a snapshot of its own, so that commits go on; what is left of
the filter is asked of the records.  An answer comes in pieces, and nothing more is read than is taken.
"""

from __future__ import annotations

import heapq
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Hashable, Mapping, Sequence
from contextlib import aclosing, contextmanager
from itertools import islice
from typing import Any, Final, TypeVar, final

import attrs
import msgspec
import trio

from skycore.flow.evaluation import decode, keys_of, order_of, same_as, test_of
from skycore.flow.fields import known_to_tables
from skycore.flow.query import FlowMetric, FlowQuery, FlowSpan, RawPacket, Tell
from skycore.storage import talkers
from skycore.storage.flow_filter import Pushed, pushed
from skycore.storage.flow_rows import BY_KEY
from skycore.storage.flows import FlowStore
from skycore.storage.talkers import By, Measure, Talkers

Enhance = Callable[[bytes], bytes]
Row = tuple[int, bool, bytes]
"""(id, bare, json)"""
T = TypeVar("T")

LATE_MS: Final = 900_000
"""So long after a flow was seen, the graph may still learn what stands at its ends."""
_PIECE: Final = 256
_INSTRUCTIONS: Final = 10_000
_IDS_AT_ONCE: Final = 500
_MOST: Final = (1 << 63) - 1

_METRICS: Final = """
SELECT uuid, metric.ab_packets, metric.ab_bytes, metric.ba_packets, metric.ba_bytes, metric.start, metric.last, rtt
FROM flow JOIN metric ON metric.flow = flow.id
WHERE uuid IN (SELECT value FROM json_each(?)) AND metric.start >= ? AND metric.last <= ?
ORDER BY flow.id, metric.last
"""
_RAW_PACKETS: Final = """
SELECT uuid, time, number, data, link_type FROM flow JOIN raw_packet ON raw_packet.flow = flow.id
WHERE uuid IN (SELECT value FROM json_each(?)) AND time >= ? AND time <= ?
ORDER BY flow.id, number
"""
_BY_ID: Final = "SELECT id, bare, json FROM flow WHERE id IN (SELECT value FROM json_each(?))"


@final
class StoredFlows:
    """Implements skycore.flow.query.FlowReader over a store.

    ``expire_ms`` is flow.expire; ``enhance`` adds to a record what the graph knows of its ends, and is called on the
    event loop.
    """

    def __init__(
        self,
        store: FlowStore,
        *,
        expire_ms: int,
        enhance: Enhance,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._expire_ms = expire_ms
        self._enhance = enhance
        self._clock = clock

    async def flows(self, query: FlowQuery, span: FlowSpan | None, tell: Tell) -> AsyncGenerator[Sequence[bytes]]:
        """The flows of a span, or of all times, in the query's order; see FlowReader."""
        plan = _Plan.of(query, span, self._expire_ms, self._clock() - LATE_MS)
        rows = self._matching(plan) if plan.sorted_by_sql else self._sorted(plan)
        left, skip = query.limit, query.offset
        seen: set[Hashable] = set()
        async with aclosing(rows):
            async for piece in rows:
                found = self._first_of_each(piece, query.dedup_by, seen)
                found, skip = found[skip:], max(0, skip - len(found))
                if left is not None:
                    found = found[:left]
                    left -= len(found)
                if found:
                    yield [self._complete(bare, json) for _, bare, json in found]
                if left == 0:
                    return

    async def metrics(self, uuids: Sequence[str], span: FlowSpan | None) -> Mapping[str, Sequence[FlowMetric]]:
        """See FlowReader."""
        return await self._series(_METRICS, uuids, span, lambda row: FlowMetric(*row))

    async def raw_packets(
        self, uuids: Sequence[str], nodes: frozenset[str], span: FlowSpan | None, tell: Tell
    ) -> Mapping[str, Sequence[RawPacket]]:
        """See FlowReader."""
        return await self._series(_RAW_PACKETS, uuids, span, lambda row: RawPacket(*row))

    async def top(
        self, span: FlowSpan, by: By, limit: int, *, measure: Measure = "bytes", node: str | None = None
    ) -> Talkers:
        """The largest talkers of a span, in whole minutes; of the node with a TID, or of all."""

        def read() -> Talkers:
            with self._store.reading() as reader:
                return talkers.top(reader, span, by, limit, measure=measure, node=node)

        return await trio.to_thread.run_sync(read, abandon_on_cancel=True)

    # ------------------------------------------------------------------ rows

    async def _matching(self, plan: _Plan) -> AsyncGenerator[list[Row]]:
        """The rows for which the filter holds, in the order that SQL gives."""
        rest = plan.pushed.rest
        ends = rest is not None and plan.asks_for_ends
        test = None if rest is None else test_of(rest)
        scan = _Scan(self._store, plan, None if ends else test)
        with scan.ended():
            while (piece := await scan.next()) is not None:
                if ends and test is not None:
                    piece = [row for row in piece if test(decode(self._complete(row[1], row[2])))]
                if piece:
                    yield piece

    async def _sorted(self, plan: _Plan) -> AsyncGenerator[list[Row]]:
        """The same sorted by what is no column: only the keys are held while all is read."""
        query = plan.query
        order = order_of(query)
        whole = query.limit is None or query.dedup_by is not None
        most = None if whole or query.limit is None else query.offset + query.limit
        keyed: list[tuple[Any, int]] = []
        async with aclosing(self._matching(plan)) as pieces:
            async for piece in pieces:
                keyed += [(order(decode(self._complete(bare, json))), id) for id, bare, json in piece]
                if most is not None and len(keyed) > most + 16 * _PIECE:
                    keyed = heapq.nsmallest(most, keyed)
        keyed.sort()
        ahead = iter(keyed)
        while ids := [id for _, id in islice(ahead, _PIECE)]:
            rows = await trio.to_thread.run_sync(self._by_id, ids)
            # What retention has removed meanwhile is no more.
            yield [rows[id] for id in ids if id in rows]

    def _by_id(self, ids: list[int]) -> dict[int, Row]:
        with self._store.reading() as reader:
            return {row[0]: row for row in reader.execute(_BY_ID, (msgspec.json.encode(ids).decode(),))}

    def _complete(self, bare: bool, json: bytes) -> bytes:
        return self._enhance(json) if bare else json

    def _first_of_each(self, rows: list[Row], key: str | None, seen: set[Hashable]) -> list[Row]:
        if key is None:
            return rows
        found = []
        for row in rows:
            identity = same_as(decode(self._complete(row[1], row[2])), key)
            if identity is None or identity not in seen:
                seen.add(identity)
                found.append(row)
        return found

    async def _series(
        self, statement: str, uuids: Sequence[str], span: FlowSpan | None, make: Callable[[tuple[Any, ...]], T]
    ) -> dict[str, list[T]]:
        since, until = (0, _MOST) if span is None else (span.since_ms, span.until_ms)
        found: dict[str, list[T]] = {}

        def read(part: Sequence[str]) -> None:
            with self._store.reading() as reader:
                for uuid, *row in reader.execute(statement, (msgspec.json.encode(part).decode(), since, until)):
                    found.setdefault(uuid, []).append(make(tuple(row)))

        for start in range(0, len(uuids), _IDS_AT_ONCE):
            await trio.to_thread.run_sync(read, uuids[start : start + _IDS_AT_ONCE])
        return found


@final
@attrs.frozen
class _Plan:
    """How a query is read: one SELECT, and what is asked of the records besides."""

    query: FlowQuery
    pushed: Pushed
    statement: str
    values: tuple[Any, ...]
    sorted_by_sql: bool
    asks_for_ends: bool

    @classmethod
    def of(cls, query: FlowQuery, span: FlowSpan | None, expire_ms: int, late_since_ms: int) -> _Plan:
        sort = None if query.sort_by is None else BY_KEY.get(query.sort_by)
        if query.sort_by is not None and not known_to_tables(query.sort_by):
            # What the graph adds may be there by now where it was not when the flow was stored.
            sort = None
        by_sql = query.sort_by is None or sort is not None
        by_time = span is not None or (sort is not None and sort.name == "last" and query.limit is not None)
        found = pushed(query.filter, late_since_ms=late_since_ms, by_time=by_time)
        where, values = [found.where], list(found.values)
        if query.nodes is not None:
            hidden = "+" if by_time or found.selective else ""
            where.append(f"{hidden}node IN (SELECT value FROM json_each(?))")
            values.append(msgspec.json.encode(sorted(query.nodes)).decode())
        if span is not None:
            where.append(f"start <= ? AND {'+' if found.selective else ''}last >= ?")
            values += (span.until_ms, span.since_ms - expire_ms)
        order = ""
        if sort is not None:
            order = f" ORDER BY {sort.name} IS NULL, {sort.name}{' DESC' if query.descending else ''}, uuid"
            if sort.name in ("start", "last"):
                hidden = "+" if found.selective else ""
                order = f" ORDER BY {hidden}{sort.name}{' DESC' if query.descending else ''}, uuid"
        if query.limit is not None and query.dedup_by is None and found.rest is None and by_sql:
            order += " LIMIT ?"
            values.append(min(query.offset + query.limit, _MOST))
        return cls(
            query,
            found,
            f"SELECT id, bare, json FROM flow WHERE {' AND '.join(f'({one})' for one in where)}{order}",
            tuple(values),
            by_sql,
            found.rest is not None and not all(map(known_to_tables, keys_of(FlowQuery(found.rest)))),
        )


@final
class _Scan:
    """The rows of a SELECT, piece by piece, each made in a worker thread; it can be stopped at any moment."""

    def __init__(self, store: FlowStore, plan: _Plan, test: Callable[[dict[str, Any]], bool] | None) -> None:
        self._test = test
        self._stop = threading.Event()
        self._busy = threading.Lock()
        self._pieces = self._read(store, plan)

    async def next(self) -> list[Row] | None:
        """The next rows, possibly none; None at the end."""
        return await trio.to_thread.run_sync(self._step, abandon_on_cancel=True)

    @contextmanager
    def ended(self) -> Generator[None, None, None]:
        """Let go of the connection at the end, at once or as soon as the thread sees that it is to stop."""
        try:
            yield
        finally:
            self._stop.set()
            if self._busy.acquire(blocking=False):
                self._pieces.close()
                self._busy.release()

    def _step(self) -> list[Row] | None:
        with self._busy:
            if self._stop.is_set():
                self._pieces.close()
                return None
            piece = next(self._pieces, None)
            if self._stop.is_set():
                self._pieces.close()
            return piece

    def _read(self, store: FlowStore, plan: _Plan) -> Generator[list[Row], None, None]:
        with store.reading() as reader:
            plan.pushed.prepare(reader)
            reader.set_progress_handler(self._stop.is_set, _INSTRUCTIONS)
            try:
                cursor = reader.execute(plan.statement, plan.values)
                while rows := cursor.fetchmany(_PIECE):
                    yield rows if self._test is None else [row for row in rows if self._test(decode(row[2]))]
            except sqlite3.OperationalError:
                if not self._stop.is_set():
                    raise
            finally:
                reader.set_progress_handler(None, 0)
