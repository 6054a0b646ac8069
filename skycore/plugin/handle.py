"""The graph as one probe sees it: the contract's verbs, by key, closed when the probe is stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from skycore.errors import ClaimError, HandleClosed
from skycore.filter import EVERYTHING, Filter
from skycore.graph.claimant import Claimant
from skycore.graph.graph import Graph
from skycore.graph.identity import KNOWN, Key, edge_id, node_id
from skycore.graph.join import Join, KeyedNodes
from skycore.plugin.views import SharedNodes, View

_REMEMBERED_IDS = 65536


class GraphHandle:
    """Implements skycore.plugin.api.Claims for one claimant; ``nodes`` are shared by the handles of a graph."""

    def __init__(self, graph: Graph, claimant: Claimant, nodes: SharedNodes | None = None) -> None:
        self._graph = graph
        self._nodes = SharedNodes(graph) if nodes is None else nodes
        self._claimant = claimant
        self._closed = False
        self._ids: dict[Key, str] = {}
        self._open_bodies = 0
        self._views: dict[View, None] = {}
        self._joins: list[Join] = []
        self._joined: dict[str, int] = {}

    def put(self, key: Key, metadata: Mapping[str, Any], *, scope: str = "") -> None:
        self._claim(key, metadata, owning=True, scope=scope)

    def annotate(self, key: Key, metadata: Mapping[str, Any], *, scope: str = "") -> None:
        self._claim(key, metadata, owning=False, scope=scope)

    def drop(self, key: Key) -> None:
        self._open().drop(self._id(key))

    def link(
        self, parent: Key, child: Key, relation_type: str, metadata: Mapping[str, Any] | None = None, *, scope: str = ""
    ) -> None:
        claimant = self._open()
        if parent == child:
            raise ClaimError(f"a node cannot be linked to itself: {parent}")
        ends = self._id(parent), self._id(child)
        metadata = _mapping({} if metadata is None else metadata)
        claimant.link(*ends, _relation(relation_type), metadata, scope=_scope(scope))

    def unlink(self, parent: Key, child: Key, relation_type: str) -> None:
        self._open().drop(edge_id(self._id(parent), self._id(child), _relation(relation_type)))

    @contextmanager
    def snapshot(self, scope: str = "") -> Iterator[None]:
        with self._body(), self._open().snapshot(_scope(scope)):
            yield
            self._open()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._open()
        with self._body(), self._graph.transaction():
            yield
            self._open()

    @contextmanager
    def _body(self) -> Iterator[None]:
        self._open_bodies += 1
        try:
            yield
        finally:
            self._open_bodies -= 1

    def view(self, filter: Filter = EVERYTHING, keys: Sequence[str] = ()) -> View:
        self._open()
        view = View(self._graph, self._nodes.take(filter, _keys(keys)), self._closed_view)
        self._views[view] = None
        return view

    def _closed_view(self, view: View) -> None:
        self._views.pop(view, None)

    def join(
        self,
        left: tuple[Filter, Sequence[str]],
        right: tuple[Filter, Sequence[str]],
        relation_type: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        claimant = self._open()
        if self._open_bodies:
            raise ClaimError("a join outlives a snapshot or transaction and cannot be made inside one")
        if len(_keys(left[1])) != len(_keys(right[1])) or not left[1]:
            raise ClaimError("a join needs the same number of keys on both sides, and at least one")
        _relation(relation_type)
        metadata = _mapping({} if metadata is None else metadata)
        sides: list[KeyedNodes] = []
        try:
            for filter, keys in (left, right):
                sides.append(KeyedNodes(self._graph, filter, keys))
            join = Join(self._graph, claimant, sides[0], sides[1], relation_type, metadata, self._joined)
        except BaseException:
            for side in sides:
                side.close()
            raise
        self._joins.append(join)

    def update_joins(self) -> None:
        """Bring the edges of all joins in line with the nodes as they are now."""
        for join in self._joins:
            join.update()

    def refresh_views(self) -> None:
        """Let all views catch up."""
        for view in self._views:
            view.refresh()

    def close(self) -> None:
        """From now on every call raises; what was claimed is the supervisor's business."""
        self._closed = True
        for view in list(self._views):
            view.close()
        for join in self._joins:
            join.forget()
        self._joins.clear()

    def require_open(self) -> None:
        """Raises HandleClosed when the probe was stopped."""
        self._open()

    def _open(self) -> Claimant:
        if self._closed:
            raise HandleClosed(f"the probe {self._claimant.name!r} was stopped; its handle takes no more calls")
        return self._claimant

    def _claim(self, key: Key, metadata: Mapping[str, Any], *, owning: bool, scope: str) -> None:
        claimant = self._open()
        if "TID" in _mapping(metadata) and key.kind != KNOWN:
            raise ClaimError("TID is worked out by Skycore from Name, Type and owner; leave it out")
        claimant.put(self._id(key), metadata, owning=owning, scope=_scope(scope))

    def _id(self, key: Key) -> str:
        try:
            return self._ids[key]
        except (KeyError, TypeError):
            pass
        id = self._checked_id(key)
        if len(self._ids) >= _REMEMBERED_IDS:
            self._ids.clear()
        self._ids[key] = id
        return id

    def _checked_id(self, key: Key) -> str:
        if not isinstance(key, Key) or "/" in _text(key.kind, "the kind of a Key"):
            raise ClaimError(f"a node is named by a Key whose kind is one word, not by {key!r}")
        _text(key.value, "the value of a Key")
        if key.kind == KNOWN:
            return key.value
        return node_id(self._graph.host, key)


def _mapping(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(metadata, Mapping):
        raise ClaimError(f"metadata is a dict with text keys, not {type(metadata).__name__}")
    return metadata


def _relation(relation_type: str) -> str:
    return _text(relation_type, "a RelationType")


def _scope(scope: str) -> str:
    if not isinstance(scope, str) or "\0" in scope:
        raise ClaimError(f"a scope is a text without NUL, not {scope!r}")
    return scope


def _keys(keys: Sequence[str]) -> Sequence[str]:
    if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
        raise ClaimError(f"keys are a list of metadata keys, not {keys!r}")
    return keys


def _text(value: str, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ClaimError(f"{what} is a non-empty text, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ClaimError(f"{what} holds a lone surrogate, which is no character: {value!r}") from error
    return value
