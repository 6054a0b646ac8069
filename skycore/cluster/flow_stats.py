"""What captures count, told to analyzers every few seconds for whoever listens; nothing of it is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, final

import trio

from skycore.cluster.intake import AgentLink
from skycore.cluster.messages import CaptureStats, FlowStats, FromAgent, FromAnalyzer, FromParts, ToParts
from skycore.flow.running import Running

EVERY: Final = 10.0
"""Seconds, as in Skydive."""


@final
class StatsTeller:
    """Implements skycore.cluster.uplink.LinkPart: tells each analyzer what this agent's captures have counted."""

    def __init__(self, captures: Callable[[], Iterable[Running]], every: float = EVERY) -> None:
        self._captures = captures
        self._every = every

    async def serve(self, analyzer: str, send: Callable[[FromAgent | bytes], Awaitable[None]]) -> None:
        """Tell until the link is lost."""
        before = self._totals()
        while True:
            await trio.sleep(self._every)
            now = self._totals()
            told = [_since(one, before.get(key)) for key, one in now.items()]
            if told:
                await send(FlowStats(told))
            before = now

    async def take(self, analyzer: str, message: ToParts) -> None:
        """Not for us."""

    def _totals(self) -> dict[tuple[str, str], CaptureStats]:
        return {(running.node, running.capture.UUID): _total(running) for running in self._captures()}


@final
class StatsTaker:
    """Implements skycore.cluster.intake.IntakePart; ``tell`` gets them in the form of the API, and the node's ID."""

    def __init__(self, tell: Callable[[Mapping[str, Any], str], None]) -> None:
        self._tell = tell

    async def serve(self, link: AgentLink, send: Callable[[FromAnalyzer], Awaitable[None]]) -> None:
        """Nothing to tell an agent."""

    async def take(self, link: AgentLink, message: FromParts) -> None:
        """Hand statistics on."""
        if not isinstance(message, FlowStats):
            return
        for one in message.captures:
            stats = {
                "CaptureID": one.capture,
                "FlowCount": one.flows,
                "FlowDropped": one.evicted,
                # Of eBPF, whose tables are the kernel's.
                "KernelFlowDropped": 0,
                "PacketsDropped": one.dropped,
                "PacketsReceived": one.received,
            }
            self._tell(stats, one.node)


def _total(running: Running) -> CaptureStats:
    counts, table = running.counts(), running.table_counts()
    return CaptureStats(running.node, running.capture.UUID, table.flows, table.evicted, counts.received, counts.dropped)


def _since(now: CaptureStats, before: CaptureStats | None) -> CaptureStats:
    # A capture that ended and began again counts from zero.
    if before is None or now.received < before.received or now.evicted < before.evicted or now.dropped < before.dropped:
        return now
    return CaptureStats(
        now.node,
        now.capture,
        now.flows,
        now.evicted - before.evicted,
        now.received - before.received,
        now.dropped - before.dropped,
    )
