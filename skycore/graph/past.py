"""The graph at a moment of the past, over the revisions that a store found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from typing import Any, Final, final

from skycore.filter import EVERYTHING, Filter, compile_filter
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import field, fields


@final
class PastView:
    """A GraphView over given revisions, which never change.

    ``revisions`` holds at most one revision of each element.  Edges that miss an end are left out.  ``stale``
    holds the (origin, claimant) that could not vouch for their elements at that moment; an empty claimant
    means all that comes from the origin.  The order is that of CreatedAt, then ID.
    """

    frozen: Final = True

    def __init__(self, revisions: Iterable[Revision], stale: Set[tuple[str, str]] = frozenset()) -> None:
        ordered = sorted(revisions, key=lambda revision: (revision.created_at, revision.id))
        nodes = {revision.id: revision for revision in ordered if revision.parent is None}
        edges = {revision.id: revision for revision in ordered if revision.parent in nodes and revision.child in nodes}
        self._elements: dict[Kind, dict[str, Revision]] = {"node": nodes, "edge": edges}
        self._stale = stale
        self._adjacency: tuple[dict[str, list[str]], dict[str, list[str]]] | None = None

    def ids(self, kind: Kind) -> Collection[str]:
        return self._elements[kind].keys()

    def get(self, kind: Kind, id: str) -> Revision | None:
        return self._elements[kind].get(id)

    def edges_out(self, node_id: str) -> Sequence[str]:
        return self._edges()[0].get(node_id, ())

    def edges_in(self, node_id: str) -> Sequence[str]:
        return self._edges()[1].get(node_id, ())

    def match(self, kind: Kind, filter: Filter) -> Collection[str]:
        return self.select(kind, filter, self.ids(kind))

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        elements = self._elements[kind]
        known = [id for id in ids if id in elements]
        if filter == EVERYTHING:
            return known
        test = compile_filter(filter)
        passed = {id: test(fields(elements[id], self.is_stale)) for id in dict.fromkeys(known)}
        return [id for id in known if passed[id]]

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        elements = self._elements[kind]
        return [field(elements[id], key, self.is_stale) for id in ids]

    def is_stale(self, revision: Revision) -> bool:
        """Whether nobody could vouch for the element then: its origin, or all of its owners, were stale."""
        stale, origin = self._stale, revision.origin
        if (origin, "") in stale:
            return True
        return bool(revision.owners) and all((origin, owner) in stale for owner in revision.owners)

    def _edges(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        # Many queries of the past never follow an edge.
        if self._adjacency is None:
            out: dict[str, list[str]] = {}
            into: dict[str, list[str]] = {}
            for edge in self._elements["edge"].values():
                assert edge.parent is not None
                assert edge.child is not None
                out.setdefault(edge.parent, []).append(edge.id)
                into.setdefault(edge.child, []).append(edge.id)
            self._adjacency = out, into
        return self._adjacency
