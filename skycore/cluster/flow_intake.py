"""Flows at their analyzer: stored, and acknowledged when the commit that holds them is done."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, final

import attrs
import msgspec
import structlog
import trio

from skycore.cluster.intake import AgentLink
from skycore.cluster.messages import Captures, FlowAck, FlowGap, Flows, FromAnalyzer, FromParts
from skycore.errors import StorageError
from skycore.flow.enhance import Enhancer
from skycore.flow.order import CaptureOrder
from skycore.storage.flow_rows import FlowRows
from skycore.storage.flows import FlowStore

log = structlog.get_logger(__name__)

_RETRY: Final = 1.0
_MAINTAIN_EACH: Final = 60.0
_AT_ONCE: Final = 64
"""Batches of one commit, at most."""

Record = bytes | msgspec.Raw
Send = Callable[[FromAnalyzer], Awaitable[None]]


class Orders(Protocol):
    """Which captures are wanted on which nodes of an agent."""

    @property
    def changed(self) -> trio.Event:
        """Set, and another put in its place, when some agent's orders are others."""
        ...

    def of(self, origin: str) -> Sequence[CaptureOrder]: ...


@final
@attrs.define
class FlowState:
    """What status shows, since the start of this process; ``lost_batches`` never came out of an agent's spool."""

    batches: int = 0
    flows: int = 0
    raw_packets: int = 0
    commits: int = 0
    refused: int = 0
    lost_batches: int = 0
    error: str | None = None


@final
@attrs.frozen
class _Waiting:
    origin: str
    message: Flows | FlowGap


@final
class FlowIntake:
    """Implements skycore.cluster.intake.IntakePart; ``store`` is None where flows are not kept, only acknowledged.

    Records get what ``enhancer`` knows before they are kept.  ``on_commit`` is called on the event loop with those of
    each commit, as JSON; of a flow of which there are several with the last one.
    """

    def __init__(self, store: FlowStore | None, enhancer: Enhancer) -> None:
        self.store = store
        self._enhancer = enhancer
        self.state = FlowState()
        self.on_commit: Callable[[Sequence[bytes]], None] | None = None
        self._flushing = trio.Lock()
        self._waiting: list[_Waiting] = []
        self._news = trio.Event()
        self._committed: dict[str, dict[int, int]] = {}
        self._told: dict[str, trio.Event] = {}

    @property
    def backlog(self) -> int:
        """Batches that wait for a commit."""
        return len(self._waiting)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit what comes, until cancelled; the store is tried again for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._maintain)
            task_status.started()
            while True:
                await self._news.wait()
                self._news = trio.Event()
                while self._waiting:
                    if not await self.flush():
                        await trio.sleep(_RETRY)

    async def flush(self) -> bool:
        """Commit some of what waits; False when the store refused it."""
        async with self._flushing:
            return await self._flush()

    async def put(self, flows: Sequence[bytes], raw_packets: Sequence[bytes]) -> FlowRows:
        """Keep records that come from elsewhere; returns what became of them.

        They are kept once it has returned.  Raises StorageError when they cannot be.
        """
        async with self._flushing:
            rows = await self._kept([(flows, raw_packets)])
        self._tell(rows)
        return rows

    async def _flush(self) -> bool:
        batches = self._waiting[:_AT_ONCE]
        said = [(batch.message.flows, batch.message.raw) for batch in batches if isinstance(batch.message, Flows)]
        try:
            rows = await self._kept(said)
        except StorageError as error:
            if self.state.error is None:
                log.error("flows cannot be stored; trying again", error=str(error))
            self.state.error = str(error)
            return False
        del self._waiting[: len(batches)]
        state = self.state
        state.error = None
        state.batches += len(batches)
        self._tell(rows)
        for batch in batches:
            message = batch.message
            if isinstance(message, FlowGap):
                state.lost_batches += message.seq - message.first + 1
            committed = self._committed.setdefault(batch.origin, {})
            committed[message.epoch] = max(message.seq, committed.get(message.epoch, 0))
            if batch.origin in self._told:
                self._told[batch.origin].set()
        return True

    async def _kept(self, batches: Sequence[tuple[Sequence[Record], Sequence[Record]]]) -> FlowRows:
        """Enhance, and commit."""
        await self._enhancer.settle()
        enhanced = []
        for flows, raw_packets in batches:
            enhanced.append((self._enhancer.enhanced([bytes(one) for one in flows]), raw_packets))
            await trio.lowlevel.checkpoint()
        rows = await trio.to_thread.run_sync(_rows, enhanced)
        if self.store is not None:
            await trio.to_thread.run_sync(self._commit, rows)
        return rows

    def _tell(self, rows: FlowRows) -> None:
        """Count what was kept, and tell who wants to know."""
        state = self.state
        state.commits += 1
        state.flows += len(rows.flows)
        state.raw_packets += len(rows.raw_packets)
        if rows.refused:
            state.refused += len(rows.refused)
            log.warning("records of flows were refused", count=len(rows.refused), first=rows.refused[0])
        if self.on_commit is not None and rows.flows:
            self.on_commit([row[-1] for row in rows.flows.values()])

    async def _maintain(self) -> None:
        while True:
            await trio.sleep(_MAINTAIN_EACH)
            try:
                await self._remove_old()
            except StorageError as error:
                self.state.error = str(error)

    async def _remove_old(self) -> None:
        """Slice by slice, so that commits come in between."""
        gone = 1
        while self.store is not None and gone:
            gone = await trio.to_thread.run_sync(self._maintained)

    def _maintained(self) -> int:
        assert self.store is not None
        return self.store.maintain(time.time_ns() // 1_000_000)

    def _commit(self, rows: FlowRows) -> None:
        assert self.store is not None
        # Not opened at the start: until it can be, nothing is acknowledged, and agents keep their flows.
        if not self.store.is_open:
            self.store.open()
        self.store.commit(rows)

    async def serve(self, link: AgentLink, send: Send) -> None:
        """Tell an agent what of it is committed."""
        while True:
            told = self._told[link.origin] = trio.Event()
            for epoch, seq in sorted(self._committed.pop(link.origin, {}).items()):
                await send(FlowAck(epoch, seq))
            await told.wait()

    async def take(self, link: AgentLink, message: FromParts) -> None:
        """A batch; the agent's window bounds how many may wait."""
        if not isinstance(message, Flows | FlowGap):
            return
        self._waiting.append(_Waiting(link.origin, message))
        self._news.set()


@final
class OrderTeller:
    """Implements skycore.cluster.intake.IntakePart: tells each agent what is wanted of it, now and when it changes."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def serve(self, link: AgentLink, send: Send) -> None:
        """Tell until the link is lost."""
        told: list[CaptureOrder] | None = None
        while True:
            changed = self._orders.changed
            wanted = list(self._orders.of(link.origin))
            if wanted != told:
                await send(Captures(wanted))
                told = wanted
            await changed.wait()

    async def take(self, link: AgentLink, message: FromParts) -> None:
        """Not for us."""


def _rows(batches: Sequence[tuple[Sequence[Record], Sequence[Record]]]) -> FlowRows:
    rows = FlowRows()
    for flows, raw_packets in batches:
        rows.add(flows, raw_packets)
    return rows
