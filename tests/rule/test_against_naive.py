"""Property: whatever happens in whatever order, the graph is what working out all rules anew would make it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from skycore.graph.graph import Graph
from skycore.graph.identity import edge_id, uuid_of
from tests.rule.ruled import Ruled, ruled

_IDS = ("a", "b", "c", "d")
_RELATION = "ownership"

Nodes: TypeAlias = dict[str, dict[str, Any]]
Pairs: TypeAlias = set[tuple[str, str]]


@attrs.frozen
class Query:
    """A query as text, and what it means."""

    text: str
    ask: Callable[[Nodes, Pairs], set[str]] = attrs.field(eq=False, repr=False)


def _has(key: str, value: Any) -> Query:
    return Query(
        f"G.V().Has('{key}', {value!r})", lambda nodes, _: {i for i, m in nodes.items() if m.get(key) == value}
    )


def _lacks(key: str) -> Query:
    return Query(
        f"G.V().HasNot('{key}')", lambda nodes, _: {id for id, metadata in nodes.items() if key not in metadata}
    )


def _children(key: str, value: Any) -> Query:
    def ask(nodes: Nodes, pairs: Pairs) -> set[str]:
        parents = _has(key, value).ask(nodes, pairs)
        return {child for parent, child in pairs if parent in parents}

    return Query(f"G.V().Has('{key}', {value!r}).OutE('RelationType', '{_RELATION}').OutV()", ask)


def _around(id: str) -> Query:
    """The node and those beside it, if of Type y; the edges that rules make are left out, else rules go in circles."""
    return Query(
        f"G.V('{id}').BothE('RelationType', '{_RELATION}').BothV().Has('Type', 'y')",
        lambda nodes, pairs: {end for pair in pairs if id in pair for end in pair if nodes[end].get("Type") == "y"},
    )


# Those of the first kind read what agents say alone, those of the second what the first rules say besides: no circles.
_BASE = st.one_of(
    st.builds(_has, st.just("Type"), st.sampled_from(["x", "y"])),
    st.builds(_has, st.just("State"), st.integers(0, 1)),
    st.just(_lacks("State")),
    st.builds(_children, st.just("Type"), st.sampled_from(["x", "y"])),
)
_NEXT = _BASE | st.builds(_has, st.sampled_from(["A", "B"]), st.integers(0, 1)) | st.just(_lacks("A"))
_ANY = _NEXT | st.builds(_around, st.sampled_from(_IDS))

_OPERATIONS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(_IDS), st.sampled_from(["x", "y"]), st.none() | st.integers(0, 1)),
    st.tuples(st.just("put"), st.sampled_from(_IDS), st.sampled_from(["x", "y"]), st.none() | st.integers(0, 1)),
    st.tuples(st.just("drop"), st.sampled_from(_IDS)),
    st.tuples(st.just("link"), st.sampled_from(_IDS), st.sampled_from(_IDS)),
    st.tuples(st.just("unlink"), st.sampled_from(_IDS), st.sampled_from(_IDS)),
    st.tuples(st.just("update"), _BASE, st.sampled_from(["A", "B"]), st.integers(0, 1)),
    st.tuples(st.just("update"), _NEXT, st.just("C"), st.integers(0, 1)),
    st.tuples(st.just("create"), st.sampled_from(["x", "y"]), st.sampled_from(["new", "other"]), st.integers(0, 1)),
    st.tuples(st.just("edge"), _ANY, _ANY),
    st.tuples(st.just("user"), _NEXT, st.sampled_from(["K", "L"]), st.integers(0, 1)),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("wait"), st.integers(1, 8)),
    st.tuples(st.just("restart")),
)


@attrs.define
class Model:
    """What was said, and from it, all at once, what the graph has to be."""

    nodes: Nodes = attrs.field(factory=dict)
    links: Pairs = attrs.field(factory=set)
    rules: list[tuple[Any, ...]] = attrs.field(factory=list)

    def expected(self) -> tuple[Nodes, set[tuple[str, str, str]]]:
        nodes: Nodes = {id: dict(metadata) for id, metadata in self.nodes.items()}
        for _, type, name, color in self._of("create"):
            id = uuid_of(f"{type}/{name}")
            nodes[id] = {"Type": type, "Name": name, "State": color, "TID": id}
        pairs = {pair for pair in self.links if pair[0] in nodes and pair[1] in nodes}
        for keys in (("A", "B"), ("C",)):
            found = [
                (query.ask(nodes, pairs), key, value) for _, query, key, value in self._of("update") if key in keys
            ]
            for ids, key, value in found:
                for id in ids:
                    nodes[id][key] = value
        selected = [(query.ask(nodes, pairs), key, value) for _, query, key, value in self._of("user")]
        edges = {(parent, child, _RELATION) for parent, child in pairs}
        for _, source, target in self._of("edge"):
            ends = [min(query.ask(nodes, pairs), default=None) for query in (source, target)]
            if ends[0] is not None and ends[1] is not None:
                edges.add((ends[0], ends[1], "rule"))
        for ids, key, value in selected:
            for id in ids:
                nodes[id].setdefault("UserMetadata", {})[key] = value
        return nodes, edges

    def _of(self, kind: str) -> Iterable[tuple[Any, ...]]:
        return [rule[1] for rule in self.rules if rule[1][0] == kind]


async def _do(world: Ruled, model: Model, operation: tuple[Any, ...]) -> None:
    agent = world.agent()
    match operation:
        case "wait", time:
            # The engine is at work meanwhile, and may be anywhere when the next operation comes.
            await trio.sleep(time * 0.005)
        case "put", id, type, state:
            metadata = {"Type": type, "Name": id} | ({} if state is None else {"State": state})
            agent.put(id, metadata)
            model.nodes[id] = metadata
        case "drop", id:
            agent.drop(id)
            model.nodes.pop(id, None)
        case "link", parent, child:
            agent.link(parent, child, _RELATION)
            model.links.add((parent, child))
        case "unlink", parent, child:
            agent.drop(edge_id(parent, child, _RELATION))
            model.links.discard((parent, child))
        case "update", query, key, value:
            model.rules.append((await world.node_rule("update", {key: value}, query.text), operation))
        case "create", type, name, color:
            uuid = await world.node_rule("create", {"Type": type, "Name": name, "State": color})
            model.rules.append((uuid, operation))
        case "edge", source, target:
            model.rules.append((await world.edge_rule(source.text, target.text, RelationType="rule"), operation))
        case "user", query, key, value:
            if not any(rule[1] == operation for rule in model.rules):
                model.rules.append((await world.user_metadata(query.text, key, value), operation))
        case "delete", place:
            if model.rules:
                uuid, _ = model.rules.pop(place % len(model.rules))
                await world.delete(uuid)


def _check(graph: Graph, model: Model) -> None:
    nodes, edges = model.expected()
    assert {id: node.metadata() for id, node in graph.nodes.items()} == nodes
    assert {(edge.parent, edge.child, edge.metadata()["RelationType"]) for edge in graph.edges.values()} == edges


async def _run(folder: Path, operations: list[tuple[Any, ...]]) -> None:
    model, graph = Model(), Graph(host="a", origin="analyzer.a", with_tids=False)
    ahead = [*operations, ("settle",)]
    age = 0
    while ahead:
        async with ruled(folder, graph, first_age=age) as world, trio.open_nursery() as nursery:
            await nursery.start(world.engine.run)
            await world.settle()
            while ahead and (operation := ahead.pop(0)) != ("restart",):
                age += 1
                await _do(world, model, operation)
                if operation == ("settle",):
                    await world.settle()
                    _check(world.graph, model)
            await world.settle()
            _check(world.graph, model)
            nursery.cancel_scope.cancel()
        graph = _restored(graph)


def _restored(old: Graph) -> Graph:
    """The graph of the next process: the agent is back with what it said, the rules are in the store."""
    graph = Graph(host="a", origin="analyzer.a", with_tids=False)
    agent = graph.claimant("agent.h", plugin="agent")
    for claim in old.claimants["agent.h"].claims.values() if "agent.h" in old.claimants else ():
        agent.say(claim)
    return graph


@settings(max_examples=120, deadline=None)
@given(st.lists(_OPERATIONS, max_size=25))
def test_the_graph_is_what_all_rules_make_of_it(operations: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        trio.run(_run, Path(folder), operations, clock=MockClock(autojump_threshold=0))
