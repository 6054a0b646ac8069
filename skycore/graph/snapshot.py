"""A graph at one moment, for readers that let it move on while they read.

The graph is the live one, with what has been replaced since that moment in a pin, or one that never changes.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice, repeat
from typing import Any, Final

from skycore.filter import EVERYTHING, MISSING, All, Equals, Filter, Leaf, Not, compile_filter, value_test
from skycore.filter import Any as AnyOf
from skycore.graph.adjacency import Direction, Table
from skycore.graph.column import Column
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import fields, is_stale
from skycore.graph.idset import IdSet, conjuncts, intersection, leaves, resolve
from skycore.graph.index import Elements, Indexes
from skycore.graph.indexed import IndexedView, Slices, finish
from skycore.graph.pieces import shed
from skycore.graph.pin import Pin
from skycore.graph.projection import UNINDEXED, canonical_key, projection

_FEW: Final = 64
_AT_A_TIME: Final = 256
_EDGES_AT_A_TIME: Final = 512
# What a node costs besides its edges, in edges.
_A_NODE: Final = 4
_IDS_AT_A_TIME: Final = 4096
_SORTED_AT_ONCE: Final = 4096
_ALL: Final = 1 << 62
_UNCHANGED: Final = object()


class Snapshot(IndexedView):
    """An IndexedView of one moment of a graph in memory.

    What was replaced since that moment is in ``pin``; with a pin that the graph does not know, this is the graph as it
    is.  Between the slices of its work the graph may change, the answer does not.
    """

    def __init__(self, graph: Elements, indexes: Indexes, pin: Pin, *, stale: Collection[tuple[str, str]]) -> None:
        self._graph = graph
        self._indexes = indexes
        self._pin = pin
        self._stale = stale
        self._tables: dict[Kind, dict[str, Revision]] = {"node": graph.nodes, "edge": graph.edges}
        self._moves = graph.moves
        self._edges_changed = False
        self._looked_at = 0

    # Elements

    def ids(self, kind: Kind) -> list[str]:
        table = self._tables[kind]
        if self._graph.moves == self._moves:
            return list(table)
        gone: list[str] = []
        begun: set[str] = set()
        for id, old in self._pin.elements.items():
            now = table.get(id)
            if old is not None and (old.kind != kind or (now is not None and now.born == old.born)):
                continue
            if old is not None:
                gone.append(id)
            if now is not None:
                # One that ended and began again stands at another place now.
                begun.add(id)
        kept = [id for id in table if id not in begun] if begun else list(table)
        if len(gone) > _FEW:
            return sorted(kept + gone, key=self._born(kind))
        for id in gone:
            insort(kept, id, key=self._born(kind))
        return kept

    def every(self, kind: Kind) -> Slices[list[str]]:
        table = self._tables[kind]
        if len(table) <= _IDS_AT_A_TIME:
            return self.ids(kind)
        found: list[str] = []
        ahead = iter(table)
        while self._graph.moves == self._moves:
            part = list(islice(ahead, _IDS_AT_A_TIME))
            if not part:
                return found
            found += part
            yield
        # Something has begun or ended meanwhile: the table may not be gone through any more.
        return self.ids(kind)

    def count(self, kind: Kind) -> int:
        changed = self._pin.elements
        return len(self.ids(kind)) if changed else len(self._tables[kind])

    def get(self, kind: Kind, id: str) -> Revision | None:
        changed = self._pin.elements
        if changed:
            old = changed.get(id, _UNCHANGED)
            if old is not _UNCHANGED:
                return old if isinstance(old, Revision) and old.kind == kind else None
        return self._tables[kind].get(id)

    def in_order(self, kind: Kind, ids: AbstractSet[str]) -> Slices[list[str]]:
        return self._put_in_order(kind, IdSet(ids), ours=True)

    def fetch(self, kind: Kind, ids: Sequence[str]) -> Slices[list[Revision]]:
        return self.revisions(kind, ids)
        yield

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
        get = self.edges_out if self._pin.edges_out else _getter(self._graph.edges_out)
        return [edge for node in nodes for edge in get(node)]

    def arriving(self, nodes: Iterable[str]) -> list[str]:
        get = self.edges_in if self._pin.edges_in else _getter(self._graph.edges_in)
        return [edge for node in nodes for edge in get(node)]

    def ends(self, edges: Sequence[str]) -> tuple[list[str], list[str]]:
        found = self.revisions("edge", edges)
        return [edge.parent for edge in found], [edge.child for edge in found]  # type: ignore[misc]

    def around(
        self, direction: Direction, filter: Filter, nodes: Sequence[str]
    ) -> Slices[Sequence[Sequence[str]] | None]:
        """See IndexedView.

        None when edges have changed since the moment, so that what is remembered is of no use, and for filters that
        look at what changes without a revision.
        """
        if not self._have_edges_changed():
            self._indexes.refresh()
            remembered = self._indexes.adjacency.known(direction, filter)
            if remembered is not None and None not in (reached := list(map(remembered.get, nodes))):
                return reached  # type: ignore[return-value]
        if filter != EVERYTHING:
            if any(leaf.key == UNINDEXED for leaf in leaves(filter)):
                return None
            yield from self._build(_ALL, "edge", leaves(filter))
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
                    left -= len(around) + _A_NODE
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
        return list(finish(self.search(kind, filter)))

    def search(self, kind: Kind, filter: Filter, *, ordered: bool = True) -> Slices[Collection[str]]:
        parts = list(conjuncts(filter))
        indexes = self._indexes
        indexes.refresh()
        smallest = self._smallest(kind, parts)
        if smallest is None or len(smallest) > _FEW:
            count = len(self._tables[kind] if smallest is None else smallest)
            yield from self._build(count, kind, leaves(filter))
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
                return (yield from self._put_in_order(kind, found, ours=bool(self._pin.elements)))
            return found.ids
        remaining = All(tuple(rest))
        kept: list[str] = []
        ahead = iter((yield from self._put_in_order(kind, found)))
        while part := list(islice(ahead, _AT_A_TIME)):
            kept += self.select(kind, remaining, part)
            yield
        return kept

    def prepare(self, kind: Kind, filter: Filter, ids: Collection[str]) -> Slices[None]:
        return self._build(len(ids), kind, leaves(filter))

    def prepare_key(self, kind: Kind, key: str, ids: Collection[str]) -> Slices[None]:
        if len(ids) > _FEW:
            yield from self._build_column(kind, key, len(ids))

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
                return list(map(get, ids, repeat(MISSING)))
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

    def _build(self, count: int, kind: Kind, wanted: Iterable[Leaf]) -> Slices[None]:
        """Make what the test of ``count`` elements by filters needs, if that is worth its cost."""
        for leaf in wanted if count > _FEW else ():
            yield from self._build_column(kind, leaf.key, count)
            column = self._column(kind, leaf)
            if column is not None and column.find(leaf) is None and column.distinct <= 4 * count:
                self._note("set of a predicate (made now)", kind, leaf.key)
                yield from column.gather(leaf)

    def _build_column(self, kind: Kind, key: str, count: int) -> Slices[None]:
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
        return bool(self._stale) and is_stale(self._stale, revision.origin, revision.owners)

    def _passed_before(self, kind: Kind, filter: Filter) -> Slices[tuple[set[str], int]]:
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
        # One copy: the sets may be large.
        corrected = set(found.ids)
        corrected.difference_update(changed)
        corrected |= passed
        return IdSet(corrected)

    def _put_in_order(self, kind: Kind, found: IdSet, *, ours: bool = False) -> Slices[list[str]]:
        """The elements as a list; pauses only after all that may change has been copied (``ours``: nothing may)."""
        ids, table = found.ids, self._tables[kind]
        if found.negated and not ids:
            return (yield from self.every(kind))
        if not found.negated:
            if len(ids) < 2:
                return list(ids)
            if len(ids) <= _SORTED_AT_ONCE and 8 * len(ids) <= len(table):
                return sorted(ids, key=self._born(kind)) if self._pin.elements else self._graph.in_order(kind, ids)
        chosen = ids if ours else frozenset(ids)
        yield
        every = yield from self.every(kind)
        ordered: list[str] = []
        for part in shed(every, _IDS_AT_A_TIME):
            if found.negated:
                ordered += [id for id in part if id not in chosen]
            else:
                ordered += filter(chosen.__contains__, part)
            yield
        return ordered

    def _born(self, kind: Kind) -> Callable[[str], int]:
        table, changed = self._tables[kind], self._pin.elements
        return lambda id: (changed.get(id) or table[id]).born

    def _note(self, what: str, kind: Kind, key: str = "") -> None:
        if self.notes is not None:
            what = f"{what}: {kind} {key}".rstrip()
            self.notes[what] = self.notes.get(what, 0) + 1


def _getter(table: Mapping[str, tuple[str, ...]]) -> Callable[[str], Sequence[str]]:
    get = table.get
    return lambda node: get(node, ())
