"""Graphs for tests: plain lists of revisions that answer every question by looking at all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, final

from skycore.filter import Filter, compile_filter
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import StaleTest, field, fields


@final
class ListView:
    """A graph made of revisions, in their order; it never changes, and says so unless ``frozen`` is False."""

    def __init__(self, revisions: Iterable[Revision], stale: StaleTest | None = None, *, frozen: bool = True) -> None:
        self.frozen = frozen
        self._elements: dict[Kind, dict[str, Revision]] = {"node": {}, "edge": {}}
        for revision in revisions:
            self._elements[revision.kind][revision.id] = revision
        self._stale = stale

    def ids(self, kind: Kind) -> list[str]:
        return list(self._elements[kind])

    def get(self, kind: Kind, id: str) -> Revision | None:
        return self._elements[kind].get(id)

    def edges_out(self, node_id: str) -> list[str]:
        return [edge.id for edge in self._elements["edge"].values() if edge.parent == node_id]

    def edges_in(self, node_id: str) -> list[str]:
        return [edge.id for edge in self._elements["edge"].values() if edge.child == node_id]

    def match(self, kind: Kind, filter: Filter) -> list[str]:
        return self.select(kind, filter, self.ids(kind))

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        holds = compile_filter(filter)
        return [id for id in ids if holds(fields(self._elements[kind][id], self._stale))]

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        return [field(self._elements[kind][id], key, self._stale) for id in ids]


@final
class ListHistory:
    """The past of a graph, from all revisions that its elements ever had (the last one may be a tombstone)."""

    def __init__(self, revisions: Sequence[Revision]) -> None:
        self._revisions = revisions

    def graph_at(self, at: int, duration: int = 0) -> ListView:
        newest: dict[tuple[Kind, str], Revision] = {}
        for revision in self._revisions:
            known = newest.get((revision.kind, revision.id))
            if revision.updated_at <= at and (known is None or known.revision < revision.revision):
                newest[revision.kind, revision.id] = revision
        return ListView(one for one in newest.values() if one.deleted_at is None or one.deleted_at >= at - duration)
