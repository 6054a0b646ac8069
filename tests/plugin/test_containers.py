"""What probes of containers say alike: one change at a time comes to the same as an inventory."""

from __future__ import annotations

from typing import Any, cast

import attrs
from hypothesis import given
from hypothesis import strategies as st

from skycore.graph.graph import Graph
from skycore.plugin import Key, Namespace, ProbeHost
from skycore.plugin.containers import Containers, Located, container_key
from skycore.plugin.handle import GraphHandle

ROOT = Key("host", "h1")


class _Hold:
    def __init__(self, held: set[Key], key: Key) -> None:
        self._held, self._key = held, key

    def release(self) -> None:
        self._held.discard(self._key)


@attrs.define
class _Host:
    """The part of a ProbeHost that is used: a real graph, and a list of the namespaces in which netlink runs."""

    graph: GraphHandle
    root: Key = ROOT
    held: set[Key] = attrs.field(factory=set)

    def children(self, name: str, namespace: Namespace) -> _Hold:
        assert name == "netlink"
        assert namespace.key not in self.held
        self.held.add(namespace.key)
        return _Hold(self.held, namespace.key)


def _fresh() -> tuple[Graph, _Host, Containers]:
    graph = Graph(host="h1", origin="agent.h1", with_tids=True)
    GraphHandle(graph, graph.claimant("skycore")).put(ROOT, {"Name": "h1", "Type": "host"})
    host = _Host(GraphHandle(graph, graph.claimant("docker")))
    return graph, host, Containers(cast(ProbeHost, host), {"Manager": "docker"})


def _namespace(number: int) -> Namespace:
    return Namespace(Key("netns", f"boot/{number}"), number, f"/proc/{number}/ns/net", 4026530000 + number, 4)


def _located(id: int, namespace: int | None, *, shares: bool = False, started: int = 0, more: Any = None) -> Located:
    name = f"c{id}"
    return Located(
        container_key(str(id)),
        name,
        {"Name": name, "Type": "container", "More": more},
        None if namespace is None else _namespace(namespace),
        "" if namespace is None else f"/path/{namespace}",
        shares,
        started,
    )


def _picture(graph: Graph) -> dict[str, Any]:
    edges = {id: (edge.parent, edge.child) for id, edge in graph.edges.items()}
    return {**{id: node.metadata() for id, node in graph.nodes.items()}, **edges}


_containers = st.builds(
    _located,
    st.integers(0, 5),
    st.none() | st.integers(0, 2),
    shares=st.booleans(),
    started=st.integers(0, 3),
    more=st.integers(0, 2),
)
_steps = st.lists(
    st.dictionaries(st.integers(0, 5).map(str).map(container_key), st.none(), max_size=2).flatmap(
        lambda gone: st.lists(_containers, max_size=3).map(lambda new: {**gone, **{one.key: one for one in new}})
    ),
    max_size=8,
)


@given(_steps)
def test_changes_come_to_the_same_as_an_inventory(steps: list[dict[Key, Located | None]]) -> None:
    graph, host, changing = _fresh()
    known: dict[Key, Located] = {}
    for step in steps:
        changing.update(step)
        for key, one in step.items():
            known.pop(key, None)
            if one is not None:
                known[key] = one
        other, other_host, inventory = _fresh()
        inventory.replace(known.values())
        assert _picture(graph) == _picture(other)
        assert host.held == other_host.held
        assert len(changing) == len(known)
        end = graph.log.end
        changing.update(known)
        changing.replace(known.values())
        assert graph.log.end == end


def test_a_namespace_is_named_after_its_first_container() -> None:
    graph, _, containers = _fresh()
    sharing, first, second = (
        _located(1, 1, shares=True, started=1),
        _located(2, 1, started=2),
        _located(3, 1, started=3),
    )

    def name() -> list[str]:
        return [node.metadata()["Name"] for node in graph.nodes.values() if node.metadata()["Type"] == "netns"]

    containers.update({one.key: one for one in (sharing, second, first)})
    assert name() == ["c2"]
    containers.update({first.key: None})
    assert name() == ["c3"]
    containers.update({second.key: None})
    assert name() == ["c1"]
    containers.update({sharing.key: None})
    assert name() == []


def test_what_the_graph_cannot_hold_is_shown_by_its_name_alone() -> None:
    graph, _, containers = _fresh()
    containers.update({container_key("1"): _located(1, None, more="x" * (5 << 20))})
    (shown,) = [node.metadata() for node in graph.nodes.values() if node.metadata()["Type"] == "container"]
    assert shown["Name"] == "c1"
    assert "More" not in shown
    assert containers.refused.keys() == {container_key("1")}
    containers.update({container_key("1"): _located(1, None)})
    assert not containers.refused
