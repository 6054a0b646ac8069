"""Subscribers: WebSocket clients that are told of every change of the graph (`/ws/subscriber`).

Delivery is state-based: a client that falls behind gets the latest revision of each element that it missed,
and never delays the others.  What is sent is encoded once for all clients.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import attrs
import msgspec
import structlog
import trio

from skycore.bus import Batch, Cursor
from skycore.errors import Refusal, WebSocketClosed
from skycore.graph.element import Revision, build_revision
from skycore.graph.graph import Graph
from skycore.server.upgrade import UpgradeRequest
from skycore.server.websocket import KeepAlive, WebSocket, encode_frame

log = structlog.get_logger(__name__)

_TICK = 0.005
"""Seconds between two sends to one client under load; when idle, a change is sent at once."""
_WRITE = 64 << 10
_CACHED_FRAMES = 8192

_encode = msgspec.json.Encoder().encode


class _Envelope(msgspec.Struct):
    """What a client may send (Skydive's StructMessage as JSON)."""

    Namespace: str = ""
    Type: str = ""
    UUID: str = ""
    Status: int = 200
    Obj: Any = None


_decode = msgspec.json.Decoder(_Envelope)


@attrs.define(eq=False)
class Subscriber:
    """What status shows of one connected client."""

    host: str
    kind: str
    address: str
    connected_at: int
    sent: int = 0
    coalesced: int = 0


class SubscriberHub:
    """All subscribers of one graph."""

    def __init__(self, graph: Graph, *, service: str, keep_alive: KeepAlive) -> None:
        self._graph = graph
        self._service = service
        self._keep_alive = keep_alive
        self._frames: OrderedDict[tuple[str, int, str], bytes] = OrderedDict()
        self.subscribers: dict[str, Subscriber] = {}

    async def serve(self, request: UpgradeRequest) -> None:
        """One client, from before its upgrade to its end (an UpgradeHandler)."""
        client = _identify(request, self._graph.clock())
        if client.host in self.subscribers:
            raise Refusal(409, f"host id {client.host!r} is connected already")
        self.subscribers[client.host] = client
        try:
            socket = await request.accept(
                [("X-Host-ID", self._graph.host), ("X-Service-Type", self._service)], keep_alive=self._keep_alive
            )
            if not client.kind:
                # Skydive, too, upgrades first and closes then.
                await socket.close(1000, "")
                return
            cursor = self._graph.log.cursor()
            # A state that overtakes older changes would be undone by them: one of both is sent at a time.
            turn = trio.Lock()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tell, socket, cursor, client, turn)
                    await self._answer(socket, cursor, turn)
            finally:
                cursor.close()
        except* WebSocketClosed:
            pass
        finally:
            del self.subscribers[client.host]

    async def _tell(self, socket: WebSocket, cursor: Cursor[Revision], client: Subscriber, turn: trio.Lock) -> None:
        while True:
            await cursor.wait()
            async with turn:
                batch = cursor.read()
                client.sent += len(batch.changes)
                client.coalesced += batch.end - batch.start - len(batch.changes)
                await self._send(socket, batch)
            await trio.sleep(_TICK)

    async def _send(self, socket: WebSocket, batch: Batch[Revision]) -> None:
        waiting: list[bytes] = []
        size = 0
        coalesced = len(batch.changes) < batch.end - batch.start
        for revision in _presentable(batch):
            event = _event(revision, batch.start)
            frame = self._frame(revision, event)
            if coalesced and revision.reborn and event.endswith("Added"):
                # Its deletion was left out, and a client that knows the former life takes no second one.
                frame = self._frame(_tombstone(revision), event.replace("Added", "Deleted")) + frame
            waiting.append(frame)
            size += len(frame)
            if size >= _WRITE:
                await socket.send_frames(b"".join(waiting))
                waiting, size = [], 0
        if waiting:
            await socket.send_frames(b"".join(waiting))

    async def _answer(self, socket: WebSocket, cursor: Cursor[Revision], turn: trio.Lock) -> None:
        while True:
            try:
                message = _decode.decode(await socket.receive())
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                await socket.send(_reply("", "Error", "", 400, _encode(f"not a message: {error}")))
                continue
            if message.Namespace == "Graph" and message.Type == "SyncRequest":
                wanted = message.Obj.get("GremlinFilter") if isinstance(message.Obj, dict) else None
                if wanted:
                    text = "this server does not filter subscriptions by Gremlin yet; subscribe without GremlinFilter"
                    await socket.send(_reply("Graph", "SyncReply", message.UUID, 400, _encode(text)))
                    continue
                if isinstance(message.Obj, dict) and message.Obj.get("Time"):
                    text = "this server sends the present state only; ask for the past with POST /api/topology and G.At"
                    await socket.send(_reply("Graph", "SyncReply", message.UUID, 400, _encode(text)))
                    continue
                async with turn:
                    # What the state holds need not be told again.
                    cursor.read()
                    await socket.send(_reply("Graph", "SyncReply", message.UUID, 200, self._state()))

    def _state(self) -> bytes:
        def listed(revisions: Iterable[Revision]) -> bytes:
            texts = [revision.json for revision in revisions]
            return b"[" + b",".join(texts) + b"]" if texts else b"null"

        nodes, edges = listed(self._graph.nodes.values()), listed(self._graph.edges.values())
        return b'{"Nodes":' + nodes + b',"Edges":' + edges + b"}"

    def _frame(self, revision: Revision, event: str) -> bytes:
        """The WebSocket frame of one event, encoded once for however many clients."""
        key = (revision.id, revision.revision, event)
        frame = self._frames.get(key)
        if frame is None:
            text = _message("Graph", event, str(uuid4()), 200, revision.json)
            frame = self._frames[key] = encode_frame(text, True)
            while len(self._frames) > _CACHED_FRAMES:
                self._frames.popitem(last=False)
        return frame


