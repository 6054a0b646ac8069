"""Queries over a span of time: every revision in it stands for itself."""

import json
import math
import tempfile
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skycore.errors import GremlinExecutionError
from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.gremlin import Planner, QueryContext, run
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore
from skycore.testing.history import maintain
from skycore.testing.views import ListHistory, ListView
from tests.gremlin.drawn import METADATA, queries
from tests.gremlin.naive import Element, Steps, World, answer_of, evaluate, text_of

NODES = st.sampled_from(["n0", "n1", "n2", "n3"])
EDGES = st.tuples(st.sampled_from(["e0", "e1", "e2"]), NODES, NODES, st.sampled_from(["layer2", "ownership"]))
PASSED = st.sampled_from([0, 0, 1, 1, 2, 5, -2])
CHANGES = st.one_of(
    st.tuples(st.just("put"), NODES, METADATA, PASSED),
    st.tuples(st.just("put"), NODES, METADATA, PASSED),
    st.tuples(st.just("link"), EDGES, METADATA, PASSED),
    st.tuples(st.just("link"), EDGES, METADATA, PASSED),
    st.tuples(st.just("drop"), NODES | st.sampled_from(["e0", "e1", "e2"]), st.none(), PASSED),
)


def history_of(changes: list[Any]) -> list[Revision]:
    """The revisions that changes make, one after the other; the clock may be set back."""
    made: list[Revision] = []
    last: dict[str, Revision] = {}
    now = 1000
    for what, target, metadata, passed in changes:
        now += passed
        id, *ends = target if isinstance(target, tuple) else (target,)
        known = last.get(id)
        alive = known is not None and known.deleted_at is None
        if what == "drop" and not alive:
            continue
        if what == "link":
            parent, child, relation = ends
            if known is not None:
                # What an edge joins never changes.
                parent, child = known.parent, known.child
            carried = {**metadata, "RelationType": relation}
        else:
            parent, child = (known.parent, known.child) if known is not None else (None, None)
            carried = metadata or {}
        last[id] = build_revision(
            id=id, metadata=canonical_metadata(carried), revision=1 if known is None else known.revision + 1,
            host="h", origin="agent.h", created_at=500, updated_at=now, deleted_at=now if what == "drop" else None,
            parent=parent, child=child,
        )  # fmt: skip
        made.append(last[id])
    return made


def world_of(history: list[Revision], start: int, end: int) -> World:
    """What was current at some moment of [start, end], by the rule that Skydive has for archived documents."""
    found: list[tuple[tuple[int, str, int], Element]] = []
    for place, one in enumerate(history):
        later = [other.updated_at for other in history[place + 1 :] if other.id == one.id]
        archived = one.deleted_at if one.deleted_at is not None else next(iter(later), None)
        if one.updated_at <= end and (archived is None or archived >= start):
            # Later revisions that are not of the span leave it as it is for the rest of the span.
            known = [at for at in later[:1] if at <= end]
            until = one.updated_at if one.deleted_at is not None else known[0] - 1 if known else math.inf
            element = Element(
                one.id, one.metadata(), one.parent, one.child, one.revision,
                (one.updated_at, max(one.updated_at, until)), one.deleted_at is not None,
            )  # fmt: skip
            found.append(((one.updated_at, one.id, one.revision), element))
    ordered = [element for _, element in sorted(found, key=lambda one: one[0])]
    nodes = [element for element in ordered if element.parent is None]
    there = {node.id for node in nodes}
    return World(nodes, [one for one in ordered if one.parent in there and one.child in there])


def world_at(history: list[Revision], at: int) -> World:
    """The last revision of each element that is not later, without those deleted earlier; by creation, then ID."""
    last = {one.id: one for one in history if one.updated_at <= at}
    found = [
        Element(one.id, one.metadata(), one.parent, one.child, one.revision, deleted=one.deleted_at is not None)
        for one in sorted(last.values(), key=lambda one: one.id)
        if one.deleted_at is None or one.deleted_at >= at
    ]
    nodes = [one for one in found if one.parent is None]
    there = {node.id for node in nodes}
    return World(nodes, [one for one in found if one.parent in there and one.child in there])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CHANGES, max_size=14), st.integers(996, 1020), st.integers(1, 20), queries())
