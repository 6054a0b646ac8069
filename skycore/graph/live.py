"""The live graph as readers see it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import trio

from skycore.filter import All, Equals, Filter, compile_filter
from skycore.graph.element import Kind, Revision
from skycore.graph.fields import field, fields
from skycore.graph.graph import Graph
from skycore.graph.index import Indexes

_REFRESH_EACH = 5.0


class LiveView:
    """A GraphView of the graph as it is; one is made per graph and shared by all readers.

    Equality with a string under a common key is answered from an index, the rest of a filter is tested on
    what is left.
    """

    frozen = False

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._indexes = Indexes(graph)
        self._tables: dict[Kind, dict[str, Revision]] = {"node": graph.nodes, "edge": graph.edges}

    async def run(self) -> None:
        """Let the indexes catch up now and then, so that the change log need not keep deletions for them."""
        while True:
            await trio.sleep(_REFRESH_EACH)
            self._indexes.refresh()

    def ids(self, kind: Kind) -> Collection[str]:
        return self._tables[kind].keys()

    def get(self, kind: Kind, id: str) -> Revision | None:
        return self._tables[kind].get(id)

    def edges_out(self, node_id: str) -> Sequence[str]:
        return self._graph.edges_out.get(node_id, ())

    def edges_in(self, node_id: str) -> Sequence[str]:
        return self._graph.edges_in.get(node_id, ())

    def match(self, kind: Kind, filter: Filter) -> Collection[str]:
        table = self._tables[kind]
        indexed, rest = self._split(kind, filter)
        if not indexed:
            return self.select(kind, rest, table)
        found = sorted((self._indexes.lookup(kind, leaf.key, str(leaf.value)) for leaf in indexed), key=len)
        # A lookup refreshes all maps at once, so the sets found first are as fresh as the last.
        ids = frozenset.intersection(*map(frozenset, found)) if len(found) > 1 else found[0]
        ordered = sorted(ids, key=lambda id: table[id].born)
        return ordered if rest == All() else self.select(kind, rest, ordered)

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        table = self._tables[kind]
        holds = compile_filter(filter)
        stale = self._graph.is_stale
        return [id for id in ids if holds(fields(table[id], stale))]

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        table = self._tables[kind]
        stale = self._graph.is_stale
        return [field(table[id], key, stale) for id in ids]

    def _split(self, kind: Kind, filter: Filter) -> tuple[list[Equals], Filter]:
        """The parts of a conjunction that an index answers, and the rest."""
        indexed: list[Equals] = []
        rest: list[Filter] = []
        for part in _conjuncts(filter):
            if isinstance(part, Equals) and isinstance(part.value, str) and self._indexes.covers(kind, part.key):
                indexed.append(part)
            else:
                rest.append(part)
        return indexed, rest[0] if len(rest) == 1 else All(tuple(rest))


def _conjuncts(filter: Filter) -> Iterator[Filter]:
    if isinstance(filter, All):
        for part in filter.filters:
            yield from _conjuncts(part)
    else:
        yield filter
