"""An acceptor to talk to: on a real TCP port, or at the end of any stream."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import h11
import pytest
import structlog
import trio
import trio.testing

from skycore.server.acceptor import Acceptor
from skycore.server.asgi import ASGIApp, Receive, Scope, Send
from skycore.server.limits import Limits
from skycore.server.upgrade import UpgradeHandler


class Client:
    """The far end of a connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def read_until(self, marker: bytes) -> bytes:
        """Everything up to and with the marker; what follows stays for the next call."""
        with trio.fail_after(100):
            while marker not in self._buffer:
                data = await self.stream.receive_some()
                assert data, f"the server closed after {bytes(self._buffer)!r}"
                self._buffer += data
        end = self._buffer.index(marker) + len(marker)
        found = bytes(self._buffer[:end])
        del self._buffer[:end]
        return found

    async def read_exactly(self, count: int) -> bytes:
        with trio.fail_after(100):
            while len(self._buffer) < count:
                data = await self.stream.receive_some()
                assert data, f"the server closed after {bytes(self._buffer)!r}"
                self._buffer += data
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    async def read_all(self) -> bytes:
        """Everything up to the end of the stream."""
        with trio.fail_after(100):
            try:
                while data := await self.stream.receive_some():
                    self._buffer += data
            except trio.BrokenResourceError:
                pass
        found = bytes(self._buffer)
        self._buffer.clear()
        return found

    async def response(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response, read by h11 as a client."""
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        http.send(h11.EndOfMessage())
        if self._buffer:
            http.receive_data(bytes(self._buffer))
        self._buffer.clear()
        head: h11.Response | None = None
        body = b""
        with trio.fail_after(100):
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(bytes(await self.stream.receive_some()))
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    break
        self._buffer += http.trailing_data[0]
        assert head is not None
        return head.status_code, {name.decode(): value.decode() for name, value in head.headers}, body

    async def get(self, path: str = "/") -> tuple[int, dict[str, str], bytes]:
        await self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return await self.response()

    async def upgrade(self, handshake: bytes) -> str:
        """Open a WebSocket by hand; the head of the answer."""
        await self.send(handshake)
        return (await self.read_until(b"\r\n\r\n")).decode()

    async def frame(self) -> tuple[int, bytes]:
        """(first byte, payload) of the next frame, which must be unmasked."""
        first, size = await self.read_exactly(2)
        assert size < 128, "a server must not mask"
        if size == 126:
            (size,) = struct.unpack("!H", await self.read_exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.read_exactly(8))
        return first, await self.read_exactly(size)

    async def close_code(self) -> int:
        """The code of the next frame, which must be a Close."""
        first, payload = await self.frame()
        assert first == 0x88, (first, payload)
        return int.from_bytes(payload[:2], "big")


class Server:
    """An acceptor and ways to reach it."""

    def __init__(self, acceptor: Acceptor, nursery: trio.Nursery) -> None:
        self.acceptor = acceptor
        self.nursery = nursery
        self.port = 0

    async def connect(self) -> Client:
        """A connection over real TCP."""
        if not self.port:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            await self.nursery.start(self.acceptor.serve, listeners)
            self.port = listeners[0].socket.getsockname()[1]
        return Client(await trio.open_tcp_stream("127.0.0.1", self.port))

    def join(self, pair: tuple[trio.abc.Stream, trio.abc.Stream]) -> Client:
        """A connection over a pair of streams."""
        far, near = pair
        self.nursery.start_soon(self.acceptor.serve_connection, near)
        return Client(far)

    def memory(self) -> Client:
        return self.join(trio.testing.memory_stream_pair())


class Serve(Protocol):
    def __call__(self, app: ASGIApp = ..., upgrades: Mapping[str, UpgradeHandler] = ..., **limits: Any) -> Server: ...


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request with its path."""
    body = scope["path"].encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def serve(nursery: trio.Nursery) -> Serve:
    def make(app: ASGIApp = hello, upgrades: Mapping[str, UpgradeHandler] | None = None, **limits: Any) -> Server:
        return Server(Acceptor(app, upgrades or {}, Limits(**limits)), nursery)

    return make


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What is logged as an error during the test; a test that expects some removes it."""
    errors: list[dict[str, Any]] = []

    def keep(_logger: Any, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if entry.get("level") == "error":
            errors.append(dict(entry))
        raise structlog.DropEvent

    old = structlog.get_config()
    structlog.configure(processors=[structlog.processors.add_log_level, keep])
    try:
        yield errors
    finally:
        structlog.configure(**old)
