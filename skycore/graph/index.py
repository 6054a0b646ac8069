"""Indexes over the live graph: which elements have a string value under one of the common keys.

They read the change log lazily: an element that changed fifty times between two queries is decoded once,
for all indexed keys together, and an update that nobody asks about costs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from skycore.graph.element import Kind, Revision
from skycore.graph.graph import Graph

NODE_KEYS: Final = ("Name", "Type", "TID", "State", "MAC", "Manager")
EDGE_KEYS: Final = ("RelationType",)
_EMPTY: Final[frozenset[str]] = frozenset()


class Indexes:
    """All indexes of one graph; ``lookup`` answers for the graph as it is at the call."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._cursor = graph.log.cursor()
        self._kinds = {"node": _KindIndex(NODE_KEYS), "edge": _KindIndex(EDGE_KEYS)}
        self._kinds["node"].update(graph.nodes.values())
        self._kinds["edge"].update(graph.edges.values())

    def covers(self, kind: Kind, key: str) -> bool:
        return key in self._kinds[kind].maps

    def lookup(self, kind: Kind, key: str, value: str) -> frozenset[str] | set[str]:
        """IDs of the elements that have the string (or a list with it) under an indexed key; do not change the set."""
        self.refresh()
        return self._kinds[kind].maps[key].get(value, _EMPTY)

    def refresh(self) -> None:
        """Catch up with the change log."""
        if self._cursor.pending:
            changes = self._cursor.read().changes
            self._kinds["node"].update(change for change in changes if change.parent is None)
            self._kinds["edge"].update(change for change in changes if change.parent is not None)

    def close(self) -> None:
        self._cursor.close()


class _KindIndex:
    def __init__(self, keys: tuple[str, ...]) -> None:
        fields = [(f"f{number}", Any, None) for number, _ in enumerate(keys)]
        names = {f"f{number}": key for number, key in enumerate(keys)}
        projection = msgspec.defstruct("Projection", fields, rename=names, gc=False)
        element = msgspec.defstruct("Element", [("Metadata", projection)], gc=False)
        self._decode = msgspec.json.Decoder(element).decode
        self._fields = tuple(name for name, _, _ in fields)
        self._values: dict[str, tuple[Any, ...]] = {}
        self.maps: dict[str, dict[str, set[str]]] = {key: {} for key in keys}

    def update(self, changes: Iterable[Revision]) -> None:
        maps = tuple(self.maps.values())
        none = (None,) * len(maps)
        for change in changes:
            id = change.id
            old = self._values.get(id, none)
            if change.deleted_at is not None:
                new = none
                self._values.pop(id, None)
            else:
                metadata = self._decode(change.json).Metadata  # type: ignore[attr-defined]
                new = tuple(getattr(metadata, field) for field in self._fields)
                if new == old:
                    continue
                self._values[id] = new
            for map, before, after in zip(maps, old, new, strict=True):
                if before != after:
                    for value in _strings(before):
                        _discard(map, value, id)
                    for value in _strings(after):
                        map.setdefault(value, set()).add(id)


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return {member for member in value if isinstance(member, str)}
    return ()


def _discard(map: dict[str, set[str]], value: str, id: str) -> None:
    members = map.get(value)
    if members is not None:
        members.discard(id)
        if not members:
            del map[value]
