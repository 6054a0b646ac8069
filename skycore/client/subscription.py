"""Following a graph: what is, and then each change, over lost connections and restarts of the other side."""

from __future__ import annotations

import random
import socket
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, final

import attrs
import msgspec
import trio

from skycore.client.elements import AnyElement, Edge, Graph, Node
from skycore.client.mirror import Change, Mirror
from skycore.client.server import Server
from skycore.client.websocket import Disconnected, Message, Socket, connected
from skycore.errors import ClientError

_SOONEST: Final = 0.2
_LATEST: Final = 5.0
"""Seconds until the next try to connect; they double from one to the other."""
_KINDS: Final[dict[str, type[Node] | type[Edge]]] = {
    f"{name}{verb}": kind for name, kind in (("Node", Node), ("Edge", Edge)) for verb in ("Added", "Updated", "Deleted")
}


@final
@attrs.frozen
class Synced:
    """What was told makes up the whole picture now: after connecting, and after each loss.

    ``elements`` is how many nodes and edges it has.
    """

    elements: int


@final
@attrs.frozen
class Lost:
    """The connection is lost; changes are missed until the next `Synced`, and then made up for."""

    reason: str


Event: TypeAlias = Change | Synced | Lost


@final
class Subscription:
    """An asynchronous iterator of what happens; see `skycore.client.TrioClient.subscribe`.

    Iterating raises ClientError when there is nothing more to hope for: the filter is refused, or the user, or nobody
    answered the first time.
    """

    def __init__(self, server: Server, gremlin: str) -> None:
        self._server = server
        self._gremlin = gremlin
        self._mirror = Mirror()
        self._batch: deque[Event] = deque()
        self._lost: Lost | None = None
        self._synced = False
        self._sessions = 0
        self._failure: ClientError | None = None
        self._news = trio.Event()

    @property
    def elements(self) -> dict[str, AnyElement]:
        """The picture at the last change that was taken: nodes and edges by ID.  Not to be changed."""
        return self._mirror.elements

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        await trio.lowlevel.checkpoint()
        while not self._batch:
            if self._lost is not None:
                self._batch.append(self._lost)
                self._lost = None
            elif self._mirror.pending or self._synced:
                self._batch.extend(self._mirror.take())
                if self._synced:
                    self._synced = False
                    self._batch.append(Synced(len(self._mirror.elements)))
            elif self._failure is not None:
                raise self._failure
            else:
                self._news = trio.Event()
                await self._news.wait()
        return self._batch.popleft()

    async def run(self) -> None:
        """Follow until cancelled, or until nothing more is to be hoped for."""
        pause = _SOONEST
        while True:
            before = self._sessions
            try:
                await self._session()
            except Disconnected as error:
                if not self._sessions:
                    return self._fail(ClientError(str(error)))
                if self._sessions > before:
                    # It was connected in the meantime; else the loss is told already.
                    self._lost, self._synced = Lost(str(error)), False
                    self._news.set()
                    pause = _SOONEST
            except ClientError as error:
                return self._fail(error)
            await trio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(_LATEST, pause * 2)

    def _fail(self, error: ClientError) -> None:
        self._failure = error
        self._news.set()

    async def _session(self) -> None:
        """One connection, to its end: raises Disconnected or ClientError."""
        headers = {
            "X-Client-Type": "skycore",
            # The server knows a client by its name; a new one lets us come back before it has noticed that we left.
            "X-Host-ID": f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
            "X-Client-Protocol": "json",
        }
        failure: Exception = Disconnected("")
        async with connected(self._server, "/ws/subscriber", headers) as channel, trio.open_nursery() as nursery:

            async def beat() -> None:
                nonlocal failure
                try:
                    await channel.keep_alive()
                except Disconnected as error:
                    failure = error
                nursery.cancel_scope.cancel()

            nursery.start_soon(beat)
            try:
                await self._synchronise(channel)
                while True:
                    self._hear(await channel.receive())
            except (Disconnected, ClientError) as error:
                failure = error
            nursery.cancel_scope.cancel()
        raise failure

    async def _synchronise(self, channel: Socket) -> None:
        """Set the filter, and hear the state; what comes before it is not filtered, and part of the state."""
        request = uuid.uuid4().hex
        with trio.move_on_after(self._server.timeout):
            await channel.send("SyncRequest", request, {"GremlinFilter": self._gremlin})
            while (message := await channel.receive()).uuid != request:
                pass
            if message.status != 200:
                raise ClientError(f"{self._server.address} refuses the filter: {self._read(message, Any)}")
            self._mirror.reset(self._read(message, Graph))
            self._synced = True
            self._sessions += 1
            self._news.set()
            return
        raise Disconnected(f"{self._server.address} did not tell its state within {self._server.timeout:g} s")

    def _hear(self, message: Message) -> None:
        kind = _KINDS.get(message.type)
        if kind is None:
            return
        element = self._read(message, kind)
        if message.type.endswith("Deleted"):
            self._mirror.forget(element)
        else:
            self._mirror.hear(element)
        self._news.set()

    def _read(self, message: Message, type: Any) -> Any:
        try:
            return message.decode(type)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            what = f"a {message.type} that cannot be read"
            raise ClientError(f"{self._server.address} sent {what}: {error}") from error


@asynccontextmanager
async def subscribe(server: Server, gremlin: str) -> AsyncGenerator[Subscription, None]:
    """Follow a graph within the block; see `skycore.client.TrioClient.subscribe`."""
    subscription = Subscription(server, gremlin)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscription.run)
        try:
            yield subscription
        except Exception as error:
            # Raised outside of the nursery, which would wrap it in a group.
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