def test_queries_over_a_span_give_what_a_plain_evaluator_gives(
    changes: list[Any], end: int, duration: int, steps: Steps
) -> None:
    history = history_of(changes)
    context = QueryContext(ListView([]), now=lambda: 0, history=ListHistory(history))
    # Moments up to 2147483647 are seconds; all times are later by as much.
    text = f"G.At('{end}ms', '{duration}ms')" + text_of(steps).removeprefix("G")
    found = answer_of(trio.run(run, text, context).json(), lambda one: f"{one['ID']}@{one['Revision']}")
    expected = evaluate(world_of(history, end - duration, end), steps, lambda one: f"{one.id}@{one.revision}")
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CHANGES, min_size=1, max_size=14), st.integers(996, 1020), st.integers(1, 20), NODES, queries())
def test_queries_that_begin_with_one_node(changes: list[Any], end: int, duration: int, id: str, steps: Steps) -> None:
    history = history_of(changes)
    context = QueryContext(ListView([]), now=lambda: 0, history=ListHistory(history))
    begun: Steps = [("V", id), *(steps[1:] if steps[0] == ("V",) else [("Count",)])]
    world = world_of(history, end - duration, end)
    text = f"G.At('{end}ms', '{duration}ms')" + text_of(begun).removeprefix("G")
    if not any(node.id == id for node in world.nodes):
        with pytest.raises(GremlinExecutionError, match=f"Node '{id}' does not exist"):
            trio.run(run, text, context)
        return
    found = answer_of(trio.run(run, text, context).json(), lambda one: f"{one['ID']}@{one['Revision']}")
    expected = evaluate(world, begun, lambda one: f"{one.id}@{one.revision}")
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


@pytest.mark.parametrize(
    ("query", "only"),
    [
        ("G.At(1, 1).V('n')", "n"),
        ("G.At(1, 1).V('n').Has('a', 1).Dedup().Sort('b').Limit(2).Values('c').Dedup().Count()", "n"),
        ("G.At(1, 1).V('n').Metrics().Aggregates()", "n"),
        ("G.At(1, 1).V('n').Count()", "n"),
        ("G.At(1, 1).V('n').Revisions()", "n"),
        ("G.At(1, 1)", None),
        ("G.At(1, 1).V()", None),
        ("G.At(1, 1).E('e')", None),
        ("G.At(1, 1).V('n').Out()", None),
        ("G.At(1, 1).V('n').As('x').G.V().As('y').Select('x')", None),
        ("G.At(1, 1).V('n').SubGraph()", None),
    ],
)
def test_when_one_node_is_all_that_must_be_read(query: str, only: str | None) -> None:
    assert Planner().plan(query).only_node == only


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(CHANGES, max_size=14),
    st.lists(st.tuples(st.integers(996, 1020), st.integers(0, 20), queries()), min_size=1, max_size=4),
    st.booleans(),
)
def test_the_same_out_of_a_real_store(changes: list[Any], asked: list[tuple[int, int, Steps]], recent: bool) -> None:
    """Moments and spans, from rows, from blocks, and from memory."""
    history = history_of(changes)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(
            EmbeddedStore.Settings(
                path=folder, retention_days=0, settle_seconds=0, recent_bytes=1 << 20 if recent else 0
            )
        )
        store.open()
        store.commit([RevisionRecord(one) for one in history])
        for stage in ("rows", "blocks"):
            for end, duration, steps in asked:
                text = f"G.At('{end}ms', '{duration}ms')" + text_of(steps).removeprefix("G")
                context = QueryContext(ListView([]), now=lambda: 0, history=store)
                found = answer_of(trio.run(run, text, context).json(), lambda one: f"{one['ID']}@{one['Revision']}")
                world = world_of(history, end - duration, end) if duration else world_at(history, end)
                expected = evaluate(world, steps, lambda one: f"{one.id}@{one.revision}")
                assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True), stage
            maintain(store)
        store.close()


