"""An analyzer asks its agents about flows, those that can have them, all at a time, and makes one answer of theirs.

What an agent sends is bounded: it waits until it is asked for more.  An agent that is late, or not there, is named;
the answer goes on without it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from itertools import count
from typing import Final, final

import attrs
import msgspec
import structlog
import trio

from skycore.cluster.intake import AgentLink
from skycore.cluster.messages import FlowAnswer, FlowAsk, FlowMore, FlowStop, FromAnalyzer, FromParts, ToParts
from skycore.filter import All, Equals, Filter
from skycore.filter import Any as AnyOf
from skycore.flow.filter_json import filter_json
from skycore.flow.live import packet_of, within
from skycore.flow.merging import Merger, part_of
from skycore.flow.query import FlowMetric, FlowQuery, FlowSpan, RawPacket, Tell, Unanswered

log = structlog.get_logger(__name__)

_WINDOW: Final = 2
"""Pieces that an agent may send ahead: so much of each waits here at most for a question."""
_NAMED: Final = "agent."
_MOST: Final = 1 << 53
"""No agent has more flows; larger numbers are not for the link."""

Send = Callable[[FromAnalyzer], Awaitable[None]]


@final
@attrs.define
class AskState:
    """What status shows, since the start of this process.

    ``asked`` counts agents, once for each question; ``incomplete`` those of them whose answer lacks something.
    """

    questions: int = 0
    asked: int = 0
    records: int = 0
    incomplete: int = 0


@final
@attrs.define(eq=False)
class _Linked:
    """A connected agent, and what it is still to be told."""

    host: str
    box: deque[ToParts] = attrs.field(factory=deque)
    news: trio.Event = attrs.field(factory=trio.Event)

    def put(self, message: ToParts) -> None:
        self.box.append(message)
        self.news.set()


@final
@attrs.define(eq=False)
class _Source:
    """One agent in a question: how many pieces it may still send unasked, and until when the next one is due."""

    agent: _Linked
    due: float
    outstanding: int = _WINDOW
    arrived: int = 0


@final
class _Question:
    """One question to some agents: what they send, and who is late."""

    def __init__(self, number: int, agents: Mapping[str, _Linked], patience: float, tell: Tell) -> None:
        self.number = number
        self._patience = patience
        self._tell = tell
        self._arrived: deque[tuple[str, FlowAnswer | None]] = deque()
        self._news = trio.Event()
        due = trio.current_time() + patience
        self.sources = {name: _Source(agent, due) for name, agent in agents.items()}

    def put(self, name: str, answer: FlowAnswer | None) -> None:
        """What an agent sent; None: its link is lost."""
        source = self.sources.get(name)
        if source is None:
            return
        # One more than it may: the end of an answer needs no leave.
        records = () if answer is None else answer.records
        if source.arrived > _WINDOW or not all(bytes(record).startswith(b"{") for record in records):
            answer = FlowAnswer(self.number, [], last=True, error="its answer is not as it was asked for")
        source.arrived += 1
        self._arrived.append((name, answer))
        self._news.set()

    def want(self, names: Collection[str]) -> None:
        """Ask those for more that have sent all they may."""
        for name in names:
            source = self.sources.get(name)
            if source is not None and source.outstanding == 0:
                source.outstanding = _WINDOW
                source.due = trio.current_time() + self._patience
                source.agent.put(FlowMore(self.number, _WINDOW))

    async def next(self) -> tuple[str, Sequence[bytes], bool]:
        """The next piece: of whom, and whether it is that agent's last."""
        while True:
            while self._arrived:
                name, answer = self._arrived.popleft()
                # What came after an agent's end is not part of its answer.
                if name in self.sources:
                    return self._took(name, answer)
            waited = [source.due for source in self.sources.values() if source.outstanding]
            self._news = trio.Event()
            with trio.move_on_at(min(waited, default=float("inf"))):
                await self._news.wait()
            late = self._late()
            if late is not None and not self._arrived:
                return late, (), True

    def _took(self, name: str, answer: FlowAnswer | None) -> tuple[str, Sequence[bytes], bool]:
        source = self.sources[name]
        if answer is None:
            del self.sources[name]
            self._tell(Unanswered(source.agent.host, "the link to the agent was lost during its answer"))
            return name, (), True
        source.outstanding, source.arrived = max(0, source.outstanding - 1), source.arrived - 1
        source.due = trio.current_time() + self._patience
        if answer.last:
            del self.sources[name]
            if answer.error is not None:
                self._tell(Unanswered(source.agent.host, f"the agent refused: {answer.error}"))
        return name, [bytes(record) for record in answer.records], answer.last

    def _late(self) -> str | None:
        now = trio.current_time()
        for name, source in self.sources.items():
            if source.outstanding and source.due <= now:
                del self.sources[name]
                source.agent.put(FlowStop(self.number))
                self._tell(Unanswered(source.agent.host, f"the agent did not answer within {self._patience:g} s"))
                return name
        return None

    def stop(self) -> None:
        """Nothing more is wanted."""
        for source in self.sources.values():
            source.agent.put(FlowStop(self.number))
        self.sources.clear()


