"""Queries over HTTP: they stream, they end with their client, and they have a budget."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from skycore.gremlin import Limits
from skycore.server import rest
from skycore.storage.contract import Gap
from tests.server.api.conftest import credentials

if TYPE_CHECKING:
    from tests.server.api.conftest import Asked
    from tests.server.conftest import Client, Serve


async def until(condition: Callable[[], Any]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110  # the states of a server are no events
            await trio.sleep(0.01)


def fill(role: Asked, nodes: int, *, dense: int = 0) -> None:
    """So many nodes; the first ``dense`` of them are all linked with each other."""
    claimant = role.role.graph.claimant("test")
    with role.role.graph.transaction():
        for number in range(nodes):
            claimant.put(f"n{number}", {"Name": f"n{number}", "Type": "device", "Text": "x" * 200})
        for one in range(dense):
            for other in range(dense):
                if one != other:
                    claimant.link(f"n{one}", f"n{other}", "layer2")


async def post(client: Client, query: str, *headers: str) -> None:
    body = json.dumps({"GremlinQuery": query}).encode()
    head = "\r\n".join(
        ("POST /api/topology HTTP/1.1", "Host: x", credentials("admin"), f"Content-Length: {len(body)}", *headers)
    )
    await client.send(head.encode() + b"\r\n\r\n" + body)


async def test_a_large_answer_is_made_as_its_client_takes_it(
    analyzer: Asked, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(analyzer, 30_000)
    made = 0

    def counted(result: Any) -> Any:
        nonlocal made
        for chunk in original(result):
            made += len(chunk)
            yield chunk

    from skycore.gremlin.result import ElementsResult  # noqa: PLC0415

    original = ElementsResult.json_chunks
    monkeypatch.setattr(ElementsResult, "json_chunks", counted)
    client = await serve(rest.application(analyzer.services)).connect()
    await post(client, "G.V()")
    head = await client.read_until(b"\r\n\r\n")
    assert b"chunked" in head.lower()
    # The sockets' buffers take a few megabytes; the rest waits for us.
    before = -1
    with trio.fail_after(30):
        while before != made:
            before = made
            await trio.sleep(0.3)
    status, _, whole = await analyzer.ask("POST", "/api/topology", body=b'{"GremlinQuery":"G.V()"}')
    assert (status, len(json.loads(whole))) == (200, 30_000)
    assert 0 < before < len(whole) * 0.8
    await client.stream.aclose()


async def test_a_large_answer_is_compressed_as_it_streams(analyzer: Asked) -> None:
    fill(analyzer, 5_000)
    body = b'{"GremlinQuery":"G.V()"}'
    plain = (await analyzer.ask("POST", "/api/topology", body=body))[2]
    status, headers, packed = await analyzer.ask(
        "POST", "/api/topology", body=body, headers={"Accept-Encoding": "gzip"}
    )
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert len(packed) < len(plain) / 5
    assert gzip.decompress(packed) == plain


LONG = "G.V()" + ".Out().Dedup()" * 400


async def test_a_query_ends_when_its_client_leaves(analyzer: Asked, serve: Serve, logged: list[Any]) -> None:
    fill(analyzer, 200, dense=200)
    services = attrs.evolve(
        analyzer.services, queries=attrs.evolve(analyzer.services.queries, limits=Limits(seconds=600))
    )
    server = serve(rest.application(services))
    client = await server.connect()
    begun = services.query_times.failed
    await post(client, LONG)
    await trio.sleep(0.1)
    assert services.query_times.failed == begun, "the query is too short to be left alone"
    await client.stream.aclose()
    await until(lambda: services.query_times.failed > begun)
    await until(lambda: server.acceptor.connections == 0)
    assert sum(services.query_times.counts) == 1
    assert logged == []


async def test_so_many_queries_run_at_a_time_and_others_wait(analyzer: Asked, serve: Serve) -> None:
    fill(analyzer, 200, dense=200)
    services = attrs.evolve(
        analyzer.services,
        queries=attrs.evolve(analyzer.services.queries, limits=Limits(seconds=600)),
        query_room=trio.CapacityLimiter(2),
    )
    server = serve(rest.application(services))
    clients = [await server.connect() for _ in range(3)]
    for client in clients[:2]:
        await post(client, LONG)
    await until(lambda: services.query_room.borrowed_tokens == 2)
    await post(clients[2], "G.V().Count()")
    await until(lambda: services.query_room.statistics().tasks_waiting == 1)
    await clients[0].stream.aclose()
    assert (await clients[2].response())[::2] == (200, b"200\n")
    await clients[1].stream.aclose()


async def test_a_query_has_a_budget(analyzer: Asked, serve: Serve) -> None:
    fill(analyzer, 200, dense=200)

    async def answer(limits: Limits, query: str) -> tuple[int, bytes]:
        queries = attrs.evolve(analyzer.services.queries, limits=limits)
        client = serve(rest.application(attrs.evolve(analyzer.services, queries=queries))).memory()
        await post(client, query)
        status, _, body = await client.response()
        return status, body

    status, body = await answer(Limits(seconds=0.05), LONG)
    assert (status, body.startswith(b"the query took longer than 0.05 seconds")) == (400, True)
    status, body = await answer(Limits(elements=100), "G.V()")
    assert (status, body.startswith(b"the query is too large: more than 100 elements")) == (400, True)
    assert (await answer(Limits(elements=200), "G.V().Count()")) == (200, b"200\n")


async def test_an_answer_about_a_time_with_gaps_says_so(analyzer: Asked) -> None:
    fill(analyzer, 3)
    now = analyzer.role.graph.clock()
    analyzer.role.keeper.put(Gap("agent.ü", now - 20_000, now - 10_000, 7))
    await analyzer.role.keeper.flush()

    async def gaps(query: str) -> Any:
        body = json.dumps({"GremlinQuery": query}).encode()
        status, headers, _ = await analyzer.ask("POST", "/api/topology", body=body)
        assert status == 200
        return json.loads(headers["x-skycore-gaps"]) if "x-skycore-gaps" in headers else None

    assert await gaps("G.At('-15s').V()") == [
        {"Origin": "agent.ü", "Start": now - 20_000, "End": now - 10_000, "Lost": 7}
    ]
    assert await gaps("G.At('-1s').V()") is None
    assert await gaps("G.V()") is None
