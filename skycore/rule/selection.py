"""Which nodes queries select, followed as the graph changes.

A query that asks each node by itself (``G.V().Has(…)``) is answered once; after that only nodes that changed are looked
at.  Any other query is asked again when something that it reads has changed: a node or edge came or went, or one of
the keys in its filters has another value.  What it does not read, such as the counters of an interface, costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, final

import attrs
import msgspec
import trio

from skycore import gremlin
from skycore.errors import GremlinError
from skycore.filter import MISSING, FieldGetter, compile_filter
from skycore.graph.element import Kind, Revision
from skycore.graph.graph import Graph
from skycore.graph.projection import canonical_key, projection
from skycore.gremlin import ElementsResult, QueryContext
from skycore.rule.dependency import Reads, reads

# A query that takes 10 ms is asked twice a second at most, so that it uses 2 % of the time.
_REST_FACTOR: Final = 50.0
_REST: Final = 0.05
_UNKNOWN_REST: Final = 1.0
_PRINT: Final = 8


@final
@attrs.frozen
class Delta:
    """What came to and went from a selection; of what did both only the last is told.

    Who began to use the selection in between may know it already.  ``depth`` says how many changes that rules made led
    to this one, one after the other.
    """

    added: frozenset[str]
    removed: frozenset[str]
    depth: int


@final
class Selection:
    """The nodes that one query selects.

    ``error`` says why they are not known at present; then they are as they were.
    """

    def __init__(self, query: str, read: Reads) -> None:
        self.query = query
        self.reads = read
        self.ids: set[str] = set()
        self.error: str | None = None
        self.asked = 0
        self.dirty = True
        self.known = False
        self.depth = 0
        self.not_before = 0.0
        self.users = 0
        self._touched: set[str] = set()
        self._first: str | None = None
        self._test = None if read.element is None else compile_filter(read.element)

    @property
    def first(self) -> str | None:
        """The lowest ID, None when nothing is selected."""
        if self._first is None or self._first not in self.ids:
            self._first = min(self.ids, default=None)
        return self._first

    @property
    def incremental(self) -> bool:
        """Whether each changed node can be looked at by itself."""
        return self._test is not None and self.known

    def consider(self, id: str, get: FieldGetter | None, depth: int) -> None:
        """A node has changed, or has gone (no getter)."""
        assert self._test is not None
        holds = get is not None and self._test(get)
        if holds != (id in self.ids):
            self._touch(id, depth)
            self._put(id, holds)

    def replace(self, ids: set[str]) -> None:
        """The query was asked, and gave these."""
        self.dirty, self.known = False, True
        changed = self.ids ^ ids
        if not changed:
            self.depth = 0 if not self._touched else self.depth
            return
        for id in changed:
            self._touch(id, self.depth)
            self._put(id, id in ids)

    def mark(self, depth: int) -> None:
        """Something that the query reads has changed."""
        self.dirty = True
        self.depth = max(self.depth, depth)

    def take(self) -> Delta | None:
        """What has come or gone since this was called last, None for nothing."""
        touched, depth = frozenset(self._touched), self.depth
        self._touched.clear()
        if not self.dirty:
            self.depth = 0
        return Delta(touched & self.ids, touched - self.ids, depth) if touched else None

    def _touch(self, id: str, depth: int) -> None:
        self.depth = max(self.depth, depth)
        self._touched.add(id)

    def _put(self, id: str, member: bool) -> None:
        if not member:
            self.ids.discard(id)
            return
        self.ids.add(id)
        if self._first is not None and id < self._first:
            self._first = id


@final
class Selections:
    """All selections over one graph; whoever uses the same query shares one."""

    def __init__(self, graph: Graph, queries: QueryContext) -> None:
        self._graph = graph
        self._queries = queries
        self.cursor = graph.log.cursor()
        self.stale_cursor = graph.stale_log.cursor()
        self._all: dict[str, Selection] = {}
        self._prints: dict[str, bytes] = {}
        self._readers: dict[Kind, Callable[[Revision], list[Any]]] = {}
        self._keys: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Selection]:
        return iter(self._all.values())

    def hold(self, query: str) -> Selection:
        """The selection of a query, kept until it is let go of.  Raises GremlinError for what is no query."""
        selection = self._all.get(query)
        if selection is None:
            selection = Selection(query, reads(query, self._queries.planner.registry))
            self._all[query] = selection
            self._arrange()
        selection.users += 1
        return selection

    def let_go(self, selection: Selection) -> None:
        selection.users -= 1
        if not selection.users:
            del self._all[selection.query]
            self._arrange()

    def close(self) -> None:
        self.cursor.close()
        self.stale_cursor.close()

    def refresh(self, depth: int) -> None:
        """Catch up with the graph; ``depth`` counts the changes by rules that led to what changed."""
        if self.stale_cursor.pending:
            self.stale_cursor.read()
            self._mark(depth, lambda selection: selection.reads.unknown)
        if not self.cursor.pending:
            return
        changes = self.cursor.read().changes
        if not self._all:
            return
        single = [selection for selection in self._all.values() if selection.incremental]
        changed: set[str] | None = set()
        for change in changes:
            keys = self._look(change, single, depth)
            changed = None if keys is None or changed is None else changed | keys
        others = [one for one in self._all.values() if not one.incremental and (not one.dirty or one.depth < depth)]
        for selection in others:
            if changed is None or selection.reads.unknown or not selection.reads.keys.isdisjoint(changed):
                selection.mark(depth)

    def due(self) -> float | None:
        """When (trio's clock) the next query may be asked again, None when none has to be."""
        return min((one.not_before for one in self._all.values() if one.dirty), default=None)

    async def ask(self) -> None:
        """Ask the queries whose answers may be others by now, those that may be asked already."""
        for selection in [one for one in self._all.values() if one.dirty]:
            if trio.current_time() < selection.not_before:
                continue
            start = time.perf_counter()
            # What changes from here on marks it again.
            selection.dirty = False
            await self._ask(selection)
            used = time.perf_counter() - start
            rest = _UNKNOWN_REST if selection.reads.unknown or selection.error else _REST
            selection.not_before = trio.current_time() + max(rest, _REST_FACTOR * used)

    async def _ask(self, selection: Selection) -> None:
        selection.asked += 1
        try:
            result = await gremlin.run(selection.query, self._queries)
        except GremlinError as error:
            if any(id not in self._graph.nodes for id in selection.reads.ids):
                # A node named by its ID that is not there at present: nothing is selected.
                selection.error = None
                selection.replace(set())
                return
            selection.error = str(error)
            selection.dirty = True
            return
        selection.error = None
        ids = {one.id for one in result.elements} if isinstance(result, ElementsResult) else set()
        selection.replace(ids)

    def _mark(self, depth: int, which: Callable[[Selection], bool]) -> None:
        for selection in self._all.values():
            if which(selection):
                selection.mark(depth)

    def _arrange(self) -> None:
        """Read other keys from now on; what an element had of them before is forgotten."""
        keys = tuple(sorted({key for selection in self._all.values() for key in selection.reads.keys}))
        if keys != self._keys or not self._readers:
            self._keys = keys
            self._prints.clear()
            self._readers = {"node": projection("node", keys), "edge": projection("edge", keys)}

    def _look(self, change: Revision, single: list[Selection], depth: int) -> set[str] | None:
        """Tell single selections of a change; returns the keys that changed, None when an element came or went."""
        id = change.id
        if change.deleted_at is not None:
            self._prints.pop(id, None)
            for selection in single if change.parent is None else ():
                selection.consider(id, None, depth)
            return None
        values = self._readers[change.kind](change)
        before, after = self._prints.get(id), b"".join(map(_print, values))
        if before == after:
            return set()
        self._prints[id] = after
        if change.parent is None and single:
            found = dict(zip(self._keys, values, strict=True))
            for selection in single:
                selection.consider(id, lambda key: found[canonical_key("node", key)], depth)
        if before is None:
            return None
        return {
            key
            for place, key in enumerate(self._keys)
            if before[place * _PRINT : (place + 1) * _PRINT] != after[place * _PRINT : (place + 1) * _PRINT]
        }


def _print(value: Any) -> bytes:
    """A few bytes that differ when values do."""
    encoded = b"" if value is MISSING else msgspec.json.encode(value, order="deterministic")
    return hash(encoded).to_bytes(_PRINT, "little", signed=True)
