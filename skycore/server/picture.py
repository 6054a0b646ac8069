"""What subscribers see: a graph, and the log of its changes.  Those with the same filter share one picture.

The picture of those without a filter is the live graph itself.  Every other one is kept up to date by what has changed;
its log has an order that a reader can follow: edges that go, nodes that go, nodes, edges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from typing import final

import msgspec

from skycore.bus import ChangeLog
from skycore.filter import FieldGetter
from skycore.graph.element import Revision
from skycore.graph.fields import fields
from skycore.graph.graph import Graph

_REMEMBERED = 65536


@final
class Changes:
    """What changed in the graph since the last look: the newest revision in the log of each element that did.

    ``before`` gives what each element was (None: it was not there); empty where nobody asks.
    """

    def __init__(self, graph: Graph, newest: Mapping[str, Revision], before: Mapping[str, Revision | None]) -> None:
        self.newest = newest
        self.before = before
        self._graph = graph
        self._fields: dict[str, FieldGetter] = {}

    def fields(self, revision: Revision) -> FieldGetter:
        """The fields of an element as it is now, decoded once for all pictures."""
        getter = self._fields.get(revision.id)
        if getter is None:
            getter = self._fields[revision.id] = fields(revision, self._graph.is_stale)
        return getter


class Picture(ABC):
    """A graph and its log.

    In the log, ``deleted_at`` is set for what leaves the picture, also where the element lives on (its JSON says so),
    and ``born`` and ``reborn`` tell of its life in the picture.
    """

    log: ChangeLog[Revision]

    @abstractmethod
    def nodes(self) -> Collection[Revision]: ...

    @abstractmethod
    def edges(self) -> Collection[Revision]: ...


@final
class WholeGraph(Picture):
    """The picture of those who have no filter."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.log = graph.log

    def nodes(self) -> Collection[Revision]:
        return self._graph.nodes.values()

    def edges(self) -> Collection[Revision]:
        return self._graph.edges.values()


class PartOfGraph(Picture):
    """A picture that holds some of the live graph; every edge's ends are in it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.log = ChangeLog(key=attrgetter("id"), size=lambda one: len(one.json))
        self.node_of: dict[str, Revision] = {}
        self.edge_of: dict[str, Revision] = {}
        self.edges_at: dict[str, set[str]] = {}
        # Those that left lately: a slow reader may still know them.
        self._left: dict[str, None] = {}

    def nodes(self) -> Collection[Revision]:
        return self.node_of.values()

    def edges(self) -> Collection[Revision]:
        return self.edge_of.values()

    def change(self, nodes: Mapping[str, bool], edges: Mapping[str, bool], changes: Changes) -> None:
        """Say of elements whether they are in the picture, and log the difference; others stay as they are.

        Elements that the graph does not hold are not in it, whatever is said, nor are edges that miss an end.
        """
        leaving = [id for id, inside in nodes.items() if id in self.node_of and not (inside and id in self.graph.nodes)]
        wanted = dict(edges)
        for id in leaving:
            wanted.update(dict.fromkeys(self.edges_at.get(id, ()), False))
        entering = dict.fromkeys(id for id, inside in nodes.items() if inside and id in self.graph.nodes)
        gone = set(leaving)
        staying: list[Revision] = []
        for id, inside in wanted.items():
            edge = self.graph.edges.get(id) if inside else None
            if edge is not None and all(
                end not in gone and (end in self.node_of or end in entering) for end in (edge.parent, edge.child)
            ):
                staying.append(edge)
            elif id in self.edge_of:
                self._remove(self.edge_of, id, changes)
        for id in leaving:
            self._remove(self.node_of, id, changes)
        for id in entering:
            self._put(self.node_of, self.graph.nodes[id])
        for edge in staying:
            self._put(self.edge_of, edge)

    def _put(self, table: dict[str, Revision], revision: Revision) -> None:
        id = revision.id
        known = table.get(id)
        if known is not None and known.revision == revision.revision:
            return
        if known is None:
            reborn = id in self._left
            self._left.pop(id, None)
            told = msgspec.structs.replace(revision, born=self.log.end, reborn=reborn)
            for end in (revision.parent, revision.child):
                if end is not None:
                    self.edges_at.setdefault(end, set()).add(id)
        else:
            told = msgspec.structs.replace(revision, born=known.born, reborn=known.reborn)
        table[id] = told
        self.log.append(told)

    def _remove(self, table: dict[str, Revision], id: str, changes: Changes) -> None:
        known = table.pop(id)
        for end in (known.parent, known.child):
            if end is not None and (edges := self.edges_at.get(end)) is not None:
                edges.discard(id)
                if not edges:
                    del self.edges_at[end]
        newest = changes.newest.get(id)
        if newest is not None and newest.deleted_at is not None:
            told = msgspec.structs.replace(newest, born=known.born, reborn=known.reborn)
        else:
            told = msgspec.structs.replace(known, deleted_at=known.updated_at)
        self._left[id] = None
        if len(self._left) > _REMEMBERED:
            del self._left[next(iter(self._left))]
        self.log.append(told)

    @abstractmethod
    def follow(self, changes: Changes) -> None:
        """Work in what changed in the graph."""

    def fill(self, nodes: Iterable[Revision], edges: Iterable[Revision]) -> None:
        """Become exactly this, as far as the graph still holds it."""
        node_ids, edge_ids = {one.id for one in nodes}, {one.id for one in edges}
        wanted_nodes = {id: id in node_ids for id in (*self.node_of, *node_ids)}
        wanted_edges = {id: id in edge_ids for id in (*self.edge_of, *edge_ids)}
        self.change(wanted_nodes, wanted_edges, Changes(self.graph, {}, {}))
