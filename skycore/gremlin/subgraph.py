"""A part of a graph, as a graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, final

from skycore.filter import Filter, compile_filter
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import field, fields


@final
class SubGraphView:
    """A GraphView of some revisions, which never change, in the order given; every edge's ends are among them.

    ``stale`` tells of a revision whether nobody can vouch for it.
    """

    frozen: Final = True

    def __init__(self, nodes: Iterable[Revision], edges: Iterable[Revision], stale: Callable[[Revision], bool]) -> None:
        self._elements: dict[Kind, dict[str, Revision]] = {
            "node": {one.id: one for one in nodes},
            "edge": {one.id: one for one in edges},
        }
        self._stale = stale
        self._out: dict[str, list[str]] = {}
        self._in: dict[str, list[str]] = {}
        for edge in self._elements["edge"].values():
            assert edge.parent is not None
            assert edge.child is not None
            self._out.setdefault(edge.parent, []).append(edge.id)
            self._in.setdefault(edge.child, []).append(edge.id)

    def ids(self, kind: Kind) -> Collection[str]:
        return self._elements[kind].keys()

    def get(self, kind: Kind, id: str) -> Revision | None:
        return self._elements[kind].get(id)

    def edges_out(self, node_id: str) -> Sequence[str]:
        return self._out.get(node_id, ())

    def edges_in(self, node_id: str) -> Sequence[str]:
        return self._in.get(node_id, ())

    def match(self, kind: Kind, filter: Filter) -> Collection[str]:
        return self.select(kind, filter, self.ids(kind))

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        elements, holds = self._elements[kind], compile_filter(filter)
        return [id for id in ids if holds(fields(elements[id], self._stale))]

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        elements = self._elements[kind]
        return [field(elements[id], key, self._stale) for id in ids]

    def is_stale(self, revision: Revision) -> bool:
        """Whether nobody can vouch for the element."""
        return self._stale(revision)
