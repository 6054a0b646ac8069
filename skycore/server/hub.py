"""The WebSocket endpoints of a graph: `/ws/subscriber`, `/ws/publisher` and `/ws/pubsub`; see docs/websocket.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, final
from uuid import uuid4

import attrs
import msgspec
import structlog
import trio

from skycore.errors import Refusal, WebSocketClosed
from skycore.graph.element import Revision
from skycore.graph.graph import Graph
from skycore.gremlin import QueryContext
from skycore.server.envelope import EnvelopeError, Message, decode, encode, head_and_tail
from skycore.server.fanout import Follower, Style
from skycore.server.filtered import graph_of
from skycore.server.gremlin_filter import FilterRefused
from skycore.server.handshake import GRAPH, Client, identify
from skycore.server.mailbox import Mailbox
from skycore.server.pace import Pace
from skycore.server.picture import Picture, WholeGraph
from skycore.server.publisher import Publisher, PublishRefused, withdraw_visitors
from skycore.server.sharing import Sharing
from skycore.server.upgrade import UpgradeRequest
from skycore.server.websocket import KeepAlive, WebSocket

_log = structlog.get_logger(__name__)
_MESSAGES_A_SECOND: Final = 5_000
_STATES_A_SECOND: Final = 5
_STATES_AT_ONCE: Final = 20
_NOTICES: Final = 1 << 20
"""Bytes of notices that wait for one client."""
_NOTICES_AT_ONCE: Final = 32
_LAST_SECOND: Final = 2147483647
_LAST_TIME: Final = 253402300799999
_RESERVED: Final = frozenset({"agent", "analyzer"})
_encode = msgspec.json.Encoder().encode

_Notice = tuple[str, str, bytes]
"""Namespace, type, and the object in JSON."""


@final
class Hub:
    """All subscribers and publishers of one graph.

    ``subscribe``, ``publish`` and ``publish_and_subscribe`` are the handlers of the three endpoints; ``run`` is started
    in a nursery before them.  ``service`` is the role (``agent``, ``analyzer``).
    """

    def __init__(
        self, graph: Graph, queries: QueryContext, *, service: str, keep_alive: KeepAlive, compression: bool = True
    ) -> None:
        self.graph = graph
        self.queries = queries
        self.sharing = Sharing(graph, queries)
        self.subscribers: dict[str, Client] = {}
        self.publishers: dict[str, Client] = {}
        self.both: dict[str, Client] = {}
        self._told: set[_Session] = set()
        self._service = service
        self.keep_alive = keep_alive
        self._compression = compression

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve subscribers until cancelled."""
        withdraw_visitors(self.graph)
        await self.sharing.run(task_status=task_status)

    def notify(self, namespace: str, type: str, obj: bytes) -> None:
        """Tell every subscriber that wants this namespace; a notice that still waits for a client waits once."""
        for session in self._told:
            session.notify((namespace, type, obj))

    async def subscribe(self, request: UpgradeRequest) -> None:
        """One client of `/ws/subscriber` (an UpgradeHandler)."""
        await self._serve(request, self.subscribers, subscribes=True, publishes=False)

    async def publish(self, request: UpgradeRequest) -> None:
        """One client of `/ws/publisher` (an UpgradeHandler)."""
        await self._serve(request, self.publishers, subscribes=False, publishes=True)

    async def publish_and_subscribe(self, request: UpgradeRequest) -> None:
        """One client of `/ws/pubsub` (an UpgradeHandler)."""
        await self._serve(request, self.both, subscribes=True, publishes=True)

    async def _serve(
        self, request: UpgradeRequest, pool: dict[str, Client], *, subscribes: bool, publishes: bool
    ) -> None:
        client = identify(request, self.graph.clock())
        if client.host in pool:
            raise Refusal(409, f"host id {client.host!r} is connected already")
        if publishes and not client.fault and client.kind in _RESERVED:
            client.fault = f"X-Client-Type {client.kind} is that of our own processes; publish under another one"
        pool[client.host] = client
        try:
            socket = await request.accept(
                [("X-Host-ID", self.graph.host), ("X-Service-Type", self._service)],
                compression=self._compression,
            )
            await _Session(self, socket, client).run(subscribes=subscribes, publishes=publishes)
        except* WebSocketClosed:
            pass
        finally:
            del pool[client.host]


