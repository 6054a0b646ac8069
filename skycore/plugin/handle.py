"""The graph as one probe sees it: the contract's verbs, by key, closed when the probe is stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from skycore.errors import ClaimError, HandleClosed
from skycore.filter import EVERYTHING, Filter
from skycore.graph.claimant import Claimant
from skycore.graph.fields import freeze
from skycore.graph.graph import Graph
from skycore.graph.identity import Key, edge_id, node_id
from skycore.graph.join import Join, KeyedNodes


class GraphHandle:
    """Implements skycore.plugin.api.Claims for one claimant."""

    def __init__(self, graph: Graph, claimant: Claimant) -> None:
        self._graph = graph
        self._claimant = claimant
        self._closed = False
        self._views: list[_View] = []
        self.joins: list[Join] = []

    def put(self, key: Key, metadata: Mapping[str, Any], *, scope: str = "") -> None:
        self._open().put(self._id(key), metadata, scope=scope)

    def annotate(self, key: Key, metadata: Mapping[str, Any], *, scope: str = "") -> None:
        self._open().put(self._id(key), metadata, owning=False, scope=scope)

    def drop(self, key: Key) -> None:
        self._open().drop(self._id(key))

    def link(
        self, parent: Key, child: Key, relation_type: str, metadata: Mapping[str, Any] | None = None, *, scope: str = ""
    ) -> None:
        claimant = self._open()
        if parent == child:
            raise ClaimError(f"a node cannot be linked to itself: {parent}")
        claimant.link(self._id(parent), self._id(child), _relation(relation_type), metadata, scope=scope)

    def unlink(self, parent: Key, child: Key, relation_type: str) -> None:
        self._open().drop(edge_id(self._id(parent), self._id(child), _relation(relation_type)))

    @contextmanager
    def snapshot(self, scope: str = "") -> Iterator[None]:
        with self._open().snapshot(scope):
            yield
            self._open()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._open()
        with self._graph.transaction():
            yield

    def view(self, filter: Filter = EVERYTHING, keys: Sequence[str] = ()) -> _View:
        self._open()
        view = _View(self._graph, KeyedNodes(self._graph, filter, keys))
        self._views.append(view)
        return view

    def join(
        self,
        left: tuple[Filter, Sequence[str]],
        right: tuple[Filter, Sequence[str]],
        relation_type: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        claimant = self._open()
        if len(left[1]) != len(right[1]) or not left[1]:
            raise ClaimError("a join needs the same number of keys on both sides, and at least one")
        sides = (KeyedNodes(self._graph, *left), KeyedNodes(self._graph, *right))
        self.joins.append(Join(self._graph, claimant, *sides, _relation(relation_type), metadata or {}))

    def close(self) -> None:
        """From now on every call raises; what was claimed is the supervisor's business."""
        self._closed = True
        for view in self._views:
            view.close()
        for join in self.joins:
            join.forget()
        self._views.clear()
        self.joins.clear()

    def _open(self) -> Claimant:
        if self._closed:
            raise HandleClosed(f"the probe {self._claimant.name!r} was stopped; its handle takes no more calls")
        return self._claimant

    def _id(self, key: Key) -> str:
        if not isinstance(key, Key) or not key.kind or not key.value:
            raise ClaimError(f"a node is named by a Key with kind and value, not by {key!r}")
        return node_id(self._graph.host, key)


class _View:
    """Implements skycore.plugin.api.NodeView."""

    def __init__(self, graph: Graph, nodes: KeyedNodes) -> None:
        self._graph = graph
        self._nodes = nodes

    def find(self, *values: Any) -> list[tuple[str, dict[str, Any]]]:
        self._nodes.refresh()
        return [self._entry(id) for id in self._nodes.find(tuple(map(freeze, values)))]

    def all(self) -> list[tuple[str, dict[str, Any]]]:
        self._nodes.refresh()
        return [self._entry(id) for id in self._nodes.values]

    async def changed(self) -> None:
        await self._nodes.changed()
        self._nodes.refresh()

    def close(self) -> None:
        self._nodes.close()

    def _entry(self, id: str) -> tuple[str, dict[str, Any]]:
        return id, self._graph.nodes[id].metadata()


def _relation(relation_type: str) -> str:
    if not isinstance(relation_type, str) or not relation_type:
        raise ClaimError(f"a RelationType is a non-empty text, not {relation_type!r}")
    return relation_type
