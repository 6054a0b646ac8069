"""Views and joins over graphs that change, against the naive answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.errors import ClaimError, HandleClosed
from skycore.graph.graph import Graph
from skycore.graph.identity import node_id
from skycore.plugin import Compare, Equals, Filter, Key, Matches, Present, ProbeHost
from skycore.plugin.handle import GraphHandle
from skycore.plugin.supervision import RestartPolicy
from skycore.plugin.views import SharedNodes
from skycore.testing.probes import run_probes
from tests.plugin.running import probe

KEYS = [Key("thing", str(number)) for number in range(5)]
IDS = {node_id("h", key): key for key in KEYS}

Metadata = dict[str, Any]
Side = tuple[Filter, list[str], Callable[[Metadata], bool]]
LEFT: Side = (Equals("Left", True), ["X", "Y.Z"], lambda metadata: metadata.get("Left") is True)
RIGHT: Side = (Present("Right"), ["V", "W"], lambda metadata: "Right" in metadata)

values = st.sampled_from([1, 2, "1", True, None, 1.0, [1, 2], [2, "1"], [], [[1]], {"a": 1}, [{"a": 1}, {"a": 2}]])
metadatas = st.fixed_dictionaries(
    {},
    optional={
        "Left": st.booleans(),
        "Right": st.just(0),
        "X": values,
        "Y": st.one_of(st.just(5), st.fixed_dictionaries({}, optional={"Z": values})),
        "V": values,
        "W": values,
    },
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), metadatas),
        st.tuples(st.just("drop"), st.sampled_from(KEYS), st.none()),
        st.tuples(st.just("settle"), st.none(), st.none()),
    ),
    max_size=25,
)


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: a bool is no number."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def members(metadata: Metadata, key: str) -> list[Any]:
    value: Any = metadata
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return []
        value = value[part]
    return value if isinstance(value, list) else [value]


def naive_join(nodes: dict[Key, Metadata]) -> set[tuple[Key, Key]]:
    return {
        (left, right)
        for left in nodes
        for right in nodes
        if left != right and LEFT[2](nodes[left]) and RIGHT[2](nodes[right])
        if all(
            any(same(one, other) for one in members(nodes[left], mine) for other in members(nodes[right], theirs))
            for mine, theirs in zip(LEFT[1], RIGHT[1], strict=True)
        )
    }


def joined(graph: Graph) -> set[tuple[Key, Key]]:
    return {(IDS[str(edge.parent)], IDS[str(edge.child)]) for edge in graph.edges.values()}


@settings(max_examples=150, deadline=None)
@given(before=steps, after=steps)
def test_a_join_keeps_the_edges_of_the_naive_join(before: list[Any], after: list[Any]) -> None:
    """Whatever was there first; nodes change while the join looks away, and come back after they went."""
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    source = GraphHandle(graph, graph.claimant("source"))
    joiner = GraphHandle(graph, graph.claimant("joiner"))
    nodes: dict[Key, Metadata] = {}

    def take(step: tuple[str, Key, Metadata]) -> None:
        action, key, metadata = step
        if action == "put":
            source.put(key, metadata)
            nodes[key] = metadata
        elif action == "drop":
            source.drop(key)
            nodes.pop(key, None)
        else:
            joiner.update_joins()
            assert joined(graph) == naive_join(nodes)

    for step in before:
        take(step)
    joiner.join(LEFT[:2], RIGHT[:2], "same", {"Speed": 1})
    assert joined(graph) == naive_join(nodes)
    for step in [*after, ("settle", None, None)]:
        take(step)
    for edge in graph.edges.values():
        assert edge.metadata() == {"RelationType": "same", "Speed": 1}
        assert edge.owners == ("joiner",)
    with joiner.snapshot():
        pass
    assert joined(graph) == naive_join(nodes), "a snapshot is about what was put and linked, not about joins"
    graph.claimant("joiner").withdraw()
    assert graph.edges == {}


def test_an_edge_that_two_joins_want_goes_with_the_last() -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    one = GraphHandle(graph, graph.claimant("one"))
    for key in ("A", "B"):
        one.join((Present("Left"), [key]), (Present("Right"), [key]), "same")
    one.put(KEYS[0], {"Left": 1, "A": 1, "B": 1})
    one.put(KEYS[1], {"Right": 1, "A": 1, "B": 1})
    one.update_joins()
    assert len(graph.edges) == 1
    one.put(KEYS[1], {"Right": 1, "A": 2, "B": 1})
    one.update_joins()
    assert len(graph.edges) == 1
    one.put(KEYS[1], {"Right": 1, "A": 2, "B": 2})
    one.update_joins()
    assert len(graph.edges) == 0


async def test_joins_of_a_running_probe_follow_the_graph(install: Callable[..., None]) -> None:
    hosts: dict[str, ProbeHost] = {}

    async def joins(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        hosts["joiner"] = host
        host.graph.join((Present("Left"), ["X"]), (Present("Right"), ["X"]), "same")
        task_status.started()
        await crash.wait()
        raise OSError

    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        hosts["source"] = host
        host.graph.put(KEYS[0], {"Left": 1, "X": 1})
        task_status.started()
        await trio.sleep_forever()

    crash = trio.Event()
    install(joiner=probe(joins), source=probe(run))
    async with run_probes({"joiner": {}, "source": {}}, policy=RestartPolicy(first=0.3)) as lab:
        graph = hosts["source"].graph
        graph.put(KEYS[1], {"Right": 1, "X": 1})
        await lab.until(lambda: lab.edges(RelationType="same"))
        (edge,) = lab.edges()
        crash.set()
        await lab.until(lambda: lab.report("joiner").state == "crashed")
        assert lab.edges() == [edge], "kept, stale"
        crash = trio.Event()
        await lab.until(lambda: lab.report("joiner").state == "running")
        assert lab.edges() == [edge], "taken over by the next run, without a new revision"
        graph.put(KEYS[1], {"Right": 1, "X": 2})
        await lab.until(lambda: not lab.edges())


async def test_a_join_whose_filter_cannot_stand_a_value_crashes_its_own_plugin(install: Callable[..., None]) -> None:
    hosts: list[ProbeHost] = []

    async def joins(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        wrong: Any = "not a number"
        hosts.append(host)
        if len(hosts) == 1:
            host.graph.join((Compare("X", "lt", wrong), ["X"]), (Present("Y"), ["Y"]), "same")
        task_status.started()
        await trio.sleep_forever()

    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await lab_ready.wait()
        host.graph.put(KEYS[0], {"X": 1})
        await trio.sleep_forever()

    lab_ready = trio.Event()
    install(joiner=probe(joins), source=probe(run))
    async with run_probes({"joiner": {}, "source": {}}, policy=RestartPolicy(first=0.01)) as lab:
        lab_ready.set()
        await lab.until(lambda: lab.report("joiner").restarts == 1 and lab.report("joiner").state == "running")
        assert lab.report("source").state == "running"
        assert lab.nodes(X=1)


@settings(max_examples=100, deadline=None)
@given(steps=steps, late=st.integers(0, 10), wanted=values)
def test_a_view_shows_what_its_filter_selects(steps: list[Any], late: int, wanted: Any) -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    source = GraphHandle(graph, graph.claimant("source"))
    nodes: dict[Key, Metadata] = {}
    views = [source.view(Equals("Left", True), ["X"])]

    def check() -> None:
        for view in views:
            selected = {key: metadata for key, metadata in nodes.items() if metadata.get("Left") is True}
            assert {IDS[id]: metadata for id, metadata in view.all()} == selected
            found = {IDS[id] for id, _ in view.find(wanted)}
            assert found == {
                key
                for key, metadata in selected.items()
                if any(same(member, wanted) for member in members(metadata, "X"))
            }

    for number, (action, key, metadata) in enumerate(steps):
        if number == late:
            views.append(source.view(Equals("Left", True), ["X"]))
        if action == "put":
            source.put(key, metadata)
            nodes[key] = metadata
        elif action == "drop":
            source.drop(key)
            nodes.pop(key, None)
        else:
            check()
    check()


async def test_changed_returns_once_for_what_changed_since_the_last_call() -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    source = GraphHandle(graph, graph.claimant("source"))
    view = source.view(Present("Left"))
    source.put(KEYS[0], {"Left": 1})
    assert len(view.all()) == 1
    with trio.fail_after(1):
        await view.changed()
    with trio.move_on_after(0.02) as scope:
        await view.changed()
    assert scope.cancelled_caught

    # A look by somebody else in the moment of the change must not swallow it.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(view.changed)
        await trio.testing.wait_all_tasks_blocked()
        source.put(KEYS[1], {"Left": 1})
        assert len(view.all()) == 2
        nursery.cancel_scope.deadline = trio.current_time() + 1
    assert not nursery.cancel_scope.cancelled_caught


def test_views_of_one_filter_share_what_they_know() -> None:
    graph = Graph(host="h", origin="test.h", with_tids=False)
    nodes = SharedNodes(graph)
    one, other = (GraphHandle(graph, graph.claimant(name), nodes) for name in ("one", "other"))
    views = [handle.view(Equals("Type", "x"), ("Name",)) for handle in (one, other, one)]
    apart = one.view(Equals("Type", "y"), ("Name",))
    assert len(nodes) == 2
    one.put(KEYS[0], {"Name": "a", "Type": "x"})
    one.put(KEYS[1], {"Name": "b", "Type": "y"})
    assert [len(view.find("a")) for view in (*views, apart)] == [1, 1, 1, 0]
    views[0].close()
    views[0].close()
    views[2].close()
    one.drop(KEYS[0])
    assert views[1].all() == []
    other.close()
    assert len(nodes) == 1
    one.close()
    assert len(nodes) == 0


async def test_a_closed_view() -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    source = GraphHandle(graph, graph.claimant("source"))
    kept, closed = source.view(), source.view()
    closed.close()
    closed.close()
    for call in (closed.all, closed.find):
        with pytest.raises(HandleClosed):
            call()
    with pytest.raises(HandleClosed):
        await closed.changed()
    source.put(KEYS[0], {})
    assert len(kept.all()) == 1
    cursors = graph.log._cursors
    source.close()
    assert not cursors, "no reader is left that the log would keep changes for"


def test_what_a_view_returns_is_the_readers_own() -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    source = GraphHandle(graph, graph.claimant("source"))
    view = source.view(keys=["Name"])
    source.put(KEYS[0], {"Name": "x", "List": [1]})
    ((_, metadata),) = view.find("x")
    metadata["List"].append(2)
    ((_, again),) = view.all()
    assert again == {"Name": "x", "List": [1]}


def test_a_wrong_pattern_is_refused_where_it_is_given() -> None:
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    source = GraphHandle(graph, graph.claimant("source"))
    with pytest.raises(ValueError, match="error parsing regexp"):
        source.view(Matches("Name", "("))
    with pytest.raises(ValueError, match="error parsing regexp"):
        source.join((Matches("Name", "("), ["X"]), (Present("X"), ["X"]), "same")
    with pytest.raises(ValueError, match="error parsing regexp"):
        source.join((Present("X"), ["X"]), (Matches("Name", "("), ["X"]), "same")
    with pytest.raises(ClaimError):
        source.join((Present("X"), ["X"]), (Present("X"), ["X"]), "same", {"Bad": object()})
    assert not graph.log._cursors, "a reader that is left over would keep the log from forgetting"
