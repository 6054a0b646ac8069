"""``Out``, ``InE``, ``BothV`` and the like: steps from elements to their neighbours.

An edge leads from its parent to its child.  ``InV`` gives parents and ``OutV`` children: as in Skydive, and the reverse
of TinkerPop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias, final

import attrs

from skycore.filter import EVERYTHING, Filter
from skycore.graph.view import GraphView
from skycore.gremlin.operation import (
    CHUNK,
    EDGES,
    ELEMENT_KINDS,
    NODES,
    Execution,
    Kind,
    Narrow,
    Operation,
    Stream,
    Work,
)
from skycore.gremlin.predicates import all_of, pair_filters
from skycore.gremlin.registry import Call, StepDefinition, step

Neighbours: TypeAlias = Callable[[GraphView, str], list[str]]
"""The IDs that one ID leads to."""


def _out_edges(view: GraphView, node: str) -> list[str]:
    return list(view.edges_out(node))


def _in_edges(view: GraphView, node: str) -> list[str]:
    return list(view.edges_in(node))


def _both_edges(view: GraphView, node: str) -> list[str]:
    leaving = list(view.edges_out(node))
    loops = set(leaving)
    return leaving + [edge for edge in view.edges_in(node) if edge not in loops]


def _ends(view: GraphView, edges: Iterable[str], *, parents: bool, children: bool) -> list[str]:
    get = view.get
    ends: list[str] = []
    for edge in edges:
        revision = get("edge", edge)
        if revision is None or revision.parent is None or revision.child is None:
            continue
        # In the past an end of an edge may have been forgotten already.
        if parents and get("node", revision.parent) is not None:
            ends.append(revision.parent)
        if children and get("node", revision.child) is not None:
            ends.append(revision.child)
    return ends


def _parent(view: GraphView, edge: str) -> list[str]:
    return _ends(view, (edge,), parents=True, children=False)


def _child(view: GraphView, edge: str) -> list[str]:
    return _ends(view, (edge,), parents=False, children=True)


def _both_ends(view: GraphView, edge: str) -> list[str]:
    return _ends(view, (edge,), parents=True, children=True)


def _children(view: GraphView, node: str) -> list[str]:
    return _ends(view, view.edges_out(node), parents=False, children=True)


def _parents(view: GraphView, node: str) -> list[str]:
    return _ends(view, view.edges_in(node), parents=True, children=False)


def _both_sides(view: GraphView, node: str) -> list[str]:
    loops = set(view.edges_out(node))
    arriving = (edge for edge in view.edges_in(node) if edge not in loops)
    return _children(view, node) + _ends(view, arriving, parents=True, children=False)


@final
@attrs.frozen
class Move(Operation):
    """What each element of the stream leads to, in the stream's order, repetitions kept; narrowed."""

    gives: Kind
    neighbours: Neighbours
    narrow: Narrow

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        kind = ELEMENT_KINDS[self.gives]
        reached = yield from self.narrow.apply(execution, kind, self._reach(execution, stream))
        return Stream(self.gives, reached)

    def _reach(self, execution: Execution, stream: Stream) -> Iterator[list[str]]:
        neighbours, view = self.neighbours, execution.view
        reached: list[str] = []
        for number, id in enumerate(stream.items, 1):
            reached += neighbours(view, id)
            if len(reached) >= CHUNK or number % CHUNK == 0:
                yield reached
                reached = []
        yield reached

    def absorb(self, following: Operation) -> Operation | None:
        narrow = self.narrow.then(following) if isinstance(following, Narrow) else None
        return None if narrow is None else attrs.evolve(self, narrow=narrow)


def _define(name: str, takes: Kind, gives: Kind, neighbours: Neighbours, summary: str) -> StepDefinition:
    def compile(call: Call, kind: Kind) -> Operation:
        filter: Filter = EVERYTHING
        if call.arguments:
            filter = all_of(pair_filters(call, "slice must be defined by pair k,v"))
        return Move(gives, neighbours, Narrow(filter))

    compile.__doc__ = summary
    return step(name, parameters="([key, value, …])", gives={takes: gives}, named_refusal=name in _NAMED)(compile)


_NAMED: Final = frozenset({"Out", "In", "Both"})

STEPS = (
    _define("Out", NODES, NODES, _children, "The children of each node; with pairs, those for which they hold."),
    _define("In", NODES, NODES, _parents, "The parents of each node; with pairs, those for which they hold."),
    _define("Both", NODES, NODES, _both_sides, "The children, then the parents of each node."),
    _define("OutE", NODES, EDGES, _out_edges, "The edges to the children; pairs are about the edges."),
    _define("InE", NODES, EDGES, _in_edges, "The edges from the parents; pairs are about the edges."),
    _define("BothE", NODES, EDGES, _both_edges, "The edges to the children, then those from the parents."),
    _define("OutV", EDGES, NODES, _child, "The **child** of each edge (TinkerPop: `inV`)."),
    _define("InV", EDGES, NODES, _parent, "The **parent** of each edge (TinkerPop: `outV`)."),
    _define("BothV", EDGES, NODES, _both_ends, "The parent, then the child of each edge."),
)
