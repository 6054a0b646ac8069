"""The graph at a moment of the past, over the revisions that a store found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Set
from operator import attrgetter
from typing import Final, final

from skycore.bus import ChangeLog
from skycore.graph.element import Kind, Revision, metadata_parts
from skycore.graph.index import Indexes
from skycore.graph.indexed import Slices, finish
from skycore.graph.pieces import sort_in_pieces
from skycore.graph.pin import Pin
from skycore.graph.snapshot import Snapshot
from skycore.graph.view import Change, Difference

_LET_GO_AT_A_TIME: Final = 2048

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


class FixedGraph:
    """A graph in memory that never changes, of revisions in their order; every edge's ends are among the nodes."""

    def __init__(self, nodes: Iterable[Revision] = (), edges: Iterable[Revision] = ()) -> None:
        self.moves = 0
        self.nodes: dict[str, Revision] = {}
        self.edges: dict[str, Revision] = {}
        self.edges_out: dict[str, tuple[str, ...]] = {}
        self.edges_in: dict[str, tuple[str, ...]] = {}
        self.log: ChangeLog[Revision] = ChangeLog(key=attrgetter("id"), size=lambda revision: len(revision.json))
        self._places: dict[Kind, dict[str, int]] = {}
        self.extend(nodes, edges)

    def extend(self, nodes: Iterable[Revision], edges: Iterable[Revision]) -> None:
        """Add elements, before anybody reads."""
        self.nodes.update((one.id, one) for one in nodes)
        out: defaultdict[str, list[str]] = defaultdict(list)
        into: defaultdict[str, list[str]] = defaultdict(list)
        table = self.edges
        for edge in edges:
            id = edge.id
            table[id] = edge
            out[edge.parent].append(id)  # type: ignore[index]
            into[edge.child].append(id)  # type: ignore[index]
        for ends, found in ((self.edges_out, out), (self.edges_in, into)):
            if ends:
                ends.update((id, (*ends.get(id, ()), *ids)) for id, ids in found.items())
            else:
                ends.update(zip(found, map(tuple, found.values()), strict=True))

    def let_go(self) -> Generator[None, None, None]:
        """Become empty, in slices: to free 100,000 elements takes many milliseconds."""
        for places in self._places.values():
            places.clear()
            yield
        for table in (self.edges_out, self.edges_in, self.edges, self.nodes):
            while table:
                for _ in range(min(len(table), _LET_GO_AT_A_TIME)):
                    table.popitem()
                yield

    def in_order(self, kind: Kind, ids: Iterable[str]) -> list[str]:
        """Elements, each given once, in the order of their appearance."""
        places = self._places.get(kind)
        if places is None:
            table = self.nodes if kind == "node" else self.edges
            places = self._places[kind] = {id: place for place, id in enumerate(table)}
        return sorted(ids, key=places.__getitem__)


@final
class PastView(Snapshot):
    """An IndexedView of given revisions.

    ``revisions`` holds at most one revision of each element.  Edges that miss an end are left out.  ``stale``
    holds the (origin, claimant) that could not vouch for their elements at that moment; an empty claimant
    means all that comes from the origin.  The order is that of CreatedAt, then ID.
    """

    def __init__(self, revisions: Iterable[Revision], stale: Set[tuple[str, str]] = frozenset()) -> None:
        # In pieces: a store's thread makes this view, and the event loop waits for each of them.
        ordered = finish(sort_in_pieces(list(revisions), _in_order))
        nodes = {revision.id: revision for revision in ordered if revision.parent is None}
        edges = [one for one in ordered if one.parent in nodes and one.child in nodes]
        graph = FixedGraph(nodes.values(), edges)
        super().__init__(graph, Indexes(graph, common=False), Pin(), stale=stale)
        self._fixed = graph

    def let_go(self) -> Slices[None]:
        return self._fixed.let_go()