@final
class _Session:
    """One connected client."""

    def __init__(self, hub: Hub, socket: WebSocket, client: Client) -> None:
        self._hub = hub
        self._socket = socket
        self._client = client
        self._turn = trio.Lock()
        self._picture: Picture = WholeGraph(hub.graph)
        self._follower: Follower | None = None
        self._publisher: Publisher | None = None
        self._notices: Mailbox[_Notice] = Mailbox(_NOTICES)
        self._messages = Pace(_MESSAGES_A_SECOND, _MESSAGES_A_SECOND)
        self._states = Pace(_STATES_A_SECOND, _STATES_AT_ONCE)

    async def run(self, *, subscribes: bool, publishes: bool) -> None:
        client, sharing = self._client, self._hub.sharing
        fault = client.fault
        if not fault and subscribes:
            try:
                self._picture = await sharing.picture(client.filter)
            except FilterRefused as error:
                fault = str(error).splitlines()[0]
        if fault:
            # Skydive, too, upgrades first and closes then.
            await self._socket.close(1000, fault)
            return
        if publishes:
            self._publisher = Publisher(self._hub.graph, client)
        try:
            async with trio.open_nursery() as nursery:
                if subscribes:
                    self._hub._told.add(self)
                    nursery.start_soon(self._tell)
                if subscribes and client.wants(GRAPH):
                    feed = sharing.feed(self._picture, self._style())
                    self._follower = Follower(self._socket, client, feed, self._turn)
                    nursery.start_soon(self._follower.run)
                # Clients take the first ping as the sign that they are heard, and will hear.
                nursery.start_soon(self._socket.keep_alive, self._hub.keep_alive)
                await self._listen()
        finally:
            self._hub._told.discard(self)
            if self._follower is not None:
                self._follower.close()
                sharing.settle()
            sharing.release(self._picture)
            if self._publisher is not None:
                self._publisher.leave()

    def notify(self, notice: _Notice) -> None:
        if self._client.wants(notice[0]):
            self._notices.put(notice, notice[2])

    async def _tell(self) -> None:
        while True:
            for (namespace, type, obj), _ in await self._notices.take(_NOTICES_AT_ONCE):
                await self._answer(Message(namespace, type, str(uuid4()), 200, obj))

    def _style(self) -> Style:
        return Style(self._client.protocol, self._client.policy == "partial", self._socket.window_bits)

    async def _listen(self) -> None:
        while True:
            data = await self._socket.receive()
            await self._messages.wait()
            try:
                message = decode(data, self._client.protocol)
            except EnvelopeError as error:
                await self._answer(Message(GRAPH, "Error", "", 400, _encode(str(error))))
                continue
            if message.namespace == GRAPH and message.type == "SyncRequest":
                await self._states.wait()
                await self._sync(message)
            elif self._publisher is not None:
                try:
                    if message.namespace != GRAPH:
                        raise PublishRefused(f"namespace {message.namespace[:60]!r} is not served here; use {GRAPH}")
                    self._publisher.take(message)
                except PublishRefused as error:
                    self._client.refused += 1
                    if self._client.refused == 1:
                        _log.warning("a publisher sends bad messages", client=self._client.origin, error=str(error))
                    await self._answer(_reply(message, 400, _encode(str(error))))

    async def _answer(self, message: Message) -> None:
        """Send one small message, in turn with all others."""
        async with self._turn:
            obj = encode(message, self._client.protocol)
            await self._socket.send_pieces((obj,), self._client.protocol == "json")
        self._released()

    def _released(self) -> None:
        if self._follower is not None:
            self._follower.hand_over()

    # ------------------------------------------------------------------ states

    async def _sync(self, message: Message) -> None:
        try:
            wanted = _SyncWanted.of(message.obj)
            if wanted.time is not None:
                text = self._client.filter if wanted.filter is None else wanted.filter
                past = await graph_of(_at(text, wanted.time), self._hub.queries)
                async with self._turn:
                    await self._send_state(message, past.nodes, past.edges)
            else:
                await self._send_present(message, wanted.filter)
        except FilterRefused as error:
            await self._answer(_reply(message, 400, _encode(str(error))))
        self._released()

    async def _send_present(self, message: Message, filter: str | None) -> None:
        """Answer with the present state; what it holds is not told again."""
        sharing = self._hub.sharing
        if filter is not None and self._follower is not None and filter != self._client.filter:
            picture = await sharing.picture(filter)
            async with self._turn:
                sharing.release(self._picture)
                self._picture, self._client.filter = picture, filter
        async with self._turn:
            await sharing.catch_up(self._picture)
            if self._follower is not None:
                self._follower.move(sharing.feed(self._picture, self._style()))
                sharing.settle()
            await self._send_state(message, list(self._picture.nodes()), list(self._picture.edges()))

    async def _send_state(self, message: Message, nodes: Iterable[Revision], edges: Iterable[Revision]) -> None:
        nodes, edges = list(nodes), list(edges)
        protocol = self._client.protocol
        size = sum(len(piece) for piece in _state(nodes, edges)) if protocol == "protobuf" else 0
        head, tail = head_and_tail(_reply(message, 200, b""), size, protocol)
        await self._socket.send_pieces(chain((head,), _state(nodes, edges), (tail,)), protocol == "json")


