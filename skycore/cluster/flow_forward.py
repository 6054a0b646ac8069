"""Flows on their way from an agent: kept in a spool, sent to one analyzer at a time, let go when it has them safe.

A batch is *taken* when it is in the spool; it then survives the death of the agent, and reaches an analyzer once or,
when that one was lost before it could say so, again.  Which analyzer: the one whose link has the turn.  When it is lost
the next one that is connected gets the turn, and everything that was not acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, final

import attrs
import structlog
import trio

from skycore.cluster.messages import Captures, FlowAck, FlowGap, FromAgent, ToParts
from skycore.cluster.spool import Lost, Spool
from skycore.errors import StorageError
from skycore.flow.batch import FlowBatch, array
from skycore.flow.order import CaptureOrder

log = structlog.get_logger(__name__)

READER: Final = "flows"
"""The only reader of the spool: whichever analyzer has the turn."""
_WINDOW: Final = 2 << 20
"""Bytes that may be on their way without an acknowledgement; so much of each agent waits in an analyzer at most."""
_SYNC_EACH: Final = 1.0

Send = Callable[[FromAgent | bytes], Awaitable[None]]


@final
@attrs.define
class ForwardState:
    """What status shows; batches and flows since the start of this process."""

    analyzer: str | None = None
    batches: int = 0
    flows: int = 0
    lost_flows: int = 0
    sent: int = 0
    acknowledged: int = 0
    error: str | None = None


@final
class FlowForwarder:
    """Implements skycore.cluster.uplink.LinkPart; ``want`` is told what each analyzer wants captured."""

    def __init__(self, spool: Spool, want: Callable[[str, Sequence[CaptureOrder]], None]) -> None:
        self.spool = spool
        self.state = ForwardState()
        self._want = want
        self._reader = spool.reader(READER)
        self._turn = trio.Lock()
        self._writing = trio.Lock()
        self._seq = 0
        self._grown = trio.Event()
        self._moved = trio.Event()
        self._in_flight: deque[tuple[int, int, int]] = deque()
        self._bytes = 0

    async def run(self) -> None:
        """Make what was taken survive a power cut, each second, until cancelled."""
        while True:
            await trio.sleep(_SYNC_EACH)
            try:
                await trio.to_thread.run_sync(self.spool.sync)
            except StorageError as error:
                self.state.error = str(error)

    async def put(self, batch: FlowBatch) -> None:
        """Take a batch; what the disk refuses is lost, and counted."""
        async with self._writing:
            for piece in batch.pieces():
                await trio.to_thread.run_sync(self._append, piece)
                self._grown.set()
                self._grown = trio.Event()

    def _append(self, piece: FlowBatch) -> None:
        seq, state = self._seq + 1, self.state
        payload = b'{"type":"flows","epoch":%d,"seq":%d,"flows":%b,"raw":%b}' % (
            self.spool.epoch,
            seq,
            array(piece.flows),
            array(piece.raw_packets),
        )
        try:
            self.spool.append(seq, seq, payload)
        except StorageError as error:
            if state.error is None:
                log.error("the spool takes no flows; they are lost", error=str(error))
            state.error = str(error)
            state.lost_flows += piece.count
            return
        self._seq, state.error = seq, None
        state.batches += 1
        state.flows += piece.count

    # ------------------------------------------------------------------ links

    async def serve(self, analyzer: str, send: Send) -> None:
        """Wait for the turn, then send to this analyzer until its link is lost."""
        async with self._turn:
            self.state.analyzer = analyzer
            self._in_flight.clear()
            self._bytes = 0
            log.info("flows go to this analyzer from now on", analyzer=analyzer)
            try:
                await trio.to_thread.run_sync(self._reader.rewind)
                await self._send(send)
            finally:
                self.state.analyzer = None

    async def _send(self, send: Send) -> None:
        while True:
            grown, moved = self._grown, self._moved
            if self._bytes >= _WINDOW:
                await moved.wait()
                continue
            entry = await trio.to_thread.run_sync(self._reader.next)
            if entry is None:
                await grown.wait()
                continue
            if isinstance(entry, Lost):
                self._sent(entry.epoch, entry.last, 0)
                await send(FlowGap(entry.epoch, entry.first, entry.last))
            else:
                self._sent(entry.epoch, entry.last, len(entry.payload))
                await send(entry.payload)

    def _sent(self, epoch: int, seq: int, size: int) -> None:
        self._in_flight.append((epoch, seq, size))
        self._bytes += size
        self.state.sent += 1

    async def take(self, analyzer: str, message: ToParts) -> None:
        """What an analyzer wants, or what it has safe."""
        if isinstance(message, Captures):
            self._want(analyzer, message.orders)
            return
        if not isinstance(message, FlowAck) or analyzer != self.state.analyzer:
            return
        await trio.to_thread.run_sync(self._reader.acknowledge, message.epoch, message.seq)
        while self._in_flight and self._in_flight[0][:2] <= (message.epoch, message.seq):
            self._bytes -= self._in_flight.popleft()[2]
            self.state.acknowledged += 1
        self._moved.set()
        self._moved = trio.Event()

    async def drained(self) -> None:
        """Return when all that was taken is acknowledged; never without an analyzer."""
        while self._in_flight or self.state.acknowledged < self.state.batches:
            await self._moved.wait()
