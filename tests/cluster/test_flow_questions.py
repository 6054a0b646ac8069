"""Questions of an analyzer to its agents: one answer of all, whoever is slow, dead, lost or talks nonsense."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skycore.cluster import flow_answer, messages
from skycore.cluster.flow_answer import FlowAnswerer
from skycore.cluster.flow_ask import AgentsFlows, pinned
from skycore.cluster.intake import AgentLink
from skycore.cluster.messages import FlowAnswer, FlowAsk, FlowMore, FlowStop, FromAgent, FromAnalyzer
from skycore.errors import CaptureError
from skycore.filter import EVERYTHING, All, Compare, Equals, Filter
from skycore.filter import Any as AnyOf
from skycore.flow.evaluation import Record, decode, evaluate
from skycore.flow.filter_json import filter_json
from skycore.flow.query import FlowQuery, FlowSpan, Unanswered
from tests.flow.drawn_queries import check, flows, queries

PATIENCE = 5.0


class Tables:
    """What the answerer asks of an agent's tables (skycore.flow.live.LiveFlows), over records; filters go by JSON."""

    def __init__(self, records: Sequence[Record], filter: Filter = EVERYTHING, packets: Sequence[bytes] = ()) -> None:
        self.records = list(records)
        self.filters = {filter_json(filter): filter}
        self.packets = packets
        self.given = 0
        self.closed = 0
        self.stuck: trio.Event | None = None

    async def chosen_by(self, filter: bytes, query: FlowQuery) -> AsyncGenerator[Sequence[bytes]]:
        if filter not in self.filters:
            raise CaptureError("wrong filter: it is none")
        whole = FlowQuery(
            self.filters[filter], query.nodes, query.sort_by, query.descending, query.dedup_by, 0, query.limit
        )
        try:
            for record in evaluate(self.records, whole):
                if self.stuck is not None:
                    await self.stuck.wait()
                self.given += 1
                yield [msgspec.json.encode(record)]
        finally:
            self.closed += 1

    async def packet_lines(self, uuids: Sequence[str], nodes: frozenset[str]) -> AsyncGenerator[bytes]:
        for line in self.packets:
            if decode(line)["UUID"] in uuids:
                yield line