@final
class AgentsFlows:
    """Implements skycore.flow.query.FlowReader over the tables of all agents, and IntakePart, as which it is linked.

    Agents are named by their origin (``agent.HOST``).  ``agents_of`` gives those that have the nodes with some TIDs,
    each with its own, None when one of these is not known; ``away`` those whose link is lost and who are expected back.
    An agent that says nothing for ``patience`` seconds is late.  ``expire_ms``: how long a flow may be quiet and yet go
    on.
    """

    def __init__(
        self,
        *,
        agents_of: Callable[[Collection[str]], Mapping[str, Collection[str]] | None],
        patience: float,
        expire_ms: int,
    ) -> None:
        self.state = AskState()
        self.away: Callable[[], Collection[str]] = tuple
        self._agents_of = agents_of
        self._patience = patience
        self._expire_ms = expire_ms
        self._linked: dict[str, _Linked] = {}
        self._questions: dict[int, _Question] = {}
        self._numbers = count(1)

    # ------------------------------------------------------------------ links

    @property
    def agents(self) -> list[str]:
        """Those that can be asked."""
        return list(self._linked)

    async def serve(self, link: AgentLink, send: Send) -> None:
        """Tell an agent what is asked of it, until its link is lost."""
        linked = self._linked[link.origin] = _Linked(link.host)
        try:
            while True:
                while linked.box:
                    await send(linked.box.popleft())
                linked.news = trio.Event()
                await linked.news.wait()
        finally:
            if self._linked.get(link.origin) is linked:
                del self._linked[link.origin]
            for question in self._questions.values():
                question.put(link.origin, None)

    async def take(self, link: AgentLink, message: FromParts) -> None:
        """A piece of an answer; of a question that has ended, it is dropped."""
        if not isinstance(message, FlowAnswer):
            return
        question = self._questions.get(message.number)
        if question is not None:
            self.state.records += len(message.records)
            question.put(link.origin, message)

    # ------------------------------------------------------------------ questions

    async def flows(self, query: FlowQuery, span: FlowSpan | None, tell: Tell) -> AsyncGenerator[Sequence[bytes]]:
        """Raises ValueError for a filter with a pattern or network that is none."""
        filter = query.filter if span is None else within(query.filter, span, self._expire_ms)
        part = part_of(query)
        nodes = query.nodes if query.nodes is not None else pinned(query.filter, "NodeTID")
        ask = FlowAsk(
            0,
            msgspec.Raw(filter_json(filter)),
            _WINDOW,
            None,
            part.sort_by,
            part.descending,
            part.dedup_by,
            None if part.limit is None else min(part.limit, _MOST),
        )
        question = self._ask(ask, nodes, tell)
        try:
            merger = Merger(query, list(question.sources))
            while not merger.done:
                name, records, last = await question.next()
                merger.put(name, records)
                if last:
                    merger.end(name)
                ready = merger.take()
                if ready:
                    yield ready
                question.want([name for name in merger.wanting if isinstance(name, str)])
        finally:
            self._end(question)

    async def metrics(self, uuids: Sequence[str], span: FlowSpan | None) -> Mapping[str, Sequence[FlowMetric]]:
        """None: tables do not keep what they have sent."""
        return {}

    async def raw_packets(
        self, uuids: Sequence[str], nodes: frozenset[str], span: FlowSpan | None, tell: Tell
    ) -> Mapping[str, Sequence[RawPacket]]:
        """What is kept until the next update; later packets have come here."""
        found: dict[str, list[RawPacket]] = {}
        async with aclosing(self._packets(uuids, nodes, tell)) as pieces:
            async for piece in pieces:
                for line in piece:
                    uuid, packet = packet_of(line)
                    if span is None or span.since_ms <= packet.Timestamp <= span.until_ms:
                        found.setdefault(uuid, []).append(packet)
        return found

    async def _packets(
        self, uuids: Sequence[str], nodes: frozenset[str], tell: Tell
    ) -> AsyncGenerator[Sequence[bytes]]:
        ask = FlowAsk(0, msgspec.Raw(filter_json(All())), _WINDOW, packets_of=list(uuids))
        question = self._ask(ask, nodes, tell)
        try:
            while question.sources:
                name, records, _ = await question.next()
                yield records
                question.want([name])
        finally:
            self._end(question)

    def _ask(self, ask: FlowAsk, nodes: frozenset[str] | None, tell: Tell) -> _Question:
        theirs: Mapping[str, Collection[str] | None] | None = None if nodes is None else self._agents_of(nodes)
        if theirs is None:
            theirs = dict.fromkeys((*self._linked, *self.away()), nodes)
        for name in sorted(theirs):
            if name not in self._linked:
                tell(Unanswered(name.removeprefix(_NAMED), "the agent is not connected"))
        agents = {name: agent for name, agent in self._linked.items() if name in theirs}
        number = next(self._numbers)
        question = self._questions[number] = _Question(number, agents, self._patience, self._noting(tell))
        for name, agent in agents.items():
            tids = theirs[name]
            agent.put(msgspec.structs.replace(ask, number=number, nodes=None if tids is None else sorted(tids)))
        self.state.questions += 1
        self.state.asked += len(agents)
        return question

    def _noting(self, tell: Tell) -> Tell:
        def told(unanswered: Unanswered) -> None:
            self.state.incomplete += 1
            log.warning("flows of an agent are missing in an answer", host=unanswered.host, reason=unanswered.reason)
            tell(unanswered)

        return told

    def _end(self, question: _Question) -> None:
        question.stop()
        del self._questions[question.number]


def pinned(filter: Filter, key: str) -> frozenset[str] | None:
    """The strings one of which a key must have for a filter to hold, None when it may have others."""
    match filter:
        case Equals(found, value) if found == key and isinstance(value, str):
            return frozenset({value})
        case All(filters):
            sets = [values for one in filters if (values := pinned(one, key)) is not None]
            return frozenset.intersection(*sets) if sets else None
        case AnyOf(filters):
            every = [pinned(one, key) for one in filters]
            known = [values for values in every if values is not None]
            return frozenset().union(*known) if len(known) == len(every) else None
    return None
