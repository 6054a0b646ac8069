"""What can be asked about flows, of live tables and of the store alike.

Flows are JSON records in the form of the API (docs/flows.md).  A question is a ``FlowQuery``; who holds flows answers
it as a ``FlowReader``: an agent over its tables, an analyzer over its agents, a store over the past.  All mean the same
by it: what ``skycore.flow.evaluation`` says over plain records.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, final

import attrs
import msgspec

from skycore.filter import EVERYTHING, Filter


@final
@attrs.frozen
class FlowQuery:
    """Which flows are wanted: those for which ``filter`` holds, sorted, then without repetitions, then a window.

    Keys are names of fields in their canonical form (skycore.flow.fields), as ``Network.A`` or ``Metric.ABBytes``.

    ``nodes``: TIDs, the flows were seen at one of them (``NodeTID``); None: anywhere.
    ``sort_by``: numbers come before strings and these before other values; what lacks the key comes last, descending
    too; equal ones are in the order of their UUIDs (as text, ascending).  None: no order is promised.
    ``dedup_by``: of those with the same value the first one stays, in that order; those that lack the key all stay.
    ``offset``, ``limit``: the window, after all else; ``limit`` None: to the end.
    """

    filter: Filter = EVERYTHING
    nodes: frozenset[str] | None = None
    sort_by: str | None = None
    descending: bool = False
    dedup_by: str | None = None
    offset: int = 0
    limit: int | None = None


@final
@attrs.frozen
class FlowSpan:
    """A time, in milliseconds since the epoch, both ends included.

    A flow was alive in it when ``Start <= until_ms`` and ``Last >= since_ms - flow.expire``: within that time it may
    have gone on without packets.  The reader knows the setting.
    """

    since_ms: int
    until_ms: int


@final
class FlowMetric(msgspec.Struct, frozen=True, gc=False):
    """What a flow did from ``Start`` to ``Last`` (ms since the epoch): packets, bytes, ``RTT`` in ns (0: unknown)."""

    ABPackets: int = 0
    ABBytes: int = 0
    BAPackets: int = 0
    BABytes: int = 0
    Start: int = 0
    Last: int = 0
    RTT: int = 0


@final
class RawPacket(msgspec.Struct, frozen=True, gc=False):
    """A packet kept of a flow: ms since the epoch, its number from 1, its bytes (base64 in JSON), a LINKTYPE_ number.

    ``Data`` is what was captured, cut at the capture's ``HeaderSize``.
    """

    Timestamp: int
    Index: int
    Data: bytes
    LinkType: int


@final
@attrs.frozen
class Unanswered:
    """An agent whose flows are missing in an answer, or some of them, and why."""

    host: str
    reason: str


Tell: TypeAlias = Callable[[Unanswered], None]
"""Told whose flows are missing, before the answer ends."""


class FlowReader(Protocol):
    """Who answers questions about flows.

    ``span`` None: the present.  A caller that needs no more closes the iterator; then no more is read.
    Raise StorageError when what is kept cannot be read.
    """

    def flows(self, query: FlowQuery, span: FlowSpan | None, tell: Tell) -> AsyncGenerator[Sequence[bytes]]:
        """The JSON records of the flows in the query's order, piece by piece."""
        ...

    async def metrics(self, uuids: Sequence[str], span: FlowSpan | None) -> Mapping[str, Sequence[FlowMetric]]:
        """What each flow did between ticks that lie in the span, by time; flows without any are left out."""
        ...

    async def raw_packets(
        self, uuids: Sequence[str], nodes: frozenset[str], span: FlowSpan | None, tell: Tell
    ) -> Mapping[str, Sequence[RawPacket]]:
        """Packets kept of each flow, with times in the span, by number; flows without any are left out.

        ``nodes`` are the TIDs at which the flows were seen.
        """
        ...