class Lab:
    """An analyzer and agents whose links carry messages as bytes."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.told: list[Unanswered] = []
        self.sent: list[tuple[str, FromAnalyzer]] = []
        self.where: Mapping[str, Collection[str]] | None = None
        self.asked = AgentsFlows(agents_of=lambda tids: self.where, patience=PATIENCE, expire_ms=1000)

    async def link(self, host: str, tables: Any) -> trio.CancelScope:
        answerer, scope = FlowAnswerer(tables), trio.CancelScope()
        link = AgentLink(host, "a", f"agent.{host}", 1, "", 0, 0, "")

        async def to_agent(message: FromAnalyzer) -> None:
            self.sent.append((host, message))
            await answerer.take("a", messages.from_analyzer(messages.encode(message)))  # type: ignore[arg-type]

        async def to_analyzer(message: FromAgent) -> None:
            await trio.lowlevel.checkpoint()
            await self.asked.take(link, messages.from_agent(messages.encode(message)))  # type: ignore[arg-type]

        async def up() -> None:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(answerer.serve, "a", to_analyzer)
                    nursery.start_soon(self.asked.serve, link, to_agent)

        self.nursery.start_soon(up)
        while link.origin not in self.asked.agents:
            await trio.lowlevel.checkpoint()
        return scope

    async def ask(self, query: FlowQuery, span: FlowSpan | None = None) -> list[Record]:
        pieces = self.asked.flows(query, span, self.told.append)
        return [decode(one) async for piece in pieces for one in piece]


@asynccontextmanager
async def lab() -> AsyncGenerator[Lab]:
    async with trio.open_nursery() as nursery:
        yield Lab(nursery)
        nursery.cancel_scope.cancel()


def numbered(count: int, start: int = 0) -> list[Record]:
    return [
        {"UUID": f"{start + number:06x}", "Start": number, "Last": number, "NodeTID": "n"} for number in range(count)
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flows(16), queries(), st.integers(1, 4), st.integers(1, 400))
async def test_the_answer_of_all_is_that_of_one_who_has_all_flows(
    records: list[Record], query: FlowQuery, agents: int, piece: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow_answer, "_PIECE", piece)
        async with lab() as made:
            for number in range(agents):
                await made.link(f"h{number}", Tables(records[number::agents], query.filter))
            check(query, records, await made.ask(query))
            assert made.told == []


async def test_only_those_are_asked_that_have_the_nodes(autojump_clock: object) -> None:
    async with lab() as made:
        tables = [Tables(numbered(2, number * 10)) for number in range(3)]
        for number, one in enumerate(tables):
            await made.link(f"h{number}", one)
        made.where = {"agent.h1": ["n"]}
        assert len(await made.ask(FlowQuery(nodes=frozenset({"n"})))) == 2
        assert [host for host, message in made.sent if isinstance(message, FlowAsk)] == ["h1"]
        made.sent.clear()
        made.where = {"agent.h9": ["n"]}
        assert await made.ask(FlowQuery(nodes=frozenset({"n"}))) == []
        assert made.told == [Unanswered("h9", "the agent is not connected")]
        # A node that nobody knows (any more): anyone may have flows of it.
        made.where = None
        await made.ask(FlowQuery(nodes=frozenset({"n"})))
        assert len({host for host, _ in made.sent}) == 3


async def test_agents_that_are_away_are_named() -> None:
    async with lab() as made:
        await made.link("here", Tables(numbered(3)))
        made.asked.away = lambda: ["agent.away"]
        assert len(await made.ask(FlowQuery())) == 3
        assert made.told == [Unanswered("away", "the agent is not connected")]


async def test_a_late_agent_is_named_and_the_others_answer(autojump_clock: object) -> None:
    async with lab() as made:
        slow, quick = Tables(numbered(5)), Tables(numbered(5, 100))
        slow.stuck = trio.Event()
        await made.link("slow", slow)
        await made.link("quick", quick)
        for query in (FlowQuery(), FlowQuery(sort_by="Start")):
            began = trio.current_time()
            assert len(await made.ask(query)) == 5
            assert trio.current_time() - began == pytest.approx(PATIENCE)
        assert made.told == [Unanswered("slow", "the agent did not answer within 5 s")] * 2
        await trio.testing.wait_all_tasks_blocked()
        assert (slow.closed, slow.given) == (2, 0)


async def test_an_agent_that_stops_in_the_middle_is_named(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_answer, "_PIECE", 1)
    async with lab() as made:
        tables = Tables(numbered(10))
        scope = await made.link("lost", tables)
        pieces = made.asked.flows(FlowQuery(), None, made.told.append)
        async with aclosing(pieces):
            assert len(await anext(pieces)) == 1
            scope.cancel()
            rest = [one async for piece in pieces for one in piece]
        assert len(rest) < 9
        assert made.told == [Unanswered("lost", "the link to the agent was lost during its answer")]


async def test_what_an_agent_refuses_is_told() -> None:
    async with lab() as made:
        await made.link("h", Tables(numbered(3)))
        assert await made.ask(FlowQuery(Equals("UUID", "x"))) == []
        assert made.told == [Unanswered("h", "the agent refused: wrong filter: it is none")]


async def test_nonsense_is_refused_and_hurts_nobody() -> None:
    class Nonsense:
        async def chosen_by(self, filter: bytes, query: FlowQuery) -> AsyncGenerator[Sequence[bytes]]:
            yield [b"5"]

    async with lab() as made:
        await made.link("bad", Nonsense())
        await made.link("good", Tables(numbered(3)))
        assert len(await made.ask(FlowQuery(sort_by="Start"))) == 3
        assert [one.host for one in made.told] == ["bad"]


async def test_an_agent_that_sends_more_than_it_was_asked_for_is_not_listened_to() -> None:
    async with lab() as made:
        await made.link("h", Tables([]))
        link = AgentLink("flood", "a", "agent.flood", 1, "", 0, 0, "")
        asked: list[FromAnalyzer] = []

        async def send(message: FromAnalyzer) -> None:
            asked.append(message)

        made.nursery.start_soon(made.asked.serve, link, send)
        await trio.testing.wait_all_tasks_blocked()
        pieces = made.asked.flows(FlowQuery(), None, made.told.append)
        made.nursery.start_soon(_read, pieces)
        await trio.testing.wait_all_tasks_blocked()
        (question,) = [message for message in asked if isinstance(message, FlowAsk)]
        for _ in range(1000):
            await made.asked.take(link, FlowAnswer(question.number, [msgspec.Raw(b'{"UUID":"1"}')]))
        await trio.testing.wait_all_tasks_blocked()
        assert [one.host for one in made.told] == ["flood"]
        # Of questions that have ended or never were nothing is kept.
        await made.asked.take(link, FlowAnswer(question.number + 7, []))


async def _read(pieces: AsyncGenerator[Sequence[bytes]]) -> None:
    async for _ in pieces:
        pass


async def test_what_is_not_wanted_any_more_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_answer, "_PIECE", 1)
    async with lab() as made:
        tables = [Tables(numbered(1000, number * 1000)) for number in range(3)]
        for number, one in enumerate(tables):
            await made.link(f"h{number}", one)
        async with aclosing(made.asked.flows(FlowQuery(sort_by="Start"), None, made.told.append)) as pieces:
            await anext(pieces)
            await trio.testing.wait_all_tasks_blocked()
            assert all(one.given < 10 for one in tables), "an agent sends ahead of what it may"
        await trio.testing.wait_all_tasks_blocked()
        assert [one.closed for one in tables] == [1, 1, 1]
        assert len([1 for _, message in made.sent if isinstance(message, FlowStop)]) == 3
        assert made.told == []


async def test_a_limit_ends_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_answer, "_PIECE", 1)
    async with lab() as made:
        tables = [Tables(numbered(1000, number * 1000)) for number in range(3)]
        for number, one in enumerate(tables):
            await made.link(f"h{number}", one)
        assert len(await made.ask(FlowQuery(limit=4))) == 4
        assert len(await made.ask(FlowQuery(sort_by="Start", offset=1, limit=4))) == 4
        await trio.testing.wait_all_tasks_blocked()
        assert all(one.given < 30 for one in tables)
        assert len([1 for _, message in made.sent if isinstance(message, FlowMore)]) < 20


async def test_a_span_and_huge_numbers_go_with_the_filter() -> None:
    async with lab() as made:
        wanted = All((Compare("Start", "lte", 7), Compare("Last", "gte", 4000), Compare("Metric.ABBytes", "lt", 2**80)))
        await made.link("h", Tables(numbered(3), wanted))
        query = FlowQuery(Compare("Metric.ABBytes", "lt", 2**80), limit=2**80)
        assert await made.ask(query, FlowSpan(5000, 7)) == []
        assert made.told == []


async def test_packets() -> None:
    def packet(uuid: str, index: int) -> bytes:
        return msgspec.json.encode({"UUID": uuid, "Timestamp": 1, "Index": index, "Data": "AA==", "LinkType": 1})

    async with lab() as made:
        await made.link("h0", Tables([], packets=[packet("a", 1), packet("a", 2), packet("c", 1)]))
        await made.link("h1", Tables([], packets=[packet("b", 1)]))
        found = await made.asked.raw_packets(["a", "b"], frozenset({"n"}), None, made.told.append)
        assert {uuid: [one.Index for one in packets] for uuid, packets in found.items()} == {"a": [1, 2], "b": [1]}
        assert await made.asked.raw_packets(["a"], frozenset({"n"}), FlowSpan(5, 9), made.told.append) == {}


async def test_too_many_questions_at_a_time_are_refused(autojump_clock: object) -> None:
    async with lab() as made:
        tables = Tables(numbered(1))
        tables.stuck = trio.Event()
        await made.link("h", tables)
        async with trio.open_nursery() as nursery:
            for _ in range(70):
                nursery.start_soon(made.ask, FlowQuery())
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert len(made.told) == 6
            assert "answers 64 questions already" in made.told[0].reason
            tables.stuck.set()


@pytest.mark.parametrize(
    ("filter", "values"),
    [
        (EVERYTHING, None),
        (Equals("NodeTID", "a"), {"a"}),
        (Equals("NodeTID", 1), None),
        (Equals("Other", "a"), None),
        (All((Equals("Other", "a"), Equals("NodeTID", "a"))), {"a"}),
        (AnyOf((Equals("NodeTID", "a"), Equals("NodeTID", "b"))), {"a", "b"}),
        (AnyOf((Equals("NodeTID", "a"), Equals("Other", "b"))), None),
        (All((AnyOf((Equals("NodeTID", "a"), Equals("NodeTID", "b"))), Equals("NodeTID", "b"))), {"b"}),
    ],
)
def test_nodes_that_a_filter_names(filter: Filter, values: set[str] | None) -> None:
    assert pinned(filter, "NodeTID") == values
