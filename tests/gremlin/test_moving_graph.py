"""Queries over the live graph while it changes: each sees the one state in which it began."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skycore.graph import column, index, past, pieces, snapshot
from skycore.graph.claimant import Claimant
from skycore.graph.graph import Graph
from skycore.graph.identity import edge_id
from skycore.graph.live import LiveView
from skycore.gremlin import Limits, Planner, QueryContext, execution, operation, run
from skycore.gremlin.execution import _pin
from skycore.gremlin.operation import GRAPH, Execution, Stream, Work
from skycore.gremlin.steps import moves, order, subgraph
from tests.gremlin.drawn import METADATA, queries
from tests.gremlin.naive import Element, Steps, World, answer_of, evaluate, text_of

NODES = st.sampled_from([f"n{number}" for number in range(6)])
CHANGES = st.one_of(
    st.tuples(st.just("put"), NODES, METADATA),
    st.tuples(st.just("put"), NODES, METADATA),
    st.tuples(st.just("drop"), NODES),
    st.tuples(st.just("link"), NODES, NODES, st.sampled_from(["layer2", "ownership"]), METADATA),
    st.tuples(st.just("link"), NODES, NODES, st.sampled_from(["layer2", "ownership"]), METADATA),
    st.tuples(st.just("unlink"), NODES, NODES, st.sampled_from(["layer2", "ownership"])),
)


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every loop pause after an element or two, and make indexes for the smallest graph."""
    for module, name, value in [
        (snapshot, "_FEW", 0), (snapshot, "_IDS_AT_A_TIME", 1), (snapshot, "_EDGES_AT_A_TIME", 1),
        (snapshot, "_AT_A_TIME", 1), (column, "_AT_A_TIME", 1), (column, "_PREDICATES", 3),
        (index, "_AT_A_TIME", 1), (index, "_KEYS", 3), (operation, "CHUNK", 1), (moves, "_FIRST", 1),
        (moves, "CHUNK", 1), (order, "_BUCKET", 2), (pieces, "_BUCKET", 2), (pieces, "_SAMPLES", 1),
        (pieces, "_SPREAD_AT_A_TIME", 1), (past, "_LET_GO_AT_A_TIME", 1), (subgraph, "CHUNK", 1),
        (subgraph, "_EDGES", 1),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, value)


def change(claimant: Claimant, what: tuple[Any, ...]) -> None:
    match what:
        case ("put", id, metadata):
            claimant.put(id, metadata)
        case ("drop", id):
            claimant.drop(id)
        case ("link", parent, child, relation, metadata):
            claimant.link(parent, child, relation, metadata)
        case ("unlink", parent, child, relation):
            claimant.drop(edge_id(parent, child, relation))


def world_of(graph: Graph) -> World:
    nodes = [Element(one.id, one.metadata()) for one in graph.nodes.values()]
    return World(nodes, [Element(one.id, one.metadata(), one.parent, one.child) for one in graph.edges.values()])


def finish(work: Work[Any], between: Callable[[], None]) -> Any:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
        between()


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CHANGES, max_size=30), st.lists(queries(), min_size=1, max_size=3), st.lists(CHANGES, min_size=1))
def test_a_query_cut_into_slices_sees_one_state(before: list[Any], asked: list[Steps], meanwhile: list[Any]) -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=False, clock=lambda: 1)
    claimant = graph.claimant("p")
    view = LiveView(graph)
    for what in before:
        change(claimant, what)
    # Each change is made over and over, so that they never end; the second query finds indexes of the first.
    ahead = (what for _ in iter(int, 1) for what in meanwhile)
    for steps in asked:
        expected = evaluate(world_of(graph), steps)
        with view.pinned() as pinned:
            running = Execution(pinned, Limits(), float("inf"))
            stream = Stream(GRAPH)
            for one in Planner().plan(text_of(steps)).operations:
                stream = finish(one.run(running, stream), lambda: change(claimant, next(ahead)))
            result = finish(_pin(running, stream), lambda: change(claimant, next(ahead)))
        assert json.dumps(answer_of(result.json()), sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert not graph.pins


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CHANGES | queries(), max_size=40))
def test_queries_between_changes(steps: list[Any]) -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=False, clock=lambda: 1)
    claimant = graph.claimant("p")
    context = QueryContext(LiveView(graph), now=lambda: 1)
    for what in steps:
        if isinstance(what, tuple):
            change(claimant, what)
        else:
            found = answer_of(trio.run(run, text_of(what), context).json())
            assert json.dumps(found, sort_keys=True) == json.dumps(evaluate(world_of(graph), what), sort_keys=True)


def crowd(nodes: int) -> tuple[Graph, Claimant]:
    graph = Graph(host="h", origin="agent.h", with_tids=False, clock=lambda: 1)
    claimant = graph.claimant("p")
    with graph.transaction():
        for number in range(nodes):
            claimant.put(str(number), {"Name": str(number), "Even": number % 2 == 0, "MTU": number % 7})
            if number:
                claimant.link(str(number // 3), str(number), "ownership")
    return graph, claimant


async def test_several_queries_while_a_task_changes_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_SLICE", -1)
    graph, claimant = crowd(60)
    context = QueryContext(LiveView(graph), now=lambda: 1)
    queries = [
        "G.V().Has('MTU', Lt(3)).Count()",
        "G.V('0').Descendants(0).Sort(DESC, 'Name').Values('Name')",
        "G.V().Has('Even', true).Out().Dedup().Has('MTU', Within(1, 2)).Values('Name')",
        "G.E().Has('RelationType', 'ownership').BothV().Dedup().Count()",
        "G.V('50').ShortestPathTo(Metadata('Name', '59')).SubGraph().V().Values('Name')",
    ]
    expected = {query: (await run(query, QueryContext(LiveView(graph), now=lambda: 1))).json() for query in queries}
    turns = 0

    async def churn(stop: trio.Event) -> None:
        """Changes that no answer depends on, at any moment at which a query may begin."""
        nonlocal turns
        chosen = random.Random(5)
        while not stop.is_set():
            turns += 1
            id = str(chosen.randrange(1, 60))
            claimant.put(f"other {turns % 50}", {"Name": "x", "Other": turns})
            claimant.put(id, {"Name": id, "Even": int(id) % 2 == 0, "MTU": int(id) % 7, "Counter": turns})
            if turns % 3:
                # Away and back without a pause.
                claimant.put(id, {"Gone": 1})
                claimant.put(id, {"Name": id, "Even": int(id) % 2 == 0, "MTU": int(id) % 7})
            await trio.lowlevel.checkpoint()
            claimant.drop(f"other {(turns + 25) % 50}")

    async def ask(query: str) -> None:
        for _ in range(3):
            assert (await run(query, context)).json() == expected[query]

    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        nursery.start_soon(churn, stop)
        async with trio.open_nursery() as askers:
            for query in queries:
                askers.start_soon(ask, query)
        stop.set()
    assert turns > 100
    assert not graph.pins


async def test_a_cancelled_query_lets_go_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_SLICE", -1)
    graph, _ = crowd(300)
    context = QueryContext(LiveView(graph), now=lambda: 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "G.V().Has('Nothing', 1).Both().Both().Both().Both().Count()", context)
        while not graph.pins:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert not graph.pins
