"""HTTP requests a second: our port and REST application beside Starlette on Hypercorn.

Four servers, each a process of its own on one core: our REST application, and a bare Starlette with one route, each
on our port and on Hypercorn (both on trio).  A client in this process keeps a request in flight on each of its
connections; the servers take turns, and the median of the rounds counts.

Run: .venv/bin/python -m benchmarks.http  (needs the dependency group bench)
"""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skycore.graph.graph import Graph, now_ms
from skycore.graph.live import LiveView
from skycore.gremlin import QueryContext
from skycore.server import rest
from skycore.server.acceptor import Acceptor
from skycore.server.access import OPEN
from skycore.server.api.services import Services

CONNECTIONS = 16
SECONDS = 2.0
ROUNDS = 5
REQUEST = b"GET /api HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\nUser-Agent: benchmark\r\n\r\n"

Which = Literal["ours", "bare"]


def application(which: Which) -> Any:
    """The ASGI application under test; both answer `GET /api` alike."""
    if which == "ours":
        graph = Graph(host="h", origin="analyzer.h", with_tids=False)
        return rest.application(
            Services(
                role="analyzer",
                host="h",
                gatekeeper=OPEN,
                queries=QueryContext(LiveView(graph), now_ms),
                status=dict,
                figures=tuple,
                config={},
            )
        )

    async def about(_request: Request) -> Response:
        return JSONResponse({"Host": "h", "Version": "0.1.0", "Service": "analyzer"})

    return Starlette(routes=[Route("/api", about)])


def on_our_port(which: Which, listener: socket.socket) -> None:
    async def main() -> None:
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
        await Acceptor(application(which), {}).serve(listeners)

    trio.run(main)


def on_hypercorn(which: Which, listener: socket.socket) -> None:
    from hypercorn.config import Config  # noqa: PLC0415
    from hypercorn.trio import serve  # noqa: PLC0415

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None
    trio.run(serve, application(which), config)


SERVERS: dict[str, tuple[Callable[[Which, socket.socket], None], Which]] = {
    "our REST application on our port": (on_our_port, "ours"),
    "our REST application on Hypercorn": (on_hypercorn, "ours"),
    "bare Starlette on our port": (on_our_port, "bare"),
    "bare Starlette on Hypercorn": (on_hypercorn, "bare"),
}


def rate(port: int) -> float:
    """Requests a second over some seconds, on connections that stay open."""
    selector = selectors.DefaultSelector()
    size = _answer_size(port)
    waiting: dict[int, int] = {}
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, connection)
        waiting[connection.fileno()] = size
        connection.sendall(REQUEST)
    answers = 0
    begun = time.perf_counter()
    while (now := time.perf_counter()) < begun + SECONDS:
        for key, _ in selector.select():
            data = key.data.recv(65536)
            assert data, "the server closed a connection"
            left = waiting[key.fd] - len(data)
            if left == 0:
                answers += 1
                left = size
                key.data.sendall(REQUEST)
            assert left > 0
            waiting[key.fd] = left
    for key in list(selector.get_map().values()):
        key.data.close()
    return answers / (now - begun)


def _answer_size(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST)
        data = b""
        while b"\r\n\r\n" not in data or (not data.endswith(b"}") and not data.endswith(b"}\n")):
            data += connection.recv(65536)
        assert data.startswith(b"HTTP/1.1 200 "), data
        return len(data)


def main() -> None:
    context = multiprocessing.get_context("fork")
    rates: dict[str, list[float]] = {name: [] for name in SERVERS}
    ports: dict[str, int] = {}
    processes = []
    for name, (serve, which) in SERVERS.items():
        listener = socket.create_server(("127.0.0.1", 0))
        ports[name] = listener.getsockname()[1]
        process = context.Process(target=serve, args=(which, listener), daemon=True)
        process.start()
        processes.append(process)
    try:
        for name, port in ports.items():
            _until_it_answers(name, port)
        for _ in range(ROUNDS):
            for name, port in ports.items():
                rates[name].append(rate(port))
    finally:
        for process in processes:
            process.kill()
    peer = statistics.median(rates["bare Starlette on Hypercorn"])
    python = sys.version.split()[0]
    print(f"GET /api, {CONNECTIONS} connections, median of {ROUNDS} rounds of {SECONDS:g} s, Python {python}")
    for name, found in rates.items():
        middle = statistics.median(found)
        print(f"{name:36} {middle:8,.0f} requests/s  {middle / peer:5.2f} × bare Starlette on Hypercorn")


def _until_it_answers(name: str, port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            _answer_size(port)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"{name} does not answer") from None
            time.sleep(0.1)


if __name__ == "__main__":
    main()
