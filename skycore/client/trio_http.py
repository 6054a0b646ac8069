"""The asynchronous client, for trio, over h11."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, final, overload

import h11
import trio

from skycore.client import calls
from skycore.client.access import Access
from skycore.client.calls import Call
from skycore.client.elements import AnyElement, Edge, Graph, Node
from skycore.client.resources import EdgeRule, NodeRule, UserMetadata
from skycore.client.server import Server
from skycore.client.split import SplitError, Splitter
from skycore.config.address import Address
from skycore.errors import ClientError

if TYPE_CHECKING:
    from skycore.client.publishing import Unpublished
    from skycore.client.subscription import Subscription

T = TypeVar("T")
_PIECE: Final = 1 << 16
_FAILURES = (OSError, UnicodeError, h11.ProtocolError, trio.BrokenResourceError, trio.TooSlowError)


@final
class TrioClient:
    """What `Client` does, in trio: the same arguments, results and errors.

    Requests may run at the same time; a cancelled one closes its connection at once.
    """

    def __init__(self, address: str | Address, timeout: float = 60.0, access: Access | None = None) -> None:
        self.server = Server.of(address, timeout, access)
        self.nodes: TrioCollection[Node] = TrioCollection(self, calls.Kind("node", Node))
        self.edges: TrioCollection[Edge] = TrioCollection(self, calls.Kind("edge", Edge))
        self.node_rules: TrioCollection[NodeRule] = TrioCollection(self, calls.Kind("noderule", NodeRule))
        self.edge_rules: TrioCollection[EdgeRule] = TrioCollection(self, calls.Kind("edgerule", EdgeRule))
        self.user_metadata: TrioCollection[UserMetadata] = TrioCollection(
            self, calls.Kind("usermetadata", UserMetadata)
        )

    @overload
    async def query(self, gremlin: str) -> Any: ...

    @overload
    async def query(self, gremlin: str, type: type[T]) -> T: ...

    async def query(self, gremlin: str, type: Any = Any) -> Any:
        """The result of a Gremlin query, decoded as ``type``; None for an empty query."""
        return await self.run(calls.query(gremlin, type))

    async def query_text(self, gremlin: str, accept: str = calls.JSON) -> bytes:
        """The result of a query as the server writes it: JSON, or a drawing with `skycore.client.DOT`."""
        return await self.run(calls.text_of(gremlin, accept))

    @overload
    def stream(self, gremlin: str) -> AsyncIterator[Any]: ...

    @overload
    def stream(self, gremlin: str, type: type[T]) -> AsyncIterator[T]: ...

    async def stream(self, gremlin: str, type: Any = Any) -> AsyncIterator[Any]:
        """The items of a query's result, each as soon as it is there; the result must be a list.

        Here the time limit is for each wait.  Use it in `contextlib.aclosing`, as every asynchronous generator.
        """
        splitter, call = Splitter(), calls.text_of(gremlin)
        try:
            async with _answer(self.server, call) as (status, pieces), aclosing(pieces):
                async for piece in pieces:
                    call.check(self.server, status, piece)
                    for item in splitter.feed(piece):
                        yield calls.item(self.server, item, type)
                call.check(self.server, status, b"")
            splitter.close()
        except SplitError as error:
            raise ClientError(f"{self.server.address} answered with something that is no JSON list: {error}") from error
        except _FAILURES as error:
            raise _explained(self.server, error) from error

    async def graph(self) -> Graph:
        """The live graph."""
        return await self.run(calls.graph())

    async def status(self) -> dict[str, Any]:
        """The state of the process that answers."""
        return await self.run(calls.status())

    def subscribe(self, gremlin: str = "") -> AbstractAsyncContextManager[Subscription]:
        """Hear of what is, and of each change, within an ``async with`` block.

        ``gremlin`` says of what: a query that gives a graph (``G.V().Has('Type', 'veth').SubGraph()``); left out, of
        everything.  The subscription is iterated over: first a `Change` *added* for all there is, then `Synced`, then
        changes.  A lost connection is made again; `Lost` tells of it, and the changes after it lead from what was
        known before to what is then.  A slow reader gets the newest state of what it missed.
        """
        # Imported here because it takes a quarter of a second.
        from skycore.client import subscription  # noqa: PLC0415

        return subscription.subscribe(self.server, gremlin)

    async def publish(
        self,
        elements: Iterable[AnyElement],
        *,
        path: str = "/ws/publisher",
        client_type: str = "skycore",
        host: str = "",
        persistent: bool = True,
    ) -> list[Unpublished]:
        """Add nodes and edges to the graph, until the publisher of this name deletes them; those not taken come back.

        The origin becomes ``<client_type>.<host>``; ``host`` left out is the name of this host.  What is not
        ``persistent`` goes when this returns.
        """
        from skycore.client import publishing  # noqa: PLC0415

        return await publishing.publish(
            self.server, elements, path=path, client_type=client_type, host=host, persistent=persistent
        )

    async def run(self, call: Call[T]) -> T:
        """Carry out one of `skycore.client.calls`."""
        body = bytearray()
        try:
            with trio.fail_after(self.server.timeout):
                async with _answer(self.server, call) as (status, pieces), aclosing(pieces):
                    async for piece in pieces:
                        body += piece
                        if len(body) > calls.LARGEST:
                            raise calls.too_large(self.server)
        except _FAILURES as error:
            raise _explained(self.server, error) from error
        return call.result(self.server, status, bytes(body))


@final
class TrioCollection(Generic[T]):
    """The API objects of one kind; what `Collection` does, in trio."""

    def __init__(self, client: TrioClient, kind: calls.Kind[T]) -> None:
        self._client = client
        self._kind = kind

    async def list(self) -> dict[str, T]:
        """All of them, by id."""
        return await self._client.run(self._kind.list())

    async def get(self, id: str) -> T:
        """The one with this id."""
        return await self._client.run(self._kind.get(id))

    async def create(self, value: T, *, ttl: str | None = None) -> T:
        """Make one; ``ttl`` (``1h30m``) is how long it lives, left out: for ever.  Gives it as the server keeps it."""
        return await self._client.run(self._kind.create(value, ttl))

    async def patch(self, id: str, operations: Sequence[Mapping[str, Any]]) -> T | None:
        """Change one by operations of RFC 6902: the object as it is now, None when nothing changed."""
        return await self._client.run(self._kind.patch(id, operations))

    async def delete(self, id: str) -> None:
        """Delete the one with this id."""
        await self._client.run(self._kind.delete(id))


def _explained(server: Server, error: BaseException) -> ClientError:
    if isinstance(error, trio.TooSlowError):
        return server.too_slow()
    # trio wraps what TLS and the socket said.
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else None
    return server.failure(cause or error)


@asynccontextmanager
async def _answer(server: Server, call: Call[Any]) -> AsyncIterator[tuple[int, AsyncGenerator[bytes, None]]]:
    """Send a request; the status of its answer, and the pieces of the body.  Each wait is bounded."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_PIECE)
    headers = {"Host": str(server.address), **call.headers(server)}
    if call.body is not None:
        headers["Content-Length"] = str(len(call.body))
    with trio.fail_after(server.timeout):
        stream = await _connect(server)
    try:
        request = h11.Request(method=call.method, target=call.path, headers=list(headers.items()))
        data = http.send(request) or b""
        data += http.send(h11.Data(call.body or b"")) or b""
        data += http.send(h11.EndOfMessage()) or b""
        with trio.fail_after(server.timeout):
            await stream.send_all(data)
        event = await _event(server, http, stream)
        while isinstance(event, h11.InformationalResponse):
            event = await _event(server, http, stream)
        if not isinstance(event, h11.Response):
            raise h11.RemoteProtocolError("no response")
        yield event.status_code, _body(server, http, stream)
    finally:
        await trio.aclose_forcefully(stream)


async def _body(server: Server, http: h11.Connection, stream: trio.abc.Stream) -> AsyncGenerator[bytes, None]:
    while isinstance(event := await _event(server, http, stream), h11.Data):
        yield bytes(event.data)
    if not isinstance(event, h11.EndOfMessage):
        raise h11.RemoteProtocolError("the connection ended too early")


async def _event(server: Server, http: h11.Connection, stream: trio.abc.Stream) -> h11.Event:
    while (event := http.next_event()) is h11.NEED_DATA:
        with trio.fail_after(server.timeout):
            http.receive_data(bytes(await stream.receive_some(_PIECE)))
    assert not isinstance(event, type)
    return event


async def _connect(server: Server) -> trio.abc.Stream:
    address = server.address
    context: ssl.SSLContext | None = server.access.context() if server.secure else None
    stream = await trio.open_tcp_stream(address.host, address.port)
    if context is None:
        return stream
    secure = trio.SSLStream(stream, context, server_hostname=address.host, https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure
