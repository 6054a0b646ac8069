"""The graph at a moment of the past, over the revisions that a store found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from operator import attrgetter
from typing import Any, Final, final

from skycore.filter import EVERYTHING, Filter, compile_filter
from skycore.graph.element import Kind, Revision, metadata_parts
from skycore.graph.fields import field, fields
from skycore.graph.view import Change, Difference

_in_order = attrgetter("created_at", "id")


def since_of(revision: Revision) -> int:
    """From when on a revision was the current one (milliseconds since the epoch)."""
    if revision.deleted_at is not None:
        return revision.deleted_at
    return max(revision.created_at, revision.updated_at)


def between(life: Sequence[Revision], start: int, end: int, until: int | None = None) -> Iterator[Revision]:
    """Those of an element's revisions, given lowest first, that were current at some moment of [start, end].

    ``until`` is when the last one was superseded, if it was.
    """
    ends = [*map(since_of, life[1:]), until]
    for revision, superseded in zip(life, ends, strict=True):
        archived = revision.deleted_at if revision.deleted_at is not None else superseded
        if since_of(revision) <= end and (archived is None or archived >= start):
            yield revision


def difference(before: Mapping[str, Revision], after: Mapping[str, Revision]) -> Difference:
    """Compare two graphs, or the same part of both; tombstones count as absent."""
    appeared: list[Revision] = []
    vanished: list[Revision] = []
    changed: list[Change] = []
    for id in before.keys() | after.keys():
        old, new = before.get(id), after.get(id)
        if old is None or old.deleted_at is not None:
            if new is not None and new.deleted_at is None:
                appeared.append(new)
        elif new is None or new.deleted_at is not None:
            vanished.append(old)
        elif old.metadata_json != new.metadata_json:
            changed.append(Change(old, new, _changed_keys(old, new)))
    return Difference(
        tuple(sorted(appeared, key=_in_order)),
        tuple(sorted(vanished, key=_in_order)),
        tuple(sorted(changed, key=lambda change: _in_order(change.after))),
    )


def _changed_keys(old: Revision, new: Revision) -> tuple[str, ...]:
    before, after = metadata_parts(old.metadata_json), metadata_parts(new.metadata_json)
    return tuple(sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key)))


@final
class PastView:
    """A GraphView over given revisions, which never change.

    ``revisions`` holds at most one revision of each element.  Edges that miss an end are left out.  ``stale``
    holds the (origin, claimant) that could not vouch for their elements at that moment; an empty claimant
    means all that comes from the origin.  The order is that of CreatedAt, then ID.
    """

    frozen: Final = True

    def __init__(self, revisions: Iterable[Revision], stale: Set[tuple[str, str]] = frozenset()) -> None:
        ordered = sorted(revisions, key=_in_order)
        nodes = {revision.id: revision for revision in ordered if revision.parent is None}
        edges = {}
        if len(nodes) < len(ordered):
            edges = {one.id: one for one in ordered if one.parent in nodes and one.child in nodes}
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
