"""The present and the past in one answer: as if there were one list, in which a live flow stands as it is now."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore import filter as ast
from skycore.errors import HistoryUnavailable, PeriodTooLarge
from skycore.flow.evaluation import Record, alive, decode, evaluate
from skycore.flow.present_and_past import PresentAndPast
from skycore.flow.query import FlowQuery, FlowReader, FlowSpan, RawPacket, Unanswered
from skycore.testing.flows import ListedFlows
from tests.flow.drawn_queries import KEYS, check, flows, queries

NOW, UPDATE_MS, EXPIRE_MS = 60_000, 2000, 5000
WITH_THE_GRAPH = (*KEYS, "At.Name", "To.Name")


def enhance(json: bytes) -> bytes:
    """What the graph knows: a name for each node and address."""
    record = decode(json)
    if "NodeTID" in record:
        record["At"] = {"Name": f"name of {record['NodeTID']}"}
    if "Network" in record:
        record["To"] = {"Name": record["Network"]["B"]}
    return msgspec.json.encode(record)


def known(record: Record) -> Record:
    return decode(enhance(msgspec.json.encode(record)))


def reader(live: FlowReader, past: FlowReader | None, **more: Any) -> PresentAndPast:
    return PresentAndPast(
        live, past, now=lambda: NOW, update_ms=UPDATE_MS, expire_ms=EXPIRE_MS, enhance=enhance, **more
    )


async def ask(asked: PresentAndPast, query: FlowQuery, span: FlowSpan | None) -> list[Record]:
    answer = asked.flows(query, span, lambda _: None)
    return [decode(one) async for piece in answer for one in piece]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Record], list[Record]]:
    """Live flows and kept ones; some are both, and have gone on since they were kept."""
    kept = draw(flows())
    live = [one for one in draw(flows(6)) if one["UUID"] not in {other["UUID"] for other in kept}]
    for one in kept:
        if draw(st.booleans()):
            metric = {**one["Metric"], "ABBytes": one["Metric"]["ABBytes"] + draw(st.integers(0, 2)) * 100}
            later = {**one, "Metric": metric, "Last": one["Last"] + draw(st.integers(0, 9)) * 1000}
            live.append(later | draw(st.sampled_from([{}, {"FinishType": 2}])))
    return live, kept


@settings(deadline=None)
@given(worlds(), queries(WITH_THE_GRAPH), st.integers(0, 60), st.integers(0, 20))
async def test_one_answer_of_both(
    world: tuple[list[Record], list[Record]], query: FlowQuery, since: int, seconds: int
) -> None:
    live, kept = ([known(one) for one in some] for some in world)
    span = FlowSpan(since * 1000, NOW - UPDATE_MS + seconds * 100)
    past = ListedFlows(kept, expire_ms=EXPIRE_MS)
    answer = await ask(reader(ListedFlows(world[0]), past), query, span)
    living = {one["UUID"] for one in live}
    both = [*live, *(one for one in kept if one["UUID"] not in living)]
    check(query, [one for one in both if alive(one, span, EXPIRE_MS)], answer)


@settings(deadline=None)
@given(worlds(), queries(WITH_THE_GRAPH))
async def test_the_present(world: tuple[list[Record], list[Record]], query: FlowQuery) -> None:
    live, kept = world
    answer = await ask(reader(ListedFlows(live), ListedFlows(kept)), query, None)
    check(query, [known(one) for one in live], answer)


@settings(deadline=None)
@given(worlds(), queries(WITH_THE_GRAPH))
async def test_the_past_alone(world: tuple[list[Record], list[Record]], query: FlowQuery) -> None:
    live, kept = world
    span = FlowSpan(0, NOW - UPDATE_MS - 1)
    present, past = ListedFlows(live), ListedFlows([known(one) for one in kept], expire_ms=EXPIRE_MS)
    answer = await ask(reader(present, past), query, span)
    check(query, evaluate(past.records, FlowQuery(), span, EXPIRE_MS), answer)
    assert present.asked == []


async def test_what_tables_can_do_is_asked_of_them() -> None:
    live = ListedFlows([])
    query = FlowQuery(ast.Equals("Network.A", "10.0.0.1"), None, "Last", True, "TrackingID", 1, 2)
    await ask(reader(live, None), query, None)
    graph_too = attrs.evolve(query, filter=ast.All((query.filter, ast.Equals("To.Name", "x"))))
    await ask(reader(live, None), graph_too, None)
    changing = attrs.evolve(query, filter=ast.All((query.filter, ast.Compare("Metric.ABBytes", "gt", 5))))
    await ask(reader(live, ListedFlows([])), changing, FlowSpan(0, NOW))
    assert [one for one, _ in live.asked] == [query, FlowQuery(query.filter), FlowQuery(query.filter)]


async def test_without_a_store() -> None:
    with pytest.raises(HistoryUnavailable, match="No storage backend has been configured"):
        await ask(reader(ListedFlows([]), None), FlowQuery(), FlowSpan(0, NOW))


async def test_too_much_to_hold_is_refused() -> None:
    live = ListedFlows([{"UUID": str(number), "Start": 0, "Last": 0} for number in range(100)])
    with pytest.raises(PeriodTooLarge, match="the query is too large"):
        await ask(reader(live, ListedFlows([]), most_bytes=1000), FlowQuery(), FlowSpan(0, NOW))


async def test_packets_of_both_and_who_is_missing() -> None:
    def packets(*numbers: int) -> list[RawPacket]:
        return [RawPacket(1000 * number, number, b"x", 1) for number in numbers]

    live = ListedFlows([], packets={"a": packets(2, 3), "b": packets(1)}, unanswered=[Unanswered("h", "gone")])
    both = reader(live, ListedFlows([], packets={"a": packets(1, 2)}))
    told: list[Unanswered] = []
    found = await both.raw_packets(["a", "b"], frozenset({"n"}), None, told.append)
    assert found == {"a": packets(1, 2, 3), "b": packets(1)}
    assert [piece async for piece in both.flows(FlowQuery(), FlowSpan(0, NOW), told.append)] == []
    assert told == [Unanswered("h", "gone")]
