"""A hub to connect to, and a client that draws its own picture of the graph from what it is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio_websocket
from trio_websocket import WebSocketConnection

from skycore.graph.graph import Graph, now_ms
from skycore.graph.live import LiveView
from skycore.gremlin import QueryContext
from skycore.gremlin.execution import run as answer
from skycore.server.acceptor import Acceptor
from skycore.server.hub import Hub
from skycore.server.limits import Limits
from skycore.server.websocket import KeepAlive
from tests.server.conftest import hello


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a state of this process."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 (nothing tells of it)
            await trio.sleep(0.005)


class World:
    """A graph with a hub behind an acceptor."""

    def __init__(
        self,
        graph: Graph | None = None,
        history: Any = None,
        keep_alive: KeepAlive = KeepAlive(0.5, 60),
        **limits: Any,
    ) -> None:
        self.graph = graph or Graph(host="here", origin="analyzer.here", with_tids=False)
        self.queries = QueryContext(LiveView(self.graph), now_ms, history)
        self.hub = Hub(self.graph, self.queries, service="analyzer", keep_alive=keep_alive)
        self.probe = self.graph.claimant("probe")
        self.acceptor = Acceptor(
            hello,
            {
                "/ws/subscriber": self.hub.subscribe,
                "/ws/publisher": self.hub.publish,
                "/ws/pubsub": self.hub.publish_and_subscribe,
            },
            Limits(**limits),
        )
        self.port = 0

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(self.hub.run)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(self.acceptor.serve, listeners)
        self.port = listeners[0].socket.getsockname()[1]

    def node(self, id: str, **metadata: Any) -> None:
        self.probe.put(id, {"Name": id, "Type": "device", **metadata})

    def link(self, id: str, parent: str, child: str, **metadata: Any) -> None:
        self.probe.put(id, {"RelationType": "layer2", **metadata}, parent=parent, child=child)

    async def answer(self, query: str) -> dict[str, dict[str, Any]]:
        """The elements of a query's graph, by ID."""
        graph = json.loads((await answer(query, self.queries)).json())[0]
        return {one["ID"]: one for one in (graph["Nodes"] or []) + (graph["Edges"] or [])}


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    """A running World; everything in it ends with the ``with``."""
    async with trio.open_nursery() as nursery:
        made = World(**settings)
        await made.start(nursery)
        yield made
        nursery.cancel_scope.cancel()


class Watcher:
    """A client; ``elements`` is its picture, ``events`` what it was told, as (type, ID)."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.elements: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[str, str]] = []
        self.messages = 0

    async def send(self, type: str, obj: Any = None, uuid: str = "u", namespace: str = "Graph") -> None:
        await self.socket.send_message(json.dumps({"Namespace": namespace, "Type": type, "UUID": uuid, "Obj": obj}))

    async def receive(self) -> dict[str, Any]:
        """The next message; a graph event is worked into the picture."""
        with trio.fail_after(30):
            message: dict[str, Any] = json.loads(await self.socket.get_message())
        self.messages += 1
        self.take(message)
        return message

    def take(self, message: dict[str, Any]) -> None:
        type, obj = message["Type"], message["Obj"]
        if type == "SyncReply" and message["Status"] == 200:
            self.elements = {one["ID"]: one for one in (obj["Nodes"] or []) + (obj["Edges"] or [])}
        if not type.startswith(("Node", "Edge")) or type.endswith("Reply"):
            return
        self.events.append((type, obj["ID"]))
        if type.endswith("Deleted"):
            self.elements.pop(obj["ID"], None)
            attached = [one for one in self.elements.values() if obj["ID"] in (one.get("Parent"), one.get("Child"))]
            assert type.startswith("Edge") or not attached, f"a node goes before its edges: {obj['ID']}"
        elif type.endswith("PartiallyUpdated"):
            known = self.elements[obj["ID"]]
            for operation in obj["Ops"] or []:
                apply_operation(known["Metadata"], operation)
            known["Revision"], known["UpdatedAt"] = obj["Revision"], obj["UpdatedAt"]
        else:
            assert not type.endswith("Added") or obj["ID"] not in self.elements, "added twice"
            assert type.startswith("Node") or {obj["Parent"], obj["Child"]} <= self.elements.keys(), obj
            self.elements[obj["ID"]] = obj

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.receive()

    async def sync(self, obj: Any = None) -> dict[str, Any]:
        """Ask for the state; the reply."""
        await self.send("SyncRequest", obj)
        while True:
            message = await self.receive()
            if message["Type"] == "SyncReply":
                return message


def apply_operation(metadata: dict[str, Any], operation: dict[str, Any]) -> None:
    """As Skydive's clients do: set makes the objects on the way, delete takes empty ones with it."""
    *way, last = operation["Key"].split(".")
    places = [metadata]
    for part in way:
        places.append(places[-1].setdefault(part, {}))
    if operation["Type"] == 1:
        places[-1][last] = operation["Value"]
        return
    del places[-1][last]
    for part, outer, inner in zip(reversed(way), reversed(places[:-1]), reversed(places[1:]), strict=True):
        if inner:
            break
        del outer[part]


@asynccontextmanager
async def watch(
    world: World, path: str = "/ws/subscriber", headers: dict[str, str] | None = None, sync: bool = True
) -> AsyncIterator[Watcher]:
    """A connected client, that knows the present state if ``sync``."""
    given = {"X-Client-Type": "test", **(headers or {})}
    async with trio_websocket.open_websocket(
        "127.0.0.1",
        world.port,
        path,
        use_ssl=False,
        extra_headers=[(name.encode(), value.encode()) for name, value in given.items()],
        max_message_size=64 << 20,
        message_queue_size=1,
    ) as socket:
        watcher = Watcher(socket)
        if sync:
            await watcher.sync()
        yield watcher
