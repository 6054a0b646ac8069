"""The graph of the past over a timeline gives what replaying all changes gives, with deletes and edge changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.filter import EVERYTHING, Compare, Equals, Filter, Matches, Not, Present
from skycore.graph import pieces, timeview
from skycore.graph import timeline as timelines
from skycore.graph.element import Kind, Revision
from skycore.graph.graph import Graph
from skycore.graph.identity import edge_id
from skycore.graph.indexed import finish
from skycore.graph.past import PastView, since_of
from skycore.graph.timeline import Timeline
from skycore.graph.timeview import TimelineView
from skycore.gremlin import QueryContext, run
from skycore.testing.history import last_at
from tests.gremlin.drawn import METADATA, queries
from tests.gremlin.naive import Element, Steps, World, answer_of, evaluate, text_of


@pytest.fixture(scope="module", autouse=True)
def _small_pieces() -> Iterator[None]:
    """Let the smallest graph be put in order as a large one is."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (timeview, "_FEW", 1), (timelines, "_RANKED", 2), (pieces, "_BUCKET", 2), (pieces, "_SAMPLES", 1),
        ):  # fmt: skip
            patch.setattr(module, name, value)
        yield


NODES = st.sampled_from([f"n{number}" for number in range(5)])
RELATIONS = st.sampled_from(["layer2", "ownership"])
CHANGES = st.one_of(
    st.tuples(st.just("put"), NODES, METADATA),
    st.tuples(st.just("put"), NODES, METADATA),
    st.tuples(st.just("drop"), NODES),
    st.tuples(st.just("link"), NODES, NODES, RELATIONS, METADATA),
    st.tuples(st.just("link"), NODES, NODES, RELATIONS, METADATA),
    st.tuples(st.just("unlink"), NODES, NODES, RELATIONS),
)


def history_of(changes: Sequence[tuple[Any, ...]], steps: Sequence[int]) -> list[Revision]:
    """All revisions that the changes make; before each the clock goes on, or back, by a step."""
    now = 1000
    graph = Graph(host="h", origin="agent.h", with_tids=False, clock=lambda: now)
    claimant = graph.claimant("p")
    cursor = graph.log.cursor(every=True)
    for number, what in enumerate(changes):
        now += steps[number % len(steps)]
        match what:
            case ("put", id, metadata):
                claimant.put(id, metadata)
            case ("drop", id):
                claimant.drop(id)
            case ("link", parent, child, relation, metadata):
                claimant.link(parent, child, relation, metadata)
            case ("unlink", parent, child, relation):
                claimant.drop(edge_id(parent, child, relation))
    return list(cursor.read().changes)


def view_of(timeline: Timeline, history: Sequence[Revision], at: int, start: int) -> TimelineView:
    by_number = {(one.id, one.revision): one for one in history}
    return TimelineView(
        timeline, at, start, stale=frozenset({("agent.h", "gone")}), changing=("c",),
        load=lambda wanted: [by_number[pair] for pair in wanted],
    )  # fmt: skip


class OneMoment:
    """A store that knows one graph."""

    def __init__(self, view: TimelineView) -> None:
        self._view = view

    def graph_at(self, at: int, duration: int = 0) -> TimelineView:
        return self._view

    def gaps(self, start: int, end: int) -> list[Any]:
        return []


def world_of(history: Sequence[Revision], at: int) -> World:
    """The graph by replaying the changes, and by no other code."""
    last = sorted(last_at(history, at, at + 1), key=lambda one: (one.created_at, one.id))
    nodes = [Element(one.id, one.metadata()) for one in last if one.parent is None]
    there = {node.id for node in nodes}
    edges = [Element(one.id, one.metadata(), one.parent, one.child) for one in last if one.parent is not None]
    return World(nodes, [one for one in edges if one.parent in there and one.child in there])


