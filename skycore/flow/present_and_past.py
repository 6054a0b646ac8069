"""Flows of the present and of the past in one answer, each with what the graph knows of it.

A flow that a table still has stands in the answer as it is there, and not as it was kept before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, final

import attrs
import trio

from skycore.errors import HistoryUnavailable, PeriodTooLarge
from skycore.flow.evaluation import alive, decode, keys_of, order_of, same_as, test_of, weaker
from skycore.flow.fields import known_to_tables, settled
from skycore.flow.merging import merge, part_of
from skycore.flow.query import FlowMetric, FlowQuery, FlowReader, FlowSpan, RawPacket, Tell

_AT_ONCE: Final = 256
_NO_STORE: Final = (
    "No storage backend has been configured: flows are not kept here, so there are none of the past to ask for "
    "(analyzer.flow.backend)"
)


@final
class PresentAndPast:
    """Implements skycore.flow.query.FlowReader: the present is asked of ``live``, spans of ``past`` and ``live``.

    ``now`` gives ms since the epoch; the tables are asked when a span ends no more than ``update_ms`` ago: what is
    older has come to the store.  ``enhance`` adds what the graph knows to a record of a table.  ``most_bytes`` of
    records are held at most for an answer that tables alone cannot give; more raise PeriodTooLarge.
    """

    def __init__(
        self,
        live: FlowReader,
        past: FlowReader | None,
        *,
        now: Callable[[], int],
        update_ms: int,
        expire_ms: int,
        enhance: Callable[[bytes], bytes] = lambda json: json,
        most_bytes: int = 64 << 20,
    ) -> None:
        self._live = live
        self._past = past
        self._now = now
        self._update_ms = update_ms
        self._expire_ms = expire_ms
        self._enhance = enhance
        self._most_bytes = most_bytes

    async def flows(self, query: FlowQuery, span: FlowSpan | None, tell: Tell) -> AsyncGenerator[Sequence[bytes]]:
        """Raises HistoryUnavailable for a span where flows are not kept."""
        if span is None:
            answer = self._present(query, tell)
        elif self._past is None:
            raise HistoryUnavailable(_NO_STORE)
        elif not self._touches_now(span):
            answer = self._past.flows(query, span, tell)
        else:
            answer = self._both(self._past, query, span, tell)
        async with aclosing(answer) as pieces:
            async for piece in pieces:
                yield piece

    async def metrics(self, uuids: Sequence[str], span: FlowSpan | None) -> Mapping[str, Sequence[FlowMetric]]:
        return {} if self._past is None else await self._past.metrics(uuids, span)

    async def raw_packets(
        self, uuids: Sequence[str], nodes: frozenset[str], span: FlowSpan | None, tell: Tell
    ) -> Mapping[str, Sequence[RawPacket]]:
        """Those that were kept, and those that no update has sent yet."""
        kept = {} if self._past is None else await self._past.raw_packets(uuids, nodes, span, tell)
        if span is not None and not self._touches_now(span):
            return kept
        found = {uuid: {one.Index: one for one in packets} for uuid, packets in kept.items()}
        for uuid, packets in (await self._live.raw_packets(uuids, nodes, span, tell)).items():
            found.setdefault(uuid, {}).update((one.Index, one) for one in packets)
        return {uuid: [packets[index] for index in sorted(packets)] for uuid, packets in found.items()}

    def _touches_now(self, span: FlowSpan) -> bool:
        return span.until_ms >= self._now() - self._update_ms

    async def _present(self, query: FlowQuery, tell: Tell) -> AsyncGenerator[Sequence[bytes]]:
        if all(map(known_to_tables, keys_of(query))):
            async with aclosing(self._live.flows(query, None, tell)) as pieces:
                async for piece in pieces:
                    yield [self._enhance(json) for json in piece]
            return
        # What the graph knows is asked about: tables give what may be meant, and the rest is done here.
        held = await self._held(query, known_to_tables, tell)
        found = await trio.to_thread.run_sync(_refined, held, part_of(query))
        async with aclosing(merge(query, [_pieces(found)])) as pieces:
            async for piece in pieces:
                yield piece

    async def _both(
        self, past: FlowReader, query: FlowQuery, span: FlowSpan, tell: Tell
    ) -> AsyncGenerator[Sequence[bytes]]:
        # All flows of the tables that might stand in the store as matching, whatever they are by now.
        held = await self._held(query, lambda key: settled(key) and known_to_tables(key), tell)
        part = part_of(query)
        known, found = await trio.to_thread.run_sync(self._alive, held, part, span)
        # Some of the store's may be left out here, so it is asked for that many more; which of them is the first with
        # a value is then decided here, too.
        more = attrs.evolve(part, dedup_by=None, limit=None if part.limit is None else part.limit + len(known))
        if part.dedup_by is not None:
            more = attrs.evolve(more, limit=None)
        kept = _without(past.flows(more, span, tell), known)
        async with aclosing(merge(query, [_pieces(found), kept])) as pieces:
            async for piece in pieces:
                yield piece

    def _alive(self, held: list[bytes], query: FlowQuery, span: FlowSpan) -> tuple[set[str], list[bytes]]:
        """The UUIDs of flows, and those of them that a query wants and that were alive in a span, in its order."""
        known: set[str] = set()
        found: list[bytes] = []
        for json in held:
            record = decode(json)
            known.add(record["UUID"])
            if alive(record, span, self._expire_ms):
                found.append(json)
        return known, _refined(found, query)

    async def _held(self, query: FlowQuery, keep: Callable[[str], bool], tell: Tell) -> list[bytes]:
        """The flows of the tables for which that part of the filter holds that is over keys to ``keep``."""
        found: list[bytes] = []
        size = 0
        wide = FlowQuery(weaker(query.filter, keep), query.nodes)
        async with aclosing(self._live.flows(wide, None, tell)) as pieces:
            async for piece in pieces:
                found += map(self._enhance, piece)
                size += sum(map(len, piece))
                if size > self._most_bytes:
                    raise PeriodTooLarge(
                        f"the query is too large: more than {self._most_bytes >> 20} MiB of flows are in tables now; "
                        "narrow it with Has, or ask for a time that has passed"
                    )
        return found


def _refined(records: list[bytes], query: FlowQuery) -> list[bytes]:
    """Those of the records that a query wants, in its order; for a worker thread."""
    holds = test_of(query.filter)
    found = [(record, json) for record, json in ((decode(json), json) for json in records) if holds(record)]
    if query.sort_by is not None:
        order = order_of(query)
        found.sort(key=lambda one: order(one[0]))
    if query.dedup_by is not None:
        seen = set()
        kept = []
        for record, json in found:
            identity = same_as(record, query.dedup_by)
            if identity is None or identity not in seen:
                seen.add(identity)
                kept.append((record, json))
        found = kept
    return [json for _, json in found][: query.limit]


async def _pieces(records: list[bytes]) -> AsyncGenerator[Sequence[bytes]]:
    for start in range(0, len(records), _AT_ONCE):
        yield records[start : start + _AT_ONCE]


async def _without(answer: AsyncGenerator[Sequence[bytes]], known: set[str]) -> AsyncGenerator[Sequence[bytes]]:
    async with aclosing(answer) as pieces:
        async for piece in pieces:
            yield [json for json in piece if decode(json)["UUID"] not in known]
