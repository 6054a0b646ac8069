"""Pictures of a filter: kept element by element where each can be decided by itself, else by the query run again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

import structlog
import trio

from skycore.errors import GremlinError, StorageError
from skycore.filter import EVERYTHING, FieldGetter, Filter, compile_filter
from skycore.graph.element import Kind
from skycore.graph.graph import Graph
from skycore.graph.projection import projection
from skycore.gremlin import GraphResult, QueryContext, run
from skycore.server.gremlin_filter import ByElement, ByQuery, FilterRefused
from skycore.server.picture import Changes, PartOfGraph

_log = structlog.get_logger(__name__)
_REST = 0.05
_LONGEST_REST = 5.0
# A query that is run again and again gets no more than this part of the time.
_SHARE = 0.1


async def graph_of(text: str, context: QueryContext) -> GraphResult:
    """The graph that a query gives.  Raises FilterRefused."""
    try:
        result = await run(text, context)
    except (GremlinError, StorageError) as error:
        raise FilterRefused(str(error)) from None
    if not isinstance(result, GraphResult):
        raise FilterRefused(f"Gremlin query '{text}' did not return a graph")
    return result


@final
class ElementPicture(PartOfGraph):
    """Each change is decided by the filter alone."""

    def __init__(self, graph: Graph, selection: ByElement) -> None:
        super().__init__(graph)
        self._by_node = selection.nodes
        self._test = _compiled(selection.filter)
        self._edge_test = _compiled(selection.edge_filter)

    def follow(self, changes: Changes) -> None:
        if self._by_node:
            self._follow_nodes(changes)
        else:
            self._follow_edges(changes)

    def _follow_nodes(self, changes: Changes) -> None:
        graph, test = self.graph, self._test
        nodes: dict[str, bool] = {}
        edges: dict[str, bool] = {}
        doubtful: dict[str, None] = {}
        for id in changes.newest:
            node = graph.nodes.get(id)
            if node is None:
                if id in self.node_of:
                    nodes[id] = False
                else:
                    doubtful[id] = None
                continue
            inside = test is None or test(changes.fields(node))
            if inside != (id in self.node_of):
                doubtful.update(dict.fromkeys((*graph.edges_out.get(id, ()), *graph.edges_in.get(id, ()))))
            elif not inside:
                continue
            nodes[id] = inside
        edge_test = self._edge_test
        for id in doubtful:
            edge = graph.edges.get(id)
            if edge is not None:
                edges[id] = edge_test is None or edge_test(changes.fields(edge))
            elif id in self.edge_of:
                edges[id] = False
        self.change(nodes, edges, changes)

    def _follow_edges(self, changes: Changes) -> None:
        graph, test = self.graph, self._test
        nodes: dict[str, bool] = {}
        edges: dict[str, bool] = {}
        for id in changes.newest:
            if id in self.node_of:
                nodes[id] = id in graph.nodes
                if id not in graph.nodes:
                    edges.update(dict.fromkeys(self.edges_at.get(id, ()), False))
                continue
            edge = graph.edges.get(id)
            if edge is not None:
                inside = test is None or test(changes.fields(edge))
                if inside or id in self.edge_of:
                    edges[id] = inside
            elif id in self.edge_of:
                edges[id] = False
        added: dict[str, set[str]] = {}
        removed: dict[str, set[str]] = {}
        for id, inside in edges.items():
            edge = graph.edges.get(id) if inside else self.edge_of.get(id)
            if edge is not None and edge.parent is not None and edge.child is not None:
                for end in (edge.parent, edge.child):
                    (added if inside else removed).setdefault(end, set()).add(id)
        for end in (*added, *removed):
            left = self.edges_at.get(end, set()) - removed.get(end, set())
            nodes[end] = bool(left or added.get(end))
        self.change(nodes, edges, changes)


def _compiled(filter: Filter) -> Callable[[FieldGetter], bool] | None:
    return None if filter == EVERYTHING else compile_filter(filter)


@final
class QueryPicture(PartOfGraph):
    """The query is run again when something that it reads has changed, and no more often than its cost allows.

    In between, what the picture holds is kept at its newest revision, and what ends leaves it at once.
    """

    def __init__(self, graph: Graph, text: str, selection: ByQuery, context: QueryContext) -> None:
        super().__init__(graph)
        self._text = text
        self._selection = selection
        self._context = context
        self._wanted = trio.Event()
        self._running = False
        self._done = trio.Event()
        self._read: dict[Kind, Callable[..., list[object]]] = {}
        if selection.keys is not None:
            keys = sorted(selection.keys)
            self._read = {"node": projection("node", keys), "edge": projection("edge", keys)}
        self.runs = 0

    @property
    def outdated(self) -> bool:
        """Whether something changed that the picture does not show yet."""
        return self._wanted.is_set() or self._running

    def follow(self, changes: Changes) -> None:
        graph = self.graph
        if not self._wanted.is_set() and self._concerns(changes):
            self._wanted.set()
        nodes = {id: id in graph.nodes for id in changes.newest if id in self.node_of}
        edges = {id: id in graph.edges for id in changes.newest if id in self.edge_of}
        if nodes or edges:
            self.change(nodes, edges, changes)

    def _concerns(self, changes: Changes) -> bool:
        for id in changes.newest:
            before = changes.before.get(id)
            now = self.graph.nodes.get(id) or self.graph.edges.get(id)
            if before is None or now is None or self._selection.keys is None:
                return True
            read = self._read[now.kind]
            if before.born != now.born or read(before) != read(now):
                return True
        return False

    async def run(self) -> None:
        """Keep the picture up to date until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._selection.stale:
                nursery.start_soon(self._watch_staleness)
            while True:
                await self._wanted.wait()
                await trio.sleep(_REST)
                began = time.monotonic()
                await self._run_again()
                took = time.monotonic() - began
                await trio.sleep(min(took / _SHARE, _LONGEST_REST))

    async def _watch_staleness(self) -> None:
        log = self.graph.stale_log
        while True:
            await log.beyond(log.end)
            self._wanted.set()

    async def refresh(self) -> None:
        """Show all that has changed so far."""
        while self.outdated:
            await self._done.wait()

    async def _run_again(self) -> None:
        self._wanted, self._running = trio.Event(), True
        try:
            found = await graph_of(self._text, self._context)
            self.runs += 1
            self.fill(found.nodes, found.edges)
        except FilterRefused as error:
            # Such as V('…') while there is no such node: then nothing is there to see.
            _log.debug("the query of a subscription gave no graph", query=self._text, error=str(error))
            self.fill((), ())
        finally:
            self._running = False
        done, self._done = self._done, trio.Event()
        done.set()