@settings(max_examples=250, deadline=None)
@given(
    st.lists(CHANGES, max_size=25),
    st.lists(st.integers(-2, 3), min_size=1, max_size=5),
    st.integers(1, 9),
    st.lists(queries(), min_size=1, max_size=3),
    st.integers(-3, 30),
)
def test_queries_over_a_timeline(
    changes: list[Any], steps: list[int], size: int, asked: list[Steps], moment: int
) -> None:
    history = history_of(changes, steps)
    timeline = Timeline()
    at = 1000 + moment
    for place in range(0, len(history), size):
        timeline.add(history[place : place + size])
        if place % 2:
            # Another question meanwhile, and something that is there already.
            view_of(timeline, history, at, at + 1).match("node", Equals("Name", "x"))
            timeline.add(history[place : place + 1])
    world = world_of(history, at)
    for query in asked:
        view = view_of(timeline, history, at, at + 1)
        context = QueryContext(view, now=lambda: 0, history=cast(Any, OneMoment(view)))
        found = answer_of(trio.run(run, f"G.At('-1s'){text_of(query)[1:]}", context).json())
        assert json.dumps(found, sort_keys=True) == json.dumps(evaluate(world, query), sort_keys=True)


FILTERS: list[Filter] = [
    EVERYTHING, Present("a"), Equals("a", "x"), Equals("a", 1), Equals("a", True), Compare("b", "gt", 0),
    Matches("a", "x.*"), Not(Equals("c.x", "1")), Equals("@Stale", False), Compare("@Revision", "gte", 2),
    Equals("@ID", "n1"), Equals("RelationType", "layer2"), Equals("Parent", "n1"),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(CHANGES, max_size=25), st.lists(st.integers(-2, 3), min_size=1, max_size=5), st.integers(0, 4))
def test_every_question_to_a_timeline(changes: list[Any], steps: list[int], duration: int) -> None:
    history = history_of(changes, steps)
    timeline = Timeline()
    timeline.add(history)
    assert len(timeline) == len(history)
    for at in {since_of(one) + shift for one in history for shift in (-1, 0, 1)}:
        start = at - duration
        plain = PastView(last_at(history, at, start), stale=frozenset({("agent.h", "gone")}))
        view = view_of(timeline, history, at, start)
        kinds: tuple[Kind, ...] = ("node", "edge")
        for kind in kinds:
            ids = plain.ids(kind)
            assert view.ids(kind) == list(ids)
            assert view.count(kind) == len(ids)
            assert view.get(kind, "nowhere") is None
            assert [view.get(kind, id) for id in ids] == [plain.get(kind, id) for id in ids]
            assert finish(view.fetch(kind, list(ids))) == [plain.get(kind, id) for id in ids]
            for filter in FILTERS:
                assert list(view.match(kind, filter)) == list(plain.match(kind, filter))
                assert set(finish(view.search(kind, filter, ordered=False))) == set(plain.match(kind, filter))
                assert view.select(kind, filter, [*ids, *ids]) == plain.select(kind, filter, [*ids, *ids])
            for key in ("a", "c.x", "@Stale", "@CreatedAt", "@UpdatedAt", "Parent"):
                assert view.values(kind, key, ids) == plain.values(kind, key, ids)
        nodes = plain.ids("node")
        for node in nodes:
            assert list(view.edges_out(node)) == list(plain.edges_out(node))
            assert list(view.edges_in(node)) == list(plain.edges_in(node))
        assert view.leaving(nodes) == plain.leaving(nodes)
        assert view.arriving(nodes) == plain.arriving(nodes)
        assert view.ends(list(plain.ids("edge"))) == plain.ends(list(plain.ids("edge")))
        for direction in ("children", "parents", "sides", "ends"):
            for filter in (EVERYTHING, Equals("RelationType", "layer2")):
                found = finish(view.around(direction, filter, list(nodes)))
                expected = finish(plain.around(direction, filter, list(nodes)))
                assert list(map(list, found or ())) == list(map(list, expected or ()))


def test_a_view_stays_as_it_is_when_late_revisions_come() -> None:
    history = history_of([("put", "n1", {"a": 1}), ("put", "n2", {}), ("put", "n1", {"a": 2})], [10])
    timeline = Timeline()
    timeline.add(history[:2])
    view = view_of(timeline, history, 2000, 2001)
    timeline.add(history[2:])
    timeline.add(history_of([("put", "n3", {})], [1]))
    assert view.ids("node") == ["n1", "n2"]
    assert view.values("node", "a", ["n1"]) == [1]
    assert view.get("node", "n3") is None
    later = view_of(timeline, history, 2000, 2001)
    assert later.values("node", "a", ["n1"]) == [2]
    assert len(later.ids("node")) == 3
