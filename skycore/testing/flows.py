"""Flows for tests: plain records that answer every question by looking at all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import final

import msgspec

from skycore.flow.evaluation import Record, evaluate
from skycore.flow.query import FlowMetric, FlowQuery, FlowSpan, RawPacket, Tell, Unanswered


@final
class ListedFlows:
    """Implements skycore.flow.query.FlowReader over records that are all at hand, a few at a time.

    ``unanswered`` are told of with each answer.  ``asked`` are the queries that came.
    """

    def __init__(
        self,
        records: Iterable[Record],
        *,
        metrics: Mapping[str, Sequence[FlowMetric]] | None = None,
        packets: Mapping[str, Sequence[RawPacket]] | None = None,
        unanswered: Sequence[Unanswered] = (),
        expire_ms: int = 600_000,
        piece: int = 7,
    ) -> None:
        self.records = list(records)
        self.asked: list[tuple[FlowQuery, FlowSpan | None]] = []
        self._metrics = metrics or {}
        self._packets = packets or {}
        self._unanswered = unanswered
        self._expire_ms = expire_ms
        self._piece = piece

    async def flows(self, query: FlowQuery, span: FlowSpan | None, tell: Tell) -> AsyncGenerator[Sequence[bytes]]:
        self.asked.append((query, span))
        for one in self._unanswered:
            tell(one)
        found = [msgspec.json.encode(one) for one in evaluate(self.records, query, span, self._expire_ms)]
        for start in range(0, len(found), self._piece):
            yield found[start : start + self._piece]

    async def metrics(self, uuids: Sequence[str], span: FlowSpan | None) -> Mapping[str, Sequence[FlowMetric]]:
        return {
            uuid: found for uuid in uuids if (found := [one for one in self._metrics.get(uuid, ()) if _in(one, span)])
        }

    async def raw_packets(
        self, uuids: Sequence[str], nodes: frozenset[str], span: FlowSpan | None, tell: Tell
    ) -> Mapping[str, Sequence[RawPacket]]:
        return {
            uuid: found
            for uuid in uuids
            if (found := [one for one in self._packets.get(uuid, ()) if _at(one.Timestamp, span)])
        }


def _in(metric: FlowMetric, span: FlowSpan | None) -> bool:
    return span is None or (metric.Start <= span.until_ms and metric.Last >= span.since_ms)


def _at(time: int, span: FlowSpan | None) -> bool:
    return span is None or span.since_ms <= time <= span.until_ms
