"""Thousands of connections, and those that say half of something slowly: bounded, told once, others undisturbed."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio

if TYPE_CHECKING:
    from tests.server.conftest import Client, Serve

CROWD = 3000
PLACES = 2500
HALVES = (b"GET / HT", b"", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")


@pytest.fixture(scope="module", autouse=True)
def _descriptors() -> None:
    """Both ends of each connection are ours."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * CROWD)), hard))


@pytest.fixture
def warnings() -> Any:
    with structlog.testing.capture_logs() as entries:
        yield entries


async def _connect(serve: Any, count: int) -> list[Client]:
    clients: list[Client] = []
    for _ in range(count):
        clients.append(await serve.connect())
    return clients


async def test_a_crowd_over_the_limit_disturbs_nobody(serve: Serve, warnings: list[Any]) -> None:
    server = serve(connections=PLACES)
    first = await server.connect()
    assert (await first.get())[0] == 200
    crowd = await _connect(server, CROWD)
    with trio.fail_after(60):
        while server.acceptor.connections < PLACES:  # noqa: ASYNC110
            await trio.sleep(0.01)
        # Half a request each, from as many as have a place.
        for number, client in enumerate(crowd):
            with contextlib.suppress(trio.BrokenResourceError):
                await client.send(
                    (b"GET / HT", b"", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")[number % 3]
                )
        for _ in range(20):
            status, _, body = await first.get("/still")
            assert (status, body) == (200, b"/still")
    assert server.acceptor.connections == PLACES
    told = [entry for entry in warnings if entry["event"] == "too many connections"]
    assert len(told) == 1
    assert told[0]["limit"] == PLACES
    for client in crowd:
        await client.stream.aclose()
    with trio.fail_after(60):
        while server.acceptor.connections > 1:  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert (await (await server.connect()).get())[0] == 200
    assert [entry for entry in warnings if entry["log_level"] == "error"] == []


@pytest.mark.parametrize(
    "bad",
    [
        b"GET / HTTP/1.1\r\nbroken\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 40_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_flood_of_bad_requests_does_not_fill_the_log(serve: Serve, warnings: list[Any], bad: bytes) -> None:
    server = serve()
    good = await server.connect()
    for _ in range(300):
        client = await server.connect()
        await client.send(bad)
        answer = await client.read_all()
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
        await client.stream.aclose()
    assert (await good.get())[0] == 200
    assert [entry for entry in warnings if entry["log_level"] not in ("debug", "info")] == []
