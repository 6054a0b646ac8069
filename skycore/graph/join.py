"""Joins: edges kept between nodes whose values are equal.

A join reads the change log like every other consumer and makes only edges; it is driven by ``update``
after each round of changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Final

from skycore.filter import MISSING, Filter, compile_filter
from skycore.graph.claimant import Claimant
from skycore.graph.element import Revision, canonical_metadata
from skycore.graph.fields import fields, freeze
from skycore.graph.graph import Graph
from skycore.graph.identity import edge_id

SCOPE: Final = "\0joins"
"""The scope of the edges that joins make: a claimant's snapshots leave them alone."""

_Value = tuple[Any, ...]


class KeyedNodes:
    """The nodes for which a filter holds, found by the values of some keys; follows the change log."""

    def __init__(self, graph: Graph, filter: Filter, keys: Sequence[str]) -> None:
        self._graph = graph
        self._keys = tuple(keys)
        self._holds = compile_filter(filter)
        self._cursor = graph.log.cursor()
        self.values: dict[str, frozenset[_Value]] = {}
        self._found: dict[_Value, dict[str, None]] = {}
        for revision in graph.nodes.values():
            self._update(revision)

    def refresh(self) -> list[str]:
        """Catch up with the log; returns the IDs of the nodes that entered, left or changed their values."""
        if not self._cursor.pending:
            return []
        changes = self._cursor.read().changes
        return [change.id for change in changes if change.parent is None and self._update(change)]

    def find(self, value: _Value) -> list[str]:
        return list(self._found.get(value, ()))

    async def changed(self) -> None:
        await self._cursor.wait()

    def close(self) -> None:
        self._cursor.close()

    def _update(self, revision: Revision) -> bool:
        id = revision.id
        before = self.values.get(id)
        after = None if revision.deleted_at is not None else self._values(revision)
        if before == after:
            return False
        for value in before or ():
            members = self._found[value]
            members.pop(id, None)
            if not members:
                del self._found[value]
        if after is None:
            self.values.pop(id, None)
            return True
        self.values[id] = after
        for value in after:
            self._found.setdefault(value, {})[id] = None
        return True

    def _values(self, revision: Revision) -> frozenset[_Value] | None:
        read = fields(revision, self._graph.is_stale)
        if not self._holds(read):
            return None
        columns: list[Iterable[Any]] = []
        for key in self._keys:
            value = read(key)
            if value is MISSING:
                return frozenset()
            columns.append(map(freeze, value) if isinstance(value, list) else (freeze(value),))
        return frozenset(product(*columns)) if columns else frozenset({()})


class Join:
    """Edges from each left node to each right node with equal values, claimed by one claimant.

    Raises ClaimError for metadata that cannot be an edge's.  ``edges`` is shared by the joins of a claimant: how many
    of them want each edge, by its ID.
    """

    def __init__(
        self,
        graph: Graph,
        claimant: Claimant,
        left: KeyedNodes,
        right: KeyedNodes,
        relation_type: str,
        metadata: Mapping[str, Any],
        edges: dict[str, int] | None = None,
    ) -> None:
        self._graph = graph
        self._edges = {} if edges is None else edges
        self._claimant = claimant
        self._sides = (left, right)
        self._relation_type = relation_type
        self._metadata = dict(metadata)
        canonical_metadata(self._metadata)
        self._pairs: set[tuple[str, str]] = set()
        self._of_node: dict[str, set[tuple[str, str]]] = {}
        with graph.transaction():
            for node in left.values:
                self._wanted(node, 0)

    def update(self) -> None:
        """Bring the edges in line with the nodes as they are now."""
        left, right = self._sides
        moved = {*left.refresh(), *right.refresh()}
        if not moved:
            return
        with self._graph.transaction():
            for node in moved:
                for pair in list(self._of_node.get(node, ())):
                    if not self._equal(pair):
                        self._drop(pair)
            for node in moved:
                self._wanted(node, 0)
                self._wanted(node, 1)

    def forget(self) -> None:
        """Keep no longer up to date; the edges stay with their claimant."""
        for side in self._sides:
            side.close()

    def _equal(self, pair: tuple[str, str]) -> bool:
        left, right = (side.values.get(node) for side, node in zip(self._sides, pair, strict=True))
        return bool(left and right and left & right)

    def _wanted(self, node: str, side: int) -> None:
        for value in self._sides[side].values.get(node, ()):
            for other in self._sides[1 - side].find(value):
                if other != node:
                    self._claim((node, other) if side == 0 else (other, node))

    def _claim(self, pair: tuple[str, str]) -> None:
        if pair in self._pairs:
            return
        self._pairs.add(pair)
        for node in pair:
            self._of_node.setdefault(node, set()).add(pair)
        edge = edge_id(*pair, self._relation_type)
        self._edges[edge] = self._edges.get(edge, 0) + 1
        self._claimant.link(*pair, self._relation_type, self._metadata, scope=SCOPE)

    def _drop(self, pair: tuple[str, str]) -> None:
        self._pairs.discard(pair)
        for node in pair:
            members = self._of_node.get(node)
            if members is not None:
                members.discard(pair)
                if not members:
                    del self._of_node[node]
        edge = edge_id(*pair, self._relation_type)
        self._edges[edge] -= 1
        if not self._edges[edge]:
            del self._edges[edge]
            self._claimant.drop(edge)
