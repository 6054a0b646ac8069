"""An analyzer's graph with rules and users on it, for tests; and an agent that claims in it."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio

from skycore.graph.claimant import Claimant
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView
from skycore.gremlin import QueryContext
from skycore.resource.api import ResourceApi
from skycore.resource.embedded import EmbeddedResources
from skycore.rule.elements import UserElements
from skycore.rule.engine import RuleEngine
from skycore.rule.kinds import kinds


def plain(value: Any) -> Any:
    """What a client gets, decoded."""
    return json.loads(msgspec.json.encode(value))


@attrs.define(eq=False)
class Ruled:
    graph: Graph
    store: EmbeddedResources
    engine: RuleEngine
    elements: UserElements
    queries: QueryContext
    apis: dict[str, ResourceApi]

    def agent(self, host: str = "h") -> Claimant:
        return self.graph.claimant(f"agent.{host}", plugin="agent")

    async def settle(self) -> None:
        """Return when everything is in line."""
        await self.engine.settle()
        while (due := self.engine.due()) is not None:
            await trio.sleep_until(due)
            await self.engine.settle()

    async def node_rule(self, action: str, metadata: dict[str, Any], query: str = "", ttl: str | None = None) -> str:
        body = {"Action": action, "Metadata": metadata, "Query": query}
        return str(plain(await self.apis["noderule"].create(body, ttl=ttl))["UUID"])

    async def edge_rule(self, source: str, target: str, **metadata: Any) -> str:
        body = {"Src": source, "Dst": target, "Metadata": metadata}
        return str(plain(await self.apis["edgerule"].create(body))["UUID"])

    async def user_metadata(self, query: str, key: str, value: Any) -> str:
        body = {"GremlinQuery": query, "Key": key, "Value": value}
        return str(plain(await self.apis["usermetadata"].create(body))["UUID"])

    async def delete(self, uuid: str) -> None:
        for name, api in self.apis.items():
            if uuid in self.store.list(name):
                await api.delete(uuid)

    def metadata(self, id: str) -> dict[str, Any]:
        return self.graph.nodes[id].metadata()


@asynccontextmanager
async def ruled(folder: Path, graph: Graph | None = None, *, first_age: int = 0) -> AsyncIterator[Ruled]:
    """What an analyzer has of it; the graph is given when it is that of an earlier life.

    The clock of API objects goes on by 1 with each, from ``first_age``.
    """
    store = EmbeddedResources(folder)
    store.open()
    try:
        graph = graph or Graph(host="a", origin="analyzer.a", with_tids=False)
        queries = QueryContext(LiveView(graph), graph.clock)
        elements = UserElements(graph, store)
        elements.restore()
        engine = RuleEngine(graph, store, queries)
        ages = itertools.count(first_age)
        apis = {kind.name: ResourceApi(store, kind, lambda: next(ages)) for kind in kinds(queries.planner)}
        await engine.settle()
        yield Ruled(graph, store, engine, elements, queries, apis)
    finally:
        store.close()