def _reply(message: Message, status: int, obj: bytes) -> Message:
    # Not the type of what it answers: clients would take it for another such message.
    type = "SyncReply" if message.type == "SyncRequest" else f"{message.type[:60]}Reply"
    return Message(message.namespace[:60] or GRAPH, type, message.uuid[:120], status, obj)


def _state(nodes: list[Revision], edges: list[Revision]) -> Iterator[bytes]:
    """A graph as JSON, in pieces; empty lists are null."""
    yield b'{"Nodes":'
    yield from _listed(nodes)
    yield b',"Edges":'
    yield from _listed(edges)
    yield b"}"


def _listed(revisions: list[Revision]) -> Iterator[bytes]:
    if not revisions:
        yield b"null"
        return
    before = b"["
    for start in range(0, len(revisions), 64):
        yield before + b",".join([one.json for one in revisions[start : start + 64]])
        before = b","
    yield b"]"


@final
@attrs.frozen
class _SyncWanted:
    """What a SyncRequest asks for; ``filter`` None: keep the one that is."""

    filter: str | None
    time: int | None

    @classmethod
    def of(cls, obj: bytes) -> _SyncWanted:
        """Raises FilterRefused."""
        try:
            wanted: Any = msgspec.json.decode(obj) if obj else {}
        except (msgspec.DecodeError, RecursionError) as error:
            raise FilterRefused(f"Obj is no JSON: {error}") from None
        if wanted is None or wanted == "":
            wanted = {}
        if not isinstance(wanted, dict):
            raise FilterRefused('Obj of a SyncRequest is {}, {"GremlinFilter":"…"} or {"Time":milliseconds}')
        filter, time = wanted.get("GremlinFilter"), wanted.get("Time")
        if not isinstance(filter, str | None):
            raise FilterRefused("GremlinFilter is a string or null")
        if time is not None and (isinstance(time, bool) or not isinstance(time, int) or not 0 <= time <= _LAST_TIME):
            raise FilterRefused("Time is a number of milliseconds since 1970, or null")
        return cls(filter, time or None)


def _at(filter: str, time: int) -> str:
    """The filter's query over the graph as it was."""
    moment = time if time > _LAST_SECOND else time // 1000
    rest = filter.strip()
    return f"G.At({moment}){rest[1:]}" if rest else f"G.At({moment})"
