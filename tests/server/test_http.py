"""HTTP over real TCP: what a well-behaved client sees."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from skycore.server.asgi import Receive, Scope, Send

if TYPE_CHECKING:
    from tests.server.conftest import Serve


async def _echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


async def _about(request: Request) -> Response:
    assert request.client is not None
    return JSONResponse(
        {
            "path": request.url.path,
            "query": dict(request.query_params),
            "client": request.client.host,
            "raw": request.scope["raw_path"].decode(),
            "version": request.scope["http_version"],
            "agent": request.headers.get("user-agent"),
        }
    )


async def _stream(_request: Request) -> Response:
    async def parts() -> Any:
        for number in range(3):
            yield f"part {number}\n"
            await trio.lowlevel.checkpoint()

    return StreamingResponse(parts())


async def _refuse(_request: Request) -> Response:
    return PlainTextResponse("not you", 401)


starlette = Starlette(
    routes=[
        Route("/echo", _echo, methods=["POST", "PUT"]),
        Route("/about{rest:path}", _about),
        Route("/stream", _stream),
        Route("/refuse", _refuse, methods=["GET", "POST"]),
    ]
)


async def test_a_starlette_application_over_tcp(serve: Serve) -> None:
    client = await serve(starlette).connect()
    await client.send(b"GET /about/a%20b%C3%A9?x=1&y=%2F HTTP/1.1\r\nHost: x\r\nUser-Agent: raw\r\n\r\n")
    status, headers, body = await client.response()
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert "date" in headers
    assert '"path":"/about/a bé"'.encode() in body
    assert b'"raw":"/about/a%20b%C3%A9"' in body
    assert b'"query":{"x":"1","y":"/"}' in body
    assert b'"client":"127.0.0.1"' in body
    assert b'"agent":"raw"' in body


async def test_a_target_with_scheme_and_host_is_served_as_its_path(serve: Serve) -> None:
    client = await serve().connect()
    for target, path in (("http://x/a/b?q=1", b"/a/b"), ("HTTP://x:8082", b"/"), ("http://x?q", b"/"), ("*", b"*")):
        await client.send(f"OPTIONS {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await client.response())[2] == path


async def test_bodies_with_length_and_in_chunks_both_ways_on_one_connection(serve: Serve) -> None:
    client = await serve(starlette).connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
    assert (await client.response())[2] == b"hello"
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.send(b"5\r\nhello\r\n1;name=value\r\n!\r\n0\r\nTrailer: x\r\n\r\n")
    assert (await client.response())[2] == b"hello!"
    big = bytes(range(256)) * 4000
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(big) + big)
    assert (await client.response())[2] == big
    await client.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    _, headers, body = await client.response()
    assert headers["transfer-encoding"] == "chunked"
    assert body == b"part 0\npart 1\npart 2\n"


async def test_many_tiny_chunks_are_joined(serve: Serve) -> None:
    sizes: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    client = serve(app).memory()
    await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 4000)
    await client.send(b"0\r\n\r\n")
    assert (await client.response())[0] == 204
    assert sum(sizes) == 4000
    assert len(sizes) < 40


async def test_http_1_0_gets_a_plain_body_and_a_close(serve: Serve) -> None:
    client = await serve(starlette).connect()
    await client.send(b"GET /stream HTTP/1.0\r\n\r\n")
    answer = await client.read_all()
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body == b"part 0\npart 1\npart 2\n"


async def test_connection_close_is_honoured(serve: Serve) -> None:
    client = await serve().connect()
    await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    status, headers, body = await client.response()
    assert (status, body, headers["connection"]) == (200, b"/a", "close")
    assert await client.read_all() == b""


async def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    client = await serve().connect()
    await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(50)))
    assert [(await client.response())[2] for _ in range(50)] == [b"/%d" % number for number in range(50)]


async def test_the_body_of_a_head_response_is_dropped(serve: Serve) -> None:
    client = await serve().connect()
    await client.send(
        b"HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    status, headers, body = await client.response("HEAD")
    assert (status, headers["content-length"], body) == (200, "4", b"")
    assert (await client.response())[2] == b"/next"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_body_drops_the_applications_body(serve: Serve, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"nobody reads this"})

    client = await serve(app).connect()
    assert (await client.get())[::2] == (status, b"")
    assert (await client.get())[::2] == (status, b"")


async def test_100_continue_is_sent_when_the_application_asks_for_the_body(serve: Serve) -> None:
    client = await serve(starlette).connect()
    head = b"HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    await client.send(b"POST /echo " + head)
    assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"hello")
    assert (await client.response())[2] == b"hello"
    await client.send(b"POST /refuse " + head)
    status, headers, _ = await client.response()
    # Whether the body still comes cannot be known, so the connection cannot serve another request.
    assert (status, headers["connection"]) == (401, "close")
    assert await client.read_all() == b""


async def test_a_small_body_that_nobody_read_does_not_end_the_connection(serve: Serve) -> None:
    client = await serve(starlette).connect()
    await client.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel")
    assert (await client.response())[0] == 401
    await client.send(b"lo")
    assert (await client.get("/about"))[0] == 200


async def test_a_big_body_that_nobody_read_does_not_destroy_the_answer(serve: Serve, nursery: trio.Nursery) -> None:
    client = await serve(starlette).connect()
    size = 4 << 20

    async def send() -> None:
        try:
            await client.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            await client.send(bytes(size))
        except trio.BrokenResourceError:
            pass

    nursery.start_soon(send)
    assert (await client.response())[0] == 401
    await client.read_all()


async def test_an_upgrade_to_something_else_is_ignored(serve: Serve) -> None:
    client = await serve().connect()
    await client.send(b"GET /h2c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert (await client.response())[2] == b"/h2c"
    assert (await client.get("/again"))[2] == b"/again"


async def test_a_socket_pair_is_served_like_a_port(serve: Serve) -> None:
    far, near = trio.socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    client = serve().join((trio.SocketStream(far), trio.SocketStream(near)))
    assert (await client.get("/pair"))[2] == b"/pair"
    assert (await client.get("/pair2"))[2] == b"/pair2"


async def test_the_work_after_a_response_goes_on_when_the_client_leaves(serve: Serve) -> None:
    left, finished = trio.Event(), trio.Event()

    async def work() -> None:
        await left.wait()
        await trio.testing.wait_all_tasks_blocked()
        finished.set()

    async def endpoint(_request: Request) -> Response:
        return PlainTextResponse("done", background=BackgroundTask(work))

    client = await serve(Starlette(routes=[Route("/", endpoint)])).connect()
    assert (await client.get())[2] == b"done"
    await client.stream.aclose()
    left.set()
    with trio.fail_after(5):
        await finished.wait()


async def test_a_slow_answer_is_sent_part_by_part(serve: Serve) -> None:
    proceed = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await proceed.wait()
        await send({"type": "http.response.body", "body": b"second"})

    client = await serve(app).connect()
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"first" in await client.read_until(b"first\r\n")
    proceed.set()
    assert await client.read_until(b"0\r\n\r\n") == b"6\r\nsecond\r\n0\r\n\r\n"