def _identify(request: UpgradeRequest, now: int) -> Subscriber:
    """Who connects: each header may stand as a query parameter instead (browsers cannot set headers)."""

    def given(name: str) -> str:
        return request.headers.get(name) or request.query.get(name.lower()) or ""

    protocol = given("X-Client-Protocol")
    if protocol not in ("", "json"):
        raise Refusal(400, f"X-Client-Protocol {protocol!r} is not spoken here; use json")
    if given("X-Update-Policy") not in ("", "full"):
        raise Refusal(400, "this server sends full updates only; leave X-Update-Policy out")
    if given("X-Gremlin-Filter"):
        raise Refusal(400, "this server does not filter subscriptions by Gremlin yet; leave X-Gremlin-Filter out")
    address = request.address
    return Subscriber(given("X-Host-ID") or address or str(uuid4()), given("X-Client-Type"), address, now)


def _event(revision: Revision, since: int) -> str:
    what = "Node" if revision.parent is None else "Edge"
    if revision.deleted_at is not None:
        return what + "Deleted"
    return what + ("Added" if revision.born >= since else "Updated")


_ORDER: tuple[Callable[[Revision], bool], ...] = (
    lambda revision: revision.deleted_at is not None and revision.parent is not None,
    lambda revision: revision.deleted_at is not None and revision.parent is None,
    lambda revision: revision.deleted_at is None and revision.parent is None,
    lambda revision: revision.deleted_at is None and revision.parent is not None,
)


def _presentable(batch: Batch[Revision]) -> Iterable[Revision]:
    """Changes in an order that makes sense to a client also where some were left out: nodes before their edges."""
    if len(batch.changes) == batch.end - batch.start:
        return batch.changes
    return [revision for wanted in _ORDER for revision in batch.changes if wanted(revision)]


def _tombstone(revision: Revision) -> Revision:
    return build_revision(
        id=revision.id,
        metadata=revision.metadata_json,
        revision=revision.revision,
        host=revision.host,
        origin=revision.origin,
        created_at=revision.created_at,
        updated_at=revision.created_at,
        deleted_at=revision.created_at,
        parent=revision.parent,
        child=revision.child,
    )


def _message(namespace: str, type: str, uuid: str, status: int, obj: bytes) -> bytes:
    head = f'{{"Namespace":"{namespace}","Type":"{type}","UUID":{_encode(uuid).decode()},"Status":{status},"Obj":'
    return head.encode() + obj + b"}"


def _reply(namespace: str, type: str, uuid: str, status: int, obj: bytes) -> str:
    return _message(namespace, type, uuid, status, obj).decode()
