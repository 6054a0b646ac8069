"""The bounds of the one port, and what its peers and its application may do wrong."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from skycore.server.asgi import Receive, Scope, Send

if TYPE_CHECKING:
    from tests.server.conftest import Serve

Log = list[dict[str, Any]]


class Hanging:
    """An application that waits for ever; tells whether it was called and cancelled."""

    def __init__(self) -> None:
        self.called = trio.Event()
        self.cancelled = trio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.called.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.set()
            raise


@pytest.mark.parametrize("extra", [b"", b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_request_is_cancelled_when_its_peer_leaves(serve: Serve, logged: Log, extra: bytes) -> None:
    app = Hanging()
    server = serve(app)
    client = await server.connect()
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + extra)
    with trio.fail_after(5):
        await app.called.wait()
        await client.stream.aclose()
        await app.cancelled.wait()
        while server.acceptor.connections:
            await trio.testing.wait_all_tasks_blocked()
    assert logged == []


async def test_a_request_is_cancelled_when_its_peer_leaves_within_the_body(serve: Serve, logged: Log) -> None:
    cancelled = trio.Event()

    async def endpoint(request: Request) -> Response:
        try:
            await request.body()
        finally:
            cancelled.set()
        raise AssertionError("there is no whole body")

    client = await serve(Starlette(routes=[Route("/", endpoint, methods=["POST"])])).connect()
    await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    await client.stream.aclose()
    with trio.fail_after(5):
        await cancelled.wait()
    assert logged == []


async def test_reading_ahead_during_a_response_is_bounded(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    app = Hanging()
    client = serve(app, header_size=1000).join(trio.testing.lockstep_stream_pair())
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await app.called.wait()
    taken = 0
    with trio.move_on_after(60):
        while True:
            await client.send(b"x" * 100)
            taken += 100
    assert 1000 <= taken <= 2000


async def test_a_broken_stream_is_an_oserror_for_the_application(serve: Serve, logged: Log) -> None:
    caught: list[Exception] = []
    called, proceed, done = trio.Event(), trio.Event(), trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.set()
        await proceed.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2):
            try:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            except Exception as error:
                caught.append(error)
        done.set()
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    client = serve(app).memory()
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await called.wait()
    stream = client.stream
    assert isinstance(stream, trio.StapledStream)
    await stream.receive_stream.aclose()
    proceed.set()
    with trio.fail_after(5):
        await done.wait()
    assert len(caught) == 2
    assert all(isinstance(error, OSError) for error in caught)
    assert logged == []


async def test_starlettes_streams_end_quietly_when_the_peer_leaves(serve: Serve, logged: Log) -> None:
    async def endless() -> Any:
        while True:
            yield b"x" * 10000
            await trio.lowlevel.checkpoint()

    async def endpoint(_request: Request) -> Response:
        return StreamingResponse(endless())

    server = serve(Starlette(routes=[Route("/", endpoint)]))
    client = await server.connect()
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.read_until(b"xxx")
    await client.stream.aclose()
    with trio.fail_after(5):
        while server.acceptor.connections:
            await trio.testing.wait_all_tasks_blocked()
    assert logged == []


async def test_an_application_is_held_back_by_a_peer_that_does_not_read(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            sent += 1

    client = serve(app, send_timeout=100).join(trio.testing.lockstep_stream_pair())
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await trio.sleep(50)
    assert sent == 0
    await client.read_until(b"x")
    await trio.sleep(50)
    assert sent <= 2


async def test_a_peer_that_does_not_read_is_cut_off_and_disturbs_nobody(
    serve: Serve, logged: Log, autojump_clock: trio.testing.MockClock
) -> None:
    caught: list[OSError] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.body", "body": bytes(16 << 20) if scope["path"] == "/big" else b"x"})
        except OSError as error:
            caught.append(error)
            raise

    server = serve(app)
    slow, quick = await server.connect(), await server.connect()
    await slow.send(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(8):
        assert (await quick.get("/"))[2] == b"x"
        await trio.sleep(3)
    assert "did not take 64 KiB within 10 s" in str(caught[0])
    assert server.acceptor.connections == 1
    assert logged == []


async def test_headers_too_large_are_431(serve: Serve) -> None:
    server = serve(header_size=1000)
    for header in (b"x: " + b"y" * 3000 + b"\r\n\r\n", b"x: " + b"y" * 3000, b"a: b\r\n" * 300 + b"\r\n"):
        client = await server.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + header)
        assert (await client.response())[0] == 431
        assert await client.read_all() == b""
    client = await server.connect()
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 900 + b"\r\n\r\n")
    assert (await client.response())[0] == 200


async def test_headers_that_come_too_slowly_are_408(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    client = serve().memory()
    start = trio.current_time()
    for byte in b"GET / HTTP":
        await client.send(bytes((byte,)))
        await trio.sleep(0.9)
    assert (await client.response())[0] == 408
    assert trio.current_time() - start == pytest.approx(10)
    await client.read_all()
    later = serve().memory()
    assert (await later.get())[0] == 200
    await trio.sleep(20)
    start = trio.current_time()
    await later.send(b"GET / HT")
    assert (await later.response())[0] == 408
    assert trio.current_time() - start == pytest.approx(10)


async def test_idle_connections_are_closed(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    server = serve()
    start = trio.current_time()
    assert await server.memory().read_all() == b""
    assert trio.current_time() - start == pytest.approx(10)
    used = server.memory()
    await used.get()
    start = trio.current_time()
    assert await used.read_all() == b""
    assert trio.current_time() - start == pytest.approx(75)


async def _take(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"taken"})


async def test_bodies_too_large_are_413(serve: Serve) -> None:
    server = serve(_take, body_size=1000)
    declared, chunked, right = await server.connect(), await server.connect(), await server.connect()
    await declared.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")
    status, _, body = await declared.response()
    assert (status, body) == (413, b"the request's body is larger than 1000 bytes\n")
    await chunked.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"8\r\n12345678\r\n" * 126)
    assert (await chunked.response())[0] == 413
    await right.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + bytes(1000))
    assert (await right.response())[2] == b"taken"


async def test_bodies_that_come_too_slowly_are_408(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve(_take)
    slow = server.memory()
    await slow.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    start = trio.current_time()

    async def drip() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await slow.send(bytes(100))
                await trio.sleep(1)

    nursery.start_soon(drip)
    assert (await slow.response())[0] == 408
    assert trio.current_time() - start < 15
    steady = server.memory()
    await steady.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(50):
        await steady.send(bytes(2000))
        await trio.sleep(1)
    assert (await steady.response())[2] == b"taken"


async def test_connections_over_the_limit_are_503(serve: Serve) -> None:
    server = serve(connections=2)
    first, second = await server.connect(), await server.connect()
    assert (await first.get())[0] == (await second.get())[0] == 200
    third = await server.connect()
    status, headers, body = await third.response()
    assert (status, headers["connection"]) == (503, "close")
    assert b"serves 2 at once" in body
    assert await third.read_all() == b""
    await first.stream.aclose()
    with trio.fail_after(5):
        while server.acceptor.connections > 1:
            await trio.testing.wait_all_tasks_blocked()
    assert (await (await server.connect()).get())[0] == 200
    assert (await second.get())[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nx : y\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
    ],
)
async def test_malformed_http_is_400_with_a_reason(serve: Serve, logged: Log, request_bytes: bytes) -> None:
    server = serve(_take)
    neighbour, client = await server.connect(), await server.connect()
    await client.send(request_bytes)
    status, headers, body = await client.response()
    assert (status, headers["content-type"], headers["connection"]) == (400, "text/plain; charset=utf-8", "close")
    assert body.startswith(b"malformed HTTP request: ")
    assert len(body) > 30
    assert await client.read_all() == b""
    assert (await neighbour.get())[0] == 200
    assert logged == []


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_what_is_not_served_says_so(serve: Serve, request_bytes: bytes, status: int) -> None:
    client = await serve().connect()
    await client.send(request_bytes)
    assert (await client.response())[0] == status


async def test_malformed_http_behind_a_request_is_answered_after_it(serve: Serve) -> None:
    client = await serve().connect()
    await client.send(b"GET /good HTTP/1.1\r\nHost: x\r\n\r\nbad\r\n\r\n")
    assert (await client.response())[2] == b"/good"
    assert (await client.response())[0] == 400
    assert await client.read_all() == b""


async def test_malformed_http_behind_a_head_request_is_answered_with_a_body(serve: Serve) -> None:
    client = await serve().connect()
    await client.send(b"HEAD /good HTTP/1.1\r\nHost: x\r\n\r\nbad\r\n\r\n")
    assert (await client.response("HEAD"))[0] == 200
    assert (await client.response())[2].startswith(b"malformed HTTP request: ")


async def test_the_last_answer_can_be_read_while_the_peer_still_sends(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    client = serve(linger_time=2).memory()
    await client.send(b"bad\r\n\r\n")
    assert (await client.response())[0] == 400
    assert await client.read_all() == b""
    await client.send(b"more")
    await trio.sleep(1.9)
    await client.send(b"more")
    await trio.sleep(0.2)
    with pytest.raises(trio.BrokenResourceError):
        await client.send(b"more")


class Fatal(BaseException):
    """Not an Exception."""


async def _fail(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["path"]:
        case "/fine":
            await PlainTextResponse("fine")(scope, receive, send)
        case "/error":
            raise ValueError("my error")
        case "/group":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise ValueError("my error")
        case "/fatal":
            raise Fatal("my error")
        case "/exit":
            raise SystemExit(3)
        case "/silent":
            return
        case "/bad-header":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\nb")]})
        case "/too-long":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
            await send({"type": "http.response.body", "body": b"abc"})
        case "/no-start":
            await send({"type": "http.response.body", "body": b"abc"})
        case "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
            raise ValueError("my error")
        case "/too-short":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})


@pytest.mark.parametrize(
    "path", ["/error", "/group", "/fatal", "/exit", "/silent", "/bad-header", "/too-long", "/no-start"]
)
async def test_an_error_of_the_application_is_500_and_logged(serve: Serve, logged: Log, path: str) -> None:
    server = serve(_fail)
    neighbour, client = await server.connect(), await server.connect()
    status, _, body = await client.get(path)
    assert (status, body) == (500, b"internal server error; its cause is in the server's log\n")
    assert await client.read_all() == b""
    assert (await neighbour.get("/fine"))[2] == b"fine"
    assert [(entry["path"], entry["method"]) for entry in logged] == [(path, "GET")]
    if path == "/error":
        assert logged[0]["event"] == "the application failed"
        assert "my error" in str(logged[0]["exc_info"])


@pytest.mark.parametrize("path", ["/late", "/too-short"])
async def test_an_error_within_the_response_closes_the_connection(serve: Serve, logged: Log, path: str) -> None:
    server = serve(_fail)
    neighbour, client = await server.connect(), await server.connect()
    await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await client.read_all()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert not answer.endswith(b"0\r\n\r\n")
    assert (await neighbour.get("/fine"))[2] == b"fine"
    assert len(logged) == 1


async def test_starlettes_own_500_keeps_the_connection(serve: Serve, logged: Log) -> None:
    async def endpoint(_request: Request) -> Response:
        raise ValueError("my error")

    client = await serve(Starlette(routes=[Route("/", endpoint)])).connect()
    assert (await client.get())[0] == 500
    assert (await client.get())[0] == 500
    await trio.testing.wait_all_tasks_blocked()
    assert len(logged) == 2


async def test_stopping_the_acceptor_ends_every_connection(serve: Serve, logged: Log) -> None:
    app = Hanging()
    async with trio.open_nursery() as nursery:
        server = serve(app)
        server.nursery = nursery
        busy, idle = await server.connect(), await server.connect()
        await busy.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await app.called.wait()
        nursery.cancel_scope.cancel()
    assert app.cancelled.is_set()
    assert await busy.read_all() == await idle.read_all() == b""
    assert server.acceptor.connections == 0
    assert logged == []
