"""A graph over a span of time: every revision that was current at some moment of it.

Each revision stands for itself.  It is named by a *handle*, a text that takes the place of the ID in streams, and it
was current in a period: from its own time up to that of the next revision of its element, a tombstone for one moment.

Two revisions are neighbours while both are current.  So an edge touches those revisions of its ends that were current
at one moment with it, and a node leads to those revisions of another node for which there is a moment at which both
nodes, and an edge between them, were as these revisions say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any, Final, TypeAlias, final

from skycore.filter import EVERYTHING, Filter, compile_filter
from skycore.graph.adjacency import Direction
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import field, fields
from skycore.graph.past import since_of
from skycore.graph.view import GraphView
from skycore.gremlin.operation import Execution, Work, chunks, column

Period: TypeAlias = tuple[int, int]
"""The first and the last millisecond in which a revision was current."""

_FOR_EVER: Final = (1 << 63) - 1
_AT_A_TIME: Final = 2048


def handle_of(revision: Revision) -> str:
    """The name of a revision among all of a span; handles sort by ID, then by number."""
    return f"{revision.id}\0{revision.revision:020d}"


@final
class SpanView:
    """A GraphView whose elements are revisions, named by handles, in the order of their times, IDs and numbers.

    ``periods`` says of each when it was current; ``stale`` holds who could not vouch for the elements at the end.
    """

    frozen: Final = True

    def __init__(
        self,
        nodes: Mapping[str, Revision],
        edges: Mapping[str, Revision],
        periods: Mapping[str, Period],
        stale: Set[tuple[str, str]] = frozenset(),
    ) -> None:
        self._elements: dict[Kind, Mapping[str, Revision]] = {"node": nodes, "edge": edges}
        self._periods = periods
        self._stale = stale
        self._lives: dict[Kind, dict[str, list[str]]] = {"node": {}, "edge": {}}
        for kind, elements in self._elements.items():
            for handle, revision in elements.items():
                self._lives[kind].setdefault(revision.id, []).append(handle)
        self._out: dict[str, list[str]] = {}
        self._in: dict[str, list[str]] = {}
        for handle, edge in edges.items():
            self._out.setdefault(edge.parent or "", []).append(handle)
            self._in.setdefault(edge.child or "", []).append(handle)

    @classmethod
    def of(cls, revisions: Iterable[Revision], stale: Set[tuple[str, str]] = frozenset()) -> SpanView:
        """The view of what a store found, in the store's order; edges that miss an end are left out.

        To be called in a worker thread: it looks at every revision.
        """
        nodes: dict[str, Revision] = {}
        edges: dict[str, Revision] = {}
        lives: dict[str, list[Revision]] = {}
        for revision in revisions:
            (nodes if revision.parent is None else edges)[handle_of(revision)] = revision
            lives.setdefault(revision.id, []).append(revision)
        periods: dict[str, Period] = {}
        for life in lives.values():
            life.sort(key=lambda one: one.revision)
            for place, revision in enumerate(life):
                periods[handle_of(revision)] = _period(revision, life[place + 1 : place + 2])
        known = {revision.id for revision in nodes.values()}
        whole = {handle: one for handle, one in edges.items() if one.parent in known and one.child in known}
        return cls(nodes, whole, periods, stale)

    def part(self, nodes: Set[str], edges: Set[str]) -> SpanView:
        """These revisions alone; of the edges those that touch nodes at both ends.  In a worker thread, like ``of``."""
        kept: dict[str, Revision] = {}
        chosen = {handle: one for handle, one in self._elements["node"].items() if handle in nodes}
        for handle, edge in self._elements["edge"].items():
            if handle in edges and all(
                any(end in nodes for end in self._ends(handle, id)) for id in (edge.parent, edge.child)
            ):
                kept[handle] = edge
        return SpanView(chosen, kept, self._periods, self._stale)

    # What all views have

    def ids(self, kind: Kind) -> Collection[str]:
        return self._elements[kind].keys()

    def get(self, kind: Kind, id: str) -> Revision | None:
        return self._elements[kind].get(id)

    def edges_out(self, node_id: str) -> Sequence[str]:
        return self._touching(node_id, self._out)

    def edges_in(self, node_id: str) -> Sequence[str]:
        return self._touching(node_id, self._in)

    def match(self, kind: Kind, filter: Filter) -> Collection[str]:
        return self.select(kind, filter, self.ids(kind))

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        if filter == EVERYTHING:
            return list(ids)
        elements, holds = self._elements[kind], compile_filter(filter)
        asked = list(ids)
        passed = {id: holds(fields(elements[id], self.is_stale)) for id in dict.fromkeys(asked)}
        return [id for id in asked if passed[id]]

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        elements = self._elements[kind]
        return [field(elements[id], key, self.is_stale) for id in ids]

    def is_stale(self, revision: Revision) -> bool:
        """Whether nobody could vouch for the element at the end of the span."""
        stale, origin = self._stale, revision.origin
        if (origin, "") in stale:
            return True
        return bool(revision.owners) and all((origin, owner) in stale for owner in revision.owners)

    # What only spans have

    def named(self, kind: Kind, id: str) -> Sequence[str]:
        """The revisions of one element."""
        return self._lives[kind].get(id, ())

    def ends(self, edge: str, *, child: bool) -> Iterator[str]:
        """The revisions of one end of an edge that were current with it."""
        revision = self._elements["edge"][edge]
        return self._ends(edge, revision.child if child else revision.parent)

    def around(self, direction: Direction, node: str, edges: Iterable[str]) -> Iterator[str]:
        """Where a node leads over edges that touch it: to what was current at one moment with both."""
        id, period = self._elements["node"][node].id, self._periods[node]
        for edge in edges:
            revision = self._elements["edge"][edge]
            match direction:
                case "children":
                    ends = [revision.child]
                case "parents":
                    ends = [revision.parent]
                case "ends":
                    ends = [revision.parent, revision.child]
                case "sides":
                    ends = [revision.child if revision.parent == id else revision.parent]
            common = _common(period, self._periods[edge])
            for end in ends:
                for handle in self._lives["node"].get(end or "", ()):
                    if _meet(common, self._periods[handle]):
                        yield handle

    def _ends(self, edge: str, id: str | None) -> Iterator[str]:
        period = self._periods[edge]
        return (end for end in self._lives["node"].get(id or "", ()) if _meet(period, self._periods[end]))

    def _touching(self, node: str, edges: Mapping[str, Sequence[str]]) -> list[str]:
        revision, period = self._elements["node"].get(node), self._periods.get(node)
        if revision is None or period is None:
            return []
        return [edge for edge in edges.get(revision.id, ()) if _meet(period, self._periods[edge])]


def element_ids(view: GraphView, items: Sequence[str]) -> Sequence[str]:
    """The IDs of the elements that items of a stream stand for: the items themselves, but over a span."""
    return [item.rpartition("\0")[0] for item in items] if isinstance(view, SpanView) else items


def by_element(view: GraphView, items: Iterable[str]) -> Work[dict[str, list[str]]]:
    """The different items of a stream by the ID of their element, in the order in which they first stand there."""
    found: dict[str, dict[str, None]] = {}
    for part in chunks(items, _AT_A_TIME):
        for id, item in zip(element_ids(view, part), part, strict=True):
            found.setdefault(id, {})[item] = None
        yield
    return {id: list(one) for id, one in found.items()}


def node_values(execution: Execution, key: str, items: Iterable[str]) -> Work[list[tuple[str, list[Any]]]]:
    """The ID of each node in a stream, once, and the values of a key: one, over a span those of its revisions there."""
    nodes = yield from by_element(execution.view, items)
    pairs: list[tuple[str, list[Any]]] = []
    for part in chunks(nodes.items()):
        flat = [item for _, found in part for item in found]
        values = iter((yield from column(execution, "node", key, flat)))
        pairs += [(id, list(islice(values, len(found)))) for id, found in part]
    return pairs


def _period(revision: Revision, following: Sequence[Revision]) -> Period:
    since = since_of(revision)
    if revision.deleted_at is not None:
        return since, since
    # What was replaced within its own millisecond, or by a clock set back, was current for that moment.
    return since, max(since, since_of(following[0]) - 1) if following else _FOR_EVER


def _common(one: Period, other: Period) -> Period:
    return max(one[0], other[0]), min(one[1], other[1])


def _meet(one: Period, other: Period) -> bool:
    first, last = _common(one, other)
    return first <= last
