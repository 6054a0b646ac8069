"""From elements to their neighbours: many at a time, in the order of where they start, repetitions kept.

Views with indexes answer from their tables; any other view is asked element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, TypeAlias, final

import attrs

from skycore.filter import EVERYTHING, Filter
from skycore.graph.adjacency import Direction
from skycore.graph.element import Revision
from skycore.graph.indexed import IndexedView
from skycore.graph.view import GraphView
from skycore.gremlin.operation import Work, chunks, select
from skycore.gremlin.span import SpanView

Neighbours: TypeAlias = Callable[[GraphView, Sequence[str]], list[str]]
"""The IDs that some IDs lead to."""


def leaving(view: GraphView, nodes: Sequence[str]) -> list[str]:
    """Edges to the children of nodes."""
    if isinstance(view, IndexedView):
        return view.leaving(nodes)
    return [edge for node in nodes for edge in view.edges_out(node)]


def arriving(view: GraphView, nodes: Sequence[str]) -> list[str]:
    """Edges from the parents of nodes."""
    if isinstance(view, IndexedView):
        return view.arriving(nodes)
    return [edge for node in nodes for edge in view.edges_in(node)]


def touching(view: GraphView, nodes: Sequence[str]) -> list[str]:
    """Of each node the edges to its children, then those from its parents; a loop once."""
    edges: list[str] = []
    for node in nodes:
        out, into = view.edges_out(node), view.edges_in(node)
        edges += out
        edges += _without(into, out)
    return edges


def parent_ends(view: GraphView, edges: Sequence[str]) -> list[str]:
    if isinstance(view, IndexedView):
        return view.ends(edges)[0]
    if isinstance(view, SpanView):
        return [end for edge in edges for end in view.ends(edge, child=False)]
    return [end for edge in _edges(view, edges) if (end := _there(view, edge.parent)) is not None]


def child_ends(view: GraphView, edges: Sequence[str]) -> list[str]:
    if isinstance(view, IndexedView):
        return view.ends(edges)[1]
    if isinstance(view, SpanView):
        return [end for edge in edges for end in view.ends(edge, child=True)]
    return [end for edge in _edges(view, edges) if (end := _there(view, edge.child)) is not None]


def both_ends(view: GraphView, edges: Sequence[str]) -> list[str]:
    """Of each edge the parent, then the child."""
    if isinstance(view, SpanView):
        return [end for edge in edges for child in (False, True) for end in view.ends(edge, child=child)]
    if isinstance(view, IndexedView):
        return list(chain.from_iterable(zip(*view.ends(edges), strict=True)))
    found = [end for edge in _edges(view, edges) for end in (edge.parent, edge.child)]
    return [end for end in found if _there(view, end) is not None]  # type: ignore[misc]


def both_sides(view: GraphView, nodes: Sequence[str]) -> list[str]:
    """Of each node the children, then the parents; over a loop once."""
    found: list[str] = []
    for node in nodes:
        out, into = view.edges_out(node), view.edges_in(node)
        found += child_ends(view, out)
        found += parent_ends(view, _without(into, out))
    return found


@final
@attrs.frozen
class Over:
    """From nodes over those of their edges for which a filter holds, to what ``direction`` says."""

    direction: Direction
    filter: Filter = EVERYTHING

    def walk(self, view: GraphView, nodes: Sequence[str]) -> Work[list[str]]:
        """The nodes reached, in the order of where they are reached from, repetitions kept."""
        if isinstance(view, IndexedView):
            remembered = yield from view.around(self.direction, self.filter, nodes)
            if remembered is not None:
                return list(chain.from_iterable(remembered))
        if isinstance(view, SpanView):
            return (yield from self._walk_span(view, nodes))
        if self.direction == "sides":
            return both_sides(view, nodes)
        edges_of, ends_of = _WAYS[self.direction]
        edges = yield from select(view, "edge", self.filter, edges_of(view, nodes))
        found: list[str] = []
        for part in chunks(edges, 1024):
            found += ends_of(view, part)
            yield
        return found

    def _walk_span(self, view: SpanView, nodes: Sequence[str]) -> Work[list[str]]:
        edges_of = touching if self.direction == "sides" else _WAYS[self.direction][0]
        found: list[str] = []
        for node in nodes:
            edges = yield from select(view, "edge", self.filter, edges_of(view, [node]))
            for part in chunks(edges):
                found += view.around(self.direction, node, part)
                yield
        return found


_WAYS: Final[dict[Direction, tuple[Neighbours, Neighbours]]] = {
    "children": (leaving, child_ends),
    "parents": (arriving, parent_ends),
    "ends": (touching, both_ends),
}


def over(edges: Neighbours | Over, filter: Filter, ends: Neighbours | Over) -> Over | None:
    """Two moves, over edges for which a filter holds and on to their ends, as one; None when there is none."""
    for direction, ways in _WAYS.items():
        if ways == (edges, ends):
            return Over(direction, filter)
    return None


def _without(edges: Sequence[str], others: Sequence[str]) -> Sequence[str]:
    if not edges or not others:
        return edges
    known = others if len(others) < 16 else set(others)
    return [edge for edge in edges if edge not in known]


def _edges(view: GraphView, ids: Sequence[str]) -> list[Revision]:
    return [edge for id in ids if (edge := view.get("edge", id)) is not None]


def _there(view: GraphView, node: str | None) -> str | None:
    """In the past an end of an edge may have been forgotten already."""
    return node if node is not None and view.get("node", node) is not None else None
