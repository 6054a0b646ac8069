"""Questions about the flows of an agent's own tables, as they stand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, final

import msgspec

from skycore.filter import EVERYTHING, All, Compare, Equals, Filter
from skycore.filter import Any as AnyOf
from skycore.flow.filter_json import filter_json
from skycore.flow.merging import merge, part_of
from skycore.flow.query import FlowMetric, FlowQuery, FlowSpan, RawPacket, Tell
from skycore.flow.table import FlowTable

_AT_ONCE: Final = 256
"""Flows that are written in one turn of a table: packets wait for a millisecond at most."""


class _PacketOfFlow(msgspec.Struct):
    UUID: str
    Timestamp: int
    Index: int
    Data: bytes
    LinkType: int


_packet = msgspec.json.Decoder(_PacketOfFlow).decode


@final
class LiveFlows:
    """Implements skycore.flow.query.FlowReader over ``tables``, which gives those that there are.

    ``expire_ms`` is how long a flow may be quiet and yet go on.
    """

    def __init__(self, tables: Callable[[], Iterable[FlowTable]], expire_ms: int) -> None:
        self._tables = tables
        self._expire_ms = expire_ms

    async def flows(self, query: FlowQuery, span: FlowSpan | None, tell: Tell) -> AsyncGenerator[Sequence[bytes]]:
        """Raises CaptureError for a query that tables do not take."""
        filter = query.filter if span is None else within(query.filter, span, self._expire_ms)
        async with aclosing(self.chosen_by(filter_json(filter), query)) as pieces:
            async for piece in pieces:
                yield piece

    async def chosen_by(self, filter: bytes, query: FlowQuery) -> AsyncGenerator[Sequence[bytes]]:
        """The flows that a query wants whose filter is given as JSON instead."""
        part = part_of(query)
        tables = [table for table in self._tables() if query.nodes is None or table.node_tid in query.nodes]
        async with aclosing(merge(query, [_of(table, filter, part) for table in tables])) as pieces:
            async for piece in pieces:
                yield piece

    async def metrics(self, uuids: Sequence[str], span: FlowSpan | None) -> Mapping[str, Sequence[FlowMetric]]:
        """None: tables do not keep what they have sent."""
        return {}

    async def raw_packets(
        self, uuids: Sequence[str], nodes: frozenset[str], span: FlowSpan | None, tell: Tell
    ) -> Mapping[str, Sequence[RawPacket]]:
        """What is kept until the next update; later packets go to the analyzer."""
        found: dict[str, list[RawPacket]] = {}
        async for line in self.packet_lines(uuids, nodes):
            uuid, packet = packet_of(line)
            if span is None or span.since_ms <= packet.Timestamp <= span.until_ms:
                found.setdefault(uuid, []).append(packet)
        return found

    async def packet_lines(self, uuids: Sequence[str], nodes: frozenset[str]) -> AsyncGenerator[bytes]:
        """The same, each packet as the JSON that a table gives, with the UUID of its flow."""
        filter = filter_json(AnyOf(tuple(Equals("UUID", uuid) for uuid in uuids)))
        for table in [table for table in self._tables() if table.node_tid in nodes]:
            chosen = await table.choose(filter, sort_by=None, descending=False, dedup_by=None, limit=None)
            for begin in range(0, len(chosen), _AT_ONCE):
                batch = await table.chosen(chosen, begin, begin + _AT_ONCE)
                for line in batch.raw_packets.splitlines():
                    yield line


def packet_of(line: bytes) -> tuple[str, RawPacket]:
    """A packet from the JSON that a table gives, and the UUID of its flow.  Raises msgspec.DecodeError."""
    one = _packet(line)
    return one.UUID, RawPacket(one.Timestamp, one.Index, one.Data, one.LinkType)


def within(filter: Filter, span: FlowSpan, expire_ms: int) -> Filter:
    """The filter for what was alive in a span besides."""
    alive = (Compare("Start", "lte", span.until_ms), Compare("Last", "gte", span.since_ms - expire_ms))
    return All(alive) if filter == EVERYTHING else All((*alive, filter))


async def _of(table: FlowTable, filter: bytes, query: FlowQuery) -> AsyncGenerator[Sequence[bytes]]:
    chosen = await table.choose(
        filter,
        sort_by=query.sort_by,
        descending=query.descending,
        dedup_by=query.dedup_by,
        limit=query.limit,
    )
    for begin in range(0, len(chosen), _AT_ONCE):
        batch = await table.chosen(chosen, begin, begin + _AT_ONCE)
        yield batch.flows.splitlines()
