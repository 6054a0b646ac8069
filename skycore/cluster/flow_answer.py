"""An agent answers its analyzers' questions about the flows in its tables.

Each answer goes in pieces, so many ahead as the analyzer has said; then the agent waits to be asked for more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, final

import attrs
import msgspec
import structlog
import trio

from skycore.cluster.messages import FlowAnswer, FlowAsk, FlowMore, FlowStop, FromAgent, ToParts
from skycore.errors import CaptureError
from skycore.flow.live import LiveFlows
from skycore.flow.query import FlowQuery

log = structlog.get_logger(__name__)

_PIECE: Final = 128 << 10
"""Bytes of records in one message, about."""
_AT_ONCE: Final = 64
"""Questions of one analyzer that are answered at a time."""

Send = Callable[[FromAgent], Awaitable[None]]


@final
@attrs.define(eq=False)
class _Job:
    """An answer under way; ``pieces`` may be sent before the analyzer asks for more."""

    pieces: int
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    more: trio.Event = attrs.field(factory=trio.Event)

    async def turn(self) -> None:
        while self.pieces == 0:
            self.more = trio.Event()
            await self.more.wait()
        self.pieces -= 1


@final
@attrs.define
class AnswerState:
    """What status shows, since the start of this process."""

    questions: int = 0
    records: int = 0
    stopped: int = 0


@final
class FlowAnswerer:
    """Implements skycore.cluster.uplink.LinkPart."""

    def __init__(self, flows: LiveFlows) -> None:
        self.state = AnswerState()
        self._flows = flows
        self._boxes: dict[str, deque[FlowAsk | FlowMore | FlowStop]] = {}
        self._news: dict[str, trio.Event] = {}

    async def serve(self, analyzer: str, send: Send) -> None:
        """Answer what this analyzer asks, until its link is lost."""
        # A question may have come before this was begun.
        box = self._boxes.setdefault(analyzer, deque())
        jobs: dict[int, _Job] = {}
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    while box:
                        message = box.popleft()
                        job = jobs.get(message.number)
                        match message:
                            case FlowAsk() if job is None:
                                if len(jobs) >= _AT_ONCE:
                                    error = f"the agent answers {_AT_ONCE} questions already"
                                    await send(FlowAnswer(message.number, [], last=True, error=error))
                                    continue
                                jobs[message.number] = job = _Job(message.pieces)
                                nursery.start_soon(self._answer, message, job, jobs, send)
                            case FlowMore() if job is not None:
                                job.pieces += message.pieces
                                job.more.set()
                            case FlowStop() if job is not None:
                                job.scope.cancel()
                            case _:  # the answer has ended meanwhile
                                pass
                    news = self._news[analyzer] = trio.Event()
                    await news.wait()
        finally:
            self._boxes.pop(analyzer, None)
            self._news.pop(analyzer, None)

    async def take(self, analyzer: str, message: ToParts) -> None:
        """A question, or what has become of one."""
        if isinstance(message, FlowAsk | FlowMore | FlowStop):
            self._boxes.setdefault(analyzer, deque()).append(message)
            if analyzer in self._news:
                self._news[analyzer].set()

    async def _answer(self, ask: FlowAsk, job: _Job, jobs: dict[int, _Job], send: Send) -> None:
        self.state.questions += 1
        last = FlowAnswer(ask.number, [], last=True)
        try:
            with job.scope:
                try:
                    async with aclosing(self._pieces(ask)) as pieces:
                        async for piece in pieces:
                            await job.turn()
                            await send(FlowAnswer(ask.number, piece))
                            self.state.records += len(piece)
                except CaptureError as error:
                    last = msgspec.structs.replace(last, error=str(error)[:1000])
                await send(last)
            self.state.stopped += job.scope.cancelled_caught
        finally:
            del jobs[ask.number]

    async def _pieces(self, ask: FlowAsk) -> AsyncGenerator[list[msgspec.Raw]]:
        piece: list[msgspec.Raw] = []
        size = 0
        async with aclosing(self._records(ask)) as records:
            async for record in records:
                piece.append(msgspec.Raw(record))
                size += len(record)
                if size >= _PIECE:
                    yield piece
                    piece, size = [], 0
        if piece:
            yield piece

    async def _records(self, ask: FlowAsk) -> AsyncGenerator[bytes]:
        nodes = None if ask.nodes is None else frozenset(ask.nodes)
        if ask.packets_of is not None:
            async with aclosing(self._flows.packet_lines(ask.packets_of, nodes or frozenset())) as lines:
                async for line in lines:
                    yield line
            return
        query = FlowQuery(
            nodes=nodes,
            sort_by=ask.sort_by,
            descending=ask.descending,
            dedup_by=ask.dedup_by,
            limit=ask.limit,
        )
        async with aclosing(self._flows.chosen_by(bytes(ask.filter), query)) as pieces:
            async for some in pieces:
                for record in some:
                    yield record
