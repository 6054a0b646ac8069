"""The live view with its indexes against testing every element, while the graph changes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.filter import All, Compare, Equals, Filter, Not, Present, compile_filter
from skycore.filter import Any as AnyOf
from skycore.graph.fields import fields
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView

ids = st.sampled_from([f"n{number}" for number in range(8)])
value = st.one_of(st.sampled_from(["a", "b", "1"]), st.integers(0, 2), st.booleans(), st.lists(st.sampled_from("ab")))
data = st.fixed_dictionaries({}, optional={"Name": value, "Type": value, "MAC": value, "X": value})
key = st.sampled_from(["Name", "Type", "MAC", "X", "@ID", "Metadata.Name"])
leaf = st.one_of(
    st.builds(Equals, key, st.one_of(st.sampled_from(["a", "b", "1", "n1"]), st.integers(0, 2), st.booleans())),
    st.builds(Present, key),
    st.builds(Compare, key, st.just("gte"), st.integers(0, 2)),
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
step = st.one_of(
    st.tuples(st.just("put"), ids, data),
    st.tuples(st.just("drop"), ids),
    st.tuples(st.just("link"), ids, ids, st.sampled_from(["layer2", "ownership"])),
    st.tuples(st.just("ask"), filters),
)


@given(st.lists(step, max_size=40))
@settings(max_examples=200, deadline=None)
def test_matches_are_those_of_a_full_scan_in_order_of_appearance(steps: list[Any]) -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    claimant = graph.claimant("p")
    view = LiveView(graph)
    for one in steps:
        match one:
            case ("put", id, metadata):
                claimant.put(id, metadata)
            case ("drop", id):
                claimant.drop(id)
            case ("link", parent, child, relation):
                claimant.link(parent, child, relation)
            case ("ask", wanted):
                holds = compile_filter(wanted)
                for kind, table in (("node", graph.nodes), ("edge", graph.edges)):
                    expected = [id for id, revision in table.items() if holds(fields(revision))]
                    assert list(view.match(kind, wanted)) == expected  # type: ignore[arg-type]
                    assert view.select(kind, wanted, [*table, *table]) == expected * 2  # type: ignore[arg-type]


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
