"""The live graph as readers see it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, final

import trio

from skycore.filter import Filter, Leaf
from skycore.graph.element import Kind, Revision
from skycore.graph.graph import Graph
from skycore.graph.index import Indexes
from skycore.graph.pin import Pin
from skycore.graph.projection import canonical_key
from skycore.graph.snapshot import Snapshot

_REFRESH_EACH = 0.02


@final
class LiveView:
    """A GraphView of the graph as it is; one is made per graph and shared by all readers.

    It answers for one state only as long as its reader does not give up control; ``pinned`` gives a view that does so
    for longer.
    """

    frozen = False

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._indexes = Indexes(graph)
        self._now = Snapshot(graph, self._indexes, Pin(), stale=graph.stale)

    async def run(self) -> None:
        """Let the indexes catch up soon after changes, so that no query has to catch up with many of them."""
        while True:
            await self._indexes.behind()
            await trio.sleep(_REFRESH_EACH)
            self._indexes.refresh()

    @contextmanager
    def pinned(self) -> Iterator[Snapshot]:
        """The graph as it is now, whatever happens to it inside the ``with``.

        While it lasts, the first change of each element costs a pointer.
        """
        graph, pin = self._graph, Pin()
        graph.pins.add(pin)
        try:
            yield Snapshot(graph, self._indexes, pin, stale=dict(graph.stale))
        finally:
            graph.pins.discard(pin)

    def glance(self, kind: Kind, leaf: Leaf) -> AbstractSet[str] | None:
        """The elements for which a leaf holds, if an index knows them: its own set, to be used at once."""
        indexes = self._indexes
        indexes.refresh()
        column = indexes.column(kind, canonical_key(kind, leaf.key))
        return None if column is None else column.find(leaf)

    def ids(self, kind: Kind) -> Collection[str]:
        return self._graph.nodes.keys() if kind == "node" else self._graph.edges.keys()

    def in_order(self, kind: Kind, ids: Iterable[str]) -> list[str]:
        """Elements, each given once, in the order of their appearance."""
        return self._graph.in_order(kind, ids)

    def get(self, kind: Kind, id: str) -> Revision | None:
        return self._now.get(kind, id)

    def edges_out(self, node_id: str) -> Sequence[str]:
        return self._now.edges_out(node_id)

    def edges_in(self, node_id: str) -> Sequence[str]:
        return self._now.edges_in(node_id)

    def match(self, kind: Kind, filter: Filter) -> Collection[str]:
        return self._now.match(kind, filter)

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        return self._now.select(kind, filter, ids)

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        return self._now.values(kind, key, ids)
