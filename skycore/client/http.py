"""The synchronous client, over the HTTP of Python's library."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, final, overload

from skycore.client import calls
from skycore.client.access import Access
from skycore.client.calls import Call
from skycore.client.elements import Edge, Graph, Node
from skycore.client.resources import EdgeRule, NodeRule, UserMetadata
from skycore.client.server import Server
from skycore.client.split import SplitError, Splitter
from skycore.config.address import Address
from skycore.errors import ClientError

T = TypeVar("T")
_PIECE = 1 << 16


@final
class Client:
    """Asks one analyzer or agent; each request has a connection of its own.

    ``address`` is what `Address.parse` reads, ``http://`` or ``https://`` before it allowed; ``access`` says who asks
    and whom to trust, left out: the user of the environment.
    ``timeout`` is the longest that one request may last, in seconds, from connecting to the last byte.

    All methods raise ClientError when no complete answer came, and RequestRefused when the answer is an error.
    """

    def __init__(self, address: str | Address, timeout: float = 60.0, access: Access | None = None) -> None:
        self.server = Server.of(address, timeout, access)
        self.nodes: Collection[Node] = Collection(self, calls.Kind("node", Node))
        self.edges: Collection[Edge] = Collection(self, calls.Kind("edge", Edge))
        self.node_rules: Collection[NodeRule] = Collection(self, calls.Kind("noderule", NodeRule))
        self.edge_rules: Collection[EdgeRule] = Collection(self, calls.Kind("edgerule", EdgeRule))
        self.user_metadata: Collection[UserMetadata] = Collection(self, calls.Kind("usermetadata", UserMetadata))

    @overload
    def query(self, gremlin: str) -> Any: ...

    @overload
    def query(self, gremlin: str, type: type[T]) -> T: ...

    def query(self, gremlin: str, type: Any = Any) -> Any:
        """The result of a Gremlin query, decoded as ``type``: plain values, or ``list[Node]``, ``list[Graph]`` …

        None for an empty query.
        """
        return self.run(calls.query(gremlin, type))

    def query_text(self, gremlin: str, accept: str = calls.JSON) -> bytes:
        """The result of a query as the server writes it: JSON, or a drawing with `skycore.client.DOT`.

        Empty for an empty query.
        """
        return self.run(calls.text_of(gremlin, accept))

    @overload
    def stream(self, gremlin: str) -> Iterator[Any]: ...

    @overload
    def stream(self, gremlin: str, type: type[T]) -> Iterator[T]: ...

    def stream(self, gremlin: str, type: Any = Any) -> Iterator[Any]:
        """The items of a query's result, each as soon as it is there; the result must be a list.

        Here the time limit is for each wait.  Close the iterator (`contextlib.closing`) to leave early.
        """
        splitter = Splitter()
        try:
            for piece in self._pieces(calls.text_of(gremlin)):
                for item in splitter.feed(piece):
                    yield calls.item(self.server, item, type)
            splitter.close()
        except SplitError as error:
            raise ClientError(f"{self.server.address} answered with something that is no JSON list: {error}") from error

    def graph(self) -> Graph:
        """The live graph."""
        return self.run(calls.graph())

    def status(self) -> dict[str, Any]:
        """The state of the process that answers."""
        return self.run(calls.status())

    def run(self, call: Call[T]) -> T:
        """Carry out one of `skycore.client.calls`."""
        end = _Deadline(self.server.timeout)
        try:
            with self._answer(call, end) as response:
                body = bytearray()
                while piece := response.read(_PIECE):
                    body += piece
                    if len(body) > calls.LARGEST:
                        raise calls.too_large(self.server)
                if end.passed:
                    raise TimeoutError
                _check_complete(response)
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise self.server.too_slow() if end.passed else self.server.failure(error) from error
        return call.result(self.server, response.status, bytes(body))

    def import_pcap(self, pieces: Iterable[bytes]) -> calls.Import:
        """Give an analyzer a recording (pcap, pcapng) in pieces of any size; its flows stand in history afterwards.

        Here the time limit is for each wait.  RequestRefused says where a damaged one breaks off, and what was kept.
        """
        call = calls.import_pcap()
        connection = self._connection()
        try:
            try:
                connection.request(call.method, call.path, iter(pieces), call.headers(self.server))
            except (BrokenPipeError, ConnectionResetError):
                # It was refused before its end: the answer says why.
                pass
            response = connection.getresponse()
            return call.result(self.server, response.status, response.read(_PIECE))
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise self.server.failure(error) from error
        finally:
            connection.close()

    def _pieces(self, call: Call[Any]) -> Iterator[bytes]:
        """The body of a good answer as it comes."""
        try:
            with self._answer(call) as response:
                if not 200 <= response.status < 300:
                    call.check(self.server, response.status, response.read(_PIECE))
                while piece := response.read1(_PIECE):
                    yield piece
                _check_complete(response)
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise self.server.failure(error) from error

    @contextlib.contextmanager
    def _answer(self, call: Call[Any], end: _Deadline | None = None) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection()
        try:
            connection.connect()
            with contextlib.nullcontext() if end is None else end.watch(connection.sock):
                connection.request(call.method, call.path, call.body, call.headers(self.server))
                yield connection.getresponse()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        server = self.server
        host, port = server.address.host, server.address.port
        if server.secure:
            return http.client.HTTPSConnection(host, port, timeout=server.timeout, context=server.access.context())
        return http.client.HTTPConnection(host, port, timeout=server.timeout)


@final
class Collection(Generic[T]):
    """The API objects of one kind; it raises what `Client` raises."""

    def __init__(self, client: Client, kind: calls.Kind[T]) -> None:
        self._client = client
        self._kind = kind

    def list(self) -> dict[str, T]:
        """All of them, by id."""
        return self._client.run(self._kind.list())

    def get(self, id: str) -> T:
        """The one with this id."""
        return self._client.run(self._kind.get(id))

    def create(self, value: T, *, ttl: str | None = None) -> T:
        """Make one; ``ttl`` (``1h30m``) is how long it lives, left out: for ever.  Gives it as the server keeps it."""
        return self._client.run(self._kind.create(value, ttl))

    def patch(self, id: str, operations: Sequence[Mapping[str, Any]]) -> T | None:
        """Change one by operations of RFC 6902: the object as it is now, None when nothing changed."""
        return self._client.run(self._kind.patch(id, operations))

    def delete(self, id: str) -> None:
        """Delete the one with this id."""
        self._client.run(self._kind.delete(id))


def _check_complete(response: http.client.HTTPResponse) -> None:
    # Reading in parts does not notice that a connection ended before its Content-Length.
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


class _Deadline:
    """Shuts a socket down when the time is over.

    The socket's own timeout starts anew with every byte, so a server that trickles could hold us for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._end = time.monotonic() + seconds

    @contextlib.contextmanager
    def watch(self, sock: socket.socket) -> Iterator[None]:
        timer = threading.Timer(max(0.0, self._end - time.monotonic()), self._expire, (sock,))
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _expire(self, sock: socket.socket) -> None:
        self.passed = True
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
