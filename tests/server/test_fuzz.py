"""Bytes nobody should send: the server answers or closes, logs no error, leaks no task, and serves the others.

The conversations run on in-memory streams and a mock clock, so that a server that waits for ever is found at
once; one test repeats some of them over real TCP.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import AsyncIterator, Sequence

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from structlog.testing import capture_logs
from trio.abc import HalfCloseableStream
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection

from skycore.server.acceptor import Acceptor
from skycore.server.limits import Limits
from skycore.server.upgrade import UpgradeRequest
from skycore.server.websocket import KeepAlive

LIMITS = Limits(header_size=2000, body_size=3000, message_size=3000, close_timeout=0.05, linger_time=0.05)
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /stream?a=b&c=%20%ff HTTP/1.0\r\nX-A: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok",
    b"GET http://x/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    HANDSHAKE,
)


async def _echo(request: Request) -> Response:
    return Response(await request.body())


async def _stream(_request: Request) -> Response:
    # An asynchronous iterator: Starlette runs others in threads, for which a mock clock does not wait.
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b" * 1000

    return StreamingResponse(parts())


async def _websocket(request: UpgradeRequest) -> None:
    socket = await request.accept(keep_alive=KeepAlive())
    while True:
        await socket.send(await socket.receive())


def _acceptor() -> Acceptor:
    app = Starlette(routes=[Route("/", _echo, methods=["GET", "POST"]), Route("/stream", _stream)])
    return Acceptor(app, {"/ws": _websocket}, LIMITS)


async def _read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = bytearray()
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            received += data
    return bytes(received)


async def _ask(stream: trio.abc.Stream) -> None:
    """The neighbour, who goes on as if nothing had happened."""
    await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    answer = b""
    while not answer.endswith(b"hi"):
        data = await stream.receive_some()
        assert data, "the neighbour's connection was closed"
        answer += data
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def _converse(
    acceptor: Acceptor,
    neighbour: trio.abc.Stream,
    stream: HalfCloseableStream,
    pieces: Sequence[bytes],
    patient: bool,
) -> None:
    with trio.fail_after(1000):
        await _ask(neighbour)
        with contextlib.suppress(trio.BrokenResourceError):
            for piece in pieces:
                await stream.send_all(piece)
                if patient:
                    await trio.testing.wait_all_tasks_blocked()
            await stream.send_eof()
        _check_answer(await _read_all(stream))
        await _ask(neighbour)
        await stream.aclose()
        await neighbour.aclose()


def _check_answer(answer: bytes) -> None:
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    head, _, frames = answer.rpartition(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert head.startswith(b"HTTP/1.1 ") or not head
    if head or not answer.startswith(b"HTTP/1.1 101"):
        return
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(frames.partition(b"\r\n\r\n")[2])
    for event in client.events():
        # A Close without the state of one is wsproto's complaint about our frames.
        assert not isinstance(event, CloseConnection) or client.state is ConnectionState.REMOTE_CLOSING


def _run_in_memory(pieces: Sequence[bytes], patient: bool) -> None:
    async def main() -> None:
        acceptor = _acceptor()
        with trio.fail_after(10_000):
            async with trio.open_nursery() as nursery:
                far, near = trio.testing.memory_stream_pair()
                neighbour, near_neighbour = trio.testing.memory_stream_pair()
                nursery.start_soon(acceptor.serve_connection, near)
                nursery.start_soon(acceptor.serve_connection, near_neighbour)
                await _converse(acceptor, neighbour, far, pieces, patient)
        assert acceptor.connections == 0

    with capture_logs() as logs:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []


def _frame(first: int, payload: bytes, masked: bool, lie: int) -> bytes:
    size = max(0, len(payload) + lie)
    flag = 0x80 if masked else 0
    head = bytes((first, flag | size)) if size < 126 else struct.pack("!BBH", first, flag | 126, size)
    return head + (bytes(4) if masked else b"") + payload


_frames = st.lists(
    st.builds(
        _frame,
        st.sampled_from([0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A]) | st.integers(0, 255),
        st.binary(max_size=300) | st.text(max_size=40).map(str.encode) | st.just(b"\x03\xe8"),
        st.integers(0, 9).map(bool),
        st.just(0) | st.just(0) | st.integers(-3, 3),
    ),
    max_size=8,
).map(b"".join)


@st.composite
def _mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that were right before somebody cut, changed or added some."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        data[start:end] = draw(st.binary(max_size=6) | st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n", b": ", b"\x00"]))
    return bytes(data)


@st.composite
def _pieces(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """Bytes as the network may deliver them."""
    data = draw(whole)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]


_requests = st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4).map(b"".join)
_anything = st.one_of(
    st.binary(max_size=400),
    _mutated(_requests),
    _frames.map(HANDSHAKE.__add__),
    _mutated(_frames).map(HANDSHAKE.__add__),
)


@settings(max_examples=150, deadline=None)
@given(pieces=_pieces(st.binary(max_size=4000)), patient=st.booleans())
def test_arbitrary_bytes(pieces: list[bytes], patient: bool) -> None:
    _run_in_memory(pieces, patient)


@settings(max_examples=400, deadline=None)
@given(pieces=_pieces(_mutated(_requests)), patient=st.booleans())
def test_mutated_requests(pieces: list[bytes], patient: bool) -> None:
    _run_in_memory(pieces, patient)


@settings(max_examples=400, deadline=None)
@given(pieces=_pieces(_mutated(_frames).map(HANDSHAKE.__add__)), patient=st.booleans())
def test_mutated_frames(pieces: list[bytes], patient: bool) -> None:
    _run_in_memory(pieces, patient)


@settings(max_examples=60, deadline=None)
@given(pieces=_pieces(_anything), patient=st.booleans())
def test_over_tcp(pieces: list[bytes], patient: bool) -> None:
    async def main() -> None:
        acceptor = _acceptor()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
                await nursery.start(acceptor.serve, listeners)
                port = listeners[0].socket.getsockname()[1]
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                neighbour = await trio.open_tcp_stream("127.0.0.1", port)
                await _converse(acceptor, neighbour, stream, pieces, patient)
                while acceptor.connections:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                nursery.cancel_scope.cancel()

    with capture_logs() as logs:
        trio.run(main)
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []
