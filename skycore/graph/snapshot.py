"""The live graph at one moment, for readers that let it move on while they read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, Final, TypeVar, final

from skycore.filter import EVERYTHING, MISSING, All, Equals, Filter, Leaf, Not, compile_filter, value_test
from skycore.filter import Any as AnyOf
from skycore.graph.adjacency import Direction, Table
from skycore.graph.column import Column
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import fields
from skycore.graph.graph import Graph
from skycore.graph.idset import IdSet, conjuncts, intersection, leaves, resolve
from skycore.graph.index import Indexes
from skycore.graph.pin import Pin
from skycore.graph.projection import UNINDEXED, canonical_key, projection

T = TypeVar("T")

_FEW: Final = 64
_AT_A_TIME: Final = 256
_EDGES_AT_A_TIME: Final = 2048
_IDS_AT_A_TIME: Final = 16384
_ALL: Final = 1 << 62
_UNCHANGED: Final = object()


@final
class Snapshot:
    """A GraphView of one moment of the live graph.

    What was replaced since that moment is in ``pin``; with a pin that the graph does not know, this is the graph as it
    is.  Generators give control after each slice of work; between slices the graph may change, the answer does not.
    With ``notes`` set, it counts the indexes and scans that answers came from, by their description.
    """

    frozen: Final = True

    def __init__(self, graph: Graph, indexes: Indexes, pin: Pin, *, stale: Mapping[tuple[str, str], Any]) -> None:
        self._graph = graph
        self._indexes = indexes
        self._pin = pin
        self._stale = stale
        self._tables: dict[Kind, dict[str, Revision]] = {"node": graph.nodes, "edge": graph.edges}
        self.notes: dict[str, int] | None = None
        self._edges_changed = False
        self._looked_at = 0

    # Elements

    def ids(self, kind: Kind) -> list[str]:
        table, changed = self._tables[kind], self._pin.elements
        if not changed:
            return list(table)
        kept: list[str] = []
        for id, revision in table.items():
            old = changed.get(id, _UNCHANGED)
            # One that ended and began again stands at another place now.
            if old is _UNCHANGED or (isinstance(old, Revision) and old.born == revision.born):
                kept.append(id)
        gone = [
            old.id
            for old in changed.values()
            if old is not None and old.kind == kind and ((now := table.get(old.id)) is None or now.born != old.born)
        ]
        return sorted(kept + gone, key=self._born(kind)) if gone else kept

    def count(self, kind: Kind) -> int:
        """How many elements there are."""
        changed = self._pin.elements
        return len(self.ids(kind)) if changed else len(self._tables[kind])

    def get(self, kind: Kind, id: str) -> Revision | None:
        changed = self._pin.elements
        if changed:
            old = changed.get(id, _UNCHANGED)
            if old is not _UNCHANGED:
                return old if isinstance(old, Revision) and old.kind == kind else None
        return self._tables[kind].get(id)

    def revisions(self, kind: Kind, ids: Sequence[str]) -> list[Revision]:
        """The revisions of elements that are there."""
        table, changed = self._tables[kind], self._pin.elements
        if not changed:
            return [table[id] for id in ids]
        # An element that had not begun at the moment is never asked for.
        return [changed.get(id) or table[id] for id in ids]

    # Neighbours

    def edges_out(self, node_id: str) -> Sequence[str]:
        found = self._pin.edges_out.get(node_id)
        return self._graph.edges_out.get(node_id, ()) if found is None else found

    def edges_in(self, node_id: str) -> Sequence[str]:
        found = self._pin.edges_in.get(node_id)
        return self._graph.edges_in.get(node_id, ()) if found is None else found

    def leaving(self, nodes: Iterable[str]) -> list[str]:
        """The edges to the children of all the nodes, in the nodes' order."""
        get = self.edges_out if self._pin.edges_out else _getter(self._graph.edges_out)
        return [edge for node in nodes for edge in get(node)]

    def arriving(self, nodes: Iterable[str]) -> list[str]:
        """The edges from the parents of all the nodes, in the nodes' order."""
        get = self.edges_in if self._pin.edges_in else _getter(self._graph.edges_in)
        return [edge for node in nodes for edge in get(node)]

    def around(
        self, direction: Direction, filter: Filter, nodes: Sequence[str]
    ) -> Generator[None, None, list[tuple[str, ...]] | None]:
        """For each of the nodes its neighbours over the edges for which the filter holds.

        None when edges have changed since the moment, so that what is remembered is of no use, and for filters that
        look at what changes without a revision.
        """
        if filter != EVERYTHING:
            if any(leaf.key == UNINDEXED for leaf in leaves(filter)):
                return None
            yield from self.prepare("edge", filter, _ALL)
        last: Table | None = None
        while not self._have_edges_changed():
            self._indexes.refresh()
            table = self._indexes.adjacency.table(direction, filter)
            if last is not None and table is not last:
                # Others have pushed it out; two queries must not do so to each other for ever.
                return None
            last = table
            found = list(map(table.get, nodes))
            if None not in found:
                return found  # type: ignore[return-value]
            left = _EDGES_AT_A_TIME
            for node, known in zip(nodes, found, strict=True):
                if known is None and left > 0:
                    table[node] = around = self._neighbours(direction, filter, node)
                    left -= len(around) + 1
            if left <= 0:
                yield
        return None

    def _neighbours(self, direction: Direction, filter: Filter, node: str) -> tuple[str, ...]:
        out, into = self.edges_out(node), self.edges_in(node)
        if direction == "children":
            into = ()
        elif direction == "parents":
            out = ()
        elif out and into:
            loops = set(out)
            into = [edge for edge in into if edge not in loops]
        edges = self.revisions("edge", self.select("edge", filter, [*out, *into]))
        if direction == "ends":
            found = [end for edge in edges for end in (edge.parent, edge.child)]
        else:
            found = [edge.child if edge.parent == node and direction != "parents" else edge.parent for edge in edges]
        return tuple(end for end in found if end is not None)

    def _have_edges_changed(self) -> bool:
        pin = self._pin
        if not self._edges_changed and len(pin.elements) > self._looked_at:
            new = islice(pin.elements.values(), self._looked_at, None)
            self._edges_changed = bool(pin.edges_out) or any(old is not None and old.parent is not None for old in new)
            self._looked_at = len(pin.elements)
        return self._edges_changed

    # Filters

    def match(self, kind: Kind, filter: Filter) -> list[str]:
        return list(_finish(self.search(kind, filter)))

    def search(self, kind: Kind, filter: Filter, *, ordered: bool = True) -> Generator[None, None, Collection[str]]:
        """The elements for which a filter holds, in order of appearance if ``ordered``; makes indexes where of use.

        Unordered, the answer may be an index's own set: use it before the next pause.
        """
        parts = list(conjuncts(filter))
        indexes = self._indexes
        indexes.refresh()
        smallest = self._smallest(kind, parts)
        if smallest is None or len(smallest) > _FEW:
            count = len(self._tables[kind] if smallest is None else smallest)
            yield from self.prepare(kind, filter, count)
            passed, done = yield from self._passed_before(kind, filter)
            # What follows up to the copy of the set is one moment.
            indexes.refresh()
            resolved = [(part, resolve(part, lambda leaf: self._find(kind, leaf))) for part in parts]
            sets = [found for _, found in resolved if found is not None]
            rest = [part for part, found in resolved if found is None]
        else:
            passed, done = set[str](), 0
            sets, rest = [IdSet(smallest)], parts if len(parts) > 1 else []
        found = intersection(sets)
        if self._pin.elements:
            found = self._as_it_was(found, self._passed_since(kind, filter, passed, done))
        if not rest:
            if ordered or found.negated:
                return (yield from self._put_in_order(kind, found))
            return found.ids
        remaining = All(tuple(rest))
        kept: list[str] = []
        ahead = iter((yield from self._put_in_order(kind, found)))
        while part := list(islice(ahead, _AT_A_TIME)):
            kept += self.select(kind, remaining, part)
            yield
        return kept

    def prepare(self, kind: Kind, filter: Filter, count: int) -> Generator[None, None, None]:
        """Make what ``select`` needs to test ``count`` elements well, if that is worth its cost."""
        if count > _FEW and filter != EVERYTHING:
            yield from self._build(kind, list(leaves(filter)), count)

    def prepare_key(self, kind: Kind, key: str, count: int) -> Generator[None, None, None]:
        """The same for ``values``."""
        if count > _FEW:
            yield from self._build_column(kind, key, count)

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        asked = list(ids)
        if filter == EVERYTHING:
            return asked
        self._indexes.refresh()
        changed = self._pin.elements
        if not changed or changed.keys().isdisjoint(asked):
            return self._pass(kind, filter, asked)
        passed = set(self._pass(kind, filter, [id for id in asked if id not in changed]))
        passed.update(self._test(kind, filter, changed.keys() & set(asked)))
        return [id for id in asked if id in passed]

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        key = canonical_key(kind, key)
        self._indexes.refresh()
        column = self._indexes.column(kind, key)
        changed = self._pin.elements
        if column is not None:
            get = column.values.get
            if not changed:
                return [get(id, MISSING) for id in ids]
            return [self._value(kind, key, id) if id in changed else get(id, MISSING) for id in ids]
        if key == "@Stale":
            return [self._value(kind, key, id) for id in ids]
        extract = projection(kind, (key,))
        return [extract(revision)[0] for revision in self.revisions(kind, list(ids))]

    # Private: how filters are answered

    def _smallest(self, kind: Kind, parts: Iterable[Filter]) -> AbstractSet[str] | None:
        found = [ids for part in parts if isinstance(part, Equals) and (ids := self._find(kind, part)) is not None]
        return min(found, key=len, default=None)

    def _column(self, kind: Kind, leaf: Leaf) -> Column | None:
        return self._indexes.column(kind, canonical_key(kind, leaf.key))

    def _find(self, kind: Kind, leaf: Leaf) -> AbstractSet[str] | None:
        column = self._column(kind, leaf)
        found = None if column is None else column.find(leaf)
        if found is not None:
            self._note("index", kind, leaf.key)
        return found

    def _build(self, kind: Kind, wanted: list[Leaf], count: int) -> Generator[None, None, None]:
        for leaf in wanted:
            yield from self._build_column(kind, leaf.key, count)
            column = self._column(kind, leaf)
            if column is not None and column.find(leaf) is None and column.distinct <= 4 * count:
                self._note("set of a predicate (made now)", kind, leaf.key)
                yield from column.gather(leaf)

    def _build_column(self, kind: Kind, key: str, count: int) -> Generator[None, None, None]:
        key = canonical_key(kind, key)
        if self._indexes.column(kind, key) is None and self._indexes.worthwhile(kind, key, count):
            self._note("index (made now)", kind, key)
            yield from self._indexes.build(kind, key)

    def _pass(self, kind: Kind, filter: Filter, ids: list[str]) -> list[str]:
        """Those of the elements, unchanged since the moment, for which the filter holds."""
        match filter:
            case All(filters):
                rest: list[Filter] = []
                for part in filters:
                    if self._covered(kind, part):
                        ids = self._pass(kind, part, ids)
                    else:
                        rest.append(part)
                return self._test(kind, All(tuple(rest)), ids) if rest and ids else ids
            case AnyOf(filters) if self._covered(kind, filter):
                passed: set[str] = set()
                for part in filters:
                    passed.update(self._pass(kind, part, [id for id in ids if id not in passed]))
                return [id for id in ids if id in passed]
            case Not(inner) if self._covered(kind, filter):
                refused = set(self._pass(kind, inner, ids))
                return [id for id in ids if id not in refused]
            case AnyOf() | Not():
                return self._test(kind, filter, ids)
            case leaf:
                column = self._column(kind, leaf)
                if column is None:
                    return self._test(kind, leaf, ids)
                self._note("index", kind, leaf.key)
                found = column.find(leaf)
                if found is not None:
                    return [id for id in ids if id in found]
                get, holds = column.values.get, value_test(leaf)
                return [id for id in ids if holds(get(id, MISSING))]

    def _covered(self, kind: Kind, filter: Filter) -> bool:
        return all(self._column(kind, leaf) is not None for leaf in leaves(filter))

    def _test(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        """Look at each element itself; those that were not there yet do not pass."""
        holds, get, stale = compile_filter(filter), self.get, self.is_stale
        self._note("scan", kind)
        return [id for id in ids if (revision := get(kind, id)) is not None and holds(fields(revision, stale))]

    def _value(self, kind: Kind, key: str, id: str) -> Any:
        revision = self.get(kind, id)
        return MISSING if revision is None else fields(revision, self.is_stale)(key)

    def is_stale(self, revision: Revision) -> bool:
        """Whether nobody could vouch for the element at the moment: its origin, or all of its owners, were stale."""
        stale, origin = self._stale, revision.origin
        if not stale:
            return False
        if (origin, "") in stale:
            return True
        return bool(revision.owners) and all((origin, owner) in stale for owner in revision.owners)

    def _passed_before(self, kind: Kind, filter: Filter) -> Generator[None, None, tuple[set[str], int]]:
        """Of what has changed since the moment, what passed then, but for the last few; and how many were looked at."""
        passed: set[str] = set()
        done = 0
        while len(self._pin.elements) - done > _AT_A_TIME:
            part = list(islice(self._pin.elements, done, done + _AT_A_TIME))
            passed.update(self._test(kind, filter, part))
            done += len(part)
            yield
        return passed, done

    def _passed_since(self, kind: Kind, filter: Filter, passed: set[str], done: int) -> set[str]:
        return passed.union(self._test(kind, filter, islice(self._pin.elements, done, None)))

    def _as_it_was(self, found: IdSet, passed: AbstractSet[str]) -> IdSet:
        """Correct a set, which is that of now, by what has changed since the moment and passed then."""
        changed = self._pin.elements.keys()
        if found.negated:
            return IdSet((found.ids | changed) - passed, negated=True)
        return IdSet((found.ids - changed) | passed)

    def _put_in_order(self, kind: Kind, found: IdSet) -> Generator[None, None, list[str]]:
        """The elements as a list; pauses only after all that may change has been copied."""
        ids, table = found.ids, self._tables[kind]
        if found.negated and not ids:
            return self.ids(kind)
        if not found.negated:
            if len(ids) < 2:
                return list(ids)
            if 8 * len(ids) <= len(table):
                return sorted(ids, key=self._born(kind))
        every, chosen = self.ids(kind), frozenset(ids)
        ordered: list[str] = []
        for start in range(0, len(every), _IDS_AT_A_TIME):
            part = every[start : start + _IDS_AT_A_TIME]
            ordered += [id for id in part if (id in chosen) != found.negated]
            yield
        return ordered

    def _born(self, kind: Kind) -> Callable[[str], int]:
        table, changed = self._tables[kind], self._pin.elements
        if not changed:
            return lambda id: table[id].born
        return lambda id: (changed.get(id) or table[id]).born

    def _note(self, what: str, kind: Kind, key: str = "") -> None:
        if self.notes is not None:
            what = f"{what}: {kind} {key}".rstrip()
            self.notes[what] = self.notes.get(what, 0) + 1


def _getter(table: Mapping[str, tuple[str, ...]]) -> Callable[[str], Sequence[str]]:
    get = table.get
    return lambda node: get(node, ())


def _finish(work: Generator[None, None, T]) -> T:
    """Do the work without pauses."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
