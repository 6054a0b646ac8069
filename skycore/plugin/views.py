"""Views of nodes, as probes get them: many of one filter follow the change log once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from skycore.errors import HandleClosed
from skycore.filter import Filter
from skycore.graph.fields import freeze
from skycore.graph.graph import Graph
from skycore.graph.join import KeyedNodes


class SharedNodes:
    """One KeyedNodes for all views of a graph that have the same filter and keys; there may be one for each namespace.

    ``failed`` ones are replaced for those who come later: a filter may meet a value that it cannot stand.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._used: dict[tuple[str, tuple[str, ...]], _Used] = {}

    def take(self, filter: Filter, keys: Sequence[str]) -> _Used:
        """Give back what this returns by its ``close``."""
        # By its text: what Python holds to be equal (1, 1.0, True) need not be the same to a filter.
        key = (repr(filter), tuple(keys))
        found = self._used.get(key)
        if found is None or found.failed:
            found = _Used(KeyedNodes(self._graph, filter, keys), lambda: self._forget(key))
            self._used[key] = found
        found.users += 1
        return found

    def __len__(self) -> int:
        return len(self._used)

    def _forget(self, key: tuple[str, tuple[str, ...]]) -> None:
        # Unless it had failed and another has taken its place.
        if key in self._used and self._used[key].users == 0:
            del self._used[key]


class _Used:
    """A KeyedNodes, and how many views use it."""

    def __init__(self, nodes: KeyedNodes, unused: Callable[[], None]) -> None:
        self.nodes = nodes
        self.users = 0
        self.failed = False
        self._unused = unused

    def refresh(self) -> None:
        """Catch up with the change log; raises what the filter raises, and then always."""
        if self.failed:
            raise RuntimeError("the filter of this view failed before; make another view")
        try:
            self.nodes.refresh()
        except BaseException:
            self.failed = True
            raise

    def close(self) -> None:
        self.users -= 1
        if self.users <= 0:
            self.nodes.close()
            self._unused()


class View:
    """Implements skycore.plugin.api.NodeView."""

    def __init__(self, graph: Graph, used: _Used, closed: Callable[[View], None]) -> None:
        self._graph = graph
        self._used = used
        # Of its own: a look between two calls of changed() must not make the second one miss what the look saw.
        self._seen = graph.log.end
        self._closed = False
        self._on_close = closed

    def find(self, *values: Any) -> list[tuple[str, dict[str, Any]]]:
        self._refresh()
        return [self._entry(id) for id in self._used.nodes.find(tuple(map(freeze, values)))]

    def all(self) -> list[tuple[str, dict[str, Any]]]:
        self._refresh()
        return [self._entry(id) for id in self._used.nodes.values]

    def parents(self, id: str) -> list[str]:
        self._check()
        edges = [self._graph.edges[edge] for edge in self._graph.edges_in.get(id, ())]
        return [edge.parent for edge in edges if edge.parent is not None]

    async def changed(self) -> None:
        self._check()
        await self._graph.log.beyond(self._seen)
        self._check()
        self._seen = self._graph.log.end

    def refresh(self) -> None:
        """Catch up with the change log, so that it need not keep deletions for a view that nobody reads."""
        self._used.refresh()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._used.close()
            self._on_close(self)

    def _check(self) -> None:
        if self._closed:
            raise HandleClosed("this view was closed, or its probe was stopped; make another one")

    def _refresh(self) -> None:
        self._check()
        self._used.refresh()

    def _entry(self, id: str) -> tuple[str, dict[str, Any]]:
        return id, self._graph.nodes[id].metadata()