def node(id: str, number: int, at: int, *, deleted: bool = False, **metadata: Any) -> Revision:
    return build_revision(
        id=id, metadata=canonical_metadata(metadata), revision=number, host="h", origin="agent.h", created_at=1000,
        updated_at=at, deleted_at=at if deleted else None,
    )  # fmt: skip


def edge(id: str, number: int, at: int, ends: tuple[str, str], *, deleted: bool = False) -> Revision:
    return build_revision(
        id=id, metadata=b'{"RelationType":"layer2"}', revision=number, host="h", origin="agent.h", created_at=1000,
        updated_at=at, deleted_at=at if deleted else None, parent=ends[0], child=ends[1],
    )  # fmt: skip


#        1000    2000    3000    4000    5000
#   nic   1  ──── 2 ───────────── 3 ─────────
#   link  1 ───────────── ✝
#   vm    1 ────────────────────────────── ✝
HISTORY = [
    node("nic", 1, 1000, MTU=1500, Sockets=[{"Port": 1}, {"Port": 2}]), node("vm", 1, 1000),
    edge("link", 1, 1000, ("nic", "vm")), node("nic", 2, 2000, MTU=9000, Sockets=[{"Port": 2}, {"Port": 3}]),
    edge("link", 2, 3000, ("nic", "vm"), deleted=True),
    node("nic", 3, 4000, MTU=9000), node("vm", 2, 5000, deleted=True),
]  # fmt: skip
CONTEXT = QueryContext(ListView([]), now=lambda: 10_000, history=ListHistory(HISTORY))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("G.At(NOW, FOREVER).V()", ["nic@1", "vm@1", "nic@2", "nic@3", "vm@2"]),
        ("G.At(NOW, FOREVER).V('nic')", ["nic@1", "nic@2", "nic@3"]),
        ("G.At(NOW, FOREVER).V('nic').Out()", ["vm@1", "vm@1", "vm@1"]),
        ("G.At(NOW, FOREVER).V('nic').OutE()", ["link@1", "link@1", "link@2"]),
        # The edge's own end is a moment at which its ends were there.
        ("G.At(NOW, FOREVER).V('nic').Out().In()", ["nic@1", "nic@2", "nic@2"] * 3),
        ("G.At(NOW, FOREVER).V('vm').In().Dedup()", ["nic@1"]),
        ("G.At(NOW, FOREVER).V('vm').In('MTU', 9000).Dedup()", ["nic@2"]),
        ("G.At(3, 1).E().InV()", ["nic@1", "nic@2", "nic@2"]),
        ("G.At(NOW, 5).E()", []),
        ("G.At(NOW, 6).V('vm').Neighbors('RelationType', 'layer2', 3)", ["vm@1", "vm@2"]),
        ("G.At(NOW, FOREVER).V().HasKey('@DeletedAt')", ["vm@2"]),
        ("G.At(NOW, FOREVER).V().Has('MTU', 9000).Dedup()", ["nic@2"]),
        ("G.At(NOW, FOREVER).V('nic').ShortestPathTo(Metadata('@ID', 'vm')).Count()", 2),
        ("G.At(NOW, FOREVER).V().SubGraph().E()", ["link@1", "link@2"]),
        ("G.At(NOW, FOREVER).V('nic').Has('MTU', 1500).SubGraph().V()", ["nic@1"]),
        ("G.At(NOW, FOREVER).V('nic').Sockets()", [{"nic": [{"Port": 1}, {"Port": 2}, {"Port": 3}]}]),
        ("G.At(4, 0).V()", ["nic@3", "vm@1"]),
    ],
)
async def test_revisions_stand_for_themselves(query: str, expected: Any) -> None:
    found = answer_of((await run(query, CONTEXT)).json(), lambda one: f"{one['ID']}@{one['Revision']}")
    assert found == expected


async def test_the_whole_graph_over_a_span() -> None:
    (found,) = json.loads((await run("G.At(3, 1)", CONTEXT)).json())
    assert [(one["ID"], one["Revision"]) for one in found["Nodes"]] == [("nic", 1), ("vm", 1), ("nic", 2)]
    assert [(one["ID"], one["Revision"]) for one in found["Edges"]] == [("link", 1), ("link", 2)]
