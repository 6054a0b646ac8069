"""The live view with its indexes against testing every element, while the graph changes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skycore.filter import All, Compare, Equals, Filter, InNetwork, Matches, Not, Present, compile_filter
from skycore.filter import Any as AnyOf
from skycore.graph import column, index, snapshot
from skycore.graph.claimant import Claimant
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import fields
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView

ids = st.sampled_from([f"n{number}" for number in range(8)])
value = st.one_of(
    st.sampled_from(["a", "b", "1", "10.0.0.1"]), st.integers(0, 2), st.booleans(), st.lists(st.sampled_from("ab"))
)
data = st.fixed_dictionaries({}, optional={"Name": value, "Type": value, "MAC": value, "X": value})
key = st.sampled_from(["Name", "Type", "MAC", "X", "@ID", "Metadata.Name"])
leaf = st.one_of(
    st.builds(Equals, key, st.one_of(st.sampled_from(["a", "b", "1", "n1"]), st.integers(0, 2), st.booleans())),
    st.builds(Present, key),
    st.builds(Compare, key, st.sampled_from(["gte", "lt"]), st.integers(0, 2)),
    st.builds(Matches, key, st.sampled_from(["a|1", ".", "n[0-3]"])),
    st.builds(InNetwork, key, st.just("10.0.0.0/30")),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=5,
)
changes = st.one_of(
    st.tuples(st.just("put"), ids, data),
    st.tuples(st.just("put"), ids, data),
    st.tuples(st.just("drop"), ids),
    st.tuples(st.just("link"), ids, ids, st.sampled_from(["layer2", "ownership"])),
)
step = changes | st.tuples(st.just("ask"), filters)

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every loop pause after an element, and make indexes for the smallest graph."""
    for module, name, value in [
        (snapshot, "_FEW", 0), (snapshot, "_IDS_AT_A_TIME", 1), (snapshot, "_EDGES_AT_A_TIME", 1),
        (snapshot, "_AT_A_TIME", 1), (column, "_AT_A_TIME", 1), (column, "_PREDICATES", 3),
        (index, "_AT_A_TIME", 1), (index, "_KEYS", 2),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, value)


def change(claimant: Claimant, what: Any) -> None:
    match what:
        case ("put", id, metadata):
            claimant.put(id, metadata)
        case ("drop", id):
            claimant.drop(id)
        case ("link", parent, child, relation):
            claimant.link(parent, child, relation)


@given(st.lists(step, max_size=40))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_matches_are_those_of_a_full_scan_in_order_of_appearance(steps: list[Any]) -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    claimant = graph.claimant("p")
    view = LiveView(graph)
    for one in steps:
        if one[0] != "ask":
            change(claimant, one)
            continue
        wanted = one[1]
        holds = compile_filter(wanted)
        for kind, table in (("node", graph.nodes), ("edge", graph.edges)):
            expected = [id for id, revision in table.items() if holds(fields(revision))]
            assert list(view.match(kind, wanted)) == expected  # type: ignore[arg-type]
            assert view.select(kind, wanted, [*table, *table]) == expected * 2  # type: ignore[arg-type]


def finish(work: Generator[None, None, T], between: Callable[[], None]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        between()


@given(
    st.lists(changes, min_size=8, max_size=30),
    st.lists(st.tuples(filters, key, st.lists(changes, min_size=1, max_size=4)), min_size=1, max_size=6),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pinned_view_stays_as_it_was_while_indexes_are_made_and_the_graph_moves(
    before: list[Any], asked: list[tuple[Filter, str, list[Any]]]
) -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=False)
    claimant = graph.claimant("p")
    view = LiveView(graph)
    for what in before:
        change(claimant, what)
    for wanted, key, meanwhile in asked:
        ahead = iter(meanwhile * 9)

        def move_on(ahead: Iterator[Any] = ahead) -> None:
            what = next(ahead, None)
            if what is not None:
                change(claimant, what)
                # Another reader, who makes the indexes catch up in the midst of it.
                view.match("node", Equals("Name", "a"))

        holds = compile_filter(wanted)
        tables: dict[Kind, dict[str, Revision]] = {"node": dict(graph.nodes), "edge": dict(graph.edges)}
        out, into = dict(graph.edges_out), dict(graph.edges_in)
        with view.pinned() as pinned:
            for kind, table in tables.items():
                expected = [id for id, revision in table.items() if holds(fields(revision))]
                assert list(finish(pinned.search(kind, wanted), move_on)) == expected
                assert finish(pinned.search(kind, wanted, ordered=False), move_on) is not None
                finish(pinned.prepare(kind, wanted, table), move_on)
                assert pinned.select(kind, wanted, [*table, *table]) == expected * 2
                finish(pinned.prepare_key(kind, key, table), move_on)
                assert pinned.values(kind, key, table) == [fields(one)(key) for one in table.values()]
                assert pinned.ids(kind) == list(table)
                assert pinned.count(kind) == len(table)
                assert [pinned.get(kind, id) for id in table] == pinned.revisions(kind, list(table))
                assert pinned.revisions(kind, list(table)) == list(table.values())
            for node in tables["node"]:
                assert pinned.edges_out(node) == out.get(node, ())
                assert pinned.edges_in(node) == into.get(node, ())
            assert pinned.leaving(tables["node"]) == [edge for node in tables["node"] for edge in out.get(node, ())]
        # What the moves have left in the indexes is the truth of now.
        for kind, table in (("node", graph.nodes), ("edge", graph.edges)):
            assert list(view.match(kind, wanted)) == [id for id, one in table.items() if holds(fields(one))]


def test_edges_are_found_by_relation() -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=False)
    claimant = graph.claimant("p")
    for id in "abc":
        claimant.put(id, {"Name": id})
    view = LiveView(graph)
    assert view.match("edge", Equals("RelationType", "layer2")) == []
    claimant.link("a", "b", "layer2")
    claimant.link("a", "c", "ownership")
    (found,) = view.match("edge", Equals("RelationType", "layer2"))
    assert view.get("edge", found) is graph.edges[found]
    assert view.edges_out("a") == tuple(graph.edges)
    assert view.values("edge", "Child", [found]) == ["b"]
    claimant.drop("b")
    assert view.match("edge", Equals("RelationType", "layer2")) == []
